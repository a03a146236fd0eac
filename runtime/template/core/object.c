/* Values that only the interpreter makes: functions, loops, ranges, views, and iterators.
 *
 * A filter that picks or changes items works while its result is iterated, as in Python, and only once. Its state is in
 * the arena, and an iterator object fetches one item after another.
 */
#include "runtime/template/core/characters.h"
#include "runtime/template/core/run.h"
#include <inttypes.h>

int hl_run_fail(struct hl_run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    run->err->kind = HL_ERROR_REQUEST;
    vsnprintf(run->err->message, sizeof run->err->message, format, args);
    va_end(args);
    return -1;
}

int hl_run_undefined(struct hl_run *run, struct hl_value value)
{
    int n = value.n < 200 ? (int)value.n : 200;
    const char *text = value.text ? value.text : "";
    switch (value.flags) {
    case HL_UNDEFINED_NAME:
        return hl_run_fail(run, "'%.*s' is undefined", n, text);
    case HL_UNDEFINED_ATTRIBUTE:
        return hl_run_fail(run, "'%.*s' is undefined: there is no such attribute or item", n, text);
    case HL_UNDEFINED_UNSAFE:
        return hl_run_fail(run, "'%.*s' would change a value, which a chat template may not do", n, text);
    default:
        return hl_run_fail(run, "%.*s", n, text);
    }
}

void *hl_run_alloc(struct hl_run *run, size_t bytes)
{
    void *memory = hl_arena_alloc(run->arena, bytes);
    if (!memory)
        hl_arena_full(run->arena, run->err);
    return memory;
}

int hl_run_string(struct hl_run *run, const char *bytes, size_t n, struct hl_value *out)
{
    char *copy = hl_run_alloc(run, n);
    if (!copy)
        return -1;
    if (n)
        memcpy(copy, bytes, n);
    *out = hl_string(copy, n);
    return hl_arena_pay(run->arena, n / 64, run->err);
}

int hl_run_print(struct hl_run *run, struct hl_value value, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (value.kind == HL_VALUE_STRING) {
        *out = hl_string(value.text, value.n);
        return 0;
    }
    if (run->dialect->print(run, &text, value))
        return -1;
    *out = hl_text_value(&text);
    return 0;
}

bool hl_object_truth(const struct hl_object *object)
{
    switch (object->kind) {
    case HL_OBJECT_VIEW:
        return object->view.dict->n != 0;
    case HL_OBJECT_RANGE:
        return object->range.length != 0;
    default:
        return true;
    }
}

const char *hl_object_type(const struct hl_object *object)
{
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    switch (object->kind) {
    case HL_OBJECT_FUNCTION:
        return "Macro";
    case HL_OBJECT_BUILTIN:
    case HL_OBJECT_METHOD:
        return "builtin_function_or_method";
    case HL_OBJECT_LOOP:
        return "LoopContext";
    case HL_OBJECT_ITERATOR:
        return object->iterator.type;
    case HL_OBJECT_VIEW:
        return views[object->view.view];
    case HL_OBJECT_RANGE:
        return "range";
    case HL_OBJECT_CYCLER:
        return "Cycler";
    default:
        return "Joiner";
    }
}

int hl_object_repr(struct hl_text *out, const struct hl_object *object, struct hl_error *err)
{
    char text[128];
    int n;
    if (object->kind == HL_OBJECT_RANGE && object->range.step == 1) {
        n = snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", object->range.start, object->range.stop);
    } else if (object->kind == HL_OBJECT_RANGE) {
        n = snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", object->range.start,
                     object->range.stop, object->range.step);
    } else if (object->kind == HL_OBJECT_FUNCTION && object->function.name.kind == HL_VALUE_STRING) {
        n = snprintf(text, sizeof text, "<Macro '%.*s'>", (int)(object->function.name.n & 63),
                     object->function.name.text);
    } else if (object->kind == HL_OBJECT_LOOP && object->loop.length >= 0) {
        n = snprintf(text, sizeof text, "<LoopContext %" PRId64 "/%" PRId64 ">", object->loop.index + 1,
                     object->loop.length);
    } else {
        n = snprintf(text, sizeof text, "<%s>", hl_object_type(object));
    }
    return hl_text_put(out, text, (size_t)n, err);
}

int hl_object_new(struct hl_run *run, enum hl_object_kind kind, struct hl_value *out)
{
    struct hl_object *object = hl_run_alloc(run, sizeof *object);
    if (!object)
        return -1;
    memset(object, 0, sizeof *object);
    object->kind = kind;
    *out = (struct hl_value){.kind = HL_VALUE_OBJECT, .object = object};
    return 0;
}

