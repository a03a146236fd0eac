/* Inside the interpreter: the state of a rendering, and the interface of a language. For runtime/template/ only. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_RUN_H
#define HL_RUNTIME_TEMPLATE_CORE_RUN_H

#include "runtime/template/core/template.h"

struct hl_run;

/* Arguments of a call. A builtin with a list of parameters gets each argument at its parameter's place, HL_VALUE_ABSENT
 * where none was given, and `n` is the number of parameters. A builtin without such a list (`parameters` NULL) gets the
 * arguments as given, the named ones in `named`. */
struct hl_args {
    struct hl_value *values;
    uint32_t n;
    struct hl_dict *named; /* NULL: none */
};

/* A filter ("filter"), a test ("test"), a function ("function"), or a method, whose kind is the type that has it
 * ("str"). The piped value or the object is the first argument. A parameter called "-" cannot be given by name. */
struct hl_builtin {
    const char *kind, *name;
    const char *parameters; /* names with a space between; NULL: any arguments */
    uint8_t least;          /* the first `least` must be given */
    int (*call)(struct hl_run *run, const struct hl_args *args, struct hl_value *out);
};

/* The operators of a language. */
struct hl_operators {
    int (*unary)(struct hl_run *run, enum hl_unary op, struct hl_value a, struct hl_value *out);
    int (*binary)(struct hl_run *run, enum hl_binary op, struct hl_value a, struct hl_value b, struct hl_value *out);
    int (*compare)(struct hl_run *run, enum hl_compare op, struct hl_value a, struct hl_value b, bool *out);
    int (*slice)(struct hl_run *run, struct hl_value object, const struct hl_value bounds[3], struct hl_value *out);
};

