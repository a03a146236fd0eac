/* From a conversation to the text that the model sees: its chat template decides. */
#ifndef HL_RUNTIME_TEMPLATE_PROMPT_H
#define HL_RUNTIME_TEMPLATE_PROMPT_H

#include "runtime/template/core/template.h"
#include "runtime/tokenizer/tokenizer.h"

struct hl_conversation {
    struct hl_value messages; /* LIST of DICTs with "role" and "content", as Ollama and OpenAI write them */
    struct hl_value tools;    /* LIST of what the model may call, or NONE */
    struct hl_value prompt;   /* STRING: what is in front of the gap to fill, and */
    struct hl_value suffix;   /* what follows it; or both NONE. hl_prompt_fills() */
};

static inline struct hl_conversation hl_conversation_empty(void)
{
    return (struct hl_conversation){
        .messages = hl_none(), .tools = hl_none(), .prompt = hl_none(), .suffix = hl_none()};
}

/* A conversation of a system's text (unless empty) and one message of the user's. The texts must last as long as the
 * arena. */
int hl_conversation_start(struct hl_arena *arena, const char *system, const char *prompt, struct hl_conversation *out,
                          struct hl_error *err);

/* Appends a message. */
int hl_conversation_add(struct hl_arena *arena, struct hl_conversation *conversation, const char *role,
                        const char *content, struct hl_error *err);

/* Can a template fill the gap between a prompt and a suffix? Some in Go can. */
bool hl_prompt_fills(const struct hl_template *t);

/* The text lies in the arena, not terminated. What the template raises is HL_ERROR_REQUEST. */
int hl_prompt_render(const struct hl_template *t, struct hl_arena *arena, const struct hl_conversation *conversation,
                     int64_t now, char **text, size_t *n, struct hl_error *err);

/* Tokens of a rendered text. A template of Hugging Face writes the token that begins a text itself; to one of Ollama's
 * it is added, unless it is there. *ids is the caller's to free(). */
int hl_prompt_encode(const struct hl_template *t, const struct hl_tokenizer *tokenizer, const char *text, size_t n,
                     int32_t **ids, size_t *n_ids, struct hl_error *err);

#endif
