/* The scheduler: requests in, tokens out. It runs up to `parallel` sequences at once. Each step computes the next token
 * of every decoding sequence and fills the remaining room with pieces of prompts. First come, first served.
 *
 * Not thread-safe: one thread adds requests and runs steps, and the callbacks run on it. */
#ifndef HL_RUNTIME_ENGINE_SCHEDULER_H
#define HL_RUNTIME_ENGINE_SCHEDULER_H

#include "runtime/engine/engine.h"
#include "runtime/engine/request.h"

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

/* Callbacks; they must not add or cancel requests. */
struct hl_scheduler_events {
    /* A new token, not a stop token. Returning false ends the request with HL_FINISH_STOP. */
    bool (*token)(void *context, int32_t token);
    /* The last call; err is set for HL_FINISH_ERROR only. */
    void (*finish)(void *context, enum hl_finish reason, const struct hl_timings *timings, const struct hl_error *err);
    void *context;
};

struct hl_scheduler;

/* Borrows the model and the engine. */
int hl_scheduler_open(const struct hl_model *model, struct hl_engine *engine, struct hl_scheduler **out,
                      struct hl_error *err);
/* Ends the remaining requests with HL_FINISH_CANCELLED. */
void hl_scheduler_close(struct hl_scheduler *scheduler);

/* Queues a request. Borrows it until its finish callback, grows its tokens and appends to them. Fails with
 * HL_ERROR_REQUEST if the prompt and one more token do not fit in the context. */
int hl_scheduler_add(struct hl_scheduler *scheduler, struct hl_request *request,
                     const struct hl_scheduler_events *events, struct hl_error *err);
/* Ends a request that was added and has not finished; calls finish before it returns. */
void hl_scheduler_cancel(struct hl_scheduler *scheduler, const struct hl_request *request);

bool hl_scheduler_idle(const struct hl_scheduler *scheduler);

/* Computes one step, if there is work. If the device fails, ends every request with HL_FINISH_ERROR. */
void hl_scheduler_step(struct hl_scheduler *scheduler);

/* Returns why the device is lost, or NULL. No step succeeds after that. */
const struct hl_error *hl_scheduler_lost(const struct hl_scheduler *scheduler);

/* Fails, with the reason, if a prompt of n tokens does not fit in this context. */
int hl_scheduler_check(uint32_t n_prompt, uint32_t context, struct hl_error *err);

#endif
