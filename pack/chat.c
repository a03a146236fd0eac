/* A chat template is searched in transformers' order: chat_template.jinja, tokenizer_config.json, chat_template.json.
 * In JSON it is one string or a list of named ones. The reader of a .gguf puts its template into tokenizer_config.
 *
 * The template is rendered once, to learn which token ends a turn. Many models are published with an end-of-text token
 * that their chats do not use. The model will generate the token that the template writes after an answer. */
#include "pack/chat.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "runtime/template/go/gotemplate.h"
#include "runtime/template/jinja/jinja.h"
#include "runtime/template/prompt.h"

#define GLOBALS_MOST 32

static int copy(struct hl_view text, const char *file, struct hl_chat *chat, struct hl_error *err)
{
    if (text.size > HL_JINJA_MAX_BYTES)
        return hl_fail(err, "%s: a chat template of %zu bytes is too large; at most %zu are supported", file, text.size,
                       HL_JINJA_MAX_BYTES);
    if (!hl_view_is_text(text))
        return hl_fail(err, "%s: the chat template is not UTF-8 without NUL", file);
    chat->file = file;
    chat->source.data = malloc(text.size + 1);
    if (!chat->source.data)
        return hl_no_memory(err);
    memcpy(chat->source.data, text.data, text.size);
    chat->source.size = text.size;
    return 0;
}

/* Copies FOLDER/NAME; messages call it `file`. */
static int copy_file(const char *folder, const char *name, bool optional, const char *file, struct hl_chat *chat,
                     struct hl_error *err)
{
    struct hl_view text;
    if (hl_file_map(folder, name, optional, &text, err) < 0)
        return -1;
    int result = text.data ? copy(text, file, chat, err) : 0;
    hl_file_unmap(&text);
    return result;
}

static int copy_text(const cJSON *text, const char *file, struct hl_chat *chat, struct hl_error *err)
{
    if (!cJSON_IsString(text))
        return hl_fail(err, "%s: chat_template is not a string", file);
    return copy((struct hl_view){(const uint8_t *)text->valuestring, strlen(text->valuestring)}, file, chat, err);
}

/* Copies the default of [{"name": "default", "template": "..."}, {"name": "tool_use", ...}]. */
static int copy_named(const cJSON *list, const char *file, struct hl_chat *chat, struct hl_error *err)
{
    const cJSON *entry, *found = NULL;
    cJSON_ArrayForEach(entry, list)
    {
        if (hl_json_is(entry, "name", "default"))
            found = entry;
        chat->tools_apart = chat->tools_apart || hl_json_is(entry, "name", "tool_use");
    }
    if (!found)
        return hl_fail(err, "%s: chat_template has no entry named \"default\"", file);
    return copy_text(hl_json_get(found, "template"), file, chat, err);
}

static int find_in_json(const cJSON *json, const char *file, struct hl_chat *chat, struct hl_error *err)
{
    const cJSON *found = hl_json_get(json, "chat_template");
    if (!found)
        return 0;
    return cJSON_IsArray(found) ? copy_named(found, file, chat, err) : copy_text(found, file, chat, err);
}

static int find_source(const struct hl_source *source, struct hl_chat *chat, struct hl_error *err)
{
    static const char jinja[] = "chat_template.jinja", apart[] = "chat_template.json";
    HL_JSON cJSON *json = NULL;
    if (!source->folder)
        return find_in_json(source->tokenizer_config, "tokenizer.chat_template", chat, err);
    if (copy_file(source->folder, jinja, true, jinja, chat, err) < 0)
        return -1;
    if (!chat->source.data && find_in_json(source->tokenizer_config, "tokenizer_config.json", chat, err) < 0)
        return -1;
    if (chat->source.data)
        return 0;
    return hl_json_read(source->folder, apart, true, &json, err) < 0 ? -1 : find_in_json(json, apart, chat, err);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static int copy_given(const char *path, struct hl_chat *chat, struct hl_error *err)
{
    const char *slash = strrchr(path, '/');
    HL_FREE char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    if (!folder)
        return hl_no_memory(err);
    chat->language = ends_with(path, ".gotmpl") ? HL_TEMPLATE_GO : HL_TEMPLATE_JINJA;
    return copy_file(folder, slash ? slash + 1 : path, false, path, chat, err);
}

/* ---- compiling ---- */

/* Adds "bos_token": "<s>" or {"content": "<s>", ...}, and the like: transformers' special_tokens_map. */
static void add_globals(const cJSON *json, struct hl_jinja_global *globals, size_t *n)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
    {
        const char *text = cJSON_IsObject(item) ? hl_json_text(item, "content") : cJSON_GetStringValue(item);
        if (!text || !ends_with(item->string, "_token"))
            continue;
        size_t i = 0;
        while (i < *n && strcmp(globals[i].name, item->string) != 0)
            i++;
        if (i == *n && *n < GLOBALS_MOST)
            globals[(*n)++] = (struct hl_jinja_global){item->string, text};
    }
}

