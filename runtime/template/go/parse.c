/* Compiles the tokens of a Go template to the tree (hotlayer/template_section.h), in one pass.
 *
 *   {{ $x := f a b | g }}   SET x = value of(BUILTIN g(BUILTIN f(a, b)))        a piped value is the last argument
 *   {{ .A.B }}              OUTPUT ATTRIBUTE(ATTRIBUTE(dot, A), B)
 *   {{ with p }}            SET dot' = p; IF dot' ... with dot' as the dot
 *   {{ range $i, $v := p }} FOR (i, dot') in range of(p): SET v = dot'; ...     "range of" makes pairs
 *   {{ define "n" }}        a function with one parameter, its dot; a slot of the main function holds it
 *
 * The dot and every variable are slots; $ and the dot of a function are its slot 0. "value of" and "range of" are
 * builtins whose names no template can write. "value of" does Go's step at the end of a pipeline: a nil that came
 * out of a map becomes no value, so its fields are not errors.
 *
 * The last turn of a template without .Messages ends after the first .Response (gotemplate.h). The statements after it,
 * in its list and in all enclosing lists, become conditional on "not the last turn". So one tree serves both. */
#include "base/cleanup.h"
#include "runtime/template/go/go_parse.h"
#include "runtime/template/go/gotemplate.h"
#include <utf8proc.h>

struct nodes {
    uint32_t *at;
    size_t n, room;
};

static int parse_list(struct parser *p, uint32_t *out, bool *blank);

static void free_nodes(struct nodes *nodes)
{
    free(nodes->at);
}

#define NODES __attribute__((cleanup(free_nodes)))

static int push(struct parser *p, struct nodes *nodes, uint32_t node)
{
    if (nodes->n == nodes->room) {
        size_t room = nodes->room ? 2 * nodes->room : 8;
        uint32_t *at = realloc(nodes->at, room * sizeof *at);
        if (!at)
            return hl_no_memory(p->err);
        nodes->at = at;
        nodes->room = room;
    }
    nodes->at[nodes->n++] = node;
    return 0;
}

/* ---- control structures ---- */

/* Makes a statement not run in the last turn, if .Response has occurred in the template itself. */
static uint32_t unless_last(struct parser *p, uint32_t statement)
{
    uint32_t last = node(p, HL_NODE_NAME, hl_build_name(p->b, "last turn", 9), 0, 0);
    return node(p, HL_NODE_IF, node(p, HL_NODE_NOT, last, 0, 0), statement, HL_NONE);
}

/* Parses a list that ends with {{end}} or {{else}}, with its own scope. */
static int parse_branch(struct parser *p, uint32_t *out)
{
    uint32_t variables = p->n_variables;
    if (hl_go_nest(p) != 0 || parse_list(p, out, NULL) != 0)
        return -1;
    p->nesting--;
    p->n_variables = variables;
    return p->lex.token == HL_GO_END ? hl_go_unexpected(p, "a block that needs its {{end}}") : 0;
}

/* Parses {{end}}, {{else}}...{{end}}, or {{else WORD ...}}, where `chained` parses what WORD begins. The action is
 * open. */
static int parse_else(struct parser *p, const char *word, int (*chained)(struct parser *, uint32_t *), uint32_t *out)
{
    bool cut = p->cut;
    *out = HL_NONE;
    if (is_word(p, "end"))
        return next(p) != 0 ? -1 : hl_go_expect_close(p, "{{end}}");
    if (next(p) != 0)
        return -1;
    if (word && is_word(p, word)) {
        if (hl_go_nest(p) != 0 || next(p) != 0 || chained(p, out) != 0)
            return -1;
        p->nesting--;
    } else {
        if (hl_go_expect_close(p, "{{else}}") != 0 || parse_branch(p, out) != 0)
            return -1;
        if (!is_word(p, "end"))
            return hl_go_unexpected(p, "{{else}}, which needs its {{end}}");
        if (next(p) != 0 || hl_go_expect_close(p, "{{end}}") != 0)
            return -1;
    }
    if (cut && !p->function.defined)
        *out = unless_last(p, *out);
    return 0;
}

