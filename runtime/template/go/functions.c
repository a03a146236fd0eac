/* Go's rules for the values of templates: truth, fields, comparison, and the functions that templates call:
 * https://pkg.go.dev/text/template#hdr-Functions.
 *
 * The compiler checks only the number of a function's arguments, and a section from elsewhere need not keep to it. So
 * each function checks its arguments. */
#include "base/sizes.h"
#include "runtime/template/go/go_values.h"
#include <time.h>

static int fail_type(struct hl_run *run, const char *what, struct hl_value value)
{
    return hl_run_fail(run, "%s a %s", what, hl_go_type_name(value));
}

bool hl_go_truth(struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_BOOL:
        return value.truth;
    case HL_VALUE_INT:
        return value.integer != 0;
    case HL_VALUE_FLOAT:
        return value.real != 0;
    case HL_VALUE_STRING:
        return value.n > 0;
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return value.list->n > 0;
    case HL_VALUE_DICT:
        return value.dict->n > 0; /* a struct has fields */
    default:
        return false;
    }
}

/* ---- fields and indices ---- */

/* Returns the value of a map for a missing key. */
static int missing(struct hl_run *run, struct hl_value map, struct hl_value *out)
{
    *out = hl_none();
    return hl_go_class(map)->element == HL_GO_PROPERTY ? hl_go_property(run->arena, hl_none(), out, run->err) : 0;
}

static int attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out)
{
    *out = (struct hl_value){.kind = HL_VALUE_UNDEFINED, .text = ""};
    if (name.kind != HL_VALUE_STRING)
        return fail_type(run, "a field's name cannot be", name);
    int n = name.n < 100 ? (int)name.n : 100;
    if (object.kind == HL_VALUE_UNDEFINED)
        return 0;
    if (object.kind == HL_VALUE_NONE)
        return hl_run_fail(run, "nil has no field %.*s", n, name.text);
    const struct hl_value *found = object.kind == HL_VALUE_DICT ? hl_dict_get(object.dict, name.text, name.n) : NULL;
    if (found)
        *out = *found;
    else if (object.kind == HL_VALUE_DICT && !hl_go_is_struct(object))
        return missing(run, object, out);
    else
        return hl_run_fail(run, "a %s has no field %.*s", hl_go_type_name(object), n, name.text);
    return 0;
}

/* Reads an index from 0 to `most`. */
static int to_index(struct hl_run *run, struct hl_value value, size_t most, size_t *out)
{
    if (value.kind != HL_VALUE_INT)
        return fail_type(run, "an index cannot be", value);
    if (value.integer < 0 || (uint64_t)value.integer > most)
        return hl_run_fail(run, "the index %lld is out of range", (long long)value.integer);
    *out = (size_t)value.integer;
    return 0;
}

static int item(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out)
{
    size_t index = 0, n = object.kind == HL_VALUE_STRING ? object.n : hl_go_is_list(object) ? object.list->n : 0;
    if (object.kind == HL_VALUE_DICT && !hl_go_is_struct(object)) {
        if (key.kind != HL_VALUE_STRING)
            return fail_type(run, "a map's key cannot be", key);
        const struct hl_value *found = hl_dict_get(object.dict, key.text, key.n);
        if (!found)
            return missing(run, object, out);
        *out = *found;
        return 0;
    }
    if (object.kind != HL_VALUE_STRING && !hl_go_is_list(object))
        return fail_type(run, "index of", object);
    if (to_index(run, key, n, &index) != 0)
        return -1;
    if (index == n)
        return hl_run_fail(run, "the index %zu is out of range", index);
    *out = object.kind == HL_VALUE_STRING ? hl_int((unsigned char)object.text[index]) : object.list->items[index];
    return 0;
}

static int call_index(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    *out = args->values[0];
    if (out->kind == HL_VALUE_NONE || out->kind == HL_VALUE_UNDEFINED)
        return hl_run_fail(run, "index of nil");
    for (uint32_t i = 1; i < args->n; i++)
        if (item(run, *out, args->values[i], out) != 0)
            return -1;
    return 0;
}

