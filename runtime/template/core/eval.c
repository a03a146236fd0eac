/* The interpreter: walks the tree with a function for each kind of node, so that the C stack grows little for each
 * level. Every node costs a unit of work, and levels are counted. So neither a template nor a conversation can make the
 * interpreter hang or overflow the stack.
 */
#include "runtime/template/core/eval.h"

struct hl_frame *hl_frame_new(struct hl_run *run, struct hl_frame *outer, uint32_t slots)
{
    struct hl_frame *frame = hl_run_alloc(run, sizeof *frame + slots * sizeof *frame->slots);
    if (!frame || hl_arena_pay(run->arena, slots / 4, run->err))
        return NULL;
    *frame = (struct hl_frame){.outer = outer, .n = slots};
    for (uint32_t i = 0; i < slots; i++)
        frame->slots[i] = hl_undefined(HL_UNDEFINED_NAME, NULL, 0);
    return frame;
}

static struct hl_value *find_slot(struct hl_run *run, uint32_t slot, uint32_t links)
{
    struct hl_frame *frame = run->frame;
    for (; frame && links; links--)
        frame = frame->outer;
    return frame && slot < frame->n ? &frame->slots[slot] : NULL;
}

static int outside(struct hl_run *run)
{
    return hl_run_fail(run, "template section: a variable outside its frame");
}

/* Expressions */

static int eval_constant(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const struct hl_template_constant *k = &run->t->constants[node->a];
    double real;
    switch (k->kind) {
    case HL_CONSTANT_NONE:
        *out = hl_none();
        return 0;
    case HL_CONSTANT_FALSE:
    case HL_CONSTANT_TRUE:
        *out = hl_bool(k->kind == HL_CONSTANT_TRUE);
        return 0;
    case HL_CONSTANT_INT:
        *out = hl_int((int64_t)k->value);
        return 0;
    case HL_CONSTANT_FLOAT:
        memcpy(&real, &k->value, sizeof real);
        *out = hl_float(real);
        return 0;
    case HL_CONSTANT_TEXT:
        *out = hl_template_text(run->t, node->a);
        return 0;
    default:
        *out = hl_undefined(HL_UNDEFINED_NAME, NULL, 0);
        return 0;
    }
}

static int eval_variable(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const struct hl_value *slot = find_slot(run, node->a, node->b);
    if (!slot)
        return outside(run);
    *out = *slot;
    if (out->kind == HL_VALUE_UNDEFINED && !out->text) { /* never set */
        struct hl_value name = hl_template_text(run->t, node->c);
        *out = hl_undefined(HL_UNDEFINED_NAME, name.text, name.n);
    }
    return 0;
}

static int eval_name(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    *out = run->names[node->a];
    return 0;
}

static int eval_attribute(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value object;
    return hl_evaluate(run, node->a, &object) ||
                   run->dialect->attribute(run, object, hl_template_text(run->t, node->b), out)
               ? -1
               : 0;
}

static int eval_item(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value object, key;
    return hl_evaluate(run, node->a, &object) || hl_evaluate(run, node->b, &key) ||
                   run->dialect->item(run, object, key, out)
               ? -1
               : 0;
}

static int eval_slice(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const uint32_t *list = run->t->lists + node->b;
    struct hl_value object, bounds[3];
    if (hl_evaluate(run, node->a, &object))
        return -1;
    for (int i = 0; i < 3; i++)
        if (hl_evaluate(run, list[1 + i], &bounds[i]))
            return -1;
    return run->dialect->operators->slice(run, object, bounds, out);
}

/* Arguments */

static int name_argument(struct hl_run *run, struct hl_args *args, struct hl_value name, struct hl_value value)
{
    struct hl_value dict;
    if (!args->named) {
        if (hl_dict_new(run->arena, HL_VALUE_DICT, &dict, run->err))
            return -1;
        args->named = dict.dict;
    }
    if (name.kind != HL_VALUE_STRING)
        return hl_run_fail(run, "the name of an argument is of type '%s'", hl_value_type(name));
    if (hl_dict_get(args->named, name.text, name.n))
        return hl_run_fail(run, "two values for the argument '%.*s'", (int)(name.n & 127), name.text);
    return hl_dict_set(run->arena, args->named, name, value, run->err);
}

