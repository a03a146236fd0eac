/* Inside the compiler of Go templates: the interface between its two halves. pipeline.c parses the content of an
 * action, parse.c the structure that actions form. */
#ifndef HL_RUNTIME_TEMPLATE_GO_GO_PARSE_H
#define HL_RUNTIME_TEMPLATE_GO_GO_PARSE_H

#include "runtime/template/core/build.h"
#include "runtime/template/go/go_lex.h"

#define MOST_NESTING 60u    /* of blocks and parentheses: each is at most six levels of the tree */
#define MOST_VARIABLES 512u /* in scope at a time */
#define MOST_TEMPLATES 64u
#define MOST_NAME 128u

enum operand_kind {
    LITERAL,
    NIL,
    PLACE, /* the dot, a field or a variable */
    PIPE,  /* (...) and its fields */
    FUNCTION,
};

struct operand {
    enum operand_kind kind;
    uint32_t node;
    const struct rule *rule; /* of a FUNCTION that is not called yet */
};

/* Variables in scope; those of a function start at its `first`. */
struct variable {
    const char *name;
    size_t n;
    uint32_t slot;
};

struct function {
    bool defined; /* inside the template, by {{define}} or {{block}} */
    uint32_t slots, first, loops;
};

struct definition {
    char *name;
    size_t n;
    uint32_t slot;           /* of the template itself: 1 to MOST_TEMPLATES */
    uint32_t function, line; /* function HL_NONE: only mentioned so far */
    bool blank;              /* only space: another definition replaces it */
};

struct parser {
    struct hl_go_lex lex;
    struct hl_build *b;
    struct hl_error *err;
    struct function function; /* the one being compiled */
    uint32_t dot;             /* slot */
    uint32_t line;            /* where the current action began */
    uint32_t nesting;
    bool in_action, response, cut; /* .Response occurred: in this action, or in an earlier one */
    bool knows_messages, knows_response;
    uint32_t n_variables, n_definitions;
    struct variable variables[MOST_VARIABLES];
    struct definition definitions[MOST_TEMPLATES];
};

struct declaration {
    bool assigns;
    uint32_t n;
    struct variable variables[2];
};

#define FAIL(p, ...) hl_go_fail(&(p)->lex, (p)->err, __VA_ARGS__)

static inline int next(struct parser *p)
{
    return hl_go_lex_next(&p->lex, p->err);
}

static inline bool is_sign(const struct parser *p, const char *text)
{
    return hl_go_is(&p->lex, HL_GO_SIGN, text);
}

static inline bool is_word(const struct parser *p, const char *text)
{
    return hl_go_is(&p->lex, HL_GO_WORD, text);
}

static inline uint32_t node(struct parser *p, enum hl_node_kind kind, uint32_t a, uint32_t b, uint32_t c)
{
    return hl_build_node(p->b, kind, 0, p->line, a, b, c);
}

static inline uint32_t block(struct parser *p, const uint32_t *nodes, size_t n)
{
    return node(p, HL_NODE_BLOCK, hl_build_list(p->b, nodes, n), 0, 0);
}

static inline uint32_t variable(struct parser *p, uint32_t slot, uint32_t links)
{
    return node(p, HL_NODE_VARIABLE, slot, links, hl_build_text(p->b, "", 0));
}

static inline uint32_t call(struct parser *p, const char *name, const uint32_t *arguments, size_t n)
{
    return node(p, HL_NODE_BUILTIN, hl_build_builtin(p->b, "function", name, strlen(name)),
                hl_build_list(p->b, arguments, n), 0);
}

static inline uint32_t set(struct parser *p, uint32_t slot, uint32_t value)
{
    return node(p, HL_NODE_SET, variable(p, slot, 0), value, 0);
}

/* Fails with "unexpected ... in WHERE". Returns -1. */
int hl_go_unexpected(struct parser *p, const char *where);

/* Skips the required }}. */
int hl_go_expect_close(struct parser *p, const char *where);

/* Enters a nested level. The caller restores `nesting`. */
int hl_go_nest(struct parser *p);

int hl_go_new_slot(struct parser *p, uint32_t *slot);
int hl_go_add_variable(struct parser *p, const char *name, size_t n, uint32_t slot);

/* Returns a pipeline's value in the form in which it is stored or its fields are read. */
uint32_t hl_go_value_of(struct parser *p, struct operand operand);

/* Parses up to }} or ), which the caller reads. `declared` receives up to `most` variables, which then have their
 * slots; NULL allows none. */
int hl_go_pipeline(struct parser *p, uint32_t most, struct declaration *declared, struct operand *out);

#endif
