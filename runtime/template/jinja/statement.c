/* Parses Jinja's statements: a tag and the text that it encloses, as in jinja2/parser.py. */
#include "base/sizes.h"
#include "runtime/template/jinja/jinja_ast.h"

/* The tags that may end the current block. */
struct ends {
    const char *tags[3];
};

static int parse_body(struct jinja *j, const struct ends *ends, struct jinja_list *out);

/* Parses from the end of the opening tag up to one of the end tags, whose name becomes the current token. */
static int parse_enclosed(struct jinja *j, const struct ends *ends, struct jinja_list *out)
{
    jinja_skip(j, JINJA_OPERATOR, ":");
    return jinja_expect(j, JINJA_BLOCK_END, NULL) || parse_body(j, ends, out) ? -1 : 0;
}

/* Parses the same if only one tag may end it, and skips that tag's name. */
static int parse_until(struct jinja *j, const char *tag, struct jinja_list *out)
{
    const struct ends ends = {{tag}};
    return parse_enclosed(j, &ends, out) || jinja_expect(j, JINJA_NAME, tag) ? -1 : 0;
}

static int check_loop_name(struct jinja *j, const struct jinja_node *target)
{
    if (j->loops && target->kind == JINJA_LOAD && hl_value_is_text(target->name, "loop"))
        return jinja_fail(j, target->line, "'loop' cannot be assigned to within a loop");
    for (const struct jinja_node *item = target->items.first; item; item = item->next)
        if (check_loop_name(j, item))
            return -1;
    return 0;
}

static int parse_for(struct jinja *j, struct jinja_node *node)
{
    static const struct ends ends = {{"endfor", "else"}};
    j->loops++;
    if (!(node->a = jinja_target(j, false, "in")) || check_loop_name(j, node->a) || jinja_expect(j, JINJA_NAME, "in") ||
        !(node->b = jinja_tuple(j, false, "recursive")))
        return -1;
    if (jinja_skip(j, JINJA_NAME, "if") && !(node->c = jinja_expression(j, true)))
        return -1;
    node->op = jinja_skip(j, JINJA_NAME, "recursive");
    bool outer = j->in_loop;
    j->in_loop = true;
    if (parse_enclosed(j, &ends, &node->items))
        return -1;
    j->in_loop = outer;
    bool otherwise = !jinja_skip(j, JINJA_NAME, "endfor");
    j->at += otherwise;
    if (otherwise && parse_until(j, "endfor", &node->more))
        return -1;
    j->loops--;
    return 0;
}

static int parse_if(struct jinja *j, struct jinja_node *node)
{
    static const struct ends ends = {{"elif", "else", "endif"}};
    struct jinja_node *branch = node;
    for (;;) {
        if (!(branch->a = jinja_tuple(j, false, NULL)) || parse_enclosed(j, &ends, &branch->items))
            return -1;
        uint32_t line = jinja_look(j)->line;
        if (jinja_skip(j, JINJA_NAME, "endif"))
            return 0;
        if (jinja_skip(j, JINJA_NAME, "else"))
            return parse_until(j, "endif", &node->more);
        j->at++;
        if (!(branch = jinja_new(j, JINJA_IF, line)))
            return -1;
        jinja_append(&node->others, branch);
    }
}

/* Parses a block whose output is captured. It is a function, or almost: it cannot leave an outer loop. */
static int parse_captured(struct jinja *j, const char *tag, struct jinja_list *out)
{
    bool outer = j->in_loop;
    j->in_loop = false;
    if (parse_until(j, tag, out))
        return -1;
    j->in_loop = outer;
    return 0;
}

static int parse_set(struct jinja *j, struct jinja_node *node)
{
    if (!(node->a = jinja_target(j, true, NULL)) || check_loop_name(j, node->a))
        return -1;
    if (jinja_skip(j, JINJA_OPERATOR, "="))
        return (node->b = jinja_tuple(j, true, NULL)) ? 0 : -1;
    node->kind = JINJA_SET_BLOCK;
    if (jinja_is(j, JINJA_OPERATOR, "|") && !(node->b = jinja_filters(j, NULL, false)))
        return -1;
    return parse_captured(j, "endset", &node->items);
}

static int parse_signature(struct jinja *j, struct jinja_list *out)
{
    bool defaults = false;
    if (jinja_expect(j, JINJA_OPERATOR, "("))
        return -1;
    while (!jinja_is(j, JINJA_OPERATOR, ")")) {
        if (out->n && jinja_expect(j, JINJA_OPERATOR, ","))
            return -1;
        struct jinja_node *parameter = jinja_new(j, JINJA_PARAMETER, jinja_look(j)->line);
        if (!parameter)
            return -1;
        parameter->name = jinja_look(j)->value;
        if (jinja_expect(j, JINJA_NAME, NULL))
            return -1;
        for (const struct jinja_node *other = out->first; other; other = other->next)
            if (other->name.n == parameter->name.n && !memcmp(other->name.text, parameter->name.text, other->name.n))
                return jinja_fail(j, parameter->line, "two parameters have the same name");
        if (jinja_skip(j, JINJA_OPERATOR, "=")) {
            if (!(parameter->a = jinja_expression(j, true)))
                return -1;
            defaults = true;
        } else if (defaults) {
            return jinja_fail(j, parameter->line, "a parameter without a default follows one that has one");
        }
        jinja_append(out, parameter);
    }
    return jinja_expect(j, JINJA_OPERATOR, ")");
}

