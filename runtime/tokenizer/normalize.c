/* Normalizes text before it is cut into words: makes it UTF-8, composes it, and puts its spaces in the tokenizer's
 * form. Also makes the result the same with any version of the libraries (unicode_versions.c). */
#include "runtime/tokenizer/tokenizer_inside.h"
#include <utf8proc.h>

const struct hl_range *hl_range_of(struct hl_range_cursor *cursor, uint32_t character)
{
    if (character >= cursor->from && character < cursor->to)
        return cursor->row;
    const struct hl_range *rows = cursor->ranges->rows;
    size_t low = 0, high = cursor->ranges->n; /* the first range that does not end before the character */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle].last < character)
            low = middle + 1;
        else
            high = middle;
    }
    bool inside = low < cursor->ranges->n && rows[low].first <= character;
    cursor->row = inside ? &rows[low] : NULL;
    cursor->from = inside ? rows[low].first : low ? rows[low - 1].last + 1 : 0;
    cursor->to = inside ? rows[low].last + 1 : low < cursor->ranges->n ? rows[low].first : UINT32_MAX;
    return cursor->row;
}

static void encode_as(uint32_t character, uint32_t bytes, uint8_t *out)
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (uint32_t i = bytes; --i; character >>= 6)
        out[i] = (uint8_t)(0x80 | (character & 0x3F));
    out[0] = (uint8_t)(lead[bytes] | character);
}

int hl_tokenizer_stand_in(const uint8_t *text, size_t n, uint8_t **out, struct hl_error *err)
{
    struct hl_range_cursor cursor = {.ranges = &hl_later_characters};
    uint8_t *copy = NULL;
    for (size_t at = 0; at < n;) {
        uint32_t bytes = hl_utf8_length(text[at]);
        const struct hl_range *range = bytes > 1 ? hl_range_of(&cursor, hl_utf8_decode(text + at)) : NULL;
        if (range && !copy) {
            if (!(copy = malloc(n)))
                return hl_no_memory(err);
            memcpy(copy, text, n);
        }
        if (range)
            encode_as(range->other, bytes, copy + at);
        at += bytes;
    }
    *out = copy;
    return 0;
}

static size_t space_length(uint32_t flags, const uint8_t *text, size_t n)
{
    if (n && text[0] == ' ')
        return 1;
    return flags & HL_TOKENIZER_ESCAPE_SPACE && n >= 3 && !memcmp(text, "\xE2\x96\x81", 3) ? 3 : 0;
}

static bool wants_prefix(uint32_t flags, const uint8_t *text, size_t n, bool at_start)
{
    return flags & HL_TOKENIZER_DUMMY_PREFIX && (at_start || !(flags & HL_TOKENIZER_PREFIX_ONCE)) &&
           !(flags & HL_TOKENIZER_PREFIX_SINGLE && space_length(flags, text, n));
}

static int normalize_spaces(const struct hl_tokenizer *t, const uint8_t *text, size_t n, bool at_start, uint8_t **out,
                            size_t *n_out, struct hl_error *err)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return hl_no_memory(err);
    size_t used = 0;
    if (wants_prefix(t->flags, text, n, at_start))
        copy[used++] = ' ';
    for (size_t at = 0; at < n;) {
        size_t space = space_length(t->flags, text + at, n - at);
        copy[used++] = space ? ' ' : text[at];
        at += space ? space : 1;
    }
    *out = copy;
    *n_out = used;
    return 0;
}

/* Sorts into canonical order [Unicode 15, D109]: each run of characters with a non-zero combining class by that class,
 * stably. Counts instead of comparing, since a whole text may be one such run. `spare` has room for as many characters
 * as `text`. */
