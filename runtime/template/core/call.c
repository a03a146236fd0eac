/* Calls: matches arguments to parameters, as Python does. */
#include "runtime/template/core/eval.h"

#define PARAMETERS_MOST 12 /* of a builtin */

const struct hl_builtin *hl_builtin_find(const struct hl_dialect *dialect, const char *kind, const char *name, size_t n)
{
    for (const struct hl_builtin *const *table = dialect->builtins; *table; table++)
        for (const struct hl_builtin *b = *table; b->kind; b++)
            if (n && b->name[0] == name[0] && strlen(b->name) == n && !memcmp(b->name, name, n) &&
                !strcmp(b->kind, kind))
                return b;
    return NULL;
}

/* Returns the number of names in "a b c". *place is the index of `name` among them, or their number if it is absent. */
static uint32_t find_parameter(const char *parameters, struct hl_value name, uint32_t *place)
{
    uint32_t count = 0;
    bool found = false;
    for (const char *at = parameters; *at; count++) {
        size_t n = strcspn(at, " ");
        if (!found && name.n == n && !memcmp(at, name.text, n)) {
            *place = count;
            found = true;
        }
        at += n + (at[n] == ' ');
    }
    if (!found)
        *place = count;
    return count;
}

static int bind(struct hl_run *run, const struct hl_builtin *b, const struct hl_args *args,
                struct hl_value bound[PARAMETERS_MOST], uint32_t *n)
{
    uint32_t place, count = find_parameter(b->parameters, hl_string("", 0), &place);
    if (args->n > count)
        return hl_run_fail(run, "%s '%s' takes at most %u arguments, not %u", b->kind, b->name, count, args->n);
    for (uint32_t i = 0; i < count; i++)
        bound[i] = i < args->n ? args->values[i] : (struct hl_value){.kind = HL_VALUE_ABSENT};
    for (uint32_t i = 0; args->named && i < args->named->n; i++) {
        struct hl_value name = args->named->entries[i].key;
        find_parameter(b->parameters, name, &place);
        if (place == count || bound[place].kind != HL_VALUE_ABSENT)
            return hl_run_fail(run, "%s '%s': the argument '%.*s' is unknown or given twice", b->kind, b->name,
                               (int)(name.n & 127), name.text);
        bound[place] = args->named->entries[i].value;
    }
    for (uint32_t i = 0; i < b->least && i < count; i++)
        if (bound[i].kind == HL_VALUE_ABSENT)
            return hl_run_fail(run, "%s '%s' needs more arguments", b->kind, b->name);
    *n = count;
    return 0;
}

int hl_run_builtin(struct hl_run *run, const struct hl_builtin *b, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value bound[PARAMETERS_MOST] = {{0}};
    struct hl_args complete = {.values = bound};
    uint64_t units = 1;
    for (uint32_t i = 0; i < args->n; i++)
        units += args->values[i].kind == HL_VALUE_STRING ? args->values[i].n / 64 : 0;
    if (hl_arena_pay(run->arena, units, run->err))
        return -1;
    if (b->parameters)
        return bind(run, b, args, bound, &complete.n) ? -1 : b->call(run, &complete, out);
    if (args->n < b->least)
        return hl_run_fail(run, "%s '%s' needs more arguments", b->kind, b->name);
    return b->call(run, args, out);
}

int hl_args_text(struct hl_run *run, const struct hl_args *args, uint32_t i, struct hl_value *out)
{
    struct hl_value value = hl_args_given(args, i) ? args->values[i] : hl_none();
    if (value.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, value);
    if (value.kind != HL_VALUE_STRING)
        return hl_run_fail(run, "an argument must be a string, not '%s'", hl_value_type(value));
    *out = value;
    return 0;
}

int hl_args_int(struct hl_run *run, const struct hl_args *args, uint32_t i, int64_t otherwise, int64_t *out)
{
    struct hl_value value = hl_args_given(args, i) ? args->values[i] : hl_none();
    if (value.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, value);
    if (value.kind != HL_VALUE_NONE && !hl_value_is_whole(value))
        return hl_run_fail(run, "an argument must be an integer, not '%s'", hl_value_type(value));
    *out = value.kind == HL_VALUE_NONE ? otherwise : hl_value_whole(value);
    return 0;
}

/* Collects the named arguments that match no parameter, without `caller` when the function has a slot for it. */
static int leftover(struct hl_run *run, const struct hl_object *f, const struct hl_args *args, uint32_t given,
                    struct hl_dict *rest, struct hl_value *caller)
{
    const struct hl_template_function *code = f->function.code;
    const uint32_t *parameters = run->t->lists + code->parameters;
    for (uint32_t i = 0; args->named && i < args->named->n; i++) {
        const struct hl_entry *entry = &args->named->entries[i];
        bool known = false;
        for (uint32_t k = given; !known && k < parameters[0]; k++) {
            struct hl_value name = hl_template_text(run->t, run->t->nodes[parameters[1 + k]].a);
            known = name.n == entry->key.n && !memcmp(name.text, entry->key.text, name.n);
        }
        if (known)
            continue;
        if (code->flags & HL_FUNCTION_CALLER && hl_value_is_text(entry->key, "caller"))
            *caller = entry->value;
        else if (!(code->flags & HL_FUNCTION_KWARGS))
            return hl_run_fail(run, "the macro takes no argument '%.*s'", (int)(entry->key.n & 127), entry->key.text);
        else if (hl_dict_set(run->arena, rest, entry->key, entry->value, run->err))
            return -1;
    }
    return 0;
}

