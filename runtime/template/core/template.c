/* Opens a section. One pass over its tables checks everything in it, so that the interpreter follows indices without
 * checks. Only variables are checked at each use, because only then the frame is known.
 *
 * A node's children are stored before it. So one pass from the start knows every child's depth, and cycles are
 * impossible.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/template/core/eval.h"
#include "runtime/template/core/run.h"
#include <utf8proc.h>

enum field { NOTHING, NODE, NODE_OR_NONE, LIST, CONSTANT, STRING, ANY, NAME, BUILTIN, FUNCTION, LOOP };

static const struct {
    uint8_t a, b, c, ops; /* enum field; op is below `ops` */
} shapes[HL_NODE_KINDS] = {
    [HL_NODE_CONSTANT] = {CONSTANT, NOTHING, NOTHING, 1},
    [HL_NODE_VARIABLE] = {ANY, ANY, STRING, 1},
    [HL_NODE_NAME] = {NAME, NOTHING, NOTHING, 1},
    [HL_NODE_ATTRIBUTE] = {NODE, STRING, NOTHING, 1},
    [HL_NODE_ITEM] = {NODE, NODE, NOTHING, 1},
    [HL_NODE_SLICE] = {NODE, LIST, NOTHING, 1},
    [HL_NODE_CALL] = {NODE, LIST, NOTHING, 1},
    [HL_NODE_BUILTIN] = {BUILTIN, LIST, NOTHING, 1},
    [HL_NODE_KEYWORD] = {STRING, NODE, NOTHING, 1},
    [HL_NODE_SPREAD] = {NODE, NOTHING, NOTHING, 2},
    [HL_NODE_UNARY] = {NODE, NOTHING, NOTHING, HL_UNARY_COUNT},
    [HL_NODE_BINARY] = {NODE, NODE, NOTHING, HL_BINARY_COUNT},
    [HL_NODE_NOT] = {NODE, NOTHING, NOTHING, 1},
    [HL_NODE_AND] = {NODE, NODE, NOTHING, 1},
    [HL_NODE_OR] = {NODE, NODE, NOTHING, 1},
    [HL_NODE_COMPARE] = {NODE, LIST, NOTHING, 1},
    [HL_NODE_COMPARAND] = {NODE, NOTHING, NOTHING, HL_COMPARE_COUNT},
    [HL_NODE_CONCAT] = {LIST, NOTHING, NOTHING, 1},
    [HL_NODE_CONDITION] = {NODE, NODE, NODE_OR_NONE, 1},
    [HL_NODE_LIST] = {LIST, NOTHING, NOTHING, 1},
    [HL_NODE_TUPLE] = {LIST, NOTHING, NOTHING, 1},
    [HL_NODE_DICT] = {LIST, NOTHING, NOTHING, 1},
    [HL_NODE_FUNCTION] = {FUNCTION, NOTHING, NOTHING, 1},
    [HL_NODE_CAPTURE] = {NODE, NOTHING, NOTHING, 1},
    [HL_NODE_TEXT] = {STRING, NOTHING, NOTHING, 1},
    [HL_NODE_OUTPUT] = {NODE, NOTHING, NOTHING, 1},
    [HL_NODE_BLOCK] = {LIST, NOTHING, NOTHING, 1},
    [HL_NODE_IF] = {NODE, NODE, NODE_OR_NONE, 1},
    [HL_NODE_FOR] = {LOOP, NOTHING, NOTHING, 1},
    [HL_NODE_SET] = {NODE, NODE, NOTHING, 1},
    [HL_NODE_BREAK] = {NOTHING, NOTHING, NOTHING, 1},
    [HL_NODE_CONTINUE] = {NOTHING, NOTHING, NOTHING, 1},
    [HL_NODE_PARAMETER] = {STRING, NODE_OR_NONE, NOTHING, 1},
};

/* State of the check of a section. */
struct check {
    const struct hl_template_header *h;
    struct hl_template *t;
    uint16_t *depths; /* of the nodes checked so far */
    struct hl_error *err;
};

static int check_table(const struct hl_template_table *table, uint64_t element, size_t bytes, const char *name,
                       struct hl_error *err)
{
    if (table->offset % 8 || table->offset < sizeof(struct hl_template_header) ||
        !hl_in_range(table->offset, table->count * element, bytes))
        return hl_fail(err, "template section: table %s (%u elements at %u) does not lie inside the %zu bytes", name,
                       table->count, table->offset, bytes);
    return 0;
}

