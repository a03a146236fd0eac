/* A published model: its configuration and its named tensors, in whatever format. The rest of the packer works on this.
 */
#ifndef HL_PACK_SOURCE_SOURCE_H
#define HL_PACK_SOURCE_SOURCE_H

#include "base/bytes.h"
#include "base/error.h"
#include "pack/source/gguf.h"
#include <cjson/cJSON.h>

#define HL_MAX_DIMS 4
#define HL_ROPE_DIVISORS "rope_freqs.weight" /* a tensor of .gguf files that Hugging Face does not have */

/* Plain numbers, and from Q8_0 on the types of a .gguf, whose numbers are in blocks along a row (pack/source/blocks.h).
 */
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
    char *name; /* Hugging Face's name, also for a .gguf */
    enum hl_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[HL_MAX_DIMS]; /* row-major, outermost first */
    uint32_t paired_heads;       /* rows of so many heads alternate between the halves (hl_source_row()); 0: they do not
                                  */
    const uint8_t *data;         /* mapped; not aligned */
    uint64_t bytes;              /* the size of the shape's numbers in this dtype */
    const char *file;            /* for messages; owned by the source */
};

struct hl_source_file {
    char *name;
    struct hl_view map;
};

/* The metadata of a .gguf are translated into the Hugging Face files, so that one compiler handles both. */
struct hl_source {
    char *path;                       /* as the user wrote it */
    const char *folder;               /* may hold other files of the model; NULL: there is no folder */
    const char *config_name;          /* what messages call `config`: "config.json", "the metadata" */
    const char *format;               /* "safetensors", "gguf" */
    cJSON *config;                    /* config.json */
    cJSON *generation_config;         /* generation_config.json, or NULL */
    cJSON *tokenizer_config;          /* tokenizer_config.json, or NULL */
    char *license;                    /* the license that the model names, or NULL */
    struct hl_gguf *gguf;             /* the metadata of a .gguf, for the vocabulary; else NULL */
    bool norms_complete;              /* the norms' weights include the 1 that Gemma adds */
    struct hl_source_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    struct hl_source_file *files;
    size_t n_files;
};

/* Opens a Hugging Face folder (config.json, and model.safetensors or the files that model.safetensors.index.json names)
 * or a .gguf file; of a .gguf in parts, the first. Checks every length and offset. The data of the tensors stays on
 * disk. The caller closes the source. */
int hl_source_open(const char *path, struct hl_source **out, struct hl_error *err);
void hl_source_close(struct hl_source *source);

/* Sorts the tensors for hl_source_find(), once all have been added. Fails if two have the same name. */
int hl_source_sort(struct hl_source *source, struct hl_error *err);

/* Returns NULL if the tensor does not exist. */
const struct hl_source_tensor *hl_source_find(const struct hl_source *source, const char *name);

/* Return the numbers in a block of this type, and its bytes. A type without blocks has blocks of one number. */
uint32_t hl_dtype_block(enum hl_dtype dtype);
uint32_t hl_dtype_block_bytes(enum hl_dtype dtype);
static inline bool hl_dtype_is_quantized(enum hl_dtype dtype)
{
    return dtype >= HL_DTYPE_Q8_0;
}

/* Computes the bytes of `n` numbers. Returns false on overflow, or if the numbers do not fill whole blocks. */
bool hl_dtype_bytes(enum hl_dtype dtype, uint64_t n, uint64_t *out);
const char *hl_dtype_name(enum hl_dtype dtype);

/* Returns how many numbers the shape holds. */
uint64_t hl_source_count(const struct hl_source_tensor *tensor);

/* Returns where row `row`, in Hugging Face's order, is in the tensor. Hugging Face rotates halves (x_i with x_{i+d/2});
 * the original Llama files and GGUF rotate neighbors. So llama.cpp's converter puts row i of a head's first half at 2i,
 * and row i of its second half at 2i + 1. */
uint64_t hl_source_row(const struct hl_source_tensor *tensor, uint64_t row);

/* Sets source->license from the front matter of the folder's README.md, if it names a license. */
int hl_source_find_license(struct hl_source *source, struct hl_error *err);

/* Sets source->license, unless the text is too long or not UTF-8. Fails only if memory runs out. */
int hl_source_set_license(struct hl_source *source, struct hl_view text, struct hl_error *err);

/* Appends the tensors of one mapped safetensors file to a source. Their names must be new. */
int hl_safetensors_read(struct hl_source *source, const struct hl_source_file *file, struct hl_error *err);

/* Fills a source from the mapped files of a .gguf: one file, or all parts in order. */
int hl_gguf_read(struct hl_source *source, struct hl_error *err);

/* Parses a part's name: "model-00002-of-00003.gguf" is part 2 of 3. Returns false for any other name. */
bool hl_gguf_part(const char *name, uint32_t *part, uint32_t *parts);

#endif