static int spread(struct hl_run *run, struct hl_args *args, struct hl_list *list, const struct hl_node *node)
{
    struct hl_value value, item;
    struct hl_iterator items;
    int got;
    if (hl_evaluate(run, node->a, &value))
        return -1;
    if (node->op) {
        if (value.kind != HL_VALUE_DICT)
            return hl_run_fail(run, "the value after ** is of type '%s', not a dict", hl_value_type(value));
        for (uint32_t i = 0; i < value.dict->n; i++)
            if (name_argument(run, args, value.dict->entries[i].key, value.dict->entries[i].value))
                return -1;
        return 0;
    }
    if (hl_iterator_open(run, value, &items))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0)
        if (hl_list_push(run->arena, list, item, run->err))
            return -1;
    return got;
}

/* Evaluates the arguments in `list` after `first`, a value to put before them, or NULL. */
static int eval_arguments(struct hl_run *run, uint32_t list, const struct hl_value *first, struct hl_args *args)
{
    const uint32_t *nodes = run->t->lists + list;
    struct hl_value values, value;
    *args = (struct hl_args){0};
    if (hl_list_new(run->arena, HL_VALUE_LIST, nodes[0] + (first != NULL), &values, run->err) ||
        (first && hl_list_push(run->arena, values.list, *first, run->err)))
        return -1;
    for (uint32_t i = 1; i <= nodes[0]; i++) {
        const struct hl_node *node = &run->t->nodes[nodes[i]];
        if (node->kind == HL_NODE_KEYWORD) {
            if (hl_evaluate(run, node->b, &value) || name_argument(run, args, hl_template_text(run->t, node->a), value))
                return -1;
        } else if (node->kind == HL_NODE_SPREAD) {
            if (spread(run, args, values.list, node))
                return -1;
        } else if (hl_evaluate(run, nodes[i], &value) || hl_list_push(run->arena, values.list, value, run->err)) {
            return -1;
        }
    }
    args->values = values.list->items;
    args->n = values.list->n;
    return 0;
}

static int eval_call(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const struct hl_node *callee = &run->t->nodes[node->a];
    const struct hl_builtin *method = NULL;
    struct hl_value object, value;
    struct hl_args args;
    if (callee->kind == HL_NODE_ATTRIBUTE && run->dialect->method) {
        struct hl_value name = hl_template_text(run->t, callee->b);
        if (hl_evaluate(run, callee->a, &object))
            return -1;
        method = run->dialect->method(run, object, name);
        if (!method && run->dialect->attribute(run, object, name, &value))
            return -1;
    } else if (hl_evaluate(run, node->a, &value)) {
        return -1;
    }
    if (eval_arguments(run, node->b, method ? &object : NULL, &args))
        return -1;
    run->line = node->line;
    return method ? hl_run_builtin(run, method, &args, out) : hl_run_call(run, value, &args, out);
}

static int eval_builtin(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_args args;
    if (eval_arguments(run, node->b, NULL, &args))
        return -1;
    run->line = node->line;
    return hl_run_builtin(run, run->t->builtins[node->a], &args, out);
}

static int eval_unary(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value a;
    return hl_evaluate(run, node->a, &a) ? -1 : run->dialect->operators->unary(run, node->op, a, out);
}

static int eval_binary(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value a, b;
    if (hl_evaluate(run, node->a, &a) || hl_evaluate(run, node->b, &b))
        return -1;
    run->line = node->line;
    return run->dialect->operators->binary(run, node->op, a, b, out);
}

static int eval_not(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value a;
    if (hl_evaluate(run, node->a, &a))
        return -1;
    *out = hl_bool(!run->dialect->truth(a));
    return 0;
}

static int eval_logic(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    if (hl_evaluate(run, node->a, out))
        return -1;
    bool decided = run->dialect->truth(*out) == (node->kind == HL_NODE_OR);
    return decided ? 0 : hl_evaluate(run, node->b, out);
}

