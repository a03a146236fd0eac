/* The opened tokenizer and its look-ups, shared by the files of this folder. Every look-up checks the offsets and ids
 * that it follows. A forged section yields wrong tokens, never a byte from outside the section. */
#ifndef HL_RUNTIME_TOKENIZER_TOKENIZER_INSIDE_H
#define HL_RUNTIME_TOKENIZER_TOKENIZER_INSIDE_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/utf8.h"
#include "runtime/tokenizer/tokenizer.h"
#include <pcre2.h>

struct hl_tokenizer {
    uint32_t flags;
    uint32_t bos, eos, unk;
    uint32_t longest_probe;
    uint32_t n_tokens, n_text, n_strings, n_pairs, n_added;
    const struct hl_token *tokens;
    const uint8_t *text;
    const struct hl_string_slot *strings;
    const struct hl_pair_slot *pairs;
    const struct hl_added *added;
    const uint32_t *first; /* 257 */
    const uint32_t *bytes; /* 256 */
    const uint8_t *cuts;   /* 32 */
    pcre2_code *words;     /* NULL: the text is one word */
};

/* Does step 3 of hotlayer/tokenizer_section.h on UTF-8. The caller frees *out. *out stays NULL when nothing changes. */
int hl_tokenizer_normalize(const struct hl_tokenizer *t, const uint8_t *text, size_t n, bool at_start, uint8_t **out,
                           size_t *n_out, struct hl_error *err);

/* Characters first..last; `other` is their stand-in. */
struct hl_range {
    uint32_t first, last, other;
};

/* Sorted, without overlaps. */
struct hl_ranges {
    const struct hl_range *rows;
    size_t n;
};

/* From unicode_versions.c. Split patterns must not see the first: each is replaced by an older character of as many
 * bytes. NFC treats the second as starters that do not compose. */
extern const struct hl_ranges hl_later_characters, hl_inert_characters;

/* Where the last look-up ended. Text stays in its script, so most characters need no search. Starts as {ranges}. */
struct hl_range_cursor {
    const struct hl_ranges *ranges;
    uint32_t from, to; /* for characters in [from, to) the answer is `row` */
    const struct hl_range *row;
};

/* Returns the range that contains the character, or NULL. */
const struct hl_range *hl_range_of(struct hl_range_cursor *cursor, uint32_t character);

/* Copies UTF-8 for the split pattern, with stand-ins. *out stays NULL when no character needs one. The caller frees it.
 */
int hl_tokenizer_stand_in(const uint8_t *text, size_t n, uint8_t **out, struct hl_error *err);

/* Returns the token with this id, or NULL if it does not exist or its text is not inside the section. */
static inline const struct hl_token *hl_token_at(const struct hl_tokenizer *t, uint32_t id)
{
    if (id >= t->n_tokens)
        return NULL;
    const struct hl_token *token = &t->tokens[id];
    bool sound = token->kind < HL_TOKEN_KINDS && token->bytes <= HL_TOKEN_MAX_BYTES &&
                 hl_in_range(token->offset, token->bytes, t->n_text);
    return sound ? token : NULL;
}

/* Returns the id of the token that ordinary text of these bytes becomes, or HL_NONE. */
static inline uint32_t hl_tokenizer_find_text(const struct hl_tokenizer *t, const uint8_t *text, uint32_t n)
{
    if (!t->n_strings || n > HL_TOKEN_MAX_BYTES)
        return HL_NONE;
    uint32_t hash = hl_hash_text(text, n);
    uint32_t at = hl_slot_of(hash, t->n_strings);
    for (uint32_t probe = 0; probe < t->longest_probe; probe++) {
        const struct hl_string_slot *slot = &t->strings[at];
        if (slot->id == HL_NONE)
            return HL_NONE;
        const struct hl_token *token = slot->hash == hash ? hl_token_at(t, slot->id) : NULL;
        if (token && token->bytes == n && !memcmp(t->text + token->offset, text, n))
            return slot->id;
        at = at + 1 < t->n_strings ? at + 1 : 0;
    }
    return HL_NONE;
}

static inline const struct hl_pair_slot *hl_tokenizer_find_pair(const struct hl_tokenizer *t, uint32_t left,
                                                                uint32_t right)
{
    uint32_t at = hl_slot_of(hl_hash_pair(left, right), t->n_pairs);
    for (uint32_t probe = 0; probe < t->longest_probe; probe++) {
        const struct hl_pair_slot *slot = &t->pairs[at];
        if (slot->left == HL_NONE)
            return NULL;
        if (slot->left == left && slot->right == right)
            return slot->merged < t->n_tokens ? slot : NULL;
        at = at + 1 < t->n_pairs ? at + 1 : 0;
    }
    return NULL;
}

#define HL_ADDED_ANY ~0u /* hl_tokenizer_find_added: tokens of either stage */

/* Returns the longest added token that text[0..n) begins with and that ends between characters, or NULL. `stage` is
 * HL_ADDED_RAW, 0, or HL_ADDED_ANY. `special` includes the special tokens. */
const struct hl_added *hl_tokenizer_find_added(const struct hl_tokenizer *t, const uint8_t *text, size_t n,
                                               unsigned stage, bool special);

#endif
