/* Compiles the syntax tree into the template section, scope by scope.
 *
 * jinja2 generates Python. Here assignments do the same: a scope begins with those that give its variables their first
 * values. Blocks with a tag become expressions. A `call` block is a call with one more argument. A recursive loop is a
 * function of the value to loop over, and its body is the loop.
 */
#include "base/sizes.h"
#include "runtime/template/jinja/jinja.h"
#include "runtime/template/jinja/jinja_ast.h"
#include "runtime/template/jinja/jinja_library.h"

/* A growing array of nodes, which becomes a list of the section. */
struct row {
    uint32_t *nodes;
    size_t n, room;
};

static int add(struct jinja *j, struct row *row, uint32_t node)
{
    if (row->n == row->room) {
        size_t room = 2 * row->room + 8;
        uint32_t *larger = hl_arena_alloc(&j->arena, room * sizeof *larger);
        if (!larger)
            return hl_arena_full(&j->arena, j->err);
        if (row->n)
            memcpy(larger, row->nodes, row->n * sizeof *larger);
        row->nodes = larger;
        row->room = room;
    }
    row->nodes[row->n++] = node;
    return 0;
}

static uint32_t put(struct jinja *j, enum hl_node_kind kind, uint32_t line, uint32_t a, uint32_t b, uint32_t c)
{
    return hl_build_node(j->build, kind, 0, line, a, b, c);
}

static uint32_t text(struct jinja *j, struct hl_value value)
{
    return hl_build_text(j->build, value.text, value.n);
}

static uint32_t constant(struct jinja *j, struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_STRING:
        return text(j, value);
    case HL_VALUE_INT:
        return hl_build_int(j->build, value.integer);
    case HL_VALUE_FLOAT:
        return hl_build_float(j->build, value.real);
    case HL_VALUE_BOOL:
        return hl_build_constant(j->build, value.truth ? HL_CONSTANT_TRUE : HL_CONSTANT_FALSE);
    default:
        return hl_build_constant(j->build, value.kind == HL_VALUE_NONE ? HL_CONSTANT_NONE : HL_CONSTANT_UNDEFINED);
    }
}

/* Names */

static uint32_t emit_slot(struct jinja *j, const struct jinja_symbol *symbol, const struct jinja_scope *where,
                          uint32_t line)
{
    uint32_t links = j->scope->function->level - where->function->level;
    return put(j, HL_NODE_VARIABLE, line, symbol->slot, links, text(j, symbol->name));
}

static uint32_t emit_context(struct jinja *j, struct hl_value name, uint32_t line)
{
    return put(j, HL_NODE_NAME, line, hl_build_name(j->build, name.text, name.n), 0, 0);
}

/* Emits the value of a name as seen from `from`. */
static uint32_t emit_name(struct jinja *j, const struct jinja_scope *from, struct hl_value name, uint32_t line)
{
    const struct jinja_scope *where;
    const struct jinja_symbol *symbol = jinja_scope_find(from, name, &where);
    return symbol && symbol->stored ? emit_slot(j, symbol, where, line) : emit_context(j, name, line);
}

/* Emits the first values of the current scope's variables. */
static int emit_begin(struct jinja *j, uint32_t line, struct row *out)
{
    if (jinja_scope_slots(j))
        return -1;
    for (const struct jinja_symbol *s = j->scope->symbols; s; s = s->next) {
        if (!s->stored || s->load == JINJA_LOAD_PARAMETER)
            continue;
        uint32_t value = s->load == JINJA_LOAD_OUTER ? emit_name(j, j->scope->parent, s->name, line)
                         : s->load == JINJA_LOAD_CONTEXT
                             ? emit_context(j, s->name, line)
                             : put(j, HL_NODE_CONSTANT, line, hl_build_constant(j->build, HL_CONSTANT_UNDEFINED), 0, 0);
        if (add(j, out, put(j, HL_NODE_SET, line, emit_slot(j, s, j->scope, line), value, 0)))
            return -1;
    }
    return 0;
}

/* Expressions */

static int emit(struct jinja *j, const struct jinja_node *node, uint32_t *out);

