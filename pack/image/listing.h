/* A .hot file in words: for people as text, for scripts as JSON. */
#ifndef HL_PACK_LISTING_H
#define HL_PACK_LISTING_H

#include "runtime/model/hot.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

/* `all`: with every operation and tensor, not only their counts. */
void hl_list_text(const struct hl_hot *hot, bool all, FILE *out);

/* NULL when memory runs out. */
cJSON *hl_list_json(const struct hl_hot *hot);

/* "linear   b2[0] = blocks.0.attn.qkv b1[0] + blocks.0.attn.qkv.bias" */
void hl_list_op(const struct hl_program_view *program, const struct hl_op *op, char *out, size_t n);

#endif
