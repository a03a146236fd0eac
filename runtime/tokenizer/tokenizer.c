/* Opens a tokenizer and decodes tokens; encode.c turns text into tokens.
 *
 * The header is checked once, when the section is opened. The tables stay where they are in the mapping and are checked
 * at each use. So opening costs a page and the compilation of the split pattern, however large the vocabulary is.
 */
#include "base/sizes.h"
#include "runtime/tokenizer/tokenizer_inside.h"

static int check_table(const struct hl_tokenizer_table *table, uint64_t element, size_t bytes, const char *name,
                       struct hl_error *err)
{
    if (table->offset % 8 || table->offset < sizeof(struct hl_tokenizer_header) ||
        !hl_in_range(table->offset, table->count * element, bytes))
        return hl_fail(err, "tokenizer section: table %s (%u elements at %u) does not lie inside the %zu bytes", name,
                       table->count, table->offset, bytes);
    return 0;
}

static int check_tables(const struct hl_tokenizer_header *h, size_t bytes, struct hl_error *err)
{
    const struct {
        const struct hl_tokenizer_table *table;
        const char *name;
        size_t element;
    } tables[] = {
        {&h->tokens, "tokens", sizeof(struct hl_token)},
        {&h->text, "text", 1},
        {&h->strings, "strings", sizeof(struct hl_string_slot)},
        {&h->pairs, "pairs", sizeof(struct hl_pair_slot)},
        {&h->added, "added", sizeof(struct hl_added)},
        {&h->first, "first", sizeof(uint32_t)},
        {&h->bytes, "bytes", sizeof(uint32_t)},
        {&h->pattern, "pattern", 1},
    };
    for (size_t i = 0; i < HL_COUNT(tables); i++)
        if (check_table(tables[i].table, tables[i].element, bytes, tables[i].name, err))
            return -1;
    if (h->first.count != 257 || h->bytes.count != 256 || h->tokens.count > INT32_MAX ||
        h->pattern.count > HL_PATTERN_MAX_BYTES)
        return hl_fail(err, "tokenizer section: a table has an invalid number of elements");
    return 0;
}

static bool id_or_none(uint32_t id, uint32_t n)
{
    return id < n || id == HL_NONE;
}

static int check_header(const struct hl_tokenizer_header *h, size_t bytes, struct hl_error *err)
{
    static const uint8_t zero[sizeof h->reserved];
    if (bytes < sizeof *h || bytes % 8 || (uintptr_t)h % 8)
        return hl_fail(err, "tokenizer section: %zu bytes, truncated or not aligned", bytes);
    if (memcmp(h->magic, HL_TOKENIZER_MAGIC, sizeof h->magic))
        return hl_fail(err, "tokenizer section: wrong magic");
    if (h->version != HL_TOKENIZER_VERSION)
        return hl_fail(err, "tokenizer section: version %u, this program reads %u", h->version, HL_TOKENIZER_VERSION);
    if ((h->flags & ~(uint32_t)HL_TOKENIZER_FLAGS) || memcmp(h->reserved, zero, sizeof zero))
        return hl_fail(err, "tokenizer section: unknown flags or reserved bytes");
    if (check_tables(h, bytes, err))
        return -1;
    if (!id_or_none(h->bos, h->tokens.count) || !id_or_none(h->eos, h->tokens.count) ||
        !id_or_none(h->unk, h->tokens.count) || h->longest_probe > HL_PROBE_MAX)
        return hl_fail(err, "tokenizer section: an id or the longest probe is out of range");
    return 0;
}

/* Compiles the split pattern. Refuses \C: it could stop inside a character, and the code that follows cannot handle
 * that. */
