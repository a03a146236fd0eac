/* Compiles the content of an action of a Go template: operands, commands and pipelines become expressions.
 *
 *   $x := .A.B | index (f 1) "k"     declaration, then commands with | between them
 *         ^^^^   ^^^^^ ^^^^^ ^^^     operands, separated by space
 *
 * The number of a function's arguments is checked here, their types when the function runs. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/template/go/go_parse.h"
#include <strings.h>

#define MOST_ARGUMENTS 64u

static const struct rule {
    const char *name;
    uint32_t least, most; /* arguments, including the piped one */
} rules[] = {
    {"and", 1, MOST_ARGUMENTS},
    {"or", 1, MOST_ARGUMENTS},
    {"not", 1, 1},
    {"eq", 2, MOST_ARGUMENTS},
    {"ne", 2, 2},
    {"lt", 2, 2},
    {"le", 2, 2},
    {"gt", 2, 2},
    {"ge", 2, 2},
    {"len", 1, 1},
    {"index", 1, MOST_ARGUMENTS},
    {"slice", 1, 4},
    {"print", 0, MOST_ARGUMENTS},
    {"printf", 1, MOST_ARGUMENTS},
    {"println", 0, MOST_ARGUMENTS},
    {"json", 1, 1},
    {"currentDate", 0, MOST_ARGUMENTS},
    {"yesterdayDate", 0, MOST_ARGUMENTS},
    {"toTypeScriptType", 1, 1},
};

int hl_go_unexpected(struct parser *p, const char *where)
{
    const struct hl_go_lex *lex = &p->lex;
    if (lex->token == HL_GO_END)
        return FAIL(p, "the template ends inside %s", where);
    if (lex->token == HL_GO_CLOSE)
        return FAIL(p, "unexpected end of the action in %s", where);
    return FAIL(p, "unexpected '%.*s' in %s", lex->n < 40 ? (int)lex->n : 40, lex->text, where);
}

int hl_go_expect_close(struct parser *p, const char *where)
{
    return p->lex.token == HL_GO_CLOSE ? next(p) : hl_go_unexpected(p, where);
}

int hl_go_nest(struct parser *p)
{
    return ++p->nesting <= MOST_NESTING ? 0 : FAIL(p, "more than %u nested blocks or parentheses", MOST_NESTING);
}

uint32_t hl_go_value_of(struct parser *p, struct operand operand)
{
    return operand.kind == LITERAL ? operand.node : call(p, "value of", &operand.node, 1);
}

int hl_go_new_slot(struct parser *p, uint32_t *slot)
{
    if (p->function.slots == HL_TEMPLATE_MAX_SLOTS)
        return FAIL(p, "more than %u variables", HL_TEMPLATE_MAX_SLOTS);
    *slot = p->function.slots++;
    return 0;
}

static struct variable *find_variable(struct parser *p, const char *name, size_t n)
{
    for (uint32_t i = p->n_variables; i > p->function.first; i--)
        if (p->variables[i - 1].n == n && !memcmp(p->variables[i - 1].name, name, n))
            return &p->variables[i - 1];
    return NULL;
}

int hl_go_add_variable(struct parser *p, const char *name, size_t n, uint32_t slot)
{
    if (p->n_variables == MOST_VARIABLES)
        return FAIL(p, "more than %u variables", MOST_VARIABLES);
    p->variables[p->n_variables++] = (struct variable){name, n, slot};
    return 0;
}

/* Records, in lower case, a field that the template mentions, for hl_template_name(). */
static void mention(struct parser *p, const char *name, size_t n)
{
    static const char *const fields[] = {
        "messages",   "role",     "content", "thinking",   "images",     "toolcalls",  "toolname",
        "toolcallid", "function", "tools",   "parameters", "properties", "system",     "prompt",
        "suffix",     "response", "think",   "id",         "thinklevel", "isthinkset",
    };
    for (size_t i = 0; i < HL_COUNT(fields); i++)
        if (strlen(fields[i]) == n && !strncasecmp(fields[i], name, n)) {
            hl_build_name(p->b, fields[i], n);
            p->knows_messages = p->knows_messages || !strcmp(fields[i], "messages");
            p->knows_response = p->knows_response || !strcmp(fields[i], "response");
        }
}

/* ---- operands ---- */

/* Parses .A.B after `object`. */
static int parse_fields(struct parser *p, struct operand *out)
{
    bool first = true;
    for (; p->lex.token == HL_GO_FIELD && (first || !p->lex.spaced); first = false) {
        bool known = out->kind == PLACE;
        if (known)
            mention(p, p->lex.text, p->lex.n);
        out->node = node(p, HL_NODE_ATTRIBUTE, out->node, hl_build_text(p->b, p->lex.text, p->lex.n), 0);
        if (next(p) != 0)
            return -1;
    }
    return 0;
}

