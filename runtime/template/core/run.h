/* Inside of the interpreter: what a rendering consists of, and what a language brings along. Not for its users. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_RUN_H
#define HL_RUNTIME_TEMPLATE_CORE_RUN_H

#include "runtime/template/core/template.h"

struct hl_run;

/* Arguments of a call. Builtins with a list of parameters find each argument at its parameter's place, HL_VALUE_ABSENT
 * where none was given, and `n` is the number of parameters. Builtins without such a list (`parameters` NULL) find what
 * was given, and arguments with names in `named`. */
struct hl_args {
    struct hl_value *values;
    uint32_t n;
    struct hl_dict *named; /* NULL: none */
};

/* Something to call: a filter ("filter"), a test ("test"), a function ("function"), or a method, whose kind is the type
 * that has it ("str"). The piped value or the object is the first argument. A parameter called "-" cannot be given by
 * name. */
struct hl_builtin {
    const char *kind, *name;
    const char *parameters; /* names with a space between; NULL: takes what comes */
    uint8_t least;          /* so many of the first must be given */
    int (*call)(struct hl_run *run, const struct hl_args *args, struct hl_value *out);
};

/* The operators of a language. */
struct hl_operators {
    int (*unary)(struct hl_run *run, enum hl_unary op, struct hl_value a, struct hl_value *out);
    int (*binary)(struct hl_run *run, enum hl_binary op, struct hl_value a, struct hl_value b, struct hl_value *out);
    int (*compare)(struct hl_run *run, enum hl_compare op, struct hl_value a, struct hl_value b, bool *out);
    int (*slice)(struct hl_run *run, struct hl_value object, const struct hl_value bounds[3], struct hl_value *out);
};

