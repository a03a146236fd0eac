/* Renders a conversation with the model's chat template into the text that the model sees. */
#ifndef HL_RUNTIME_TEMPLATE_PROMPT_H
#define HL_RUNTIME_TEMPLATE_PROMPT_H

#include "runtime/template/core/template.h"
#include "runtime/tokenizer/tokenizer.h"

/* Begins as hl_conversation_empty(): a value of zeros is undefined, not none. Templates test whether a message has a
 * key (`'tool_calls' in message`), so leave out members that a client sends as null or as an empty list. */
struct hl_conversation {
    struct hl_value messages; /* LIST of DICTs with "role" and "content", as Ollama and OpenAI write them */
    struct hl_value tools;    /* LIST of the tools that the model may call, or NONE */
    struct hl_value prompt;   /* STRING: the text before the gap to fill, and */
    struct hl_value suffix;   /* the text after it; or both NONE. hl_prompt_fills() */
};

static inline struct hl_conversation hl_conversation_empty(void)
{
    return (struct hl_conversation){
        .messages = hl_none(), .tools = hl_none(), .prompt = hl_none(), .suffix = hl_none()};
}

/* Makes a conversation of a system text (unless it is empty) and one message of the user. The texts must last as long
 * as the arena. */
int hl_conversation_start(struct hl_arena *arena, const char *system, const char *prompt, struct hl_conversation *out,
                          struct hl_error *err);

/* Appends a message. */
int hl_conversation_add(struct hl_arena *arena, struct hl_conversation *conversation, const char *role,
                        const char *content, struct hl_error *err);

/* Returns whether a template can fill the gap between a prompt and a suffix. Some Go templates can. */
bool hl_prompt_fills(const struct hl_template *t);

/* Renders a conversation. The text lies in the arena, not terminated. An exception that the template raises is
 * HL_ERROR_REQUEST. */
int hl_prompt_render(const struct hl_template *t, struct hl_arena *arena, const struct hl_conversation *conversation,
                     int64_t now, char **text, size_t *n, struct hl_error *err);

/* Tokenizes a rendered text. A template of Hugging Face writes the token that begins a text itself. For one of Ollama's
 * it is added, unless the text has it. The caller frees *ids. */
int hl_prompt_encode(const struct hl_template *t, const struct hl_tokenizer *tokenizer, const char *text, size_t n,
                     int32_t **ids, size_t *n_ids, struct hl_error *err);

#endif
