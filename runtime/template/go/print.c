/* Prints as Go does: fmt's verbs (https://pkg.go.dev/fmt) and encoding/json, for the values of templates.
 *
 *   {{ x }}, print    %v: text as it is, [a b], map[k:v], {field field}, 1e+06; tools, arguments and the like as JSON
 *   json              {"a":1,"b":"\u003c"}: maps sorted, structs in their own order, <, > and & escaped
 *
 * Printing pays for every list and map, and depth is bounded. So output is the only cost. */
#include "runtime/template/go/go_values.h"
#include <inttypes.h>
#include <math.h>
#include <utf8proc.h>

#define MOST_WIDTH 1000 /* of a verb's width and precision */

struct verb {
    uint32_t letter; /* a code point */
    bool plus, minus, sharp, space, zero;
    int width, precision; /* -1: none */
};

static int put(struct hl_run *run, struct hl_text *out, const char *text)
{
    return hl_text_put(out, text, strlen(text), run->err);
}

static int too_deep(struct hl_run *run)
{
    return hl_run_fail(run, "a value with more than %d levels cannot be printed", HL_VALUE_DEPTH);
}

/* ---- numbers ---- */

/* Writes the shortest decimal. fmt uses an exponent outside 1e-4 to 1e6, JSON outside 1e-6 to 1e21. */
static void shortest(double real, bool json, char text[64])
{
    char digits[40], *exponent;
    int precision = 0;
    do
        snprintf(digits, sizeof digits, "%.*e", precision, real);
    while (strtod(digits, NULL) != real && ++precision < 17);
    exponent = strchr(digits, 'e');
    int power = exponent ? atoi(exponent + 1) : 0;
    if (!isfinite(real))
        snprintf(text, 64, "%s", isnan(real) ? "NaN" : real > 0 ? "+Inf" : "-Inf");
    else if (real != 0 && (power < (json ? -6 : -4) || power >= (json ? 21 : 6))) {
        /* JSON has 1e-9 where fmt has 1e-09. */
        snprintf(text, 64, "%.*se%+0*d", (int)(exponent - digits), digits, json && power < 0 ? 2 : 3, power);
    } else {
        snprintf(text, 64, "%.*f", precision > power ? precision - power : 0, real);
    }
}

/* Writes sign and digits with zeros or spaces around them. */
static int put_number(struct hl_run *run, struct hl_text *out, const struct verb *verb, const char *sign,
                      const char *digits)
{
    static const char zeros[] = "00000000000000000000000000000000", spaces[] = "                                ";
    size_t length = strlen(sign) + strlen(digits), width = verb->width > 0 ? (size_t)verb->width : 0;
    size_t pad = width > length ? width - length : 0;
    bool zero = verb->zero && !verb->minus;
    for (size_t n = zero || verb->minus ? 0 : pad; n > 0; n -= n < 32 ? n : 32)
        if (hl_text_put(out, spaces, n < 32 ? n : 32, run->err) != 0)
            return -1;
    if (put(run, out, sign) != 0)
        return -1;
    for (size_t n = zero ? pad : 0; n > 0; n -= n < 32 ? n : 32)
        if (hl_text_put(out, zeros, n < 32 ? n : 32, run->err) != 0)
            return -1;
    if (put(run, out, digits) != 0)
        return -1;
    for (size_t n = verb->minus ? pad : 0; n > 0; n -= n < 32 ? n : 32)
        if (hl_text_put(out, spaces, n < 32 ? n : 32, run->err) != 0)
            return -1;
    return 0;
}

/* Writes text padded to its width, which counts characters. */
static int put_padded(struct hl_run *run, struct hl_text *out, const struct verb *verb, const char *text, size_t n)
{
    size_t characters = 0;
    for (size_t i = 0; i < n; i++)
        characters += ((unsigned char)text[i] & 0xC0) != 0x80;
    struct verb filler = *verb;
    filler.width = verb->width > 0 && (size_t)verb->width > characters ? verb->width - (int)characters : 0;
    filler.zero = verb->zero && !verb->minus;
    if (!verb->minus && put_number(run, out, &filler, "", "") != 0)
        return -1;
    if (hl_text_put(out, text, n, run->err) != 0)
        return -1;
    return verb->minus ? put_number(run, out, &filler, "", "") : 0;
}

