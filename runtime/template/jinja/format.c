/* Formats text as Python does: "%s and %d" % (a, b), and "{} and {name:>8}".format(a, name=b). */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"
#include <inttypes.h>
#include <math.h>

#define WIDTH_MOST 1000 /* of a field, and digits after the point */
#define NUMBER_TEXT 1600

struct spec {
    char fill[4];
    size_t n_fill;
    char align; /* < > ^ = or 0 */
    char sign;  /* + - or space, or 0 */
    bool alternate, zero;
    char group;           /* , or _ or 0 */
    int width, precision; /* -1: not given */
    char type;            /* or 0 */
};

static int pad(struct hl_run *run, struct hl_text *out, const struct spec *spec, const char *text, size_t n,
               size_t n_sign)
{
    int length = (int)(hl_char_count(text, n) < WIDTH_MOST ? hl_char_count(text, n) : WIDTH_MOST);
    int space = spec->width > length ? spec->width - length : 0;
    int left = spec->align == '<' ? 0 : spec->align == '^' ? space / 2 : space;
    size_t leading = spec->align == '=' ? n_sign : 0; /* the sign comes before the padding */
    if (hl_text_put(out, text, leading, run->err))
        return -1;
    for (int i = 0; i < left; i++)
        if (hl_text_put(out, spec->fill, spec->n_fill, run->err))
            return -1;
    if (hl_text_put(out, text + leading, n - leading, run->err))
        return -1;
    for (int i = left; i < space; i++)
        if (hl_text_put(out, spec->fill, spec->n_fill, run->err))
            return -1;
    return 0;
}

/* Inserts a sign between groups of digits before the point. */
static size_t group_digits(char text[NUMBER_TEXT], char group, size_t every)
{
    char digits[NUMBER_TEXT];
    size_t n = strlen(text), sign = *text == '-' || *text == '+' || *text == ' ', at = sign;
    size_t whole = strspn(text + sign, "0123456789abcdefABCDEF");
    memcpy(digits, text, n + 1);
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % every == 0 && at < NUMBER_TEXT - 2)
            text[at++] = group;
        text[at++] = digits[sign + i];
        if (at > NUMBER_TEXT / 2)
            return strlen(digits);
    }
    memcpy(text + at, digits + sign + whole, n - sign - whole + 1);
    return strlen(text);
}

static size_t write_binary(char *text, uint64_t value)
{
    size_t n = 0, bits = 1;
    while (bits < 64 && value >> bits)
        bits++;
    while (bits--)
        text[n++] = (char)('0' + (value >> bits & 1));
    text[n] = 0;
    return n;
}

static void write_whole(char text[NUMBER_TEXT], const struct spec *spec, int64_t value)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[80] = "", sign = value < 0 ? '-' : spec->sign && spec->sign != '-' ? spec->sign : 0;
    const char *prefix = !spec->alternate    ? ""
                         : spec->type == 'x' ? "0x"
                         : spec->type == 'X' ? "0X"
                         : spec->type == 'o' ? "0o"
                         : spec->type == 'b' ? "0b"
                                             : "";
    if (spec->type == 'b')
        write_binary(digits, size);
    else
        snprintf(digits, sizeof digits,
                 spec->type == 'x'   ? "%" PRIx64
                 : spec->type == 'X' ? "%" PRIX64
                 : spec->type == 'o' ? "%" PRIo64
                                     : "%" PRIu64,
                 size);
    snprintf(text, NUMBER_TEXT, "%.*s%s%.*s%s", sign != 0, &sign, prefix,
             spec->precision > (int)strlen(digits) ? spec->precision - (int)strlen(digits) : 0,
             "0000000000000000000000000000000000000000000000000000000000000000", digits);
}

static void write_real(char text[NUMBER_TEXT], const struct spec *spec, double value)
{
    char format[16];
    bool percent = spec->type == '%';
    int n = snprintf(format, sizeof format, "%%%s%s.*%c",
                     spec->sign == '+'   ? "+"
                     : spec->sign == ' ' ? " "
                                         : "",
                     spec->alternate ? "#" : "", percent ? 'f' : spec->type);
    if (n > 0)
        snprintf(text, NUMBER_TEXT - 2, format, spec->precision < 0 ? 6 : spec->precision, /* NOLINT */
                 percent ? value * 100 : value);
    if (percent)
        strcat(text, "%"); /* NOLINT: it has room */
}

