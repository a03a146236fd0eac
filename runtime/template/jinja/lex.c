/* Splits Jinja text into tokens. Removes white space according to trim_blocks, lstrip_blocks and the signs in tags.
 *
 * Rules (jinja2/lexer.py, https://github.com/pallets/jinja): One newline at the very end of the source is dropped. A
 * tag with a - removes all white space on that side. A block or comment removes the newline after it, unless it ends
 * with + or -. It removes the blanks before it if nothing else is on the line, unless it begins with + or -. {{ }}
 * removes nothing by itself.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_ast.h"
#include <ctype.h>
#include <errno.h>

struct lexer {
    struct jinja *j;
    const char *text;
    size_t n, at;
    uint32_t line;
    bool line_starts;           /* the last match ended with a newline */
    char open[JINJA_MAX_DEPTH]; /* the closing brackets that are expected */
    unsigned n_open;
};

int jinja_fail(struct jinja *j, uint32_t line, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return hl_fail(j->err, "chat template, line %u: %s", line, why);
}

static int add_token(struct lexer *x, enum jinja_token_kind kind, struct hl_value value, uint32_t line)
{
    struct jinja_tokens *t = &x->j->tokens;
    if (t->n == t->room) {
        size_t room = 2 * t->room + 256;
        struct jinja_token *larger = hl_arena_alloc(&x->j->arena, room * sizeof *larger);
        if (!larger)
            return hl_arena_full(&x->j->arena, x->j->err);
        if (t->n)
            memcpy(larger, t->all, t->n * sizeof *larger);
        t->all = larger;
        t->room = room;
    }
    t->all[t->n++] = (struct jinja_token){kind, line, value};
    return 0;
}

static bool is_at(const struct lexer *x, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at <= x->n && n <= x->n - at && !memcmp(x->text + at, text, n);
}

static size_t space_at(const struct lexer *x, size_t at)
{
    size_t n;
    return at < x->n && hl_char_is_space(hl_char_at(x->text + at, x->n - at, &n)) ? n : 0;
}

static size_t skip_space(const struct lexer *x, size_t at)
{
    for (size_t n; (n = space_at(x, at)) > 0;)
        at += n;
    return at;
}

/* Moves to `at` and counts lines. */
static void move(struct lexer *x, size_t at)
{
    for (size_t i = x->at; i < at; i++)
        x->line += x->text[i] == '\n';
    x->line_starts = at > x->at && x->text[at - 1] == '\n';
    x->at = at;
}

/* Returns the end of text[from, to) when a tag with this sign follows. */
static size_t strip_before(const struct lexer *x, size_t from, size_t to, char sign, bool variable)
{
    size_t end = to, n;
    if (sign == '+' || (variable && sign != '-'))
        return to;
    while (end > from) {
        n = 1;
        while (n < end - from && ((unsigned char)x->text[end - n] & 0xC0) == 0x80)
            n++;
        if (!space_at(x, end - n) || (sign != '-' && x->text[end - n] == '\n'))
            break;
        end -= n;
    }
    if (sign == '-')
        return end;
    bool at_line_start = end > from ? x->text[end - 1] == '\n' : x->line_starts;
    return at_line_start ? end : to;
}

static int put_data(struct lexer *x, size_t from, size_t to, uint32_t line)
{
    return from < to ? add_token(x, JINJA_DATA, hl_string(x->text + from, to - from), line) : 0;
}

/* Returns the position after a tag's end, which is two bytes at `at`, with `sign` before it. */
static size_t after_end(const struct lexer *x, size_t at, char sign, bool trims)
{
    at += 2;
    if (sign == '-')
        return skip_space(x, at);
    return trims && sign != '+' && is_at(x, at, "\n") ? at + 1 : at;
}

static char sign_at(const struct lexer *x, size_t at)
{
    return is_at(x, at, "-") ? '-' : is_at(x, at, "+") ? '+' : 0;
}

/* Returns whether a tag "{% name" is at `at`. Then *inside is after the name and the white space around it. */
static bool is_tag(const struct lexer *x, size_t at, const char *name, size_t *inside)
{
    if (!is_at(x, at, "{%"))
        return false;
    at += sign_at(x, at + 2) ? 3 : 2;
    at = skip_space(x, at);
    if (!is_at(x, at, name))
        return false;
    *inside = skip_space(x, at + strlen(name));
    return true;
}