static const char *sign_of(const struct verb *verb, bool negative)
{
    return negative ? "-" : verb->plus && verb->letter != 'v' ? "+" : verb->space ? " " : "";
}

static int put_integer(struct hl_run *run, struct hl_text *out, const struct verb *verb, int64_t value)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t base = verb->letter == 'x' || verb->letter == 'X'   ? 16
                    : verb->letter == 'b'                        ? 2
                    : verb->letter == 'o' || verb->letter == 'O' ? 8
                                                                 : 10;
    char text[72 + MOST_WIDTH], *at = text + sizeof text, *end = --at;
    struct verb plain = *verb;
    *at = 0;
    if (verb->precision == 0 && magnitude == 0)
        return put_padded(run, out, &(struct verb){.width = verb->width}, "", 0);
    do
        *--at = (verb->letter == 'X' ? upper : lower)[magnitude % base];
    while (magnitude /= base);
    while (end - at < verb->precision)
        *--at = '0';
    if (verb->precision >= 0)
        plain.zero = false;
    for (int width = verb->width - (*sign_of(verb, value < 0) != 0); plain.zero && !verb->minus && end - at < width;)
        *--at = '0';
    if (verb->sharp && base == 2)
        *--at = 'b', *--at = '0';
    if (verb->sharp && base == 16)
        *--at = (char)verb->letter, *--at = '0';
    if (verb->letter == 'O')
        *--at = 'o', *--at = '0';
    if (verb->sharp && base == 8 && *at != '0')
        *--at = '0';
    return put_number(run, out, &plain, sign_of(verb, value < 0), at);
}

static int put_float(struct hl_run *run, struct hl_text *out, const struct verb *verb, double value)
{
    char text[64 + MOST_WIDTH + 400], format[] = "%.*e";
    struct verb plain = *verb;
    double magnitude = fabs(value);
    bool general = verb->letter == 'v' || ((verb->letter == 'g' || verb->letter == 'G') && verb->precision < 0);
    if (general && verb->precision < 0) {
        shortest(magnitude, false, text);
    } else {
        format[3] = verb->letter == 'v' ? 'g' : (char)verb->letter;
        snprintf(text, sizeof text, format, verb->precision < 0 ? 6 : verb->precision, magnitude);
    }
    for (char *c = text; verb->letter == 'G' && *c; c++)
        *c = *c == 'e' ? 'E' : *c;
    plain.zero = verb->zero && isfinite(value);
    return put_number(run, out, &plain, *text == '+' ? "" : sign_of(verb, signbit(value)), text);
}

/* ---- text ---- */

/* Returns the character at `text`, its length in *n; U+FFFD and one byte if it is not UTF-8. */
static utf8proc_int32_t character(const char *text, size_t most, size_t *n, bool *good)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)most, &code);
    *good = bytes > 0;
    *n = *good ? (size_t)bytes : 1;
    return *good ? code : 0xFFFD;
}

static bool printable(utf8proc_int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return code == ' ' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO);
}

static int put_quoted_character(struct hl_run *run, struct hl_text *out, const char *bytes, size_t n, char quote,
                                bool ascii)
{
    static const char letters[] = "abfnrtv", meanings[] = "\a\b\f\n\r\t\v";
    char text[16];
    bool good;
    utf8proc_int32_t code = character(bytes, n, &n, &good);
    const char *simple = code < 128 && code ? strchr(meanings, code) : NULL;
    if (!good)
        snprintf(text, sizeof text, "\\x%02x", (unsigned char)*bytes);
    else if (simple)
        snprintf(text, sizeof text, "\\%c", letters[simple - meanings]);
    else if (code == quote || code == '\\')
        snprintf(text, sizeof text, "\\%c", (char)code);
    else if (printable(code) && (code < 128 || !ascii))
        return hl_text_put(out, bytes, n, run->err);
    else
        snprintf(text, sizeof text, code < 0x80 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
    return put(run, out, text);
}

static int quote_text(struct hl_run *run, struct hl_text *out, const struct verb *verb, const char *text, size_t n)
{
    bool raw = verb->sharp && verb->letter == 'q' && memchr(text, '`', n) == NULL;
    for (size_t i = 0; i < n && raw; i++)
        raw = (unsigned char)text[i] >= ' ' ? text[i] != 127 : text[i] == '\t';
    if (put(run, out, raw ? "`" : "\"") != 0)
        return -1;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bool good;
        character(text + i, n - i, &bytes, &good);
        if (raw ? hl_text_put(out, text + i, bytes, run->err) != 0
                : put_quoted_character(run, out, text + i, bytes, '"', verb->plus) != 0)
            return -1;
    }
    return put(run, out, raw ? "`" : "\"");
}

