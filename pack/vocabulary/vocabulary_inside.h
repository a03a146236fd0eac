/* A vocabulary while it is being read. The readers of tokenizer.model, tokenizer.json and tokenizer_config.json fill it
 * in, and hl_vocabulary_write() turns it into the section. */
#ifndef HL_PACK_VOCABULARY_VOCABULARY_INSIDE_H
#define HL_PACK_VOCABULARY_VOCABULARY_INSIDE_H

#include "hotlayer/tokenizer_section.h"
#include "pack/vocabulary/vocabulary.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define HL_SPACE_MARK "\xE2\x96\x81" /* U+2581, SentencePiece's space */

/* A hash table from texts[id] to id, in the form in which it will be stored. */
struct hl_text_map {
    struct hl_string_slot *slots;
    uint32_t n_slots;
    uint32_t longest_probe;
};

struct hl_vocabulary_token {
    size_t offset; /* in `text` */
    uint32_t bytes;
    enum hl_token_kind kind;
    bool in_text; /* ordinary text may merge into this token */
    float score;  /* when merging by scores: the higher score merges first */
};

struct hl_vocabulary {
    const char *file; /* for messages */
    uint32_t limit;   /* ids are below the number of embedding rows */
    uint32_t flags;   /* enum hl_tokenizer_flag */
    uint32_t bos, eos, unk;
    bool by_pairs;
    struct hl_bytes text;
    struct hl_vocabulary_token *tokens;
    uint32_t n_tokens, room_tokens;
    struct hl_pair_slot *merges;
    uint32_t n_merges;
    struct hl_added *added; /* offsets in `text` */
    uint32_t n_added, room_added;
    uint32_t bytes[256]; /* byte -> id, or HL_NONE */
    struct hl_bytes pattern;
    struct hl_view unk_surface; /* the text that the unknown piece decodes to */
    unsigned user_flags;        /* enum hl_added_flag of user-defined pieces: 0, or HL_ADDED_RAW */
};

void hl_vocabulary_init(struct hl_vocabulary *v, const char *file, uint32_t limit);
void hl_vocabulary_release(struct hl_vocabulary *v);

/* Sets token `id`. Fails if the token exists already or the id is not below the limit. A space in `text` is a real
 * space. */
int hl_vocabulary_set(struct hl_vocabulary *v, uint32_t id, const void *text, size_t bytes, enum hl_token_kind kind,
                      struct hl_error *err);

/* Appends to `text`. */
int hl_vocabulary_put_text(struct hl_vocabulary *v, const void *text, size_t bytes, size_t *offset,
                           struct hl_error *err);

/* Returns true if an added token has no row in the embedding. Families share their added tokens: the smallest Gemma 3
 * lists one for images without having a row for it. The text of such a token remains ordinary text. */
static inline bool hl_vocabulary_lacks_row(const struct hl_vocabulary *v, uint32_t id)
{
    return id >= v->limit;
}

/* Adds a text that is cut out of the input as token `id`, or replaces the entry with this text. `flags` are enum
 * hl_added_flag. */
int hl_vocabulary_add(struct hl_vocabulary *v, uint32_t id, const void *text, size_t bytes, unsigned flags,
                      struct hl_error *err);

/* Does the same, but without HL_ADDED_RAW it normalizes the content first. */
int hl_vocabulary_add_normal(struct hl_vocabulary *v, uint32_t id, struct hl_view content, unsigned flags,
                             struct hl_error *err);

/* Reads the flags of an entry of tokenizer.json or tokenizer_config.json. */
int hl_added_flags(const struct hl_vocabulary *v, const cJSON *item, unsigned *flags, struct hl_error *err);

/* Returns the id of the added or control token with this text, or HL_NONE. */
uint32_t hl_vocabulary_find(const struct hl_vocabulary *v, const char *text);

/* Makes token `id`, which has the name `text`, a special token. */
int hl_vocabulary_make_special(struct hl_vocabulary *v, uint32_t id, struct hl_view text, struct hl_error *err);

/* Applies what another file says about token `id`: it has this text and is split out of the input. The token may be
 * new. */
