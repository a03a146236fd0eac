/* Reads the vocabulary out of a .gguf's metadata, tokenizer.ggml.* [llama.cpp: gguf-py/gguf/constants.py and vocab.py
 * write it, src/llama-vocab.cpp reads it].
 *
 *   model         "llama": SentencePiece, merged by scores     "gpt2": byte-level, merged by pairs
 *   tokens        the pieces, U+2581 for spaces                in the vocabulary's spelling: a character for each byte
 *   token_type    1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte like <0x0A>
 *   scores        f32                                          -
 *   merges        -                                            "left right"
 *   pre           -                                            the name of the pattern to split by
 *
 * A .gguf keeps less than the Hugging Face files do. Only `pre` tells the pattern and the normalizer. A name that
 * stands for exactly one pair of these is accepted, any other is refused; "default" means that the pattern is unknown.
 * Converters lose how an added token treats the text around it. Here user-defined tokens are cut out of the text as it
 * is, and each segment of text gets a leading space.
 *
 * A .gguf marks as control any token that looks like one (Qwen's <|fim_prefix|>), whatever tokenizer.json says. It may
 * fill the vocabulary up with unused tokens.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/vocabulary/vocabulary_inside.h"
#include <math.h>

#define KEY(name) "tokenizer.ggml." name

#define LLAMA3_PATTERN                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2_PATTERN                                                                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* What tokenizer.json says in the models that a name stands for. */
static const struct pre {
    const char *name, *pattern;
    uint32_t flags; /* ADD_BOS: if add_bos_token is absent */
} pres[] = {
    {"llama-bpe", LLAMA3_PATTERN, HL_TOKENIZER_WHOLE_WORDS | HL_TOKENIZER_ADD_BOS},
    {"llama3", LLAMA3_PATTERN, HL_TOKENIZER_WHOLE_WORDS | HL_TOKENIZER_ADD_BOS},
    {"llama-v3", LLAMA3_PATTERN, HL_TOKENIZER_WHOLE_WORDS | HL_TOKENIZER_ADD_BOS},
    {"qwen2", QWEN2_PATTERN, HL_TOKENIZER_NFC},
    {"gpt-2", HL_GPT2_PATTERN, 0},
};

/* Texts of tokens that end a text. llama.cpp makes them special whatever their type, because old files have some of
 * them as normal tokens. */
static const char *const ends[] = {"<|eot_id|>",    "<|eom_id|>",    "<|end_of_text|>", "<|im_end|>",
                                   "<|endoftext|>", "<end_of_turn>", "<|end|>",         "<EOT>"};

struct reader {
    const struct hl_gguf *gguf;
    struct hl_vocabulary *v;
    uint32_t n; /* count of tokens; Ollama's Gemma 3 has more than the embedding has rows */
    const struct hl_gguf_value *tokens, *types, *scores;
};

static bool equals(struct hl_view text, const char *other)
{
    return text.size == strlen(other) && !memcmp(text.data, other, text.size);
}

static int open_reader(struct reader *r, bool scored, struct hl_error *err)
{
    r->tokens = hl_gguf_get(r->gguf, KEY("tokens"));
    r->types = hl_gguf_get(r->gguf, KEY("token_type"));
    r->scores = scored ? hl_gguf_get(r->gguf, KEY("scores")) : NULL;
    if (!r->tokens || r->tokens->type != HL_GGUF_ARRAY || r->tokens->item != HL_GGUF_STRING || !r->tokens->count)
        return hl_fail(err, KEY("tokens") " is not a list of texts");
    if (!r->types || r->types->type != HL_GGUF_ARRAY || r->types->count != r->tokens->count)
        return hl_fail(err, KEY("token_type") " is not a list with one entry per token");
    if (scored && (!r->scores || r->scores->type != HL_GGUF_ARRAY || r->scores->count != r->tokens->count))
        return hl_fail(err, KEY("scores") " is not a list with one entry per token");
    r->n = r->tokens->count < r->v->limit ? (uint32_t)r->tokens->count : r->v->limit;
    return 0;
}

static int token_type(const struct reader *r, uint32_t id, uint64_t *type, struct hl_error *err)
{
    if (!hl_gguf_item_count(r->types, id, 6, type) || *type < 1)
        return hl_fail(err, KEY("token_type") ": the type of token %u is not from 1 to 6", id);
    return 0;
}

/* Reads a boolean; an absent one gives `otherwise`. */
static int read_switch(const struct reader *r, const char *key, bool otherwise, bool *out, struct hl_error *err)
{
    const struct hl_gguf_value *value = hl_gguf_get(r->gguf, key);
    *out = otherwise;
    return value && !hl_gguf_truth(value, out) ? hl_fail(err, "%s must be true or false", key) : 0;
}