static int emit_items(struct jinja *j, const struct jinja_list *items, struct row *out)
{
    uint32_t node = 0;
    for (const struct jinja_node *item = items->first; item; item = item->next)
        if (emit(j, item, &node) || add(j, out, node))
            return -1;
    return 0;
}

static int emit_list(struct jinja *j, const struct jinja_list *items, uint32_t *out)
{
    struct row row = {0};
    if (emit_items(j, items, &row))
        return -1;
    *out = hl_build_list(j->build, row.nodes, row.n);
    return 0;
}

static bool is_guarded(const struct jinja *j, struct hl_value name)
{
    for (const struct jinja_node *test = j->guarded; test; test = test->guarded)
        if (test->a->name.n == name.n && !memcmp(test->a->name.text, name.text, name.n))
            return true;
    return false;
}

/* Refuses a call of an unknown name. A context has no functions, so such a call would fail in every conversation. A
 * template that first tests whether the name is defined is accepted. */
static int check_callee(struct jinja *j, const struct jinja_node *callee)
{
    static const char *const methods[] = {"encode",    "expandtabs", "format_map", "istitle",         "isidentifier",
                                          "maketrans", "translate",  "fromkeys",   "bit_length",      "bit_count",
                                          "to_bytes",  "is_integer", "conjugate",  "as_integer_ratio"};
    const struct jinja_scope *where;
    int n = (int)(callee->name.n < 60 ? callee->name.n : 60);
    for (size_t i = 0; callee->kind == JINJA_ATTRIBUTE && i < HL_COUNT(methods); i++)
        if (hl_value_is_text(callee->name, methods[i]))
            return jinja_fail(j, callee->line, "the method '%.*s' is not supported", n, callee->name.text);
    if (callee->kind != JINJA_LOAD)
        return 0;
    const struct jinja_symbol *symbol = jinja_scope_find(j->scope, callee->name, &where);
    if ((symbol && symbol->stored) || is_guarded(j, callee->name) ||
        hl_builtin_find(&hl_jinja_dialect, "function", callee->name.text, callee->name.n))
        return 0;
    return jinja_fail(j, callee->line, "unknown function '%.*s'", n, callee->name.text);
}

static int check_builtin(struct jinja *j, const char *kind, struct hl_value name, uint32_t line)
{
    if (hl_builtin_find(&hl_jinja_dialect, kind, name.text, name.n))
        return 0;
    return jinja_fail(j, line, "unknown or unsupported %s '%.*s'", kind, (int)(name.n < 60 ? name.n : 60), name.text);
}

/* Checks map("upper"), selectattr("role", "eq", ...), where an argument names a filter or test. */
static int check_named_builtin(struct jinja *j, const struct jinja_node *node)
{
    static const struct {
        const char *filter, *kind;
        uint32_t at;
    } table[] = {{"map", "filter", 0},
                 {"select", "test", 0},
                 {"reject", "test", 0},
                 {"selectattr", "test", 1},
                 {"rejectattr", "test", 1}};
    for (size_t i = 0; i < HL_COUNT(table); i++) {
        const struct jinja_node *argument = node->items.first;
        for (uint32_t at = 0; argument && at < table[i].at; at++)
            argument = argument->next;
        if (hl_value_is_text(node->name, table[i].filter) && argument && argument->kind == JINJA_CONST &&
            argument->value.kind == HL_VALUE_STRING)
            return check_builtin(j, table[i].kind, argument->value, node->line);
    }
    return 0;
}

/* Emits a filter or test; `value` is already emitted. */
static int emit_builtin(struct jinja *j, const struct jinja_node *node, const char *kind, uint32_t value, uint32_t *out)
{
    struct row row = {0};
    if (check_builtin(j, kind, node->name, node->line) ||
        (node->kind == JINJA_FILTER && check_named_builtin(j, node)) || add(j, &row, value) ||
        emit_items(j, &node->items, &row))
        return -1;
    uint32_t builtin = hl_build_builtin(j->build, kind, node->name.text, node->name.n);
    *out = put(j, HL_NODE_BUILTIN, node->line, builtin, hl_build_list(j->build, row.nodes, row.n), 0);
    return 0;
}

