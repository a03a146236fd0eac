/* The container of .gguf files. It is parsed once, from the start, and every number is checked against the remaining
 * bytes before it is used.
 *
 *   key      u64 n, name[n] | u32 type | value                       a string: u64 n, text[n]
 *                                                                    an array: u32 type | u64 n | n values
 *   tensor   u64 n, name[n] | u32 dims | u64 dim[dims] | u32 type | u64 offset after the padding
 *
 * [https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; ggml/src/gguf.cpp: gguf_init_from_file]. Versions 2 and 3
 * do not differ in anything that matters here; version 1 had 32-bit counts.
 */
#include "pack/source/gguf.h"
#include "base/cleanup.h"
#include "base/sizes.h"

#define VERSIONS "versions 2 and 3 are supported"
#define MAX_KEYS 65536u
#define MAX_TENSORS 65536u
#define NAME_MOST 127u   /* characters of a tensor's name; llama.cpp reads 63 */
#define KEY_MOST 255u    /* the format allows 65535 */
#define KEY_LEAST 13u    /* bytes: a length, a type, and a value of one byte */
#define TENSOR_LEAST 32u /* bytes: a length, one dimension, type and offset */
#define ALIGNMENT 32u
#define ALIGNMENT_MOST (1u << 20)

struct hl_gguf {
    struct hl_gguf_key *keys;
    size_t n_keys;
    struct hl_gguf_tensor *tensors;
    size_t n_tensors;
};

struct reader {
    struct hl_view file;
    size_t at;
    struct hl_error *err;
};

/* Bytes of a value; 0 for types without a fixed size. */
static const uint8_t value_bytes[HL_GGUF_TYPES] = {
    [HL_GGUF_U8] = 1,  [HL_GGUF_I8] = 1,   [HL_GGUF_U16] = 2, [HL_GGUF_I16] = 2, [HL_GGUF_U32] = 4, [HL_GGUF_I32] = 4,
    [HL_GGUF_F32] = 4, [HL_GGUF_BOOL] = 1, [HL_GGUF_U64] = 8, [HL_GGUF_I64] = 8, [HL_GGUF_F64] = 8,
};

/* From enum ggml_type in ggml.h and the blocks in ggml-common.h; the gaps are types that ggml has removed. */
static const struct tensor_type {
    const char *name;
    uint16_t numbers, bytes; /* of a block, along a row */
} tensor_types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},      [3] = {"Q4_1", 32, 20},
    [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},      [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},
    [10] = {"Q2_K", 256, 84},    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66}, [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},   [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},   [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},        [29] = {"IQ1_M", 256, 56},
    [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},   [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},
    [40] = {"NVFP4", 64, 36},    [41] = {"Q1_0", 128, 18},
};

const char *hl_gguf_type_name(uint32_t type)
{
    return type < HL_COUNT(tensor_types) ? tensor_types[type].name : NULL;
}

/* ---- reading ---- */

static size_t left(const struct reader *r)
{
    return r->file.size - r->at;
}

static int cut_short(const struct reader *r, const char *what)
{
    return hl_fail(r->err, "%s at byte %zu reaches beyond the file of %zu bytes; was the download cut short?", what,
                   r->at, r->file.size);
}

static int take(struct reader *r, const char *what, void *out, size_t n)
{
    memset(out, 0, n);
    if (n > left(r))
        return cut_short(r, what);
    memcpy(out, r->file.data + r->at, n);
    r->at += n;
    return 0;
}

/* Takes the next `count` items of `each` bytes. */
static int take_view(struct reader *r, const char *what, uint64_t count, uint64_t each, struct hl_view *out)
{
    uint64_t bytes;
    *out = (struct hl_view){NULL, 0};
    if (!hl_mul(count, each, &bytes) || bytes > left(r))
        return cut_short(r, what);
    *out = (struct hl_view){r->file.data + r->at, (size_t)bytes};
    r->at += (size_t)bytes;
    return 0;
}

static int take_text(struct reader *r, const char *what, struct hl_view *out)
{
    uint64_t n;
    *out = (struct hl_view){NULL, 0};
    return take(r, what, &n, sizeof n) < 0 ? -1 : take_view(r, what, n, 1, out);
}