static int eval_compare(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const uint32_t *list = run->t->lists + node->b;
    struct hl_value a, b;
    bool holds = true;
    if (hl_evaluate(run, node->a, &a))
        return -1;
    for (uint32_t i = 1; holds && i <= list[0]; i++) {
        const struct hl_node *operand = &run->t->nodes[list[i]];
        if (hl_evaluate(run, operand->a, &b))
            return -1;
        run->line = node->line;
        if (run->dialect->operators->compare(run, operand->op, a, b, &holds))
            return -1;
        a = b;
    }
    *out = hl_bool(holds);
    return 0;
}

static int eval_comparand(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    return hl_evaluate(run, node->a, out);
}

static int eval_concat(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const uint32_t *list = run->t->lists + node->a;
    struct hl_text text = {.arena = run->arena};
    struct hl_value value;
    for (uint32_t i = 1; i <= list[0]; i++)
        if (hl_evaluate(run, list[i], &value) || run->dialect->print(run, &text, value))
            return -1;
    *out = hl_text_value(&text);
    return 0;
}

static int eval_condition(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_value test;
    if (hl_evaluate(run, node->a, &test))
        return -1;
    if (run->dialect->truth(test))
        return hl_evaluate(run, node->b, out);
    *out = hl_undefined_because("the inline if had a false condition and no else");
    return node->c == HL_NONE ? 0 : hl_evaluate(run, node->c, out);
}

static int eval_list(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const uint32_t *list = run->t->lists + node->a;
    enum hl_value_kind kind = node->kind == HL_NODE_LIST ? HL_VALUE_LIST : HL_VALUE_TUPLE;
    struct hl_value item;
    if (hl_list_new(run->arena, kind, list[0], out, run->err))
        return -1;
    for (uint32_t i = 1; i <= list[0]; i++)
        if (hl_evaluate(run, list[i], &item) || hl_list_push(run->arena, out->list, item, run->err))
            return -1;
    return 0;
}

static int eval_dict(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const uint32_t *list = run->t->lists + node->a;
    struct hl_value key, value;
    if (hl_dict_new(run->arena, HL_VALUE_DICT, out, run->err))
        return -1;
    for (uint32_t i = 1; i < list[0]; i += 2)
        if (hl_evaluate(run, list[i], &key) || hl_evaluate(run, list[i + 1], &value) ||
            hl_dict_set(run->arena, out->dict, key, value, run->err))
            return -1;
    return 0;
}

static int eval_function(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    const struct hl_template_function *code = &run->t->functions[node->a];
    if (hl_object_new(run, HL_OBJECT_FUNCTION, out))
        return -1;
    out->object->function.code = code;
    out->object->function.outer = run->frame;
    out->object->function.name = code->name == HL_NONE ? hl_none() : hl_template_text(run->t, code->name);
    return 0;
}

static int eval_capture(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena}, *outer = run->out;
    run->out = &text;
    int status = hl_eval_statement(run, node->a);
    run->out = outer;
    if (status < 0)
        return -1;
    if (status > 0)
        return hl_run_fail(run, "break and continue cannot leave a captured block");
    *out = hl_text_value(&text);
    return 0;
}

static int eval_nothing(struct hl_run *run, const struct hl_node *node, struct hl_value *out)
{
    (void)node;
    (void)out;
    return hl_run_fail(run, "template section: a statement where a value is needed");
}

static int (*const evaluators[HL_NODE_KINDS])(struct hl_run *, const struct hl_node *, struct hl_value *) = {
    [HL_NODE_CONSTANT] = eval_constant,
    [HL_NODE_VARIABLE] = eval_variable,
    [HL_NODE_NAME] = eval_name,
    [HL_NODE_ATTRIBUTE] = eval_attribute,
    [HL_NODE_ITEM] = eval_item,
    [HL_NODE_SLICE] = eval_slice,
    [HL_NODE_CALL] = eval_call,
    [HL_NODE_BUILTIN] = eval_builtin,
    [HL_NODE_KEYWORD] = eval_nothing,
    [HL_NODE_SPREAD] = eval_nothing,
    [HL_NODE_UNARY] = eval_unary,
    [HL_NODE_BINARY] = eval_binary,
    [HL_NODE_NOT] = eval_not,
    [HL_NODE_AND] = eval_logic,
    [HL_NODE_OR] = eval_logic,
    [HL_NODE_COMPARE] = eval_compare,
    [HL_NODE_COMPARAND] = eval_comparand,
    [HL_NODE_CONCAT] = eval_concat,
    [HL_NODE_CONDITION] = eval_condition,
    [HL_NODE_LIST] = eval_list,
    [HL_NODE_TUPLE] = eval_list,
    [HL_NODE_DICT] = eval_dict,
    [HL_NODE_FUNCTION] = eval_function,
    [HL_NODE_CAPTURE] = eval_capture,
    [HL_NODE_TEXT] = eval_nothing,
    [HL_NODE_OUTPUT] = eval_nothing,
    [HL_NODE_BLOCK] = eval_nothing,
    [HL_NODE_IF] = eval_nothing,
    [HL_NODE_FOR] = eval_nothing,
    [HL_NODE_SET] = eval_nothing,
    [HL_NODE_BREAK] = eval_nothing,
    [HL_NODE_CONTINUE] = eval_nothing,
    [HL_NODE_PARAMETER] = eval_nothing,
};