/* What differs between the languages. */
struct hl_dialect {
    const struct hl_builtin *const *builtins; /* tables, each ended by one without a kind; then NULL */
    bool (*truth)(struct hl_value value);
    /* What OUTPUT and CONCAT print. */
    int (*print)(struct hl_run *run, struct hl_text *out, struct hl_value value);
    /* object.name and object[key] */
    int (*attribute)(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
    int (*item)(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out);
    /* The method that object.name() calls, or NULL: then it is the attribute that is called. The member may be NULL. */
    const struct hl_builtin *(*method)(struct hl_run *run, struct hl_value object, struct hl_value name);
    const struct hl_operators *operators; /* NULL: a section with operators is refused */
};

/* By enum hl_template_language; runtime/template/languages.c has it, above the languages that the interpreter does not
 * know. */
extern const struct hl_dialect *const hl_template_dialects[HL_TEMPLATE_LANGUAGES];

struct hl_frame {
    struct hl_frame *outer; /* where the function was made */
    uint32_t n;
    uint32_t depth;                   /* of a recursive loop, from 0 */
    const struct hl_object *function; /* that is running; NULL: the template itself */
    struct hl_value slots[];
};

struct hl_template {
    const struct hl_template_header *header;
    const struct hl_node *nodes;
    const uint32_t *lists;
    const struct hl_template_constant *constants;
    const struct hl_template_function *functions;
    const struct hl_template_loop *loops;
    const uint32_t *names;
    const struct hl_template_global *globals;
    const char *text;
    const struct hl_dialect *dialect;
    const struct hl_builtin **builtins; /* what the section's names of builtins stand for */
};

#define HL_RUN_LEVELS 1500 /* of nodes within nodes, through all calls */

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

/* Goes through the items of a value. Without memory of its own: a copy goes on from the same place, except for lazy
 * ones. */
struct hl_iterator {
    enum { HL_ITERATE_ITEMS, HL_ITERATE_STRING, HL_ITERATE_DICT, HL_ITERATE_RANGE, HL_ITERATE_LAZY } kind;
    enum hl_dict_view { HL_VIEW_KEYS, HL_VIEW_VALUES, HL_VIEW_ITEMS } view; /* of a dict */
    bool backwards;                                                         /* items and ranges */
    uint64_t at;
    struct hl_value source;
    int (*next)(struct hl_run *run, void *state, struct hl_value *out); /* lazy: as hl_iterate_next() */
    void *state;
};

enum hl_object_kind {
    HL_OBJECT_FUNCTION, /* of the template, with the frame it was made in */
    HL_OBJECT_BUILTIN,
    HL_OBJECT_METHOD,   /* a builtin with its first argument */
    HL_OBJECT_LOOP,     /* the variable `loop` */
    HL_OBJECT_ITERATOR, /* what can be gone through once */
    HL_OBJECT_VIEW,     /* keys(), values(), items() of a dict */
    HL_OBJECT_RANGE,
    HL_OBJECT_CYCLER,
    HL_OBJECT_JOINER,
};

struct hl_loop {
    struct hl_iterator items;
    struct hl_value before, now, after; /* ABSENT: none; `after` has been looked at early */
    struct hl_value changed;            /* what changed() was called with: a tuple, or ABSENT */
    int64_t index;                      /* from 0; -1 before the first */
    int64_t length;                     /* -1: not known yet */
    uint32_t depth;
    const struct hl_object *recursion; /* the function to call for a level below, or NULL */
};

struct hl_object {
    enum hl_object_kind kind;
    union {
        struct {
            const struct hl_template_function *code;
            struct hl_frame *outer;
            struct hl_value name; /* STRING or NONE */
        } function;
        const struct hl_builtin *builtin;
        struct {
            const struct hl_builtin *builtin;
            struct hl_value self;
        } method;
        struct hl_loop loop;
        struct {
            struct hl_iterator items;
            const char *type; /* Python's name of it */
        } iterator;
        struct {
            struct hl_dict *dict;
            enum hl_dict_view view;
        } view;
        struct {
            int64_t start, stop, step, length;
        } range;
        struct {
            struct hl_list *items;
            uint32_t at;
        } cycler;
        struct {
            struct hl_value separator;
            bool used;
        } joiner;
    };
};

bool hl_object_truth(const struct hl_object *object);
const char *hl_object_type(const struct hl_object *object);
int hl_object_repr(struct hl_text *out, const struct hl_object *object, struct hl_error *err);

/* A new object of this kind, zeroed. */
int hl_object_new(struct hl_run *run, enum hl_object_kind kind, struct hl_value *out);

/* Begins to go through a value; fails when it cannot be gone through. */
int hl_iterate(struct hl_run *run, struct hl_value value, struct hl_iterator *out);

/* 1 and the next item, 0 at the end, -1 for an error. */
int hl_iterate_next(struct hl_run *run, struct hl_iterator *iterator, struct hl_value *out);

/* An iterator object around a function and its state. */
int hl_iterator_new(struct hl_run *run, int (*next)(struct hl_run *run, void *state, struct hl_value *out), void *state,
                    struct hl_value *out);

/* The same for a loop, whose next item may have been looked at early. */
int hl_loop_next(struct hl_run *run, struct hl_loop *loop, struct hl_value *out);

/* loop.index and the like; *out is ABSENT when there is no such attribute. */
int hl_loop_attribute(struct hl_run *run, struct hl_loop *loop, struct hl_value name, struct hl_value *out);

/* All items as a new list; list() of Python. */
int hl_iterate_all(struct hl_run *run, struct hl_value value, enum hl_value_kind kind, struct hl_value *out);

/* The number of items, or -1 when the value has no length (no error is set). */
int64_t hl_value_length(struct hl_value value);

/* Calls any value. `named` may be NULL. */
int hl_run_call(struct hl_run *run, struct hl_value callee, const struct hl_args *args, struct hl_value *out);
int hl_run_builtin(struct hl_run *run, const struct hl_builtin *builtin, const struct hl_args *args,
                   struct hl_value *out);
const struct hl_builtin *hl_builtin_find(const struct hl_dialect *dialect, const char *kind, const char *name,
                                         size_t n);

/* The error (HL_ERROR_REQUEST); the rendering puts the line of the template in front. Returns -1. */
__attribute__((format(printf, 2, 3))) int hl_run_fail(struct hl_run *run, const char *format, ...);

/* Fails: `value`, which is undefined, was used. */
int hl_run_undefined(struct hl_run *run, struct hl_value value);

/* Memory, or NULL with the error set. */
void *hl_run_alloc(struct hl_run *run, size_t bytes);

/* A new string of these bytes. */
int hl_run_string(struct hl_run *run, const char *bytes, size_t n, struct hl_value *out);

/* Argument i of a builtin, as a string, or as an int in which None and what is absent are `otherwise`; fails when it is
 * of another type. */
int hl_args_text(struct hl_run *run, const struct hl_args *args, uint32_t i, struct hl_value *out);
int hl_args_int(struct hl_run *run, const struct hl_args *args, uint32_t i, int64_t otherwise, int64_t *out);

/* Is argument i given? */
static inline bool hl_args_given(const struct hl_args *args, uint32_t i)
{
    return i < args->n && args->values[i].kind != HL_VALUE_ABSENT;
}

/* What a language prints of a value, as a string. */
int hl_run_print(struct hl_run *run, struct hl_value value, struct hl_value *out);

static inline struct hl_value hl_text_value(const struct hl_text *text)
{
    return hl_string(text->data ? text->data : "", text->n);
}

#endif