static int parse_macro(struct jinja *j, struct jinja_node *node)
{
    node->name = jinja_look(j)->value;
    if (jinja_expect(j, JINJA_NAME, NULL) || parse_signature(j, &node->others))
        return -1;
    return parse_captured(j, "endmacro", &node->items);
}

static int parse_call_block(struct jinja *j, struct jinja_node *node)
{
    if (jinja_is(j, JINJA_OPERATOR, "(") && parse_signature(j, &node->others))
        return -1;
    if (!(node->a = jinja_expression(j, true)))
        return -1;
    if (node->a->kind != JINJA_CALL)
        return jinja_fail(j, node->line, "{%% call %%} requires a call");
    return parse_captured(j, "endcall", &node->items);
}

static int parse_generation(struct jinja *j, struct jinja_node *node)
{
    return parse_captured(j, "endgeneration", &node->items);
}

static int parse_filter_block(struct jinja *j, struct jinja_node *node)
{
    if (!(node->a = jinja_filters(j, NULL, true)))
        return -1;
    return parse_captured(j, "endfilter", &node->items);
}

static int parse_with(struct jinja *j, struct jinja_node *node)
{
    while (jinja_look(j)->kind != JINJA_BLOCK_END) {
        struct jinja_node *set = jinja_new(j, JINJA_SET, jinja_look(j)->line);
        if (!set || (node->others.n && jinja_expect(j, JINJA_OPERATOR, ",")) ||
            !(set->a = jinja_target(j, false, NULL)) || jinja_expect(j, JINJA_OPERATOR, "=") ||
            !(set->b = jinja_expression(j, true)))
            return -1;
        jinja_append(&node->others, set);
    }
    return parse_until(j, "endwith", &node->items);
}

static int parse_leave(struct jinja *j, struct jinja_node *node)
{
    if (!j->in_loop)
        return jinja_fail(j, node->line, "break or continue outside a loop, or in a block whose output is captured");
    return 0;
}

static int parse_print(struct jinja *j, struct jinja_node *node)
{
    node->a = jinja_expression(j, true);
    if (!node->a)
        return -1;
    return jinja_is(j, JINJA_OPERATOR, ",")
               ? jinja_fail(j, node->line, "{%% print %%} of several values is not supported")
               : 0;
}

static const struct {
    const char *tag;
    enum jinja_kind kind;
    int (*parse)(struct jinja *j, struct jinja_node *node);
} tags[] = {
    {"for", JINJA_FOR, parse_for},
    {"if", JINJA_IF, parse_if},
    {"set", JINJA_SET, parse_set},
    {"macro", JINJA_MACRO, parse_macro},
    {"call", JINJA_CALL_BLOCK, parse_call_block},
    {"generation", JINJA_CALL_BLOCK, parse_generation},
    {"filter", JINJA_FILTER_BLOCK, parse_filter_block},
    {"with", JINJA_WITH, parse_with},
    {"break", JINJA_BREAK, parse_leave},
    {"continue", JINJA_CONTINUE, parse_leave},
    {"print", JINJA_PRINT, parse_print},
};

static struct jinja_node *parse_statement(struct jinja *j)
{
    const struct jinja_token *token = jinja_look(j);
    if (jinja_expect(j, JINJA_NAME, NULL))
        return NULL;
    for (size_t i = 0; i < HL_COUNT(tags); i++) {
        if (!hl_value_is_text(token->value, tags[i].tag))
            continue;
        struct jinja_node *node = jinja_new(j, tags[i].kind, token->line);
        return node && tags[i].parse(j, node) == 0 && jinja_expect(j, JINJA_BLOCK_END, NULL) == 0 ? node : NULL;
    }
    jinja_fail(j, token->line, "the tag '%.*s' is not supported here", (int)(token->value.n & 63), token->value.text);
    return NULL;
}

static bool is_end(const struct jinja *j, const struct ends *ends)
{
    for (int i = 0; ends && i < 3 && ends->tags[i]; i++)
        if (jinja_is(j, JINJA_NAME, ends->tags[i]))
            return true;
    return false;
}

static int parse_piece(struct jinja *j, struct jinja_list *out)
{
    const struct jinja_token *token = jinja_look(j);
    bool text = token->kind == JINJA_DATA;
    struct jinja_node *node = jinja_new(j, text ? JINJA_TEXT : JINJA_PRINT, token->line);
    if (!node)
        return -1;
    j->at++;
    node->value = token->value;
    if (!text && (!(node->a = jinja_tuple(j, true, NULL)) || jinja_expect(j, JINJA_VARIABLE_END, NULL)))
        return -1;
    jinja_append(out, node);
    return 0;
}

static int parse_body(struct jinja *j, const struct ends *ends, struct jinja_list *out)
{
    struct jinja_node *node;
    if (j->depth >= JINJA_MAX_DEPTH)
        return jinja_fail(j, jinja_look(j)->line, "blocks are nested more than %u levels deep", JINJA_MAX_DEPTH);
    j->depth++;
    while (jinja_look(j)->kind != JINJA_END) {
        if (jinja_look(j)->kind != JINJA_BLOCK_BEGIN) {
            if (parse_piece(j, out))
                return -1;
            continue;
        }
        j->at++;
        if (is_end(j, ends)) {
            j->depth--;
            return 0;
        }
        if (!(node = parse_statement(j)))
            return -1;
        jinja_append(out, node);
    }
    j->depth--;
    return ends ? jinja_fail(j, jinja_look(j)->line, "the template ends without {%% %s %%}", ends->tags[0]) : 0;
}

int jinja_parse(struct jinja *j, struct jinja_list *body)
{
    return parse_body(j, NULL, body);
}