static int check_header(const struct hl_template_header *h, size_t bytes, struct hl_error *err)
{
    static const uint8_t zero[sizeof h->reserved];
    if (bytes < sizeof *h || bytes % 8 || (uintptr_t)h % 8 || bytes > HL_TEMPLATE_MAX_BYTES)
        return hl_fail(err, "template section: %zu bytes, truncated, too large or not aligned", bytes);
    if (memcmp(h->magic, HL_TEMPLATE_MAGIC, sizeof h->magic))
        return hl_fail(err, "template section: wrong magic");
    if (h->version != HL_TEMPLATE_VERSION)
        return hl_fail(err, "template section: version %u, this program reads %u", h->version, HL_TEMPLATE_VERSION);
    if (h->language >= HL_TEMPLATE_LANGUAGES || memcmp(h->reserved, zero, sizeof zero))
        return hl_fail(err, "template section: unknown language or reserved bytes");
    const struct {
        const struct hl_template_table *table;
        const char *name;
        size_t element;
    } tables[] = {
        {&h->nodes, "nodes", sizeof(struct hl_node)},
        {&h->lists, "lists", sizeof(uint32_t)},
        {&h->constants, "constants", sizeof(struct hl_template_constant)},
        {&h->functions, "functions", sizeof(struct hl_template_function)},
        {&h->loops, "loops", sizeof(struct hl_template_loop)},
        {&h->builtins, "builtins", sizeof(uint32_t)},
        {&h->names, "names", sizeof(uint32_t)},
        {&h->globals, "globals", sizeof(struct hl_template_global)},
        {&h->text, "text", 1},
    };
    for (size_t i = 0; i < HL_COUNT(tables); i++)
        if (check_table(tables[i].table, tables[i].element, bytes, tables[i].name, err))
            return -1;
    return 0;
}

static bool is_string(const struct check *c, uint32_t constant)
{
    return constant < c->h->constants.count && c->t->constants[constant].kind == HL_CONSTANT_TEXT;
}

static int check_constants(const struct check *c)
{
    const char *text = c->t->text;
    for (uint32_t i = 0; i < c->h->constants.count; i++) {
        const struct hl_template_constant *k = &c->t->constants[i];
        bool is_text = k->kind == HL_CONSTANT_TEXT;
        if (k->kind >= HL_CONSTANT_KINDS || (!is_text && k->bytes) || (k->kind < HL_CONSTANT_INT && k->value) ||
            (is_text && !hl_in_range(k->value, k->bytes, c->h->text.count)))
            return hl_fail(c->err, "template section: constant %u is invalid", i);
        utf8proc_int32_t code;
        utf8proc_ssize_t n;
        for (uint64_t at = k->value; is_text && at < k->value + k->bytes; at += (uint64_t)n) {
            n = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(k->value + k->bytes - at),
                                 &code);
            if (n < 0)
                return hl_fail(c->err, "template section: constant %u is not UTF-8", i);
        }
    }
    return 0;
}

/* Checks a child of the element at `before`, whose depth becomes at least one more than the child's. */
static bool check_child(const struct check *c, uint32_t child, uint32_t before, uint16_t *depth)
{
    if (child >= before)
        return false;
    if (c->depths[child] >= *depth)
        *depth = (uint16_t)(c->depths[child] + 1);
    return true;
}

static bool check_list(const struct check *c, uint32_t list, uint32_t before, uint16_t *depth)
{
    uint32_t count = c->h->lists.count;
    if (list >= count || c->t->lists[list] > count - list - 1)
        return false;
    for (uint32_t i = 1; i <= c->t->lists[list]; i++)
        if (!check_child(c, c->t->lists[list + i], before, depth))
            return false;
    return true;
}

/* Checks that the function's body and parameters are stored before the node that makes the function. */
static bool check_function(const struct check *c, uint32_t index, uint32_t before, uint16_t *depth)
{
    if (index >= c->h->functions.count)
        return false;
    const struct hl_template_function *f = &c->t->functions[index];
    if (!check_list(c, f->parameters, before, depth) || !check_child(c, f->body, before, depth))
        return false;
    const uint32_t *parameters = c->t->lists + f->parameters;
    for (uint32_t i = 1; i <= parameters[0]; i++)
        if (c->t->nodes[parameters[i]].kind != HL_NODE_PARAMETER)
            return false;
    uint32_t taken = parameters[0];
    for (uint32_t flag = HL_FUNCTION_CALLER; flag <= HL_FUNCTION_VARARGS; flag <<= 1)
        taken += (f->flags & flag) != 0;
    return f->slots >= taken && f->slots <= HL_TEMPLATE_MAX_SLOTS && f->slots && f->flags <= HL_FUNCTION_FLAGS &&
           !f->reserved && (f->name == HL_NONE || is_string(c, f->name)) &&
           (!(f->flags & HL_FUNCTION_LOOP) || parameters[0] == 1);
}

