/* The filters of Jinja that take one value: texts and numbers. Filters over items are in sequences.c. The formulas are
 * those of jinja2/filters.py, https://github.com/pallets/jinja
 */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { VALUE, FIRST, SECOND, THIRD, FOURTH };

static int text_of(struct hl_run *run, const struct hl_args *args, uint32_t i, struct hl_value *out)
{
    return hl_jinja_text(run, args->values[i], out);
}

static int filter_abs(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    *out = v;
    if (v.kind == HL_VALUE_FLOAT)
        out->real = fabs(v.real);
    else if (v.kind == HL_VALUE_BOOL)
        *out = hl_int(v.truth);
    else if (v.kind == HL_VALUE_INT && v.integer < 0)
        return hl_operate_unary(run, HL_UNARY_NEGATIVE, v, out);
    else if (v.kind != HL_VALUE_INT)
        return hl_run_fail(run, "abs takes a number, not '%s'", hl_value_type(v));
    return 0;
}

static int filter_attr(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value name;
    if (args->values[VALUE].kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, args->values[VALUE]);
    if (hl_args_text(run, args, FIRST, &name) || hl_jinja_own_attribute(run, args->values[VALUE], name, out))
        return -1;
    if (out->kind == HL_VALUE_ABSENT)
        *out = hl_undefined(HL_UNDEFINED_ATTRIBUTE, name.text, name.n);
    return 0;
}

static int filter_capitalize(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    return text_of(run, args, VALUE, &s) ? -1 : hl_string_capitalize(run, s, out);
}

static int filter_center(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    int64_t width;
    if (text_of(run, args, VALUE, &s) || hl_args_int(run, args, FIRST, 80, &width))
        return -1;
    return hl_string_center(run, s, width, (struct hl_value){.kind = HL_VALUE_ABSENT}, out);
}

static int filter_default(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    bool replaces = v.kind == HL_VALUE_UNDEFINED || (hl_args_truth(args, SECOND) && !hl_value_truth(v));
    (void)run;
    *out = !replaces ? v : hl_args_given(args, FIRST) ? args->values[FIRST] : hl_string("", 0);
    return 0;
}

int hl_filters_escape(struct hl_run *run, struct hl_value s, struct hl_value *out)
{
    static const char marks[] = "&<>'\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct hl_text text = {.arena = run->arena};
    size_t from = 0;
    for (size_t at = 0; at < s.n; at++) {
        const char *mark = s.text[at] ? strchr(marks, s.text[at]) : NULL;
        if (!mark)
            continue;
        const char *name = names[mark - marks];
        if (hl_text_put(&text, s.text + from, at - from, run->err) || hl_text_put(&text, name, strlen(name), run->err))
            return -1;
        from = at + 1;
    }
    if (hl_text_put(&text, s.text + from, s.n - from, run->err))
        return -1;
    *out = hl_text_value(&text);
    out->flags = HL_STRING_SAFE;
    return 0;
}

static int filter_escape(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    if (text_of(run, args, VALUE, out))
        return -1;
    return out->flags & HL_STRING_SAFE ? 0 : hl_filters_escape(run, *out, out);
}

static int filter_forceescape(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return text_of(run, args, VALUE, out) || hl_filters_escape(run, *out, out) ? -1 : 0;
}

static int filter_safe(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    if (text_of(run, args, VALUE, out))
        return -1;
    out->flags = HL_STRING_SAFE;
    return 0;
}

static int filter_string(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return text_of(run, args, VALUE, out);
}

/* Numbers in the syntax of Python's float() and int(): white space around them and _ between digits. They are copied to
 * `text` and terminated. */
#define NUMBER_MOST 400

static bool plain_number(struct hl_run *run, struct hl_value s, char text[NUMBER_MOST])
{
    size_t n = 0;
    if (hl_string_strip(run, s, hl_none(), HL_STRIP_LEFT | HL_STRIP_RIGHT, &s) || !s.n || s.n >= NUMBER_MOST)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bool between =
            i && i + 1 < s.n && isalnum((unsigned char)s.text[i - 1]) && isalnum((unsigned char)s.text[i + 1]);
        if (!s.text[i] || (s.text[i] == '_' && !between))
            return false;
        if (s.text[i] != '_')
            text[n++] = s.text[i];
    }
    text[n] = 0;
    return !isspace((unsigned char)*text);
}

