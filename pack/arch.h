/* What config.json says of a model's mathematics, in numbers. */
#ifndef HL_PACK_ARCH_H
#define HL_PACK_ARCH_H

#include "hotlayer/error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

struct hl_arch {
    const char *family; /* "llama" */
    uint32_t width;     /* hidden_size */
    uint32_t blocks;    /* num_hidden_layers */
    uint32_t heads, kv_heads, head_dim;
    uint32_t ffn; /* intermediate_size */
    uint32_t vocabulary;
    uint32_t context; /* max_position_embeddings */
    double rope_theta;
    float eps;
    bool tied;           /* the head is the embedding */
    bool attention_bias; /* q, k, v and o have biases */
    bool mlp_bias;       /* gate, up and down have biases */
};

/* Reads a Llama-type config.json. What would change the mathematics and is not known here is refused by name. */
int hl_arch_read(const cJSON *config, struct hl_arch *out, struct hl_error *err);

#endif
