/* Parses Jinja's expressions: recursive descent, a function for each level of precedence, as in jinja2/parser.py. */
#include "runtime/template/jinja/jinja_ast.h"

struct jinja_node *jinja_new(struct jinja *j, enum jinja_kind kind, uint32_t line)
{
    struct jinja_node *node = hl_arena_alloc(&j->arena, sizeof *node);
    if (!node) {
        hl_arena_full(&j->arena, j->err);
        return NULL;
    }
    *node = (struct jinja_node){.kind = kind, .line = line};
    return node;
}

bool jinja_skip(struct jinja *j, enum jinja_token_kind kind, const char *text)
{
    bool is = jinja_is(j, kind, text);
    j->at += is;
    return is;
}

/* Describes the token for messages. */
static const char *describe(const struct jinja_token *token, char text[64])
{
    static const char *const names[] = {
        [JINJA_END] = "the end of the template",
        [JINJA_DATA] = "text",
        [JINJA_VARIABLE_BEGIN] = "{{",
        [JINJA_VARIABLE_END] = "}}",
        [JINJA_BLOCK_BEGIN] = "{%",
        [JINJA_BLOCK_END] = "%}",
        [JINJA_CONSTANT] = "a constant",
    };
    if (token->kind < JINJA_NAME || token->kind == JINJA_CONSTANT)
        return names[token->kind];
    snprintf(text, 64, "'%.*s'", (int)(token->value.n < 50 ? token->value.n : 50), token->value.text);
    return text;
}

int jinja_expect(struct jinja *j, enum jinja_token_kind kind, const char *text)
{
    const struct jinja_token *token = jinja_look(j);
    char found[64], wanted[64];
    if (token->kind == kind && (!text || hl_value_is_text(token->value, text))) {
        j->at++;
        return 0;
    }
    struct jinja_token want = {.kind = kind, .value = hl_string("a name", 6)};
    if (text)
        want.value = hl_string(text, strlen(text));
    return jinja_fail(j, token->line, "expected %s, found %s", describe(&want, wanted), describe(token, found));
}

static bool is_operator(const struct jinja *j, const char *text)
{
    return jinja_is(j, JINJA_OPERATOR, text);
}

static struct jinja_node *unexpected(struct jinja *j)
{
    char found[64];
    jinja_fail(j, jinja_look(j)->line, "unexpected %s", describe(jinja_look(j), found));
    return NULL;
}

/* Makes a node with one child, or returns NULL when the child is NULL. */
static struct jinja_node *single(struct jinja *j, enum jinja_kind kind, unsigned op, uint32_t line,
                                 struct jinja_node *a)
{
    struct jinja_node *node = a ? jinja_new(j, kind, line) : NULL;
    if (node) {
        node->op = op;
        node->a = a;
    }
    return node;
}

/* Makes a node with two children, or returns NULL when b is NULL. */
static struct jinja_node *pair(struct jinja *j, enum jinja_kind kind, unsigned op, uint32_t line, struct jinja_node *a,
                               struct jinja_node *b)
{
    struct jinja_node *node = b ? jinja_new(j, kind, line) : NULL;
    if (node) {
        node->op = op;
        node->a = a;
        node->b = b;
    }
    return node;
}

static struct jinja_node *parse_name(struct jinja *j)
{
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None"};
    const struct jinja_token *token = jinja_look(j);
    struct jinja_node *node = jinja_new(j, JINJA_LOAD, token->line);
    if (!node)
        return NULL;
    j->at++;
    node->name = token->value;
    for (int i = 0; i < 6; i++)
        if (hl_value_is_text(token->value, constants[i])) {
            node->kind = JINJA_CONST;
            node->value = i < 4 ? hl_bool(i < 2) : hl_none();
        }
    return node;
}