/* Takes a name. Messages show names unchanged, so they must be printable ASCII. */
static int take_name(struct reader *r, const char *what, size_t most, struct hl_view *out)
{
    size_t start = r->at;
    if (take_text(r, what, out) < 0)
        return -1;
    if (out->size == 0 || out->size > most)
        return hl_fail(r->err, "%s at byte %zu has %zu characters; it must have 1 to %zu", what, start, out->size,
                       most);
    for (size_t i = 0; i < out->size; i++)
        if (out->data[i] < ' ' || out->data[i] > '~')
            return hl_fail(r->err, "%s at byte %zu is not printable ASCII", what, start);
    return 0;
}

static int take_array(struct reader *r, struct hl_gguf_value *value)
{
    uint32_t item;
    if (take(r, "an array's type", &item, sizeof item) < 0 ||
        take(r, "an array's length", &value->count, sizeof value->count) < 0)
        return -1;
    if (item >= HL_GGUF_TYPES || item == HL_GGUF_ARRAY)
        return hl_fail(r->err, "an array of type %u is not supported", item);
    value->item = (enum hl_gguf_type)item;
    if (item != HL_GGUF_STRING)
        return take_view(r, "an array", value->count, value_bytes[item], &value->bytes);
    size_t start = r->at;
    struct hl_view text;
    for (uint64_t i = 0; i < value->count; i++) /* each item takes at least eight bytes, which limits the count */
        if (take_text(r, "an array's text", &text) < 0)
            return -1;
    value->bytes = (struct hl_view){r->file.data + start, r->at - start};
    return 0;
}

static int take_value(struct reader *r, struct hl_gguf_value *value)
{
    uint32_t type;
    if (take(r, "its type", &type, sizeof type) < 0)
        return -1;
    if (type >= HL_GGUF_TYPES)
        return hl_fail(r->err, "type %u is unknown", type);
    *value = (struct hl_gguf_value){.type = (enum hl_gguf_type)type, .item = (enum hl_gguf_type)type, .count = 1};
    if (type == HL_GGUF_ARRAY)
        return take_array(r, value);
    if (type != HL_GGUF_STRING)
        return take_view(r, "its value", 1, value_bytes[type], &value->bytes);
    if (take_text(r, "its text", &value->bytes) < 0)
        return -1;
    return hl_view_is_text(value->bytes) ? 0 : hl_fail(r->err, "its text is not UTF-8 without NUL");
}

/* ---- sorted by name ---- */

static int compare_names(struct hl_view a, struct hl_view b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, n);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *a, const void *b)
{
    return compare_names(((const struct hl_gguf_key *)a)->name, ((const struct hl_gguf_key *)b)->name);
}