/* Parses the condition of `if` into a declaring statement (or HL_NONE) and an expression. */
static int parse_condition(struct parser *p, const char *what, uint32_t *before, struct operand *out)
{
    struct declaration declared;
    if (hl_go_pipeline(p, 1, &declared, out) != 0)
        return -1;
    *before = HL_NONE;
    if (declared.n) {
        *before = set(p, declared.variables[0].slot, hl_go_value_of(p, *out));
        *out = (struct operand){.kind = PLACE, .node = variable(p, declared.variables[0].slot, 0)};
    }
    return hl_go_expect_close(p, what);
}

static int parse_if(struct parser *p, uint32_t *out)
{
    struct operand condition;
    uint32_t variables = p->n_variables, line = p->line, statements[2], then, otherwise;
    if (parse_condition(p, "{{if}}", &statements[0], &condition) != 0 || parse_branch(p, &then) != 0 ||
        parse_else(p, "if", parse_if, &otherwise) != 0)
        return -1;
    p->n_variables = variables;
    p->line = line;
    statements[1] = node(p, HL_NODE_IF, condition.node, then, otherwise);
    *out = statements[0] == HL_NONE ? statements[1] : block(p, statements, 2);
    return 0;
}

static int parse_with(struct parser *p, uint32_t *out)
{
    struct operand value;
    uint32_t variables = p->n_variables, outer = p->dot, dot = 0, statements[3], n = 0;
    uint32_t line = p->line, then, otherwise;
    if (parse_condition(p, "{{with}}", &statements[0], &value) != 0 || hl_go_new_slot(p, &dot) != 0)
        return -1;
    n += statements[0] != HL_NONE;
    statements[n++] = set(p, dot, hl_go_value_of(p, value));
    p->dot = dot;
    if (parse_branch(p, &then) != 0)
        return -1;
    p->dot = outer;
    if (parse_else(p, "with", parse_with, &otherwise) != 0)
        return -1;
    p->n_variables = variables;
    p->line = line;
    statements[n++] = node(p, HL_NODE_IF, variable(p, dot, 0), then, otherwise);
    *out = block(p, statements, n);
    return 0;
}

/* Parses `range`. Its variables first have the whole value, which {{else}} sees, then those of each pair. */
static int parse_range(struct parser *p, uint32_t *out)
{
    struct declaration declared;
    struct operand value;
    struct hl_template_loop loop = {.condition = HL_NONE, .candidate = HL_NONE, .slot = HL_NONE};
    uint32_t variables = p->n_variables, outer = p->dot, line = p->line, dot = 0, key = 0, statements[3], n = 0,
             body[2], inside = 0;
    if (hl_go_pipeline(p, 2, &declared, &value) != 0 || hl_go_expect_close(p, "{{range}}") != 0 ||
        hl_go_new_slot(p, &dot) != 0 || hl_go_new_slot(p, &key) != 0)
        return -1;
    const struct variable *item = declared.n ? &declared.variables[declared.n - 1] : NULL;
    if (item) {
        statements[n++] = set(p, item->slot, hl_go_value_of(p, value));
        value.node = variable(p, item->slot, 0);
        body[inside++] = set(p, item->slot, variable(p, dot, 0));
    }
    if (declared.n == 2) {
        key = declared.variables[0].slot;
        statements[n++] = set(p, key, value.node);
    }
    uint32_t arguments[2] = {value.node, node(p, HL_NODE_CONSTANT, hl_build_int(p->b, declared.n), 0, 0)};
    uint32_t targets[2] = {variable(p, key, 0), variable(p, dot, 0)};
    loop.iterable = call(p, "range of", arguments, 2);
    loop.target = node(p, HL_NODE_TUPLE, hl_build_list(p->b, targets, 2), 0, 0);
    p->dot = dot;
    p->function.loops++;
    if (parse_branch(p, &body[inside++]) != 0)
        return -1;
    p->function.loops--;
    p->dot = outer;
    loop.body = block(p, body, inside);
    if (parse_else(p, NULL, NULL, &loop.otherwise) != 0)
        return -1;
    p->n_variables = variables;
    p->line = line;
    statements[n++] = node(p, HL_NODE_FOR, hl_build_loop(p->b, &loop), 0, 0);
    *out = block(p, statements, n);
    return 0;
}