static bool check_loop(const struct check *c, uint32_t index, uint32_t before, uint16_t *depth)
{
    if (index >= c->h->loops.count)
        return false;
    const struct hl_template_loop *loop = &c->t->loops[index];
    bool sound = check_child(c, loop->target, before, depth) && check_child(c, loop->iterable, before, depth) &&
                 check_child(c, loop->body, before, depth) &&
                 (loop->otherwise == HL_NONE || check_child(c, loop->otherwise, before, depth));
    if (loop->condition == HL_NONE)
        return sound && loop->candidate == HL_NONE && !loop->reserved;
    return sound && check_child(c, loop->condition, before, depth) && !loop->reserved &&
           check_child(c, loop->candidate, before, depth);
}

static bool check_field(const struct check *c, enum field kind, uint32_t value, uint32_t before, uint16_t *depth)
{
    switch (kind) {
    case NOTHING:
        return value == 0;
    case NODE_OR_NONE:
        return value == HL_NONE || check_child(c, value, before, depth);
    case NODE:
        return check_child(c, value, before, depth);
    case LIST:
        return check_list(c, value, before, depth);
    case CONSTANT:
        return value < c->h->constants.count;
    case STRING:
        return is_string(c, value);
    case NAME:
        return value < c->h->names.count;
    case BUILTIN:
        return value < c->h->builtins.count;
    case FUNCTION:
        return check_function(c, value, before, depth);
    case LOOP:
        return check_loop(c, value, before, depth);
    default:
        return true;
    }
}

/* Checks the elements of a node's list by the node's kind. */
static bool check_elements(const struct check *c, const struct hl_node *node)
{
    const uint32_t *list = c->t->lists + node->b;
    if (node->kind == HL_NODE_SLICE)
        return list[0] == 3;
    if (node->kind == HL_NODE_DICT)
        return c->t->lists[node->a] % 2 == 0;
    for (uint32_t i = 1; node->kind == HL_NODE_COMPARE && i <= list[0]; i++)
        if (c->t->nodes[list[i]].kind != HL_NODE_COMPARAND)
            return false;
    return true;
}

static bool is_operator(uint8_t kind)
{
    return kind == HL_NODE_UNARY || kind == HL_NODE_BINARY || kind == HL_NODE_COMPARE || kind == HL_NODE_SLICE;
}

static int check_nodes(const struct check *c)
{
    for (uint32_t i = 0; i < c->h->nodes.count; i++) {
        const struct hl_node *node = &c->t->nodes[i];
        uint16_t depth = 1;
        if (node->kind >= HL_NODE_KINDS || (is_operator(node->kind) && !c->t->dialect->operators) ||
            node->op >= shapes[node->kind].ops || !check_field(c, shapes[node->kind].a, node->a, i, &depth) ||
            !check_field(c, shapes[node->kind].b, node->b, i, &depth) ||
            !check_field(c, shapes[node->kind].c, node->c, i, &depth) || !check_elements(c, node))
            return hl_fail(c->err, "template section: node %u (kind %u, line %u) is invalid", i, node->kind,
                           node->line);
        if (depth > HL_TEMPLATE_MAX_DEPTH)
            return hl_fail(c->err, "template section: line %u is nested more than %u levels deep", node->line,
                           HL_TEMPLATE_MAX_DEPTH);
        c->depths[i] = depth;
    }
    uint16_t depth = 1;
    if (!check_function(c, 0, c->h->nodes.count, &depth) || c->t->lists[c->t->functions[0].parameters])
        return hl_fail(c->err, "template section: the body is missing");
    return 0;
}

/* Finds the function of each "filter NAME". */
static int find_builtins(const struct check *c)
{
    for (uint32_t i = 0; i < c->h->builtins.count; i++) {
        const uint32_t *table = (const void *)((const uint8_t *)c->h + c->h->builtins.offset);
        char kind[16] = "";
        if (!is_string(c, table[i]))
            return hl_fail(c->err, "template section: builtin %u has no name", i);
        const struct hl_template_constant *k = &c->t->constants[table[i]];
        const char *text = c->t->text + k->value, *space = memchr(text, ' ', k->bytes);
        size_t n = space ? (size_t)(space - text) : 0;
        if (n && n < sizeof kind) {
            memcpy(kind, text, n);
            c->t->builtins[i] = hl_builtin_find(c->t->dialect, kind, space + 1, k->bytes - n - 1);
        }
        if (!c->t->builtins[i])
            return hl_fail(c->err, "template section: this program lacks the %.*s that it calls",
                           k->bytes < 100 ? (int)k->bytes : 100, text);
    }
    return 0;
}

