/* Writes models of random numbers in the exact shape of published ones, for benchmarks: config.json, tokenizer and
 * tensors as in a Hugging Face folder. The text that such a model generates is meaningless; its speed is the real
 * one's.
 *
 * Every number of a shape comes from the config.json on huggingface.co, of the instruction-tuned model if there are
 * two: google/gemma-*, meta-llama/Llama-*, mistralai/Mistral-7B-Instruct-v0.3, Qwen/Qwen*.
 */
#ifndef HL_PACK_SYNTH_SYNTH_H
#define HL_PACK_SYNTH_SYNTH_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/progress.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum hl_synth_family {
    HL_SYNTH_LLAMA,
    HL_SYNTH_MISTRAL,
    HL_SYNTH_QWEN2,
    HL_SYNTH_QWEN3,
    HL_SYNTH_GEMMA,
    HL_SYNTH_GEMMA2,
    HL_SYNTH_GEMMA3,
};

enum hl_synth_vocabulary {
    HL_SYNTH_SPM_LLAMA2,
    HL_SYNTH_SPM_MISTRAL,
    HL_SYNTH_SPM_GEMMA,
    HL_SYNTH_SPM_GEMMA3,
    HL_SYNTH_BPE_LLAMA3,
    HL_SYNTH_BPE_LLAMA31,
    HL_SYNTH_BPE_QWEN2,
    HL_SYNTH_BPE_QWEN25,
    HL_SYNTH_BPE_QWEN3,
    HL_SYNTH_VOCABULARIES,
};

struct hl_synth_model {
    const char *name;
    enum hl_synth_family family;
    enum hl_synth_vocabulary words;
    uint32_t width, blocks, heads, kv_heads, head_dim, ffn;
    uint32_t vocabulary; /* rows of the embedding; at least the number of tokens */
    uint32_t context;
    double rope_theta;
    double rope_factor;    /* of Llama 3.1's or Gemma 3's scaling; 0: not scaled */
    uint32_t window;       /* of the blocks that have one; 0: no block has one */
    uint32_t query_scalar; /* Gemma 2 and 3: queries are divided by its root; 0: by the root of head_dim */
    bool tied;
};

/* Returns all models, *n of them. */
const struct hl_synth_model *hl_synth_models(size_t *n);
/* Returns the model with this name, or NULL. */
const struct hl_synth_model *hl_synth_find(const char *name);

#define HL_SYNTH_NAME_BYTES 64

struct hl_synth_tensor {
    char name[HL_SYNTH_NAME_BYTES];
    uint64_t rows, cols; /* cols 0: a vector of `rows` */
    float mean, sigma;   /* of its elements, normally distributed */
};

/* Lists a model's tensors in the order in which they are written. The caller frees *out. */
int hl_synth_tensors(const struct hl_synth_model *model, struct hl_synth_tensor **out, size_t *n, struct hl_error *err);

/* Counts the elements of a tensor, and the parameters of a model; a tied head is not counted twice. */
uint64_t hl_synth_elements(const struct hl_synth_tensor *tensor);
int hl_synth_parameters(const struct hl_synth_model *model, uint64_t *out, struct hl_error *err);

/* Build config.json, generation_config.json and tokenizer_config.json. The caller deletes them; NULL if memory ran
 * out. */
cJSON *hl_synth_config(const struct hl_synth_model *model);
cJSON *hl_synth_generation_config(const struct hl_synth_model *model);
cJSON *hl_synth_tokenizer_config(const struct hl_synth_model *model);

/* Adds "bos_token_id", "eos_token_id" and "pad_token_id"; false if memory ran out. */
bool hl_synth_put_token_ids(cJSON *config, const struct hl_synth_model *model);

/* Makes the tokenizer's file, tokenizer.model or tokenizer.json; *name says which. The special tokens are the family's
 * at their own ids, the rest are syllables. */
int hl_synth_tokenizer(const struct hl_synth_model *model, const char **name, struct hl_bytes *out,
                       struct hl_error *err);

struct hl_synth {
    const struct hl_synth_model *model;
    const char *folder;  /* empty, or created */
    uint64_t seed;       /* the same seed gives the same bytes, with any number of threads */
    uint64_t file_bytes; /* of tensors in a file, unless one tensor is larger; 0: 5 GB, as Hugging Face's tools cut */
    uint32_t threads;    /* 0: one per core */
    struct hl_progress *progress;
    bool (*stopped)(void); /* every thread calls it every few megabytes: should the writer stop? NULL: never */
};

/* Writes the folder. config.json appears last, when all files are complete and synced; a failure leaves no file. */
int hl_synth_write(const struct hl_synth *synth, struct hl_error *err);

#endif