static bool parse_real(struct hl_run *run, struct hl_value s, double *real)
{
    char text[NUMBER_MOST], *end;
    if (!plain_number(run, s, text) || strpbrk(text, "xXpP("))
        return false;
    *real = strtod(text, &end);
    return !*end && end != text;
}

/* Returns 1, or 0 if the text is not a number, or -1 if the number is too large. */
static int parse_whole(struct hl_run *run, struct hl_value s, int base, int64_t *whole)
{
    char text[NUMBER_MOST], *end, *digits = text;
    if (!plain_number(run, s, text))
        return 0;
    digits += *text == '-' || *text == '+';
    bool prefixed = digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]);
    int prefix = !prefixed ? 0 : strchr("xX", digits[1]) ? 16 : strchr("oO", digits[1]) ? 8 : 2;
    if (prefixed && (base == prefix || base == 0)) { /* prefixes that strtoll does not know: 0b, 0o */
        memmove(digits, digits + 2, strlen(digits + 2) + 1);
        base = prefix;
    } else if (base == 0) {
        base = 10;
        if (digits[0] == '0' && digits[strspn(digits, "0")])
            return 0;
    }
    if (!isalnum((unsigned char)*digits) || (base == 16 && digits[0] == '0' && (digits[1] | 32) == 'x'))
        return 0;
    errno = 0;
    *whole = strtoll(text, &end, base);
    if (*end || end == text)
        return 0;
    return errno ? -1 : 1;
}

static int filter_int(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    int64_t base, whole = 0;
    double real = NAN;
    bool text = v.kind == HL_VALUE_STRING;
    if (hl_args_int(run, args, SECOND, 10, &base))
        return -1;
    *out = hl_args_given(args, FIRST) ? args->values[FIRST] : hl_int(0);
    if (v.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, v);
    if (hl_value_is_whole(v) || v.kind == HL_VALUE_BIG) {
        *out = v.kind == HL_VALUE_BOOL ? hl_int(v.truth) : v;
        return 0;
    }
    int parsed = text && (base == 0 || (base >= 2 && base <= 36)) ? parse_whole(run, v, (int)base, &whole) : 0;
    if (parsed > 0) {
        *out = hl_int(whole);
        return 0;
    }
    if (v.kind == HL_VALUE_FLOAT)
        real = v.real;
    else if (!text || (!parsed && !parse_real(run, v, &real)))
        return 0;
    if (parsed < 0 || (fabs(real) >= 0x1p63 && (!text || isfinite(real))))
        return hl_run_fail(run, "int: the number has more than 64 bits");
    if (isfinite(real))
        *out = hl_int((int64_t)real);
    return 0;
}

static int filter_float(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    double real;
    *out = hl_args_given(args, FIRST) ? args->values[FIRST] : hl_float(0);
    if (v.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, v);
    if (v.kind == HL_VALUE_FLOAT)
        *out = v;
    else if (hl_value_is_whole(v))
        *out = hl_float((double)hl_value_whole(v));
    else if ((v.kind == HL_VALUE_STRING || v.kind == HL_VALUE_BIG) && parse_real(run, v, &real))
        *out = hl_float(real);
    return 0;
}

/* Rounds halves to the even neighbour, by the exact value of the double. */
static int round_common(struct hl_run *run, struct hl_value v, int64_t digits, struct hl_value *out)
{
    char text[512];
    *out = v;
    if (v.kind != HL_VALUE_FLOAT) {
        int64_t unit = 1, rest;
        for (int64_t i = digits; i < 0 && unit < INT64_MAX / 10; i++)
            unit *= 10;
        rest = ((v.integer % unit) + unit) % unit;
        int64_t low = v.integer - rest;
        bool up = rest > unit / 2 || (unit > 1 && rest == unit / 2 && low / unit % 2);
        *out = hl_int(up ? low + unit : low);
        return 0;
    }
    if (!isfinite(v.real) || digits > 308)
        return 0;
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", digits < 60 ? (int)digits : 60, v.real);
        *out = hl_float(strtod(text, NULL));
        return 0;
    }
    double unit = pow(10, (double)-digits);
    *out = hl_float(isfinite(unit) ? nearbyint(v.real / unit) * unit : copysign(0, v.real));
    (void)run;
    return 0;
}