int hl_iterator_new(struct hl_run *run, int (*next)(struct hl_run *run, void *state, struct hl_value *out), void *state,
                    struct hl_value *out)
{
    if (hl_object_new(run, HL_OBJECT_ITERATOR, out))
        return -1;
    out->object->iterator.items = (struct hl_iterator){.kind = HL_ITERATE_LAZY, .next = next, .state = state};
    out->object->iterator.type = "generator";
    return 0;
}

/* Takes items out of the object itself, so that the next reader continues after them. */
static int next_of_object(struct hl_run *run, void *state, struct hl_value *out)
{
    struct hl_object *object = state;
    if (object->kind == HL_OBJECT_LOOP) {
        struct hl_loop *loop = &object->loop;
        struct hl_value pair;
        int got = hl_loop_next(run, loop, out);
        if (got <= 0)
            return got;
        if (hl_list_new(run->arena, HL_VALUE_TUPLE, 2, &pair, run->err) ||
            hl_list_push(run->arena, pair.list, *out, run->err) ||
            hl_list_push(run->arena, pair.list, (struct hl_value){.kind = HL_VALUE_OBJECT, .object = object}, run->err))
            return -1;
        *out = pair;
        return 1;
    }
    return hl_iterator_next(run, &object->iterator.items, out);
}

static int iterate_object(struct hl_run *run, struct hl_object *object, struct hl_iterator *out)
{
    switch (object->kind) {
    case HL_OBJECT_VIEW:
        out->kind = HL_ITERATE_DICT;
        out->view = object->view.view;
        out->source.dict = object->view.dict;
        return 0;
    case HL_OBJECT_RANGE:
        out->kind = HL_ITERATE_RANGE;
        return 0;
    case HL_OBJECT_ITERATOR:
    case HL_OBJECT_LOOP:
        out->kind = HL_ITERATE_LAZY;
        out->next = next_of_object;
        out->state = object;
        return 0;
    default:
        return hl_run_fail(run, "'%s' object is not iterable", hl_object_type(object));
    }
}

int hl_iterator_open(struct hl_run *run, struct hl_value value, struct hl_iterator *out)
{
    *out = (struct hl_iterator){.source = value};
    switch (value.kind) {
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return 0;
    case HL_VALUE_UNDEFINED:
        out->kind = HL_ITERATE_STRING;
        out->source = hl_string("", 0);
        return 0;
    case HL_VALUE_STRING:
        out->kind = HL_ITERATE_STRING;
        return 0;
    case HL_VALUE_DICT:
        out->kind = HL_ITERATE_DICT;
        return 0;
    case HL_VALUE_OBJECT:
        return iterate_object(run, value.object, out);
    default:
        return hl_run_fail(run, "'%s' object is not iterable", hl_value_type(value));
    }
}

static int next_entry(struct hl_run *run, struct hl_iterator *it, struct hl_value *out)
{
    const struct hl_dict *dict = it->source.dict;
    if (it->at >= dict->n)
        return 0;
    const struct hl_entry *entry = &dict->entries[it->backwards ? dict->n - 1 - it->at : it->at];
    it->at++;
    *out = it->view == HL_VIEW_KEYS ? entry->key : entry->value;
    if (it->view != HL_VIEW_ITEMS)
        return 1;
    return hl_list_new(run->arena, HL_VALUE_TUPLE, 2, out, run->err) ||
                   hl_list_push(run->arena, out->list, entry->key, run->err) ||
                   hl_list_push(run->arena, out->list, entry->value, run->err)
               ? -1
               : 1;
}

int hl_iterator_next(struct hl_run *run, struct hl_iterator *it, struct hl_value *out)
{
    if (hl_arena_pay(run->arena, 1, run->err))
        return -1;
    switch (it->kind) {
    case HL_ITERATE_LAZY: { /* the items may come from a lazy iterator too */
        if (run->depth >= HL_RUN_LEVELS)
            return hl_run_fail(run, "calls are nested too deeply");
        run->depth++;
        int got = it->next(run, it->state, out);
        run->depth--;
        return got;
    }
    case HL_ITERATE_DICT:
        return next_entry(run, it, out);
    case HL_ITERATE_STRING: {
        size_t bytes;
        if (it->at >= it->source.n)
            return 0;
        hl_char_at(it->source.text + it->at, it->source.n - it->at, &bytes);
        *out = hl_string(it->source.text + it->at, bytes);
        it->at += bytes;
        return 1;
    }
    case HL_ITERATE_RANGE: {
        const struct hl_object *r = it->source.object;
        if (it->at >= (uint64_t)r->range.length)
            return 0;
        int64_t at = it->backwards ? r->range.length - 1 - (int64_t)it->at : (int64_t)it->at;
        *out = hl_int(r->range.start + at * r->range.step);
        it->at++;
        return 1;
    }
    default: {
        const struct hl_list *list = it->source.list;
        if (it->at >= list->n)
            return 0;
        *out = list->items[it->backwards ? list->n - 1 - it->at : it->at];
        it->at++;
        return 1;
    }
    }
}

