/* Inside of the Jinja compiler: tokens, the syntax tree, scopes. The order of work: text -> tokens (jinja_lex.c) ->
 * tree (jinja_expression.c, jinja_statement.c) -> section (jinja_emit.c), which asks jinja_scope.c where names live. */
#ifndef HL_RUNTIME_TEMPLATE_JINJA_JINJA_AST_H
#define HL_RUNTIME_TEMPLATE_JINJA_JINJA_AST_H

#include "runtime/template/core/build.h"
#include "runtime/template/core/value.h"

enum jinja_token_kind {
    JINJA_END,
    JINJA_DATA,           /* text outside of tags */
    JINJA_VARIABLE_BEGIN, /* {{ */
    JINJA_VARIABLE_END,
    JINJA_BLOCK_BEGIN, /* {% */
    JINJA_BLOCK_END,
    JINJA_NAME,
    JINJA_CONSTANT, /* a string or number */
    JINJA_OPERATOR, /* its characters are the text */
};

struct jinja_token {
    enum jinja_token_kind kind;
    uint32_t line;
    struct hl_value value; /* STRING: text, name or operator; of a constant what it is */
};

struct jinja_tokens {
    struct jinja_token *all; /* the last is JINJA_END */
    size_t n, room;
};

enum jinja_kind {
    JINJA_CONST,        /* value */
    JINJA_LOAD,         /* name */
    JINJA_ATTRIBUTE,    /* a.name */
    JINJA_ITEM,         /* a[b] */
    JINJA_SLICE,        /* a : b : c, each may be NULL; only as b of an item */
    JINJA_CALL,         /* a(items) */
    JINJA_FILTER,       /* a | name(items); a is NULL where it is what a block prints */
    JINJA_TEST,         /* a is name(items) */
    JINJA_KEYWORD,      /* name=a, in a call */
    JINJA_SPREAD,       /* *a, or **a when op is 1 */
    JINJA_UNARY,        /* op enum hl_unary, a */
    JINJA_BINARY,       /* op enum hl_binary, a, b */
    JINJA_NOT,          /* a */
    JINJA_AND,          /* a, b */
    JINJA_OR,           /* a, b */
    JINJA_COMPARE,      /* a, items: JINJA_COMPARAND */
    JINJA_COMPARAND,    /* op enum hl_compare, a */
    JINJA_CONCAT,       /* items */
    JINJA_CONDITION,    /* a ? b : c, which may be NULL */
    JINJA_LIST,         /* items */
    JINJA_TUPLE,        /* items */
    JINJA_DICT,         /* items: key, value, key, value, ... */
    JINJA_TEXT,         /* value */
    JINJA_PRINT,        /* a */
    JINJA_FOR,          /* a: target, b: iterable, c: condition or NULL, items: body, more: else, op 1: recursive */
    JINJA_IF,           /* a: test, items: body, others: JINJA_IF of elif, more: else */
    JINJA_SET,          /* a: target, b: value */
    JINJA_SET_BLOCK,    /* a: target, b: filters or NULL, items: body */
    JINJA_MACRO,        /* name, others: parameters, items: body */
    JINJA_CALL_BLOCK,   /* a: call, or NULL for `generation`; others: parameters, items: body */
    JINJA_PARAMETER,    /* name, a: default or NULL */
    JINJA_FILTER_BLOCK, /* a: filters, items: body */
    JINJA_WITH,         /* others: JINJA_SET, items: body */
    JINJA_BREAK,
    JINJA_CONTINUE,
};

struct jinja_list {
    struct jinja_node *first, *last;
    uint32_t n;
};

struct jinja_node {
    enum jinja_kind kind;
    uint32_t line;
    unsigned op;
    struct hl_value name, value;
    struct jinja_node *a, *b, *c;
    struct jinja_list items, others, more;
    struct jinja_node *next;    /* in its list */
    struct jinja_node *guarded; /* see struct jinja */
};

/* One compilation. All that it makes lies in the arena. */
struct jinja {
    struct hl_arena arena;
    struct jinja_tokens tokens;
    size_t at;      /* the token that is looked at */
    unsigned depth; /* of the parser */
    struct hl_build *build;
    struct jinja_scope *scope;
    uint32_t n_symbols;         /* of all scopes */
    struct jinja_node *guarded; /* tests like "name is defined", linked */
    unsigned loops;             /* around what is parsed */
    bool in_loop;               /* break and continue have one to leave */
    struct hl_error *err;
};