static int parse_leave(struct parser *p, uint32_t *out)
{
    bool leaves = is_word(p, "break");
    const char *word = leaves ? "{{break}}" : "{{continue}}";
    if (p->function.loops == 0)
        return FAIL(p, "%s outside {{range}}", word);
    *out = node(p, leaves ? HL_NODE_BREAK : HL_NODE_CONTINUE, 0, 0, 0);
    return next(p) != 0 ? -1 : hl_go_expect_close(p, word);
}

/* ---- nested templates ---- */

/* Returns the template of this name; adds it if it is new. */
static struct definition *named(struct parser *p, const char *name, size_t n)
{
    for (uint32_t i = 0; i < p->n_definitions; i++)
        if (p->definitions[i].n == n && !memcmp(p->definitions[i].name, name, n))
            return &p->definitions[i];
    struct definition *fresh = p->n_definitions < MOST_TEMPLATES ? &p->definitions[p->n_definitions] : NULL;
    char *copy = fresh ? malloc(n) : NULL;
    if (!copy) {
        FAIL(p, "more than %u templates", MOST_TEMPLATES);
        return NULL;
    }
    memcpy(copy, name, n);
    *fresh = (struct definition){copy, n, ++p->n_definitions, HL_NONE, p->lex.token_line, false};
    return fresh;
}

/* Returns the template that the token names, or NULL. Skips the token. */
static struct definition *find_definition(struct parser *p)
{
    HL_FREE char *name = malloc(p->lex.n + 1);
    struct definition *found = NULL;
    size_t n;
    if (!name)
        hl_no_memory(p->err);
    else if (p->lex.token != HL_GO_STRING)
        hl_go_unexpected(p, "the place of a template's name, a string");
    else if (hl_go_unquote(&p->lex, name, &n, p->err) != 0)
        return NULL;
    else if (n == 0 || n > MOST_NAME)
        FAIL(p, "a template's name must have 1 to %u bytes", MOST_NAME);
    else
        found = named(p, name, n);
    return found && next(p) == 0 ? found : NULL;
}

/* Parses the content of {{define}} or {{block}}, up to its {{end}}. */
static int parse_definition(struct parser *p, struct definition *definition)
{
    const struct function outer = p->function;
    uint32_t dot = p->dot, body, parameter;
    bool blank;
    p->function = (struct function){.defined = true, .slots = 1, .first = p->n_variables};
    p->dot = 0;
    if (hl_go_nest(p) != 0 || hl_go_add_variable(p, "$", 1, 0) != 0 || parse_list(p, &body, &blank) != 0)
        return -1;
    if (!is_word(p, "end"))
        return hl_go_unexpected(p, "a template that needs its {{end}}");
    parameter = node(p, HL_NODE_PARAMETER, hl_build_text(p->b, "dot", 3), HL_NONE, 0);
    const struct hl_template_function built = {
        .name = HL_NONE, .parameters = hl_build_list(p->b, &parameter, 1), .body = body, .slots = p->function.slots};
    if (definition->function != HL_NONE && !definition->blank && !blank)
        return FAIL(p, "the template \"%.*s\" is defined twice", (int)definition->n, definition->name);
    if (definition->function == HL_NONE || definition->blank) {
        definition->function = hl_build_function(p->b);
        definition->blank = blank;
        hl_build_set_function(p->b, definition->function, &built);
    }
    p->nesting--;
    p->n_variables = p->function.first;
    p->function = outer;
    p->dot = dot;
    return next(p) != 0 ? -1 : hl_go_expect_close(p, "{{end}}");
}

/* Emits a call of a template; `dot` is its argument. */
static uint32_t call_template(struct parser *p, const struct definition *definition, uint32_t dot)
{
    uint32_t called = variable(p, definition->slot, p->function.defined ? 1 : 0);
    return node(p, HL_NODE_OUTPUT, node(p, HL_NODE_CALL, called, hl_build_list(p->b, &dot, 1), 0), 0, 0);
}