static int by_tensor(const void *a, const void *b)
{
    return compare_names(((const struct hl_gguf_tensor *)a)->name, ((const struct hl_gguf_tensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const struct hl_gguf_tensor *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

/* ---- the parts of the file ---- */

static int read_header(struct reader *r, uint64_t *n_tensors, uint64_t *n_keys)
{
    char magic[4];
    uint32_t version;
    if (take(r, "the magic", magic, sizeof magic) < 0)
        return -1;
    if (memcmp(magic, "GGUF", sizeof magic) != 0)
        return hl_fail(r->err, "it does not begin with GGUF; name a model's folder or a .gguf file");
    if (take(r, "the version", &version, sizeof version) < 0)
        return -1;
    if (version && (version & 0xffff) == 0)
        return hl_fail(r->err, "the file is big-endian, which is not supported; convert the model again");
    if (version == 1)
        return hl_fail(r->err, "version 1 of the format is not supported; " VERSIONS ": convert the model again");
    if (version < 2 || version > 3)
        return hl_fail(r->err, "version %u of the format is unknown; " VERSIONS, version);
    if (take(r, "the number of tensors", n_tensors, sizeof *n_tensors) < 0 ||
        take(r, "the number of keys", n_keys, sizeof *n_keys) < 0)
        return -1;
    if (*n_tensors > MAX_TENSORS || *n_tensors * TENSOR_LEAST > left(r))
        return hl_fail(r->err, "the file claims %llu tensors, more than fit into it; was the download cut short?",
                       (unsigned long long)*n_tensors);
    if (*n_keys > MAX_KEYS || *n_keys * KEY_LEAST > left(r))
        return hl_fail(r->err, "the file claims %llu keys, more than fit into it; was the download cut short?",
                       (unsigned long long)*n_keys);
    return 0;
}

static int read_keys(struct reader *r, struct hl_gguf *gguf, uint64_t n)
{
    gguf->keys = calloc((size_t)n + 1, sizeof *gguf->keys);
    if (!gguf->keys)
        return hl_no_memory(r->err);
    for (; gguf->n_keys < n; gguf->n_keys++) {
        struct hl_gguf_key *key = &gguf->keys[gguf->n_keys];
        if (take_name(r, "the name of a key", KEY_MOST, &key->name) < 0)
            return -1;
        if (take_value(r, &key->value) < 0)
            return hl_error_prefix(r->err, "%.*s", (int)key->name.size, (const char *)key->name.data);
    }
    qsort(gguf->keys, gguf->n_keys, sizeof *gguf->keys, by_key);
    for (size_t i = 1; i < gguf->n_keys; i++)
        if (by_key(&gguf->keys[i - 1], &gguf->keys[i]) == 0)
            return hl_fail(r->err, "%.*s occurs twice", (int)gguf->keys[i].name.size,
                           (const char *)gguf->keys[i].name.data);
    return 0;
}

/* Reads dimensions and type, and computes the bytes that they need. */
static int read_shape(struct reader *r, struct hl_gguf_tensor *t)
{
    uint64_t blocks;
    if (take(r, "its dimensions", &t->n_dims, sizeof t->n_dims) < 0)
        return -1;
    if (t->n_dims < 1 || t->n_dims > 4)
        return hl_fail(r->err, "it has %u dimensions; it must have 1 to 4", t->n_dims);
    for (uint32_t i = 0; i < 4; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims && take(r, "its dimensions", &t->dims[i], sizeof t->dims[i]) < 0)
            return -1;
        if (t->dims[i] == 0)
            return hl_fail(r->err, "dimension %u is 0", i);
    }
    if (take(r, "its type", &t->type, sizeof t->type) < 0)
        return -1;
    if (!hl_gguf_type_name(t->type))
        return hl_fail(r->err, "type %u is unknown", t->type);
    const struct tensor_type *type = &tensor_types[t->type];
    if (t->dims[0] % type->numbers)
        return hl_fail(r->err, "rows of %llu numbers do not fill the blocks of %u that %s has",
                       (unsigned long long)t->dims[0], type->numbers, type->name);
    blocks = t->dims[0] / type->numbers;
    for (uint32_t i = 1; i < 4; i++)
        if (!hl_mul(blocks, t->dims[i], &blocks))
            return hl_fail(r->err, "the product of its dimensions overflows");
    return hl_mul(blocks, type->bytes, &t->bytes) ? 0 : hl_fail(r->err, "the product of its dimensions overflows");
}

/* Reads the tensors. Their `offsets` count from the start of the data. */
static int read_tensors(struct reader *r, struct hl_gguf *gguf, uint64_t n, uint64_t *offsets)
{
    gguf->tensors = calloc((size_t)n + 1, sizeof *gguf->tensors);
    if (!gguf->tensors)
        return hl_no_memory(r->err);
    for (; gguf->n_tensors < n; gguf->n_tensors++) {
        struct hl_gguf_tensor *t = &gguf->tensors[gguf->n_tensors];
        if (take_name(r, "the name of a tensor", NAME_MOST, &t->name) < 0)
            return -1;
        if (read_shape(r, t) < 0 || take(r, "its offset", &offsets[gguf->n_tensors], sizeof *offsets) < 0)
            return hl_error_prefix(r->err, "tensor %.*s", (int)t->name.size, (const char *)t->name.data);
    }
    return 0;
}

static int find_alignment(const struct reader *r, const struct hl_gguf *gguf, uint64_t *out)
{
    static const char key[] = "general.alignment";
    const struct hl_gguf_value *value = hl_gguf_get(gguf, key);
    *out = ALIGNMENT;
    if (value && (!hl_gguf_count(value, ALIGNMENT_MOST, out) || *out == 0 || (*out & (*out - 1))))
        return hl_fail(r->err, "%s must be a power of two up to %u", key, ALIGNMENT_MOST);
    return 0;
}

/* Converts offsets to pointers. */
static int place_tensors(const struct reader *r, struct hl_gguf *gguf, const uint64_t *offsets, struct hl_view data,
                         uint64_t alignment)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct hl_gguf_tensor *t = &gguf->tensors[i];
        if (offsets[i] % alignment)
            return hl_fail(r->err, "tensor %.*s: offset %llu is not a multiple of %llu", (int)t->name.size,
                           (const char *)t->name.data, (unsigned long long)offsets[i], (unsigned long long)alignment);
        if (!hl_in_range(offsets[i], t->bytes, data.size))
            return hl_fail(r->err,
                           "tensor %.*s: %llu bytes from offset %llu reach beyond the %zu bytes of data; was the "
                           "download cut short?",
                           (int)t->name.size, (const char *)t->name.data, (unsigned long long)t->bytes,
                           (unsigned long long)offsets[i], data.size);
        t->data = data.data + offsets[i];
    }
    return 0;
}

/* Fails if two tensors overlap, or if bytes other than padding belong to no tensor: a file could hide something there.
 */
static int check_cover(const struct reader *r, struct hl_gguf *gguf, struct hl_view data, uint64_t alignment)
{
    struct hl_gguf_tensor *t = gguf->tensors;
    uint64_t end = 0;
    qsort(t, gguf->n_tensors, sizeof *t, by_place);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        uint64_t begin = (uint64_t)(t[i].data - data.data);
        if (begin < end)
            return hl_fail(r->err, "tensor %.*s overlaps tensor %.*s", (int)t[i].name.size,
                           (const char *)t[i].name.data, (int)t[i - 1].name.size, (const char *)t[i - 1].name.data);
        if (begin - end >= alignment)
            return hl_fail(r->err, "tensor %.*s: %llu bytes before it belong to no tensor", (int)t[i].name.size,
                           (const char *)t[i].name.data, (unsigned long long)(begin - end));
        end = begin + t[i].bytes;
    }
    if (data.size - end >= alignment)
        return hl_fail(r->err, "the last %llu bytes belong to no tensor", (unsigned long long)(data.size - end));
    return 0;
}

