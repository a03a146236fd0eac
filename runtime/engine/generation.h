/* Text out of a request: the tokenizer on top of the scheduler. Finds stop texts that span tokens, and hands out whole
 * UTF-8 characters only. */
#ifndef HL_RUNTIME_ENGINE_GENERATION_H
#define HL_RUNTIME_ENGINE_GENERATION_H

#include "runtime/engine/scheduler.h"

struct hl_generation_events {
    /* A piece of text: one call for each token, possibly empty. Returning false ends the generation. */
    bool (*text)(void *context, const char *piece, size_t n);
    /* The last call. `rest` is the end of the text, often empty. */
    void (*finish)(void *context, enum hl_finish reason, const char *rest, size_t n, const struct hl_timings *timings,
                   const struct hl_error *err);
    void *context;
};

/* Starts generating. Borrows the request until the finish callback; hl_scheduler_cancel() ends it sooner. */
int hl_generation_start(struct hl_scheduler *scheduler, const struct hl_model *model, struct hl_request *request,
                        const struct hl_generation_events *events, struct hl_error *err);

#endif