static int compile_jinja(const struct hl_source *source, const cJSON *specials, struct hl_chat *chat,
                         struct hl_error *err)
{
    struct hl_jinja_global globals[GLOBALS_MOST];
    size_t n = 0;
    add_globals(source->tokenizer_config, globals, &n);
    add_globals(hl_json_get(source->tokenizer_config, "extra_special_tokens"), globals, &n);
    add_globals(specials, globals, &n);
    return hl_jinja_compile((const char *)chat->source.data, chat->source.size, globals, n, &chat->section, err);
}

static int compile_go(struct hl_chat *chat, struct hl_error *err)
{
    return hl_gotemplate_compile((const char *)chat->source.data, chat->source.size, &chat->section.data,
                                 &chat->section.size, err);
}

/* ---- test rendering ---- */

#define ANSWER "Answer of a packer" /* does not occur in any template */

/* Returns the text that the template writes after an answer, in a conversation that continues. */
static int render_after(const struct hl_template *t, struct hl_arena *arena, struct hl_view *out, struct hl_error *err)
{
    struct hl_conversation conversation;
    char *text;
    size_t n;
    if (hl_conversation_start(arena, "", "a question", &conversation, err) < 0 ||
        hl_conversation_add(arena, &conversation, "assistant", ANSWER, err) < 0 ||
        hl_conversation_add(arena, &conversation, "user", "another", err) < 0 ||
        hl_prompt_render(t, arena, &conversation, 0, &text, &n, err) < 0)
        return -1;
    const char *at = n ? memmem(text, n, ANSWER, strlen(ANSWER)) : NULL, *end = text + n;
    at = at ? at + strlen(ANSWER) : end;
    while (at < end && (*at == ' ' || *at == '\n'))
        at++;
    *out = (struct hl_view){(const uint8_t *)at, (size_t)(end - at)};
    return 0;
}

/* Returns the control token after the answer, or HL_NONE; also if the template rejects the conversation. */
static uint32_t find_end(const struct hl_template *t, const struct hl_tokenizer *tokenizer)
{
    struct hl_arena arena;
    struct hl_view after;
    struct hl_error ignored;
    HL_FREE int32_t *ids = NULL;
    size_t n = 0;
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    if (render_after(t, &arena, &after, &ignored) < 0 ||
        hl_tokenizer_encode(tokenizer, (const char *)after.data, after.size, HL_ENCODE_SPECIAL, &ids, &n, &ignored) < 0)
        n = 0;
    hl_arena_release(&arena);
    bool control = n && hl_tokenizer_kind(tokenizer, (uint32_t)ids[0]) == HL_TOKEN_CONTROL;
    return control ? (uint32_t)ids[0] : HL_NONE;
}

static int try_out(const struct hl_tokenizer *tokenizer, struct hl_chat *chat, struct hl_error *err)
{
    struct hl_template *t;
    if (hl_template_open(chat->section.data, chat->section.size, &t, err) < 0)
        return -1;
    chat->end = find_end(t, tokenizer);
    hl_template_close(t);
    return 0;
}

static int compile(const struct hl_source *source, const struct hl_tokenizer *tokenizer, struct hl_chat *chat,
                   struct hl_error *err)
{
    HL_JSON cJSON *specials = NULL;
    bool go = chat->language == HL_TEMPLATE_GO;
    if (!go && source->folder && hl_json_read(source->folder, "special_tokens_map.json", true, &specials, err) < 0)
        return -1;
    if ((go ? compile_go(chat, err) : compile_jinja(source, specials, chat, err)) < 0 ||
        try_out(tokenizer, chat, err) < 0)
        return hl_error_prefix(err, "%s", chat->file);
    return 0;
}

int hl_chat_read(const struct hl_source *source, const char *path, const struct hl_tokenizer *tokenizer,
                 struct hl_chat *out, struct hl_error *err)
{
    struct hl_chat chat = {.end = HL_NONE};
    int result = path ? copy_given(path, &chat, err) : find_source(source, &chat, err);
    if (result == 0 && chat.source.data)
        result = compile(source, tokenizer, &chat, err);
    if (result == 0)
        *out = chat;
    else
        hl_chat_release(&chat);
    return result;
}

void hl_chat_release(struct hl_chat *chat)
{
    free(chat->source.data);
    free(chat->section.data);
    *chat = (struct hl_chat){.end = HL_NONE};
}