/* Parses a constant. Adjacent strings are one. */
static struct jinja_node *parse_constant(struct jinja *j)
{
    const struct jinja_token *token = jinja_look(j);
    struct jinja_node *node = jinja_new(j, JINJA_CONST, token->line);
    struct hl_text text = {.arena = &j->arena};
    if (!node)
        return NULL;
    node->value = token->value;
    if (token->value.kind != HL_VALUE_STRING) {
        j->at++;
        return node;
    }
    for (; token->kind == JINJA_CONSTANT && token->value.kind == HL_VALUE_STRING; token = jinja_look(j)) {
        if (hl_text_put(&text, token->value.text, token->value.n, j->err))
            return NULL;
        j->at++;
    }
    node->value = hl_string(text.data ? text.data : "", text.n);
    return node;
}

static struct jinja_node *parse_list(struct jinja *j)
{
    struct jinja_node *node = jinja_new(j, JINJA_LIST, jinja_look(j)->line), *item;
    j->at++;
    while (node && !is_operator(j, "]")) {
        if (node->items.n && jinja_expect(j, JINJA_OPERATOR, ","))
            return NULL;
        if (is_operator(j, "]"))
            break;
        if (!(item = jinja_expression(j, true)))
            return NULL;
        jinja_append(&node->items, item);
    }
    return node && jinja_expect(j, JINJA_OPERATOR, "]") == 0 ? node : NULL;
}

static struct jinja_node *parse_dict(struct jinja *j)
{
    struct jinja_node *node = jinja_new(j, JINJA_DICT, jinja_look(j)->line), *key, *value;
    j->at++;
    while (node && !is_operator(j, "}")) {
        if (node->items.n && jinja_expect(j, JINJA_OPERATOR, ","))
            return NULL;
        if (is_operator(j, "}"))
            break;
        if (!(key = jinja_expression(j, true)) || jinja_expect(j, JINJA_OPERATOR, ":") ||
            !(value = jinja_expression(j, true)))
            return NULL;
        jinja_append(&node->items, key);
        jinja_append(&node->items, value);
    }
    return node && jinja_expect(j, JINJA_OPERATOR, "}") == 0 ? node : NULL;
}

static bool ends_tuple(const struct jinja *j, const char *end)
{
    enum jinja_token_kind kind = jinja_look(j)->kind;
    return kind == JINJA_VARIABLE_END || kind == JINJA_BLOCK_END || is_operator(j, ")") ||
           (end && jinja_is(j, JINJA_NAME, end));
}

static struct jinja_node *parse_primary(struct jinja *j, bool attributes);

/* Parses items separated by commas: a tuple if there is a comma, else the one item. `item` parses each. */
static struct jinja_node *parse_items(struct jinja *j, struct jinja_node *(*item)(struct jinja *j, bool choice),
                                      bool choice, const char *end, bool may_be_empty)
{
    struct jinja_node *tuple = jinja_new(j, JINJA_TUPLE, jinja_look(j)->line), *one;
    bool comma = false;
    while (tuple) {
        if (tuple->items.n && jinja_expect(j, JINJA_OPERATOR, ","))
            return NULL;
        if (ends_tuple(j, end))
            break;
        if (!(one = item(j, choice)))
            return NULL;
        jinja_append(&tuple->items, one);
        if (!is_operator(j, ","))
            break;
        comma = true;
    }
    if (!tuple || comma)
        return tuple;
    if (tuple->items.n) {
        return tuple->items.first;
    }
    return may_be_empty ? tuple : unexpected(j);
}

struct jinja_node *jinja_tuple(struct jinja *j, bool condition, const char *end)
{
    return parse_items(j, jinja_expression, condition, end, false);
}

static int check_target(struct jinja *j, const struct jinja_node *node)
{
    if (node->kind == JINJA_LOAD || node->kind == JINJA_ATTRIBUTE)
        return 0;
    if (node->kind != JINJA_TUPLE)
        return jinja_fail(j, node->line, "only names and tuples of names can be assigned to");
    for (const struct jinja_node *item = node->items.first; item; item = item->next)
        if (check_target(j, item))
            return -1;
    return 0;
}

struct jinja_node *jinja_target(struct jinja *j, bool attributes, const char *end)
{
    struct jinja_node *node = parse_items(j, parse_primary, attributes, end, false);
    return node && check_target(j, node) == 0 ? node : NULL;
}