/* Emits filters in a row, of which the first gets `value`. */
static int emit_filters(struct jinja *j, const struct jinja_node *node, uint32_t value, uint32_t *out)
{
    if (!node) {
        *out = value;
        return 0;
    }
    return emit_filters(j, node->a, value, &value) ? -1 : emit_builtin(j, node, "filter", value, out);
}

static int emit_slice(struct jinja *j, const struct jinja_node *node, uint32_t object, uint32_t *out)
{
    const struct jinja_node *parts[3] = {node->b->a, node->b->b, node->b->c};
    uint32_t nodes[3];
    for (int i = 0; i < 3; i++) {
        nodes[i] = parts[i] ? 0 : put(j, HL_NODE_CONSTANT, node->line, constant(j, hl_none()), 0, 0);
        if (parts[i] && emit(j, parts[i], &nodes[i]))
            return -1;
    }
    *out = put(j, HL_NODE_SLICE, node->line, object, hl_build_list(j->build, nodes, 3), 0);
    return 0;
}

/* Emits the kinds that are a node of the section with the same children. */
static int emit_plain(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    static const uint8_t kinds[] = {
        [JINJA_KEYWORD] = HL_NODE_KEYWORD,
        [JINJA_SPREAD] = HL_NODE_SPREAD,
        [JINJA_UNARY] = HL_NODE_UNARY,
        [JINJA_BINARY] = HL_NODE_BINARY,
        [JINJA_NOT] = HL_NODE_NOT,
        [JINJA_AND] = HL_NODE_AND,
        [JINJA_OR] = HL_NODE_OR,
        [JINJA_COMPARE] = HL_NODE_COMPARE,
        [JINJA_COMPARAND] = HL_NODE_COMPARAND,
        [JINJA_CONCAT] = HL_NODE_CONCAT,
        [JINJA_CONDITION] = HL_NODE_CONDITION,
        [JINJA_LIST] = HL_NODE_LIST,
        [JINJA_TUPLE] = HL_NODE_TUPLE,
        [JINJA_DICT] = HL_NODE_DICT,
    };
    uint32_t a = 0, b = 0, c = node->kind == JINJA_CONDITION ? HL_NONE : 0, list = 0;
    if ((node->a && emit(j, node->a, &a)) || (node->b && emit(j, node->b, &b)) || (node->c && emit(j, node->c, &c)))
        return -1;
    bool listed = node->kind == JINJA_COMPARE || (node->kind >= JINJA_CONCAT && node->kind != JINJA_CONDITION);
    if (listed && emit_list(j, &node->items, &list))
        return -1;
    if (node->kind == JINJA_KEYWORD) {
        b = a;
        a = text(j, node->name);
    } else if (node->kind == JINJA_COMPARE) {
        b = list;
    } else if (listed) {
        a = list;
    }
    *out = hl_build_node(j->build, kinds[node->kind], node->op, node->line, a, b, c);
    return 0;
}

static int emit_here(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    uint32_t a = 0, b = 0;
    switch (node->kind) {
    case JINJA_CONST:
        *out = put(j, HL_NODE_CONSTANT, node->line, constant(j, node->value), 0, 0);
        return 0;
    case JINJA_LOAD:
        *out = emit_name(j, j->scope, node->name, node->line);
        return 0;
    case JINJA_ATTRIBUTE:
        if (emit(j, node->a, &a))
            return -1;
        *out = put(j, HL_NODE_ATTRIBUTE, node->line, a, text(j, node->name), 0);
        return 0;
    case JINJA_ITEM:
        if (emit(j, node->a, &a))
            return -1;
        if (node->b->kind == JINJA_SLICE)
            return emit_slice(j, node, a, out);
        if (emit(j, node->b, &b))
            return -1;
        *out = put(j, HL_NODE_ITEM, node->line, a, b, 0);
        return 0;
    case JINJA_CALL:
        if (check_callee(j, node->a) || emit(j, node->a, &a) || emit_list(j, &node->items, &b))
            return -1;
        *out = put(j, HL_NODE_CALL, node->line, a, b, 0);
        return 0;
    case JINJA_FILTER:
    case JINJA_TEST:
        return emit(j, node->a, &a) ? -1
                                    : emit_builtin(j, node, node->kind == JINJA_FILTER ? "filter" : "test", a, out);
    default:
        return emit_plain(j, node, out);
    }
}

