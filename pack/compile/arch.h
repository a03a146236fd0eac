/* The mathematics of a model, as numbers out of config.json. Every family fills in this one struct. */
#ifndef HL_PACK_COMPILE_ARCH_H
#define HL_PACK_COMPILE_ARCH_H

#include "base/error.h"
#include "hotlayer/program.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum hl_rope_scaling {
    HL_ROPE_PLAIN,
    HL_ROPE_LINEAR, /* divides every frequency by `factor` */
    HL_ROPE_LLAMA3, /* divides low frequencies, keeps high ones, blends those in between */
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
    bool out_bias; /* the attention's output projection has a bias */
    bool mlp_bias; /* gate, up and down have biases */

    bool scaled_embedding; /* multiplies rows by sqrt(width), rounded to the embedding's own type */
    bool norms_add_one;    /* a norm multiplies by 1 + weight */
    bool post_norms;       /* normalizes the results of attention and ffn before it adds them */
    bool qk_norm;          /* normalizes each head of q and k before it rotates the head */
    enum hl_activation activation;

    double attention_scale;            /* multiplies the product q k */
    float attention_softcap;           /* cap tanh(score / cap); 0: none */
    float logit_softcap;               /* 0: no cap */
    uint32_t window;                   /* of the sliding blocks; 0: no block slides */
    bool slides[HL_PROGRAM_MAX_KVS];   /* the block sees only the last `window` positions */
    struct hl_rope rope, sliding_rope; /* of the full blocks, of the sliding blocks */
};

/* Reads config.json. Refuses, by name, an unknown field that could change the mathematics. */
int hl_arch_read(const cJSON *config, struct hl_arch *out, struct hl_error *err);

/* ---- shared by the files arch*.c ---- */

/* Read a field as a number. An absent field gives `otherwise`; with 0 for `otherwise` the field must be present. */
int hl_arch_count(const cJSON *config, const char *field, uint32_t least, uint32_t most, uint32_t otherwise,
                  uint32_t *out, struct hl_error *err);
int hl_arch_real(const cJSON *config, const char *field, double otherwise, double *out, struct hl_error *err);

/* Reads rope_theta with rope_scaling, or rope_parameters. Gemma 3 adds rope_local_base_freq, or one set of parameters
 * for each kind of block. */
int hl_arch_read_rope(const cJSON *config, struct hl_arch *a, struct hl_error *err);

/* Fails if a field is neither read here nor known to be harmless, unless its value is null, false or empty. `own` lists
 * the family's own fields, with a space before and after each. */
int hl_arch_check_fields(const cJSON *config, const char *own, struct hl_error *err);

#endif