static int lex_comment(struct lexer *x, size_t at)
{
    uint32_t line = x->line;
    size_t from = at + 2 + (sign_at(x, at + 2) != 0), end = from;
    while (end < x->n && !is_at(x, end, "#}"))
        end++;
    if (end >= x->n && from < x->n)
        return jinja_fail(x->j, line, "unclosed comment: #} is missing");
    if (end >= x->n) { /* jinja2 accepts it when nothing follows */
        move(x, x->n);
        return 0;
    }
    char sign = end > from ? sign_at(x, end - 1) : 0;
    move(x, after_end(x, end, sign, true));
    return 0;
}

/* Returns whether "{% raw %}" is at `at`. Then *after is the start of its text. */
static bool is_raw(const struct lexer *x, size_t at, size_t *after)
{
    size_t inside;
    if (!is_tag(x, at, "raw", &inside))
        return false;
    char sign = sign_at(x, inside);
    if (sign == '+' || !is_at(x, inside + (sign != 0), "%}"))
        return false;
    *after = after_end(x, inside + (sign != 0), sign, false);
    return true;
}

static int lex_raw(struct lexer *x)
{
    size_t inside;
    for (size_t at = x->at; at < x->n; at++) {
        if (!is_tag(x, at, "endraw", &inside))
            continue;
        char sign = sign_at(x, inside);
        if (!is_at(x, inside + (sign != 0), "%}"))
            continue;
        size_t end = strip_before(x, x->at, at, sign_at(x, at + 2), false);
        if (put_data(x, x->at, end, x->line))
            return -1;
        move(x, after_end(x, inside + (sign != 0), sign, true));
        return 0;
    }
    return x->at < x->n ? jinja_fail(x->j, x->line, "unclosed {%% raw %%}: {%% endraw %%} is missing") : 0;
}

/* Strings */

