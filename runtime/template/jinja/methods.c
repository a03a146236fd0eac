/* Attributes and items of values, and the methods of all types except str.
 *
 * object.name is first a method or attribute of the type, then the item "name". object[key] tries them the other way
 * round, as in jinja2: x.items is the method, x['items'] the key. A namespace has only its attributes. Methods that
 * would change a list or dict are undefined, as in jinja2's sandbox, and cannot be called. Methods of Python that are
 * missing here are refused, so that no template silently renders differently.
 */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"

enum { SELF, FIRST, SECOND, THIRD };

/* Returns whether `name` is one of `words`, each of which has a space on both sides. */
static bool contains_word(const char *words, struct hl_value name)
{
    char padded[32];
    if (name.n > sizeof padded - 3)
        return false;
    snprintf(padded, sizeof padded, " %.*s ", (int)name.n, name.text);
    return strstr(words, padded) != NULL;
}

/* Returns the methods that change the object; the next function those that are not supported. */
static const char *mutating(struct hl_value object)
{
    if (object.kind == HL_VALUE_LIST)
        return " append clear pop reverse insert sort extend remove ";
    return object.kind == HL_VALUE_DICT ? " clear pop popitem setdefault update " : "";
}

static const char *unsupported(struct hl_value object)
{
    switch (object.kind) {
    case HL_VALUE_STRING:
        return " encode expandtabs format_map isidentifier istitle maketrans translate ";
    case HL_VALUE_INT:
    case HL_VALUE_BOOL:
    case HL_VALUE_BIG:
        return " as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes ";
    case HL_VALUE_FLOAT:
        return " as_integer_ratio conjugate fromhex hex imag is_integer real ";
    case HL_VALUE_DICT:
        return " fromkeys ";
    case HL_VALUE_OBJECT:
        switch (object.object->kind) {
        case HL_OBJECT_RANGE:
            return " start stop step count index ";
        case HL_OBJECT_VIEW:
            return " isdisjoint mapping ";
        case HL_OBJECT_ITERATOR:
            return " close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw ";
        case HL_OBJECT_FUNCTION:
            return " arguments catch_kwargs catch_varargs caller explicit_caller ";
        default:
            return "";
        }
    default:
        return "";
    }
}

const struct hl_builtin *hl_jinja_method(struct hl_run *run, struct hl_value object, struct hl_value name)
{
    switch (object.kind) {
    case HL_VALUE_STRING:
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
    case HL_VALUE_DICT:
    case HL_VALUE_OBJECT:
        return hl_builtin_find(run->dialect, hl_value_type(object), name.text, name.n);
    default:
        return NULL;
    }
}

int hl_jinja_own_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out)
{
    const struct hl_builtin *method = hl_jinja_method(run, object, name);
    const struct hl_value *member;
    out->kind = HL_VALUE_ABSENT;
    if (method) {
        if (hl_object_new(run, HL_OBJECT_METHOD, out))
            return -1;
        out->object->method.builtin = method;
        out->object->method.self = object;
        return 0;
    }
    if (object.kind == HL_VALUE_TUPLE && object.flags & HL_TUPLE_GROUP &&
        (hl_value_is_text(name, "grouper") || hl_value_is_text(name, "list"))) {
        *out = object.list->items[name.n == 4];
    } else if (object.kind == HL_VALUE_NAMESPACE && (member = hl_dict_get(object.dict, name.text, name.n))) {
        *out = *member;
    } else if (contains_word(mutating(object), name)) {
        *out = hl_undefined(HL_UNDEFINED_UNSAFE, name.text, name.n);
    } else if (contains_word(unsupported(object), name)) {
        return hl_run_fail(run, "'%.*s' of a value of type '%s' is not supported", (int)name.n, name.text,
                           hl_value_type(object));
    } else if (object.kind == HL_VALUE_OBJECT) {
        struct hl_object *o = object.object;
        if (o->kind == HL_OBJECT_LOOP)
            return hl_loop_attribute(run, &o->loop, name, out);
        if (o->kind == HL_OBJECT_CYCLER && hl_value_is_text(name, "current"))
            *out = o->cycler.items->items[o->cycler.at];
        if (o->kind == HL_OBJECT_FUNCTION && hl_value_is_text(name, "name"))
            *out = o->function.name;
    }
    return 0;
}

static int item_at(struct hl_run *run, struct hl_value object, int64_t index, struct hl_value *out)
{
    int64_t n = hl_value_length(object);
    size_t at, bytes;
    index = index < 0 ? index + n : index;
    out->kind = HL_VALUE_ABSENT;
    if (index < 0 || index >= n)
        return 0;
    switch (object.kind) {
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        *out = object.list->items[index];
        return 0;
    case HL_VALUE_STRING:
        at = hl_char_offset(object.text, object.n, (size_t)index);
        hl_char_at(object.text + at, object.n - at, &bytes);
        *out = hl_string(object.text + at, bytes);
        return hl_arena_pay(run->arena, object.n / 64, run->err);
    case HL_VALUE_OBJECT:
        if (object.object->kind == HL_OBJECT_RANGE)
            *out = hl_int(object.object->range.start + index * object.object->range.step);
        return 0;
    default:
        return 0;
    }
}

/* Finds an item. *out is ABSENT if it does not exist or the object has no items. */
static int find_item(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out)
{
    struct hl_value *found;
    out->kind = HL_VALUE_ABSENT;
    if (object.kind == HL_VALUE_DICT) {
        if (key.kind == HL_VALUE_LIST || key.kind == HL_VALUE_DICT)
            return 0;
        if (hl_dict_find(run->arena, object.dict, key, &found, run->err))
            return -1;
        if (found)
            *out = *found;
        return 0;
    }
    if (key.kind == HL_VALUE_INT)
        return item_at(run, object, key.integer, out);
    return key.kind == HL_VALUE_BOOL ? item_at(run, object, key.truth, out) : 0;
}