static int read_id(const struct reader *r, const char *key, uint32_t otherwise, uint32_t *out, struct hl_error *err)
{
    const struct hl_gguf_value *value = hl_gguf_get(r->gguf, key);
    uint64_t id = otherwise;
    *out = HL_NONE;
    if (value && !hl_gguf_count(value, r->n - 1, &id))
        return hl_fail(err, "%s must be a token below %u", key, r->n);
    *out = id < r->n && r->v->tokens[id].kind != HL_TOKEN_UNUSED ? (uint32_t)id : HL_NONE;
    return value && *out == HL_NONE ? hl_fail(err, "%s: token %llu is unused", key, (unsigned long long)id) : 0;
}

/* Refuses keys that would change the text before it is split. */
static int refuse_unknown(const struct reader *r, struct hl_error *err)
{
    static const char *const keys[] = {KEY("remove_extra_whitespaces"), KEY("normalizer.lowercase"),
                                       KEY("normalizer.strip_accents")};
    bool on;
    for (size_t i = 0; i < HL_COUNT(keys); i++) {
        if (read_switch(r, keys[i], false, &on, err))
            return -1;
        if (on)
            return hl_fail(err, "%s is not supported", keys[i]);
    }
    if (hl_gguf_get(r->gguf, KEY("precompiled_charsmap")))
        return hl_fail(err, KEY("precompiled_charsmap") " (a normalization rule) is not supported");
    return 0;
}

static int make_special(const struct reader *r, uint32_t id, struct hl_error *err)
{
    struct hl_view text = {NULL, 0};
    size_t at = 0;
    for (uint32_t i = 0; i <= id; i++)
        if (!hl_gguf_next_text(r->tokens, &at, &text))
            return hl_fail(err, KEY("tokens") " ends before token %u", id);
    return hl_vocabulary_make_special(r->v, id, text, err);
}

/* Reads which tokens begin and end texts, and whether the model expects them. They are special whatever their type. */
static int read_special(struct reader *r, uint32_t bos, uint32_t eos, bool add_bos, struct hl_error *err)
{
    static const char *const more[] = {KEY("eot_token_id"), KEY("eom_token_id")};
    struct hl_vocabulary *v = r->v;
    bool add_eos;
    uint32_t id = HL_NONE;
    if (read_id(r, KEY("bos_token_id"), bos, &v->bos, err) || read_id(r, KEY("eos_token_id"), eos, &v->eos, err) ||
        read_switch(r, KEY("add_bos_token"), add_bos && v->bos != HL_NONE, &add_bos, err) ||
        read_switch(r, KEY("add_eos_token"), false, &add_eos, err))
        return -1;
    if ((add_bos && v->bos == HL_NONE) || (add_eos && v->eos == HL_NONE))
        return hl_fail(err, KEY("add_bos_token") " or add_eos_token is true, but that token does not exist");
    v->flags |= (add_bos ? HL_TOKENIZER_ADD_BOS : 0u) | (add_eos ? HL_TOKENIZER_ADD_EOS : 0u);
    if ((v->bos != HL_NONE && make_special(r, v->bos, err)) || (v->eos != HL_NONE && make_special(r, v->eos, err)))
        return -1;
    for (size_t i = 0; i < HL_COUNT(more); i++)
        if (read_id(r, more[i], HL_NONE, &id, err) || (id != HL_NONE && make_special(r, id, err)))
            return -1;
    struct hl_view text;
    size_t at = 0;
    for (id = 0; id < r->n && hl_gguf_next_text(r->tokens, &at, &text); id++)
        for (size_t i = 0; i < HL_COUNT(ends); i++)
            if (equals(text, ends[i]) && v->tokens[id].kind == HL_TOKEN_NORMAL &&
                hl_vocabulary_make_special(v, id, text, err))
                return -1;
    return 0;
}

static int read_pieces(struct reader *r, struct hl_error *err)
{
    struct hl_piece piece;
    size_t at = 0;
    double score, first = 0;
    bool differ = false;
    for (uint32_t id = 0; id < r->n && hl_gguf_next_text(r->tokens, &at, &piece.text); id++) {
        if (token_type(r, id, &piece.type, err))
            return -1;
        if (!piece.text.size || !hl_gguf_item_real(r->scores, id, &score) || isnan(score))
            return hl_fail(err, "token %u has no text, or its score is not a number", id);
        piece.score = (float)score;
        if (hl_vocabulary_add_piece(r->v, id, &piece, err))
            return -1;
        differ = differ || (piece.type == 1 && id && score != first);
        first = piece.type == 1 ? score : first;
    }
    return differ ? 0 : hl_fail(err, KEY("scores") " are all equal: the converter has lost the order of merges");
}

static int read_llama(struct reader *r, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    bool prefix;
    if (open_reader(r, true, err) || refuse_unknown(r, err) ||
        read_switch(r, KEY("add_space_prefix"), true, &prefix, err))
        return -1;
    v->flags = HL_TOKENIZER_ESCAPE_SPACE | HL_TOKENIZER_FUSE_UNK | (prefix ? HL_TOKENIZER_DUMMY_PREFIX : 0u);
    v->user_flags = prefix ? HL_ADDED_RAW : 0;
    if (read_pieces(r, err) || read_special(r, 1, 2, true, err))
        return -1;
    for (unsigned byte = 0; byte < 256; byte++)
        if (v->bytes[byte] != HL_NONE)
            v->flags |= HL_TOKENIZER_BYTE_FALLBACK;
    if (v->unk == HL_NONE && read_id(r, KEY("unknown_token_id"), 0, &v->unk, err))
        return -1;
    return v->unk == HL_NONE ? 0 : make_special(r, v->unk, err);
}

