/* Text in, text out: a request of the scheduler with a tokenizer on both ends. Finds stop texts across tokens, and
 * gives out whole UTF-8 characters only. */
#ifndef HL_RUNTIME_ENGINE_GENERATION_H
#define HL_RUNTIME_ENGINE_GENERATION_H

#include "runtime/engine/scheduler.h"

struct hl_generate {
    const int32_t *prompt;
    uint32_t n_prompt;
    uint32_t n_predict; /* UINT32_MAX: until the context is full */
    struct hl_sampling sampling;
    /* Generation ends before the first of these and the model's; also at a control token with such a name. */
    char stop[HL_STOP_TEXTS_MOST][HL_STOP_TEXT_BYTES];
    uint32_t n_stop;
    /* A piece of text: for each token one, possibly empty. Returning false ends the generation. */
    bool (*text)(void *context, int32_t token, const char *piece, size_t n);
    /* The last call. `rest`, not empty only at the end of a text, belongs to it too. */
    void (*finish)(void *context, enum hl_finish reason, const char *rest, size_t n, const struct hl_timings *timings,
                   const struct hl_error *err);
    void *context;
};

struct hl_generation;

/* Copies what it is given. The generation lives until its finish callback returns; cancel with hl_generation_cancel().
 */
int hl_generate_start(struct hl_scheduler *scheduler, const struct hl_model *model, const struct hl_generate *generate,
                      struct hl_generation **out, struct hl_error *err);
void hl_generation_cancel(struct hl_scheduler *scheduler, struct hl_generation *generation);

#endif
