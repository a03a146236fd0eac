/* Turns a model's own tokenizer files into the tokenizer section (hotlayer/tokenizer_section.h).
 *
 * Supported: `tokenizer.json` with a BPE model, byte-level (GPT-2, Llama 3, Qwen 2) or SentencePiece-like with byte
 * fallback (Llama 2, Mistral, Gemma); otherwise `tokenizer.model`, a SentencePiece BPE model (unigram models are
 * refused). If both files exist, tokenizer.json counts, as in transformers. They are not always the same: Gemma's
 * tokenizer.json orders some merges differently than the scores of its tokenizer.model and .gguf, so rare texts get
 * other tokens.
 *
 * `tokenizer_config.json`, if present, says which tokens begin and end a text, and which tokens were added. Older
 * models with a `tokenizer.model` keep the added tokens in `added_tokens.json`. An unsupported setting that would
 * change results is refused, with the file and the field in the message.
 *
 * A tokenizer.model is read as SentencePiece reads it. (Version 5 of transformers turns it into a pipeline that does
 * not put a second space before a text that begins with one.) With `legacy: false` in tokenizer_config.json, only a
 * text that begins without a special token gets a leading space, as in transformers; otherwise each segment between
 * special tokens gets one.
 *
 * A model without any of these files gets a section without tokens: its text can be neither read nor written.
 */
#ifndef HL_PACK_VOCABULARY_VOCABULARY_H
#define HL_PACK_VOCABULARY_VOCABULARY_H

#include "base/bytes.h"
#include "base/error.h"
#include "pack/source/source.h"
#include <stdbool.h>
#include <stdint.h>

/* Builds the section; the same files give the same bytes. `vocabulary` is the number of rows of the embedding. More
 * tokens than rows is an error, except that added tokens without a row are left out; fewer tokens are fine. The caller
 * frees out->data. */
int hl_vocabulary_build(const struct hl_source *source, uint32_t vocabulary, struct hl_bytes *out,
                        struct hl_error *err);

/* Builds the section from a folder alone. */
int hl_vocabulary_from_folder(const char *folder, uint32_t vocabulary, struct hl_bytes *out, struct hl_error *err);

/* Builds the section from a .gguf's metadata (tokenizer.ggml.*). */
int hl_vocabulary_from_gguf(const struct hl_gguf *gguf, uint32_t vocabulary, struct hl_bytes *out,
                            struct hl_error *err);

/* Returns true if a section has no tokens because the model came without a tokenizer. */
bool hl_vocabulary_is_empty(const struct hl_bytes *section);

/* Builds the section from files in memory. `model` is tokenizer.model, `json` is tokenizer.json, `config` is
 * tokenizer_config.json, `added` is added_tokens.json. */
struct hl_vocabulary_files {
    struct hl_view model, json, config, added;
};

int hl_vocabulary_from_files(const struct hl_vocabulary_files *files, uint32_t vocabulary, struct hl_bytes *out,
                             struct hl_error *err);

#endif
