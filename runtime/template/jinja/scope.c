/* Decides where names are stored. jinja2 compiles a template to Python. It decides then, scope by scope, whether a name
 * is a variable of the scope, one of an outer scope, or comes from the context. Its results for names that are both
 * read and set depend on that. This file does the same, by the rules of jinja2/idtracking.py
 * (https://github.com/pallets/jinja):
 *
 * - A scope is analysed as a whole before it is compiled; scopes within it only when they are reached.
 * - A name that is read and that no enclosing scope knows comes from the context, with its value at the scope's begin.
 * - A name that is set is a variable of this scope. It begins as the variable of the outer scope that has it, so the
 *   next round forgets what a loop's body sets. Without such a variable it begins undefined, with one exception: a name
 *   that is set only in branches of an `if` begins with its value in the context.
 */
#include "runtime/template/jinja/jinja_ast.h"

static bool same(struct hl_value a, struct hl_value b)
{
    return a.n == b.n && !memcmp(a.text, b.text, a.n);
}

static struct jinja_symbol *own(const struct jinja_scope *scope, struct hl_value name)
{
    for (struct jinja_symbol *s = scope->symbols; s; s = s->next)
        if (same(s->name, name))
            return s;
    return NULL;
}

const struct jinja_symbol *jinja_scope_find(const struct jinja_scope *from, struct hl_value name,
                                            const struct jinja_scope **where)
{
    for (; from; from = from->parent) {
        const struct jinja_symbol *symbol = own(from, name);
        if (symbol) {
            *where = from;
            return symbol;
        }
    }
    return NULL;
}

static bool is_known(const struct jinja_scope *scope, struct hl_value name)
{
    const struct jinja_scope *where;
    return jinja_scope_find(scope, name, &where) != NULL;
}

struct jinja_scope *jinja_scope_open(struct jinja *j, struct jinja_function *function)
{
    struct jinja_scope *scope = hl_arena_alloc(&j->arena, sizeof *scope);
    if (!scope) {
        hl_arena_full(&j->arena, j->err);
        return NULL;
    }
    *scope = (struct jinja_scope){.parent = j->scope, .function = function ? function : j->scope->function};
    j->scope = scope;
    return scope;
}

void jinja_scope_close(struct jinja *j)
{
    j->scope = j->scope->parent;
}

static struct jinja_symbol *define(struct jinja *j, struct hl_value name, enum jinja_load load)
{
    if (j->n_symbols++ >= JINJA_MAX_SYMBOLS) {
        hl_fail(j->err, "chat template: more than %u names", JINJA_MAX_SYMBOLS);
        return NULL;
    }
    struct jinja_symbol *symbol = hl_arena_alloc(&j->arena, sizeof *symbol);
    if (!symbol) {
        hl_arena_full(&j->arena, j->err);
        return NULL;
    }
    *symbol = (struct jinja_symbol){.name = name, .load = load, .slot = HL_NONE, .next = j->scope->symbols};
    j->scope->symbols = symbol;
    return symbol;
}

static int load(struct jinja *j, struct hl_value name)
{
    if (hl_arena_pay(&j->arena, 1, j->err))
        return -1;
    return is_known(j->scope, name) || define(j, name, JINJA_LOAD_CONTEXT) ? 0 : -1;
}

static int store(struct jinja *j, struct hl_value name)
{
    struct jinja_symbol *symbol = own(j->scope, name);
    if (!symbol) {
        bool outer = j->scope->parent && is_known(j->scope->parent, name);
        symbol = define(j, name, outer ? JINJA_LOAD_OUTER : JINJA_LOAD_UNDEFINED);
    }
    if (!symbol)
        return -1;
    symbol->stored = true;
    return hl_arena_pay(&j->arena, 1, j->err);
}

int jinja_scope_parameter(struct jinja *j, struct hl_value name)
{
    struct jinja_symbol *symbol = own(j->scope, name);
    if (!symbol && !(symbol = define(j, name, JINJA_LOAD_PARAMETER)))
        return -1;
    symbol->load = JINJA_LOAD_PARAMETER;
    symbol->stored = true;
    return 0;
}

