/* The tokenizer section: tables that the runtime uses in place, straight from the mapping.
 *
 *   struct hl_tokenizer_header                      (256 bytes)
 *   tokens   struct hl_token[]        by id
 *   text     bytes                    texts of the tokens and the added tokens, as decoded
 *   strings  struct hl_string_slot[]  hash table: text -> id, of the tokens that ordinary text may become
 *   pairs    struct hl_pair_slot[]    hash table: (left id, right id) -> rank and merged id; empty when merging by text
 *   added    struct hl_added[]        tokens that are cut out of the text before anything else, sorted by their bytes
 *   first    uint32_t[257]            added[first[b]] .. added[first[b + 1] - 1] begin with byte b
 *   bytes    uint32_t[256]            byte -> id of its token, or HL_NONE
 *   pattern  bytes                    PCRE2 pattern (UTF and UCP) that cuts text into words; empty: text is one word
 *
 * The section of a model without a tokenizer has no tokens.
 *
 * Tables start on multiples of 8, and the section ends on one. All numbers are little-endian, all padding is zero.
 * Nothing here is trusted. The reader checks the header when it opens the section, and every offset and id at each use.
 * So opening touches one page.
 *
 * Both hash tables use open addressing. The search for a key starts at hl_slot_of(hash, slots) and takes one slot after
 * another, around the end. The key is absent once the search meets an empty slot or has read `longest_probe` slots.
 *
 * How text becomes tokens:
 *   1. Bytes that are not UTF-8 become U+FFFD, one for each byte.
 *   2. Added tokens with HL_ADDED_RAW are cut out, leftmost and longest first, together with the white space on the
 *      sides that they strip. Each remaining run is a segment.
 *   3. A segment is normalized: NFC; or U+2581 becomes a space (ESCAPE_SPACE), and a space is put before the segment
 *      (DUMMY_PREFIX). SentencePiece's U+2581 is always written in this section as the space that it stands for.
 *   4. Added tokens without HL_ADDED_RAW are cut out in the same way.
 *   5. `pattern` cuts the rest into words: its matches, and the text between matches. Without a pattern, text may be
 *      cut before a space that follows a byte of `cuts`. That changes no result, but short words are ten times as fast.
 *   6. A word that is a token is that token (WHOLE_WORDS). Otherwise it starts as bytes (BYTE_LEVEL) or characters, and
 *      the neighbours with the lowest rank merge, leftmost first, until no pair can. A pair's rank is in `pairs`. When
 *      `pairs` is empty, it is the rank of the token whose text is both texts together.
 *   7. A character without a token becomes its bytes' tokens (BYTE_FALLBACK), or `unk`. With FUSE_UNK, consecutive ones
 *      become one. When merging by pairs, this step comes before step 6; when merging by text, after it.
 *
 * The two kinds of merging are those of the Hugging Face tokenizers' BPE model and of SentencePiece's BPE model:
 * https://github.com/huggingface/tokenizers (tokenizers/src/models/bpe), https://github.com/google/sentencepiece
 * (src/bpe_model.cc). A score table cannot replace the pairs of the former: of pairs that make the same token, Gemma's
 * tokenizer.json orders some differently.
 */
#ifndef HOTLAYER_TOKENIZER_SECTION_H
#define HOTLAYER_TOKENIZER_SECTION_H

#include "hotlayer/program.h" /* HL_NONE: no such token */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define HL_TOKENIZER_MAGIC "HOTTOKEN"
#define HL_TOKENIZER_VERSION 1u
#define HL_TOKEN_MAX_BYTES 4096u   /* a token's text */
#define HL_ADDED_MAX_BYTES 256u    /* an added token's text: bounds the search for the longest */
#define HL_PATTERN_MAX_BYTES 4096u /* the split pattern */
#define HL_PROBE_MAX 1024u         /* no key is farther from its first slot */

enum hl_token_kind {
    HL_TOKEN_UNUSED,  /* no such token: a gap in the numbering */
    HL_TOKEN_NORMAL,  /* text that merging may produce */
    HL_TOKEN_USER,    /* text that is always this token when it occurs */
    HL_TOKEN_BYTE,    /* one byte of a character that has no token */
    HL_TOKEN_UNKNOWN, /* stands for characters without a token */
    HL_TOKEN_CONTROL, /* has a meaning for the model; decodes to nothing */
    HL_TOKEN_KINDS,
};