/* Returns NULL and sets the error if `pre` is unknown. */
static const struct pre *find_pre(const struct reader *r, struct hl_error *err)
{
    struct hl_view name = {NULL, 0};
    if (!hl_gguf_text(hl_gguf_get(r->gguf, KEY("pre")), &name) || equals(name, "default")) {
        hl_fail(err, KEY("pre") " is absent or \"default\": the file does not name its split pattern; "
                                "convert the model again, or pack its Hugging Face folder");
        return NULL;
    }
    for (size_t i = 0; i < HL_COUNT(pres); i++)
        if (equals(name, pres[i].name))
            return &pres[i];
    hl_fail(err, KEY("pre") " is %.*s; only llama-bpe, qwen2 and gpt-2 are supported",
            (int)hl_min_u32((uint32_t)name.size, 64), (const char *)name.data);
    return NULL;
}

static int read_bpe_token(struct reader *r, struct hl_spellings *s, uint32_t id, struct hl_view text,
                          struct hl_error *err)
{
    uint64_t type;
    if (token_type(r, id, &type, err))
        return -1;
    if (type == 5) /* padding up to the rows of the embedding */
        return 0;
    if (type == 6 || !text.size)
        return hl_fail(err, "token %u is empty, or of type 6 (byte), which does not exist in a byte-level vocabulary",
                       id);
    if (hl_bpe_token(r->v, id, text, err) || hl_spellings_add(s, id, text, err))
        return -1;
    if (type == 3 || type == 4)
        return hl_bpe_added(r->v, id, text, HL_ADDED_RAW | (type == 3 ? HL_ADDED_SPECIAL : 0u), false, err);
    return 0;
}

static int read_gpt2(struct reader *r, struct hl_spellings *s, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    const struct hl_gguf_value *merges = hl_gguf_get(r->gguf, KEY("merges"));
    const struct pre *pre = find_pre(r, err);
    struct hl_view text;
    bool prefix;
    if (!pre || open_reader(r, false, err) || refuse_unknown(r, err) ||
        read_switch(r, KEY("add_space_prefix"), false, &prefix, err))
        return -1;
    if (prefix)
        return hl_fail(err, KEY("add_space_prefix") " with a byte-level vocabulary is not supported");
    if (!merges || merges->type != HL_GGUF_ARRAY || merges->item != HL_GGUF_STRING)
        return hl_fail(err, KEY("merges") " is not a list of texts");
    v->by_pairs = true;
    v->flags = HL_TOKENIZER_BYTE_LEVEL | (pre->flags & ~(uint32_t)HL_TOKENIZER_ADD_BOS);
    if (hl_pattern_translate(pre->pattern, &v->pattern, err) || hl_spellings_init(s, r->n, r->n, err))
        return -1;
    size_t at = 0;
    for (uint32_t id = 0; id < r->n && hl_gguf_next_text(r->tokens, &at, &text); id++)
        if (read_bpe_token(r, s, id, text, err))
            return -1;
    if (hl_bpe_check_bytes(v, err) || hl_bpe_reserve_merges(v, merges->count, err))
        return -1;
    at = 0;
    for (uint32_t rank = 0; hl_gguf_next_text(merges, &at, &text); rank++)
        if (hl_bpe_merge_line(v, s, text, rank, err))
            return -1;
    return read_special(r, HL_NONE, HL_NONE, pre->flags & HL_TOKENIZER_ADD_BOS, err);
}

int hl_vocabulary_from_gguf(const struct hl_gguf *gguf, uint32_t vocabulary, struct hl_bytes *out, struct hl_error *err)
{
    __attribute__((cleanup(hl_vocabulary_release))) struct hl_vocabulary v = {0};
    __attribute__((cleanup(hl_spellings_release))) struct hl_spellings spellings = {0};
    const struct hl_gguf_value *model = hl_gguf_get(gguf, KEY("model"));
    struct reader r = {.gguf = gguf, .v = &v};
    struct hl_view name = {NULL, 0};
    hl_vocabulary_init(&v, "the GGUF", vocabulary);
    if (!model)
        return hl_vocabulary_write_empty(out, err);
    if (!hl_gguf_text(model, &name))
        return hl_fail(err, KEY("model") " is not a text");
    if (equals(name, "none") || equals(name, "no_vocab"))
        return hl_vocabulary_write_empty(out, err);
    if (!equals(name, "llama") && !equals(name, "gpt2"))
        return hl_fail(err, KEY("model") " is %.*s; only llama and gpt2 are supported",
                       (int)hl_min_u32((uint32_t)name.size, 64), (const char *)name.data);
    if (equals(name, "llama") ? read_llama(&r, err) : read_gpt2(&r, &spellings, err))
        return -1;
    return hl_vocabulary_write(&v, out, err);
}
