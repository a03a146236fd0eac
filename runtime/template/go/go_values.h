/* Inside the runtime of Go templates: Go's types, represented as the values of templates.
 *
 * Most values are those of JSON in Go: nil, bool, float64, string, []any, map[string]any, and also int. HL_VALUE_NONE
 * is a nil in some variable or field; HL_VALUE_UNDEFINED is no value at all. The types of Ollama's data are lists and
 * dicts whose `flags` give the type. The dict of a struct has all the struct's fields as keys, in the order of the
 * struct. The entries of maps are sorted, since Go iterates over them in that order. */
#ifndef HL_RUNTIME_TEMPLATE_GO_GO_VALUES_H
#define HL_RUNTIME_TEMPLATE_GO_GO_VALUES_H

#include "runtime/template/core/run.h"

enum hl_go_type {
    HL_GO_ANY,     /* []any or map[string]any */
    HL_GO_MESSAGE, /* structs */
    HL_GO_CALL,
    HL_GO_CALL_FUNCTION,
    HL_GO_TOOL,
    HL_GO_FUNCTION,
    HL_GO_PARAMETERS,
    HL_GO_PROPERTY,
    HL_GO_PROPERTIES, /* maps */
    HL_GO_ARGUMENTS,
    HL_GO_TOOLS,      /* lists */
    HL_GO_TYPE_NAMES, /* the type of a property: one name, or several */
    HL_GO_TYPES,
    HL_GO_NIL = 0x80, /* a list or map that is nil */
};

struct hl_go_field {
    const char *name, *json;
    bool omitted; /* left out of JSON when it is empty */
};

#define HL_GO_MOST_FIELDS 7

struct hl_go_class {
    const char *name;
    bool prints_json;
    uint8_t element;  /* enum hl_go_type: a map's value for a missing key; HL_GO_ANY: nil */
    uint8_t n_fields; /* 0: not a struct */
    struct hl_go_field fields[HL_GO_MOST_FIELDS];
};

const struct hl_go_class *hl_go_class(struct hl_value value);

static inline bool hl_go_is_struct(struct hl_value value)
{
    return value.kind == HL_VALUE_DICT && hl_go_class(value)->n_fields > 0;
}

static inline bool hl_go_is_list(struct hl_value value)
{
    return value.kind == HL_VALUE_LIST || value.kind == HL_VALUE_TUPLE;
}

static inline bool hl_go_is_nil(struct hl_value value)
{
    return value.kind == HL_VALUE_NONE || value.kind == HL_VALUE_UNDEFINED ||
           ((value.kind == HL_VALUE_LIST || value.kind == HL_VALUE_DICT) && (value.flags & HL_GO_NIL));
}

/* Returns Go's name of the type, for messages. */
const char *hl_go_type_name(struct hl_value value);

bool hl_go_truth(struct hl_value value);

/* Prints as fmt's %v does; nil at the top of an action prints "<no value>". */
int hl_go_print(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* Prints as fmt.Sprintf does. */
int hl_go_printf(struct hl_run *run, struct hl_text *out, struct hl_value format, const struct hl_value *values,
                 uint32_t n);

/* Prints as %v does, without anything around it. */
int hl_go_format(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* Prints as json.Marshal does. */
int hl_go_json(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* Converts a property of a tool's parameters from a dict as clients send it. */
int hl_go_property(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err);

extern const struct hl_dialect hl_go_dialect; /* functions.c */

#endif
