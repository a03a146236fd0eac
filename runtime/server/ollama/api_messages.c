/* "messages" and "tools" of a request: a conversation for the chat template, which sees them as they came, keys and
 * numbers and all. Only what templates do not know is changed. */
#include "runtime/server/ollama/api.h"
#include <ctype.h>
#include <string.h>

static struct hl_value *member(struct hl_value dict, const char *key)
{
    struct hl_value *value = dict.kind == HL_VALUE_DICT ? hl_dict_get(dict.dict, key, strlen(key)) : NULL;
    return value && value->kind != HL_VALUE_NONE ? value : NULL;
}

static int wrong(struct hl_error *err, const char *what, const char *type)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "field \"%s\" must be of type %s", what, type);
}

/* Ollama takes roles in any case. */
static int lower_role(struct hl_arena *arena, struct hl_value *role, struct hl_error *err)
{
    char *text = hl_arena_alloc(arena, role->n + 1u);
    if (!text)
        return hl_arena_full(arena, err);
    for (uint32_t i = 0; i < role->n; i++)
        text[i] = (char)tolower((unsigned char)role->text[i]);
    *role = hl_string(text, role->n);
    return 0;
}

/* [{"type": "text", "text": "..."}, ...]: few templates know of parts, the others would print the list. */
static int join_parts(struct hl_arena *arena, struct hl_value *content, struct hl_error *err)
{
    struct hl_text text = {.arena = arena};
    for (uint32_t i = 0; i < content->list->n; i++) {
        const struct hl_value *part = member(content->list->items[i], "text");
        const struct hl_value *type = member(content->list->items[i], "type");
        if (!part || part->kind != HL_VALUE_STRING || !type || !hl_value_is_text(*type, "text"))
            return hl_fail_as(err, HL_ERROR_REQUEST, "only parts of text are supported in \"content\" by this version");
        if ((i && hl_text_put(&text, "\n\n", 2, err) < 0) || hl_text_put(&text, part->text, part->n, err) < 0)
            return -1;
    }
    *content = hl_string(text.n ? text.data : "", text.n);
    return 0;
}

/* A template would print a wrong type in a way that no model has seen. */
static int check_calls(struct hl_value calls, struct hl_error *err)
{
    if (calls.kind != HL_VALUE_LIST)
        return wrong(err, "tool_calls", "array of objects");
    for (uint32_t i = 0; i < calls.list->n; i++) {
        const struct hl_value *function = member(calls.list->items[i], "function");
        const struct hl_value *name = function ? member(*function, "name") : NULL;
        const struct hl_value *arguments = function ? member(*function, "arguments") : NULL;
        if (!function || function->kind != HL_VALUE_DICT)
            return wrong(err, "function", "object");
        if (!name || name->kind != HL_VALUE_STRING)
            return wrong(err, "name", "string");
        if (arguments && arguments->kind != HL_VALUE_DICT)
            return wrong(err, "arguments", "object");
    }
    return 0;
}

/* What is null or a list of nothing is as good as absent, and templates ask whether it is there. */
static int copy_members(struct hl_arena *arena, struct hl_value from, struct hl_value *out, struct hl_error *err)
{
    if (hl_dict_new(arena, HL_VALUE_DICT, out, err) < 0)
        return -1;
    for (uint32_t i = 0; i < from.dict->n; i++) {
        const struct hl_entry *entry = &from.dict->entries[i];
        bool empty = entry->value.kind == HL_VALUE_LIST && entry->value.list->n == 0;
        if (!empty && entry->value.kind != HL_VALUE_NONE &&
            hl_dict_set(arena, out->dict, entry->key, entry->value, err) < 0)
            return -1;
    }
    return 0;
}

/* A message without content has an empty one; beside calls of tools it is null, as templates know it from OpenAI. */
static int read_content(struct hl_arena *arena, struct hl_value message, struct hl_error *err)
{
    struct hl_value *content = member(message, "content");
    if (!content)
        return hl_dict_put(arena, message, "content", member(message, "tool_calls") ? hl_none() : hl_string("", 0),
                           err);
    if (content->kind == HL_VALUE_LIST)
        return join_parts(arena, content, err);
    return content->kind == HL_VALUE_STRING ? 0 : wrong(err, "content", "string");
}

/* Ollama's word for what templates know by another. */
static int translate(struct hl_arena *arena, struct hl_value message, const char *word, const char *other,
                     struct hl_error *err)
{
    const struct hl_value *value = member(message, word);
    return value && !member(message, other) ? hl_dict_put(arena, message, other, *value, err) : 0;
}

static int read_message(struct hl_arena *arena, struct hl_value *message, struct hl_error *err)
{
    if (message->kind != HL_VALUE_DICT)
        return wrong(err, "messages", "array of objects");
    if (copy_members(arena, *message, message, err) < 0)
        return -1;
    struct hl_value *role = member(*message, "role");
    const struct hl_value *calls = member(*message, "tool_calls");
    if (!role || role->kind != HL_VALUE_STRING)
        return wrong(err, "role", "string");
    if (member(*message, "images"))
        return hl_fail_as(err, HL_ERROR_REQUEST, "\"images\" is not supported by this version; leave it out");
    if (lower_role(arena, role, err) < 0 || (calls && check_calls(*calls, err) < 0) ||
        read_content(arena, *message, err) < 0 || translate(arena, *message, "tool_name", "name", err) < 0)
        return -1;
    return translate(arena, *message, "thinking", "reasoning_content", err);
}

int hl_conversation_read(struct hl_arena *arena, const char *body, size_t n, struct hl_conversation *out,
                         struct hl_error *err)
{
    struct hl_value json;
    if (hl_value_json(arena, body, n, &json, err) < 0)
        return -1;
    const struct hl_value *messages = member(json, "messages"), *tools = member(json, "tools");
    *out = hl_conversation_empty();
    if (messages && messages->kind != HL_VALUE_LIST)
        return wrong(err, "messages", "array of objects");
    if (tools && tools->kind != HL_VALUE_LIST)
        return wrong(err, "tools", "array of objects");
    if (!messages)
        return hl_list_new(arena, HL_VALUE_LIST, 0, &out->messages, err);
    for (uint32_t i = 0; i < messages->list->n; i++)
        if (read_message(arena, &messages->list->items[i], err) < 0)
            return -1;
    out->messages = *messages;
    if (tools && tools->list->n)
        out->tools = *tools;
    return 0;
}
