/* Converts a conversation as clients send it into the data of a Go template, and renders the template with it.
 *
 *     messages ─► one for each text part ─► neighbours joined ─► messages: all at once
 *                                                            └─► turns: System, Prompt, Response; again and again
 *
 * The fields and their order are those of Ollama's api.Message, api.Tool and api.ToolCall, since structs print in that
 * order. Other members that clients send are dropped, and so are values of the wrong type. Tools made for other servers
 * render as far as possible. */
#include "runtime/template/go/go_values.h"
#include "runtime/template/go/gotemplate.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

static const struct hl_go_class classes[HL_GO_TYPES] = {
    [HL_GO_ANY] = {.name = "value of JSON"},
    [HL_GO_MESSAGE] = {.name = "message",
                       .n_fields = 7,
                       .fields = {{"Role", "role", false},
                                  {"Content", "content", false},
                                  {"Thinking", "thinking", true},
                                  {"Images", "images", true},
                                  {"ToolCalls", "tool_calls", true},
                                  {"ToolName", "tool_name", true},
                                  {"ToolCallID", "tool_call_id", true}}},
    [HL_GO_CALL] = {.name = "call of a tool",
                    .n_fields = 2,
                    .fields = {{"ID", "id", true}, {"Function", "function", false}}},
    [HL_GO_CALL_FUNCTION] = {.name = "call of a function",
                             .n_fields = 3,
                             .fields = {{"Index", "index", false},
                                        {"Name", "name", false},
                                        {"Arguments", "arguments", false}}},
    [HL_GO_TOOL] = {.name = "tool",
                    .prints_json = true,
                    .n_fields = 3,
                    .fields = {{"Type", "type", false}, {"Items", "items", true}, {"Function", "function", false}}},
    [HL_GO_FUNCTION] = {.name = "function of a tool",
                        .prints_json = true,
                        .n_fields = 3,
                        .fields = {{"Name", "name", false},
                                   {"Description", "description", false},
                                   {"Parameters", "parameters", false}}},
    [HL_GO_PARAMETERS] = {.name = "list of parameters",
                          .prints_json = true,
                          .n_fields = 5,
                          .fields = {{"Type", "type", false},
                                     {"Defs", "$defs", true},
                                     {"Items", "items", true},
                                     {"Required", "required", true},
                                     {"Properties", "properties", false}}},
    [HL_GO_PROPERTY] = {.name = "property",
                        .n_fields = 7,
                        .fields = {{"AnyOf", "anyOf", true},
                                   {"Type", "type", true},
                                   {"Items", "items", true},
                                   {"Description", "description", true},
                                   {"Enum", "enum", true},
                                   {"Properties", "properties", true},
                                   {"Required", "required", true}}},
    [HL_GO_PROPERTIES] = {.name = "map of properties", .prints_json = true, .element = HL_GO_PROPERTY},
    [HL_GO_ARGUMENTS] = {.name = "map of arguments", .prints_json = true},
    [HL_GO_TOOLS] = {.name = "list of tools", .prints_json = true},
    [HL_GO_TYPE_NAMES] = {.name = "list of types", .prints_json = true},
};

const struct hl_go_class *hl_go_class(struct hl_value value)
{
    bool typed = value.kind == HL_VALUE_LIST || value.kind == HL_VALUE_DICT;
    uint8_t type = typed ? value.flags & (uint8_t)~HL_GO_NIL : HL_GO_ANY;
    return &classes[type < HL_GO_TYPES ? type : HL_GO_ANY];
}

const char *hl_go_type_name(struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_NONE:
    case HL_VALUE_UNDEFINED:
        return "nil";
    case HL_VALUE_BOOL:
        return "bool";
    case HL_VALUE_INT:
        return "int";
    case HL_VALUE_FLOAT:
        return "float64";
    case HL_VALUE_STRING:
        return "string";
    case HL_VALUE_LIST:
    case HL_VALUE_DICT:
        if (hl_go_class(value) != &classes[HL_GO_ANY])
            return hl_go_class(value)->name;
        return value.kind == HL_VALUE_LIST ? "[]interface {}" : "map[string]interface {}";
    default:
        return "value of another language";
    }
}

/* ---- values of JSON ---- */

static const struct hl_value no_text = {.kind = HL_VALUE_STRING, .text = ""};