/* Computes x[i:j]. A capacity is checked and then ignored. */
static int call_slice(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value value = args->values[0];
    bool text = value.kind == HL_VALUE_STRING;
    if (!text && !hl_go_is_list(value))
        return fail_type(run, "slice of", value);
    size_t n = text ? value.n : value.list->n, at[3] = {0, n, n};
    if (args->n > 4u - text)
        return hl_run_fail(run, "slice: too many indices");
    for (uint32_t i = 1; i < args->n; i++)
        if (to_index(run, args->values[i], n, &at[i - 1]) != 0)
            return -1;
    if (at[0] > at[1] || at[1] > at[2])
        return hl_run_fail(run, "slice: the index %zu is beyond the end", at[0]);
    *out = value;
    if (text) {
        out->text += at[0];
        out->n = (uint32_t)(at[1] - at[0]);
        return 0;
    }
    struct hl_list *part = hl_arena_alloc(run->arena, sizeof *part);
    if (!part)
        return hl_arena_full(run->arena, run->err);
    *part = (struct hl_list){.items = value.list->items + at[0], .n = (uint32_t)(at[1] - at[0])};
    part->room = part->n;
    out->list = part;
    return 0;
}

static int call_len(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value value = args->values[0];
    if (value.kind == HL_VALUE_STRING)
        *out = hl_int(value.n);
    else if (hl_go_is_list(value))
        *out = hl_int(value.list->n);
    else if (value.kind == HL_VALUE_DICT && !hl_go_is_struct(value))
        *out = hl_int(value.dict->n);
    else
        return fail_type(run, "len of", value);
    return 0;
}

/* ---- comparison ---- */

static bool is_basic(struct hl_value value)
{
    return hl_value_is_number(value) || value.kind == HL_VALUE_STRING;
}

static bool is_nothing(struct hl_value value)
{
    return value.kind == HL_VALUE_NONE || value.kind == HL_VALUE_UNDEFINED;
}

