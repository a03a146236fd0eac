/* Prints values: as JSON like json.dumps(), and like str() and repr() of Python. */
#include "runtime/template/core/characters.h"
#include "runtime/template/core/run.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct printer {
    struct hl_text *out;
    const struct hl_json_style *style; /* of JSON */
    const char *indent;                /* NULL: all on one line */
    size_t n_indent;
    struct hl_value item_separator, key_separator;
    struct hl_error *err;
};

static int put(struct hl_text *out, const char *text, struct hl_error *err)
{
    return hl_text_put(out, text, strlen(text), err);
}

static int too_deep(unsigned depth, struct hl_error *err)
{
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "values are nested too deeply to print");
    return 0;
}

/* Returns whether the decimal in `text` reads back as `real`. */
static bool reads_back(const char *text, double real)
{
    return strtod(text, NULL) == real;
}

/* Adds one to the last digit of "d.dddde+XX". Returns false if that would carry. */
static bool next_digits(char *text)
{
    char *last = strchr(text, 'e') - 1;
    if (*last == '9' || *last == '.')
        return false;
    ++*last;
    return true;
}

/* Writes the shortest decimal that reads back. For each number of digits it tries the nearest decimal. It tries the
 * next one too: the doubles below may be closer together than those above. */
static void shortest(double real, char text[HL_FLOAT_TEXT])
{
    int first = fabs(real) < 0x1p-1022 ? 1 : 15;
    for (int digits = first; digits <= 17; digits++) {
        snprintf(text, HL_FLOAT_TEXT, "%.*e", digits - 1, real);
        if (reads_back(text, real) || (next_digits(text) && reads_back(text, real)))
            return;
    }
}

size_t hl_value_float_repr(double real, char text[HL_FLOAT_TEXT])
{
    char scratch[HL_FLOAT_TEXT], digits[HL_FLOAT_TEXT] = "";
    if (!isfinite(real))
        return (size_t)snprintf(text, HL_FLOAT_TEXT, "%s", isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
    shortest(real, scratch);
    const char *at = scratch + (*scratch == '-'), *mark = strchr(at, 'e');
    int n = 0, exponent = atoi(mark + 1);
    for (; at < mark; at++)
        if (*at != '.')
            digits[n++] = *at;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    const char *sign = signbit(real) ? "-" : "";
    if (exponent >= 16 || exponent < -4)
        return (size_t)snprintf(text, HL_FLOAT_TEXT, "%s%c%s%.*se%c%02d", sign, digits[0], n > 1 ? "." : "", n - 1,
                                digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    if (exponent < 0)
        return (size_t)snprintf(text, HL_FLOAT_TEXT, "%s0.%.*s%.*s", sign, -exponent - 1, "000", n, digits);
    int whole = n < exponent + 1 ? n : exponent + 1;
    return (size_t)snprintf(text, HL_FLOAT_TEXT, "%s%.*s%.*s.%.*s", sign, whole, digits, exponent + 1 - whole,
                            "0000000000000000", n > whole ? n - whole : 1, n > whole ? digits + whole : "0");
}

static int put_float(struct hl_text *out, double real, struct hl_error *err)
{
    char text[HL_FLOAT_TEXT];
    return hl_text_put(out, text, hl_value_float_repr(real, text), err);
}

static int put_int(struct hl_text *out, int64_t integer, struct hl_error *err)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64, integer);
    return hl_text_put(out, text, (size_t)n, err);
}

/* JSON */

static int dump_ascii(struct printer *p, int32_t c)
{
    char text[16];
    int n = c < 0x10000 ? snprintf(text, sizeof text, "\\u%04x", (unsigned)c)
                        : snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800u + (((unsigned)c - 0x10000) >> 10),
                                   0xDC00u + ((unsigned)c & 0x3FF));
    return hl_text_put(p->out, text, (size_t)n, p->err);
}