static int filter_round(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    struct hl_value method = hl_args_given(args, SECOND) ? args->values[SECOND] : hl_string("common", 6);
    int64_t digits;
    bool floor_it = hl_value_is_text(method, "floor"), ceil_it = hl_value_is_text(method, "ceil");
    if (hl_args_int(run, args, FIRST, 0, &digits))
        return -1;
    if (v.kind == HL_VALUE_BOOL)
        v = hl_int(v.truth);
    if (v.kind != HL_VALUE_FLOAT && v.kind != HL_VALUE_INT)
        return hl_run_fail(run, "round takes a number, not '%s'", hl_value_type(v));
    if (hl_value_is_text(method, "common"))
        return round_common(run, v, digits, out);
    double real = v.kind == HL_VALUE_INT ? (double)v.integer : v.real, unit = pow(10, (double)digits);
    if (!floor_it && !ceil_it)
        return hl_run_fail(run, "method must be common, ceil or floor");
    if (!isfinite(real * unit) || unit == 0)
        return hl_run_fail(run, "round: the number is out of range");
    *out = hl_float((floor_it ? floor(real * unit) : ceil(real * unit)) / unit);
    return 0;
}

static int filter_indent(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s = args->values[VALUE], width = hl_args_given(args, FIRST) ? args->values[FIRST] : hl_int(4);
    struct hl_value lines, indention = width;
    struct hl_text text = {.arena = run->arena};
    bool first = hl_args_truth(args, SECOND), blank = hl_args_truth(args, THIRD);
    if (s.kind != HL_VALUE_STRING)
        return s.kind == HL_VALUE_UNDEFINED ? hl_run_undefined(run, s)
                                            : hl_run_fail(run, "indent takes a string, not '%s'", hl_value_type(s));
    if (width.kind != HL_VALUE_STRING && hl_operate_binary(run, HL_BINARY_MUL, hl_string(" ", 1), width, &indention))
        return -1;
    if (hl_operate_binary(run, HL_BINARY_ADD, hl_string(s.text, s.n), hl_string("\n", 1), &s) ||
        hl_string_lines(run, s, false, &lines))
        return -1;
    for (uint32_t i = 0; i < lines.list->n; i++) {
        const struct hl_value *line = &lines.list->items[i];
        bool indents = i ? blank || line->n : first;
        if ((i && hl_text_put(&text, "\n", 1, run->err)) ||
            (indents && hl_text_put(&text, indention.text, indention.n, run->err)) ||
            hl_text_put(&text, line->text, line->n, run->err))
            return -1;
    }
    *out = hl_text_value(&text);
    return 0;
}

static int filter_lower(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    return text_of(run, args, VALUE, &s) ? -1 : hl_string_lower(run, s, out);
}

static int filter_upper(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    return text_of(run, args, VALUE, &s) ? -1 : hl_string_upper(run, s, out);
}

static int filter_replace(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s, old, fresh;
    int64_t most;
    if (text_of(run, args, VALUE, &s) || text_of(run, args, FIRST, &old) || text_of(run, args, SECOND, &fresh) ||
        hl_args_int(run, args, THIRD, -1, &most))
        return -1;
    return hl_string_replace(run, s, old, fresh, most, out);
}

static bool begins_word(int32_t c)
{
    return hl_char_is_space(c) || strchr("-({[<", c < 0x80 && c ? c : 'x') != NULL;
}

/* Converts to title case. Words alternate with the text between them. The first character of each goes to upper case,
 * the others to lower case. */
