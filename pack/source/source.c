/* A Hugging Face folder or a .gguf as a source: finds the files and checks that together they are one model. */
#include "pack/source/source.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sizes.h"
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static const struct {
    const char *name;
    uint32_t numbers, bytes; /* of a block */
} dtypes[] = {
    [HL_DTYPE_F32] = {"F32", 1, 4},       [HL_DTYPE_F16] = {"F16", 1, 2},      [HL_DTYPE_BF16] = {"BF16", 1, 2},
    [HL_DTYPE_Q8_0] = {"Q8_0", 32, 34},   [HL_DTYPE_Q4_0] = {"Q4_0", 32, 18},  [HL_DTYPE_Q4_1] = {"Q4_1", 32, 20},
    [HL_DTYPE_Q5_0] = {"Q5_0", 32, 22},   [HL_DTYPE_Q5_1] = {"Q5_1", 32, 24},  [HL_DTYPE_Q4_K] = {"Q4_K", 256, 144},
    [HL_DTYPE_Q5_K] = {"Q5_K", 256, 176}, [HL_DTYPE_Q6_K] = {"Q6_K", 256, 210}};

uint32_t hl_dtype_block(enum hl_dtype dtype)
{
    return dtypes[dtype].numbers;
}

uint32_t hl_dtype_block_bytes(enum hl_dtype dtype)
{
    return dtypes[dtype].bytes;
}

bool hl_dtype_bytes(enum hl_dtype dtype, uint64_t n, uint64_t *out)
{
    return n % dtypes[dtype].numbers == 0 && hl_mul(n / dtypes[dtype].numbers, dtypes[dtype].bytes, out);
}

const char *hl_dtype_name(enum hl_dtype dtype)
{
    return dtypes[dtype].name;
}

uint64_t hl_source_count(const struct hl_source_tensor *tensor)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        n *= tensor->shape[i];
    return n;
}

uint64_t hl_source_row(const struct hl_source_tensor *tensor, uint64_t row)
{
    if (!tensor->paired_heads)
        return row;
    uint64_t head_dim = tensor->shape[0] / tensor->paired_heads, half = head_dim / 2, i = row % head_dim;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hl_source_tensor *)a)->name, ((const struct hl_source_tensor *)b)->name);
}

const struct hl_source_tensor *hl_source_find(const struct hl_source *source, const char *name)
{
    struct hl_source_tensor key = {.name = (char *)(uintptr_t)name};
    return bsearch(&key, source->tensors, source->n_tensors, sizeof key, by_name);
}

/* Maps one file of tensors. The array of files must not move, because tensors point to the names. */
static int add_file(struct hl_source *source, const char *name, struct hl_error *err)
{
    struct hl_source_file *file = &source->files[source->n_files];
    file->name = strdup(name);
    if (!file->name)
        return hl_no_memory(err);
    source->n_files++;
    if (hl_file_map(source->folder, name, false, &file->map, err) < 0)
        return -1;
    return hl_safetensors_read(source, file, err);
}

/* Returns true if the name is that of a file in the same folder. */
static bool is_plain_name(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/');
}

static bool have_file(const struct hl_source *source, const char *name)
{
    for (size_t i = 0; i < source->n_files; i++) {
        assert(source->files[i].name); /* a file is counted once it has a name */
        if (strcmp(source->files[i].name, name) == 0)
            return true;
    }
    return false;
}

static int open_indexed(struct hl_source *source, const cJSON *map, struct hl_error *err)
{
    const cJSON *entry;
    size_t n = 0;
    if (!cJSON_IsObject(map))
        return hl_fail(err, "weight_map is missing");
    cJSON_ArrayForEach(entry, map) n++;
    source->files = calloc(n + 1, sizeof *source->files);
    if (!source->files)
        return hl_no_memory(err);
    cJSON_ArrayForEach(entry, map)
    {
        if (!cJSON_IsString(entry) || !is_plain_name(entry->valuestring))
            return hl_fail(err, "weight_map: '%.100s' of tensor %.100s is not the name of a file in this folder",
                           cJSON_IsString(entry) ? entry->valuestring : "?", entry->string);
        if (!have_file(source, entry->valuestring) && add_file(source, entry->valuestring, err) < 0)
            return -1;
    }
    return 0;
}

/* Fails if a tensor is not in the file that the index names. */
static int check_index(const struct hl_source *source, const cJSON *map, struct hl_error *err)
{
    const cJSON *entry;
    HL_FREE bool *listed = calloc(source->n_tensors + 1, sizeof *listed);
    if (!listed)
        return hl_no_memory(err);
    cJSON_ArrayForEach(entry, map)
    {
        const struct hl_source_tensor *tensor = hl_source_find(source, entry->string);
        if (!tensor || strcmp(tensor->file, entry->valuestring) != 0)
            return hl_fail(err, "weight_map: tensor %.100s is not in %.100s", entry->string, entry->valuestring);
        listed[tensor - source->tensors] = true;
    }
    for (size_t i = 0; i < source->n_tensors; i++)
        if (!listed[i])
            return hl_fail(err, "weight_map: tensor %.100s of %s is not listed", source->tensors[i].name,
                           source->tensors[i].file);
    return 0;
}

