/* Inside of the runtime of Go templates: Go's types among the values of templates.
 *
 * Most values are what JSON is in Go: nil, bool, float64, string, []any, map[string]any, and int besides. HL_VALUE_NONE
 * is a nil that something holds, HL_VALUE_UNDEFINED no value at all. The types of Ollama's data are lists and dicts
 * whose `flags` say which type; their dicts have a struct's fields as keys, all of them, in the order of the struct.
 * The entries of maps are sorted, as Go walks over them. */
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
    HL_GO_NIL = 0x80, /* a list or map that is not there */
};

struct hl_go_field {
    const char *name, *json;
    bool omitted; /* in JSON, when it is empty */
};

#define HL_GO_MOST_FIELDS 7

struct hl_go_class {
    const char *name;
    bool prints_json;
    uint8_t element;  /* enum hl_go_type: what a map gives for a key that is not there; HL_GO_ANY: nil */
    uint8_t n_fields; /* 0: it is no struct */
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

/* Go's name of the type, for messages. */
const char *hl_go_type_name(struct hl_value value);

bool hl_go_truth(struct hl_value value);

/* What fmt's %v prints; at the top of an action "<no value>" for nil. */
int hl_go_print(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* fmt.Sprintf */
int hl_go_printf(struct hl_run *run, struct hl_text *out, struct hl_value format, const struct hl_value *values,
                 uint32_t n);

/* %v without anything around it. */
int hl_go_format(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* json.Marshal */
int hl_go_json(struct hl_run *run, struct hl_text *out, struct hl_value value);

/* A property of a tool's parameters, from a dict as clients send it. */
int hl_go_property(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err);

extern const struct hl_dialect hl_go_dialect; /* functions.c */

#endif