static struct jinja_node *parse_parentheses(struct jinja *j)
{
    j->at++;
    struct jinja_node *node = parse_items(j, jinja_expression, true, NULL, true);
    return node && jinja_expect(j, JINJA_OPERATOR, ")") == 0 ? node : NULL;
}

/* Parses a primary expression. With `attributes`, a name with a dot is an attribute of a namespace and ends the
 * expression. */
static struct jinja_node *parse_primary(struct jinja *j, bool attributes)
{
    struct jinja_node *node, *object;
    switch (jinja_look(j)->kind) {
    case JINJA_NAME:
        node = parse_name(j);
        if (!node || !attributes || node->kind != JINJA_LOAD || !is_operator(j, "."))
            return node;
        object = node;
        j->at++;
        node = jinja_new(j, JINJA_ATTRIBUTE, object->line);
        if (!node)
            return NULL;
        node->a = object;
        node->name = jinja_look(j)->value;
        return jinja_expect(j, JINJA_NAME, NULL) ? NULL : node;
    case JINJA_CONSTANT:
        return parse_constant(j);
    case JINJA_OPERATOR:
        if (is_operator(j, "("))
            return parse_parentheses(j);
        if (is_operator(j, "["))
            return parse_list(j);
        if (is_operator(j, "{"))
            return parse_dict(j);
        return unexpected(j);
    default:
        return unexpected(j);
    }
}

/* Parses the arguments of a call, from its ( to its ). */
static int parse_arguments(struct jinja *j, struct jinja_list *out)
{
    bool spread = false, spread_dict = false, named = false;
    uint32_t line = jinja_look(j)->line;
    if (jinja_expect(j, JINJA_OPERATOR, "("))
        return -1;
    while (!is_operator(j, ")")) {
        if (out->n && (jinja_expect(j, JINJA_OPERATOR, ",") || is_operator(j, ")")))
            break;
        const struct jinja_token *token = jinja_look(j), *after = token->kind == JINJA_END ? token : token + 1;
        bool keyword =
            token->kind == JINJA_NAME && after->kind == JINJA_OPERATOR && hl_value_is_text(after->value, "=");
        bool star = is_operator(j, "*"), stars = is_operator(j, "**");
        bool sound = stars     ? !spread_dict
                     : star    ? !spread && !spread_dict
                     : keyword ? !spread_dict
                               : !spread && !spread_dict && !named;
        if (!sound)
            return jinja_fail(j, line, "invalid order of arguments in a call");
        j->at += keyword ? 2 : star || stars;
        struct jinja_node *node = jinja_expression(j, true);
        if (node && (keyword || star || stars)) {
            node = single(j, keyword ? JINJA_KEYWORD : JINJA_SPREAD, stars, token->line, node);
            if (node)
                node->name = token->value;
        }
        if (!node)
            return -1;
        jinja_append(out, node);
        spread = spread || star;
        spread_dict = spread_dict || stars;
        named = named || keyword;
    }
    return jinja_expect(j, JINJA_OPERATOR, ")");
}

static struct jinja_node *parse_call(struct jinja *j, struct jinja_node *callee)
{
    struct jinja_node *node = jinja_new(j, JINJA_CALL, jinja_look(j)->line);
    if (!node)
        return NULL;
    node->a = callee;
    return parse_arguments(j, &node->items) ? NULL : node;
}

/* Parses a:b:c between brackets, where each part may be missing; or an expression. */
static struct jinja_node *parse_subscript(struct jinja *j)
{
    struct jinja_node *parts[3] = {NULL, NULL, NULL};
    uint32_t line = jinja_look(j)->line;
    unsigned colons = 0;
    while (!is_operator(j, "]") && !is_operator(j, ",")) {
        if (is_operator(j, ":")) {
            if (++colons > 2)
                return unexpected(j);
            j->at++;
            continue;
        }
        if (parts[colons])
            return unexpected(j);
        if (!(parts[colons] = jinja_expression(j, true)))
            return NULL;
    }
    if (!colons)
        return parts[0] ? parts[0] : unexpected(j);
    struct jinja_node *node = jinja_new(j, JINJA_SLICE, line);
    if (node) {
        node->a = parts[0];
        node->b = parts[1];
        node->c = parts[2];
    }
    return node;
}