static int emit(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    if (j->depth >= 2 * JINJA_MAX_LEVELS)
        return jinja_fail(j, node->line, "this is nested too deeply");
    j->depth++;
    int failed = emit_here(j, node, out);
    j->depth--;
    return failed;
}

/* Statements */

static int emit_statements(struct jinja *j, const struct jinja_list *body, struct row *out);

static uint32_t block(struct jinja *j, const struct row *row, uint32_t line)
{
    return row->n == 1 ? row->nodes[0] : put(j, HL_NODE_BLOCK, line, hl_build_list(j->build, row->nodes, row->n), 0, 0);
}

static int emit_block(struct jinja *j, const struct jinja_list *body, uint32_t line, uint32_t *out)
{
    struct row row = {0};
    if (emit_statements(j, body, &row))
        return -1;
    *out = block(j, &row, line);
    return 0;
}

/* Emits the current scope, once everything in it is known: the first values, then its statements. */
static int emit_scope(struct jinja *j, const struct jinja_list *body, uint32_t line, uint32_t *out)
{
    struct row row = {0};
    if (emit_begin(j, line, &row) || emit_statements(j, body, &row))
        return -1;
    *out = block(j, &row, line);
    return 0;
}

static uint32_t emit_capture(struct jinja *j, uint32_t body, uint32_t line)
{
    return put(j, HL_NODE_CAPTURE, line, body, 0, 0);
}

/* Emits a loop's condition in a scope of its own, with a separate target. */
static int emit_condition(struct jinja *j, const struct jinja_node *node, struct hl_template_loop *loop)
{
    struct row begin = {0};
    loop->condition = loop->candidate = HL_NONE;
    if (!node->c)
        return 0;
    if (!jinja_scope_open(j, NULL) || jinja_scope_parameters(j, node->a) || jinja_scope_expression(j, node->c) ||
        emit_begin(j, node->line, &begin) || emit(j, node->a, &loop->candidate) || emit(j, node->c, &loop->condition))
        return -1;
    jinja_scope_close(j);
    return 0;
}

/* Emits the loop in the current scope; `iterable` is already emitted. */
static int emit_loop(struct jinja *j, const struct jinja_node *node, uint32_t iterable, uint32_t *out)
{
    static const char name[] = "loop";
    struct hl_template_loop loop = {.iterable = iterable, .otherwise = HL_NONE, .slot = HL_NONE};
    const struct jinja_scope *where;
    bool extended = node->op || jinja_scope_uses(&node->items, name);
    if (emit_condition(j, node, &loop))
        return -1;
    if (!jinja_scope_open(j, NULL) || (extended && jinja_scope_parameter(j, hl_string(name, 4))) ||
        jinja_scope_parameters(j, node->a) || jinja_scope_body(j, &node->items) || jinja_scope_slots(j) ||
        emit(j, node->a, &loop.target) || emit_scope(j, &node->items, node->line, &loop.body))
        return -1;
    const struct jinja_symbol *variable = jinja_scope_find(j->scope, hl_string(name, 4), &where);
    if (extended && variable)
        loop.slot = variable->slot;
    jinja_scope_close(j);
    if (node->more.n) {
        if (!jinja_scope_open(j, NULL) || jinja_scope_body(j, &node->more) ||
            emit_scope(j, &node->more, node->line, &loop.otherwise))
            return -1;
        jinja_scope_close(j);
    }
    *out = put(j, HL_NODE_FOR, node->line, hl_build_loop(j->build, &loop), 0, 0);
    return 0;
}

/* Functions. A function's scope is open from begin_function() to end_function(). */

struct pending {
    struct jinja_function function;
    struct hl_template_function code;
    uint32_t index;
    struct row parameters;
};

