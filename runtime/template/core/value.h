/* Values of a template: those of JSON, Python's distinctions between them, and those that only templates make.
 *
 * All values live in an arena and are freed with it at once. The arena also holds a budget of work. Every walk over
 * values or text pays for what it reads, so that no template and no conversation can take long. Values are small and
 * passed by value; lists and dicts are shared by reference, as in Python.
 */
#ifndef HL_RUNTIME_TEMPLATE_CORE_VALUE_H
#define HL_RUNTIME_TEMPLATE_CORE_VALUE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl_arena {
    struct hl_arena_chunk *chunks;
    size_t used, limit; /* bytes */
    uint64_t work;      /* units left; one is about a node of a tree or 64 bytes of text */
};

void hl_arena_init(struct hl_arena *arena, size_t limit, uint64_t work);
void hl_arena_release(struct hl_arena *arena);

/* Allocates memory, aligned to 16, not cleared. Returns NULL at the limit; hl_arena_full() then sets the error. */
void *hl_arena_alloc(struct hl_arena *arena, size_t bytes);

/* Fails with HL_ERROR_REQUEST: the arena is full. */
int hl_arena_full(const struct hl_arena *arena, struct hl_error *err);

/* Pays for work. Fails with HL_ERROR_REQUEST when the budget is spent. */
int hl_arena_pay(struct hl_arena *arena, uint64_t units, struct hl_error *err);

/* Text that grows in an arena. A zeroed struct with `arena` set is empty. */
struct hl_text {
    struct hl_arena *arena;
    char *data;
    size_t n, room;
};

int hl_text_put(struct hl_text *text, const char *bytes, size_t n, struct hl_error *err);

enum hl_value_kind {
    HL_VALUE_UNDEFINED, /* text, n: the undefined name, for messages; flags: enum hl_undefined */
    HL_VALUE_NONE,
    HL_VALUE_BOOL,
    HL_VALUE_INT,
    HL_VALUE_BIG, /* text, n: an integer beyond 64 bits; prints and compares equal, but has no arithmetic */
    HL_VALUE_FLOAT,
    HL_VALUE_STRING, /* text, n: UTF-8, not terminated; flags: HL_STRING_SAFE */
    HL_VALUE_LIST,
    HL_VALUE_TUPLE, /* a list that can no longer change */
    HL_VALUE_DICT,
    HL_VALUE_NAMESPACE, /* a dict with attributes */
    HL_VALUE_OBJECT,    /* made only by the interpreter: functions, loops, iterators (run.h) */
    HL_VALUE_ABSENT,    /* an argument that was not given; never in a list or dict */
};

enum hl_undefined {
    HL_UNDEFINED_NAME,      /* a variable of this name */
    HL_UNDEFINED_ATTRIBUTE, /* an attribute of this name of some value */
    HL_UNDEFINED_UNSAFE,    /* an attribute that would change a value */
    HL_UNDEFINED_REASON,    /* the text is the whole message */
};

#define HL_STRING_SAFE 1u /* Markup: text added to it is escaped */
#define HL_TUPLE_GROUP 1u /* two items that are also called `grouper` and `list` */

struct hl_value {
    uint8_t kind; /* enum hl_value_kind */
    uint8_t flags;
    uint32_t n; /* bytes of text */
    union {
        bool truth;
        int64_t integer;
        double real;
        const char *text;
        struct hl_list *list;
        struct hl_dict *dict;
        struct hl_object *object;
    };
};

struct hl_list {
    struct hl_value *items;
    uint32_t n, room;
};

struct hl_entry {
    struct hl_value key, value;
};

/* Entries in the order of insertion, like Python's. Keys are strings, numbers, None, bools, and tuples of these. */
struct hl_dict {
    struct hl_entry *entries;
    uint32_t n, room;
    uint32_t *index; /* open addressing: entry + 1, or 0; NULL while there are few entries */
    uint32_t slots;  /* a power of two */
};

static inline struct hl_value hl_undefined(enum hl_undefined why, const char *text, size_t n)
{
    return (struct hl_value){.kind = HL_VALUE_UNDEFINED, .flags = (uint8_t)why, .n = (uint32_t)n, .text = text};
}

/* Makes an undefined value whose use fails with `reason`, which must last as long as the value. */
static inline struct hl_value hl_undefined_because(const char *reason)
{
    return hl_undefined(HL_UNDEFINED_REASON, reason, strlen(reason));
}

static inline struct hl_value hl_none(void)
{
    return (struct hl_value){.kind = HL_VALUE_NONE};
}

static inline struct hl_value hl_bool(bool truth)
{
    return (struct hl_value){.kind = HL_VALUE_BOOL, .truth = truth};
}

static inline struct hl_value hl_int(int64_t integer)
{
    return (struct hl_value){.kind = HL_VALUE_INT, .integer = integer};
}

static inline struct hl_value hl_float(double real)
{
    return (struct hl_value){.kind = HL_VALUE_FLOAT, .real = real};
}

