/* The filters of Jinja over items: they pick, change, sort, group and join them. Formulas: jinja2/filters.py.
 *
 * map, select and the like work while their result is iterated, one item at a time; the others work at once.
 */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"

enum { VALUE, FIRST, SECOND, THIRD };

static struct hl_value or_none(const struct hl_args *args, uint32_t i)
{
    return hl_args_given(args, i) ? args->values[i] : hl_none();
}

/* Makes a list that can be iterated once, like the result of a Python generator. */
static int once(struct hl_run *run, struct hl_value list, bool backwards, const char *type, struct hl_value *out)
{
    struct hl_iterator items;
    if (hl_iterator_open(run, list, &items) || hl_object_new(run, HL_OBJECT_ITERATOR, out))
        return -1;
    items.backwards = backwards;
    out->object->iterator.items = items;
    out->object->iterator.type = type;
    return 0;
}

/* Attributes: "a.b.0" is a path from an item to a part of it; digits are numbers. */

static int path_of(struct hl_run *run, struct hl_value attribute, struct hl_value *path)
{
    struct hl_value text;
    if (hl_list_new(run->arena, HL_VALUE_LIST, 0, path, run->err))
        return -1;
    if (attribute.kind == HL_VALUE_NONE)
        return 0;
    if (attribute.kind != HL_VALUE_STRING)
        return hl_list_push(run->arena, path->list, attribute, run->err);
    for (size_t from = 0, at = 0; at <= attribute.n; at++) {
        if (at < attribute.n && attribute.text[at] != '.')
            continue;
        text = hl_string(attribute.text + from, at - from);
        int64_t number = 0;
        size_t digits = 0;
        while (digits < text.n && digits < 18 && text.text[digits] >= '0' && text.text[digits] <= '9')
            number = number * 10 + text.text[digits++] - '0';
        if (text.n && digits == text.n)
            text = hl_int(number);
        if (hl_list_push(run->arena, path->list, text, run->err))
            return -1;
        from = at + 1;
    }
    return 0;
}

/* Follows a path. `otherwise` replaces an undefined value on the way, unless it is None. */
static int follow(struct hl_run *run, struct hl_value path, struct hl_value item, struct hl_value otherwise,
                  struct hl_value *out)
{
    *out = item;
    for (uint32_t i = 0; i < path.list->n; i++) {
        if (hl_jinja_item(run, *out, path.list->items[i], out))
            return -1;
        if (out->kind == HL_VALUE_UNDEFINED && otherwise.kind != HL_VALUE_NONE)
            *out = otherwise;
    }
    return 0;
}

static int fold_case(struct hl_run *run, bool case_sensitive, struct hl_value *value)
{
    return !case_sensitive && value->kind == HL_VALUE_STRING ? hl_string_lower(run, *value, value) : 0;
}

/* Sorting: merges runs of keys, with their items. Stable in both directions. */

struct keyed {
    struct hl_value key, item;
};

static int sort_keyed(struct hl_run *run, struct keyed *from, size_t n, bool reverse, struct keyed **out)
{
    struct keyed *to = hl_run_alloc(run, n * sizeof *to), *swap;
    if (!to)
        return -1;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t middle = low + width < n ? low + width : n, high = low + 2 * width < n ? low + 2 * width : n;
            for (size_t a = low, b = middle, at = low; at < high; at++) {
                bool before = a == middle; /* whether the right one comes before the left one */
                if (a < middle && b < high &&
                    hl_operate_compare(run, reverse ? HL_COMPARE_GT : HL_COMPARE_LT, from[b].key, from[a].key, &before))
                    return -1;
                to[at] = from[before && b < high ? b++ : a++];
            }
        }
        swap = from;
        from = to;
        to = swap;
    }
    *out = from;
    return 0;
}