static int parse_template(struct parser *p, bool defines, uint32_t *out)
{
    struct declaration declared = {0};
    struct operand argument = {LITERAL, 0, NULL};
    struct definition *definition = next(p) == 0 ? find_definition(p) : NULL;
    if (!definition)
        return -1;
    if (p->lex.token != HL_GO_CLOSE || defines) {
        if (hl_go_pipeline(p, 1, &declared, &argument) != 0)
            return -1;
    } else {
        argument.node = node(p, HL_NODE_CONSTANT, hl_build_constant(p->b, HL_CONSTANT_UNDEFINED), 0, 0);
    }
    uint32_t statements[2], value = hl_go_value_of(p, argument), n = 0;
    if (declared.n) {
        statements[n++] = set(p, declared.variables[0].slot, value);
        value = variable(p, declared.variables[0].slot, 0);
    }
    statements[n++] = call_template(p, definition, value);
    *out = block(p, statements, n);
    if (hl_go_expect_close(p, defines ? "{{block}}" : "{{template}}") != 0)
        return -1;
    return defines ? parse_definition(p, definition) : 0;
}

/* ---- lists ---- */

/* Parses {{ pipeline }}, which prints, unless it declares or assigns. */
static int parse_plain_action(struct parser *p, uint32_t *out)
{
    struct declaration declared;
    struct operand value = {0};
    p->in_action = !p->function.defined;
    if (hl_go_pipeline(p, 1, &declared, &value) != 0)
        return -1;
    p->in_action = false;
    *out = declared.n ? set(p, declared.variables[0].slot, hl_go_value_of(p, value))
                      : node(p, HL_NODE_OUTPUT, value.node, 0, 0);
    if (p->lex.token != HL_GO_CLOSE)
        return hl_go_unexpected(p, "an action");
    return next(p);
}

/* Parses an open action that is not {{end}}, {{else}} or {{define}}. */
static int parse_action(struct parser *p, uint32_t *out)
{
    bool controls = is_word(p, "if") || is_word(p, "with") || is_word(p, "range");
    int (*parse)(struct parser *, uint32_t *) = is_word(p, "if")     ? parse_if
                                                : is_word(p, "with") ? parse_with
                                                                     : parse_range;
    if (controls)
        return next(p) != 0 ? -1 : parse(p, out);
    if (is_word(p, "break") || is_word(p, "continue"))
        return parse_leave(p, out);
    if (is_word(p, "template") || is_word(p, "block"))
        return parse_template(p, is_word(p, "block"), out);
    return parse_plain_action(p, out);
}

static bool is_blank(const char *text, size_t n)
{
    while (n > 0 && strchr(" \t\r\n\v\f", text[n - 1]))
        n--;
    return n == 0;
}

/* Parses {{define}} at the top level of the template. */
static int parse_define(struct parser *p)
{
    struct definition *definition = next(p) == 0 ? find_definition(p) : NULL;
    if (!definition || hl_go_expect_close(p, "{{define}}") != 0)
        return -1;
    return parse_definition(p, definition);
}

/* Parses up to the end of the text, {{end or {{else. *blank says whether the list has only space. */
static int parse_list(struct parser *p, uint32_t *out, bool *blank)
{
    NODES struct nodes before = {0}, behind = {0};
    bool cut = p->cut, nothing = true;
    while (p->lex.token != HL_GO_END) {
        uint32_t statement = 0;
        bool is_behind = !cut && p->cut;
        p->line = p->lex.token_line;
        if (p->lex.token == HL_GO_TEXT) {
            nothing = nothing && is_blank(p->lex.text, p->lex.n);
            statement = node(p, HL_NODE_TEXT, hl_build_text(p->b, p->lex.text, p->lex.n), 0, 0);
            if (next(p) != 0)
                return -1;
        } else {
            if (next(p) != 0)
                return -1;
            if (is_word(p, "end") || is_word(p, "else"))
                break;
            if (is_word(p, "define") && p->nesting == 0) {
                if (parse_define(p) != 0)
                    return -1;
                continue;
            }
            nothing = false;
            if (parse_action(p, &statement) != 0)
                return -1;
        }
        if (push(p, is_behind ? &behind : &before, statement) != 0)
            return -1;
        p->cut = p->cut || p->response;
    }
    if (behind.n > 0 && push(p, &before, unless_last(p, block(p, behind.at, behind.n))) != 0)
        return -1;
    *out = block(p, before.at, before.n);
    if (blank)
        *blank = nothing;
    return 0;
}