static int hex_digits(const char *text, size_t n, size_t want, uint32_t *code)
{
    *code = 0;
    for (size_t i = 0; i < want; i++) {
        if (i >= n || !isxdigit((unsigned char)text[i]))
            return -1;
        int c = tolower((unsigned char)text[i]);
        *code = *code * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return 0;
}

/* Decodes the escape at text[*at], after its backslash, and moves *at past it. */
static int unescape(struct lexer *x, const char *text, size_t n, size_t *at, struct hl_text *out)
{
    static const char letters[] = "abfnrtv\\'\"", means[] = "\a\b\f\n\r\t\v\\'\"";
    char c = text[(*at)++], bytes[16];
    const char *known = c ? strchr(letters, c) : NULL;
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, bytes_in;
    uint32_t code;
    if (c == '\n')
        return 0;
    if (known)
        return hl_text_put(out, &means[known - letters], 1, x->j->err);
    if (c == 'N')
        return jinja_fail(x->j, x->line, "\\N{...} in a string is not supported: write the character");
    if (digits) {
        if (hex_digits(text + *at, n - *at, digits, &code) || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
            return jinja_fail(x->j, x->line, "\\%c in a string requires %zu digits of a character", c, digits);
        *at += digits;
        return hl_text_put(out, bytes, hl_char_put((int32_t)code, bytes), x->j->err);
    }
    if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && *at < n && text[*at] >= '0' && text[*at] <= '7'; i++)
            code = code * 8 + (uint32_t)(text[(*at)++] - '0');
        return hl_text_put(out, bytes, hl_char_put((int32_t)code, bytes), x->j->err);
    }
    if ((unsigned char)c < 0x80) {
        const char both[2] = {'\\', c};
        return hl_text_put(out, both, 2, x->j->err);
    }
    /* Python first writes the character as an escape, whose backslash then counts as the second of two. */
    code = (uint32_t)hl_char_at(text + *at - 1, n - *at + 1, &bytes_in);
    *at += bytes_in - 1;
    int length = snprintf(bytes, sizeof bytes, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    return hl_text_put(out, bytes, (size_t)length, x->j->err);
}

static int lex_string(struct lexer *x)
{
    struct hl_text out = {.arena = &x->j->arena};
    char quote = x->text[x->at];
    uint32_t line = x->line;
    size_t end = x->at + 1;
    while (end < x->n && x->text[end] != quote)
        end += x->text[end] == '\\' ? 2 : 1;
    if (end >= x->n)
        return jinja_fail(x->j, line, "unterminated string");
    const char *text = x->text + x->at + 1;
    size_t n = end - x->at - 1;
    for (size_t at = 0; at < n;) {
        const char *mark = memchr(text + at, '\\', n - at);
        size_t plain = mark ? (size_t)(mark - text) - at : n - at;
        if (hl_text_put(&out, text + at, plain, x->j->err))
            return -1;
        at += plain + 1;
        if (mark && unescape(x, text, n, &at, &out))
            return -1;
    }
    move(x, end + 1);
    return add_token(x, JINJA_CONSTANT, hl_string(out.data ? out.data : "", out.n), line);
}

/* Numbers */

/* Returns the length of digits with single _ between them, or 0. */
static size_t digits_at(const struct lexer *x, size_t at, const char *digits)
{
    size_t n = 0;
    while (at + n < x->n && x->text[at + n] &&
           (strchr(digits, x->text[at + n]) || (n && x->text[at + n] == '_' && at + n + 1 < x->n &&
                                                x->text[at + n + 1] && strchr(digits, x->text[at + n + 1]))))
        n++;
    return n;
}

static size_t exponent_at(const struct lexer *x, size_t at)
{
    if (at >= x->n || (x->text[at] | 32) != 'e')
        return 0;
    size_t sign = is_at(x, at + 1, "+") || is_at(x, at + 1, "-");
    size_t n = digits_at(x, at + 1 + sign, "0123456789");
    return n ? 1 + sign + n : 0;
}

/* Returns the length of the number at the current position, and how to parse it. */
static size_t number_at(const struct lexer *x, bool *real, int *base)
{
    static const char decimal[] = "0123456789";
    size_t at = x->at, whole = digits_at(x, at, decimal);
    size_t fraction = is_at(x, at + whole, ".") ? digits_at(x, at + whole + 1, decimal) : 0;
    size_t exponent = exponent_at(x, at + whole + (fraction ? fraction + 1 : 0));
    *base = 10;
    *real = (fraction || exponent) && !(at && x->text[at - 1] == '.');
    if (*real)
        return whole + (fraction ? fraction + 1 : 0) + exponent;
    if (x->text[at] != '0')
        return whole;
    static const struct {
        char letter;
        int base;
        const char *digits;
    } prefixes[] = {{'b', 2, "01"}, {'o', 8, "01234567"}, {'x', 16, "0123456789abcdefABCDEF"}};
    for (size_t i = 0; i < 3; i++) {
        bool is = at + 1 < x->n && (x->text[at + 1] | 32) == prefixes[i].letter;
        size_t under = is && is_at(x, at + 2, "_"), n = is ? digits_at(x, at + 2 + under, prefixes[i].digits) : 0;
        if (n) {
            *base = prefixes[i].base;
            return 2 + under + n;
        }
    }
    return digits_at(x, at, "0");
}

static int lex_number(struct lexer *x)
{
    char text[128], *out = text;
    bool real;
    int base;
    size_t n = number_at(x, &real, &base);
    struct hl_value value;
    for (size_t i = base == 10 ? 0 : 2; i < n && out < text + sizeof text - 1; i++)
        if (x->text[x->at + i] != '_')
            *out++ = x->text[x->at + i];
    *out = 0;
    errno = 0;
    value = real ? hl_float(strtod(text, NULL)) : hl_int(strtoll(text, NULL, base));
    if (n >= sizeof text || (!real && errno))
        return jinja_fail(x->j, x->line, "the number %.40s... is too large", text);
    uint32_t line = x->line;
    move(x, x->at + n);
    return add_token(x, JINJA_CONSTANT, value, line);
}

static int lex_name(struct lexer *x)
{
    size_t end = x->at;
    uint32_t line = x->line;
    while (end < x->n && (isalnum((unsigned char)x->text[end]) || x->text[end] == '_'))
        end++;
    struct hl_value name = hl_string(x->text + x->at, end - x->at);
    move(x, end);
    return add_token(x, JINJA_NAME, name, line);
}

/* Checks that brackets match: within brackets, }} and %} do not end a tag. */
static int check_bracket(struct lexer *x, char c)
{
    if (strchr("([{", c)) {
        if (x->n_open == sizeof x->open)
            return jinja_fail(x->j, x->line, "brackets are nested too deeply");
        x->open[x->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (!x->n_open || x->open[--x->n_open] != c)
            return jinja_fail(x->j, x->line, "unexpected '%c'", c);
    }
    return 0;
}

static int lex_operator(struct lexer *x)
{
    static const char *const longer[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t n = 0;
    for (size_t i = 0; i < HL_COUNT(longer); i++)
        if (is_at(x, x->at, longer[i]))
            n = 2;
    char c = x->text[x->at];
    if (!n && c && strchr("+-/*%~[](){}><=.:|,;", c))
        n = 1;
    if (!n)
        return jinja_fail(x->j, x->line, "unexpected character '%c'", c >= ' ' && c < 127 ? c : '?');
    if (n == 1 && check_bracket(x, c))
        return -1;
    if (add_token(x, JINJA_OPERATOR, hl_string(x->text + x->at, n), x->line))
        return -1;
    move(x, x->at + n);
    return 0;
}

/* Returns whether the tag ends here. Then *after is the position after it. */
static bool at_end(const struct lexer *x, bool variable, size_t *after)
{
    char sign = sign_at(x, x->at);
    if (x->n_open || (variable && sign == '+') || !is_at(x, x->at + (sign != 0), variable ? "}}" : "%}"))
        return false;
    *after = after_end(x, x->at + (sign != 0), sign, !variable);
    return true;
}

static int lex_tag(struct lexer *x, bool variable)
{
    uint32_t begun = x->line;
    size_t n, after;
    while (x->at < x->n) {
        unsigned char c = (unsigned char)x->text[x->at];
        int failed;
        if (at_end(x, variable, &after)) {
            uint32_t line = x->line;
            move(x, after);
            return add_token(x, variable ? JINJA_VARIABLE_END : JINJA_BLOCK_END, hl_string("", 0), line);
        }
        if ((n = space_at(x, x->at)) > 0) {
            move(x, x->at + n);
            continue;
        }
        if (isdigit(c))
            failed = lex_number(x);
        else if (isalpha(c) || c == '_')
            failed = lex_name(x);
        else if (c == '\'' || c == '"')
            failed = lex_string(x);
        else
            failed = lex_operator(x);
        if (failed)
            return -1;
    }
    return jinja_fail(x->j, begun, "unclosed tag: %s is missing", variable ? "}}" : "%}");
}

/* Reads text up to the next tag, then that tag. */
static int lex_piece(struct lexer *x)
{
    size_t at = x->at, after = 0;
    while (at < x->n && !(x->text[at] == '{' && at + 1 < x->n && strchr("{%#", x->text[at + 1]) && x->text[at + 1]))
        at++;
    uint32_t line = x->line;
    if (at >= x->n) {
        int failed = put_data(x, x->at, x->n, line);
        move(x, x->n);
        return failed;
    }
    char sign = sign_at(x, at + 2), kind = x->text[at + 1];
    if (put_data(x, x->at, strip_before(x, x->at, at, sign, kind == '{'), line))
        return -1;
    if (kind == '%' && is_raw(x, at, &after)) {
        move(x, after);
        return lex_raw(x);
    }
    move(x, at);
    if (kind == '#')
        return lex_comment(x, at);
    line = x->line;
    move(x, at + 2 + (sign != 0));
    if (add_token(x, kind == '{' ? JINJA_VARIABLE_BEGIN : JINJA_BLOCK_BEGIN, hl_string("", 0), line))
        return -1;
    x->n_open = 0;
    return lex_tag(x, kind == '{');
}

/* Copies the source with \r\n and \r as \n, without the last newline. */
static char *normalize(struct jinja *j, const char *source, size_t n, size_t *n_out)
{
    char *text = hl_arena_alloc(&j->arena, n + 1), *out = text;
    for (size_t i = 0; text && i < n; i++)
        if (source[i] != '\r')
            *out++ = source[i];
        else if (i + 1 == n || source[i + 1] != '\n')
            *out++ = '\n';
    *n_out = text ? (size_t)(out - text) : 0;
    if (*n_out && text[*n_out - 1] == '\n')
        --*n_out;
    return text;
}

int jinja_lex(struct jinja *j, const char *source, size_t n)
{
    struct lexer x = {.j = j, .line = 1, .line_starts = true};
    size_t bytes;
    x.text = normalize(j, source, n, &x.n);
    if (!x.text)
        return hl_arena_full(&j->arena, j->err);
    for (size_t at = 0; at < x.n; at += bytes)
        if (hl_char_at(x.text + at, x.n - at, &bytes) == 0xFFFD && bytes == 1)
            return hl_fail(j->err, "chat template: byte %zu is not UTF-8", at);
    while (x.at < x.n)
        if (lex_piece(&x))
            return -1;
    return add_token(&x, JINJA_END, hl_string("", 0), x.line);
}