enum hl_tokenizer_flag {
    HL_TOKENIZER_BYTE_LEVEL = 1u << 0,    /* words start as bytes, not as characters */
    HL_TOKENIZER_BYTE_FALLBACK = 1u << 1, /* characters without a token become bytes */
    HL_TOKENIZER_FUSE_UNK = 1u << 2,      /* consecutive unknown characters are one token */
    HL_TOKENIZER_WHOLE_WORDS = 1u << 3,   /* a word that is a token is taken without merging ("ignore_merges") */
    HL_TOKENIZER_NFC = 1u << 4,
    HL_TOKENIZER_ESCAPE_SPACE = 1u << 5,   /* U+2581 in the text is a space */
    HL_TOKENIZER_DUMMY_PREFIX = 1u << 6,   /* segments get a leading space (Prepend), decoded text loses it */
    HL_TOKENIZER_PREFIX_ONCE = 1u << 7,    /* ... only at the very start of the text (Metaspace "first") */
    HL_TOKENIZER_ADD_BOS = 1u << 8,        /* the model begins a text with bos */
    HL_TOKENIZER_ADD_EOS = 1u << 9,        /* ... and ends it with eos */
    HL_TOKENIZER_PREFIX_SINGLE = 1u << 10, /* ... not if the segment begins with one (Metaspace) */
    HL_TOKENIZER_FLAGS = (1u << 11) - 1,
};

struct hl_tokenizer_table {
    uint32_t offset; /* from the start of the section, a multiple of 8 */
    uint32_t count;  /* of elements */
};

struct hl_tokenizer_header {
    char magic[8]; /* HL_TOKENIZER_MAGIC without its NUL */
    uint32_t version;
    uint32_t flags;         /* enum hl_tokenizer_flag */
    uint32_t bos, eos, unk; /* ids or HL_NONE */
    uint32_t longest_probe; /* of both hash tables, at most HL_PROBE_MAX */
    struct hl_tokenizer_table tokens, text, strings, pairs, added, first, bytes, pattern;
    uint8_t cuts[32]; /* bit b % 8 of byte b / 8: no merge joins byte b to a space after it */
    uint8_t reserved[128];
};

struct hl_token {
    uint32_t offset; /* in `text` */
    uint32_t rank;   /* when merging by text: the lower merges first */
    uint16_t bytes;  /* at most HL_TOKEN_MAX_BYTES */
    uint8_t kind;    /* enum hl_token_kind */
    uint8_t reserved;
};

/* An empty slot has the id HL_NONE. */
struct hl_string_slot {
    uint32_t hash; /* hl_hash_text() */
    uint32_t id;
};

/* An empty slot has `left` HL_NONE. */
struct hl_pair_slot {
    uint32_t left, right;
    uint32_t rank;
    uint32_t merged;
};

enum hl_added_flag {
    HL_ADDED_SPECIAL = 1u << 0, /* recognised only where the caller asks for special tokens */
    HL_ADDED_RAW = 1u << 1,     /* cut out before the text is normalized */
    HL_ADDED_LSTRIP = 1u << 2,  /* the white space before it disappears */
    HL_ADDED_RSTRIP = 1u << 3,  /* the white space after it disappears */
};

/* The text to find. It may differ from the token's text, to which the token decodes. */
struct hl_added {
    uint32_t offset; /* in `text` */
    uint32_t id;
    uint16_t bytes; /* 1 to HL_ADDED_MAX_BYTES */
    uint16_t flags; /* enum hl_added_flag */
};

static_assert(sizeof(struct hl_tokenizer_header) == 256, "on-disk size");
static_assert(offsetof(struct hl_tokenizer_header, tokens) == 32, "on-disk offset");
static_assert(sizeof(struct hl_tokenizer_table) == 8, "on-disk size");
static_assert(sizeof(struct hl_token) == 12, "on-disk size");
static_assert(sizeof(struct hl_string_slot) == 8, "on-disk size");
static_assert(sizeof(struct hl_pair_slot) == 16, "on-disk size");
static_assert(sizeof(struct hl_added) == 12, "on-disk size");

/* FNV-1a, then mixed, so that every byte affects the high bits, which choose the slot. */
static inline uint32_t hl_hash_text(const void *text, size_t n)
{
    const unsigned char *bytes = text;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (uint32_t)((hash ^ hash >> 29) * 0x9e3779b97f4a7c15u >> 32);
}

static inline uint32_t hl_hash_pair(uint32_t left, uint32_t right)
{
    uint64_t both = (uint64_t)left << 32 | right;
    both = (both ^ both >> 31) * 0x9e3779b97f4a7c15u;
    return (uint32_t)((both ^ both >> 29) * 0xbf58476d1ce4e5b9u >> 32);
}

static inline uint32_t hl_slot_of(uint32_t hash, uint32_t slots)
{
    return (uint32_t)((uint64_t)hash * slots >> 32);
}

#endif
