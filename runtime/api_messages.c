/* "messages" and "tools" of a request: a conversation for the chat template, which sees them as they came, keys and
 * numbers and all. Only what a template could not know is changed. */
#include "runtime/api.h"
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

static int read_message(struct hl_arena *arena, struct hl_value message, struct hl_error *err)
{
    struct hl_value *role = member(message, "role"), *content = member(message, "content");
    const struct hl_value *images = member(message, "images"), *tool = member(message, "tool_name");
    if (message.kind != HL_VALUE_DICT)
        return wrong(err, "messages", "array of objects");
    if (!role || role->kind != HL_VALUE_STRING)
        return wrong(err, "role", "string");
    if (content && content->kind != HL_VALUE_STRING && content->kind != HL_VALUE_LIST)
        return wrong(err, "content", "string");
    if (images && !(images->kind == HL_VALUE_LIST && images->list->n == 0))
        return hl_fail_as(err, HL_ERROR_REQUEST, "\"images\" is not supported by this version; leave it out");
    if (lower_role(arena, role, err) < 0)
        return -1;
    /* Ollama's word for what templates call the tool's name. */
    if (tool && !member(message, "name"))
        return hl_dict_set(arena, message.dict, hl_string("name", 4), *tool, err);
    return 0;
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
        if (read_message(arena, messages->list->items[i], err) < 0)
            return -1;
    out->messages = *messages;
    if (tools && tools->list->n)
        out->tools = *tools;
    return 0;
}