static int put_number(struct hl_run *run, struct hl_text *out, struct spec *spec, struct hl_value value)
{
    char text[NUMBER_TEXT] = "";
    bool whole = strchr("dxXob", spec->type) != NULL;
    if (whole) {
        write_whole(text, spec, hl_value_whole(value));
    } else {
        double real = value.kind == HL_VALUE_FLOAT ? value.real : (double)hl_value_whole(value);
        write_real(text, spec, real);
        if (!isfinite(real))
            spec->zero = false;
    }
    if (spec->group)
        group_digits(text, spec->group, whole && spec->type != 'd' ? 4 : 3);
    size_t n_sign = *text == '-' || *text == '+' || *text == ' ';
    if (spec->alternate && text[n_sign] == '0' && text[n_sign + 1] && strchr("xXob", text[n_sign + 1]))
        n_sign += 2;
    if (spec->zero && !spec->align) {
        spec->align = '=';
        spec->fill[0] = '0';
    }
    if (!spec->align)
        spec->align = '>';
    return pad(run, out, spec, text, strlen(text), n_sign);
}

static int put_text(struct hl_run *run, struct hl_text *out, struct spec *spec, struct hl_value value)
{
    size_t n = value.n;
    if (spec->precision >= 0)
        n = hl_char_offset(value.text, value.n, (size_t)spec->precision);
    return pad(run, out, spec, value.text, n, 0);
}