static struct jinja_node *parse_brackets(struct jinja *j, struct jinja_node *object, uint32_t line)
{
    struct jinja_node *tuple = jinja_new(j, JINJA_TUPLE, line), *item;
    while (tuple && !is_operator(j, "]")) {
        if (tuple->items.n && jinja_expect(j, JINJA_OPERATOR, ","))
            return NULL;
        if (!(item = parse_subscript(j)))
            return NULL;
        jinja_append(&tuple->items, item);
    }
    if (!tuple || jinja_expect(j, JINJA_OPERATOR, "]"))
        return NULL;
    for (item = tuple->items.first; item && tuple->items.n > 1; item = item->next)
        if (item->kind == JINJA_SLICE) {
            jinja_fail(j, line, "a slice among several indices is not supported");
            return NULL;
        }
    return pair(j, JINJA_ITEM, 0, line, object, tuple->items.n == 1 ? tuple->items.first : tuple);
}

static struct jinja_node *parse_dot(struct jinja *j, struct jinja_node *object, uint32_t line)
{
    const struct jinja_token *token = jinja_look(j);
    struct jinja_node *node;
    if (token->kind == JINJA_NAME) {
        if ((node = jinja_new(j, JINJA_ATTRIBUTE, line))) {
            node->a = object;
            node->name = token->value;
            j->at++;
        }
        return node;
    }
    if (token->kind != JINJA_CONSTANT || token->value.kind != HL_VALUE_INT)
        return unexpected(j);
    j->at++;
    if ((node = jinja_new(j, JINJA_CONST, line)))
        node->value = token->value;
    return pair(j, JINJA_ITEM, 0, line, object, node);
}

static struct jinja_node *parse_postfix(struct jinja *j, struct jinja_node *node)
{
    for (unsigned n = 0; node; n++) {
        uint32_t line = jinja_look(j)->line;
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, line, "too many attributes, items and calls in a row");
            return NULL;
        }
        if (is_operator(j, "("))
            node = parse_call(j, node);
        else if (jinja_skip(j, JINJA_OPERATOR, "."))
            node = parse_dot(j, node, line);
        else if (jinja_skip(j, JINJA_OPERATOR, "["))
            node = parse_brackets(j, node, line);
        else
            break;
    }
    return node;
}

/* Parses a name that may contain dots. */
static int parse_dotted(struct jinja *j, struct hl_value *name)
{
    *name = jinja_look(j)->value;
    if (jinja_expect(j, JINJA_NAME, NULL))
        return -1;
    if (is_operator(j, "."))
        return jinja_fail(j, jinja_look(j)->line, "filters and tests with a dot in their name are not supported");
    return 0;
}

struct jinja_node *jinja_filters(struct jinja *j, struct jinja_node *value, bool now)
{
    for (unsigned n = 0; now || is_operator(j, "|"); n++) {
        struct jinja_node *node = jinja_new(j, JINJA_FILTER, jinja_look(j)->line);
        j->at += !now;
        now = false;
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, node ? node->line : 0, "too many filters in a row");
            return NULL;
        }
        if (!node || parse_dotted(j, &node->name) || (is_operator(j, "(") && parse_arguments(j, &node->items)))
            return NULL;
        node->a = value;
        value = node;
    }
    return value;
}

/* Returns whether a test has an argument without parentheses. */
static bool starts_argument(const struct jinja *j)
{
    const struct jinja_token *token = jinja_look(j);
    if (token->kind == JINJA_NAME)
        return !hl_value_is_text(token->value, "else") && !hl_value_is_text(token->value, "or") &&
               !hl_value_is_text(token->value, "and");
    return token->kind == JINJA_CONSTANT || is_operator(j, "[") || is_operator(j, "{");
}

