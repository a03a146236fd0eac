/* A model as it comes: its configuration and its named tensors, wherever they were. Everything behind works on this. */
#ifndef HL_PACK_SOURCE_H
#define HL_PACK_SOURCE_H

#include "hotlayer/error.h"
#include "pack/bytes.h"
#include <cjson/cJSON.h>

#define HL_MAX_DIMS 4

enum hl_dtype { HL_DTYPE_F32, HL_DTYPE_F16, HL_DTYPE_BF16 };

struct hl_source_tensor {
    char *name;
    enum hl_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[HL_MAX_DIMS]; /* row-major, outermost first */
    const uint8_t *data;         /* mapped; not aligned */
    uint64_t bytes;              /* product of the shape, times the dtype's size */
    const char *file;            /* for messages; the source owns it */
};

struct hl_source_file {
    char *name;
    struct hl_view map;
};

struct hl_source {
    char *folder;
    cJSON *config;                    /* config.json */
    cJSON *generation_config;         /* generation_config.json, or NULL */
    cJSON *tokenizer_config;          /* tokenizer_config.json, or NULL */
    struct hl_source_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    struct hl_source_file *files;
    size_t n_files;
};

/* Opens a Hugging Face folder: config.json and model.safetensors, or the files that model.safetensors.index.json names.
 * Checks every length and offset; the data of the tensors stays on disk. The caller closes it. */
int hl_source_open(const char *folder, struct hl_source **out, struct hl_error *err);
void hl_source_close(struct hl_source *source);

/* NULL when there is none. */
const struct hl_source_tensor *hl_source_find(const struct hl_source *source, const char *name);

size_t hl_dtype_bytes(enum hl_dtype dtype);
const char *hl_dtype_name(enum hl_dtype dtype);

/* Appends the tensors of one safetensors file, already mapped, to a source. Their names must be new. */
int hl_safetensors_read(struct hl_source *source, const struct hl_source_file *file, struct hl_error *err);

#endif
