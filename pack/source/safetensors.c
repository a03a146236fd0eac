/* safetensors: https://github.com/huggingface/safetensors#format
 *
 *   u64 n, little-endian | n bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...} | data
 *
 * Offsets count from the start of the data. Tensors may come in any order, must not overlap, and must cover the data.
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "pack/source/source.h"

#define HEADER_LIMIT 100000000u /* the limit of the format's own readers */
#define MAX_TENSORS 65536u

static int read_dtype(const cJSON *entry, enum hl_dtype *out, struct hl_error *err)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(dtype))
        return hl_fail(err, "dtype is missing");
    for (enum hl_dtype i = HL_DTYPE_F32; i <= HL_DTYPE_BF16; i++)
        if (strcmp(dtype->valuestring, hl_dtype_name(i)) == 0) {
            *out = i;
            return 0;
        }
    return hl_fail(err, "dtype '%.40s' is not supported; only F32, F16 and BF16 are", dtype->valuestring);
}

/* Reads the shape and computes the bytes that it needs. */
static int read_shape(const cJSON *entry, struct hl_source_tensor *tensor, struct hl_error *err)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *dim;
    if (!cJSON_IsArray(shape))
        return hl_fail(err, "shape is missing");
    uint64_t n = 1;
    cJSON_ArrayForEach(dim, shape)
    {
        if (tensor->n_dims == HL_MAX_DIMS)
            return hl_fail(err, "shape has more than %d dimensions", HL_MAX_DIMS);
        if (!hl_json_count(dim, UINT64_MAX, &tensor->shape[tensor->n_dims]))
            return hl_fail(err, "shape has an entry that is not a size");
        if (!hl_mul(n, tensor->shape[tensor->n_dims], &n))
            return hl_fail(err, "shape: the product overflows");
        tensor->n_dims++;
    }
    return hl_dtype_bytes(tensor->dtype, n, &tensor->bytes) ? 0 : hl_fail(err, "shape: the product overflows");
}

static int read_offsets(const cJSON *entry, struct hl_view data, struct hl_source_tensor *tensor, struct hl_error *err)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    uint64_t begin, end;
    if (cJSON_GetArraySize(offsets) != 2 || !hl_json_count(cJSON_GetArrayItem(offsets, 0), UINT64_MAX, &begin) ||
        !hl_json_count(cJSON_GetArrayItem(offsets, 1), UINT64_MAX, &end))
        return hl_fail(err, "data_offsets is not a pair of sizes");
    if (begin > end || end > data.size)
        return hl_fail(err, "data_offsets [%llu, %llu] reach outside the file's %zu bytes of data",
                       (unsigned long long)begin, (unsigned long long)end, data.size);
    if (end - begin != tensor->bytes)
        return hl_fail(err, "data_offsets span %llu bytes, the shape needs %llu", (unsigned long long)(end - begin),
                       (unsigned long long)tensor->bytes);
    tensor->data = data.data + begin;
    return 0;
}

static int read_entry(const cJSON *entry, struct hl_view data, struct hl_source_tensor *tensor, struct hl_error *err)
{
    if (!cJSON_IsObject(entry))
        return hl_fail(err, "it is not an object");
    if (read_dtype(entry, &tensor->dtype, err) < 0 || read_shape(entry, tensor, err) < 0)
        return -1;
    return read_offsets(entry, data, tensor, err);
}

static int by_address(const void *a, const void *b)
{
    const struct hl_source_tensor *const *x = a, *const *y = b;
    if ((*x)->data != (*y)->data)
        return (*x)->data < (*y)->data ? -1 : 1;
    return (*x)->bytes < (*y)->bytes ? -1 : (*x)->bytes > (*y)->bytes;
}

/* Fails if two tensors overlap, or if a byte belongs to no tensor: a file could hide something there. */
static int check_cover(const struct hl_source_tensor *tensors, size_t n, struct hl_view data, struct hl_error *err)
{
    HL_FREE const struct hl_source_tensor **order = malloc((n + 1) * sizeof *order);
    if (!order)
        return hl_no_memory(err);
    for (size_t i = 0; i < n; i++)
        order[i] = &tensors[i];
    qsort(order, n, sizeof *order, by_address);
    const uint8_t *end = data.data;
    for (size_t i = 0; i < n; end = order[i]->data + order[i]->bytes, i++) {
        if (order[i]->data < end)
            return hl_fail(err, "tensor %s: data_offsets overlap those of %s", order[i]->name,
                           i ? order[i - 1]->name : "?");
        if (order[i]->data > end)
            return hl_fail(err, "tensor %s: data_offsets leave a gap of %td bytes before it", order[i]->name,
                           order[i]->data - end);
    }
    if (end != data.data + data.size)
        return hl_fail(err, "%td bytes of data belong to no tensor", data.data + data.size - end);
    return 0;
}

/* Finds the JSON of the header, and the data after it. */
static int read_header(struct hl_view file, struct hl_view *header, struct hl_view *data, struct hl_error *err)
{
    uint64_t length = 0;
    if (file.size < 8)
        return hl_fail(err, "%zu bytes are too few for the header's length", file.size);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file.data[i];
    if (length > file.size - 8)
        return hl_fail(err, "header length %llu reaches beyond the file of %zu bytes; was the download cut short?",
                       (unsigned long long)length, file.size);
    if (length > HEADER_LIMIT || length < 2)
        return hl_fail(err, "header length %llu is out of range", (unsigned long long)length);
    *header = (struct hl_view){file.data + 8, (size_t)length};
    *data = (struct hl_view){file.data + 8 + length, file.size - 8 - (size_t)length};
    return 0;
}

static int read_tensors(struct hl_source *source, const struct hl_source_file *file, const cJSON *json,
                        struct hl_view data, struct hl_error *err)
{
    size_t n = 0, first = source->n_tensors;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, json) n++;
    if (n > MAX_TENSORS)
        return hl_fail(err, "%zu tensors are more than any model has", n);
    struct hl_source_tensor *grown = realloc(source->tensors, (first + n + 1) * sizeof *grown);
    if (!grown)
        return hl_no_memory(err);
    source->tensors = grown;
    cJSON_ArrayForEach(entry, json)
    {
        if (strcmp(entry->string, "__metadata__") == 0)
            continue;
        struct hl_source_tensor *tensor = &source->tensors[source->n_tensors];
        *tensor = (struct hl_source_tensor){.name = strdup(entry->string), .file = file->name};
        if (!tensor->name)
            return hl_no_memory(err);
        source->n_tensors++;
        if (read_entry(entry, data, tensor, err) < 0)
            return hl_error_prefix(err, "tensor %s", tensor->name);
    }
    return check_cover(source->tensors + first, source->n_tensors - first, data, err);
}

int hl_safetensors_read(struct hl_source *source, const struct hl_source_file *file, struct hl_error *err)
{
    struct hl_view header = {NULL, 0}, data = {NULL, 0};
    cJSON *json = NULL;
    if (read_header(file->map, &header, &data, err) < 0 || hl_json_parse(header, "header", &json, err) < 0)
        return hl_error_prefix(err, "%s/%s", source->path, file->name);
    int result = read_tensors(source, file, json, data, err);
    cJSON_Delete(json);
    return result < 0 ? hl_error_prefix(err, "%s/%s", source->path, file->name) : 0;
}