static struct jinja_node *parse_test(struct jinja *j, struct jinja_node *value)
{
    struct jinja_node *node = jinja_new(j, JINJA_TEST, jinja_look(j)->line), *argument;
    if (!node)
        return NULL;
    j->at++; /* skips `is` */
    bool negated = jinja_skip(j, JINJA_NAME, "not");
    node->a = value;
    if (parse_dotted(j, &node->name))
        return NULL;
    if (is_operator(j, "(")) {
        if (parse_arguments(j, &node->items))
            return NULL;
    } else if (starts_argument(j)) {
        if (jinja_is(j, JINJA_NAME, "is"))
            return unexpected(j);
        if (!(argument = parse_primary(j, false)) || !(argument = parse_postfix(j, argument)))
            return NULL;
        jinja_append(&node->items, argument);
    }
    if (value->kind == JINJA_LOAD &&
        (hl_value_is_text(node->name, "defined") || hl_value_is_text(node->name, "callable"))) {
        node->guarded = j->guarded;
        j->guarded = node;
    }
    return negated ? single(j, JINJA_NOT, 0, node->line, node) : node;
}

static struct jinja_node *parse_tests_and_filters(struct jinja *j, struct jinja_node *node)
{
    for (unsigned n = 0; node; n++) {
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, node->line, "too many tests in a row");
            return NULL;
        }
        if (is_operator(j, "|"))
            node = jinja_filters(j, node, false);
        else if (jinja_is(j, JINJA_NAME, "is"))
            node = parse_test(j, node);
        else if (is_operator(j, "("))
            node = parse_call(j, node);
        else
            break;
    }
    return node;
}

static bool enter(struct jinja *j)
{
    if (j->depth >= JINJA_MAX_DEPTH) {
        jinja_fail(j, jinja_look(j)->line, "expressions are nested more than %u levels deep", JINJA_MAX_DEPTH);
        return false;
    }
    j->depth++;
    return true;
}

static struct jinja_node *parse_unary(struct jinja *j, bool filters)
{
    bool minus = is_operator(j, "-");
    struct jinja_node *node;
    if (!enter(j))
        return NULL;
    if (minus || is_operator(j, "+")) {
        uint32_t line = jinja_look(j)->line;
        j->at++;
        node = parse_unary(j, false);
        node = single(j, JINJA_UNARY, minus ? HL_UNARY_NEGATIVE : HL_UNARY_POSITIVE, line, node);
    } else {
        node = parse_primary(j, false);
    }
    j->depth--;
    node = parse_postfix(j, node);
    return filters ? parse_tests_and_filters(j, node) : node;
}

struct binary {
    const char *sign;
    enum hl_binary op;
};

/* Parses operands with `next`, joined by the operators in the table, left-associative. */
static struct jinja_node *parse_left(struct jinja *j, const struct binary *table,
                                     struct jinja_node *(*next)(struct jinja *j))
{
    struct jinja_node *node = next(j);
    for (unsigned n = 0; node; n++) {
        const struct binary *op = table;
        while (op->sign && !is_operator(j, op->sign))
            op++;
        if (!op->sign)
            break;
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, node->line, "more than %u operators in a row: join texts with ~", JINJA_MAX_DEPTH);
            return NULL;
        }
        uint32_t line = jinja_look(j)->line;
        j->at++;
        node = pair(j, JINJA_BINARY, op->op, line, node, next(j));
    }
    return node;
}

static struct jinja_node *parse_filtered(struct jinja *j)
{
    return parse_unary(j, true);
}

static struct jinja_node *parse_power(struct jinja *j)
{
    static const struct binary table[] = {{"**", HL_BINARY_POW}, {NULL, 0}};
    return parse_left(j, table, parse_filtered);
}

static struct jinja_node *parse_product(struct jinja *j)
{
    static const struct binary table[] = {
        {"*", HL_BINARY_MUL}, {"/", HL_BINARY_DIV}, {"//", HL_BINARY_FLOORDIV}, {"%", HL_BINARY_MOD}, {NULL, 0}};
    return parse_left(j, table, parse_power);
}

