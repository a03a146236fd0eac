/* Where a chat template is looked for, in transformers' order: chat_template.jinja, tokenizer_config.json (one text, or
 * a list of named ones), chat_template.json. A .gguf's is put into tokenizer_config by its reader.
 *
 * A template is rendered once, to learn what ends a turn. Many models are published with an end-of-text token that
 * their chats do not use; the token that the template writes behind an answer is the one that the model will say. */
#include "pack/chat.h"
#include "hotlayer/cleanup.h"
#include "pack/files.h"
#include "pack/jinja.h"
#include "pack/json.h"
#include "runtime/gotemplate.h"
#include "runtime/prompt.h"

#define TEMPLATE_LIMIT ((size_t)1 << 20)
#define GLOBALS_MOST 32

static int copy(struct hl_view text, const char *what, struct hl_bytes *out, struct hl_error *err)
{
    if (text.size > TEMPLATE_LIMIT)
        return hl_fail(err, "%s: a chat template of %zu bytes is too large", what, text.size);
    if (memchr(text.data, 0, text.size))
        return hl_fail(err, "%s: the chat template contains a NUL character", what);
    out->data = malloc(text.size + 1);
    if (!out->data)
        return hl_fail(err, "out of memory");
    memcpy(out->data, text.data, text.size);
    out->size = text.size;
    return 0;
}

static int copy_file(const char *folder, const char *name, bool optional, struct hl_bytes *out, struct hl_error *err)
{
    struct hl_view file;
    if (hl_file_map(folder, name, optional, &file, err) < 0)
        return -1;
    int result = file.data ? copy(file, name, out, err) : 0;
    hl_file_unmap(&file);
    return result;
}

static int copy_text(const cJSON *text, const char *file, struct hl_bytes *out, struct hl_error *err)
{
    if (!cJSON_IsString(text))
        return hl_fail(err, "%s: chat_template is no text", file);
    return copy((struct hl_view){(const uint8_t *)text->valuestring, strlen(text->valuestring)}, file, out, err);
}

/* [{"name": "default", "template": "..."}, {"name": "tool_use", ...}] */
static int copy_named(const cJSON *list, struct hl_chat *chat, struct hl_error *err)
{
    const cJSON *entry, *found = NULL;
    cJSON_ArrayForEach(entry, list)
    {
        if (hl_json_is(entry, "name", "default"))
            found = entry;
        chat->tools_apart = chat->tools_apart || hl_json_is(entry, "name", "tool_use");
    }
    if (!found)
        return hl_fail(err, "tokenizer_config.json: chat_template has no entry named \"default\"");
    return copy_text(hl_json_get(found, "template"), "tokenizer_config.json", &chat->source, err);
}

static int copy_json_file(const struct hl_source *source, struct hl_chat *chat, struct hl_error *err)
{
    HL_JSON cJSON *json = NULL;
    struct hl_view file;
    if (hl_file_map(source->folder, "chat_template.json", true, &file, err) < 0)
        return -1;
    int result = file.data ? hl_json_parse(file, "chat_template.json", &json, err) : 0;
    hl_file_unmap(&file);
    if (result < 0 || !hl_json_get(json, "chat_template"))
        return result;
    return copy_text(hl_json_get(json, "chat_template"), "chat_template.json", &chat->source, err);
}

static int find_source(const struct hl_source *source, struct hl_chat *chat, struct hl_error *err)
{
    if (!source->gguf && copy_file(source->folder, "chat_template.jinja", true, &chat->source, err) < 0)
        return -1;
    if (chat->source.data)
        return 0;
    const cJSON *found = hl_json_get(source->tokenizer_config, "chat_template");
    if (cJSON_IsArray(found))
        return copy_named(found, chat, err);
    if (found)
        return copy_text(found, "tokenizer_config.json", &chat->source, err);
    return source->gguf ? 0 : copy_json_file(source, chat, err);
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
        return hl_fail(err, "out of memory");
    chat->language = ends_with(path, ".gotmpl") ? HL_TEMPLATE_GO : HL_TEMPLATE_JINJA;
    return copy_file(folder, slash ? slash + 1 : path, false, &chat->source, err);
}

/* ---- compiling ---- */

/* "bos_token": "<s>" or {"content": "<s>", ...}, and the like: transformers' special_tokens_map. */
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