static int begin_function(struct jinja *j, struct pending *p, struct hl_value name)
{
    *p = (struct pending){.function.level = j->scope->function->level + 1, .code.name = HL_NONE};
    if (name.n)
        p->code.name = text(j, name);
    p->index = hl_build_function(j->build);
    return jinja_scope_open(j, &p->function) ? 0 : -1;
}

/* Ends a function whose `body` is emitted; *out is the callable value. */
static void end_function(struct jinja *j, struct pending *p, uint32_t body, uint32_t line, uint32_t *out)
{
    p->code.parameters = hl_build_list(j->build, p->parameters.nodes, p->parameters.n);
    p->code.body = body;
    p->code.slots = p->function.slots ? p->function.slots : 1;
    hl_build_set_function(j->build, p->index, &p->code);
    jinja_scope_close(j);
    *out = put(j, HL_NODE_FUNCTION, line, p->index, 0, 0);
}

/* Emits {% for ... recursive %}: prints function(iterable). */
static int emit_recursive(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    static const char name[] = " items"; /* a name that no template can have */
    struct hl_value items = hl_string(name, sizeof name - 1);
    struct pending p;
    uint32_t iterable = 0, body = 0, function = 0;
    if (emit(j, node->b, &iterable) || begin_function(j, &p, hl_string("", 0)) || jinja_scope_parameter(j, items) ||
        jinja_scope_slots(j) || emit_loop(j, node, emit_name(j, j->scope, items, node->line), &body) ||
        add(j, &p.parameters, put(j, HL_NODE_PARAMETER, node->line, text(j, items), HL_NONE, 0)))
        return -1;
    p.code.flags = HL_FUNCTION_LOOP;
    end_function(j, &p, body, node->line, &function);
    uint32_t call = put(j, HL_NODE_CALL, node->line, function, hl_build_list(j->build, &iterable, 1), 0);
    *out = put(j, HL_NODE_OUTPUT, node->line, call, 0, 0);
    return 0;
}

static int emit_for(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    uint32_t iterable = 0;
    if (node->op)
        return emit_recursive(j, node, out);
    return emit(j, node->b, &iterable) || emit_loop(j, node, iterable, out) ? -1 : 0;
}

/* Declares `caller`, `kwargs` and `varargs` if the body uses them and no parameter has the name. */
static int declare_specials(struct jinja *j, const struct jinja_node *node, struct pending *p)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } specials[] = {{"caller", HL_FUNCTION_CALLER}, {"kwargs", HL_FUNCTION_KWARGS}, {"varargs", HL_FUNCTION_VARARGS}};
    for (int i = 0; i < 3; i++) {
        struct hl_value name = hl_string(specials[i].name, strlen(specials[i].name));
        const struct jinja_node *parameter = node->others.first;
        while (parameter && !hl_value_is_text(parameter->name, specials[i].name))
            parameter = parameter->next;
        bool used = jinja_scope_uses(&node->items, specials[i].name);
        if (used && parameter && i == 0 && !parameter->a)
            return jinja_fail(j, node->line, "a parameter 'caller' needs a default");
        if (!used || parameter)
            continue;
        if (jinja_scope_parameter(j, name) || jinja_scope_slots(j))
            return -1;
        p->code.flags |= specials[i].flag;
    }
    return 0;
}

/* Emits a macro, or the `caller` of a call block. */
static int emit_function(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    struct pending p;
    uint32_t value, body = 0;
    if (begin_function(j, &p, node->name))
        return -1;
    for (const struct jinja_node *parameter = node->others.first; parameter; parameter = parameter->next)
        if (jinja_scope_parameter(j, parameter->name) || jinja_scope_slots(j))
            return -1;
    if (declare_specials(j, node, &p))
        return -1;
    for (const struct jinja_node *parameter = node->others.first; parameter; parameter = parameter->next)
        if (jinja_scope_expression(j, parameter->a))
            return -1;
    if (jinja_scope_body(j, &node->items) || jinja_scope_slots(j))
        return -1;
    for (const struct jinja_node *parameter = node->others.first; parameter; parameter = parameter->next) {
        value = HL_NONE;
        if ((parameter->a && emit(j, parameter->a, &value)) ||
            add(j, &p.parameters, put(j, HL_NODE_PARAMETER, parameter->line, text(j, parameter->name), value, 0)))
            return -1;
    }
    if (emit_scope(j, &node->items, node->line, &body))
        return -1;
    end_function(j, &p, body, node->line, out);
    return 0;
}