/* Visits a target: its names are stored, or are parameters; the namespace of an attribute is loaded. */
static int visit_target(struct jinja *j, const struct jinja_node *node, bool parameters)
{
    if (node->kind == JINJA_LOAD)
        return parameters ? jinja_scope_parameter(j, node->name) : store(j, node->name);
    if (node->kind == JINJA_ATTRIBUTE)
        return load(j, node->a->name);
    for (const struct jinja_node *item = node->items.first; item; item = item->next)
        if (visit_target(j, item, parameters))
            return -1;
    return 0;
}

int jinja_scope_parameters(struct jinja *j, const struct jinja_node *target)
{
    return visit_target(j, target, true);
}

static int visit(struct jinja *j, const struct jinja_node *node, unsigned depth)
{
    if (!node)
        return 0;
    if (depth >= JINJA_MAX_LEVELS)
        return jinja_fail(j, node->line, "an expression of more than %u levels is not supported", JINJA_MAX_LEVELS);
    if (node->kind == JINJA_LOAD)
        return load(j, node->name);
    if (visit(j, node->a, depth + 1) || visit(j, node->b, depth + 1) || visit(j, node->c, depth + 1))
        return -1;
    for (const struct jinja_node *item = node->items.first; item; item = item->next)
        if (visit(j, item, depth + 1))
            return -1;
    return 0;
}

int jinja_scope_expression(struct jinja *j, const struct jinja_node *node)
{
    return visit(j, node, 0);
}

/* Branches. Each is analysed with the symbols known before the `if`; then the symbols of all branches are joined.
 * Symbols are added only at the front of their list. So a branch's own symbols are those before the ones that existed
 * already. */

struct branches {
    struct jinja_symbol *before;  /* known before the `if` */
    struct jinja_symbol *found;   /* added by the branches so far */
    struct jinja_symbol **stored; /* copies of the marks of `before` */
};

static struct jinja_symbol *find_before(struct jinja_symbol *from, const struct jinja_symbol *end, struct hl_value name)
{
    for (struct jinja_symbol *s = from; s != end; s = s->next)
        if (same(s->name, name))
            return s;
    return NULL;
}

/* Removes the symbols that the current branch has added from the scope and joins them with those of other branches. */
static int leave_branch(struct jinja *j, struct branches *b)
{
    struct jinja_symbol *symbol = j->scope->symbols, *next;
    for (; symbol != b->before; symbol = next) {
        struct jinja_symbol *other = find_before(b->found, NULL, symbol->name);
        next = symbol->next;
        if (hl_arena_pay(&j->arena, 1, j->err))
            return -1;
        if (other) {
            other->load = symbol->load;
            other->stored = other->stored || symbol->stored;
        } else {
            symbol->next = b->found;
            b->found = symbol;
        }
    }
    j->scope->symbols = b->before;
    return 0;
}

static int visit_statement(struct jinja *j, const struct jinja_node *node);

static int visit_branch(struct jinja *j, const struct jinja_list *body, struct branches *b)
{
    return jinja_scope_body(j, body) || leave_branch(j, b) ? -1 : 0;
}

/* Sets the first value of a name that branches store. */
static void load_outer(struct jinja *j, struct jinja_symbol *symbol)
{
    bool outer = j->scope->parent && is_known(j->scope->parent, symbol->name);
    symbol->load = outer ? JINJA_LOAD_OUTER : JINJA_LOAD_CONTEXT;
}

static size_t mark_unstored(struct jinja *j, struct branches *b)
{
    size_t n = 0;
    for (struct jinja_symbol *s = b->before; s; s = s->next)
        n += !s->stored;
    b->stored = hl_arena_alloc(&j->arena, n * sizeof *b->stored);
    if (!b->stored)
        return SIZE_MAX;
    n = 0;
    for (struct jinja_symbol *s = b->before; s; s = s->next)
        if (!s->stored)
            b->stored[n++] = s;
    return n;
}

static int visit_if(struct jinja *j, const struct jinja_node *node)
{
    struct branches b = {.before = j->scope->symbols};
    struct jinja_symbol *next;
    if (jinja_scope_expression(j, node->a))
        return -1;
    b.before = j->scope->symbols;
    size_t n = mark_unstored(j, &b);
    if (n == SIZE_MAX)
        return hl_arena_full(&j->arena, j->err);
    if (hl_arena_pay(&j->arena, n, j->err) || visit_branch(j, &node->items, &b))
        return -1;
    for (const struct jinja_node *other = node->others.first; other; other = other->next) {
        if (visit_statement(j, other) || leave_branch(j, &b))
            return -1;
    }
    if (visit_branch(j, &node->more, &b))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (b.stored[i]->stored)
            load_outer(j, b.stored[i]);
    for (struct jinja_symbol *s = b.found; s; s = next) {
        next = s->next;
        if (s->stored)
            load_outer(j, s);
        s->next = j->scope->symbols;
        j->scope->symbols = s;
    }
    return 0;
}