static int check_names(const struct check *c)
{
    for (uint32_t i = 0; i < c->h->names.count; i++)
        if (!is_string(c, c->t->names[i]))
            return hl_fail(c->err, "template section: name %u is not a text", i);
    for (uint32_t i = 0; i < c->h->globals.count; i++)
        if (!is_string(c, c->t->globals[i].name) || !is_string(c, c->t->globals[i].value))
            return hl_fail(c->err, "template section: global %u is not a text", i);
    return 0;
}

int hl_template_open(const void *section, size_t bytes, struct hl_template **out, struct hl_error *err)
{
    const struct hl_template_header *h = section;
    const uint8_t *base = section;
    if (check_header(h, bytes, err))
        return -1;
    struct hl_template *t = calloc(1, sizeof *t + h->builtins.count * sizeof(void *));
    HL_FREE uint16_t *depths = calloc(h->nodes.count + 1u, sizeof *depths);
    if (!t || !depths) {
        free(t);
        return hl_no_memory(err);
    }
    *t = (struct hl_template){
        .header = h,
        .nodes = (const void *)(base + h->nodes.offset),
        .lists = (const void *)(base + h->lists.offset),
        .constants = (const void *)(base + h->constants.offset),
        .functions = (const void *)(base + h->functions.offset),
        .loops = (const void *)(base + h->loops.offset),
        .names = (const void *)(base + h->names.offset),
        .globals = (const void *)(base + h->globals.offset),
        .text = (const char *)base + h->text.offset,
        .dialect = h->language < HL_TEMPLATE_LANGUAGES ? hl_template_dialects[h->language] : NULL,
        .builtins = (void *)(t + 1),
    };
    const struct check check = {h, t, depths, err};
    if (!t->dialect)
        hl_fail(err, "template section: the language is not supported");
    if (!t->dialect || check_constants(&check) || check_names(&check) || find_builtins(&check) || check_nodes(&check)) {
        hl_template_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

void hl_template_close(struct hl_template *t)
{
    free(t);
}

enum hl_template_language hl_template_language(const struct hl_template *t)
{
    return t->header->language;
}

const char *hl_template_name(const struct hl_template *t, size_t index, size_t *n)
{
    if (index >= t->header->names.count)
        return NULL;
    struct hl_value name = hl_template_text(t, t->names[index]);
    *n = name.n;
    return name.text;
}

/* Looks a name up in the context, then in the section's globals, then among the language's functions. */
static int find_name(struct hl_run *run, struct hl_value name, struct hl_value *out)
{
    const struct hl_template *t = run->t;
    const struct hl_value *found = hl_dict_get(run->context.dict, name.text, name.n);
    *out = hl_undefined(HL_UNDEFINED_NAME, name.text, name.n);
    if (found) {
        *out = *found;
        return 0;
    }
    for (uint32_t i = 0; i < t->header->globals.count; i++) {
        struct hl_value global = hl_template_text(t, t->globals[i].name);
        if (global.n == name.n && !memcmp(global.text, name.text, name.n)) {
            *out = hl_template_text(t, t->globals[i].value);
            return 0;
        }
    }
    const struct hl_builtin *function = hl_builtin_find(run->dialect, "function", name.text, name.n);
    if (function) {
        if (hl_object_new(run, HL_OBJECT_BUILTIN, out))
            return -1;
        out->object->builtin = function;
    }
    return 0;
}

static int run_template(struct hl_run *run)
{
    const struct hl_template *t = run->t;
    uint32_t n = t->header->names.count;
    run->names = hl_run_alloc(run, n * sizeof *run->names);
    if (!run->names)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        if (find_name(run, hl_template_text(t, t->names[i]), &run->names[i]))
            return -1;
    run->frame = hl_frame_new(run, NULL, t->functions[0].slots);
    return run->frame && hl_eval_statement(run, t->functions[0].body) >= 0 ? 0 : -1;
}

int hl_template_render(const struct hl_template *t, struct hl_arena *arena, struct hl_value context, int64_t now,
                       char **out, size_t *n, struct hl_error *err)
{
    struct hl_text text = {.arena = arena};
    struct hl_run run = {
        .t = t,
        .dialect = t->dialect,
        .arena = arena,
        .out = &text,
        .context = context,
        .now = now,
        .line = 1,
        .err = err,
    };
    if (context.kind != HL_VALUE_DICT)
        return hl_fail(err, "chat template: the context is not a dict");
    if (run_template(&run))
        return hl_error_prefix(err, "chat template, line %u", run.line);
    if (text.n > HL_TEMPLATE_OUTPUT)
        return hl_fail_as(err, HL_ERROR_REQUEST, "chat template: the output exceeds %zu bytes", HL_TEMPLATE_OUTPUT);
    *out = text.data;
    *n = text.n;
    return 0;
}