/* Refers to `text`, which is UTF-8 and must last as long as the value. */
static inline struct hl_value hl_string(const char *text, size_t n)
{
    return (struct hl_value){.kind = HL_VALUE_STRING, .n = (uint32_t)n, .text = text};
}

static inline bool hl_value_is_text(struct hl_value value, const char *text)
{
    return value.kind == HL_VALUE_STRING && value.n == strlen(text) && !memcmp(value.text, text, value.n);
}

/* Returns whether the value is an int in Python, where a bool is one too. */
static inline bool hl_value_is_whole(struct hl_value value)
{
    return value.kind == HL_VALUE_INT || value.kind == HL_VALUE_BOOL;
}

/* Returns the int of a value that is whole. */
static inline int64_t hl_value_whole(struct hl_value value)
{
    return value.kind == HL_VALUE_BOOL ? value.truth : value.integer;
}

static inline bool hl_value_is_number(struct hl_value value)
{
    return hl_value_is_whole(value) || value.kind == HL_VALUE_FLOAT;
}

/* Makes an empty list; kind LIST or TUPLE. */
int hl_list_new(struct hl_arena *arena, enum hl_value_kind kind, size_t room, struct hl_value *out,
                struct hl_error *err);
int hl_list_push(struct hl_arena *arena, struct hl_list *list, struct hl_value value, struct hl_error *err);

/* Makes an empty dict; kind DICT or NAMESPACE. */
int hl_dict_new(struct hl_arena *arena, enum hl_value_kind kind, struct hl_value *out, struct hl_error *err);

/* Set an entry. An existing key keeps its place. They fail if the key's type cannot be a key. The key of _put is text
 * that outlives the dict. */
int hl_dict_set(struct hl_arena *arena, struct hl_dict *dict, struct hl_value key, struct hl_value value,
                struct hl_error *err);

static inline int hl_dict_put(struct hl_arena *arena, struct hl_value dict, const char *key, struct hl_value value,
                              struct hl_error *err)
{
    return hl_dict_set(arena, dict.dict, hl_string(key, strlen(key)), value, err);
}

/* Return the value, or NULL. `text` is a string key. _find takes any key and fails if its type cannot be one. */
struct hl_value *hl_dict_get(const struct hl_dict *dict, const char *text, size_t n);
int hl_dict_find(struct hl_arena *arena, const struct hl_dict *dict, struct hl_value key, struct hl_value **out,
                 struct hl_error *err);

/* Parses JSON text as Python's json.loads() does: 1 is an int, 1.0 and 1e3 are floats. Of members with the same name
 * the last one counts, at the place of the first. Differences: refuses (HL_ERROR_REQUEST) NaN and Infinity, lone
 * surrogates, the character NUL, more than HL_VALUE_DEPTH levels, and bytes that are not UTF-8; an int beyond 64 bits
 * is HL_VALUE_BIG. The value does not refer to `text`. */
int hl_value_json(struct hl_arena *arena, const char *text, size_t n, struct hl_value *out, struct hl_error *err);

#define HL_VALUE_DEPTH 200 /* levels of lists and dicts that are printed, parsed or compared */

/* Writes JSON as Python's json.dumps() does. */
struct hl_json_style {
    struct hl_value indent; /* NONE (or zeroed): one line; INT: spaces; STRING: that text for each level */
    struct hl_value item_separator, key_separator; /* STRING, or ABSENT for Python's defaults */
    bool sort_keys;
    bool ensure_ascii;
};

int hl_value_dump(struct hl_text *out, struct hl_value value, const struct hl_json_style *style, struct hl_error *err);

/* Print as Python's str() and repr() do. Undefined prints as an empty text. */
int hl_value_str(struct hl_text *out, struct hl_value value, struct hl_error *err);
int hl_value_repr(struct hl_text *out, struct hl_value value, struct hl_error *err);

/* Writes the shortest decimal that reads back as this double, in Python's form (1e+16, 0.1, inf). Returns its length.
 */
#define HL_FLOAT_TEXT 32
size_t hl_value_float_repr(double real, char text[HL_FLOAT_TEXT]);

/* Returns Python's bool(): false are undefined, None, False, 0, 0.0, and empty values. */
bool hl_value_truth(struct hl_value value);

/* Compares as a == b does in Python: 1 == 1.0 == True; values of different kinds are not equal. */
int hl_value_equal(struct hl_arena *arena, struct hl_value a, struct hl_value b, bool *equal, struct hl_error *err);

/* Compares as a < b does in Python, strings by code point. *order is negative, 0, positive, or HL_UNORDERED with a NaN.
 * Fails for kinds that Python does not order. */
#define HL_UNORDERED 2
int hl_value_order(struct hl_arena *arena, struct hl_value a, struct hl_value b, int *order, struct hl_error *err);

/* Returns Python's name of the type ("str", "int", "dict", ...), for messages. */
const char *hl_value_type(struct hl_value value);

#endif