/* ---- the template itself ---- */

/* Emits the main function: the data and the templates get into their slots, then the template's own list runs. */
static int build_main(struct parser *p, uint32_t list)
{
    NODES struct nodes nodes = {0};
    uint32_t data = node(p, HL_NODE_NAME, hl_build_name(p->b, "data", 4), 0, 0);
    if (push(p, &nodes, set(p, 0, data)) != 0)
        return -1;
    for (uint32_t i = 0; i < p->n_definitions; i++) {
        const struct definition *d = &p->definitions[i];
        p->lex.token_line = p->line = d->line;
        if (d->function == HL_NONE)
            return FAIL(p, "the template \"%.*s\" is not defined", (int)d->n, d->name);
        if (push(p, &nodes, set(p, d->slot, node(p, HL_NODE_FUNCTION, d->function, 0, 0))) != 0)
            return -1;
    }
    if (push(p, &nodes, list) != 0)
        return -1;
    if (!p->knows_messages && !p->knows_response) {
        uint32_t response = hl_build_text(p->b, "Response", 8);
        response = node(p, HL_NODE_ATTRIBUTE, variable(p, 0, 0), response, 0);
        if (push(p, &nodes, node(p, HL_NODE_OUTPUT, response, 0, 0)) != 0)
            return -1;
    }
    const struct hl_template_function built = {.name = HL_NONE,
                                               .parameters = hl_build_list(p->b, NULL, 0),
                                               .body = block(p, nodes.at, nodes.n),
                                               .slots = p->function.slots};
    hl_build_set_function(p->b, 0, &built);
    return 0;
}

static int parse(struct parser *p)
{
    uint32_t list = 0;
    if (next(p) != 0 || hl_go_add_variable(p, "$", 1, 0) != 0 || parse_list(p, &list, NULL) != 0)
        return -1;
    if (p->lex.token != HL_GO_END)
        return hl_go_unexpected(p, "the template, outside any block");
    return build_main(p, list);
}

static int check_text(const char *source, size_t n, struct hl_error *err)
{
    if (n > HL_GOTEMPLATE_MAX_BYTES)
        return hl_fail_as(err, HL_ERROR_REQUEST, "template: larger than %u bytes", HL_GOTEMPLATE_MAX_BYTES);
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t bytes =
            utf8proc_iterate((const utf8proc_uint8_t *)source + i, (utf8proc_ssize_t)(n - i), &code);
        if (bytes < 1 || code == 0)
            return hl_fail_as(err, HL_ERROR_REQUEST, "template: byte %zu is %s", i, bytes < 1 ? "not UTF-8" : "NUL");
        i += (size_t)bytes;
    }
    return 0;
}

/* Opens the section to check the tree's depth and the section's size, since pipes and arguments add levels too. */
static int check_section(uint8_t **section, size_t bytes, struct hl_error *err)
{
    struct hl_template *t;
    if (hl_template_open(*section, bytes, &t, err) != 0) {
        free(*section);
        *section = NULL;
        err->kind = HL_ERROR_REQUEST;
        return hl_error_prefix(err, "template: too deep or too large");
    }
    hl_template_close(t);
    return 0;
}

int hl_gotemplate_compile(const char *source, size_t n, uint8_t **out, size_t *bytes, struct hl_error *err)
{
    if (check_text(source, n, err) != 0)
        return -1;
    HL_BUILD struct hl_build *b = hl_build_new(HL_TEMPLATE_GO);
    HL_FREE struct parser *p = calloc(1, sizeof *p);
    if (!b || !p)
        return hl_no_memory(err);
    p->b = b;
    p->err = err;
    p->function.slots = 1 + MOST_TEMPLATES;
    hl_go_lex_start(&p->lex, source, n);
    int result = parse(p);
    for (uint32_t i = 0; i < p->n_definitions; i++)
        free(p->definitions[i].name);
    if (result != 0)
        return -1;
    return hl_build_finish(b, out, bytes, err) != 0 ? -1 : check_section(out, *bytes, err);
}
