/* The template section: a compiled chat template. The runtime executes the tree in place and parses nothing.
 *
 *   struct hl_template_header                 (128 bytes)
 *   nodes      struct hl_node[]               the tree; every child is stored before its parent
 *   lists      uint32_t[]                     lists of nodes: a count, then that many indices
 *   constants  struct hl_template_constant[]
 *   functions  struct hl_template_function[]  0 is the template itself; the others are macros, call blocks and the like
 *   loops      struct hl_template_loop[]      the parts of each `for`
 *   builtins   uint32_t[]                     constants: "filter NAME", "test NAME", ... that the tree calls
 *   names      uint32_t[]                     constants: names that are looked up in the context
 *   globals    struct hl_template_global[]    strings in the context besides those that the caller passes (bos_token)
 *   text       bytes                          of the string constants, UTF-8
 *
 * Tables start on multiples of 8, and the section ends on one. All numbers are little-endian, all padding is zero.
 * The reader checks every index once, when it opens the section. The interpreter checks variables at each use.
 *
 * One tree serves two languages, Jinja and Go's text/template. Nodes say what to do. The language decides which values
 * are true, what an attribute is, how a value prints and which builtins exist (runtime/template/core/run.h).
 *
 * Variables. A function has a fixed number of slots, and each call runs in a frame of that many. A frame links to the
 * frame in which the function's value was made. A variable is a slot and the number of links to follow. The compiler
 * resolves scopes inside a function: it gives every scope slots of its own.
 */
#ifndef HOTLAYER_TEMPLATE_SECTION_H
#define HOTLAYER_TEMPLATE_SECTION_H

#include "hotlayer/program.h" /* HL_NONE: no such node */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define HL_TEMPLATE_MAGIC "HOTTEMPL"
#define HL_TEMPLATE_VERSION 1u
#define HL_TEMPLATE_MAX_BYTES (4u << 20) /* of a section */
#define HL_TEMPLATE_MAX_DEPTH 400u       /* of the tree */
#define HL_TEMPLATE_MAX_SLOTS 4096u      /* of a function */

enum hl_template_language {
    HL_TEMPLATE_JINJA, /* as transformers sets jinja2 up */
    HL_TEMPLATE_GO,    /* text/template */
    HL_TEMPLATE_LANGUAGES,
};

/* Meaning of a, b and c. "node" may be HL_NONE only where the comment says "or none". "list" is an index into `lists`,
 * at which a count stands. "text" is a string constant. Unused fields are zero. */
enum hl_node_kind {
    /* Expressions have a value. */
    HL_NODE_CONSTANT,  /* a constant */
    HL_NODE_VARIABLE,  /* a slot, b links to follow, c text: its name, for messages */
    HL_NODE_NAME,      /* a index into `names`: from the context, the globals, or a builtin function */
    HL_NODE_ATTRIBUTE, /* a node, b text: object.name */
    HL_NODE_ITEM,      /* a node, b node: object[key] */
    HL_NODE_SLICE,     /* a node, b list of three nodes: object[start:stop:step] */
    HL_NODE_CALL,      /* a node: the callee, b list: arguments */
    HL_NODE_BUILTIN,   /* a index into `builtins`, b list: arguments, the piped value first */
    HL_NODE_KEYWORD,   /* a text, b node: an argument with a name */
    HL_NODE_SPREAD,    /* a node: each item becomes an argument; op 1: each entry becomes a named argument */
    HL_NODE_UNARY,     /* op enum hl_unary, a node */
    HL_NODE_BINARY,    /* op enum hl_binary, a node, b node */
    HL_NODE_NOT,       /* a node */
    HL_NODE_AND,       /* a node, b node: the value of the first that decides */
    HL_NODE_OR,        /* as HL_NODE_AND */
    HL_NODE_COMPARE,   /* a node, b list of HL_NODE_COMPARAND: a < b <= c */
    HL_NODE_COMPARAND, /* op enum hl_compare, a node; only below HL_NODE_COMPARE */
    HL_NODE_CONCAT,    /* a list: printed one after another into a string */
    HL_NODE_CONDITION, /* a node ? b node : c node or none (undefined) */
    HL_NODE_LIST,      /* a list */
    HL_NODE_TUPLE,     /* a list */
    HL_NODE_DICT,      /* a list: key, value, key, value, ... */
    HL_NODE_FUNCTION,  /* a index into `functions`: a callable value; it sees the current frame */
    HL_NODE_CAPTURE,   /* a node: the output of the statement, as a string */
    /* Statements print. */
    HL_NODE_TEXT,      /* a text */
    HL_NODE_OUTPUT,    /* a node: prints its value */
    HL_NODE_BLOCK,     /* a list: one after another */
    HL_NODE_IF,        /* a node, b node, c node or none */
    HL_NODE_FOR,       /* a index into `loops` */
    HL_NODE_SET,       /* a node: VARIABLE, ATTRIBUTE (of a namespace) or TUPLE of such; b node: the value */
    HL_NODE_BREAK,     /* leaves the innermost loop */
    HL_NODE_CONTINUE,  /* continues with the loop's next item */
    HL_NODE_PARAMETER, /* a text: name, b node or none: default; only in a function's list of parameters */
    HL_NODE_KINDS,
};

