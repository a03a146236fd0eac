/* Shared by the files that translate a .gguf into the terms of Hugging Face: pack/source/gguf_source.c translates the
 * tensors, pack/source/gguf_config.c the metadata, pack/source/gguf_tokens.c the facts about single tokens. */
#ifndef HL_PACK_SOURCE_GGUF_MODEL_H
#define HL_PACK_SOURCE_GGUF_MODEL_H

#include "pack/source/source.h"

/* The values of general.architecture; each is a bit, for sets. */
enum hl_gguf_family {
    HL_GGUF_LLAMA = 1 << 0, /* Llama and Mistral */
    HL_GGUF_GEMMA = 1 << 1,
    HL_GGUF_GEMMA2 = 1 << 2,
    HL_GGUF_GEMMA3 = 1 << 3,
    HL_GGUF_QWEN2 = 1 << 4,
    HL_GGUF_QWEN3 = 1 << 5,
};

/* Facts that only the tensors tell, not the metadata. */
struct hl_gguf_facts {
    enum hl_gguf_family family;
    uint64_t rows; /* of the embedding */
    enum hl_dtype dtype;
    uint32_t blocks; /* the highest block that has a tensor, plus one */
    bool head, attention_bias, mlp_bias;
};

int hl_gguf_find_family(const struct hl_gguf *gguf, enum hl_gguf_family *out, struct hl_error *err);

/* Translates source->gguf into source->config. */
int hl_gguf_config(struct hl_source *source, const struct hl_gguf_facts *facts, struct hl_error *err);

/* Translates source->gguf into source->generation_config and source->tokenizer_config. The embedding has `rows` rows.
 */
int hl_gguf_tokens(struct hl_source *source, uint64_t rows, struct hl_error *err);

/* Adds a text of the metadata, which must not contain NUL. Returns false if memory runs out. */
bool hl_gguf_add_text(cJSON *object, const char *field, struct hl_view text);

#endif