static int put_hex(struct hl_run *run, struct hl_text *out, const struct verb *verb, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char digits[8];
        bool first = i == 0;
        const char *prefix = verb->sharp && (first || verb->space) ? (verb->letter == 'x' ? "0x" : "0X") : "";
        snprintf(digits, sizeof digits, verb->letter == 'x' ? "%s%s%02x" : "%s%s%02X", verb->space && !first ? " " : "",
                 prefix, (unsigned char)text[i]);
        if (put(run, out, digits) != 0)
            return -1;
    }
    return 0;
}

/* Writes %s, %v, %q, %x and %X of text. */
static int put_text(struct hl_run *run, struct hl_text *out, const struct verb *verb, const char *text, size_t n)
{
    size_t kept = 0, bytes;
    bool good, hex = verb->letter == 'x' || verb->letter == 'X';
    for (int i = 0; !hex && i < verb->precision && kept < n; i++, kept += bytes)
        character(text + kept, n - kept, &bytes, &good);
    n = verb->precision < 0 ? n : hex ? (n < (size_t)verb->precision ? n : (size_t)verb->precision) : kept;
    if (verb->letter != 'q' && !hex && !(verb->letter == 'v' && verb->sharp))
        return put_padded(run, out, verb, text, n);
    struct hl_text built = {.arena = run->arena};
    if ((hex ? put_hex(run, &built, verb, text, n) : quote_text(run, &built, verb, text, n)) != 0)
        return -1;
    return put_padded(run, out, verb, built.data ? built.data : "", built.n);
}

/* ---- any value ---- */

static int put_value(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value,
                     int depth);

static int put_letter(struct hl_run *run, struct hl_text *out, uint32_t letter)
{
    utf8proc_uint8_t text[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)letter, text);
    return hl_text_put(out, (const char *)text, n > 0 ? (size_t)n : 0, run->err);
}

static const struct verb plain_verb = {.letter = 'v', .width = -1, .precision = -1};

/* Writes Go's note of a verb that does not fit the value. */
static int put_wrong(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value, int depth)
{
    if (put(run, out, "%!") != 0 || put_letter(run, out, verb->letter) != 0 || put(run, out, "(") != 0)
        return -1;
    if (hl_go_is_nil(value))
        return put(run, out, "<nil>)");
    struct verb plain = *verb;
    plain.letter = 'v';
    plain.sharp = false;
    if (put(run, out, hl_go_type_name(value)) != 0 || put(run, out, "=") != 0 ||
        put_value(run, out, &plain, value, depth) != 0)
        return -1;
    return put(run, out, ")");
}

static int put_scalar(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value,
                      int depth)
{
    char text[16];
    bool known = verb->letter < 128;
    char letter = known ? (char)verb->letter : '?';
    struct hl_text built = {.arena = run->arena};
    utf8proc_uint8_t bytes[4];
    switch (value.kind) {
    case HL_VALUE_STRING:
        return strchr("svqxX", letter) ? put_text(run, out, verb, value.text, value.n)
                                       : put_wrong(run, out, verb, value, depth);
    case HL_VALUE_BOOL:
        return strchr("vt", letter) ? put_padded(run, out, verb, value.truth ? "true" : "false", 4 + !value.truth)
                                    : put_wrong(run, out, verb, value, depth);
    case HL_VALUE_FLOAT:
        return strchr("veEfFgG", letter) ? put_float(run, out, verb, value.real)
                                         : put_wrong(run, out, verb, value, depth);
    case HL_VALUE_INT:
        if (strchr("vdbxXoO", letter))
            return put_integer(run, out, verb, value.integer);
        snprintf(text, sizeof text, "U+%04" PRIX64, (uint64_t)value.integer);
        if (letter == 'U')
            return put_padded(run, out, verb, text, strlen(text));
        if (letter != 'c' && letter != 'q')
            return put_wrong(run, out, verb, value, depth);
        bool valid = value.integer >= 0 && value.integer < 0x110000 && (value.integer & ~0x7ff) != 0xd800;
        size_t n = (size_t)utf8proc_encode_char(valid ? (utf8proc_int32_t)value.integer : 0xFFFD, bytes);
        if (letter == 'c')
            return put_padded(run, out, verb, (const char *)bytes, n);
        if (put(run, &built, "'") != 0 ||
            put_quoted_character(run, &built, (const char *)bytes, n, '\'', verb->plus) != 0 ||
            put(run, &built, "'") != 0)
            return -1;
        return put_padded(run, out, verb, built.data, built.n);
    default:
        return hl_run_fail(run, "a value without a type in Go cannot be printed");
    }
}