static int key_items(struct hl_run *run, struct hl_value list, struct hl_value path, struct hl_value otherwise,
                     bool case_sensitive, struct keyed **out)
{
    struct keyed *all = hl_run_alloc(run, list.list->n * sizeof *all);
    if (!all)
        return -1;
    for (uint32_t i = 0; i < list.list->n; i++) {
        all[i].item = list.list->items[i];
        if (follow(run, path, all[i].item, otherwise, &all[i].key) || fold_case(run, case_sensitive, &all[i].key))
            return -1;
    }
    *out = all;
    return 0;
}

static int list_of(struct hl_run *run, const struct keyed *all, size_t n, struct hl_value *out)
{
    if (hl_list_new(run->arena, HL_VALUE_LIST, n, out, run->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        out->list->items[out->list->n++] = all[i].item;
    return 0;
}

/* Makes the key of "a,b.c": a list of both. */
static int key_many(struct hl_run *run, struct hl_value list, struct hl_value attribute, bool case_sensitive,
                    struct keyed **out)
{
    struct hl_value path, part;
    struct keyed *all = hl_run_alloc(run, list.list->n * sizeof *all);
    if (!all)
        return -1;
    for (uint32_t i = 0; i < list.list->n; i++) {
        all[i].item = list.list->items[i];
        if (hl_list_new(run->arena, HL_VALUE_LIST, 1, &all[i].key, run->err))
            return -1;
    }
    bool text = attribute.kind == HL_VALUE_STRING;
    for (size_t from = 0, at = 0; at <= (text ? attribute.n : 0); at++) {
        if (text && at < attribute.n && attribute.text[at] != ',')
            continue;
        if (path_of(run, text ? hl_string(attribute.text + from, at - from) : attribute, &path))
            return -1;
        for (uint32_t i = 0; i < list.list->n; i++)
            if (follow(run, path, all[i].item, hl_none(), &part) || fold_case(run, case_sensitive, &part) ||
                hl_list_push(run->arena, all[i].key.list, part, run->err))
                return -1;
        from = at + 1;
    }
    *out = all;
    return 0;
}

static int filter_sort(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list;
    struct keyed *all;
    if (hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list) ||
        key_many(run, list, or_none(args, THIRD), hl_args_truth(args, SECOND), &all) ||
        sort_keyed(run, all, list.list->n, hl_args_truth(args, FIRST), &all))
        return -1;
    return list_of(run, all, list.list->n, out);
}

static int filter_dictsort(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE], by = hl_args_given(args, SECOND) ? args->values[SECOND] : hl_none();
    bool by_value = hl_value_is_text(by, "value");
    if (v.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, v);
    if (v.kind != HL_VALUE_DICT)
        return hl_run_fail(run, "dictsort takes a dict, not '%s'", hl_value_type(v));
    if (by.kind != HL_VALUE_NONE && !by_value && !hl_value_is_text(by, "key"))
        return hl_run_fail(run, "dictsort sorts by 'key' or 'value'");
    struct keyed *all = hl_run_alloc(run, v.dict->n * sizeof *all);
    if (!all)
        return -1;
    for (uint32_t i = 0; i < v.dict->n; i++) {
        const struct hl_entry *entry = &v.dict->entries[i];
        all[i].key = by_value ? entry->value : entry->key;
        if (hl_list_new(run->arena, HL_VALUE_TUPLE, 2, &all[i].item, run->err) ||
            fold_case(run, hl_args_truth(args, FIRST), &all[i].key))
            return -1;
        all[i].item.list->items[0] = entry->key;
        all[i].item.list->items[1] = entry->value;
        all[i].item.list->n = 2;
    }
    return sort_keyed(run, all, v.dict->n, hl_args_truth(args, THIRD), &all) || list_of(run, all, v.dict->n, out) ? -1
                                                                                                                  : 0;
}