static int missing(struct hl_value name, struct hl_value *out)
{
    if (out->kind == HL_VALUE_ABSENT)
        *out = name.kind == HL_VALUE_STRING ? hl_undefined(HL_UNDEFINED_ATTRIBUTE, name.text, name.n)
                                            : hl_undefined_because("no such item");
    return 0;
}

int hl_jinja_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out)
{
    if (object.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, object);
    if (hl_jinja_own_attribute(run, object, name, out))
        return -1;
    if (out->kind == HL_VALUE_ABSENT && find_item(run, object, name, out))
        return -1;
    return missing(name, out);
}

int hl_jinja_item(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out)
{
    if (object.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, object);
    if (find_item(run, object, key, out))
        return -1;
    if (out->kind == HL_VALUE_ABSENT && key.kind == HL_VALUE_STRING && hl_jinja_own_attribute(run, object, key, out))
        return -1;
    return missing(key, out);
}

/* Dicts */

static int view(struct hl_run *run, const struct hl_args *args, enum hl_dict_view which, struct hl_value *out)
{
    if (hl_object_new(run, HL_OBJECT_VIEW, out))
        return -1;
    out->object->view.dict = args->values[SELF].dict;
    out->object->view.view = which;
    return 0;
}

static int keys(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return view(run, args, HL_VIEW_KEYS, out);
}

static int values(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return view(run, args, HL_VIEW_VALUES, out);
}

static int items(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return view(run, args, HL_VIEW_ITEMS, out);
}

static int get(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value *found;
    if (hl_dict_find(run->arena, args->values[SELF].dict, args->values[FIRST], &found, run->err))
        return -1;
    *out = found ? *found : hl_args_given(args, SECOND) ? args->values[SECOND] : hl_none();
    return 0;
}

static int copy_dict(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    const struct hl_dict *dict = args->values[SELF].dict;
    if (hl_dict_new(run->arena, HL_VALUE_DICT, out, run->err))
        return -1;
    for (uint32_t i = 0; i < dict->n; i++)
        if (hl_arena_pay(run->arena, 1, run->err) ||
            hl_dict_set(run->arena, out->dict, dict->entries[i].key, dict->entries[i].value, run->err))
            return -1;
    return 0;
}

/* Lists and tuples */

static int copy_list(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_iterator_all(run, args->values[SELF], HL_VALUE_LIST, out);
}

static int index_of(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    const struct hl_list *list = args->values[SELF].list;
    int64_t start, end;
    if (hl_args_int(run, args, SECOND, 0, &start) || hl_args_int(run, args, THIRD, list->n, &end))
        return -1;
    start = start < 0 ? start + list->n : start;
    end = end < 0 ? end + list->n : end;
    for (int64_t i = start < 0 ? 0 : start; i < end && i < list->n; i++) {
        bool equal;
        if (hl_value_equal(run->arena, list->items[i], args->values[FIRST], &equal, run->err))
            return -1;
        if (equal) {
            *out = hl_int(i);
            return 0;
        }
    }
    return hl_run_fail(run, "index(): the value is not in the list");
}

static int count(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    const struct hl_list *list = args->values[SELF].list;
    int64_t found = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        bool equal;
        if (hl_value_equal(run->arena, list->items[i], args->values[FIRST], &equal, run->err))
            return -1;
        found += equal;
    }
    *out = hl_int(found);
    return 0;
}

/* Loops and cyclers */

static int cycle(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    int64_t index = args->values[SELF].object->loop.index;
    if (args->n < 2)
        return hl_run_fail(run, "no items for cycling given");
    *out = args->values[1 + (uint32_t)(index < 0 ? 0 : index) % (args->n - 1)];
    return args->named ? hl_run_fail(run, "cycle() takes no named arguments") : 0;
}

static int changed(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_loop *loop = &args->values[SELF].object->loop;
    struct hl_value now;
    bool equal = false;
    if (hl_list_new(run->arena, HL_VALUE_TUPLE, args->n, &now, run->err))
        return -1;
    for (uint32_t i = 1; i < args->n; i++)
        now.list->items[now.list->n++] = args->values[i];
    if (loop->changed.kind != HL_VALUE_ABSENT && hl_value_equal(run->arena, loop->changed, now, &equal, run->err))
        return -1;
    loop->changed = now;
    *out = hl_bool(!equal);
    return 0;
}

static int next(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_object *cycler = args->values[SELF].object;
    (void)run;
    *out = cycler->cycler.items->items[cycler->cycler.at];
    cycler->cycler.at = (cycler->cycler.at + 1) % cycler->cycler.items->n;
    return 0;
}

static int reset(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    (void)run;
    args->values[SELF].object->cycler.at = 0;
    *out = hl_none();
    return 0;
}

const struct hl_builtin hl_jinja_methods[] = {
    {"dict", "copy", "-", 1, copy_dict},
    {"dict", "get", "- - -", 2, get},
    {"dict", "items", "-", 1, items},
    {"dict", "keys", "-", 1, keys},
    {"dict", "values", "-", 1, values},
    {"list", "copy", "-", 1, copy_list},
    {"list", "count", "- -", 2, count},
    {"list", "index", "- - - -", 2, index_of},
    {"tuple", "count", "- -", 2, count},
    {"tuple", "index", "- - - -", 2, index_of},
    {"LoopContext", "changed", NULL, 1, changed},
    {"LoopContext", "cycle", NULL, 1, cycle},
    {"Cycler", "next", "-", 1, next},
    {"Cycler", "reset", "-", 1, reset},
    {0},
};