static int check_names(const struct reader *r, struct hl_gguf *gguf)
{
    struct hl_gguf_tensor *t = gguf->tensors;
    qsort(t, gguf->n_tensors, sizeof *t, by_tensor);
    for (size_t i = 1; i < gguf->n_tensors; i++)
        if (by_tensor(&t[i - 1], &t[i]) == 0)
            return hl_fail(r->err, "tensor %.*s occurs twice", (int)t[i].name.size, (const char *)t[i].name.data);
    return 0;
}

static int read_all(struct reader *r, struct hl_gguf *gguf)
{
    uint64_t n_tensors = 0, n_keys = 0, alignment;
    if (read_header(r, &n_tensors, &n_keys) < 0 || read_keys(r, gguf, n_keys) < 0)
        return -1;
    HL_FREE uint64_t *offsets = calloc((size_t)n_tensors + 1, sizeof *offsets);
    if (!offsets)
        return hl_no_memory(r->err);
    if (read_tensors(r, gguf, n_tensors, offsets) < 0 || find_alignment(r, gguf, &alignment) < 0)
        return -1;
    uint64_t start = hl_round_up(r->at, alignment);
    start = start < r->file.size ? start : r->file.size; /* a file without tensors may lack the padding */
    struct hl_view data = {r->file.data + start, r->file.size - (size_t)start};
    if (place_tensors(r, gguf, offsets, data, alignment) < 0 || check_cover(r, gguf, data, alignment) < 0)
        return -1;
    return check_names(r, gguf);
}

int hl_gguf_open(struct hl_view file, const char *name, struct hl_gguf **out, struct hl_error *err)
{
    struct reader r = {.file = file, .err = err};
    struct hl_gguf *gguf = calloc(1, sizeof *gguf);
    if (!gguf)
        return hl_no_memory(err);
    if (read_all(&r, gguf) < 0) {
        hl_gguf_close(gguf);
        return hl_error_prefix(err, "%s", name);
    }
    *out = gguf;
    return 0;
}

void hl_gguf_close(struct hl_gguf *gguf)
{
    if (!gguf)
        return;
    free(gguf->keys);
    free(gguf->tensors);
    free(gguf);
}

