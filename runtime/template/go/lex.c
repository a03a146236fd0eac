/* Tokens of Go templates. Text and actions alternate:
 *
 *     text {{- action | with "tokens" -}} text {{/ * comment * /}} text
 *
 * A "-" next to a brace, with space on its other side, removes all space from the text on that side. Inside an action,
 * space separates arguments. So a token records whether there was space before it: ".A.B" is one operand, ".A .B" are
 * two. https://pkg.go.dev/text/template, https://go.dev/ref/spec (literals). */
#include "runtime/template/go/go_lex.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define SHOWN 40 /* bytes of a token in messages */

int hl_go_fail(const struct hl_go_lex *lex, struct hl_error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hl_fail_as(err, HL_ERROR_REQUEST, "template: line %u: %s", lex->token_line, text);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool starts(const struct hl_go_lex *lex, const char *at, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(lex->end - at) >= n && !memcmp(at, text, n);
}

static void advance(struct hl_go_lex *lex, const char *to)
{
    for (; lex->at < to; lex->at++)
        lex->line += *lex->at == '\n';
}

/* Returns the length of the letter, digit or underscore at `at`, or 0 for another character. */
static size_t letter(const struct hl_go_lex *lex, const char *at)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, lex->end - at, &code);
    if (at == lex->end || n < 1)
        return 0;
    utf8proc_category_t category = utf8proc_category(code);
    bool is = code == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
              category == UTF8PROC_CATEGORY_ND;
    return is ? (size_t)n : 0;
}

static const char *letters_end(const struct hl_go_lex *lex, const char *at)
{
    for (size_t n; (n = letter(lex, at)) > 0;)
        at += n;
    return at;
}

void hl_go_lex_start(struct hl_go_lex *lex, const char *source, size_t n)
{
    *lex = (struct hl_go_lex){.source = source, .end = source + n, .at = source, .line = 1, .token_line = 1};
}

bool hl_go_is(const struct hl_go_lex *lex, enum hl_go_token token, const char *text)
{
    return lex->token == token && lex->n == strlen(text) && !memcmp(lex->text, text, lex->n);
}

static int token_until(struct hl_go_lex *lex, enum hl_go_token token, const char *end)
{
    lex->token = token;
    lex->text = lex->at;
    lex->n = (size_t)(end - lex->at);
    advance(lex, end);
    return 0;
}

/* Skips the end of an action or comment, and the space that it removes. Returns false if there is none. */
static bool at_close(const struct hl_go_lex *lex)
{
    return starts(lex, lex->at, "}}") ||
           (lex->end - lex->at >= 4 && is_space(lex->at[0]) && starts(lex, lex->at + 1, "-}}"));
}

static void pass_close(struct hl_go_lex *lex)
{
    bool trims = *lex->at != '}';
    advance(lex, lex->at + (trims ? 4 : 2));
    const char *text = lex->at;
    while (trims && text < lex->end && is_space(*text))
        text++;
    advance(lex, text);
    lex->inside = false;
}

/* Outside actions: reads text or the beginning of an action. Skips comments. */
static int next_outside(struct hl_go_lex *lex, struct hl_error *err)
{
    for (;;) {
        const char *brace = memmem(lex->at, (size_t)(lex->end - lex->at), "{{", 2), *end = brace ? brace : lex->end;
        bool trims = brace && lex->end - brace >= 4 && brace[2] == '-' && is_space(brace[3]);
        while (trims && end > lex->at && is_space(end[-1]))
            end--;
        lex->token_line = lex->line;
        if (end > lex->at)
            return token_until(lex, HL_GO_TEXT, end);
        if (!brace)
            return token_until(lex, HL_GO_END, end);
        advance(lex, brace + (trims ? 4 : 2));
        lex->inside = true;
        lex->parens = 0;
        lex->token_line = lex->line;
        if (!starts(lex, lex->at, "/*")) {
            lex->token = HL_GO_OPEN;
            return 0;
        }
        const char *close = memmem(lex->at + 2, (size_t)(lex->end - lex->at) - 2, "*/", 2);
        if (!close)
            return hl_go_fail(lex, err, "unclosed comment");
        advance(lex, close + 2);
        if (!at_close(lex))
            return hl_go_fail(lex, err, "a comment must be the only content of its braces");
        pass_close(lex);
    }
}

/* Returns the end of "...", '...' or `...`, or NULL. */
static const char *quote_end(const struct hl_go_lex *lex)
{
    char quote = *lex->at;
    for (const char *at = lex->at + 1; at < lex->end; at++) {
        if (*at == quote)
            return at + 1;
        if (quote != '`' && *at == '\n')
            return NULL;
        if (quote != '`' && *at == '\\' && ++at < lex->end && *at == '\n')
            return NULL;
    }
    return NULL;
}