static int enter(struct hl_run *run, const struct hl_node *node)
{
    run->line = node->line;
    if (run->depth >= HL_RUN_LEVELS)
        return hl_run_fail(run, "calls are nested too deeply");
    run->depth++;
    return hl_arena_pay(run->arena, 1, run->err);
}

int hl_evaluate(struct hl_run *run, uint32_t index, struct hl_value *out)
{
    const struct hl_node *node = &run->t->nodes[index];
    if (enter(run, node) || evaluators[node->kind](run, node, out))
        return -1;
    run->depth--;
    return 0;
}

/* Statements */

static int assign(struct hl_run *run, uint32_t target, struct hl_value value);

static int assign_items(struct hl_run *run, const uint32_t *list, struct hl_value value)
{
    struct hl_value all;
    if (hl_iterator_all(run, value, HL_VALUE_LIST, &all))
        return -1;
    if (all.list->n != list[0])
        return hl_run_fail(run, "%u values cannot be assigned to %u names", all.list->n, list[0]);
    for (uint32_t i = 0; i < list[0]; i++)
        if (assign(run, list[1 + i], all.list->items[i]))
            return -1;
    return 0;
}

static int assign(struct hl_run *run, uint32_t target, struct hl_value value)
{
    const struct hl_node *node = &run->t->nodes[target];
    struct hl_value object, *slot;
    switch (node->kind) {
    case HL_NODE_VARIABLE:
        if (!(slot = find_slot(run, node->a, node->b)))
            return outside(run);
        *slot = value;
        return 0;
    case HL_NODE_TUPLE:
        return assign_items(run, run->t->lists + node->a, value);
    case HL_NODE_ATTRIBUTE:
        if (hl_evaluate(run, node->a, &object))
            return -1;
        if (object.kind != HL_VALUE_NAMESPACE)
            return hl_run_fail(run, "only the attributes of a namespace can be set");
        return hl_dict_set(run->arena, object.dict, hl_template_text(run->t, node->b), value, run->err);
    default:
        return hl_run_fail(run, "template section: this cannot be assigned to");
    }
}

static int exec_text(struct hl_run *run, const struct hl_node *node)
{
    struct hl_value text = hl_template_text(run->t, node->a);
    return hl_text_put(run->out, text.text, text.n, run->err);
}

static int exec_output(struct hl_run *run, const struct hl_node *node)
{
    struct hl_value value;
    return hl_evaluate(run, node->a, &value) || run->dialect->print(run, run->out, value) ? -1 : 0;
}

static int exec_block(struct hl_run *run, const struct hl_node *node)
{
    const uint32_t *list = run->t->lists + node->a;
    int status = 0;
    for (uint32_t i = 1; !status && i <= list[0]; i++)
        status = hl_eval_statement(run, list[i]);
    return status;
}

static int exec_if(struct hl_run *run, const struct hl_node *node)
{
    struct hl_value test;
    if (hl_evaluate(run, node->a, &test))
        return -1;
    if (run->dialect->truth(test))
        return hl_eval_statement(run, node->b);
    return node->c == HL_NONE ? 0 : hl_eval_statement(run, node->c);
}

