/* The scheduler: requests in, tokens out. It keeps up to `parallel` sequences going; each step holds the next token of
 * every sequence that decodes and, in the room that is left, pieces of the prompts that wait. First come, first served.
 *
 * Not thread-safe: one thread adds requests and runs steps, and the callbacks come on it. */
#ifndef HL_RUNTIME_ENGINE_SCHEDULER_H
#define HL_RUNTIME_ENGINE_SCHEDULER_H

#include "runtime/engine/engine.h"
#include "runtime/engine/sample.h"
#include "runtime/model/model.h"

enum hl_finish {
    HL_FINISH_STOP,      /* a stop token, or the callback said so */
    HL_FINISH_LENGTH,    /* n_predict reached, or the context is full */
    HL_FINISH_CANCELLED, /* by hl_scheduler_cancel() */
    HL_FINISH_ERROR,
};

struct hl_timings {
    uint64_t prompt_ns, decode_ns; /* first step to first token; first token to the end */
    uint32_t n_prompt, n_decoded;
};

struct hl_request {
    const int32_t *prompt; /* copied */
    uint32_t n_prompt;     /* at least 1 */
    uint32_t n_predict;    /* at least 1; at most this many new tokens; UINT32_MAX: until the context is full */
    struct hl_sampling sampling;
    /* The callbacks may not add or cancel tasks. */
    /* A new token that is no stop token. Returning false ends the generation with HL_FINISH_STOP. */
    bool (*token)(void *context, int32_t token);
    /* The last call; err is set for HL_FINISH_ERROR. */
    void (*finish)(void *context, enum hl_finish reason, const struct hl_timings *timings, const struct hl_error *err);
    void *context;
};

struct hl_scheduler;
struct hl_task;

/* Borrows the model and the engine. */
int hl_scheduler_open(const struct hl_model *model, struct hl_engine *engine, struct hl_scheduler **out,
                      struct hl_error *err);
/* Ends what is left with HL_FINISH_CANCELLED. */
void hl_scheduler_close(struct hl_scheduler *scheduler);

/* Queues a request. A prompt that does not fit in the context with room for one token is refused with HL_ERROR_REQUEST.
 * The task lives until its finish callback returns. */
int hl_scheduler_add(struct hl_scheduler *scheduler, const struct hl_request *request, struct hl_task **out,
                     struct hl_error *err);
/* Calls finish before it returns. */
void hl_scheduler_cancel(struct hl_scheduler *scheduler, struct hl_task *task);

bool hl_scheduler_idle(const struct hl_scheduler *scheduler);

/* Computes one step, if there is work. A failure of the device ends every task with HL_FINISH_ERROR. */
void hl_scheduler_step(struct hl_scheduler *scheduler);

/* Why a prompt of n tokens cannot be served with this context; 0 when it can. */
int hl_scheduler_check(uint32_t n_prompt, uint32_t context, struct hl_error *err);

#endif