static int empty_list(struct hl_arena *arena, uint8_t type, struct hl_value *out, struct hl_error *err)
{
    if (hl_list_new(arena, HL_VALUE_LIST, 0, out, err) != 0)
        return -1;
    out->flags = type;
    return 0;
}

static int empty_dict(struct hl_arena *arena, uint8_t type, struct hl_value *out, struct hl_error *err)
{
    if (hl_dict_new(arena, HL_VALUE_DICT, out, err) != 0)
        return -1;
    out->flags = type;
    return 0;
}

static int by_key(const void *one, const void *other)
{
    const struct hl_value *a = &((const struct hl_entry *)one)->key, *b = &((const struct hl_entry *)other)->key;
    uint32_t n = a->n < b->n ? a->n : b->n;
    int order = n ? memcmp(a->text, b->text, n) : 0;
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* Copies a dict with its entries sorted. Entries whose keys are not text are left out. */
static int sorted(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    uint32_t n = 0;
    struct hl_entry *entries = hl_arena_alloc(arena, (from.dict->n + (size_t)1) * sizeof *entries);
    if (!entries)
        return hl_arena_full(arena, err);
    for (uint32_t i = 0; i < from.dict->n; i++)
        if (from.dict->entries[i].key.kind == HL_VALUE_STRING)
            entries[n++] = from.dict->entries[i];
    qsort(entries, n, sizeof *entries, by_key);
    if (empty_dict(arena, from.flags, out, err) != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        if (hl_dict_set(arena, out->dict, entries[i].key, entries[i].value, err) != 0)
            return -1;
    return 0;
}

/* Converts a value as encoding/json does for `any`: numbers are float64, maps sorted. */
static int any_value(struct hl_arena *arena, struct hl_value from, int depth, struct hl_value *out,
                     struct hl_error *err)
{
    struct hl_value value;
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "a tool or its arguments have more than %d levels", HL_VALUE_DEPTH);
    if (hl_arena_pay(arena, 1, err) != 0)
        return -1;
    *out = from;
    if (from.kind == HL_VALUE_INT)
        *out = hl_float((double)from.integer);
    if (from.kind == HL_VALUE_BIG) {
        char text[400];
        snprintf(text, sizeof text, "%.*s", from.n < sizeof text ? (int)from.n : 399, from.text);
        *out = hl_float(strtod(text, NULL));
    }
    if (from.kind == HL_VALUE_LIST || from.kind == HL_VALUE_TUPLE) {
        if (empty_list(arena, HL_GO_ANY, out, err) != 0)
            return -1;
        for (uint32_t i = 0; i < from.list->n; i++)
            if (any_value(arena, from.list->items[i], depth + 1, &value, err) != 0 ||
                hl_list_push(arena, out->list, value, err) != 0)
                return -1;
    }
    if (from.kind == HL_VALUE_DICT) {
        if (empty_dict(arena, HL_GO_ANY, out, err) != 0)
            return -1;
        for (uint32_t i = 0; i < from.dict->n; i++)
            if (any_value(arena, from.dict->entries[i].value, depth + 1, &value, err) != 0 ||
                hl_dict_set(arena, out->dict, from.dict->entries[i].key, value, err) != 0)
                return -1;
        return sorted(arena, *out, out, err);
    }
    return 0;
}

/* Returns a member of a dict, or none if it does not exist. */
static struct hl_value member(struct hl_value object, const char *name)
{
    const struct hl_value *found = object.kind == HL_VALUE_DICT ? hl_dict_get(object.dict, name, strlen(name)) : NULL;
    return found ? *found : hl_none();
}

static struct hl_value text_of(struct hl_value value)
{
    return value.kind == HL_VALUE_STRING ? value : no_text;
}

static struct hl_value text_member(struct hl_value object, const char *name)
{
    return text_of(member(object, name));
}

/* Makes a struct of these values, as many as its class has fields. */
static int new_struct(struct hl_arena *arena, uint8_t type, const struct hl_value *values, struct hl_value *out,
                      struct hl_error *err)
{
    if (empty_dict(arena, type, out, err) != 0)
        return -1;
    for (uint32_t i = 0; i < classes[type].n_fields; i++) {
        const char *name = classes[type].fields[i].name;
        if (hl_dict_set(arena, out->dict, hl_string(name, strlen(name)), values[i], err) != 0)
            return -1;
    }
    return 0;
}

/* ---- tools ---- */

/* Makes a list of the texts in a list. With `single`, a text is a list of one. Anything else becomes nil. */
static int text_list(struct hl_arena *arena, struct hl_value from, uint8_t type, bool single, struct hl_value *out,
                     struct hl_error *err)
{
    bool list = from.kind == HL_VALUE_LIST, one = single && from.kind == HL_VALUE_STRING;
    if (empty_list(arena, list || one ? type : type | HL_GO_NIL, out, err) != 0)
        return -1;
    if (one)
        return hl_list_push(arena, out->list, from, err);
    for (uint32_t i = 0; list && i < from.list->n; i++)
        if (from.list->items[i].kind == HL_VALUE_STRING &&
            hl_list_push(arena, out->list, from.list->items[i], err) != 0)
            return -1;
    return 0;
}

static int property_at(struct hl_arena *arena, struct hl_value from, int depth, struct hl_value *out,
                       struct hl_error *err);

static int properties(struct hl_arena *arena, struct hl_value from, int depth, struct hl_value *out,
                      struct hl_error *err)
{
    bool there = from.kind == HL_VALUE_DICT;
    if (empty_dict(arena, there ? HL_GO_PROPERTIES : HL_GO_PROPERTIES | HL_GO_NIL, out, err) != 0)
        return -1;
    for (uint32_t i = 0; there && i < from.dict->n; i++) {
        struct hl_value property;
        if (property_at(arena, from.dict->entries[i].value, depth, &property, err) != 0 ||
            hl_dict_set(arena, out->dict, from.dict->entries[i].key, property, err) != 0)
            return -1;
    }
    /* Only the outermost properties are a Go map; those inside them keep the client's order. */
    return depth > 0 ? 0 : sorted(arena, *out, out, err);
}

static int property_list(struct hl_arena *arena, struct hl_value from, int depth, struct hl_value *out,
                         struct hl_error *err)
{
    bool there = from.kind == HL_VALUE_LIST;
    if (empty_list(arena, there ? HL_GO_ANY : HL_GO_ANY | HL_GO_NIL, out, err) != 0)
        return -1;
    for (uint32_t i = 0; there && i < from.list->n; i++) {
        struct hl_value property;
        if (property_at(arena, from.list->items[i], depth, &property, err) != 0 ||
            hl_list_push(arena, out->list, property, err) != 0)
            return -1;
    }
    return 0;
}

static int property_at(struct hl_arena *arena, struct hl_value from, int depth, struct hl_value *out,
                       struct hl_error *err)
{
    struct hl_value values[HL_GO_MOST_FIELDS] = {[3] = text_member(from, "description")};
    struct hl_value choices = member(from, "enum");
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "a tool has more than %d levels", HL_VALUE_DEPTH);
    if (hl_arena_pay(arena, 1, err) != 0 ||
        property_list(arena, member(from, "anyOf"), depth + 1, &values[0], err) != 0 ||
        text_list(arena, member(from, "type"), HL_GO_TYPE_NAMES, true, &values[1], err) != 0 ||
        any_value(arena, member(from, "items"), depth, &values[2], err) != 0 ||
        any_value(arena, choices, depth, &values[4], err) != 0 ||
        properties(arena, member(from, "properties"), depth + 1, &values[5], err) != 0 ||
        text_list(arena, member(from, "required"), HL_GO_ANY, false, &values[6], err) != 0)
        return -1;
    if (choices.kind != HL_VALUE_LIST && empty_list(arena, HL_GO_ANY | HL_GO_NIL, &values[4], err) != 0)
        return -1;
    return new_struct(arena, HL_GO_PROPERTY, values, out, err);
}

