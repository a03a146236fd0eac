/* What config.json says of a model's mathematics, in numbers: the one struct that all families become. */
#ifndef HL_PACK_COMPILE_ARCH_H
#define HL_PACK_COMPILE_ARCH_H

#include "base/error.h"
#include "hotlayer/program.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum hl_rope_scaling {
    HL_ROPE_PLAIN,
    HL_ROPE_LINEAR, /* every frequency divided by `factor` */
    HL_ROPE_LLAMA3, /* long waves divided, short ones kept, those between blended */
};

/* Rotary embedding, as transformers' modeling_rope_utils.py defines it. */
struct hl_rope {
    enum hl_rope_scaling scaling;
    double theta;
    double factor;
    double low, high, original; /* llama3: low_freq_factor, high_freq_factor, original_max_position_embeddings */
};

struct hl_arch {
    const char *family; /* "llama", "mistral", "gemma", "gemma2", "gemma3", "qwen2", "qwen3" */
    uint32_t width;     /* hidden_size */
    uint32_t blocks;    /* num_hidden_layers */
    uint32_t heads, kv_heads, head_dim;
    uint32_t ffn; /* intermediate_size */
    uint32_t vocabulary;
    uint32_t context; /* max_position_embeddings */
    float eps;
    bool tied;     /* the head is the embedding */
    bool qkv_bias; /* q, k and v have biases */
    bool out_bias; /* so has the attention's output */
    bool mlp_bias; /* gate, up and down have biases */

    bool scaled_embedding; /* rows times sqrt(width), rounded to the embedding's own type */
    bool norms_add_one;    /* a norm multiplies by 1 + weight */
    bool post_norms;       /* attention's and ffn's results are normed before they are added */
    bool qk_norm;          /* each head of q and k is normed before it is rotated */
    enum hl_activation activation;

    double attention_scale;            /* of q k */
    float attention_softcap;           /* cap tanh(score / cap); 0: none */
    float logit_softcap;               /* 0: none */
    uint32_t window;                   /* of the blocks that slide; 0: none do */
    bool slides[HL_PROGRAM_MAX_KVS];   /* this block sees the last `window` positions only */
    struct hl_rope rope, sliding_rope; /* of blocks that see everything, of blocks that slide */
};

/* Reads config.json. What would change the mathematics and is not known here is refused by name. */
int hl_arch_read(const cJSON *config, struct hl_arch *out, struct hl_error *err);

/* ---- between the files of the architecture ---- */

/* Fields as numbers and truths. Absent fields give `otherwise`, where there is one (NULL, 0: the field must be there).
 */
int hl_arch_count(const cJSON *config, const char *field, uint32_t least, uint32_t most, uint32_t otherwise,
                  uint32_t *out, struct hl_error *err);
int hl_arch_real(const cJSON *config, const char *field, double otherwise, double *out, struct hl_error *err);

/* rope_theta with rope_scaling, or rope_parameters; in Gemma 3 also rope_local_base_freq, or one set for each kind of
 * block. */
int hl_arch_read_rope(const cJSON *config, struct hl_arch *a, struct hl_error *err);

/* Every field that this program reads or knows to be harmless is on a list; others must say nothing (null, false, or
 * empty). `own` are the family's fields, between spaces. */
int hl_arch_check_fields(const cJSON *config, const char *own, struct hl_error *err);

#endif