int hl_source_sort(struct hl_source *source, struct hl_error *err)
{
    qsort(source->tensors, source->n_tensors, sizeof *source->tensors, by_name);
    for (size_t i = 1; i < source->n_tensors; i++)
        if (strcmp(source->tensors[i - 1].name, source->tensors[i].name) == 0)
            return hl_fail(err, "%s: tensor %s occurs twice", source->tensors[i].file, source->tensors[i].name);
    return 0;
}

static int open_single(struct hl_source *source, struct hl_error *err)
{
    source->files = calloc(1, sizeof *source->files);
    if (!source->files)
        return hl_no_memory(err);
    return add_file(source, SINGLE, err) < 0 ? -1 : hl_source_sort(source, err);
}

/* Opens the tensors of a folder. If both exist, the single file counts, as in transformers. */
static int open_tensors(struct hl_source *source, struct hl_error *err)
{
    struct hl_view single;
    HL_JSON cJSON *index = NULL;
    if (hl_file_map(source->folder, SINGLE, true, &single, err) < 0)
        return -1;
    bool there = single.data;
    hl_file_unmap(&single);
    if (there)
        return open_single(source, err);
    if (hl_json_read(source->folder, INDEX, true, &index, err) < 0)
        return -1;
    if (!index)
        return hl_fail(err, "%s: no " SINGLE " and no " INDEX "; other formats of weights are not supported",
                       source->folder);
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map");
    if (open_indexed(source, map, err) < 0 || hl_source_sort(source, err) < 0 || check_index(source, map, err) < 0)
        return hl_error_prefix(err, "%s", INDEX);
    return 0;
}

static int open_folder(struct hl_source *source, struct hl_error *err)
{
    source->folder = source->path;
    source->config_name = "config.json";
    source->format = "safetensors";
    if (hl_json_read(source->folder, "config.json", false, &source->config, err) < 0 ||
        hl_json_read(source->folder, "generation_config.json", true, &source->generation_config, err) < 0 ||
        hl_json_read(source->folder, "tokenizer_config.json", true, &source->tokenizer_config, err) < 0 ||
        hl_source_find_license(source, err) < 0)
        return -1;
    return open_tensors(source, err);
}

/* Opens a single .gguf, or all parts if `path` names the first. */
static int open_gguf(struct hl_source *source, struct hl_error *err)
{
    static const char numbers[] = "00001-of-00001.gguf";
    const char *slash = strrchr(source->path, '/'), *name = slash ? slash + 1 : source->path;
    size_t before = slash ? (size_t)(slash - source->path) : 0;
    HL_FREE char *folder = slash ? strndup(source->path, before ? before : 1) : strdup(".");
    uint32_t part = 1, parts = 1;
    bool split = hl_gguf_part(name, &part, &parts);
    if (part != 1 || parts == 0)
        return hl_fail(err, "%s is part %u of %u; name the first", source->path, part, parts);
    source->files = calloc(parts, sizeof *source->files);
    if (!source->files || !folder)
        return hl_no_memory(err);
    while (source->n_files < parts) {
        struct hl_source_file *file = &source->files[source->n_files];
        int stem = (int)(strlen(name) - (split ? strlen(numbers) : 0));
        if (asprintf(&file->name, split ? "%.*s%05zu-of-%05u.gguf" : "%.*s", stem, name, source->n_files + 1, parts) <
            0)
            return hl_no_memory(err);
        source->n_files++;
        if (hl_file_map(folder, file->name, false, &file->map, err) < 0)
            return -1;
    }
    return hl_gguf_read(source, err) < 0 ? -1 : hl_source_sort(source, err);
}

int hl_source_open(const char *path, struct hl_source **out, struct hl_error *err)
{
    struct stat st;
    if (strstr(path, "://"))
        return hl_fail(err, "%s: this version packs folders and .gguf files only", path);
    if (stat(path, &st) < 0)
        return hl_fail(err, "%s: cannot be opened: %s", path, strerror(errno));
    struct hl_source *source = calloc(1, sizeof *source);
    if (!source || !(source->path = strdup(path))) {
        free(source);
        return hl_no_memory(err);
    }
    if ((S_ISDIR(st.st_mode) ? open_folder(source, err) : open_gguf(source, err)) < 0) {
        hl_source_close(source);
        return -1;
    }
    *out = source;
    return 0;
}

void hl_source_close(struct hl_source *source)
{
    if (!source)
        return;
    for (size_t i = 0; i < source->n_tensors; i++)
        free(source->tensors[i].name);
    for (size_t i = 0; i < source->n_files; i++) {
        hl_file_unmap(&source->files[i].map);
        free(source->files[i].name);
    }
    hl_gguf_close(source->gguf);
    free(source->tensors);
    free(source->files);
    cJSON_Delete(source->config);
    cJSON_Delete(source->generation_config);
    cJSON_Delete(source->tokenizer_config);
    free(source->license);
    free(source->path);
    free(source);
}