int hl_go_property(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    return property_at(arena, from, 0, out, err);
}

static int parameters(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    struct hl_value values[HL_GO_MOST_FIELDS] = {text_member(from, "type")};
    if (any_value(arena, member(from, "$defs"), 0, &values[1], err) != 0 ||
        any_value(arena, member(from, "items"), 0, &values[2], err) != 0 ||
        text_list(arena, member(from, "required"), HL_GO_ANY, false, &values[3], err) != 0 ||
        properties(arena, member(from, "properties"), 0, &values[4], err) != 0)
        return -1;
    return new_struct(arena, HL_GO_PARAMETERS, values, out, err);
}

static int tool(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    struct hl_value function = member(from, "function"), built[HL_GO_MOST_FIELDS];
    struct hl_value values[HL_GO_MOST_FIELDS] = {text_member(function, "name"), text_member(function, "description")};
    if (parameters(arena, member(function, "parameters"), &values[2], err) != 0)
        return -1;
    built[0] = text_member(from, "type");
    if (any_value(arena, member(from, "items"), 0, &built[1], err) != 0 ||
        new_struct(arena, HL_GO_FUNCTION, values, &built[2], err) != 0)
        return -1;
    return new_struct(arena, HL_GO_TOOL, built, out, err);
}

static int tools(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    bool there = from.kind == HL_VALUE_LIST;
    if (empty_list(arena, there ? HL_GO_TOOLS : HL_GO_TOOLS | HL_GO_NIL, out, err) != 0)
        return -1;
    for (uint32_t i = 0; there && i < from.list->n; i++) {
        struct hl_value built;
        if (tool(arena, from.list->items[i], &built, err) != 0 || hl_list_push(arena, out->list, built, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- messages ---- */

/* Reads arguments: an object, or, from OpenAI's clients, its text. Refuses text that is not an object: the model would
 * be told of a call that never happened. */
static int arguments(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    struct hl_value value = from;
    if (from.kind == HL_VALUE_STRING && from.n > 0 && hl_value_json(arena, from.text, from.n, &value, err) != 0)
        return hl_error_prefix(err, "the arguments of a tool call");
    if (from.kind == HL_VALUE_STRING && from.n > 0 && value.kind != HL_VALUE_DICT)
        return hl_fail_as(err, HL_ERROR_REQUEST, "the arguments of a tool call are not a JSON object");
    if (value.kind != HL_VALUE_DICT)
        return empty_dict(arena, HL_GO_ARGUMENTS | HL_GO_NIL, out, err);
    if (any_value(arena, value, 0, out, err) != 0)
        return -1;
    out->flags = HL_GO_ARGUMENTS;
    return 0;
}

static int tool_calls(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    uint32_t n = from.kind == HL_VALUE_LIST ? from.list->n : 0;
    if (empty_list(arena, n ? HL_GO_ANY : HL_GO_ANY | HL_GO_NIL, out, err) != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        struct hl_value call = from.list->items[i], function = member(call, "function"), built;
        struct hl_value index = member(function, "index"), values[HL_GO_MOST_FIELDS], outer[HL_GO_MOST_FIELDS];
        values[0] = index.kind == HL_VALUE_INT ? index : hl_int(0);
        values[1] = text_member(function, "name");
        outer[0] = text_member(call, "id");
        if (arguments(arena, member(function, "arguments"), &values[2], err) != 0 ||
            new_struct(arena, HL_GO_CALL_FUNCTION, values, &outer[1], err) != 0 ||
            new_struct(arena, HL_GO_CALL, outer, &built, err) != 0 || hl_list_push(arena, out->list, built, err) != 0)
            return -1;
    }
    return 0;
}

/* Joins "a\n\nb"; `text` holds the first part. */
static int join(struct hl_arena *arena, struct hl_value *text, struct hl_value more, struct hl_error *err)
{
    struct hl_text joined = {.arena = arena};
    if (hl_text_put(&joined, text->text, text->n, err) != 0 || hl_text_put(&joined, "\n\n", 2, err) != 0 ||
        hl_text_put(&joined, more.text, more.n, err) != 0)
        return -1;
    *text = hl_text_value(&joined);
    return 0;
}

/* Makes the text of a message. Of its parts, each text counts as a message. */
static int content(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    bool any = false;
    *out = text_of(from);
    for (uint32_t i = 0; from.kind == HL_VALUE_LIST && i < from.list->n; i++) {
        struct hl_value part = from.list->items[i], text = part.kind == HL_VALUE_STRING ? part : member(part, "text");
        if (text.kind != HL_VALUE_STRING)
            continue;
        if (any && join(arena, out, text, err) != 0)
            return -1;
        *out = any ? *out : text;
        any = true;
    }
    return 0;
}

/* Lowers ASCII letters. */
static int lower(struct hl_arena *arena, struct hl_value *text, struct hl_error *err)
{
    char *bytes = hl_arena_alloc(arena, text->n + 1u);
    if (!bytes)
        return hl_arena_full(arena, err);
    for (uint32_t i = 0; i < text->n; i++)
        bytes[i] = (char)(text->text[i] >= 'A' && text->text[i] <= 'Z' ? text->text[i] + 32 : text->text[i]);
    text->text = bytes;
    return 0;
}

/* Finds the name of the function that an earlier message called with this `id`; else *name stays unchanged. */
static int called(struct hl_arena *arena, struct hl_value messages, uint32_t before, struct hl_value id,
                  struct hl_value *name, struct hl_error *err)
{
    for (uint32_t i = before; id.n > 0 && i > 0; i--) {
        struct hl_value calls = member(messages.list->items[i - 1], "tool_calls");
        uint32_t n = calls.kind == HL_VALUE_LIST ? calls.list->n : 0;
        if (hl_arena_pay(arena, 1 + n, err) != 0)
            return -1;
        for (uint32_t k = 0; k < n; k++) {
            struct hl_value its_id = text_member(calls.list->items[k], "id");
            if (its_id.n == id.n && !memcmp(its_id.text, id.text, id.n)) {
                *name = text_member(member(calls.list->items[k], "function"), "name");
                return 0;
            }
        }
    }
    return 0;
}

static struct hl_value first_text(struct hl_value object, const char *name, const char *other)
{
    struct hl_value text = text_member(object, name);
    return text.n ? text : text_member(object, other);
}

static int message(struct hl_arena *arena, struct hl_value messages, uint32_t i, struct hl_value *out,
                   struct hl_error *err)
{
    struct hl_value from = messages.list->items[i], id = text_member(from, "tool_call_id");
    struct hl_value values[HL_GO_MOST_FIELDS] = {text_member(from, "role")};
    values[2] = first_text(from, "thinking", "reasoning_content");
    values[5] = first_text(from, "tool_name", "name");
    values[6] = id;
    if (!values[5].n && called(arena, messages, i, id, &values[5], err) != 0)
        return -1;
    if (hl_arena_pay(arena, 1, err) != 0 || lower(arena, &values[0], err) != 0 ||
        content(arena, member(from, "content"), &values[1], err) != 0 ||
        empty_list(arena, HL_GO_ANY | HL_GO_NIL, &values[3], err) != 0 ||
        tool_calls(arena, member(from, "tool_calls"), &values[4], err) != 0)
        return -1;
    return new_struct(arena, HL_GO_MESSAGE, values, out, err);
}

static struct hl_value *field(struct hl_value object, const char *name)
{
    return hl_dict_get(object.dict, name, strlen(name));
}

static bool same_text(struct hl_value a, struct hl_value b)
{
    return a.n == b.n && !memcmp(a.text, b.text, a.n);
}

/* Builds all messages, with neighbours of one role joined, and the joined contents of the system messages. */
static int collate(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_value *system,
                   struct hl_error *err)
{
    bool any = false;
    uint32_t n = from.kind == HL_VALUE_LIST ? from.list->n : 0;
    *system = no_text;
    if (empty_list(arena, n ? HL_GO_ANY : HL_GO_ANY | HL_GO_NIL, out, err) != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        struct hl_value built;
        if (message(arena, from, i, &built, err) != 0)
            return -1;
        struct hl_value role = *field(built, "Role"), text = *field(built, "Content");
        struct hl_value *last = out->list->n ? &out->list->items[out->list->n - 1] : NULL;
        if (hl_value_is_text(role, "system")) {
            if (any && join(arena, system, text, err) != 0)
                return -1;
            *system = any ? *system : text;
            any = true;
        }
        bool joins = last && same_text(*field(*last, "Role"), role) && !hl_value_is_text(role, "tool");
        if (joins ? join(arena, field(*last, "Content"), text, err) != 0
                  : hl_list_push(arena, out->list, built, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- rendering ---- */

struct rendering {
    const struct hl_template *t;
    struct hl_arena *arena;
    const struct hl_gotemplate_input *input;
    int64_t now;
    struct hl_error *err;
};

static int put(const struct rendering *r, struct hl_value dict, const char *name, struct hl_value value)
{
    return hl_dict_set(r->arena, dict.dict, hl_string(name, strlen(name)), value, r->err);
}

/* Makes the data that every kind of rendering has. */
static int new_data(const struct rendering *r, struct hl_value *data)
{
    struct hl_value think = r->input->think;
    bool level = think.kind == HL_VALUE_STRING,
         thinks = level ? think.n > 0 : think.kind == HL_VALUE_BOOL && think.truth;
    struct hl_value name = level ? think : no_text;
    if (think.kind == HL_VALUE_BOOL)
        name = think.truth ? hl_string("medium", 6) : no_text;
    if (hl_dict_new(r->arena, HL_VALUE_DICT, data, r->err) != 0)
        return -1;
    return put(r, *data, "Response", no_text) || put(r, *data, "Think", hl_bool(thinks)) ||
                   put(r, *data, "ThinkLevel", name) ||
                   put(r, *data, "IsThinkSet", hl_bool(level || think.kind == HL_VALUE_BOOL))
               ? -1
               : 0;
}

static int render(const struct rendering *r, struct hl_value data, bool last, char **out, size_t *n)
{
    struct hl_value context;
    if (sorted(r->arena, data, &data, r->err) != 0 || hl_dict_new(r->arena, HL_VALUE_DICT, &context, r->err) != 0 ||
        put(r, context, "data", data) != 0 || put(r, context, "last turn", hl_bool(last)) != 0)
        return -1;
    return hl_template_render(r->t, r->arena, context, r->now, out, n, r->err);
}

struct turn {
    struct hl_value system, prompt, response;
};

static int render_turn(const struct rendering *r, struct turn *turn, bool last, struct hl_text *text)
{
    struct hl_value data;
    char *out;
    size_t n;
    if (new_data(r, &data) != 0 || put(r, data, "System", turn->system) != 0 ||
        put(r, data, "Prompt", turn->prompt) != 0 || put(r, data, "Response", turn->response) != 0 ||
        render(r, data, last, &out, &n) != 0 || hl_text_put(text, out, n, r->err) != 0)
        return -1;
    *turn = (struct turn){no_text, no_text, no_text};
    return 0;
}

/* Renders turn by turn. A turn is complete when the next message belongs before a part that the turn already has. */
static int render_turns(const struct rendering *r, struct hl_value messages, char **out, size_t *n)
{
    struct turn turn = {no_text, no_text, no_text};
    struct hl_text text = {.arena = r->arena};
    for (uint32_t i = 0; i < messages.list->n; i++) {
        struct hl_value role = *field(messages.list->items[i], "Role"),
                        said = *field(messages.list->items[i], "Content");
        bool system = hl_value_is_text(role, "system"), user = hl_value_is_text(role, "user");
        bool complete = (system && (turn.prompt.n || turn.response.n)) || (user && turn.response.n);
        if (complete && render_turn(r, &turn, false, &text) != 0)
            return -1;
        if (system)
            turn.system = said;
        else if (user)
            turn.prompt = said;
        else if (hl_value_is_text(role, "assistant"))
            turn.response = said;
    }
    if (render_turn(r, &turn, true, &text) != 0)
        return -1;
    *out = text.data;
    *n = text.n;
    return 0;
}

static bool mentions(const struct hl_template *t, const char *name)
{
    const char *text;
    size_t n;
    for (size_t i = 0; (text = hl_template_name(t, i, &n)) != NULL; i++)
        if (n == strlen(name) && !memcmp(text, name, n))
            return true;
    return false;
}

int hl_gotemplate_render(const struct hl_template *t, struct hl_arena *arena, const struct hl_gotemplate_input *input,
                         int64_t now, char **out, size_t *n, struct hl_error *err)
{
    const struct rendering r = {t, arena, input, now, err};
    struct hl_value messages, system, data, list;
    struct hl_value prompt = text_of(input->prompt), suffix = text_of(input->suffix);
    if (prompt.n && suffix.n)
        return new_data(&r, &data) != 0 || put(&r, data, "Prompt", prompt) != 0 || put(&r, data, "Suffix", suffix) != 0
                   ? -1
                   : render(&r, data, false, out, n);
    if (collate(arena, input->messages, &messages, &system, err) != 0)
        return -1;
    if (!mentions(t, "messages"))
        return render_turns(&r, messages, out, n);
    if (tools(arena, input->tools, &list, err) != 0 || new_data(&r, &data) != 0 ||
        put(&r, data, "System", system) != 0 || put(&r, data, "Messages", messages) != 0 ||
        put(&r, data, "Tools", list) != 0)
        return -1;
    return render(&r, data, false, out, n);
}