static int put_dict(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value, int depth)
{
    bool is_struct = hl_go_is_struct(value);
    if (put(run, out, is_struct ? "{" : "map[") != 0)
        return -1;
    for (uint32_t i = 0; i < value.dict->n; i++) {
        const struct hl_entry *entry = &value.dict->entries[i];
        bool named = !is_struct || verb->plus || verb->sharp;
        if (i > 0 && put(run, out, " ") != 0)
            return -1;
        if (named && (put_value(run, out, is_struct ? &plain_verb : verb, entry->key, depth + 1) != 0 ||
                      put(run, out, ":") != 0))
            return -1;
        if (put_value(run, out, verb, entry->value, depth + 1) != 0)
            return -1;
    }
    return put(run, out, is_struct ? "}" : "]");
}

/* Writes types that print themselves, for the verbs of text. */
static int put_by_itself(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value)
{
    struct hl_text built = {.arena = run->arena};
    bool names = (value.flags & ~HL_GO_NIL) == HL_GO_TYPE_NAMES;
    if (names && value.list->n == 1)
        return put_value(run, out, verb, value.list->items[0], 0);
    if (names && value.list->n == 0)
        return put_text(run, out, verb, "", 0);
    if (names) {
        value.flags = 0;
        if (put_value(run, &built, &plain_verb, value, 0) != 0)
            return -1;
    } else if ((value.flags & HL_GO_NIL) && value.kind == HL_VALUE_DICT) {
        if (put(run, &built, "{}") != 0)
            return -1;
    } else if (hl_go_json(run, &built, value) != 0) {
        return -1;
    }
    return put_text(run, out, verb, built.data, built.n);
}

static int put_value(struct hl_run *run, struct hl_text *out, const struct verb *verb, struct hl_value value, int depth)
{
    if (depth > HL_VALUE_DEPTH)
        return too_deep(run);
    if (hl_arena_pay(run->arena, 1, run->err) != 0)
        return -1;
    bool nil = value.kind == HL_VALUE_NONE || value.kind == HL_VALUE_UNDEFINED;
    if (verb->letter == 'T') {
        const char *name = nil ? "<nil>" : hl_go_type_name(value);
        return put_padded(run, out, verb, name, strlen(name));
    }
    bool compound = value.kind == HL_VALUE_DICT || hl_go_is_list(value);
    bool textual = verb->letter < 128 && strchr("svqxX", (int)verb->letter);
    if (compound && hl_go_class(value)->prints_json && textual && !verb->sharp)
        return put_by_itself(run, out, verb, value);
    if (compound && verb->sharp && verb->letter == 'v')
        return hl_run_fail(run, "printf: %%#v of a %s is not supported", hl_go_type_name(value));
    if (value.kind == HL_VALUE_DICT)
        return put_dict(run, out, verb, value, depth);
    if (nil && depth > 0)
        return put(run, out, "<nil>");
    if (nil && verb->letter != 'v')
        return put_wrong(run, out, verb, value, depth);
    if (nil)
        return put_padded(run, out, verb, "<nil>", 5);
    if (!compound)
        return put_scalar(run, out, verb, value, depth);
    if (put(run, out, "[") != 0)
        return -1;
    for (uint32_t i = 0; i < value.list->n; i++)
        if ((i > 0 && put(run, out, " ") != 0) || put_value(run, out, verb, value.list->items[i], depth + 1) != 0)
            return -1;
    return put(run, out, "]");
}