static struct jinja_node *parse_concat(struct jinja *j)
{
    struct jinja_node *first = parse_product(j), *node, *item;
    if (!first || !is_operator(j, "~"))
        return first;
    if (!(node = jinja_new(j, JINJA_CONCAT, first->line)))
        return NULL;
    jinja_append(&node->items, first);
    while (jinja_skip(j, JINJA_OPERATOR, "~")) {
        if (!(item = parse_product(j)))
            return NULL;
        jinja_append(&node->items, item);
    }
    return node;
}

static struct jinja_node *parse_sum(struct jinja *j)
{
    static const struct binary table[] = {{"+", HL_BINARY_ADD}, {"-", HL_BINARY_SUB}, {NULL, 0}};
    return parse_left(j, table, parse_concat);
}

/* Reads the comparison at the current token and skips it. Returns false if there is none. */
static bool comparison(struct jinja *j, unsigned *op)
{
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    for (*op = 0; *op < 6; ++*op)
        if (jinja_skip(j, JINJA_OPERATOR, signs[*op]))
            return true;
    *op = HL_COMPARE_IN;
    if (jinja_skip(j, JINJA_NAME, "in"))
        return true;
    *op = HL_COMPARE_NOT_IN;
    if (!jinja_is(j, JINJA_NAME, "not") || jinja_look(j)[1].kind != JINJA_NAME ||
        !hl_value_is_text(jinja_look(j)[1].value, "in"))
        return false;
    j->at += 2;
    return true;
}

static struct jinja_node *parse_compare(struct jinja *j)
{
    struct jinja_node *node = parse_sum(j), *compare = NULL;
    unsigned op;
    while (node && comparison(j, &op)) {
        if (!compare && (compare = jinja_new(j, JINJA_COMPARE, node->line)))
            compare->a = node;
        struct jinja_node *right = compare ? parse_sum(j) : NULL;
        if (!(node = single(j, JINJA_COMPARAND, op, right ? right->line : 0, right)))
            return NULL;
        jinja_append(&compare->items, node);
    }
    return compare ? compare : node;
}

static struct jinja_node *parse_not(struct jinja *j)
{
    uint32_t line = jinja_look(j)->line;
    if (!jinja_is(j, JINJA_NAME, "not"))
        return parse_compare(j);
    if (!enter(j))
        return NULL;
    j->at++;
    struct jinja_node *node = parse_not(j);
    j->depth--;
    return single(j, JINJA_NOT, 0, line, node);
}

static struct jinja_node *parse_logic(struct jinja *j, const char *word, enum jinja_kind kind,
                                      struct jinja_node *(*next)(struct jinja *j))
{
    struct jinja_node *node = next(j);
    for (unsigned n = 0; node && jinja_is(j, JINJA_NAME, word); n++) {
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, node->line, "more than %u '%s' in a row", JINJA_MAX_DEPTH, word);
            return NULL;
        }
        j->at++;
        node = pair(j, kind, 0, node->line, node, next(j));
    }
    return node;
}

static struct jinja_node *parse_and(struct jinja *j)
{
    return parse_logic(j, "and", JINJA_AND, parse_not);
}

static struct jinja_node *parse_or(struct jinja *j)
{
    return parse_logic(j, "or", JINJA_OR, parse_and);
}

static struct jinja_node *parse_condition(struct jinja *j)
{
    struct jinja_node *node = parse_or(j), *condition;
    for (unsigned n = 0; node && jinja_is(j, JINJA_NAME, "if"); n++) {
        if (n > JINJA_MAX_DEPTH) {
            jinja_fail(j, node->line, "too many inline ifs in a row");
            return NULL;
        }
        j->at++;
        if (!(condition = jinja_new(j, JINJA_CONDITION, node->line)) || !(condition->a = parse_or(j)))
            return NULL;
        condition->b = node;
        if (jinja_skip(j, JINJA_NAME, "else") && !(condition->c = jinja_expression(j, true)))
            return NULL;
        node = condition;
    }
    return node;
}

struct jinja_node *jinja_expression(struct jinja *j, bool condition)
{
    if (!enter(j))
        return NULL;
    struct jinja_node *node = condition ? parse_condition(j) : parse_or(j);
    j->depth--;
    return node;
}