static int emit_call_block(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    struct row row = {0};
    uint32_t caller = 0, callee = 0, call;
    if (emit_function(j, node, &caller))
        return -1;
    if (!node->a) { /* generation: prints the block's own output */
        call = put(j, HL_NODE_CALL, node->line, caller, hl_build_list(j->build, NULL, 0), 0);
    } else {
        uint32_t keyword = put(j, HL_NODE_KEYWORD, node->line, hl_build_text(j->build, "caller", 6), caller, 0);
        if (check_callee(j, node->a->a) || emit(j, node->a->a, &callee) || emit_items(j, &node->a->items, &row) ||
            add(j, &row, keyword))
            return -1;
        call = put(j, HL_NODE_CALL, node->line, callee, hl_build_list(j->build, row.nodes, row.n), 0);
    }
    *out = put(j, HL_NODE_OUTPUT, node->line, call, 0, 0);
    return 0;
}

/* Emits filters over the output of a block. Their arguments belong to the block's scope. */
static int emit_filter_block(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    uint32_t body = 0, value = 0;
    if (!jinja_scope_open(j, NULL) || jinja_scope_body(j, &node->items) || jinja_scope_expression(j, node->a) ||
        emit_scope(j, &node->items, node->line, &body) ||
        emit_filters(j, node->a, emit_capture(j, body, node->line), &value))
        return -1;
    jinja_scope_close(j);
    *out = put(j, HL_NODE_OUTPUT, node->line, value, 0, 0);
    return 0;
}

static int emit_set_block(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    uint32_t body = 0, value = 0, target = 0;
    if (!jinja_scope_open(j, NULL) || jinja_scope_body(j, &node->items) || jinja_scope_expression(j, node->b) ||
        emit_scope(j, &node->items, node->line, &body) ||
        emit_filters(j, node->b, emit_capture(j, body, node->line), &value))
        return -1;
    jinja_scope_close(j);
    if (emit(j, node->a, &target))
        return -1;
    *out = put(j, HL_NODE_SET, node->line, target, value, 0);
    return 0;
}

/* Emits `with`. Its values belong to the outer scope. */
static int emit_with(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    struct jinja_scope *outer = j->scope, *inner = jinja_scope_open(j, NULL);
    struct row row = {0};
    uint32_t target = 0, value = 0;
    if (!inner)
        return -1;
    for (const struct jinja_node *set = node->others.first; set; set = set->next)
        if (jinja_scope_parameters(j, set->a))
            return -1;
    if (jinja_scope_body(j, &node->items) || emit_begin(j, node->line, &row))
        return -1;
    for (const struct jinja_node *set = node->others.first; set; set = set->next) {
        j->scope = outer;
        if (emit(j, set->b, &value))
            return -1;
        j->scope = inner;
        if (emit(j, set->a, &target) || add(j, &row, put(j, HL_NODE_SET, set->line, target, value, 0)))
            return -1;
    }
    if (emit_statements(j, &node->items, &row))
        return -1;
    jinja_scope_close(j);
    *out = block(j, &row, node->line);
    return 0;
}

static int emit_if(struct jinja *j, const struct jinja_node *node, const struct jinja_node *elif,
                   const struct jinja_list *otherwise, uint32_t *out)
{
    uint32_t test = 0, body = 0, other = HL_NONE;
    if (j->depth >= JINJA_MAX_LEVELS)
        return jinja_fail(j, node->line, "more than %u branches of an if", JINJA_MAX_LEVELS);
    if (emit(j, node->a, &test) || emit_block(j, &node->items, node->line, &body))
        return -1;
    j->depth++;
    if (elif ? emit_if(j, elif, elif->next, otherwise, &other)
             : otherwise->n && emit_block(j, otherwise, node->line, &other))
        return -1;
    j->depth--;
    *out = put(j, HL_NODE_IF, node->line, test, body, other);
    return 0;
}