static int filter_title(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_value s, head, tail;
    size_t end, n;
    if (text_of(run, args, VALUE, &s))
        return -1;
    for (size_t at = 0; at < s.n; at = end) {
        size_t first;
        bool kind = begins_word(hl_char_at(s.text + at, s.n - at, &first));
        for (end = at + first; end < s.n; end += n)
            if (begins_word(hl_char_at(s.text + end, s.n - end, &n)) != kind)
                break;
        if (hl_string_upper(run, hl_string(s.text + at, first), &head) ||
            hl_string_lower(run, hl_string(s.text + at + first, end - at - first), &tail) ||
            hl_text_put(&text, head.text, head.n, run->err) || hl_text_put(&text, tail.text, tail.n, run->err))
            return -1;
    }
    *out = hl_text_value(&text);
    return 0;
}

/* Writes JSON as transformers' tojson does: json.dumps() with ensure_ascii off and without HTML escapes. The first
 * argument is ensure_ascii, not indent as in jinja2. */
static int filter_tojson(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_json_style style = {.ensure_ascii = hl_args_truth(args, FIRST), .sort_keys = hl_args_truth(args, FOURTH)};
    style.indent = hl_args_given(args, SECOND) ? args->values[SECOND] : hl_none();
    style.item_separator.kind = style.key_separator.kind = HL_VALUE_ABSENT;
    if (style.indent.kind == HL_VALUE_BOOL)
        style.indent = hl_int(style.indent.truth);
    if (style.indent.kind != HL_VALUE_NONE && style.indent.kind != HL_VALUE_INT && style.indent.kind != HL_VALUE_STRING)
        return hl_run_fail(run, "tojson: indent is of type '%s'", hl_value_type(style.indent));
    if (hl_args_given(args, THIRD) && args->values[THIRD].kind != HL_VALUE_NONE) {
        struct hl_value both;
        if (hl_iterator_all(run, args->values[THIRD], HL_VALUE_LIST, &both))
            return -1;
        if (both.list->n != 2 || both.list->items[0].kind != HL_VALUE_STRING ||
            both.list->items[1].kind != HL_VALUE_STRING)
            return hl_run_fail(run, "tojson: separators must be two strings");
        style.item_separator = both.list->items[0];
        style.key_separator = both.list->items[1];
    }
    if (hl_value_dump(&text, args->values[VALUE], &style, run->err))
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

static int filter_trim(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    if (text_of(run, args, VALUE, &s))
        return -1;
    return hl_string_strip(run, s, args->values[FIRST], HL_STRIP_LEFT | HL_STRIP_RIGHT, out);
}

static int filter_truncate(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s = args->values[VALUE];
    struct hl_value end = hl_args_given(args, THIRD) ? args->values[THIRD] : hl_string("...", 3);
    int64_t length, leeway;
    if (hl_args_int(run, args, FIRST, 255, &length) || hl_args_int(run, args, FOURTH, 5, &leeway))
        return -1;
    int64_t n_end = hl_value_length(end), n = hl_value_length(s);
    if (n < 0 || n_end < 0 || length < n_end || leeway < 0)
        return hl_run_fail(run, "truncate: the length is missing or less than that of the end");
    *out = s;
    if (n <= length || n - length <= leeway)
        return 0;
    if (s.kind != HL_VALUE_STRING || end.kind != HL_VALUE_STRING)
        return hl_run_fail(run, "truncate takes strings");
    size_t keep = hl_char_offset(s.text, s.n, (size_t)(length - n_end));
    const char *space = hl_args_truth(args, SECOND) || !keep ? NULL : memrchr(s.text, ' ', keep);
    if (space)
        keep = (size_t)(space - s.text);
    return hl_operate_binary(run, HL_BINARY_ADD, hl_string(s.text, keep), hl_string(end.text, end.n), out);
}

static int quote(struct hl_run *run, struct hl_text *text, struct hl_value value, bool query)
{
    struct hl_value s;
    if (hl_jinja_text(run, value, &s))
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        char code[4];
        unsigned char c = (unsigned char)s.text[i];
        bool plain = (c < 0x80 && isalnum(c)) || (c && strchr("_.-~", c)) || (c == '/' && !query);
        int n = plain               ? snprintf(code, sizeof code, "%c", c)
                : c == ' ' && query ? snprintf(code, sizeof code, "+")
                                    : snprintf(code, sizeof code, "%%%02X", c);
        if (hl_text_put(text, code, (size_t)n, run->err))
            return -1;
    }
    return 0;
}