int hl_vocabulary_overlay(struct hl_vocabulary *v, uint32_t id, const char *text, unsigned flags, struct hl_error *err);

int hl_vocabulary_read_spm(struct hl_vocabulary *v, struct hl_view model, struct hl_error *err);
int hl_vocabulary_read_json(struct hl_vocabulary *v, struct hl_view json, struct hl_error *err);

/* A piece of SentencePiece. Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
struct hl_piece {
    struct hl_view text;
    float score;
    uint64_t type;
};

int hl_vocabulary_add_piece(struct hl_vocabulary *v, uint32_t id, const struct hl_piece *piece, struct hl_error *err);

/* Reads tokenizer_config.json and added_tokens.json, which override what the functions above have read. */
int hl_vocabulary_read_config(struct hl_vocabulary *v, const struct hl_vocabulary_files *files, struct hl_error *err);

/* Writes the section's bytes. */
int hl_vocabulary_write(const struct hl_vocabulary *v, struct hl_bytes *out, struct hl_error *err);

/* Writes the section of a model that comes without a tokenizer. */
int hl_vocabulary_write_empty(struct hl_bytes *out, struct hl_error *err);

/* Copies `text` with a space for each U+2581 to `out`, which is as long. Returns the new length. */
size_t hl_vocabulary_unmark_spaces(const void *text, size_t bytes, void *out);

int hl_text_map_init(struct hl_text_map *map, uint32_t count, struct hl_error *err);
void hl_text_map_release(struct hl_text_map *map);
uint32_t hl_text_map_find(const struct hl_text_map *map, const struct hl_view *texts, const void *text, size_t bytes);
int hl_text_map_insert(struct hl_text_map *map, const struct hl_view *texts, uint32_t id, struct hl_error *err);

/* The spelling of a model's tokens in a file: by id, and back. The texts stay where they are. */
struct hl_spellings {
    struct hl_view *texts;
    uint32_t n;
    struct hl_text_map ids;
};

/* Reserves space for `count` of the ids below `n`. */
int hl_spellings_init(struct hl_spellings *s, uint32_t n, uint32_t count, struct hl_error *err);
void hl_spellings_release(struct hl_spellings *s);
int hl_spellings_add(struct hl_spellings *s, uint32_t id, struct hl_view text, struct hl_error *err);
uint32_t hl_spellings_find(const struct hl_spellings *s, struct hl_view text);

/* Sets a token of a vocabulary that merges by pairs to its decoded form (v->flags say whether it is byte-level), and
 * whether ordinary text may merge into it. */
int hl_bpe_token(struct hl_vocabulary *v, uint32_t id, struct hl_view spelling, struct hl_error *err);

/* Marks the token as an added one. With `is_new`, no merges lead to it. */
int hl_bpe_added(struct hl_vocabulary *v, uint32_t id, struct hl_view content, unsigned flags, bool is_new,
                 struct hl_error *err);

/* Fails if a byte-level vocabulary lacks a token for some byte. */
int hl_bpe_check_bytes(const struct hl_vocabulary *v, struct hl_error *err);

/* Reserve space for `count` merges, then add each merge, as two parts or as one line "left right". */
int hl_bpe_reserve_merges(struct hl_vocabulary *v, uint64_t count, struct hl_error *err);
int hl_bpe_merge(struct hl_vocabulary *v, const struct hl_spellings *s, struct hl_view left, struct hl_view right,
                 uint32_t rank, struct hl_error *err);
int hl_bpe_merge_line(struct hl_vocabulary *v, const struct hl_spellings *s, struct hl_view line, uint32_t rank,
                      struct hl_error *err);

/* GPT-2's pattern, by which ByteLevel splits with use_regex. */
#define HL_GPT2_PATTERN "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* Translates a regex of tokenizer.json for PCRE2. The caller frees out->data. */
int hl_pattern_translate(const char *pattern, struct hl_bytes *out, struct hl_error *err);

/* Returns the byte that a piece like <0x0A> stands for, or -1. */
int hl_vocabulary_byte_piece(struct hl_view text);

#endif