#define JINJA_MAX_LEVELS 400u   /* of an expression as a tree; operators in a row are levels, too */
#define JINJA_MAX_DEPTH 120u    /* of brackets and blocks within each other */
#define JINJA_MAX_SYMBOLS 4096u /* they are searched for one by one */

/* The error "line N: ...". Returns -1. */
__attribute__((format(printf, 3, 4))) int jinja_fail(struct jinja *j, uint32_t line, const char *format, ...);

/* A new node, or NULL with the error set. */
struct jinja_node *jinja_new(struct jinja *j, enum jinja_kind kind, uint32_t line);

static inline void jinja_append(struct jinja_list *list, struct jinja_node *node)
{
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
    list->n++;
}

/* jinja_lex.c */
int jinja_lex(struct jinja *j, const char *source, size_t n);

/* The current token, and whether it is this operator or this name. */
static inline const struct jinja_token *jinja_look(const struct jinja *j)
{
    return &j->tokens.all[j->at];
}

static inline bool jinja_is(const struct jinja *j, enum jinja_token_kind kind, const char *text)
{
    return jinja_look(j)->kind == kind && hl_value_is_text(jinja_look(j)->value, text);
}

/* Goes on behind it, when it is this one. */
bool jinja_skip(struct jinja *j, enum jinja_token_kind kind, const char *text);

/* Goes on behind it, or fails; text NULL: whatever it says. */
int jinja_expect(struct jinja *j, enum jinja_token_kind kind, const char *text);

/* jinja_expression.c. An expression; with commas a tuple. `condition`: may be an inline if. `end`: a name that ends a
 * tuple, or NULL. */
struct jinja_node *jinja_expression(struct jinja *j, bool condition);
struct jinja_node *jinja_tuple(struct jinja *j, bool condition, const char *end);

/* What can be assigned to; `attributes`: namespace.name, too. */
struct jinja_node *jinja_target(struct jinja *j, bool attributes, const char *end);

/* Filters in a row; `now`: the first is not behind a |. NULL without an error when there is none. */
struct jinja_node *jinja_filters(struct jinja *j, struct jinja_node *value, bool now);

/* jinja_statement.c */
int jinja_parse(struct jinja *j, struct jinja_list *body);

/* jinja_emit.c */
int jinja_emit(struct jinja *j, const struct jinja_list *body);

/* jinja_scope.c */

enum jinja_load { JINJA_LOAD_PARAMETER, JINJA_LOAD_CONTEXT, JINJA_LOAD_OUTER, JINJA_LOAD_UNDEFINED };

struct jinja_function {
    uint32_t slots;
    uint32_t level; /* of functions within functions */
};

/* A name that a scope knows. */
struct jinja_symbol {
    struct hl_value name;
    enum jinja_load load; /* what it is when the scope begins */
    bool stored;          /* something is assigned to it in the scope: it has a slot */
    uint32_t slot;
    struct jinja_symbol *next;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_function *function;
    struct jinja_symbol *symbols;
};

/* A scope within the present one, which becomes the present; and back. `function` NULL: that of the outer scope. */
struct jinja_scope *jinja_scope_open(struct jinja *j, struct jinja_function *function);
void jinja_scope_close(struct jinja *j);

/* What the present scope does with names: of a parameter, an expression, statements. */
int jinja_scope_parameters(struct jinja *j, const struct jinja_node *target);
int jinja_scope_parameter(struct jinja *j, struct hl_value name);
int jinja_scope_expression(struct jinja *j, const struct jinja_node *node);
int jinja_scope_body(struct jinja *j, const struct jinja_list *body);

/* Gives slots to the names of the present scope, when all is known of it. */
int jinja_scope_slots(struct jinja *j);

/* The symbol of a name as seen from the present scope, and its scope; NULL when no scope knows it. */
const struct jinja_symbol *jinja_scope_find(const struct jinja_scope *from, struct hl_value name,
                                            const struct jinja_scope **where);

/* Is a name loaded anywhere in these statements, before it is stored? */
bool jinja_scope_uses(const struct jinja_list *body, const char *name);

#endif
