/* Makes the variables that a template reads, by its language.
 *
 * Jinja gets those of transformers' apply_chat_template(): messages, tools, documents, add_generation_prompt, and the
 * special tokens, which are in the section. Go gets those of Ollama: runtime/template/go/gotemplate.h. */
#include "runtime/template/prompt.h"
#include "runtime/template/go/gotemplate.h"
#include <assert.h>
#include <string.h>

int hl_conversation_add(struct hl_arena *arena, struct hl_conversation *conversation, const char *role,
                        const char *content, struct hl_error *err)
{
    struct hl_value message;
    if (hl_dict_new(arena, HL_VALUE_DICT, &message, err) < 0 ||
        hl_dict_put(arena, message, "role", hl_string(role, strlen(role)), err) < 0 ||
        hl_dict_put(arena, message, "content", hl_string(content, strlen(content)), err) < 0)
        return -1;
    return hl_list_push(arena, conversation->messages.list, message, err);
}

int hl_conversation_start(struct hl_arena *arena, const char *system, const char *prompt, struct hl_conversation *out,
                          struct hl_error *err)
{
    *out = hl_conversation_empty();
    if (hl_list_new(arena, HL_VALUE_LIST, 4, &out->messages, err) < 0 ||
        (*system && hl_conversation_add(arena, out, "system", system, err) < 0))
        return -1;
    return hl_conversation_add(arena, out, "user", prompt, err);
}

static int jinja_context(struct hl_arena *arena, const struct hl_conversation *c, struct hl_value *out,
                         struct hl_error *err)
{
    if (hl_dict_new(arena, HL_VALUE_DICT, out, err) < 0 || hl_dict_put(arena, *out, "messages", c->messages, err) < 0 ||
        hl_dict_put(arena, *out, "tools", c->tools, err) < 0 ||
        hl_dict_put(arena, *out, "documents", hl_none(), err) < 0)
        return -1;
    return hl_dict_put(arena, *out, "add_generation_prompt", hl_bool(true), err);
}

static bool mentions(const struct hl_template *t, const char *name)
{
    const char *text;
    size_t n;
    for (size_t i = 0; (text = hl_template_name(t, i, &n)); i++)
        if (n == strlen(name) && memcmp(text, name, n) == 0)
            return true;
    return false;
}

bool hl_prompt_fills(const struct hl_template *t)
{
    return hl_template_language(t) == HL_TEMPLATE_GO && mentions(t, "suffix");
}

/* Returns whether the conversation began as hl_conversation_empty(). A value of zeros is undefined, not none. */
static bool is_started(const struct hl_conversation *c)
{
    return c->messages.kind != HL_VALUE_UNDEFINED && c->tools.kind != HL_VALUE_UNDEFINED &&
           c->prompt.kind != HL_VALUE_UNDEFINED && c->suffix.kind != HL_VALUE_UNDEFINED;
}

int hl_prompt_render(const struct hl_template *t, struct hl_arena *arena, const struct hl_conversation *conversation,
                     int64_t now, char **text, size_t *n, struct hl_error *err)
{
    assert(is_started(conversation));
    struct hl_value context;
    if (conversation->suffix.kind != HL_VALUE_NONE && !hl_prompt_fills(t))
        return hl_fail_as(err, HL_ERROR_REQUEST, "the chat template has no place for a suffix");
    if (hl_template_language(t) == HL_TEMPLATE_GO) {
        const struct hl_gotemplate_input input = {.messages = conversation->messages,
                                                  .tools = conversation->tools,
                                                  .prompt = conversation->prompt,
                                                  .suffix = conversation->suffix,
                                                  .think = hl_none()};
        return hl_gotemplate_render(t, arena, &input, now, text, n, err);
    }
    if (jinja_context(arena, conversation, &context, err) < 0)
        return -1;
    return hl_template_render(t, arena, context, now, text, n, err);
}

int hl_prompt_encode(const struct hl_template *t, const struct hl_tokenizer *tokenizer, const char *text, size_t n,
                     int32_t **ids, size_t *n_ids, struct hl_error *err)
{
    unsigned flags = HL_ENCODE_SPECIAL;
    if (hl_template_language(t) == HL_TEMPLATE_GO) {
        size_t bytes = 0;
        const char *bos = hl_tokenizer_text(tokenizer, hl_tokenizer_bos(tokenizer), &bytes);
        if (!bos || n < bytes || memcmp(text, bos, bytes) != 0)
            flags |= HL_ENCODE_BOS;
    }
    return hl_tokenizer_encode(tokenizer, text, n, flags, ids, n_ids, err);
}