/* Sets the slots after the parameters. */
static int set_specials(struct hl_run *run, const struct hl_object *f, const struct hl_args *args, uint32_t given,
                        struct hl_frame *frame)
{
    const struct hl_template_function *code = f->function.code;
    uint32_t slot = run->t->lists[code->parameters];
    struct hl_value caller = hl_undefined_because("No caller defined"), rest, many;
    if (hl_dict_new(run->arena, HL_VALUE_DICT, &rest, run->err) || leftover(run, f, args, given, rest.dict, &caller))
        return -1;
    if (code->flags & HL_FUNCTION_CALLER)
        frame->slots[slot++] = caller;
    if (code->flags & HL_FUNCTION_KWARGS)
        frame->slots[slot++] = rest;
    if (!(code->flags & HL_FUNCTION_VARARGS)) {
        if (args->n > given)
            return hl_run_fail(run, "the macro takes at most %u arguments", given);
        return 0;
    }
    if (hl_list_new(run->arena, HL_VALUE_TUPLE, args->n - given, &many, run->err))
        return -1;
    for (uint32_t i = given; i < args->n; i++)
        if (hl_list_push(run->arena, many.list, args->values[i], run->err))
            return -1;
    frame->slots[slot] = many;
    return 0;
}

/* Sets parameters without an argument to their defaults, which see the parameters before them. */
static int set_defaults(struct hl_run *run, const struct hl_object *f, const struct hl_args *args, uint32_t given,
                        struct hl_frame *frame)
{
    const uint32_t *parameters = run->t->lists + f->function.code->parameters;
    uint64_t missing = 0;
    if (parameters[0] > 64)
        return hl_run_fail(run, "functions with more than 64 parameters are not supported");
    for (uint32_t i = given; i < parameters[0]; i++) {
        struct hl_value name = hl_template_text(run->t, run->t->nodes[parameters[1 + i]].a);
        const struct hl_value *value = args->named ? hl_dict_get(args->named, name.text, name.n) : NULL;
        if (value)
            frame->slots[i] = *value;
        else
            missing |= 1ull << i;
    }
    for (uint32_t i = given; i < parameters[0]; i++) {
        const struct hl_node *parameter = &run->t->nodes[parameters[1 + i]];
        if (!(missing >> i & 1))
            continue;
        frame->slots[i] = hl_undefined_because("a parameter was not provided");
        if (parameter->b != HL_NONE && hl_evaluate(run, parameter->b, &frame->slots[i]))
            return -1;
    }
    return 0;
}

int hl_call_function(struct hl_run *run, const struct hl_object *f, const struct hl_args *args, uint32_t depth,
                     struct hl_value *out)
{
    const struct hl_template_function *code = f->function.code;
    uint32_t parameters = run->t->lists[code->parameters], given = args->n < parameters ? args->n : parameters;
    struct hl_frame *outer = run->frame, *frame = hl_frame_new(run, f->function.outer, code->slots);
    struct hl_text text = {.arena = run->arena}, *printed = run->out;
    if (!frame)
        return -1;
    frame->function = f;
    frame->depth = depth;
    if (given)
        memcpy(frame->slots, args->values, given * sizeof *frame->slots);
    if (set_specials(run, f, args, given, frame))
        return -1;
    run->frame = frame;
    run->out = &text;
    int failed = set_defaults(run, f, args, given, frame) || hl_eval_statement(run, code->body) < 0;
    run->frame = outer;
    run->out = printed;
    *out = hl_text_value(&text);
    return failed ? -1 : 0;
}

static int call_object(struct hl_run *run, struct hl_object *object, const struct hl_args *args, struct hl_value *out)
{
    struct hl_args more = {.n = args->n + 1, .named = args->named};
    switch (object->kind) {
    case HL_OBJECT_FUNCTION:
        return hl_call_function(run, object, args, 0, out);
    case HL_OBJECT_BUILTIN:
        return hl_run_builtin(run, object->builtin, args, out);
    case HL_OBJECT_METHOD:
        if (!(more.values = hl_run_alloc(run, more.n * sizeof *more.values)))
            return -1;
        more.values[0] = object->method.self;
        if (args->n)
            memcpy(more.values + 1, args->values, args->n * sizeof *more.values);
        return hl_run_builtin(run, object->method.builtin, &more, out);
    case HL_OBJECT_LOOP:
        if (!object->loop.recursion)
            return hl_run_fail(run, "a loop must be marked 'recursive' to be called");
        if (args->n != 1 || args->named)
            return hl_run_fail(run, "a recursive loop takes one argument");
        return hl_call_function(run, object->loop.recursion, args, object->loop.depth + 1, out);
    case HL_OBJECT_JOINER:
        if (args->n || args->named)
            return hl_run_fail(run, "a joiner takes no argument");
        *out = object->joiner.used ? object->joiner.separator : hl_string("", 0);
        object->joiner.used = true;
        return 0;
    default:
        return hl_run_fail(run, "'%s' object is not callable", hl_object_type(object));
    }
}

int hl_run_call(struct hl_run *run, struct hl_value callee, const struct hl_args *args, struct hl_value *out)
{
    if (callee.kind == HL_VALUE_OBJECT)
        return call_object(run, callee.object, args, out);
    if (callee.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, callee);
    return hl_run_fail(run, "'%s' object is not callable", hl_value_type(callee));
}