int hl_go_format(struct hl_run *run, struct hl_text *out, struct hl_value value)
{
    return put_value(run, out, &plain_verb, value, 0);
}

/* Writes text as UTF-8. `slice` may have cut a character: its bytes become U+FFFD, one for each. */
static int put_valid(struct hl_run *run, struct hl_text *out, const char *text, size_t n)
{
    size_t plain = 0;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bool good;
        character(text + i, n - i, &bytes, &good);
        if (good)
            continue;
        if (hl_text_put(out, text + plain, i - plain, run->err) != 0 || put(run, out, "\xef\xbf\xbd") != 0)
            return -1;
        plain = i + bytes;
    }
    return hl_text_put(out, text + plain, n - plain, run->err);
}

int hl_go_print(struct hl_run *run, struct hl_text *out, struct hl_value value)
{
    struct hl_text text = {.arena = run->arena};
    if (value.kind == HL_VALUE_NONE || value.kind == HL_VALUE_UNDEFINED)
        return put(run, out, "<no value>");
    if (value.kind == HL_VALUE_STRING)
        return put_valid(run, out, value.text, value.n);
    return hl_go_format(run, &text, value) != 0 ? -1 : put_valid(run, out, text.data ? text.data : "", text.n);
}

/* ---- printf ---- */

static int parse_digits(const char **at, const char *end)
{
    int value = 0;
    while (*at < end && **at >= '0' && **at <= '9' && value <= MOST_WIDTH)
        value = 10 * value + *(*at)++ - '0';
    return value;
}

/* Parses the part between % and the letter. */
static int parse_verb(struct hl_run *run, const char **at, const char *end, struct verb *verb)
{
    *verb = plain_verb;
    for (; *at < end && strchr("+-# 0", **at) && **at; (*at)++) {
        verb->plus = verb->plus || **at == '+';
        verb->minus = verb->minus || **at == '-';
        verb->sharp = verb->sharp || **at == '#';
        verb->space = verb->space || **at == ' ';
        verb->zero = verb->zero || **at == '0';
    }
    if (*at < end && **at >= '1' && **at <= '9')
        verb->width = parse_digits(at, end);
    if (*at < end && **at == '.') {
        ++*at;
        verb->precision = parse_digits(at, end);
    }
    if (verb->width > MOST_WIDTH || verb->precision > MOST_WIDTH)
        return hl_run_fail(run, "printf: widths above %d are not supported", MOST_WIDTH);
    if (*at < end && (**at == '*' || **at == '['))
        return hl_run_fail(run, "printf: %c in a verb is not supported", **at);
    return 0;
}

static int put_extra(struct hl_run *run, struct hl_text *out, const struct hl_value *values, uint32_t n)
{
    if (put(run, out, "%!(EXTRA ") != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        bool nil = values[i].kind == HL_VALUE_NONE || values[i].kind == HL_VALUE_UNDEFINED;
        if ((i > 0 && put(run, out, ", ") != 0) || (!nil && put(run, out, hl_go_type_name(values[i])) != 0) ||
            (!nil && put(run, out, "=") != 0) || hl_go_format(run, out, values[i]) != 0)
            return -1;
    }
    return put(run, out, ")");
}

int hl_go_printf(struct hl_run *run, struct hl_text *out, struct hl_value format, const struct hl_value *values,
                 uint32_t n)
{
    const char *at = format.text, *end = at + format.n;
    uint32_t used = 0;
    while (at < end) {
        const char *percent = memchr(at, '%', (size_t)(end - at));
        struct verb verb;
        size_t bytes;
        bool good;
        if (hl_text_put(out, at, (size_t)((percent ? percent : end) - at), run->err) != 0)
            return -1;
        if (!percent)
            break;
        at = percent + 1;
        if (parse_verb(run, &at, end, &verb) != 0)
            return -1;
        if (at == end)
            return put(run, out, "%!(NOVERB)");
        verb.letter = (uint32_t)character(at, (size_t)(end - at), &bytes, &good);
        at += bytes;
        if (verb.letter == '%') {
            if (put(run, out, "%") != 0)
                return -1;
        } else if (used == n) {
            if (put(run, out, "%!") != 0 || put_letter(run, out, verb.letter) != 0 || put(run, out, "(MISSING)") != 0)
                return -1;
        } else if (put_value(run, out, &verb, values[used++], 0) != 0) {
            return -1;
        }
    }
    return used < n ? put_extra(run, out, values + used, n - used) : 0;
}