static int compile_jinja(const struct hl_source *source, struct hl_chat *chat, struct hl_error *err)
{
    struct hl_jinja_global globals[GLOBALS_MOST];
    size_t n = 0;
    HL_JSON cJSON *map = NULL;
    struct hl_view file = {NULL, 0};
    if (!source->gguf && hl_file_map(source->folder, "special_tokens_map.json", true, &file, err) < 0)
        return -1;
    int result = file.data ? hl_json_parse(file, "special_tokens_map.json", &map, err) : 0;
    hl_file_unmap(&file);
    if (result < 0)
        return -1;
    add_globals(source->tokenizer_config, globals, &n);
    add_globals(hl_json_get(source->tokenizer_config, "extra_special_tokens"), globals, &n);
    add_globals(map, globals, &n);
    return hl_jinja_compile((const char *)chat->source.data, chat->source.size, globals, n, &chat->section, err);
}

static int compile_go(struct hl_chat *chat, struct hl_error *err)
{
    return hl_gotemplate_compile((const char *)chat->source.data, chat->source.size, &chat->section.data,
                                 &chat->section.size, err);
}

/* ---- trying out ---- */

#define ANSWER "Answer of a packer" /* words that no template has of its own */

/* What the template writes behind an answer, in a conversation that goes on. */
static int render_behind(const struct hl_template *t, struct hl_arena *arena, struct hl_view *out, struct hl_error *err)
{
    struct hl_conversation conversation;
    char *text;
    size_t n;
    if (hl_conversation_start(arena, "", "a question", &conversation, err) < 0 ||
        hl_conversation_add(arena, &conversation, "assistant", ANSWER, err) < 0 ||
        hl_conversation_add(arena, &conversation, "user", "another", err) < 0 ||
        hl_prompt_render(t, arena, &conversation, 0, &text, &n, err) < 0)
        return -1;
    const char *at = memmem(text, n, ANSWER, strlen(ANSWER)), *end = text + n;
    at = at ? at + strlen(ANSWER) : end;
    while (at < end && (*at == ' ' || *at == '\n'))
        at++;
    *out = (struct hl_view){(const uint8_t *)at, (size_t)(end - at)};
    return 0;
}

/* The control token behind the answer, or HL_NONE. Templates that refuse the conversation tell nothing. */
static uint32_t find_end(const struct hl_template *t, const struct hl_tokenizer *tokenizer)
{
    struct hl_arena arena;
    struct hl_view behind;
    struct hl_error ignored;
    HL_FREE int32_t *ids = NULL;
    size_t n = 0;
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    if (render_behind(t, &arena, &behind, &ignored) < 0 ||
        hl_tokenizer_encode(tokenizer, (const char *)behind.data, behind.size, HL_ENCODE_SPECIAL, &ids, &n, &ignored) <
            0)
        n = 0;
    hl_arena_release(&arena);
    bool control = n && hl_tokenizer_kind(tokenizer, (uint32_t)ids[0]) == HL_TOKEN_CONTROL;
    return control ? (uint32_t)ids[0] : HL_NONE;
}

static int try_out(struct hl_view tokenizer_section, struct hl_chat *chat, struct hl_error *err)
{
    struct hl_tokenizer *tokenizer;
    struct hl_template *t;
    if (hl_template_open(chat->section.data, chat->section.size, &t, err) < 0)
        return -1;
    int result = hl_tokenizer_open(tokenizer_section.data, tokenizer_section.size, &tokenizer, err);
    if (result == 0) {
        chat->end = find_end(t, tokenizer);
        hl_tokenizer_close(tokenizer);
    }
    hl_template_close(t);
    return result;
}

int hl_chat_read(const struct hl_source *source, const char *path, struct hl_view tokenizer, struct hl_chat *out,
                 struct hl_error *err)
{
    struct hl_chat chat = {.end = HL_NONE};
    int result = path ? copy_given(path, &chat, err) : find_source(source, &chat, err);
    if (result == 0 && chat.source.data) {
        result = chat.language == HL_TEMPLATE_GO ? compile_go(&chat, err) : compile_jinja(source, &chat, err);
        if (result == 0)
            result = try_out(tokenizer, &chat, err);
    }
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
