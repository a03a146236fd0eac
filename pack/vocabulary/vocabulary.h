/* A model's own tokenizer files -> the tokenizer section (hotlayer/tokenizer_section.h).
 *
 * Understood: `tokenizer.json` with a BPE model, byte-level (GPT-2, Llama 3, Qwen 2) or SentencePiece-like with byte
 * fallback (Llama 2, Mistral, Gemma); otherwise `tokenizer.model`, a SentencePiece BPE model (unigram models are
 * refused). Where both are there the former counts, as for the transformers library: they are not always the same.
 * `tokenizer_config.json`, when present, says which tokens begin and end a text and which tokens were added; older
 * models with a `tokenizer.model` keep the latter in `added_tokens.json`. Whatever would change results and is not
 * understood is refused, with the file and the field in the message.
 *
 * A tokenizer.model is taken as SentencePiece takes it. (Version 5 of transformers makes of it a pipeline that puts no
 * second space in front of a text that begins with one.) Where tokenizer_config.json says `legacy: false`, only a text
 * that begins without a special token gets the space in front, as there; otherwise each segment between special tokens.
 *
 * A model without any of these gets a section without tokens: its text can neither be read nor written.
 */
#ifndef HL_PACK_VOCABULARY_VOCABULARY_H
#define HL_PACK_VOCABULARY_VOCABULARY_H

#include "base/bytes.h"
#include "base/error.h"
#include "pack/source/source.h"
#include <stdbool.h>
#include <stdint.h>

/* `vocabulary` is the number of embedding rows: more tokens than rows is an error, but for added
 * ones, which are left out; fewer is fine. The same files give
 * the same bytes. out->data is the caller's to free(). */
int hl_vocabulary_build(const struct hl_source *source, uint32_t vocabulary, struct hl_bytes *out,
                        struct hl_error *err);

/* The same from a folder alone. */
int hl_vocabulary_from_folder(const char *folder, uint32_t vocabulary, struct hl_bytes *out, struct hl_error *err);

/* The same from a .gguf's metadata (tokenizer.ggml.*). */
int hl_vocabulary_from_gguf(const struct hl_gguf *gguf, uint32_t vocabulary, struct hl_bytes *out,
                            struct hl_error *err);

/* Has a section no tokens, for want of a tokenizer? */
bool hl_vocabulary_is_empty(const struct hl_bytes *section);

/* The same from files in memory; `model` and `json` are tokenizer.model and tokenizer.json, `config` is
 * tokenizer_config.json, `added` is added_tokens.json. */
struct hl_vocabulary_files {
    struct hl_view model, json, config, added;
};

int hl_vocabulary_from_files(const struct hl_vocabulary_files *files, uint32_t vocabulary, struct hl_bytes *out,
                             struct hl_error *err);

#endif