static int text_of(struct hl_run *run, struct hl_value value, bool repr, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (repr ? hl_value_repr(&text, value, run->err) : hl_value_str(&text, value, run->err))
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

/* % */

struct percent {
    struct hl_value arguments;
    bool tuple, mapping;
    uint32_t used;
};

static int next_argument(struct hl_run *run, struct percent *p, struct hl_value *out)
{
    uint32_t n = p->tuple ? p->arguments.list->n : 1;
    if (p->used >= n)
        return hl_run_fail(run, "not enough arguments for format string");
    *out = p->tuple ? p->arguments.list->items[p->used] : p->arguments;
    p->used++;
    return 0;
}

/* Reads a width or precision: digits or *. */
static int read_size(struct hl_run *run, struct percent *p, struct hl_value format, size_t *at, int *size)
{
    struct hl_value value = {0};
    if (*at < format.n && format.text[*at] == '*') {
        ++*at;
        if (next_argument(run, p, &value))
            return -1;
        if (!hl_value_is_whole(value) || hl_value_whole(value) > WIDTH_MOST || hl_value_whole(value) < -WIDTH_MOST)
            return hl_run_fail(run, "* wants an integer of at most %d", WIDTH_MOST);
        *size = (int)hl_value_whole(value);
        return 0;
    }
    for (*size = 0; *at < format.n && format.text[*at] >= '0' && format.text[*at] <= '9'; ++*at)
        if ((*size = *size * 10 + format.text[*at] - '0') > WIDTH_MOST)
            return hl_run_fail(run, "a field of more than %d characters is not supported", WIDTH_MOST);
    return 0;
}

static int convert(struct hl_run *run, struct hl_text *out, struct spec *spec, struct hl_value value)
{
    struct hl_value text = {0};
    char c[4];
    switch (spec->type) {
    case 's':
    case 'r':
    case 'a':
        if (!spec->align)
            spec->align = '>';
        return text_of(run, value, spec->type != 's', &text) ? -1 : put_text(run, out, spec, text);
    case 'c':
        if (hl_value_is_whole(value) && hl_value_whole(value) > 0 && hl_value_whole(value) < 0x110000)
            value = hl_string(c, hl_char_put((int32_t)hl_value_whole(value), c));
        if (value.kind != HL_VALUE_STRING || hl_char_count(value.text, value.n) != 1)
            return hl_run_fail(run, "%%c requires one character");
        spec->align = spec->align ? spec->align : '>';
        return put_text(run, out, spec, value);
    case 'd':
    case 'x':
    case 'X':
    case 'o':
        if (value.kind == HL_VALUE_FLOAT && spec->type == 'd' && fabs(value.real) < 0x1p63)
            value = hl_int((int64_t)value.real);
        if (!hl_value_is_whole(value))
            return value.kind == HL_VALUE_UNDEFINED
                       ? hl_run_undefined(run, value)
                       : hl_run_fail(run, "%%%c requires a number, not '%s'", spec->type, hl_value_type(value));
        return put_number(run, out, spec, value);
    default:
        if (!hl_value_is_whole(value) && value.kind != HL_VALUE_FLOAT)
            return value.kind == HL_VALUE_UNDEFINED
                       ? hl_run_undefined(run, value)
                       : hl_run_fail(run, "%%%c requires a number, not '%s'", spec->type, hl_value_type(value));
        return put_number(run, out, spec, value);
    }
}

static int read_key(struct hl_run *run, struct percent *p, struct hl_value format, size_t *at, struct hl_value *value)
{
    size_t start = ++*at;
    int nested = 1;
    for (; *at < format.n && nested; ++*at)
        nested += (format.text[*at] == '(') - (format.text[*at] == ')');
    if (!p->mapping || nested)
        return hl_run_fail(run, nested ? "incomplete format key" : "format requires a mapping");
    if (p->arguments.kind != HL_VALUE_DICT)
        return hl_run_fail(run, "%%(name) requires a dict");
    const struct hl_value *found = hl_dict_get(p->arguments.dict, format.text + start, *at - 1 - start);
    if (!found)
        return hl_run_fail(run, "unknown key '%.*s'", (int)((*at - 1 - start) & 127), format.text + start);
    *value = *found;
    return 0;
}

/* Formats one field, after its %. */
static int percent_field(struct hl_run *run, struct hl_text *out, struct percent *p, struct hl_value format, size_t *at)
{
    struct spec spec = {.fill = " ", .n_fill = 1, .precision = -1};
    struct hl_value value = {.kind = HL_VALUE_ABSENT};
    const char *flag, *text = format.text;
    if (*at < format.n && text[*at] == '(' && read_key(run, p, format, at, &value))
        return -1;
    for (; *at < format.n && text[*at] && (flag = strchr("-+ 0#", text[*at])); ++*at) {
        spec.align = *flag == '-' ? '<' : spec.align;
        spec.sign = *flag == '+' || (*flag == ' ' && !spec.sign) ? *flag : spec.sign;
        spec.zero = spec.zero || *flag == '0';
        spec.alternate = spec.alternate || *flag == '#';
    }
    if (read_size(run, p, format, at, &spec.width))
        return -1;
    if (spec.width < 0) {
        spec.align = '<';
        spec.width = -spec.width;
    }
    if (*at < format.n && text[*at] == '.') {
        ++*at;
        if (read_size(run, p, format, at, &spec.precision))
            return -1;
        spec.precision = spec.precision < 0 ? 0 : spec.precision;
    }
    while (*at < format.n && text[*at] && strchr("hlL", text[*at]))
        ++*at;
    if (*at >= format.n)
        return hl_run_fail(run, "incomplete format");
    spec.type = text[(*at)++];
    if (spec.type == '%')
        return hl_text_put(out, "%", 1, run->err);
    if (!spec.type || !strchr("sradiuxXoeEfFgGc", spec.type))
        return hl_run_fail(run, "unsupported format character '%c'", spec.type);
    if (spec.type == 'i' || spec.type == 'u')
        spec.type = 'd';
    if (strchr("dxXo", spec.type) && spec.precision > 60)
        return hl_run_fail(run, "more than 60 digits are not supported");
    if (value.kind == HL_VALUE_ABSENT && next_argument(run, p, &value))
        return -1;
    return convert(run, out, &spec, value);
}

int hl_format_percent(struct hl_run *run, struct hl_value format, struct hl_value arguments, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct percent p = {.arguments = arguments, .tuple = arguments.kind == HL_VALUE_TUPLE};
    p.mapping =
        arguments.kind == HL_VALUE_DICT || arguments.kind == HL_VALUE_LIST || arguments.kind == HL_VALUE_UNDEFINED;
    for (size_t at = 0; at < format.n;) {
        const char *mark = memchr(format.text + at, '%', format.n - at);
        size_t plain = mark ? (size_t)(mark - format.text) - at : format.n - at;
        if (hl_text_put(&text, format.text + at, plain, run->err))
            return -1;
        at += plain + 1;
        if (mark && percent_field(run, &text, &p, format, &at))
            return -1;
    }
    if (!p.mapping && p.used < (p.tuple ? arguments.list->n : 1))
        return hl_run_fail(run, "not all arguments converted during string formatting");
    *out = hl_text_value(&text);
    return 0;
}

/* {} */

static int parse_spec(struct hl_run *run, const char *text, size_t n, struct spec *spec)
{
    size_t at = 0, first = 0;
    *spec = (struct spec){.fill = " ", .n_fill = 1, .precision = -1};
    if (n)
        hl_char_at(text, n, &first);
    if (n > first && strchr("<>=^", text[first])) {
        memcpy(spec->fill, text, first);
        spec->n_fill = first;
        spec->align = text[first];
        at = first + 1;
    } else if (n && strchr("<>=^", text[0])) {
        spec->align = text[at++];
    }
    if (at < n && strchr("+- ", text[at]))
        spec->sign = text[at++];
    if (at < n && text[at] == '#')
        spec->alternate = text[at++] == '#';
    if (at < n && text[at] == '0')
        spec->zero = text[at++] == '0';
    for (; at < n && text[at] >= '0' && text[at] <= '9'; at++)
        if ((spec->width = spec->width * 10 + text[at] - '0') > WIDTH_MOST)
            return hl_run_fail(run, "a field of more than %d characters is not supported", WIDTH_MOST);
    if (at < n && (text[at] == ',' || text[at] == '_'))
        spec->group = text[at++];
    if (at < n && text[at] == '.') {
        size_t digits = ++at;
        for (spec->precision = 0; at < n && text[at] >= '0' && text[at] <= '9'; at++)
            if ((spec->precision = spec->precision * 10 + text[at] - '0') > WIDTH_MOST)
                return hl_run_fail(run, "a precision of more than %d is not supported", WIDTH_MOST);
        if (at == digits)
            return hl_run_fail(run, "format specifier: missing precision");
    }
    if (at < n)
        spec->type = text[at++];
    return at < n ? hl_run_fail(run, "invalid format specifier '%.*s'", (int)(n & 127), text) : 0;
}

static int put_field(struct hl_run *run, struct hl_text *out, struct hl_value value, const char *text, size_t n)
{
    struct spec spec;
    struct hl_value string = {0};
    bool real = value.kind == HL_VALUE_FLOAT;
    if (!n)
        return hl_value_str(out, value, run->err);
    if (parse_spec(run, text, n, &spec))
        return -1;
    if (value.kind == HL_VALUE_STRING) {
        if ((spec.type && spec.type != 's') || spec.sign || spec.alternate || spec.group || spec.align == '=')
            return hl_run_fail(run, "this format does not apply to strings");
        if (spec.zero && !spec.align)
            spec.fill[0] = '0';
        spec.align = spec.align ? spec.align : '<';
        return put_text(run, out, &spec, value);
    }
    if (!hl_value_is_whole(value) && !real)
        return hl_run_fail(run, "unsupported format string passed to %s", hl_value_type(value));
    if (!spec.type && real && spec.precision < 0 && !spec.group && !spec.zero && !spec.sign) {
        spec.align = spec.align ? spec.align : '>';
        return text_of(run, value, false, &string) ? -1 : put_text(run, out, &spec, string);
    }
    if (!spec.type && !real)
        spec.type = 'd';
    if (!spec.type || !strchr(real ? "eEfFgG%" : "dxXobeEfFgG%", spec.type))
        return hl_run_fail(run, "this format of a number is not supported");
    if (strchr("dxXob", spec.type) && spec.precision >= 0)
        return hl_run_fail(run, "precision not allowed in integer format");
    if (spec.group && spec.zero)
        return hl_run_fail(run, "grouping together with leading zeros is not supported");
    return put_number(run, out, &spec, value);
}

/* Finds the argument of "0", "name" or ""; then follows .attribute and [item]. */
static int find_field(struct hl_run *run, const struct hl_args *args, const char *text, size_t n, uint32_t *automatic,
                      struct hl_value *out)
{
    size_t at = 0;
    while (at < n && text[at] != '.' && text[at] != '[')
        at++;
    size_t digits = 0;
    uint32_t index;
    while (digits < at && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    if (digits == at) {
        if (digits > 6)
            return hl_run_fail(run, "no such argument");
        index = digits ? 0 : (*automatic)++;
        for (size_t i = 0; i < digits; i++)
            index = index * 10 + (uint32_t)(text[i] - '0');
        if (index + 1 >= args->n)
            return hl_run_fail(run, "the format has no argument %u", index);
        *out = args->values[index + 1];
    } else {
        const struct hl_value *named = args->named ? hl_dict_get(args->named, text, at) : NULL;
        if (!named)
            return hl_run_fail(run, "the format has no argument '%.*s'", (int)(at & 127), text);
        *out = *named;
    }
    while (at < n) {
        bool item = text[at++] == '[';
        size_t start = at, whole = 0;
        int64_t number = 0;
        while (at < n && (item ? text[at] != ']' : text[at] != '.' && text[at] != '['))
            at++;
        for (; start + whole < at && whole < 9 && text[start + whole] >= '0' && text[start + whole] <= '9'; whole++)
            number = number * 10 + text[start + whole] - '0';
        struct hl_value name = hl_string(text + start, at - start);
        if (item && whole == at - start)
            name = hl_int(number);
        if (item ? run->dialect->item(run, *out, name, out) : run->dialect->attribute(run, *out, name, out))
            return -1;
        at += item;
    }
    return 0;
}

/* Formats the field between braces: NAME!CONVERSION:SPEC. */
static int brace_field(struct hl_run *run, struct hl_text *out, const struct hl_args *args, const char *text, size_t n,
                       uint32_t *automatic)
{
    struct hl_value value = {0};
    size_t name = 0;
    while (name < n && text[name] != '!' && text[name] != ':')
        name++;
    if (find_field(run, args, text, name, automatic, &value))
        return -1;
    text += name;
    n -= name;
    if (n && *text == '!') {
        if (n < 2 || !strchr("rs", text[1]) || (n > 2 && text[2] != ':'))
            return hl_run_fail(run, "a format supports only !r and !s");
        if (text_of(run, value, text[1] == 'r', &value))
            return -1;
        text += 2;
        n -= 2;
    }
    return put_field(run, out, value, text + (n > 0), n - (n > 0));
}

int hl_format_braces(struct hl_run *run, struct hl_value format, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    uint32_t automatic = 0;
    const char *at = format.text, *end = format.text + format.n;
    while (at < end) {
        const char *mark = at;
        while (mark < end && *mark != '{' && *mark != '}')
            mark++;
        if (hl_text_put(&text, at, (size_t)(mark - at), run->err))
            return -1;
        if (mark == end)
            break;
        if (mark + 1 < end && mark[1] == *mark) {
            if (hl_text_put(&text, mark, 1, run->err))
                return -1;
            at = mark + 2;
            continue;
        }
        const char *close = *mark == '{' ? memchr(mark, '}', (size_t)(end - mark)) : NULL;
        if (!close || memchr(mark + 1, '{', (size_t)(close - mark - 1)))
            return hl_run_fail(run, "a single or nested brace in a format");
        if (brace_field(run, &text, args, mark + 1, (size_t)(close - mark - 1), &automatic))
            return -1;
        at = close + 1;
    }
    *out = hl_text_value(&text);
    return 0;
}
