/* Translates a split pattern from the reference's dialect of regex to the runtime's.
 *
 * Oniguruma runs the patterns of tokenizer.json with Ruby's syntax [https://github.com/kkos/oniguruma, doc/RE]; here
 * PCRE2 runs them. The constructs in use mean the same in both, except \s: PCRE2 includes U+180E, which Mongolian has
 * inside words, and Oniguruma follows Unicode's White_Space. So \s is written out. A construct that means something
 * else in PCRE2, or might, is refused.
 *
 * The libraries know different versions of Unicode. For characters that they disagree about, the runtime shows the
 * pattern stand-ins of the same general category (runtime/tokenizer/unicode_versions.c). So beyond ASCII a pattern may
 * use general categories only; other properties, literal characters and ranges are refused.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/vocabulary/vocabulary_inside.h"

/* White_Space [Unicode 15, PropList.txt] */
static const char spaces[] =
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";

struct output {
    struct hl_bytes *text;
    bool full;
};

static void put(struct output *out, const char *text, size_t n)
{
    out->full |= hl_bytes_append(out->text, text, n, HL_PATTERN_MAX_BYTES) < 0;
}

static void put_spaces(struct output *out, const char *before, const char *after)
{
    put(out, before, strlen(before));
    put(out, spaces, sizeof spaces - 1);
    put(out, after, strlen(after));
}

/* Returns the length of {..} at `at`, which is after "p" or "P", if it names letters, marks, numbers, punctuation,
 * symbols, separators, or a kind of these; else 0. */
static size_t property_length(const char *at)
{
    static const char *const known[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
                                        "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                        "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};
    size_t n = *at == '{' ? strcspn(at + 1, "}") : 0;
    for (size_t i = 0; n && at[n + 1] && i < HL_COUNT(known); i++)
        if (strlen(known[i]) == n && !memcmp(at + 1, known[i], n))
            return n + 2;
    return 0;
}

/* Translates an escape. `at` is after the backslash, before punctuation or a letter that means the same in both
 * dialects. Returns the number of characters that the escape has there, or 0 to refuse it. */
static size_t put_escape(struct output *out, const char *at, bool in_class)
{
    size_t n = 1;
    if (*at == 's') {
        put_spaces(out, in_class ? "" : "[", in_class ? "" : "]");
        return n;
    }
    if (*at == 'S' && !in_class) {
        put_spaces(out, "[^", "]");
        return n;
    }
    if (!*at || !strchr("rntfpPd!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", *at))
        return 0;
    if (*at == 'p' || *at == 'P') {
        size_t property = property_length(at + 1);
        if (!property)
            return 0;
        n += property;
    }
    put(out, at - 1, n + 1);
    return n;
}

/* Returns true for a plain group or one of these kinds; `at` is after "(". */
static bool is_known_group(const char *at)
{
    static const char *const kinds[] = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:"};
    if (*at == '*')
        return false;
    for (size_t i = 0; i < HL_COUNT(kinds); i++)
        if (hl_text_begins(at, kinds[i]))
            return true;
    return *at != '?';
}

static bool is_same_in_both(const char *at, bool in_class)
{
    if (*at & 0x80)
        return false;
    if (in_class)
        return *at != '[' && !hl_text_begins(at, "&&");
    if (*at == '(')
        return is_known_group(at + 1);
    /* After a counted repetition, + is possessive in PCRE2 and a second repetition in Oniguruma. */
    return *at != '^' && *at != '$' && !hl_text_begins(at, "}+");
}

int hl_pattern_translate(const char *pattern, struct hl_bytes *out, struct hl_error *err)
{
    struct output o = {.text = out};
    bool in_class = false;
    for (const char *at = pattern; *at;) {
        size_t n = 1;
        if (*at == '\\') {
            n = put_escape(&o, at + 1, in_class);
            n += n != 0;
        } else if (!in_class && *at == '[') {
            in_class = true;
            n += at[1] == '^';
            put(&o, at, n);
            n = at[n] == ']' ? 0 : n;
        } else {
            put(&o, at, 1);
            n = is_same_in_both(at, in_class);
            in_class = in_class && *at != ']';
        }
        if (!n)
            return hl_fail(err, "the pattern \"%.300s\" is not supported from byte %zu on", pattern,
                           (size_t)(at - pattern));
        at += n;
    }
    return o.full || !out->size ? hl_fail(err, "a pattern of %zu bytes is not supported", strlen(pattern)) : 0;
}
