/* Text to tokens and back, over the tables of the tokenizer section (hotlayer/tokenizer_section.h). */
#ifndef HL_RUNTIME_TOKENIZER_TOKENIZER_H
#define HL_RUNTIME_TOKENIZER_TOKENIZER_H

#include "base/error.h"
#include "hotlayer/tokenizer_section.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl_tokenizer;

/* Opens a tokenizer. Uses `section` (aligned to 8) in place: it must stay mapped and unchanged until
 * hl_tokenizer_close(). Its content may be anything: the header is checked here, the tables at each use. The result is
 * constant, so any number of threads may use it. */
int hl_tokenizer_open(const void *section, size_t bytes, struct hl_tokenizer **out, struct hl_error *err);
void hl_tokenizer_close(struct hl_tokenizer *tokenizer);

uint32_t hl_tokenizer_size(const struct hl_tokenizer *tokenizer); /* ids are below this */
uint32_t hl_tokenizer_bos(const struct hl_tokenizer *tokenizer);  /* id or HL_NONE; so is eos */
uint32_t hl_tokenizer_eos(const struct hl_tokenizer *tokenizer);

/* Returns HL_TOKEN_UNUSED for ids that do not exist. */
enum hl_token_kind hl_tokenizer_kind(const struct hl_tokenizer *tokenizer, uint32_t id);

/* Returns the token's text as decoded, inside the section, not terminated; for a control token its name. NULL when the
 * id does not exist. */
const char *hl_tokenizer_text(const struct hl_tokenizer *tokenizer, uint32_t id, size_t *bytes);

/* Returns the id of the control token or added token with this exact text ("<end_of_turn>"), or HL_NONE. */
uint32_t hl_tokenizer_find(const struct hl_tokenizer *tokenizer, const char *text, size_t bytes);

#define HL_ENCODE_BOS 1u     /* add what the model's own post-processor adds: bos, eos, both or neither */
#define HL_ENCODE_SPECIAL 2u /* special tokens in the text are recognised; otherwise they are ordinary text */
#define HL_ENCODE_MAX_BYTES ((size_t)16 << 20)

/* Tokenizes text. Any bytes are legal; those that are not UTF-8 become U+FFFD, one for each byte. The caller frees
 * *ids, which is NULL when *n_ids is 0. Time is O(n log n) whatever the text. Fails if the text is larger than
 * HL_ENCODE_MAX_BYTES, if the split pattern exceeds its limit of steps, if there are no tokens (HL_ERROR_REQUEST), or
 * out of memory. */
int hl_tokenizer_encode(const struct hl_tokenizer *tokenizer, const char *text, size_t n, unsigned flags, int32_t **ids,
                        size_t *n_ids, struct hl_error *err);

#define HL_DECODE_SPECIAL 1u  /* control tokens decode to their names, not to nothing */
#define HL_DECODE_CONTINUE 2u /* the text continues a prompt: a leading dummy space is kept */

/* The longest piece: a token's text after three waiting bytes, each of them broken (U+FFFD has three bytes). */
#define HL_PIECE_MAX (3 * (HL_TOKEN_MAX_BYTES + 3))

/* Decodes token by token. The pieces one after another are the text, and each piece is whole UTF-8 characters. The
 * bytes of an incomplete character wait for the next token. Bytes that cannot become a character turn into U+FFFD as in
 * the reference decoders: one per byte for byte-fallback tokenizers, one per broken sequence for byte-level ones. A
 * decoder is a value: copy it freely, there is nothing to release. */
struct hl_decoder {
    const struct hl_tokenizer *tokenizer;
    unsigned flags;
    bool at_start;      /* the dummy space has not been met yet */
    uint8_t n_waiting;  /* 0 to 3 */
    uint8_t waiting[3]; /* the beginning of a character */
};

void hl_decoder_init(struct hl_decoder *decoder, const struct hl_tokenizer *tokenizer, unsigned flags);

/* Writes the text that token `id` completes and returns its length. Ids that do not exist write nothing. */
size_t hl_decoder_push(struct hl_decoder *decoder, int32_t id, char piece[HL_PIECE_MAX]);

/* Ends the text: writes the waiting bytes as U+FFFD. */
size_t hl_decoder_flush(struct hl_decoder *decoder, char piece[HL_PIECE_MAX]);

#endif