static int compile_pattern(struct hl_tokenizer *t, const uint8_t *pattern, uint32_t bytes, struct hl_error *err)
{
    int code;
    PCRE2_SIZE at;
    t->words = pcre2_compile(pattern, bytes, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (!t->words) {
        PCRE2_UCHAR why[256] = "";
        pcre2_get_error_message(code, why, sizeof why);
        return hl_fail(err, "tokenizer section: the split pattern is invalid at byte %zu: %s", at, (const char *)why);
    }
    pcre2_jit_compile(t->words, PCRE2_JIT_COMPLETE); /* without it, matching is slower but not different */
    return 0;
}

int hl_tokenizer_open(const void *section, size_t bytes, struct hl_tokenizer **out, struct hl_error *err)
{
    const struct hl_tokenizer_header *h = section;
    const uint8_t *base = section;
    if (check_header(h, bytes, err))
        return -1;
    struct hl_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return hl_no_memory(err);
    *t = (struct hl_tokenizer){
        .flags = h->flags,
        .bos = h->bos,
        .eos = h->eos,
        .unk = h->unk,
        .longest_probe = h->longest_probe,
        .n_tokens = h->tokens.count,
        .n_text = h->text.count,
        .n_strings = h->strings.count,
        .n_pairs = h->pairs.count,
        .n_added = h->added.count,
        .tokens = (const void *)(base + h->tokens.offset),
        .text = base + h->text.offset,
        .strings = (const void *)(base + h->strings.offset),
        .pairs = (const void *)(base + h->pairs.offset),
        .added = (const void *)(base + h->added.offset),
        .first = (const void *)(base + h->first.offset),
        .bytes = (const void *)(base + h->bytes.offset),
        .cuts = h->cuts,
    };
    if (h->pattern.count && compile_pattern(t, base + h->pattern.offset, h->pattern.count, err)) {
        hl_tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

void hl_tokenizer_close(struct hl_tokenizer *t)
{
    if (!t)
        return;
    pcre2_code_free(t->words);
    free(t);
}

uint32_t hl_tokenizer_size(const struct hl_tokenizer *t)
{
    return t->n_tokens;
}

uint32_t hl_tokenizer_bos(const struct hl_tokenizer *t)
{
    return t->bos;
}

uint32_t hl_tokenizer_eos(const struct hl_tokenizer *t)
{
    return t->eos;
}

enum hl_token_kind hl_tokenizer_kind(const struct hl_tokenizer *t, uint32_t id)
{
    const struct hl_token *token = hl_token_at(t, id);
    return token ? (enum hl_token_kind)token->kind : HL_TOKEN_UNUSED;
}

const char *hl_tokenizer_text(const struct hl_tokenizer *t, uint32_t id, size_t *bytes)
{
    const struct hl_token *token = hl_token_at(t, id);
    if (!token || token->kind == HL_TOKEN_UNUSED)
        return NULL;
    *bytes = token->bytes;
    return (const char *)t->text + token->offset;
}

uint32_t hl_tokenizer_find(const struct hl_tokenizer *t, const char *text, size_t bytes)
{
    const struct hl_added *added =
        bytes ? hl_tokenizer_find_added(t, (const uint8_t *)text, bytes, HL_ADDED_ANY, true) : NULL;
    return added && added->bytes == bytes && added->id < t->n_tokens ? added->id : HL_NONE;
}

/* Narrows the entries [low, high) that begin with the bytes read so far, byte by byte. They are neighbours, and the
 * shortest is first. */
const struct hl_added *hl_tokenizer_find_added(const struct hl_tokenizer *t, const uint8_t *text, size_t n,
                                               unsigned stage, bool special)
{
    uint32_t low = t->first[text[0]], high = hl_min_u32(t->first[text[0] + 1], t->n_added);
    const struct hl_added *longest = NULL;
    if (low >= high || hl_utf8_is_continuation(text[0]))
        return NULL;
    for (uint32_t depth = 1; low < high && depth <= n && depth <= HL_ADDED_MAX_BYTES; depth++) {
        const struct hl_added *entry = &t->added[low];
        if (entry->bytes == depth) {
            bool wanted = (stage == HL_ADDED_ANY || (entry->flags & HL_ADDED_RAW) == stage) &&
                          (special || !(entry->flags & HL_ADDED_SPECIAL));
            if (wanted && (depth == n || !hl_utf8_is_continuation(text[depth])))
                longest = entry;
            low++;
        }
        if (depth == n)
            break;
        uint32_t bounds[2] = {low, high}; /* of the entries whose byte `depth` is text[depth] */
        for (unsigned side = 0; side < 2; side++) {
            uint32_t from = low, to = high;
            while (from < to) {
                uint32_t middle = from + (to - from) / 2;
                const struct hl_added *probe = &t->added[middle];
                if (probe->bytes <= depth || !hl_in_range(probe->offset, probe->bytes, t->n_text))
                    return longest;
                if (t->text[probe->offset + depth] < text[depth] + side)
                    from = middle + 1;
                else
                    to = middle;
            }
            bounds[side] = from;
        }
        low = bounds[0];
        high = bounds[1];
    }
    return longest;
}

void hl_decoder_init(struct hl_decoder *d, const struct hl_tokenizer *tokenizer, unsigned flags)
{
    bool strips = tokenizer->flags & HL_TOKENIZER_DUMMY_PREFIX && !(flags & HL_DECODE_CONTINUE);
    *d = (struct hl_decoder){.tokenizer = tokenizer, .flags = flags, .at_start = strips};
}

static size_t put_replacements(char *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(out + 3 * i, "\xEF\xBF\xBD", 3);
    return 3 * count;
}

/* Appends text[0..n) to the waiting bytes and writes every whole character. Returns the length. */
static size_t put_text(struct hl_decoder *d, const uint8_t *text, size_t n, char *out)
{
    uint8_t joined[sizeof d->waiting + HL_TOKEN_MAX_BYTES];
    bool byte_level = d->tokenizer->flags & HL_TOKENIZER_BYTE_LEVEL;
    size_t total = d->n_waiting + n, written = 0;
    memcpy(joined, d->waiting, d->n_waiting);
    memcpy(joined + d->n_waiting, text, n);
    d->n_waiting = 0;
    for (size_t at = 0; at < total;) {
        uint32_t bytes;
        enum hl_utf8 found = hl_utf8_next(joined + at, total - at, &bytes);
        if (found == HL_UTF8_WHOLE) {
            memcpy(out + written, joined + at, bytes);
            written += bytes;
        } else if (found == HL_UTF8_BROKEN) {
            written += put_replacements(out + written, byte_level ? 1 : bytes);
        } else {
            memcpy(d->waiting, joined + at, bytes);
            d->n_waiting = (uint8_t)bytes;
        }
        at += bytes;
    }
    return written;
}

size_t hl_decoder_push(struct hl_decoder *d, int32_t id, char piece[HL_PIECE_MAX])
{
    const struct hl_tokenizer *t = d->tokenizer;
    const struct hl_token *token = id < 0 ? NULL : hl_token_at(t, (uint32_t)id);
    if (!token || token->kind == HL_TOKEN_UNUSED)
        return 0;
    if (token->kind == HL_TOKEN_CONTROL && !(d->flags & HL_DECODE_SPECIAL))
        return 0;
    const uint8_t *text = t->text + token->offset;
    size_t n = token->bytes;
    if (d->at_start && token->kind != HL_TOKEN_CONTROL) {
        /* SentencePiece strips the first piece, unless it is a byte; the Hugging Face pipeline strips the whole text. */
        bool may_strip = token->kind == HL_TOKEN_NORMAL || token->kind == HL_TOKEN_USER || t->n_pairs;
        if (may_strip && n && text[0] == ' ') {
            text++;
            n--;
        }
        d->at_start = false;
    }
    return put_text(d, text, n, piece);
}

size_t hl_decoder_flush(struct hl_decoder *d, char piece[HL_PIECE_MAX])
{
    bool byte_level = d->tokenizer->flags & HL_TOKENIZER_BYTE_LEVEL;
    size_t broken = d->n_waiting;
    d->n_waiting = 0;
    return put_replacements(piece, byte_level && broken ? 1 : broken);
}