static int parse_constant(struct parser *p, struct operand *out)
{
    struct hl_go_number number;
    HL_FREE char *text = NULL;
    size_t n;
    out->kind = LITERAL;
    if (p->lex.token == HL_GO_STRING) {
        text = malloc(p->lex.n);
        if (!text)
            return hl_no_memory(p->err);
        if (hl_go_unquote(&p->lex, text, &n, p->err) != 0)
            return -1;
        out->node = hl_build_text(p->b, text, n);
    } else {
        if (hl_go_number(&p->lex, &number, p->err) != 0)
            return -1;
        out->node = number.is_float ? hl_build_float(p->b, number.real) : hl_build_int(p->b, number.integer);
    }
    out->node = node(p, HL_NODE_CONSTANT, out->node, 0, 0);
    return next(p);
}

static int parse_word(struct parser *p, struct operand *out)
{
    static const char refused[] = " call html js urlquery ";
    const char *name = p->lex.text;
    size_t n = p->lex.n;
    bool truth = is_word(p, "true");
    if (truth || is_word(p, "false") || is_word(p, "nil")) {
        out->kind = is_word(p, "nil") ? NIL : LITERAL;
        enum hl_constant_kind kind = out->kind == NIL ? HL_CONSTANT_NONE : truth ? HL_CONSTANT_TRUE : HL_CONSTANT_FALSE;
        out->node = node(p, HL_NODE_CONSTANT, hl_build_constant(p->b, kind), 0, 0);
        return next(p);
    }
    out->kind = FUNCTION;
    out->rule = NULL;
    for (size_t i = 0; i < HL_COUNT(rules); i++)
        if (strlen(rules[i].name) == n && !memcmp(rules[i].name, name, n))
            out->rule = &rules[i];
    if (out->rule)
        return next(p);
    const char *known = memmem(refused, sizeof refused, name, n);
    if (known && known[-1] == ' ' && known[n] == ' ')
        return FAIL(p, "the function \"%.*s\" is not supported", (int)n, name);
    return n < MOST_NAME ? FAIL(p, "function \"%.*s\" not defined", (int)n, name) : hl_go_unexpected(p, "an action");
}

static int parse_variable(struct parser *p, struct operand *out)
{
    const struct variable *found = find_variable(p, p->lex.text, p->lex.n);
    if (!found)
        return FAIL(p, "undefined variable %.*s", p->lex.n < MOST_NAME ? (int)p->lex.n : (int)MOST_NAME, p->lex.text);
    *out = (struct operand){.kind = PLACE, .node = variable(p, found->slot, 0)};
    return next(p);
}

static int parse_parentheses(struct parser *p, struct operand *out)
{
    if (hl_go_nest(p) != 0 || next(p) != 0 || hl_go_pipeline(p, 0, NULL, out) != 0)
        return -1;
    if (!is_sign(p, ")"))
        return hl_go_unexpected(p, "parentheses");
    p->nesting--;
    out->kind = PIPE;
    return next(p);
}

/* Calls a function without arguments that is itself an argument, or whose result's fields are read. */
static int call_alone(struct parser *p, struct operand *operand)
{
    if (operand->kind != FUNCTION)
        return 0;
    if (operand->rule->least > 0)
        return FAIL(p, "%s needs %u or more arguments", operand->rule->name, operand->rule->least);
    *operand = (struct operand){.kind = PIPE, .node = call(p, operand->rule->name, NULL, 0)};
    return 0;
}

static int parse_operand(struct parser *p, struct operand *out)
{
    int result;
    switch (p->lex.token) {
    case HL_GO_STRING:
    case HL_GO_CHAR:
    case HL_GO_NUMBER:
        result = parse_constant(p, out);
        break;
    case HL_GO_WORD:
        result = parse_word(p, out);
        break;
    case HL_GO_VARIABLE:
        result = parse_variable(p, out);
        break;
    case HL_GO_DOT:
    case HL_GO_FIELD:
        *out = (struct operand){.kind = PLACE, .node = variable(p, p->dot, 0)};
        if (p->lex.token == HL_GO_DOT) {
            result = next(p);
            if (result == 0 && p->lex.token == HL_GO_FIELD && !p->lex.spaced)
                return hl_go_unexpected(p, "the text after a dot");
            break;
        }
        p->response = p->response || (p->in_action && hl_go_is(&p->lex, HL_GO_FIELD, "Response"));
        return parse_fields(p, out);
    default:
        result = is_sign(p, "(") ? parse_parentheses(p, out) : hl_go_unexpected(p, "an action");
    }
    if (result != 0 || p->lex.token != HL_GO_FIELD || p->lex.spaced)
        return result;
    if (out->kind == LITERAL || out->kind == NIL)
        return FAIL(p, "a constant has no field %.*s", p->lex.n < MOST_NAME ? (int)p->lex.n : (int)MOST_NAME,
                    p->lex.text);
    if (call_alone(p, out) != 0)
        return -1;
    out->node = out->kind == PIPE ? hl_go_value_of(p, *out) : out->node;
    return parse_fields(p, out);
}

/* ---- pipelines ---- */

