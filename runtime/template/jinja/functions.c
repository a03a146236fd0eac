/* Jinja as transformers configures it: its functions, and the table that describes the language to the interpreter. */
#include "runtime/template/jinja/jinja_library.h"
#include <time.h>

enum { FIRST, SECOND, THIRD };

int hl_jinja_text(struct hl_run *run, struct hl_value value, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    *out = value;
    if (value.kind == HL_VALUE_STRING)
        return 0;
    if (hl_value_str(&text, value, run->err))
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

#define RANGE_MOST 100000 /* items, as in jinja2's sandbox */

static int range(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    int64_t start = 0, stop, step = 1;
    for (uint32_t i = 0; i < args->n; i++)
        if (args->values[i].kind == HL_VALUE_NONE)
            return hl_run_fail(run, "range() takes integers, not None");
    if (hl_args_int(run, args, hl_args_given(args, SECOND) ? SECOND : FIRST, 0, &stop) ||
        (hl_args_given(args, SECOND) && hl_args_int(run, args, FIRST, 0, &start)) ||
        hl_args_int(run, args, THIRD, 1, &step))
        return -1;
    if (!step)
        return hl_run_fail(run, "range() step must not be zero");
    if (hl_object_new(run, HL_OBJECT_RANGE, out))
        return -1;
    struct hl_object *r = out->object;
    __int128 span = step > 0 ? (__int128)stop - start : (__int128)start - stop,
             size = step > 0 ? step : -(__int128)step;
    __int128 length = span > 0 ? (span - 1) / size + 1 : 0;
    if (length > RANGE_MOST)
        return hl_run_fail(run, "range too big: more than %d items", RANGE_MOST);
    r->range.start = start;
    r->range.stop = stop;
    r->range.step = step;
    r->range.length = (int64_t)length;
    return 0;
}

/* Fills a dict or a namespace: dict(pairs or a dict, **named). */
static int fill_dict(struct hl_run *run, const struct hl_args *args, enum hl_value_kind kind, struct hl_value *out)
{
    struct hl_iterator pairs;
    struct hl_value item, pair;
    int got = 0;
    if (args->n > 1)
        return hl_run_fail(run, "expected at most 1 argument, got %u", args->n);
    if (hl_dict_new(run->arena, kind, out, run->err))
        return -1;
    bool from_dict = args->n && args->values[FIRST].kind == HL_VALUE_DICT;
    if (args->n && hl_iterator_open(run, args->values[FIRST], &pairs))
        return -1;
    if (from_dict)
        pairs.view = HL_VIEW_ITEMS;
    while (args->n && (got = hl_iterator_next(run, &pairs, &item)) > 0) {
        if (hl_iterator_all(run, item, HL_VALUE_LIST, &pair))
            return -1;
        if (pair.list->n != 2)
            return hl_run_fail(run, "dict() takes pairs");
        if (hl_dict_set(run->arena, out->dict, pair.list->items[0], pair.list->items[1], run->err))
            return -1;
    }
    for (uint32_t i = 0; got == 0 && args->named && i < args->named->n; i++)
        if (hl_dict_set(run->arena, out->dict, args->named->entries[i].key, args->named->entries[i].value, run->err))
            return -1;
    return got;
}

static int dict(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return fill_dict(run, args, HL_VALUE_DICT, out);
}

static int namespace(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return fill_dict(run, args, HL_VALUE_NAMESPACE, out);
}

static int cycler(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list;
    if (!args->n || args->named)
        return hl_run_fail(run, "cycler() takes at least one item and no named arguments");
    if (hl_list_new(run->arena, HL_VALUE_LIST, args->n, &list, run->err) || hl_object_new(run, HL_OBJECT_CYCLER, out))
        return -1;
    for (uint32_t i = 0; i < args->n; i++)
        list.list->items[list.list->n++] = args->values[i];
    out->object->cycler.items = list.list;
    return 0;
}

static int joiner(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    if (hl_object_new(run, HL_OBJECT_JOINER, out))
        return -1;
    out->object->joiner.separator = hl_args_given(args, FIRST) ? args->values[FIRST] : hl_string(", ", 2);
    return 0;
}

/* Fails with the template's own message. Only characters that would break the line are removed. */
static int raise_exception(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value text;
    if (hl_jinja_text(run, args->values[FIRST], &text))
        return -1;
    (void)out;
    hl_run_fail(run, "%.*s", text.n < 800 ? (int)text.n : 800, text.text);
    for (char *c = run->err->message; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return -1;
}

#define DATE_MOST 512

static int strftime_now(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value format;
    char pattern[DATE_MOST / 2], text[DATE_MOST];
    time_t now = (time_t)run->now;
    struct tm local;
    if (hl_args_text(run, args, FIRST, &format))
        return -1;
    if (format.n + 2 > sizeof pattern || memchr(format.text, 0, format.n) || !localtime_r(&now, &local))
        return hl_run_fail(run, "strftime_now: the format is too long");
    snprintf(pattern, sizeof pattern, "%.*s.", (int)format.n, format.text); /* never empty: 0 would look like failure */
    size_t n = strftime(text, sizeof text, pattern, &local);
    if (!n)
        return hl_run_fail(run, "strftime_now: the date is too long");
    return hl_run_string(run, text, n - 1, out);
}

const struct hl_builtin hl_jinja_functions[] = {
    {"function", "cycler", NULL, 0, cycler},
    {"function", "dict", NULL, 0, dict},
    {"function", "joiner", "sep", 0, joiner},
    {"function", "namespace", NULL, 0, namespace},
    {"function", "raise_exception", "message", 1, raise_exception},
    {"function", "range", "- - -", 1, range},
    {"function", "strftime_now", "format", 1, strftime_now},
    {0},
};

static int print(struct hl_run *run, struct hl_text *out, struct hl_value value)
{
    return hl_value_str(out, value, run->err);
}

static const struct hl_builtin *const tables[] = {
    hl_jinja_filters, hl_jinja_sequences, hl_jinja_tests, hl_jinja_strings, hl_jinja_methods, hl_jinja_functions, NULL,
};

static const struct hl_operators operators = {
    .unary = hl_operate_unary,
    .binary = hl_operate_binary,
    .compare = hl_operate_compare,
    .slice = hl_operate_slice,
};

const struct hl_dialect hl_jinja_dialect = {
    .builtins = tables,
    .truth = hl_value_truth,
    .print = print,
    .attribute = hl_jinja_attribute,
    .item = hl_jinja_item,
    .method = hl_jinja_method,
    .operators = &operators,
};