static int exec_set(struct hl_run *run, const struct hl_node *node)
{
    struct hl_value value;
    return hl_evaluate(run, node->b, &value) || assign(run, node->a, value) ? -1 : 0;
}

/* Iterates over the items of a loop that pass its condition. The iteration may run in another function, so `frame`
 * is that of the loop. */
struct filtered {
    const struct hl_template_loop *loop;
    struct hl_frame *frame;
    struct hl_iterator items;
};

static int next_passing(struct hl_run *run, void *state, struct hl_value *out)
{
    struct filtered *filtered = state;
    struct hl_frame *frame = run->frame;
    struct hl_value test;
    int got;
    while ((got = hl_iterator_next(run, &filtered->items, out)) > 0) {
        run->frame = filtered->frame;
        if (assign(run, filtered->loop->candidate, *out) || hl_evaluate(run, filtered->loop->condition, &test))
            return -1;
        run->frame = frame;
        if (run->dialect->truth(test))
            return 1;
    }
    return got;
}

static int start_loop(struct hl_run *run, const struct hl_template_loop *loop, struct hl_value iterable,
                      struct hl_loop *out)
{
    const struct hl_object *function = run->frame->function;
    *out = (struct hl_loop){.index = -1, .length = -1};
    out->now.kind = out->before.kind = out->after.kind = out->changed.kind = HL_VALUE_ABSENT;
    if (function && function->function.code->flags & HL_FUNCTION_LOOP) {
        out->recursion = function;
        out->depth = run->frame->depth;
    }
    if (hl_iterator_open(run, iterable, &out->items))
        return -1;
    if (loop->condition == HL_NONE) {
        out->length = hl_value_length(iterable);
        return 0;
    }
    struct filtered *filtered = hl_run_alloc(run, sizeof *filtered);
    if (!filtered)
        return -1;
    *filtered = (struct filtered){loop, run->frame, out->items};
    out->items = (struct hl_iterator){.kind = HL_ITERATE_LAZY, .next = next_passing, .state = filtered};
    return 0;
}

static int exec_for(struct hl_run *run, const struct hl_node *node)
{
    const struct hl_template_loop *loop = &run->t->loops[node->a];
    struct hl_value iterable, variable, item, *slot = NULL;
    bool complete = false; /* jinja2: `else` runs unless an item reached the body's end, so also after an early break */
    int got, status;
    if (hl_evaluate(run, loop->iterable, &iterable) || hl_object_new(run, HL_OBJECT_LOOP, &variable))
        return -1;
    struct hl_loop *state = &variable.object->loop;
    if (start_loop(run, loop, iterable, state))
        return -1;
    if (loop->slot != HL_NONE && !(slot = find_slot(run, loop->slot, 0)))
        return outside(run);
    while ((got = hl_loop_next(run, state, &item)) > 0) {
        if (slot)
            *slot = variable;
        if (assign(run, loop->target, item))
            return -1;
        status = hl_eval_statement(run, loop->body);
        if (status < 0)
            return -1;
        if (status == HL_EXECUTE_BREAK)
            break;
        complete = complete || !status;
    }
    if (got < 0)
        return -1;
    return !complete && loop->otherwise != HL_NONE ? hl_eval_statement(run, loop->otherwise) : 0;
}

static int exec_break(struct hl_run *run, const struct hl_node *node)
{
    (void)run;
    return node->kind == HL_NODE_BREAK ? HL_EXECUTE_BREAK : HL_EXECUTE_CONTINUE;
}

static int exec_nothing(struct hl_run *run, const struct hl_node *node)
{
    (void)node;
    return hl_run_fail(run, "template section: a value where a statement is needed");
}

int hl_eval_statement(struct hl_run *run, uint32_t index)
{
    static int (*const executors[])(struct hl_run *, const struct hl_node *) = {
        exec_text, exec_output, exec_block, exec_if, exec_for, exec_set, exec_break, exec_break,
    };
    const struct hl_node *node = &run->t->nodes[index];
    bool statement = node->kind >= HL_NODE_TEXT && node->kind <= HL_NODE_CONTINUE;
    if (enter(run, node))
        return -1;
    int status = (statement ? executors[node->kind - HL_NODE_TEXT] : exec_nothing)(run, node);
    run->depth--;
    return status;
}