/* Returns the end of a number. It may have signs at its beginning and in its exponent. */
static const char *number_end(const struct hl_go_lex *lex)
{
    const char *at = lex->at + (*lex->at == '+' || *lex->at == '-');
    bool hex = starts(lex, at, "0x") || starts(lex, at, "0X");
    for (;; at++) {
        at = letters_end(lex, at);
        char last = at > lex->at ? at[-1] : 0;
        bool exponent = hex ? last == 'p' || last == 'P' : last == 'e' || last == 'E';
        if (at == lex->end || (*at != '.' && !(exponent && (*at == '+' || *at == '-'))))
            return at;
    }
}

/* Returns whether the character may follow a name. */
static bool at_terminator(const struct hl_go_lex *lex, const char *at)
{
    return at == lex->end || is_space(*at) || strchr(".,|:()", *at) || starts(lex, at, "}}");
}

static int name_until(struct hl_go_lex *lex, enum hl_go_token token, const char *end, struct hl_error *err)
{
    if (at_terminator(lex, end))
        return token_until(lex, token, end);
    return hl_go_fail(lex, err, "'%.*s' cannot follow '%.*s'", 1, end,
                      (int)(end - lex->at < SHOWN ? end - lex->at : SHOWN), lex->at);
}

static int next_quoted(struct hl_go_lex *lex, struct hl_error *err)
{
    const char *end = quote_end(lex);
    if (!end)
        return hl_go_fail(lex, err, "unterminated quote (%c)", *lex->at);
    return token_until(lex, *lex->at == '\'' ? HL_GO_CHAR : HL_GO_STRING, end);
}

static int next_sign(struct hl_go_lex *lex, struct hl_error *err)
{
    char c = *lex->at;
    bool declares = c == ':' && starts(lex, lex->at, ":=");
    if (!declares && !strchr("()|,=", c))
        return hl_go_fail(lex, err, "unexpected '%c' in an action", c >= ' ' && c < 127 ? c : '?');
    if (c == ')' && lex->parens == 0)
        return hl_go_fail(lex, err, "unexpected )");
    lex->parens += (c == '(') - (uint32_t)(c == ')');
    return token_until(lex, HL_GO_SIGN, lex->at + 1 + declares);
}

static int next_inside(struct hl_go_lex *lex, struct hl_error *err)
{
    lex->spaced = false;
    while (!at_close(lex) && lex->at < lex->end && is_space(*lex->at)) {
        advance(lex, lex->at + 1);
        lex->spaced = true;
    }
    lex->token_line = lex->line;
    if (lex->at == lex->end)
        return hl_go_fail(lex, err, "unclosed action");
    if (at_close(lex)) {
        if (lex->parens)
            return hl_go_fail(lex, err, "unclosed (");
        pass_close(lex);
        lex->token = HL_GO_CLOSE;
        return 0;
    }
    char c = *lex->at, next = lex->end - lex->at > 1 ? lex->at[1] : 0;
    if (c == '"' || c == '`' || c == '\'')
        return next_quoted(lex, err);
    if (c == '$')
        return name_until(lex, HL_GO_VARIABLE, letters_end(lex, lex->at + 1), err);
    if (c == '+' || c == '-' || (c >= '0' && c <= '9') || (c == '.' && next >= '0' && next <= '9'))
        return token_until(lex, HL_GO_NUMBER, number_end(lex));
    if (c == '.') {
        const char *end = letters_end(lex, lex->at + 1);
        if (name_until(lex, HL_GO_FIELD, end, err) != 0)
            return -1;
        lex->token = lex->n == 1 ? HL_GO_DOT : HL_GO_FIELD;
        lex->text++;
        lex->n--;
        return 0;
    }
    if (letter(lex, lex->at) > 0)
        return name_until(lex, HL_GO_WORD, letters_end(lex, lex->at), err);
    return next_sign(lex, err);
}

int hl_go_lex_next(struct hl_go_lex *lex, struct hl_error *err)
{
    return lex->inside ? next_inside(lex, err) : next_outside(lex, err);
}

/* ---- literals ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

/* Reads the digits of \x41, \u0041, \U00000041 or \101, after the backslash. */
static bool escape_number(const char **at, const char *end, uint32_t *code)
{
    char kind = **at;
    int base = kind >= '0' && kind <= '7' ? 8 : 16;
    int digits = base == 8 ? 3 : kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    *at += base == 16;
    *code = 0;
    if (end - *at < digits)
        return false;
    for (; digits > 0; digits--, (*at)++) {
        int digit = hex_digit(**at);
        if (digit >= base)
            return false;
        *code = *code * (uint32_t)base + (uint32_t)digit;
    }
    if (kind == 'u' || kind == 'U')
        return utf8proc_codepoint_valid((utf8proc_int32_t)*code) && *code < 0x110000;
    return *code < 256;
}