static int filter_groupby(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list, path, group, label, otherwise = or_none(args, SECOND);
    struct keyed *all;
    if (hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list) || path_of(run, args->values[FIRST], &path) ||
        key_items(run, list, path, otherwise, hl_args_truth(args, THIRD), &all) ||
        sort_keyed(run, all, list.list->n, false, &all) || hl_list_new(run->arena, HL_VALUE_LIST, 0, out, run->err))
        return -1;
    for (uint32_t from = 0, to; from < list.list->n; from = to) {
        struct hl_value pair;
        bool equal = true;
        for (to = from + 1; to < list.list->n; to++) {
            if (hl_value_equal(run->arena, all[from].key, all[to].key, &equal, run->err))
                return -1;
            if (!equal)
                break;
        }
        if (list_of(run, all + from, to - from, &group) || follow(run, path, all[from].item, otherwise, &label) ||
            hl_list_new(run->arena, HL_VALUE_TUPLE, 2, &pair, run->err))
            return -1;
        pair.flags = HL_TUPLE_GROUP;
        pair.list->items[0] = label;
        pair.list->items[1] = group;
        pair.list->n = 2;
        if (hl_list_push(run->arena, out->list, pair, run->err))
            return -1;
    }
    return 0;
}

static int filter_unique(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list, path, seen, kept, *there;
    struct keyed *all;
    if (hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list) || path_of(run, or_none(args, SECOND), &path) ||
        key_items(run, list, path, hl_none(), hl_args_truth(args, FIRST), &all) ||
        hl_dict_new(run->arena, HL_VALUE_DICT, &seen, run->err) ||
        hl_list_new(run->arena, HL_VALUE_LIST, 0, &kept, run->err))
        return -1;
    for (uint32_t i = 0; i < list.list->n; i++) {
        if (hl_dict_find(run->arena, seen.dict, all[i].key, &there, run->err))
            return -1;
        if (!there && (hl_dict_set(run->arena, seen.dict, all[i].key, hl_none(), run->err) ||
                       hl_list_push(run->arena, kept.list, all[i].item, run->err)))
            return -1;
    }
    return once(run, kept, false, "generator", out);
}

static int extreme(struct hl_run *run, const struct hl_args *args, enum hl_compare better, struct hl_value *out)
{
    struct hl_value list, path;
    struct keyed *all;
    if (hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list) || path_of(run, or_none(args, SECOND), &path) ||
        key_items(run, list, path, hl_none(), hl_args_truth(args, FIRST), &all))
        return -1;
    if (!list.list->n) {
        *out = hl_undefined_because("No aggregated item, sequence was empty.");
        return 0;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < list.list->n; i++) {
        bool is;
        if (hl_operate_compare(run, better, all[i].key, all[best].key, &is))
            return -1;
        best = is ? i : best;
    }
    *out = all[best].item;
    return 0;
}

static int filter_max(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return extreme(run, args, HL_COMPARE_GT, out);
}

static int filter_min(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return extreme(run, args, HL_COMPARE_LT, out);
}

static int filter_sum(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value path, item;
    struct hl_iterator items;
    int got;
    *out = hl_args_given(args, SECOND) ? args->values[SECOND] : hl_int(0);
    if (out->kind == HL_VALUE_STRING)
        return hl_run_fail(run, "sum() does not add strings; use join");
    if (path_of(run, or_none(args, FIRST), &path) || hl_iterator_open(run, args->values[VALUE], &items))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0)
        if (follow(run, path, item, hl_none(), &item) || hl_operate_binary(run, HL_BINARY_ADD, *out, item, out))
            return -1;
    return got;
}

static int filter_join(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_value separator = hl_string("", 0), path, item;
    struct hl_iterator items;
    int got;
    bool first = true;
    if ((hl_args_given(args, FIRST) && hl_jinja_text(run, args->values[FIRST], &separator)) ||
        path_of(run, or_none(args, SECOND), &path) || hl_iterator_open(run, args->values[VALUE], &items))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0) {
        if (follow(run, path, item, hl_none(), &item) ||
            (!first && hl_text_put(&text, separator.text, separator.n, run->err)) ||
            hl_value_str(&text, item, run->err))
            return -1;
        first = false;
    }
    *out = hl_text_value(&text);
    return got;
}

