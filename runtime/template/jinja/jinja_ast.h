/* Inside the Jinja compiler: tokens, the syntax tree, scopes. The stages are: text -> tokens (lex.c) -> tree
 * (expression.c, statement.c) -> section (emit.c). emit.c asks scope.c where names are stored. */
#ifndef HL_RUNTIME_TEMPLATE_JINJA_JINJA_AST_H
#define HL_RUNTIME_TEMPLATE_JINJA_JINJA_AST_H

#include "runtime/template/core/build.h"
#include "runtime/template/core/value.h"

enum jinja_token_kind {
    JINJA_END,
    JINJA_DATA,           /* text outside tags */
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
    struct hl_value value; /* STRING: text, name or operator; of a constant its value */
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
    JINJA_FILTER,       /* a | name(items); a is NULL where the output of a block is filtered */
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

/* One compilation. Everything that it makes lies in the arena. */
struct jinja {
    struct hl_arena arena;
    struct jinja_tokens tokens;
    size_t at;      /* the current token */
    unsigned depth; /* of the parser */
    struct hl_build *build;
    struct jinja_scope *scope;
    uint32_t n_symbols;         /* of all scopes */
    struct jinja_node *guarded; /* tests like "name is defined", linked */
    unsigned loops;             /* around the current token */
    bool in_loop;               /* there is a loop for break and continue to leave */
    struct hl_error *err;
};

#define JINJA_MAX_LEVELS 400u   /* of an expression as a tree; operators in a row are levels too */
#define JINJA_MAX_DEPTH 120u    /* of nested brackets and blocks */
#define JINJA_MAX_SYMBOLS 4096u /* the search for one is linear */

/* Sets the error "line N: ...". Returns -1. */
__attribute__((format(printf, 3, 4))) int jinja_fail(struct jinja *j, uint32_t line, const char *format, ...);

/* Makes a node. Returns NULL with the error set. */
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

/* lex.c */
int jinja_lex(struct jinja *j, const char *source, size_t n);

/* Return the current token, and whether it is this operator or name. */
static inline const struct jinja_token *jinja_look(const struct jinja *j)
{
    return &j->tokens.all[j->at];
}

static inline bool jinja_is(const struct jinja *j, enum jinja_token_kind kind, const char *text)
{
    return jinja_look(j)->kind == kind && hl_value_is_text(jinja_look(j)->value, text);
}

/* Skips the current token if it is this one. */
bool jinja_skip(struct jinja *j, enum jinja_token_kind kind, const char *text);

/* Skips the current token if it is this one, else fails. With text NULL, any text matches. */
int jinja_expect(struct jinja *j, enum jinja_token_kind kind, const char *text);

/* expression.c. Parse an expression; the second one also a tuple, by its commas. With `condition` it may be an inline
 * if. `end` is a name that ends a tuple, or NULL. */
struct jinja_node *jinja_expression(struct jinja *j, bool condition);
struct jinja_node *jinja_tuple(struct jinja *j, bool condition, const char *end);

/* Parses an assignment target. With `attributes` it may also be namespace.name. */
struct jinja_node *jinja_target(struct jinja *j, bool attributes, const char *end);

/* Parses filters in a row. With `now`, the first has no | before it. Returns NULL without an error when there are none.
 */
struct jinja_node *jinja_filters(struct jinja *j, struct jinja_node *value, bool now);

/* statement.c */
int jinja_parse(struct jinja *j, struct jinja_list *body);

/* emit.c */
int jinja_emit(struct jinja *j, const struct jinja_list *body);

/* scope.c */

enum jinja_load { JINJA_LOAD_PARAMETER, JINJA_LOAD_CONTEXT, JINJA_LOAD_OUTER, JINJA_LOAD_UNDEFINED };

struct jinja_function {
    uint32_t slots;
    uint32_t level; /* of nested functions */
};

/* A name that a scope knows. */
struct jinja_symbol {
    struct hl_value name;
    enum jinja_load load; /* its first value when the scope begins */
    bool stored;          /* the scope assigns to it, so it has a slot */
    uint32_t slot;
    struct jinja_symbol *next;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_function *function;
    struct jinja_symbol *symbols;
};

/* Open a scope in the current one and make it current; and close it. With `function` NULL it belongs to the outer
 * scope's function. */
struct jinja_scope *jinja_scope_open(struct jinja *j, struct jinja_function *function);
void jinja_scope_close(struct jinja *j);

/* Record how the current scope uses names: those of a parameter, an expression, or statements. */
int jinja_scope_parameters(struct jinja *j, const struct jinja_node *target);
int jinja_scope_parameter(struct jinja *j, struct hl_value name);
int jinja_scope_expression(struct jinja *j, const struct jinja_node *node);
int jinja_scope_body(struct jinja *j, const struct jinja_list *body);

/* Assigns slots to the names of the current scope, once everything in it is known. */
int jinja_scope_slots(struct jinja *j);

/* Finds the symbol of a name as seen from the scope `from`, and its scope. Returns NULL when no scope knows it. */
const struct jinja_symbol *jinja_scope_find(const struct jinja_scope *from, struct hl_value name,
                                            const struct jinja_scope **where);

/* Returns whether these statements load a name before they store it. */
bool jinja_scope_uses(const struct jinja_list *body, const char *name);

#endif