/* Decodes one character after a backslash, as a code point or, with *byte, as a byte. `quote` must be escaped. */
static bool escaped(const char **at, const char *end, char quote, uint32_t *code, bool *byte)
{
    static const char letters[] = "abfnrtv\\", meanings[] = "\a\b\f\n\r\t\v\\";
    const char *simple = at[0] < end && **at ? strchr(letters, **at) : NULL;
    *byte = false;
    if (*at >= end)
        return false;
    if (simple || **at == quote) {
        *code = (uint32_t)(simple ? meanings[simple - letters] : quote);
        (*at)++;
        return true;
    }
    *byte = **at == 'x' || (**at >= '0' && **at <= '7');
    return (*byte || **at == 'u' || **at == 'U') && escape_number(at, end, code);
}

int hl_go_unquote(const struct hl_go_lex *lex, char *out, size_t *n, struct hl_error *err)
{
    const char *at = lex->text + 1, *end = lex->text + lex->n - 1;
    bool raw = *lex->text == '`';
    char *to = out;
    while (at < end) {
        uint32_t code;
        bool byte;
        if (raw && *at == '\r') {
            at++; /* Go removes them from raw strings */
        } else if (raw || *at != '\\') {
            *to++ = *at++;
        } else {
            at++;
            if (!escaped(&at, end, '"', &code, &byte))
                return hl_go_fail(lex, err, "%.*s has an unknown escape", lex->n < SHOWN ? (int)lex->n : SHOWN,
                                  lex->text);
            if (byte)
                *to++ = (char)code;
            else
                to += utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)to);
        }
    }
    *n = (size_t)(to - out);
    for (size_t i = 0; i < *n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)out + i, (utf8proc_ssize_t)(*n - i), &code);
        if (bytes < 1)
            return hl_go_fail(lex, err, "the string is not UTF-8");
        i += (size_t)bytes;
    }
    return 0;
}

static int char_number(const struct hl_go_lex *lex, struct hl_go_number *out, struct hl_error *err)
{
    const char *at = lex->text + 1, *end = lex->text + lex->n - 1;
    utf8proc_int32_t plain = 0;
    uint32_t code = 0;
    bool byte, good = false;
    if (at < end && *at == '\\') {
        at++;
        good = escaped(&at, end, '\'', &code, &byte);
        plain = (utf8proc_int32_t)code;
    } else if (at < end) {
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &plain);
        good = n > 0;
        at += n > 0 ? n : 0;
    }
    if (!good || at != end)
        return hl_go_fail(lex, err, "a character constant must be one character");
    out->integer = plain;
    return 0;
}

/* Copies the digits without the underscores between them. Returns false if an underscore is elsewhere. */
static bool plain_digits(const char *at, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        bool between =
            i > 0 && i + 1 < n && (hex_digit(at[i - 1]) < 16 || strchr("xXoO", at[i - 1])) && hex_digit(at[i + 1]) < 16;
        if (at[i] != '_')
            *out++ = at[i];
        else if (!between)
            return false;
    }
    *out = 0;
    return true;
}

int hl_go_number(const struct hl_go_lex *lex, struct hl_go_number *out, struct hl_error *err)
{
    char text[128], *end;
    *out = (struct hl_go_number){0};
    if (lex->token == HL_GO_CHAR)
        return char_number(lex, out, err);
    if (lex->n >= sizeof text || !plain_digits(lex->text, lex->n, text))
        return hl_go_fail(lex, err, "'%.*s' is not a number", lex->n < SHOWN ? (int)lex->n : SHOWN, lex->text);
    bool good, negative = *text == '-';
    char *digits = text + (negative || *text == '+');
    bool prefix = digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]);
    bool hex = prefix && (digits[1] == 'x' || digits[1] == 'X');
    out->is_float = strpbrk(digits, hex ? ".pP" : ".eE") != NULL;
    errno = 0;
    if (out->is_float) {
        out->real = strtod(text, &end);
        good = isfinite(out->real) && (hex_digit(*digits) < 10 || *digits == '.') && !memchr(lex->text, '_', lex->n) &&
               (!hex || strpbrk(text, "pP"));
    } else {
        int base = hex ? 16 : prefix ? (digits[1] == 'o' || digits[1] == 'O' ? 8 : 2) : digits[0] == '0' ? 8 : 10;
        digits += prefix ? 2 : 0;
        unsigned long long value = strtoull(digits, &end, base);
        good = hex_digit(*digits) < base;
        if (errno || value > (unsigned long long)INT64_MAX + negative)
            return hl_go_fail(lex, err, "%s overflows an int", text);
        out->integer = (int64_t)(negative ? 0 - value : value);
    }
    if (*end || end == digits || !good)
        return hl_go_fail(lex, err, "'%s' is not a number", text);
    return 0;
}