static int filter_length(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    int64_t n = hl_value_length(args->values[VALUE]);
    *out = hl_int(n);
    return n < 0 ? hl_run_fail(run, "object of type '%s' has no length", hl_value_type(args->values[VALUE])) : 0;
}

static int filter_list(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, out);
}

static int next_failure(struct hl_run *run, void *state, struct hl_value *out)
{
    (void)state;
    (void)out;
    return hl_run_fail(run, "items takes a dict");
}

static int filter_items(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE];
    if (v.kind != HL_VALUE_DICT && v.kind != HL_VALUE_UNDEFINED)
        return hl_iterator_new(run, next_failure, NULL, out);
    if (once(run, v, false, "generator", out))
        return -1;
    out->object->iterator.items.view = HL_VIEW_ITEMS;
    return 0;
}

static int filter_first(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_iterator items;
    if (hl_iterator_open(run, args->values[VALUE], &items))
        return -1;
    int got = hl_iterator_next(run, &items, out);
    if (!got)
        *out = hl_undefined_because("No first item, sequence was empty.");
    return got < 0 ? -1 : 0;
}

/* Returns whether Python can iterate over it backwards. */
static bool reversible(struct hl_value v)
{
    return v.kind != HL_VALUE_OBJECT || v.object->kind == HL_OBJECT_VIEW || v.object->kind == HL_OBJECT_RANGE;
}

static int filter_last(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list;
    if (!reversible(args->values[VALUE]))
        return hl_run_fail(run, "'%s' object is not reversible", hl_value_type(args->values[VALUE]));
    if (hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list))
        return -1;
    *out =
        list.list->n ? list.list->items[list.list->n - 1] : hl_undefined_because("No last item, sequence was empty.");
    return 0;
}

static int filter_reverse(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value v = args->values[VALUE], list;
    const struct hl_value bounds[] = {hl_none(), hl_none(), hl_int(-1)};
    if (v.kind == HL_VALUE_STRING)
        return hl_operate_slice(run, v, bounds, out);
    if (hl_iterator_all(run, v, HL_VALUE_LIST, &list))
        return -1;
    if (reversible(v))
        return once(run, list, true, v.kind == HL_VALUE_LIST ? "list_reverseiterator" : "reversed", out);
    return hl_operate_slice(run, list, bounds, out);
}

static int wanted_int(struct hl_run *run, const struct hl_args *args, uint32_t i, int64_t *out)
{
    if (args->values[i].kind == HL_VALUE_NONE)
        return hl_run_fail(run, "an argument must be an integer, not None");
    return hl_args_int(run, args, i, 0, out);
}

static int filter_batch(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value all, row = {0}, item;
    struct hl_iterator items;
    int64_t size = 0;
    int got;
    if (wanted_int(run, args, FIRST, &size) || hl_iterator_open(run, args->values[VALUE], &items) ||
        hl_list_new(run->arena, HL_VALUE_LIST, 0, &all, run->err) ||
        hl_list_new(run->arena, HL_VALUE_LIST, 0, &row, run->err))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0) {
        if (row.list->n == size && (hl_list_push(run->arena, all.list, row, run->err) ||
                                    hl_list_new(run->arena, HL_VALUE_LIST, 0, &row, run->err)))
            return -1;
        if (hl_list_push(run->arena, row.list, item, run->err))
            return -1;
    }
    bool fills = hl_args_given(args, SECOND) && args->values[SECOND].kind != HL_VALUE_NONE;
    while (!got && fills && row.list->n && row.list->n < size)
        if (hl_arena_pay(run->arena, 1, run->err) || hl_list_push(run->arena, row.list, args->values[SECOND], run->err))
            return -1;
    if (got || (row.list->n && hl_list_push(run->arena, all.list, row, run->err)))
        return -1;
    return once(run, all, false, "generator", out);
}