/* ---- access ---- */

const struct hl_gguf_key *hl_gguf_keys(const struct hl_gguf *gguf, size_t *n)
{
    *n = gguf->n_keys;
    return gguf->keys;
}

const struct hl_gguf_tensor *hl_gguf_tensors(const struct hl_gguf *gguf, size_t *n)
{
    *n = gguf->n_tensors;
    return gguf->tensors;
}

const struct hl_gguf_value *hl_gguf_get(const struct hl_gguf *gguf, const char *key)
{
    const struct hl_gguf_key wanted = {.name = {(const uint8_t *)key, strlen(key)}};
    const struct hl_gguf_key *found = bsearch(&wanted, gguf->keys, gguf->n_keys, sizeof wanted, by_key);
    return found ? &found->value : NULL;
}

static bool count_of(enum hl_gguf_type type, const uint8_t *bytes, uint64_t most, uint64_t *out)
{
    static const uint8_t is_signed[HL_GGUF_TYPES] = {
        [HL_GGUF_I8] = 1, [HL_GGUF_I16] = 1, [HL_GGUF_I32] = 1, [HL_GGUF_I64] = 1};
    uint64_t number = 0;
    size_t n = value_bytes[type];
    if (type == HL_GGUF_F32 || type == HL_GGUF_F64 || type == HL_GGUF_BOOL || n == 0)
        return false;
    memcpy(&number, bytes, n);
    if ((is_signed[type] && bytes[n - 1] >= 0x80) || number > most)
        return false;
    *out = number;
    return true;
}

static bool real_of(enum hl_gguf_type type, const uint8_t *bytes, double *out)
{
    float single;
    if (type == HL_GGUF_F64)
        memcpy(out, bytes, sizeof *out);
    else if (type == HL_GGUF_F32) {
        memcpy(&single, bytes, sizeof single);
        *out = (double)single;
    } else
        return false;
    return true;
}

static bool truth_of(enum hl_gguf_type type, const uint8_t *bytes, bool *out)
{
    if (type != HL_GGUF_BOOL || *bytes > 1)
        return false;
    *out = *bytes;
    return true;
}

bool hl_gguf_count(const struct hl_gguf_value *value, uint64_t most, uint64_t *out)
{
    return value && count_of(value->type, value->bytes.data, most, out);
}

bool hl_gguf_real(const struct hl_gguf_value *value, double *out)
{
    return value && real_of(value->type, value->bytes.data, out);
}

bool hl_gguf_truth(const struct hl_gguf_value *value, bool *out)
{
    return value && truth_of(value->type, value->bytes.data, out);
}

bool hl_gguf_text(const struct hl_gguf_value *value, struct hl_view *out)
{
    if (!value || value->type != HL_GGUF_STRING)
        return false;
    *out = value->bytes;
    return true;
}

bool hl_gguf_next_text(const struct hl_gguf_value *array, size_t *at, struct hl_view *out)
{
    uint64_t n;
    if (!array || array->type != HL_GGUF_ARRAY || array->item != HL_GGUF_STRING || *at >= array->bytes.size)
        return false;
    memcpy(&n, array->bytes.data + *at, sizeof n);
    *out = (struct hl_view){array->bytes.data + *at + sizeof n, (size_t)n};
    *at += sizeof n + (size_t)n;
    return true;
}

/* Returns NULL beyond the end. */
static const uint8_t *item_at(const struct hl_gguf_value *array, uint64_t index)
{
    if (!array || array->type != HL_GGUF_ARRAY || array->item == HL_GGUF_STRING || index >= array->count)
        return NULL;
    return array->bytes.data + index * value_bytes[array->item];
}

bool hl_gguf_item_count(const struct hl_gguf_value *array, uint64_t index, uint64_t most, uint64_t *out)
{
    const uint8_t *item = item_at(array, index);
    return item && count_of(array->item, item, most, out);
}

bool hl_gguf_item_truth(const struct hl_gguf_value *array, uint64_t index, bool *out)
{
    const uint8_t *item = item_at(array, index);
    return item && truth_of(array->item, item, out);
}

bool hl_gguf_item_real(const struct hl_gguf_value *array, uint64_t index, double *out)
{
    const uint8_t *item = item_at(array, index);
    return item && real_of(array->item, item, out);
}
