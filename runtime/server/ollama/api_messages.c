/* "messages" and "tools" of a request: a conversation for the chat template, which sees keys and values as the client
 * sent them. Only what templates do not know is changed. */
#include "runtime/server/ollama/api.h"
#include <ctype.h>
#include <string.h>

static int wrong(struct hl_error *err, const char *what, const char *type)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "field \"%s\" must be of type %s", what, type);
}

/* Lowers the role: Ollama accepts any case. */
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

/* Joins [{"type": "text", "text": "..."}, ...]: few templates know parts, the others would print the list. */
static int join_parts(struct hl_arena *arena, struct hl_value *content, struct hl_error *err)
{
    struct hl_text text = {.arena = arena};
    for (uint32_t i = 0; i < content->list->n; i++) {
        const struct hl_value *part = hl_api_member(content->list->items[i], "text");
        const struct hl_value *type = hl_api_member(content->list->items[i], "type");
        if (!part || part->kind != HL_VALUE_STRING || !type || !hl_value_is_text(*type, "text"))
            return hl_fail_as(err, HL_ERROR_REQUEST, "only parts of text are supported in \"content\" by this version");
        if ((i && hl_text_put(&text, "\n\n", 2, err) < 0) || hl_text_put(&text, part->text, part->n, err) < 0)
            return -1;
    }
    *content = hl_string(text.n ? text.data : "", text.n);
    return 0;
}

/* Checks the types: a template would print a wrong one in a form that no model has seen. */
static int check_calls(struct hl_value calls, struct hl_error *err)
{
    if (calls.kind != HL_VALUE_LIST)
        return wrong(err, "tool_calls", "array of objects");
    for (uint32_t i = 0; i < calls.list->n; i++) {
        const struct hl_value *function = hl_api_member(calls.list->items[i], "function");
        const struct hl_value *name = function ? hl_api_member(*function, "name") : NULL;
        const struct hl_value *arguments = function ? hl_api_member(*function, "arguments") : NULL;
        if (!function || function->kind != HL_VALUE_DICT)
            return wrong(err, "function", "object");
        if (!name || name->kind != HL_VALUE_STRING)
            return wrong(err, "name", "string");
        if (arguments && arguments->kind != HL_VALUE_DICT)
            return wrong(err, "arguments", "object");
    }
    return 0;
}

/* Copies a message without its null members and empty lists: templates ask whether a key is present
 * ('tool_calls' in message), and clients send null or [] for absent. */
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

/* Gives a message without content an empty one; with tool calls null, as templates know it from OpenAI. */
static int read_content(struct hl_arena *arena, struct hl_value message, struct hl_error *err)
{
    struct hl_value *content = hl_api_member(message, "content");
    if (!content)
        return hl_dict_put(arena, message, "content",
                           hl_api_member(message, "tool_calls") ? hl_none() : hl_string("", 0), err);
    if (content->kind == HL_VALUE_LIST)
        return join_parts(arena, content, err);
    return content->kind == HL_VALUE_STRING ? 0 : wrong(err, "content", "string");
}

/* Copies a member with Ollama's name to the name that templates know. */
static int translate(struct hl_arena *arena, struct hl_value message, const char *word, const char *other,
                     struct hl_error *err)
{
    const struct hl_value *value = hl_api_member(message, word);
    return value && !hl_api_member(message, other) ? hl_dict_put(arena, message, other, *value, err) : 0;
}

static int read_message(struct hl_arena *arena, struct hl_value *message, struct hl_error *err)
{
    if (message->kind != HL_VALUE_DICT)
        return wrong(err, "messages", "array of objects");
    if (copy_members(arena, *message, message, err) < 0)
        return -1;
    struct hl_value *role = hl_api_member(*message, "role");
    const struct hl_value *calls = hl_api_member(*message, "tool_calls");
    if (!role || role->kind != HL_VALUE_STRING)
        return wrong(err, "role", "string");
    if (hl_api_member(*message, "images"))
        return hl_fail_as(err, HL_ERROR_REQUEST, "\"images\" is not supported by this version; leave it out");
    if (lower_role(arena, role, err) < 0 || (calls && check_calls(*calls, err) < 0) ||
        read_content(arena, *message, err) < 0 || translate(arena, *message, "tool_name", "name", err) < 0)
        return -1;
    return translate(arena, *message, "thinking", "reasoning_content", err);
}

int hl_api_messages_read(struct hl_arena *arena, struct hl_value body, struct hl_conversation *out,
                         struct hl_error *err)
{
    const struct hl_value *messages = hl_api_member(body, "messages"), *tools = hl_api_member(body, "tools");
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