static int filter_slice(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value list, all, row;
    int64_t slices = 0;
    if (wanted_int(run, args, FIRST, &slices) || hl_iterator_all(run, args->values[VALUE], HL_VALUE_LIST, &list) ||
        hl_list_new(run->arena, HL_VALUE_LIST, 0, &all, run->err))
        return -1;
    if (!slices)
        return hl_run_fail(run, "slice: integer division or modulo by zero");
    int64_t n = list.list->n, each = n / slices, more = n % slices, at = 0;
    bool fills = hl_args_given(args, SECOND) && args->values[SECOND].kind != HL_VALUE_NONE;
    for (int64_t i = 0; i < slices; i++) {
        if (hl_arena_pay(run->arena, 1, run->err) || hl_list_new(run->arena, HL_VALUE_LIST, 0, &row, run->err))
            return -1;
        for (int64_t k = 0; k < each + (i < more); k++)
            if (hl_list_push(run->arena, row.list, list.list->items[at++], run->err))
                return -1;
        if ((fills && i >= more && hl_list_push(run->arena, row.list, args->values[SECOND], run->err)) ||
            hl_list_push(run->arena, all.list, row, run->err))
            return -1;
    }
    return once(run, all, false, "generator", out);
}

/* map, select, reject, selectattr, rejectattr */

enum lazy_kind { MAP, SELECT, REJECT, SELECT_ATTRIBUTE, REJECT_ATTRIBUTE };

struct lazy {
    enum lazy_kind kind;
    struct hl_args args; /* of the filter: the value, then the rest */
    bool begun;
    struct hl_iterator items;
    struct hl_value path, otherwise;  /* of an attribute */
    const struct hl_builtin *builtin; /* the test or filter to call; NULL: the truth, or the attribute */
    struct hl_args call;              /* its arguments; the item is the first */
};

static int find_call(struct hl_run *run, struct lazy *lazy, uint32_t at)
{
    const char *kind = lazy->kind == MAP ? "filter" : "test";
    struct hl_value name;
    if (at >= lazy->args.n)
        return 0;
    if (hl_args_text(run, &lazy->args, at, &name))
        return -1;
    lazy->builtin = hl_builtin_find(run->dialect, kind, name.text, name.n);
    if (!lazy->builtin)
        return hl_run_fail(run, "unknown %s '%.*s'", kind, (int)(name.n & 127), name.text);
    lazy->call = (struct hl_args){.n = lazy->args.n - at, .named = lazy->args.named};
    lazy->call.values = lazy->args.values + at; /* the place of the name becomes the item's */
    return 0;
}

static int begin_map(struct hl_run *run, struct lazy *lazy)
{
    const struct hl_dict *named = lazy->args.named;
    const struct hl_value *attribute = named && lazy->args.n == 1 ? hl_dict_get(named, "attribute", 9) : NULL;
    const struct hl_value *otherwise = attribute ? hl_dict_get(named, "default", 7) : NULL;
    if (!attribute)
        return lazy->args.n > 1 ? find_call(run, lazy, FIRST) : hl_run_fail(run, "map requires a filter argument");
    if (named->n > (otherwise ? 2u : 1u))
        return hl_run_fail(run, "map takes 'attribute' and 'default' by name");
    lazy->otherwise = otherwise ? *otherwise : hl_none();
    return path_of(run, *attribute, &lazy->path);
}

static int begin(struct hl_run *run, struct lazy *lazy)
{
    bool attribute = lazy->kind >= SELECT_ATTRIBUTE;
    lazy->begun = true;
    lazy->otherwise = hl_none();
    if (!hl_value_truth(lazy->args.values[VALUE])) {
        lazy->args.n = 0; /* empties the input, whatever it is */
        return hl_iterator_open(run, hl_string("", 0), &lazy->items);
    }
    if (lazy->kind == MAP) {
        if (begin_map(run, lazy))
            return -1;
    } else {
        if (attribute && lazy->args.n < 2)
            return hl_run_fail(run, "Missing parameter for attribute name");
        if (path_of(run, attribute ? lazy->args.values[FIRST] : hl_none(), &lazy->path) ||
            find_call(run, lazy, attribute ? SECOND : FIRST))
            return -1;
    }
    return hl_iterator_open(run, lazy->args.values[VALUE], &lazy->items);
}

