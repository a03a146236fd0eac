/* Inside the compiler of Go templates: its tokens. */
#ifndef HL_RUNTIME_TEMPLATE_GO_GO_LEX_H
#define HL_RUNTIME_TEMPLATE_GO_GO_LEX_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hl_go_token {
    HL_GO_END,      /* of the source */
    HL_GO_TEXT,     /* outside actions, trimmed; never empty */
    HL_GO_OPEN,     /* {{ */
    HL_GO_CLOSE,    /* }} */
    HL_GO_WORD,     /* name of a function, keyword, true, false, nil */
    HL_GO_DOT,      /* . */
    HL_GO_FIELD,    /* .Name, without the dot */
    HL_GO_VARIABLE, /* $ or $name */
    HL_GO_STRING,   /* "..." or `...`, with its quotes */
    HL_GO_CHAR,     /* '...', with its quotes */
    HL_GO_NUMBER,
    HL_GO_SIGN, /* ( ) | , = and := */
};

/* The position of the lexer, and its current token. A copy is a bookmark. */
struct hl_go_lex {
    const char *source, *end, *at;
    uint32_t line; /* of `at` */
    uint32_t parens;
    bool inside; /* of an action */

    enum hl_go_token token;
    const char *text;
    size_t n;
    uint32_t token_line;
    bool spaced; /* there is space before the token */
};

/* Starts on `source`, which is UTF-8. Reads no token. */
void hl_go_lex_start(struct hl_go_lex *lex, const char *source, size_t n);

/* Reads the next token. */
int hl_go_lex_next(struct hl_go_lex *lex, struct hl_error *err);

/* Returns whether the token is this word or sign. */
bool hl_go_is(const struct hl_go_lex *lex, enum hl_go_token token, const char *text);

/* Sets the error "line N: ..." (HL_ERROR_REQUEST). Returns -1. */
__attribute__((format(printf, 3, 4))) int hl_go_fail(const struct hl_go_lex *lex, struct hl_error *err,
                                                     const char *format, ...);

/* Decodes the token STRING. `out` has room for lex->n bytes. */
int hl_go_unquote(const struct hl_go_lex *lex, char *out, size_t *n, struct hl_error *err);

/* The value of the token NUMBER or CHAR. */
struct hl_go_number {
    bool is_float;
    int64_t integer;
    double real;
};

int hl_go_number(const struct hl_go_lex *lex, struct hl_go_number *out, struct hl_error *err);

#endif
