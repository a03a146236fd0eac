/* Describes a .hot file: as text for people, as JSON for scripts. */
#ifndef HL_PACK_IMAGE_LISTING_H
#define HL_PACK_IMAGE_LISTING_H

#include "runtime/model/hot.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

/* Prints a description. `all`: every operation and tensor, not only their counts. */
void hl_listing_text(const struct hl_hot *hot, bool all, FILE *out);

/* Returns the same as JSON, which the caller frees; NULL if memory runs out. */
cJSON *hl_listing_json(const struct hl_hot *hot);

/* Formats one operation: "linear   b2[0] = blocks.0.attn.qkv b1[0] + blocks.0.attn.qkv.bias" */
void hl_listing_op(const struct hl_program_view *program, const struct hl_op *op, char *out, size_t n);

#endif