static int emit_statement(struct jinja *j, const struct jinja_node *node, uint32_t *out)
{
    uint32_t a = 0, b = 0;
    switch (node->kind) {
    case JINJA_TEXT:
        *out = put(j, HL_NODE_TEXT, node->line, text(j, node->value), 0, 0);
        return 0;
    case JINJA_PRINT:
        if (emit(j, node->a, &a))
            return -1;
        *out = put(j, HL_NODE_OUTPUT, node->line, a, 0, 0);
        return 0;
    case JINJA_FOR:
        return emit_for(j, node, out);
    case JINJA_IF:
        return emit_if(j, node, node->others.first, &node->more, out);
    case JINJA_SET:
        if (emit(j, node->b, &b) || emit(j, node->a, &a))
            return -1;
        *out = put(j, HL_NODE_SET, node->line, a, b, 0);
        return 0;
    case JINJA_SET_BLOCK:
        return emit_set_block(j, node, out);
    case JINJA_MACRO:
        if (emit_function(j, node, &b))
            return -1;
        *out = put(j, HL_NODE_SET, node->line, emit_name(j, j->scope, node->name, node->line), b, 0);
        return 0;
    case JINJA_CALL_BLOCK:
        return emit_call_block(j, node, out);
    case JINJA_FILTER_BLOCK:
        return emit_filter_block(j, node, out);
    case JINJA_WITH:
        return emit_with(j, node, out);
    default:
        *out = put(j, node->kind == JINJA_BREAK ? HL_NODE_BREAK : HL_NODE_CONTINUE, node->line, 0, 0, 0);
        return 0;
    }
}

static int emit_statements(struct jinja *j, const struct jinja_list *body, struct row *out)
{
    uint32_t node = 0;
    for (const struct jinja_node *statement = body->first; statement; statement = statement->next)
        if (emit_statement(j, statement, &node) || add(j, out, node))
            return -1;
    return 0;
}

int jinja_emit(struct jinja *j, const struct jinja_list *body)
{
    struct jinja_function function = {0};
    uint32_t node = 0;
    if (!jinja_scope_open(j, &function) || jinja_scope_body(j, body) || emit_scope(j, body, 1, &node))
        return -1;
    struct hl_template_function code = {.name = HL_NONE, .body = node};
    code.parameters = hl_build_list(j->build, NULL, 0);
    code.slots = function.slots ? function.slots : 1;
    hl_build_set_function(j->build, 0, &code);
    return 0;
}

#define MEMORY ((size_t)128 << 20) /* of the compiler */
#define WORK ((uint64_t)64 << 20)

static int compile(struct jinja *j, const char *source, size_t n, const struct hl_jinja_global *globals,
                   size_t n_globals)
{
    struct jinja_list body = {0};
    if (jinja_lex(j, source, n) || jinja_parse(j, &body))
        return -1;
    for (size_t i = 0; i < n_globals; i++)
        hl_build_global(j->build, globals[i].name, strlen(globals[i].name), globals[i].value, strlen(globals[i].value));
    return jinja_emit(j, &body);
}

int hl_jinja_compile(const char *source, size_t n, const struct hl_jinja_global *globals, size_t n_globals,
                     struct hl_bytes *out, struct hl_error *err)
{
    HL_BUILD struct hl_build *build = hl_build_new(HL_TEMPLATE_JINJA);
    struct jinja j = {.build = build, .err = err};
    if (!build)
        return hl_no_memory(err);
    if (n > HL_JINJA_MAX_BYTES)
        return hl_fail(err, "chat template: %zu bytes, more than %zu", n, HL_JINJA_MAX_BYTES);
    hl_arena_init(&j.arena, MEMORY, WORK);
    struct hl_bytes section = {0};
    struct hl_template *opened = NULL;
    int failed = compile(&j, source, n, globals, n_globals) ||
                 hl_build_finish(build, &section.data, &section.size, err) ||
                 hl_template_open(section.data, section.size, &opened, err);
    hl_arena_release(&j.arena);
    hl_template_close(opened);
    if (failed) {
        free(section.data);
        return -1;
    }
    *out = section;
    return 0;
}
