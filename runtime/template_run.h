/* Inside of the interpreter: what a rendering consists of, and what a language brings along. Not for its users. */
#ifndef HL_RUNTIME_TEMPLATE_RUN_H
#define HL_RUNTIME_TEMPLATE_RUN_H

#include "runtime/template.h"

struct hl_run;

/* Arguments of a call. Builtins with a list of parameters find each argument at its parameter's place, HL_VALUE_ABSENT
 * where none was given, and `n` is the number of parameters. Builtins without such a list (`parameters` NULL) find what
 * was given, and arguments with names in `named`. */
struct hl_args {
    struct hl_value *values;
    uint32_t n;
    struct hl_dict *named; /* NULL: none */
};

/* A filter ("filter"), a test ("test") or a function ("function"). The piped value is the first argument. */
struct hl_builtin {
    const char *kind, *name;
    const char *parameters; /* names with a space between; NULL: takes what comes */
    uint8_t least;          /* so many of the first must be given */
    int (*call)(struct hl_run *run, const struct hl_args *args, struct hl_value *out);
};

/* What differs between the languages. */
struct hl_dialect {
    const struct hl_builtin *builtins;
    size_t n_builtins;
    bool (*truth)(struct hl_value value);
    /* What OUTPUT and CONCAT print. */
    int (*print)(struct hl_run *run, struct hl_text *out, struct hl_value value);
    /* object.name and object[key] */
    int (*attribute)(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
    int (*item)(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out);
};

extern const struct hl_dialect hl_dialect_jinja;
extern const struct hl_dialect hl_dialect_go;

struct hl_frame {
    struct hl_frame *outer; /* where the function was made */
    uint32_t n;
    uint32_t depth;                   /* of a recursive loop, from 0 */
    const struct hl_object *function; /* that is running; NULL: the template itself */
    struct hl_value slots[];
};

struct hl_run {
    const struct hl_template *t;
    const struct hl_dialect *dialect;
    struct hl_arena *arena;
    struct hl_frame *frame;
    struct hl_text *out;
    struct hl_value context; /* dict */
    struct hl_value *names;  /* what each of the template's names is in this rendering */
    int64_t now;
    uint32_t depth; /* of C calls */
    uint32_t line;  /* of the template, where we are */
    struct hl_error *err;
};

/* The error "line N: ..." (HL_ERROR_REQUEST). Returns -1. */
__attribute__((format(printf, 2, 3))) int hl_run_fail(struct hl_run *run, const char *format, ...);

/* New strings, of bytes that are copied, or of a text that was built in the arena. */
int hl_run_string(struct hl_run *run, const char *bytes, size_t n, struct hl_value *out);

static inline struct hl_value hl_text_value(const struct hl_text *text)
{
    return hl_string(text->data ? text->data : "", text->n);
}

#endif