/* The differences between the languages. */
struct hl_dialect {
    const struct hl_builtin *const *builtins; /* tables, each ended by an entry without a kind; then NULL */
    bool (*truth)(struct hl_value value);
    /* Prints a value for OUTPUT and CONCAT. */
    int (*print)(struct hl_run *run, struct hl_text *out, struct hl_value value);
    /* object.name and object[key] */
    int (*attribute)(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
    int (*item)(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out);
    /* Returns the method that object.name() calls, or NULL to call the attribute instead. The member may be NULL. */
    const struct hl_builtin *(*method)(struct hl_run *run, struct hl_value object, struct hl_value name);
    const struct hl_operators *operators; /* NULL: a section with operators is refused */
};

/* Indexed by enum hl_template_language. Defined in runtime/template/languages.c, since the interpreter knows no
 * language. */
extern const struct hl_dialect *const hl_template_dialects[HL_TEMPLATE_LANGUAGES];

struct hl_frame {
    struct hl_frame *outer; /* the frame in which the function was made */
    uint32_t n;
    uint32_t depth;                   /* of a recursive loop, from 0 */
    const struct hl_object *function; /* the running function; NULL: the template itself */
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
    const struct hl_builtin **builtins; /* the builtins that the section names */
};

#define HL_RUN_LEVELS 1500 /* of nested nodes, through all calls */

struct hl_run {
    const struct hl_template *t;
    const struct hl_dialect *dialect;
    struct hl_arena *arena;
    struct hl_frame *frame;
    struct hl_text *out;
    struct hl_value context; /* dict */
    struct hl_value *names;  /* the value of each of the template's names in this rendering */
    int64_t now;
    uint32_t depth; /* of C calls */
    uint32_t line;  /* the current line of the template */
    struct hl_error *err;
};

/* Iterates over a value. It allocates nothing, so a copy continues from the same place, except for lazy items. */
struct hl_iterator {
    enum { HL_ITERATE_ITEMS, HL_ITERATE_STRING, HL_ITERATE_DICT, HL_ITERATE_RANGE, HL_ITERATE_LAZY } kind;
    enum hl_dict_view { HL_VIEW_KEYS, HL_VIEW_VALUES, HL_VIEW_ITEMS } view; /* of a dict */
    bool backwards;                                                         /* items and ranges */
    uint64_t at;
    struct hl_value source;
    int (*next)(struct hl_run *run, void *state, struct hl_value *out); /* of lazy items; as hl_iterator_next() */
    void *state;
};

enum hl_object_kind {
    HL_OBJECT_FUNCTION, /* of the template, with the frame in which it was made */
    HL_OBJECT_BUILTIN,
    HL_OBJECT_METHOD,   /* a builtin with its first argument */
    HL_OBJECT_LOOP,     /* the variable `loop` */
    HL_OBJECT_ITERATOR, /* items that can be iterated once */
    HL_OBJECT_VIEW,     /* keys(), values(), items() of a dict */
    HL_OBJECT_RANGE,
    HL_OBJECT_CYCLER,
    HL_OBJECT_JOINER,
};

struct hl_loop {
    struct hl_iterator items;
    struct hl_value before, now, after; /* ABSENT: none; `after` may be fetched early */
    struct hl_value changed;            /* the last arguments of changed(): a tuple, or ABSENT */
    int64_t index;                      /* from 0; -1 before the first */
    int64_t length;                     /* -1: not yet known */
    uint32_t depth;
    const struct hl_object *recursion; /* the function to call for a nested level, or NULL */
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
            const char *type; /* Python's name of the type */
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

/* Makes an object of this kind, zeroed. */
int hl_object_new(struct hl_run *run, enum hl_object_kind kind, struct hl_value *out);

/* Begins to iterate over a value. Fails if the value is not iterable. */
int hl_iterator_open(struct hl_run *run, struct hl_value value, struct hl_iterator *out);

/* Returns 1 and the next item, 0 at the end, or -1 on error. */
int hl_iterator_next(struct hl_run *run, struct hl_iterator *iterator, struct hl_value *out);

/* Makes an iterator object from a function and its state. */
int hl_iterator_new(struct hl_run *run, int (*next)(struct hl_run *run, void *state, struct hl_value *out), void *state,
                    struct hl_value *out);

/* Returns the next item of a loop like hl_iterator_next(). It may have been fetched early. */
int hl_loop_next(struct hl_run *run, struct hl_loop *loop, struct hl_value *out);

/* Reads loop.index and the like. *out is ABSENT if the attribute does not exist. */
int hl_loop_attribute(struct hl_run *run, struct hl_loop *loop, struct hl_value name, struct hl_value *out);

/* Copies all items into a new list, as Python's list() does. */
int hl_iterator_all(struct hl_run *run, struct hl_value value, enum hl_value_kind kind, struct hl_value *out);

/* Returns the number of items, or -1 if the value has no length (sets no error). */
int64_t hl_value_length(struct hl_value value);

/* Calls any value. `named` may be NULL. */
int hl_run_call(struct hl_run *run, struct hl_value callee, const struct hl_args *args, struct hl_value *out);
int hl_run_builtin(struct hl_run *run, const struct hl_builtin *builtin, const struct hl_args *args,
                   struct hl_value *out);
const struct hl_builtin *hl_builtin_find(const struct hl_dialect *dialect, const char *kind, const char *name,
                                         size_t n);

/* Sets the error (HL_ERROR_REQUEST), to which the rendering prepends the template's line. Returns -1. */
__attribute__((format(printf, 2, 3))) int hl_run_fail(struct hl_run *run, const char *format, ...);

/* Fails because `value`, which is undefined, was used. */
int hl_run_undefined(struct hl_run *run, struct hl_value value);

/* Allocates memory. Returns NULL with the error set. */
void *hl_run_alloc(struct hl_run *run, size_t bytes);

/* Makes a string from a copy of these bytes. */
int hl_run_string(struct hl_run *run, const char *bytes, size_t n, struct hl_value *out);

/* Read argument i of a builtin as a string, or as an int, for which None and a missing argument are `otherwise`. They
 * fail on any other type. */
int hl_args_text(struct hl_run *run, const struct hl_args *args, uint32_t i, struct hl_value *out);
int hl_args_int(struct hl_run *run, const struct hl_args *args, uint32_t i, int64_t otherwise, int64_t *out);

/* Returns whether argument i was given. */
static inline bool hl_args_given(const struct hl_args *args, uint32_t i)
{
    return i < args->n && args->values[i].kind != HL_VALUE_ABSENT;
}

/* Returns Python's bool() of argument i, false if it was not given. */
static inline bool hl_args_truth(const struct hl_args *args, uint32_t i)
{
    return hl_args_given(args, i) && hl_value_truth(args->values[i]);
}

/* Prints a value as the language does, into a string. */
int hl_run_print(struct hl_run *run, struct hl_value value, struct hl_value *out);

static inline struct hl_value hl_text_value(const struct hl_text *text)
{
    return hl_string(text->data ? text->data : "", text->n);
}

#endif