static int call_function(struct parser *p, const struct rule *rule, const uint32_t *arguments, uint32_t n,
                         struct operand *out)
{
    if (n < rule->least || n > rule->most)
        return FAIL(p, "%s with %u arguments: it takes %u to %u", rule->name, n, rule->least, rule->most);
    enum hl_node_kind kind = !strcmp(rule->name, "and") ? HL_NODE_AND : HL_NODE_OR;
    bool decides = kind == HL_NODE_AND || !strcmp(rule->name, "or");
    out->kind = PIPE;
    out->node = arguments[0];
    for (uint32_t i = 1; decides && i < n; i++)
        out->node = node(p, kind, out->node, arguments[i], 0);
    if (!strcmp(rule->name, "not"))
        out->node = node(p, HL_NODE_NOT, arguments[0], 0, 0);
    else if (!decides)
        out->node = call(p, rule->name, arguments, n);
    return 0;
}

static bool at_end_of_command(const struct parser *p)
{
    return p->lex.token == HL_GO_CLOSE || is_sign(p, ")") || is_sign(p, "|");
}

/* Parses a command; `piped` is the result of the one before, or HL_NONE. */
static int parse_command(struct parser *p, uint32_t piped, struct operand *out)
{
    uint32_t arguments[MOST_ARGUMENTS + 1] = {0}, n = 0;
    if (parse_operand(p, out) != 0)
        return -1;
    if (out->kind != FUNCTION && piped != HL_NONE)
        return FAIL(p, "only a function can take the value of a |");
    while (!at_end_of_command(p)) {
        struct operand argument = {0};
        if (!p->lex.spaced)
            return hl_go_unexpected(p, "an action");
        if (out->kind != FUNCTION)
            return is_sign(p, ":=") || is_sign(p, "=") || is_sign(p, ",") ? hl_go_unexpected(p, "an action")
                                                                          : FAIL(p, "only functions take arguments");
        if (n == MOST_ARGUMENTS)
            return FAIL(p, "more than %u arguments", MOST_ARGUMENTS);
        if (parse_operand(p, &argument) != 0 || call_alone(p, &argument) != 0)
            return -1;
        arguments[n++] = argument.node;
    }
    if (out->kind == NIL)
        return FAIL(p, "nil is not a command");
    if (piped != HL_NONE)
        arguments[n++] = piped;
    return out->kind == FUNCTION ? call_function(p, out->rule, arguments, n, out) : 0;
}

/* Parses $a := or $a, $b := (up to `most` of them), or the same with =. Reads nothing if there is no declaration. */
static int parse_declaration(struct parser *p, uint32_t most, struct declaration *declared)
{
    struct hl_go_lex bookmark = p->lex;
    declared->n = 0;
    while (p->lex.token == HL_GO_VARIABLE) {
        struct variable name = {p->lex.text, p->lex.n, 0};
        if (next(p) != 0)
            return -1;
        bool more = is_sign(p, ","), last = is_sign(p, ":=") || is_sign(p, "=");
        if (!more && !last)
            break;
        if (declared->n == most)
            return most ? FAIL(p, "too many variables") : FAIL(p, "variables cannot be declared or assigned here");
        declared->variables[declared->n++] = name;
        declared->assigns = is_sign(p, "=");
        if (next(p) != 0)
            return -1;
        if (last)
            return 0;
    }
    if (declared->n > 0)
        return hl_go_unexpected(p, "a declaration");
    p->lex = bookmark;
    return 0;
}

/* Assigns slots to declared variables, or finds those that are assigned to. */
static int resolve(struct parser *p, struct declaration *declared)
{
    for (uint32_t i = 0; i < declared->n; i++) {
        struct variable *name = &declared->variables[i];
        const struct variable *found = declared->assigns ? find_variable(p, name->name, name->n) : NULL;
        if (declared->assigns && !found)
            return FAIL(p, "undefined variable %.*s", name->n < MOST_NAME ? (int)name->n : (int)MOST_NAME, name->name);
        if (found)
            name->slot = found->slot;
        else if (hl_go_new_slot(p, &name->slot) != 0 || hl_go_add_variable(p, name->name, name->n, name->slot) != 0)
            return -1;
    }
    return 0;
}

int hl_go_pipeline(struct parser *p, uint32_t most, struct declaration *declared, struct operand *out)
{
    struct declaration none = {0};
    if (!declared)
        declared = &none;
    if (parse_declaration(p, most, declared) != 0)
        return -1;
    if (at_end_of_command(p))
        return hl_go_unexpected(p, "a pipeline");
    if (parse_command(p, HL_NONE, out) != 0)
        return -1;
    for (uint32_t stages = 1; is_sign(p, "|"); stages++) {
        if (stages == MOST_ARGUMENTS)
            return FAIL(p, "more than %u commands in a pipeline", MOST_ARGUMENTS);
        if (next(p) != 0)
            return -1;
        if (p->lex.token == HL_GO_CLOSE || is_sign(p, ")"))
            break; /* Go accepts a | at the end */
        if (parse_command(p, out->node, out) != 0)
            return -1;
    }
    return resolve(p, declared);
}