/* ---- JSON ---- */

static int put_json(struct hl_run *run, struct hl_text *out, struct hl_value value, int depth);

static int put_json_string(struct hl_run *run, struct hl_text *out, const char *text, size_t n)
{
    size_t plain = 0;
    if (put(run, out, "\"") != 0)
        return -1;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        char escape[8] = "";
        bool good;
        utf8proc_int32_t code = character(text + i, n - i, &bytes, &good);
        static const char letters[] = "bfnrt\"\\", meanings[] = "\b\f\n\r\t\"\\";
        const char *simple = code && code < 128 ? strchr(meanings, code) : NULL;
        if (simple)
            snprintf(escape, sizeof escape, "\\%c", letters[simple - meanings]);
        else if (!good || code < ' ' || code == '<' || code == '>' || code == '&' || code == 0x2028 || code == 0x2029)
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)code & 0xFFFF);
        if (!*escape)
            continue;
        if (hl_text_put(out, text + plain, i - plain, run->err) != 0 || put(run, out, escape) != 0)
            return -1;
        plain = i + bytes;
    }
    return hl_text_put(out, text + plain, n - plain, run->err) != 0 ? -1 : put(run, out, "\"");
}

static bool is_empty(struct hl_value value)
{
    return !hl_go_is_struct(value) && !hl_go_truth(value);
}

static int put_json_dict(struct hl_run *run, struct hl_text *out, struct hl_value value, int depth)
{
    const struct hl_go_class *class = hl_go_class(value);
    const char *comma = "{";
    for (uint32_t i = 0; i < value.dict->n; i++) {
        const struct hl_entry *entry = &value.dict->entries[i];
        const struct hl_go_field *field = class->n_fields ? &class->fields[i] : NULL;
        if (field && field->omitted && is_empty(entry->value))
            continue;
        if (entry->key.kind != HL_VALUE_STRING)
            return hl_run_fail(run, "json: the keys of a map are not text");
        const char *name = field ? field->json : entry->key.text;
        if (put(run, out, comma) != 0 || put_json_string(run, out, name, field ? strlen(name) : entry->key.n) != 0 ||
            put(run, out, ":") != 0 || put_json(run, out, entry->value, depth + 1) != 0)
            return -1;
        comma = ",";
    }
    return put(run, out, *comma == '{' ? "{}" : "}");
}

static int put_json_list(struct hl_run *run, struct hl_text *out, struct hl_value value, int depth)
{
    if ((value.flags & ~HL_GO_NIL) == HL_GO_TYPE_NAMES && value.list->n == 1)
        return put_json(run, out, value.list->items[0], depth + 1);
    if (put(run, out, "[") != 0)
        return -1;
    for (uint32_t i = 0; i < value.list->n; i++)
        if ((i > 0 && put(run, out, ",") != 0) || put_json(run, out, value.list->items[i], depth + 1) != 0)
            return -1;
    return put(run, out, "]");
}

static int put_json(struct hl_run *run, struct hl_text *out, struct hl_value value, int depth)
{
    char text[64];
    if (depth > HL_VALUE_DEPTH)
        return too_deep(run);
    if (hl_arena_pay(run->arena, 1, run->err) != 0)
        return -1;
    if (hl_go_is_nil(value))
        return put(run, out, "null");
    switch (value.kind) {
    case HL_VALUE_BOOL:
        return put(run, out, value.truth ? "true" : "false");
    case HL_VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, value.integer);
        return put(run, out, text);
    case HL_VALUE_FLOAT:
        shortest(value.real, true, text);
        return put(run, out, text);
    case HL_VALUE_STRING:
        return put_json_string(run, out, value.text, value.n);
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return put_json_list(run, out, value, depth);
    case HL_VALUE_DICT:
        return put_json_dict(run, out, value, depth);
    default:
        return hl_run_fail(run, "json: unsupported value");
    }
}

int hl_go_json(struct hl_run *run, struct hl_text *out, struct hl_value value)
{
    return put_json(run, out, value, 0);
}