static void order_marks(utf8proc_int32_t *text, size_t n, utf8proc_int32_t *spare)
{
    for (size_t start = 0; start < n;) {
        size_t count[257] = {0};
        size_t end = start;
        utf8proc_propval_t class;
        while (end < n && (class = utf8proc_get_property(text[end])->combining_class) > 0) {
            count[class + 1]++;
            end++;
        }
        if (end - start > 1) {
            for (size_t c = 1; c < 257; c++)
                count[c] += count[c - 1];
            for (size_t i = start; i < end; i++)
                spare[count[utf8proc_get_property(text[i])->combining_class]++] = text[i];
            memcpy(text + start, spare, (end - start) * sizeof *text);
        }
        start = end + (end == start);
    }
}

/* A text that is being composed. */
struct composing {
    uint8_t *out;
    size_t used;
    utf8proc_int32_t *wide, *spare; /* decomposed characters that are not yet composed */
    size_t n_wide, room;
};

static void release_composing(struct composing *c)
{
    free(c->out);
    free(c->wide);
    free(c->spare);
}

/* Composes in utf8proc's steps, except for its reordering, which takes quadratic time. */
static int compose_waiting(struct composing *c, struct hl_error *err)
{
    if (!c->n_wide)
        return 0;
    order_marks(c->wide, c->n_wide, c->spare);
    utf8proc_ssize_t bytes =
        utf8proc_reencode(c->wide, (utf8proc_ssize_t)c->n_wide, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (bytes < 0)
        return hl_fail(err, "tokenizer: utf8proc: %s", utf8proc_errmsg(bytes));
    memcpy(c->out + c->used, c->wide, (size_t)bytes);
    c->used += (size_t)bytes;
    c->n_wide = 0;
    return 0;
}

/* Makes NFC of the runs between inert characters: text on one side of such a character does not affect the other side.
 */
static int compose(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out, struct hl_error *err)
{
    size_t room = 2 * n + 8; /* at most 3 characters from 2 bytes (U+0390); + 1: utf8proc ends with a NUL */
    __attribute__((cleanup(release_composing))) struct composing c = {.room = room,
                                                                      .wide = malloc((room + 1) * sizeof *c.wide),
                                                                      .spare = malloc(room * sizeof *c.spare),
                                                                      .out = malloc(3 * n + 8)};
    struct hl_range_cursor inert = {.ranges = &hl_inert_characters};
    if (!c.wide || !c.spare || !c.out)
        return hl_no_memory(err);
    for (size_t at = 0; at < n;) {
        uint32_t character = hl_utf8_decode(text + at), bytes = hl_utf8_length(text[at]);
        if (hl_range_of(&inert, character)) {
            if (compose_waiting(&c, err))
                return -1;
            memcpy(c.out + c.used, text + at, bytes);
            c.used += bytes;
        } else {
            utf8proc_ssize_t more =
                utf8proc_decompose_char((utf8proc_int32_t)character, c.wide + c.n_wide,
                                        (utf8proc_ssize_t)(room - c.n_wide), UTF8PROC_COMPOSE | UTF8PROC_STABLE, NULL);
            if (more < 0 || (size_t)more > room - c.n_wide)
                return hl_fail(err, "tokenizer: utf8proc cannot decompose U+%04X", (unsigned)character);
            c.n_wide += (size_t)more;
        }
        at += bytes;
    }
    if (compose_waiting(&c, err))
        return -1;
    *out = c.out;
    *n_out = c.used;
    c.out = NULL;
    return 0;
}

/* Returns whether NFC may change the text. Below U+0300 (CC 80) no character composes with another or decomposes in
 * NFC. */
static bool may_change_in_nfc(const uint8_t *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] >= 0xCC)
            return true;
    return false;
}

int hl_tokenizer_normalize(const struct hl_tokenizer *t, const uint8_t *text, size_t n, bool at_start, uint8_t **out,
                           size_t *n_out, struct hl_error *err)
{
    if (t->flags & (HL_TOKENIZER_ESCAPE_SPACE | HL_TOKENIZER_DUMMY_PREFIX))
        return normalize_spaces(t, text, n, at_start, out, n_out, err);
    if (t->flags & HL_TOKENIZER_NFC && may_change_in_nfc(text, n))
        return compose(text, n, out, n_out, err);
    return 0;
}