static int filter_urlencode(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_value v = args->values[VALUE], pair, item;
    struct hl_iterator items;
    int got = 0;
    bool composed = v.kind == HL_VALUE_LIST || v.kind == HL_VALUE_TUPLE || v.kind == HL_VALUE_DICT ||
                    v.kind == HL_VALUE_OBJECT || v.kind == HL_VALUE_UNDEFINED;
    if (!composed && quote(run, &text, v, false))
        return -1;
    if (composed && hl_iterator_open(run, v, &items))
        return -1;
    if (v.kind == HL_VALUE_DICT)
        items.view = HL_VIEW_ITEMS;
    while (composed && (got = hl_iterator_next(run, &items, &item)) > 0) {
        if (hl_iterator_all(run, item, HL_VALUE_LIST, &pair))
            return -1;
        if (pair.list->n != 2)
            return hl_run_fail(run, "urlencode takes pairs");
        if ((text.n && hl_text_put(&text, "&", 1, run->err)) || quote(run, &text, pair.list->items[0], true) ||
            hl_text_put(&text, "=", 1, run->err) || quote(run, &text, pair.list->items[1], true))
            return -1;
    }
    *out = hl_text_value(&text);
    return got;
}

static int filter_wordcount(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s;
    int64_t words = 0;
    bool inside = false;
    size_t n;
    if (text_of(run, args, VALUE, &s))
        return -1;
    for (size_t at = 0; at < s.n; at += n) {
        int32_t c = hl_char_at(s.text + at, s.n - at, &n);
        bool word = c == '_' || hl_char_is_alpha(c) || hl_char_is_numeric(c);
        words += word && !inside;
        inside = word;
    }
    *out = hl_int(words);
    return hl_arena_pay(run->arena, s.n / 8, run->err);
}

static int filter_format(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s, values;
    if (text_of(run, args, VALUE, &s) || hl_list_new(run->arena, HL_VALUE_TUPLE, args->n, &values, run->err))
        return -1;
    if (args->n > 1 && args->named)
        return hl_run_fail(run, "format takes arguments with names or without, not both");
    for (uint32_t i = 1; i < args->n; i++)
        values.list->items[values.list->n++] = args->values[i];
    if (args->named)
        values = (struct hl_value){.kind = HL_VALUE_DICT, .dict = args->named};
    return hl_format_percent(run, s, values, out);
}

const struct hl_builtin hl_jinja_filters[] = {
    {"filter", "abs", "-", 1, filter_abs},
    {"filter", "attr", "obj name", 2, filter_attr},
    {"filter", "capitalize", "s", 1, filter_capitalize},
    {"filter", "center", "value width", 1, filter_center},
    {"filter", "d", "value default_value boolean", 1, filter_default},
    {"filter", "default", "value default_value boolean", 1, filter_default},
    {"filter", "e", "-", 1, filter_escape},
    {"filter", "escape", "-", 1, filter_escape},
    {"filter", "float", "value default", 1, filter_float},
    {"filter", "forceescape", "value", 1, filter_forceescape},
    {"filter", "format", NULL, 1, filter_format},
    {"filter", "indent", "s width first blank", 1, filter_indent},
    {"filter", "int", "value default base", 1, filter_int},
    {"filter", "lower", "s", 1, filter_lower},
    {"filter", "replace", "s old new count", 3, filter_replace},
    {"filter", "round", "value precision method", 1, filter_round},
    {"filter", "safe", "value", 1, filter_safe},
    {"filter", "string", "s", 1, filter_string},
    {"filter", "title", "s", 1, filter_title},
    {"filter", "tojson", "x ensure_ascii indent separators sort_keys", 1, filter_tojson},
    {"filter", "trim", "value chars", 1, filter_trim},
    {"filter", "truncate", "s length killwords end leeway", 1, filter_truncate},
    {"filter", "upper", "s", 1, filter_upper},
    {"filter", "urlencode", "value", 1, filter_urlencode},
    {"filter", "wordcount", "s", 1, filter_wordcount},
    {0},
};