static int next_lazy(struct hl_run *run, void *state, struct hl_value *out)
{
    struct lazy *lazy = state;
    struct hl_value item, asked;
    int got;
    if (!lazy->begun && begin(run, lazy))
        return -1;
    while ((got = hl_iterator_next(run, &lazy->items, &item)) > 0) {
        asked = item;
        if (lazy->path.kind == HL_VALUE_LIST && follow(run, lazy->path, item, lazy->otherwise, &asked))
            return -1;
        if (lazy->builtin) {
            lazy->call.values[0] = asked;
            if (hl_run_builtin(run, lazy->builtin, &lazy->call, &asked))
                return -1;
        }
        bool picks = lazy->kind == SELECT || lazy->kind == SELECT_ATTRIBUTE;
        if (lazy->kind != MAP && hl_value_truth(asked) != picks)
            continue;
        *out = lazy->kind == MAP ? asked : item;
        return 1;
    }
    return got;
}

static int make_lazy(struct hl_run *run, const struct hl_args *args, enum lazy_kind kind, struct hl_value *out)
{
    struct lazy *lazy = hl_run_alloc(run, sizeof *lazy);
    struct hl_value *values = hl_run_alloc(run, args->n * sizeof *values);
    if (!lazy || !values)
        return -1;
    memcpy(values, args->values, args->n * sizeof *values);
    memset(lazy, 0, sizeof *lazy);
    lazy->kind = kind;
    lazy->args = (struct hl_args){values, args->n, args->named};
    return hl_iterator_new(run, next_lazy, lazy, out);
}

static int filter_map(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return make_lazy(run, args, MAP, out);
}

static int filter_select(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return make_lazy(run, args, SELECT, out);
}

static int filter_reject(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return make_lazy(run, args, REJECT, out);
}

static int filter_selectattr(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return make_lazy(run, args, SELECT_ATTRIBUTE, out);
}

static int filter_rejectattr(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return make_lazy(run, args, REJECT_ATTRIBUTE, out);
}

const struct hl_builtin hl_jinja_sequences[] = {
    {"filter", "batch", "value linecount fill_with", 2, filter_batch},
    {"filter", "count", "-", 1, filter_length},
    {"filter", "dictsort", "value case_sensitive by reverse", 1, filter_dictsort},
    {"filter", "first", "seq", 1, filter_first},
    {"filter", "groupby", "value attribute default case_sensitive", 2, filter_groupby},
    {"filter", "items", "value", 1, filter_items},
    {"filter", "join", "value d attribute", 1, filter_join},
    {"filter", "last", "seq", 1, filter_last},
    {"filter", "length", "-", 1, filter_length},
    {"filter", "list", "value", 1, filter_list},
    {"filter", "map", NULL, 1, filter_map},
    {"filter", "max", "value case_sensitive attribute", 1, filter_max},
    {"filter", "min", "value case_sensitive attribute", 1, filter_min},
    {"filter", "reject", NULL, 1, filter_reject},
    {"filter", "rejectattr", NULL, 1, filter_rejectattr},
    {"filter", "reverse", "value", 1, filter_reverse},
    {"filter", "select", NULL, 1, filter_select},
    {"filter", "selectattr", NULL, 1, filter_selectattr},
    {"filter", "slice", "value slices fill_with", 2, filter_slice},
    {"filter", "sort", "value reverse case_sensitive attribute", 1, filter_sort},
    {"filter", "sum", "iterable attribute start", 1, filter_sum},
    {"filter", "unique", "value case_sensitive attribute", 1, filter_unique},
    {0},
};