static int dump_string(struct printer *p, const char *text, size_t n)
{
    static const char marked[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    size_t from = 0, bytes;
    if (hl_text_put(p->out, "\"", 1, p->err))
        return -1;
    for (size_t at = 0; at < n; at += bytes) {
        int32_t c = hl_char_at(text + at, n - at, &bytes);
        const char *mark = c && c < 0x80 ? strchr(marked, c) : NULL;
        bool escapes = mark || c < 0x20 || (p->style->ensure_ascii && c >= 0x7F);
        if (!escapes)
            continue;
        char pair[2] = {'\\', mark ? letters[mark - marked] : 0};
        if (hl_text_put(p->out, text + from, at - from, p->err) ||
            (mark ? hl_text_put(p->out, pair, 2, p->err) : dump_ascii(p, c)))
            return -1;
        from = at + bytes;
    }
    return hl_text_put(p->out, text + from, n - from, p->err) || hl_text_put(p->out, "\"", 1, p->err);
}

static int dump_float(struct printer *p, double real)
{
    if (isfinite(real))
        return put_float(p->out, real, p->err);
    return put(p->out, isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity", p->err);
}

static int dump_line(struct printer *p, unsigned depth)
{
    if (!p->indent)
        return 0;
    if (hl_text_put(p->out, "\n", 1, p->err))
        return -1;
    for (unsigned i = 0; i < depth; i++)
        if (hl_text_put(p->out, p->indent, p->n_indent, p->err))
            return -1;
    return 0;
}

static int dump_at(struct printer *p, struct hl_value value, unsigned depth);

static int dump_list(struct printer *p, const struct hl_list *list, unsigned depth)
{
    if (!list->n)
        return put(p->out, "[]", p->err);
    for (uint32_t i = 0; i < list->n; i++) {
        const struct hl_value *s = &p->item_separator;
        if ((i ? hl_text_put(p->out, s->text, s->n, p->err) : put(p->out, "[", p->err)) || dump_line(p, depth + 1) ||
            dump_at(p, list->items[i], depth + 1))
            return -1;
    }
    return dump_line(p, depth) || put(p->out, "]", p->err);
}

static int dump_key(struct printer *p, struct hl_value key)
{
    switch (key.kind) {
    case HL_VALUE_STRING:
        return dump_string(p, key.text, key.n);
    case HL_VALUE_NONE:
    case HL_VALUE_BOOL:
    case HL_VALUE_INT:
    case HL_VALUE_BIG:
    case HL_VALUE_FLOAT:
        return put(p->out, "\"", p->err) || dump_at(p, key, 0) || put(p->out, "\"", p->err);
    default:
        return hl_fail_as(p->err, HL_ERROR_REQUEST, "a key of JSON cannot be of type '%s'", hl_value_type(key));
    }
}

/* Sorts the entries by merging ever longer runs: stable, and each comparison may fail. */
static int sorted_entries(struct printer *p, const struct hl_dict *dict, struct hl_entry **out)
{
    struct hl_arena *arena = p->out->arena;
    struct hl_entry *from = hl_arena_alloc(arena, dict->n * sizeof *from);
    struct hl_entry *to = hl_arena_alloc(arena, dict->n * sizeof *to);
    if (!from || !to)
        return hl_arena_full(arena, p->err);
    memcpy(from, dict->entries, dict->n * sizeof *from);
    for (size_t width = 1; width < dict->n; width *= 2) {
        for (size_t low = 0; low < dict->n; low += 2 * width) {
            size_t middle = low + width < dict->n ? low + width : dict->n;
            size_t high = low + 2 * width < dict->n ? low + 2 * width : dict->n;
            for (size_t a = low, b = middle, at = low; at < high; at++) {
                int order = -1;
                if (a < middle && b < high && hl_value_order(arena, from[b].key, from[a].key, &order, p->err))
                    return -1;
                bool right = a == middle || (b < high && order < 0);
                to[at] = from[right ? b++ : a++];
            }
        }
        struct hl_entry *swap = from;
        from = to;
        to = swap;
    }
    *out = from;
    return 0;
}

static int dump_dict(struct printer *p, const struct hl_dict *dict, unsigned depth)
{
    struct hl_entry *entries = dict->entries;
    if (!dict->n)
        return put(p->out, "{}", p->err);
    if (p->style->sort_keys && sorted_entries(p, dict, &entries))
        return -1;
    for (uint32_t i = 0; i < dict->n; i++) {
        const struct hl_value *s = &p->item_separator, *k = &p->key_separator;
        if ((i ? hl_text_put(p->out, s->text, s->n, p->err) : put(p->out, "{", p->err)) || dump_line(p, depth + 1) ||
            dump_key(p, entries[i].key) || hl_text_put(p->out, k->text, k->n, p->err) ||
            dump_at(p, entries[i].value, depth + 1))
            return -1;
    }
    return dump_line(p, depth) || put(p->out, "}", p->err);
}

static int dump_at(struct printer *p, struct hl_value value, unsigned depth)
{
    if (too_deep(depth, p->err) || hl_arena_pay(p->out->arena, 1, p->err))
        return -1;
    switch (value.kind) {
    case HL_VALUE_NONE:
        return put(p->out, "null", p->err);
    case HL_VALUE_BOOL:
        return put(p->out, value.truth ? "true" : "false", p->err);
    case HL_VALUE_INT:
        return put_int(p->out, value.integer, p->err);
    case HL_VALUE_BIG:
        return hl_text_put(p->out, value.text, value.n, p->err);
    case HL_VALUE_FLOAT:
        return dump_float(p, value.real);
    case HL_VALUE_STRING:
        return dump_string(p, value.text, value.n);
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return dump_list(p, value.list, depth);
    case HL_VALUE_DICT:
        return dump_dict(p, value.dict, depth);
    default:
        return hl_fail_as(p->err, HL_ERROR_REQUEST, "a value of type %s cannot be written as JSON",
                          hl_value_type(value));
    }
}

#define INDENT_MOST 256

int hl_value_dump(struct hl_text *out, struct hl_value value, const struct hl_json_style *style, struct hl_error *err)
{
    struct printer p = {.out = out, .style = style, .err = err};
    char spaces[INDENT_MOST];
    memset(spaces, ' ', sizeof spaces);
    if (style->indent.kind == HL_VALUE_STRING) {
        p.indent = style->indent.text;
        p.n_indent = style->indent.n;
    } else if (style->indent.kind == HL_VALUE_INT) {
        if (style->indent.integer > INDENT_MOST)
            return hl_fail_as(err, HL_ERROR_REQUEST, "an indent of more than %d is not supported", INDENT_MOST);
        p.indent = spaces;
        p.n_indent = style->indent.integer > 0 ? (size_t)style->indent.integer : 0;
    }
    p.item_separator = style->item_separator;
    p.key_separator = style->key_separator;
    if (p.item_separator.kind != HL_VALUE_STRING)
        p.item_separator = p.indent ? hl_string(",", 1) : hl_string(", ", 2);
    if (p.key_separator.kind != HL_VALUE_STRING)
        p.key_separator = hl_string(": ", 2);
    return dump_at(&p, value, 0) ? -1 : 0;
}

/* Python */

static int repr_string(struct hl_text *out, const char *text, size_t n, struct hl_error *err)
{
    char quote = memchr(text, '\'', n) && !memchr(text, '"', n) ? '"' : '\'';
    size_t from = 0, bytes;
    if (hl_text_put(out, &quote, 1, err))
        return -1;
    for (size_t at = 0; at < n; at += bytes) {
        char escape[16] = "";
        int32_t c = hl_char_at(text + at, n - at, &bytes);
        if (c == quote || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if ((c < 0x20 || c >= 0x7F) && !hl_char_is_printable(c))
            snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        if (!*escape)
            continue;
        if (hl_text_put(out, text + from, at - from, err) || put(out, escape, err))
            return -1;
        from = at + bytes;
    }
    return hl_text_put(out, text + from, n - from, err) || hl_text_put(out, &quote, 1, err);
}

static int repr_at(struct hl_text *out, struct hl_value value, unsigned depth, struct hl_error *err);

static int repr_list(struct hl_text *out, const struct hl_list *list, bool tuple, unsigned depth, struct hl_error *err)
{
    if (put(out, tuple ? "(" : "[", err))
        return -1;
    for (uint32_t i = 0; i < list->n; i++)
        if ((i && put(out, ", ", err)) || repr_at(out, list->items[i], depth + 1, err))
            return -1;
    return put(out, !tuple ? "]" : list->n == 1 ? ",)" : ")", err);
}

static int repr_dict(struct hl_text *out, const struct hl_dict *dict, unsigned depth, struct hl_error *err)
{
    if (put(out, "{", err))
        return -1;
    for (uint32_t i = 0; i < dict->n; i++)
        if ((i && put(out, ", ", err)) || repr_at(out, dict->entries[i].key, depth + 1, err) || put(out, ": ", err) ||
            repr_at(out, dict->entries[i].value, depth + 1, err))
            return -1;
    return put(out, "}", err);
}

static int repr_view(struct hl_text *out, const struct hl_object *object, unsigned depth, struct hl_error *err)
{
    const struct hl_dict *dict = object->view.dict;
    if (put(out, hl_object_type(object), err) || put(out, "([", err))
        return -1;
    for (uint32_t i = 0; i < dict->n; i++) {
        const struct hl_entry *entry = &dict->entries[i];
        struct hl_list pair = {.items = (struct hl_value[]){entry->key, entry->value}, .n = 2};
        struct hl_value value = {.kind = HL_VALUE_TUPLE, .list = &pair};
        if (object->view.view != HL_VIEW_ITEMS)
            value = object->view.view == HL_VIEW_KEYS ? entry->key : entry->value;
        if ((i && put(out, ", ", err)) || repr_at(out, value, depth + 1, err))
            return -1;
    }
    return put(out, "])", err);
}

static int repr_at(struct hl_text *out, struct hl_value value, unsigned depth, struct hl_error *err)
{
    if (too_deep(depth, err) || hl_arena_pay(out->arena, 1, err))
        return -1;
    switch (value.kind) {
    case HL_VALUE_UNDEFINED:
        return put(out, "Undefined", err);
    case HL_VALUE_NONE:
        return put(out, "None", err);
    case HL_VALUE_BOOL:
        return put(out, value.truth ? "True" : "False", err);
    case HL_VALUE_INT:
        return put_int(out, value.integer, err);
    case HL_VALUE_BIG:
        return hl_text_put(out, value.text, value.n, err);
    case HL_VALUE_FLOAT:
        return put_float(out, value.real, err);
    case HL_VALUE_STRING:
        if (!(value.flags & HL_STRING_SAFE))
            return repr_string(out, value.text, value.n, err);
        return put(out, "Markup(", err) || repr_string(out, value.text, value.n, err) || put(out, ")", err);
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return repr_list(out, value.list, value.kind == HL_VALUE_TUPLE, depth, err);
    case HL_VALUE_DICT:
        return repr_dict(out, value.dict, depth, err);
    case HL_VALUE_NAMESPACE:
        return put(out, "<Namespace ", err) || repr_dict(out, value.dict, depth + 1, err) || put(out, ">", err);
    case HL_VALUE_OBJECT:
        return value.object->kind == HL_OBJECT_VIEW ? repr_view(out, value.object, depth, err)
                                                    : hl_object_repr(out, value.object, err);
    default:
        return hl_fail_as(err, HL_ERROR_REQUEST, "this value cannot be printed");
    }
}

int hl_value_repr(struct hl_text *out, struct hl_value value, struct hl_error *err)
{
    return repr_at(out, value, 0, err) ? -1 : 0;
}

int hl_value_str(struct hl_text *out, struct hl_value value, struct hl_error *err)
{
    if (value.kind == HL_VALUE_STRING)
        return hl_text_put(out, value.text, value.n, err);
    if (value.kind == HL_VALUE_UNDEFINED)
        return 0;
    return hl_value_repr(out, value, err);
}
