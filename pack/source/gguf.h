/* GGUF: metadata and tensors in one file, as llama.cpp and Ollama store models
 * [https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian].
 *
 *   "GGUF" | u32 version | u64 tensors | u64 keys | key/value pairs | tensor infos | padding | data
 *
 * The file stays mapped, and values are views into it. Opening checks every length and offset, even of the strings
 * inside arrays, so a caller may trust the values.
 */
#ifndef HL_PACK_SOURCE_GGUF_H
#define HL_PACK_SOURCE_GGUF_H

#include "base/bytes.h"
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

/* The format's own numbers. */
enum hl_gguf_type {
    HL_GGUF_U8,
    HL_GGUF_I8,
    HL_GGUF_U16,
    HL_GGUF_I16,
    HL_GGUF_U32,
    HL_GGUF_I32,
    HL_GGUF_F32,
    HL_GGUF_BOOL,
    HL_GGUF_STRING,
    HL_GGUF_ARRAY,
    HL_GGUF_U64,
    HL_GGUF_I64,
    HL_GGUF_F64,
    HL_GGUF_TYPES,
};

struct hl_gguf_value {
    enum hl_gguf_type type; /* HL_GGUF_ARRAY: of `item`; arrays of arrays are refused */
    enum hl_gguf_type item;
    uint64_t count;       /* count of items; 1 if it is not an array */
    struct hl_view bytes; /* a string's text (UTF-8 without NUL), a number, or an array's items as stored */
};

struct hl_gguf_key {
    struct hl_view name; /* printable ASCII */
    struct hl_gguf_value value;
};

struct hl_gguf_tensor {
    struct hl_view name; /* printable ASCII */
    uint32_t type;       /* the number of a ggml type that hl_gguf_type_name() knows */
    uint32_t n_dims;     /* 1 to 4 */
    uint64_t dims[4];    /* innermost first; no dimension is 0, those beyond n_dims are 1 */
    const uint8_t *data; /* in the file; not aligned */
    uint64_t bytes;
};

struct hl_gguf;

/* Reads the metadata of a mapped file, which must outlive the result. Messages use `name`. The caller closes the
 * result. */
int hl_gguf_open(struct hl_view file, const char *name, struct hl_gguf **out, struct hl_error *err);
void hl_gguf_close(struct hl_gguf *gguf);

/* Returns all keys, sorted by name. */
const struct hl_gguf_key *hl_gguf_keys(const struct hl_gguf *gguf, size_t *n);
const struct hl_gguf_tensor *hl_gguf_tensors(const struct hl_gguf *gguf, size_t *n);

/* Returns a name such as "Q4_K", or NULL for an unknown number. */
const char *hl_gguf_type_name(uint32_t type);

/* Returns NULL if the key does not exist. */
const struct hl_gguf_value *hl_gguf_get(const struct hl_gguf *gguf, const char *key);

/* Read a value as the type that the caller expects. Return false if it is absent (NULL) or of another type. An integer
 * of any width and sign is a count if it is in [0, most]. */
bool hl_gguf_count(const struct hl_gguf_value *value, uint64_t most, uint64_t *out);
bool hl_gguf_real(const struct hl_gguf_value *value, double *out);
bool hl_gguf_truth(const struct hl_gguf_value *value, bool *out);
bool hl_gguf_text(const struct hl_gguf_value *value, struct hl_view *out);

/* Iterates over an array, from *at = 0; returns false at the end. Only the lengths of these texts have been checked. */
bool hl_gguf_next_text(const struct hl_gguf_value *array, size_t *at, struct hl_view *out);

/* Reads item `index` of an array of numbers, like hl_gguf_count(). Returns false beyond the end. */
bool hl_gguf_item_count(const struct hl_gguf_value *array, uint64_t index, uint64_t most, uint64_t *out);
bool hl_gguf_item_truth(const struct hl_gguf_value *array, uint64_t index, bool *out);
bool hl_gguf_item_real(const struct hl_gguf_value *array, uint64_t index, double *out);

#endif
