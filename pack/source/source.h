/* A model as it comes: its configuration and its named tensors, wherever they were. Everything behind works on this. */
#ifndef HL_PACK_SOURCE_SOURCE_H
#define HL_PACK_SOURCE_SOURCE_H

#include "base/bytes.h"
#include "base/error.h"
#include "pack/source/gguf.h"
#include <cjson/cJSON.h>

#define HL_MAX_DIMS 4
#define HL_ROPE_DIVISORS "rope_freqs.weight" /* a tensor of .gguf files that Hugging Face has no name for */

/* Numbers lie one by one, or, in the types of a .gguf from Q8_0 on, in blocks along a row (pack/source/blocks.h). */
enum hl_dtype {
    HL_DTYPE_F32,
    HL_DTYPE_F16,
    HL_DTYPE_BF16,
    HL_DTYPE_Q8_0,
    HL_DTYPE_Q4_0,
    HL_DTYPE_Q4_1,
    HL_DTYPE_Q5_0,
    HL_DTYPE_Q5_1,
    HL_DTYPE_Q4_K,
    HL_DTYPE_Q5_K,
    HL_DTYPE_Q6_K,
};
#define HL_DTYPES (HL_DTYPE_Q6_K + 1)

struct hl_source_tensor {
    char *name; /* Hugging Face's, whatever the file calls it */
    enum hl_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[HL_MAX_DIMS]; /* row-major, outermost first */
    uint32_t paired_heads;       /* rows of that many heads whose halves lie row by row in turn; 0: they do not */
    const uint8_t *data;         /* mapped; not aligned */
    uint64_t bytes;              /* what the shape's numbers take in this dtype */
    const char *file;            /* for messages; the source owns it */
};

struct hl_source_file {
    char *name;
    struct hl_view map;
};

/* A .gguf's metadata are put into the words of the Hugging Face files, so that one compiler serves both. */
struct hl_source {
    char *path;                       /* as the user named it */
    const char *folder;               /* where other files of the model may be; NULL: there are none */
    const char *config_name;          /* of `config` in messages: "config.json", "the metadata" */
    const char *format;               /* "safetensors", "gguf" */
    cJSON *config;                    /* config.json */
    cJSON *generation_config;         /* generation_config.json, or NULL */
    cJSON *tokenizer_config;          /* tokenizer_config.json, or NULL */
    char *license;                    /* what the model says of it; or NULL */
    struct hl_gguf *gguf;             /* the metadata of a .gguf, for the vocabulary; NULL: none */
    bool norms_complete;              /* the norms' weights contain the 1 that Gemma adds to them */
    struct hl_source_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    struct hl_source_file *files;
    size_t n_files;
};

/* Opens a Hugging Face folder (config.json and model.safetensors, or the files that model.safetensors.index.json names)
 * or a .gguf file; of one in parts, the first. Checks every length and offset; the data of the tensors stays on disk.
 * The caller closes it. */
int hl_source_open(const char *path, struct hl_source **out, struct hl_error *err);
void hl_source_close(struct hl_source *source);

/* Sorts the tensors, which hl_source_find() needs, when all are there. Two of one name are an error. */
int hl_source_sort(struct hl_source *source, struct hl_error *err);

/* NULL when there is none. */
const struct hl_source_tensor *hl_source_find(const struct hl_source *source, const char *name);

/* Numbers of a block of this type, and its bytes; of types that have no blocks, 1 and the number's. */
uint32_t hl_dtype_block(enum hl_dtype dtype);
uint32_t hl_dtype_block_bytes(enum hl_dtype dtype);
static inline bool hl_dtype_is_quantized(enum hl_dtype dtype)
{
    return dtype >= HL_DTYPE_Q8_0;
}

/* The bytes of `n` numbers; false on overflow, or when they do not fill their blocks. */
bool hl_dtype_bytes(enum hl_dtype dtype, uint64_t n, uint64_t *out);
const char *hl_dtype_name(enum hl_dtype dtype);

/* How many numbers the shape holds. */
uint64_t hl_source_count(const struct hl_source_tensor *tensor);

/* Where row `row`, in Hugging Face's order, lies in the tensor: llama.cpp's converter puts row i of a head's first half
 * at 2i and row i of its second half at 2i + 1. */
uint64_t hl_source_row(const struct hl_source_tensor *tensor, uint64_t row);

/* Sets source->license from the front matter of the folder's README.md, if that says one. */
int hl_source_find_license(struct hl_source *source, struct hl_error *err);

/* Sets source->license, unless it is no short text; fails only when memory runs out. */
int hl_source_set_license(struct hl_source *source, struct hl_view text, struct hl_error *err);

/* Appends the tensors of one safetensors file, already mapped, to a source. Their names must be new. */
int hl_safetensors_read(struct hl_source *source, const struct hl_source_file *file, struct hl_error *err);

/* Fills a source from the files of a .gguf, already mapped: one, or all of its parts in order. */
int hl_gguf_read(struct hl_source *source, struct hl_error *err);

/* "model-00002-of-00003.gguf" is part 2 of 3. False when the name is none of a part. */
bool hl_gguf_part(const char *name, uint32_t *part, uint32_t *parts);

#endif