static int visit_statement(struct jinja *j, const struct jinja_node *node)
{
    switch (node->kind) {
    case JINJA_PRINT:
        return jinja_scope_expression(j, node->a);
    case JINJA_IF:
        return visit_if(j, node);
    case JINJA_FOR:
        return jinja_scope_expression(j, node->b);
    case JINJA_SET:
        return jinja_scope_expression(j, node->b) || visit_target(j, node->a, false) ? -1 : 0;
    case JINJA_SET_BLOCK:
        return visit_target(j, node->a, false);
    case JINJA_MACRO:
        return store(j, node->name);
    case JINJA_CALL_BLOCK:
    case JINJA_FILTER_BLOCK:
        return jinja_scope_expression(j, node->a);
    case JINJA_WITH:
        for (const struct jinja_node *set = node->others.first; set; set = set->next)
            if (jinja_scope_expression(j, set->b))
                return -1;
        return 0;
    default:
        return 0;
    }
}

int jinja_scope_body(struct jinja *j, const struct jinja_list *body)
{
    for (const struct jinja_node *node = body->first; node; node = node->next)
        if (visit_statement(j, node))
            return -1;
    return 0;
}

int jinja_scope_slots(struct jinja *j)
{
    struct jinja_function *function = j->scope->function;
    for (struct jinja_symbol *s = j->scope->symbols; s; s = s->next)
        if (s->stored && s->slot == HL_NONE)
            s->slot = function->slots++;
    return function->slots <= HL_TEMPLATE_MAX_SLOTS
               ? 0
               : hl_fail(j->err, "chat template: more than %u variables", HL_TEMPLATE_MAX_SLOTS);
}

/* jinja2 reads in this order and stops at the first store; see UndeclaredNameVisitor in its compiler. */

enum found { NOT_YET, LOADED, STORED };

static enum found uses(const struct jinja_node *node, const char *name, unsigned depth);

static enum found list_uses(const struct jinja_list *list, const char *name, unsigned depth)
{
    enum found found = NOT_YET;
    for (const struct jinja_node *node = list->first; node && !found; node = node->next)
        found = uses(node, name, depth);
    return found;
}

static enum found target_uses(const struct jinja_node *node, const char *name)
{
    enum found found = NOT_YET;
    if (node->kind == JINJA_LOAD)
        return hl_value_is_text(node->name, name) ? STORED : NOT_YET;
    for (const struct jinja_node *item = node->items.first; item && !found; item = item->next)
        found = target_uses(item, name);
    return found;
}

/* Finds whether a node uses a name. Nodes that are too deep count as unused: the analysis of their scope refuses them.
 */
static enum found uses(const struct jinja_node *node, const char *name, unsigned depth)
{
    enum found found = NOT_YET;
    bool targets = node->kind == JINJA_FOR || node->kind == JINJA_SET || node->kind == JINJA_SET_BLOCK;
    if (depth++ >= 2 * JINJA_MAX_LEVELS)
        return NOT_YET;
    if (node->kind == JINJA_LOAD)
        return hl_value_is_text(node->name, name) ? LOADED : NOT_YET;
    if (node->kind == JINJA_PARAMETER && hl_value_is_text(node->name, name))
        return STORED;
    if (node->a)
        found = targets ? target_uses(node->a, name) : uses(node->a, name, depth);
    if (!found && node->b)
        found = uses(node->b, name, depth);
    if (!found && node->c)
        found = uses(node->c, name, depth);
    if (!found)
        found = list_uses(&node->others, name, depth);
    if (!found)
        found = list_uses(&node->items, name, depth);
    return found ? found : list_uses(&node->more, name, depth);
}

bool jinja_scope_uses(const struct jinja_list *body, const char *name)
{
    return list_uses(body, name, 0) == LOADED;
}