enum hl_unary { HL_UNARY_NEGATIVE, HL_UNARY_POSITIVE, HL_UNARY_COUNT };

enum hl_binary {
    HL_BINARY_ADD,
    HL_BINARY_SUB,
    HL_BINARY_MUL,
    HL_BINARY_DIV,
    HL_BINARY_FLOORDIV,
    HL_BINARY_MOD,
    HL_BINARY_POW,
    HL_BINARY_COUNT,
};

enum hl_compare {
    HL_COMPARE_EQ,
    HL_COMPARE_NE,
    HL_COMPARE_LT,
    HL_COMPARE_LE,
    HL_COMPARE_GT,
    HL_COMPARE_GE,
    HL_COMPARE_IN,
    HL_COMPARE_NOT_IN,
    HL_COMPARE_COUNT,
};

struct hl_node {
    uint8_t kind;  /* enum hl_node_kind */
    uint8_t op;    /* 0 unless stated otherwise */
    uint16_t line; /* of the source, for messages; larger numbers are stored as 65535 */
    uint32_t a, b, c;
};

enum hl_constant_kind {
    HL_CONSTANT_UNDEFINED,
    HL_CONSTANT_NONE,
    HL_CONSTANT_FALSE,
    HL_CONSTANT_TRUE,
    HL_CONSTANT_INT,   /* value: int64 */
    HL_CONSTANT_FLOAT, /* value: the bits of a double */
    HL_CONSTANT_TEXT,  /* value: offset in `text`, bytes: length */
    HL_CONSTANT_KINDS,
};

struct hl_template_constant {
    uint32_t kind;  /* enum hl_constant_kind */
    uint32_t bytes; /* 0 unless the constant is text */
    uint64_t value; /* 0 unless stated otherwise */
};

enum hl_function_flag {
    HL_FUNCTION_CALLER = 1u << 0,  /* slots after the parameters, in this order: `caller`, */
    HL_FUNCTION_KWARGS = 1u << 1,  /* a dict of the named arguments that match no parameter, */
    HL_FUNCTION_VARARGS = 1u << 2, /* a tuple of the surplus arguments */
    HL_FUNCTION_LOOP = 1u << 3,    /* the body of a recursive loop; its one parameter is the value to loop over */
    HL_FUNCTION_FLAGS = (1u << 4) - 1,
};

/* A call runs `body` and returns its output. Parameter i is in slot i. */
struct hl_template_function {
    uint32_t name;       /* constant, text; or HL_NONE */
    uint32_t parameters; /* list of HL_NODE_PARAMETER */
    uint32_t body;       /* node, stored before every HL_NODE_FUNCTION that names this function */
    uint32_t slots;      /* 1 to HL_TEMPLATE_MAX_SLOTS */
    uint32_t flags;      /* enum hl_function_flag */
    uint32_t reserved;
};

/* The nodes are stored before the HL_NODE_FOR. */
struct hl_template_loop {
    uint32_t target;    /* node, as in HL_NODE_SET */
    uint32_t iterable;  /* node */
    uint32_t condition; /* node or none: skips the items for which it is false, */
    uint32_t candidate; /* node or none: a separate target, set to the item before the condition is evaluated */
    uint32_t body;      /* node */
    uint32_t otherwise; /* node or none: runs when there are no items */
    uint32_t slot;      /* of the variable `loop`, or HL_NONE */
    uint32_t reserved;
};

struct hl_template_global {
    uint32_t name, value; /* constants, text */
};

struct hl_template_table {
    uint32_t offset; /* from the start of the section, a multiple of 8 */
    uint32_t count;  /* of elements */
};

struct hl_template_header {
    char magic[8]; /* HL_TEMPLATE_MAGIC without its NUL */
    uint32_t version;
    uint32_t language; /* enum hl_template_language */
    struct hl_template_table nodes, lists, constants, functions, loops, builtins, names, globals, text;
    uint8_t reserved[40];
};

static_assert(sizeof(struct hl_template_header) == 128, "on-disk size");
static_assert(offsetof(struct hl_template_header, nodes) == 16, "on-disk offset");
static_assert(sizeof(struct hl_node) == 16, "on-disk size");
static_assert(sizeof(struct hl_template_constant) == 16, "on-disk size");
static_assert(sizeof(struct hl_template_function) == 24, "on-disk size");
static_assert(sizeof(struct hl_template_loop) == 32, "on-disk size");
static_assert(sizeof(struct hl_template_global) == 8, "on-disk size");

#endif