int hl_iterator_all(struct hl_run *run, struct hl_value value, enum hl_value_kind kind, struct hl_value *out)
{
    struct hl_iterator items;
    struct hl_value item;
    int got;
    int64_t room = hl_value_length(value);
    if (hl_iterator_open(run, value, &items) ||
        hl_list_new(run->arena, kind, room > 0 && room < 4096 ? (size_t)room : 0, out, run->err))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0)
        if (hl_list_push(run->arena, out->list, item, run->err))
            return -1;
    return got;
}

int64_t hl_value_length(struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_UNDEFINED:
        return 0;
    case HL_VALUE_STRING:
        return (int64_t)hl_char_count(value.text, value.n);
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return value.list->n;
    case HL_VALUE_DICT:
        return value.dict->n;
    case HL_VALUE_OBJECT:
        if (value.object->kind == HL_OBJECT_VIEW)
            return value.object->view.dict->n;
        if (value.object->kind == HL_OBJECT_RANGE)
            return value.object->range.length;
        return -1;
    default:
        return -1;
    }
}

/* The variable `loop` */

int hl_loop_next(struct hl_run *run, struct hl_loop *loop, struct hl_value *out)
{
    int got = 1;
    if (loop->after.kind != HL_VALUE_ABSENT) {
        *out = loop->after;
        loop->after.kind = HL_VALUE_ABSENT;
    } else {
        got = hl_iterator_next(run, &loop->items, out);
    }
    if (got <= 0)
        return got;
    loop->index++;
    loop->before = loop->now;
    loop->now = *out;
    return 1;
}

/* Counts items. If their number is unknown, fetches all of them. */
static int count_items(struct hl_run *run, struct hl_loop *loop)
{
    struct hl_value rest = {0}, item = {0};
    int got;
    if (loop->length >= 0)
        return 0;
    if (hl_list_new(run->arena, HL_VALUE_LIST, 0, &rest, run->err))
        return -1;
    while ((got = hl_iterator_next(run, &loop->items, &item)) > 0)
        if (hl_list_push(run->arena, rest.list, item, run->err))
            return -1;
    if (got < 0 || hl_iterator_open(run, rest, &loop->items))
        return -1;
    loop->length = (int64_t)rest.list->n + loop->index + 1 + (loop->after.kind != HL_VALUE_ABSENT);
    return 0;
}

static int peek(struct hl_run *run, struct hl_loop *loop)
{
    if (loop->after.kind != HL_VALUE_ABSENT)
        return 0;
    int got = hl_iterator_next(run, &loop->items, &loop->after);
    if (got <= 0)
        loop->after.kind = HL_VALUE_ABSENT;
    return got < 0 ? -1 : 0;
}

static struct hl_value or_undefined(struct hl_value value, const char *reason)
{
    return value.kind == HL_VALUE_ABSENT ? hl_undefined_because(reason) : value;
}

int hl_loop_attribute(struct hl_run *run, struct hl_loop *loop, struct hl_value name, struct hl_value *out)
{
    int64_t index = loop->index;
    if (hl_value_is_text(name, "index")) {
        *out = hl_int(index + 1);
    } else if (hl_value_is_text(name, "index0")) {
        *out = hl_int(index);
    } else if (hl_value_is_text(name, "first")) {
        *out = hl_bool(index == 0);
    } else if (hl_value_is_text(name, "depth")) {
        *out = hl_int((int64_t)loop->depth + 1);
    } else if (hl_value_is_text(name, "depth0")) {
        *out = hl_int(loop->depth);
    } else if (hl_value_is_text(name, "previtem")) {
        struct hl_value none = {.kind = HL_VALUE_ABSENT};
        *out = or_undefined(index == 0 ? none : loop->before, "there is no previous item");
    } else if (hl_value_is_text(name, "last") || hl_value_is_text(name, "nextitem")) {
        if (peek(run, loop))
            return -1;
        *out = name.n == 4 ? hl_bool(loop->after.kind == HL_VALUE_ABSENT)
                           : or_undefined(loop->after, "there is no next item");
    } else if (hl_value_is_text(name, "length") || hl_value_is_text(name, "revindex") ||
               hl_value_is_text(name, "revindex0")) {
        if (count_items(run, loop))
            return -1;
        *out = hl_int(name.n == 6 ? loop->length : name.n == 8 ? loop->length - index : loop->length - index - 1);
    } else {
        out->kind = HL_VALUE_ABSENT;
    }
    return 0;
}