static int compare_text(struct hl_value a, struct hl_value b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.text, b.text, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int equal(struct hl_run *run, struct hl_value a, struct hl_value b, bool *out)
{
    *out = false;
    if (hl_arena_pay(run->arena, 1 + (a.kind == HL_VALUE_STRING ? a.n / 64 : 0), run->err) != 0)
        return -1;
    if (is_basic(a) && is_basic(b) && a.kind == b.kind) {
        *out = a.kind == HL_VALUE_BOOL    ? a.truth == b.truth
               : a.kind == HL_VALUE_INT   ? a.integer == b.integer
               : a.kind == HL_VALUE_FLOAT ? a.real == b.real
                                          : compare_text(a, b) == 0;
        return 0;
    }
    /* Any value compares with nil; lists and maps compare with those that are nil. */
    bool alike = a.kind == b.kind && (hl_go_is_nil(a) || hl_go_is_nil(b));
    if (!is_nothing(a) && !is_nothing(b) && !alike)
        return hl_run_fail(run, "a %s and a %s cannot be compared", hl_go_type_name(a), hl_go_type_name(b));
    *out = hl_go_is_nil(a) && hl_go_is_nil(b);
    return 0;
}

/* Computes a < b. */
static int less(struct hl_run *run, struct hl_value a, struct hl_value b, bool *out)
{
    if (a.kind != b.kind || (a.kind != HL_VALUE_INT && a.kind != HL_VALUE_FLOAT && a.kind != HL_VALUE_STRING))
        return hl_run_fail(run, "a %s and a %s cannot be ordered", hl_go_type_name(a), hl_go_type_name(b));
    *out = a.kind == HL_VALUE_INT     ? a.integer < b.integer
           : a.kind == HL_VALUE_FLOAT ? a.real < b.real
                                      : compare_text(a, b) < 0;
    return 0;
}

static int call_eq(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    bool same = false;
    for (uint32_t i = 1; i < args->n && !same; i++)
        if (equal(run, args->values[0], args->values[i], &same) != 0)
            return -1;
    *out = hl_bool(same);
    return 0;
}

static int call_ne(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    bool same = false;
    *out = hl_none();
    if (equal(run, args->values[0], args->values[1], &same) != 0)
        return -1;
    *out = hl_bool(!same);
    return 0;
}

/* Compares in order. Go builds all orders from "less" and "equal"; with a NaN the result differs from asking for each.
 */
static int call_order(struct hl_run *run, const struct hl_args *args, bool or_equal, bool inverse, struct hl_value *out)
{
    bool is = false;
    if (less(run, args->values[0], args->values[1], &is) != 0)
        return -1;
    if (or_equal && !is && equal(run, args->values[0], args->values[1], &is) != 0)
        return -1;
    *out = hl_bool(is != inverse);
    return 0;
}

static int call_lt(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return call_order(run, args, false, false, out);
}

static int call_le(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return call_order(run, args, true, false, out);
}

static int call_gt(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return call_order(run, args, true, true, out);
}

static int call_ge(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return call_order(run, args, false, true, out);
}

/* ---- printing ---- */

static int print_all(struct hl_run *run, const struct hl_args *args, bool line, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    for (uint32_t i = 0; i < args->n; i++) {
        bool words = i > 0 && args->values[i].kind != HL_VALUE_STRING && args->values[i - 1].kind != HL_VALUE_STRING;
        if ((i > 0 && (line || words) && hl_text_put(&text, " ", 1, run->err) != 0) ||
            hl_go_format(run, &text, args->values[i]) != 0)
            return -1;
    }
    if (line && hl_text_put(&text, "\n", 1, run->err) != 0)
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

static int call_print(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return print_all(run, args, false, out);
}

static int call_println(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return print_all(run, args, true, out);
}

static int call_printf(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (args->values[0].kind != HL_VALUE_STRING)
        return fail_type(run, "the format of printf cannot be", args->values[0]);
    if (hl_go_printf(run, &text, args->values[0], args->values + 1, args->n - 1) != 0)
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

static int call_json(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (hl_go_json(run, &text, args->values[0]) != 0)
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

/* ---- functions of Ollama ---- */

/* Prints the local date, `days` after today, as 2006-01-02. Arguments are formats, reserved for the future, and must be
 * text. */
static int date(struct hl_run *run, const struct hl_args *args, int days, struct hl_value *out)
{
    char text[64];
    time_t now = (time_t)run->now;
    struct tm day;
    for (uint32_t i = 0; i < args->n; i++)
        if (args->values[i].kind != HL_VALUE_STRING)
            return fail_type(run, "the format of a date cannot be", args->values[i]);
    if (!localtime_r(&now, &day))
        return hl_run_fail(run, "the date is not available");
    day.tm_mday += days;
    day.tm_hour = 12; /* a change of the clocks cannot make it another day */
    mktime(&day);
    return hl_run_string(run, text, strftime(text, sizeof text, "%Y-%m-%d", &day), out);
}

static int call_current_date(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return date(run, args, 0, out);
}

static int call_yesterday_date(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return date(run, args, -1, out);
}

static const char *typescript_name(struct hl_value name)
{
    static const char *const names[][2] = {{"string", "string"},  {"number", "number"},
                                           {"integer", "number"}, {"boolean", "boolean"},
                                           {"array", "any[]"},    {"object", "Record<string, any>"},
                                           {"null", "null"}};
    for (size_t i = 0; i < HL_COUNT(names); i++)
        if (hl_value_is_text(name, names[i][0]))
            return names[i][1];
    return "any";
}

/* Writes A | B | C: the types of anyOf, or else the names in `type`. */
static int typescript(struct hl_run *run, struct hl_text *out, struct hl_value property, int depth)
{
    const struct hl_value *any = hl_dict_get(property.dict, "AnyOf", 5), *type = hl_dict_get(property.dict, "Type", 4);
    if (depth > HL_VALUE_DEPTH || !any || !type || hl_arena_pay(run->arena, 1, run->err) != 0)
        return hl_run_fail(run, "toTypeScriptType: the type is too deep");
    const struct hl_list *list = any->list->n ? any->list : type->list;
    for (uint32_t i = 0; i < list->n; i++) {
        const char *name = list == any->list ? NULL : typescript_name(list->items[i]);
        if (i > 0 && hl_text_put(out, " | ", 3, run->err) != 0)
            return -1;
        if (name ? hl_text_put(out, name, strlen(name), run->err) != 0
                 : typescript(run, out, list->items[i], depth + 1) != 0)
            return -1;
    }
    return list->n ? 0 : hl_text_put(out, "any", 3, run->err);
}

static int call_typescript(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_value value = args->values[0];
    *out = hl_string("any", 3);
    if (value.kind != HL_VALUE_DICT || value.flags != HL_GO_PROPERTY)
        return 0;
    if (typescript(run, &text, value, 0) != 0)
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

/* ---- functions that the compiler inserts ---- */

/* Turns nil into no value, as Go does at the end of a pipeline (a variable, parentheses). A nil out of a map has no
 * fields; here the same nil has fields, all of them no value. */
static int call_value_of(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    (void)run;
    *out = args->values[0];
    if (out->kind == HL_VALUE_NONE)
        *out = (struct hl_value){.kind = HL_VALUE_UNDEFINED, .text = ""};
    return 0;
}

static int push_pair(struct hl_run *run, struct hl_value pairs, struct hl_value key, struct hl_value value)
{
    struct hl_value pair;
    if (hl_arena_pay(run->arena, 1, run->err) != 0 ||
        hl_list_new(run->arena, HL_VALUE_TUPLE, 2, &pair, run->err) != 0 ||
        hl_list_push(run->arena, pair.list, key, run->err) != 0 ||
        hl_list_push(run->arena, pair.list, value, run->err) != 0)
        return -1;
    return hl_list_push(run->arena, pairs.list, pair, run->err);
}

/* Makes the items of a range: pairs of index or key and item. The number of variables is the second argument. */
static int call_range_of(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value value = args->values[0];
    if (hl_list_new(run->arena, HL_VALUE_LIST, 0, out, run->err) != 0)
        return -1;
    bool two = args->values[1].kind == HL_VALUE_INT && args->values[1].integer > 1;
    if (is_nothing(value))
        return 0;
    if (hl_go_is_list(value)) {
        for (uint32_t i = 0; i < value.list->n; i++)
            if (push_pair(run, *out, hl_int(i), value.list->items[i]) != 0)
                return -1;
    } else if (value.kind == HL_VALUE_DICT && !hl_go_is_struct(value)) {
        for (uint32_t i = 0; i < value.dict->n; i++)
            if (push_pair(run, *out, value.dict->entries[i].key, value.dict->entries[i].value) != 0)
                return -1;
    } else if (value.kind == HL_VALUE_INT && !two) {
        for (int64_t i = 0; i < value.integer; i++)
            if (push_pair(run, *out, hl_int(i), hl_int(i)) != 0)
                return -1;
    } else {
        return fail_type(run, "range cannot walk over", value);
    }
    return 0;
}

static const struct hl_builtin builtins[] = {
    {"function", "eq", NULL, 2, call_eq},
    {"function", "ne", NULL, 2, call_ne},
    {"function", "lt", NULL, 2, call_lt},
    {"function", "le", NULL, 2, call_le},
    {"function", "gt", NULL, 2, call_gt},
    {"function", "ge", NULL, 2, call_ge},
    {"function", "len", NULL, 1, call_len},
    {"function", "index", NULL, 1, call_index},
    {"function", "slice", NULL, 1, call_slice},
    {"function", "print", NULL, 0, call_print},
    {"function", "printf", NULL, 1, call_printf},
    {"function", "println", NULL, 0, call_println},
    {"function", "json", NULL, 1, call_json},
    {"function", "currentDate", NULL, 0, call_current_date},
    {"function", "yesterdayDate", NULL, 0, call_yesterday_date},
    {"function", "toTypeScriptType", NULL, 1, call_typescript},
    {"function", "value of", NULL, 1, call_value_of},
    {"function", "range of", NULL, 2, call_range_of},
    {0},
};

static const struct hl_builtin *const tables[] = {builtins, NULL};

const struct hl_dialect hl_go_dialect = {
    .builtins = tables,
    .truth = hl_go_truth,
    .print = hl_go_print,
    .attribute = attribute,
    .item = item,
};
