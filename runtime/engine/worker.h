/* The compute thread. It owns the engine and the scheduler, so that computing never blocks the event loop and the event
 * loop never delays a step. Call all functions here from the main thread; hl_worker_dispatch() runs the callbacks
 * there. */
#ifndef HL_RUNTIME_ENGINE_WORKER_H
#define HL_RUNTIME_ENGINE_WORKER_H

#include "runtime/engine/generation.h"

struct hl_worker;

struct hl_worker_options {
    struct hl_engine_options engine;
    uint32_t max_waiting; /* requests beyond those that run */
    /* The engine is open and every weight is resident. Times are those of hl_clock_ns(): weights mapped, all resident.
     * Requests may have been answered before. */
    void (*ready)(void *context, uint64_t mapped_ns, uint64_t ready_ns);
    /* The engine cannot be opened, its weights cannot be read, or the device is lost: no request will succeed. */
    void (*failed)(void *context, const struct hl_error *err);
    void *context;
};

/* Starts the thread, which maps the model's weights and opens the engine. Borrows the model. */
int hl_worker_open(struct hl_model *model, const struct hl_worker_options *options, struct hl_worker **out,
                   struct hl_error *err);

/* Queues a request, also before the engine is open. Borrows it until the finish callback, which always comes; between
 * the two calls the request's tokens belong to the worker. The result of the text callback is ignored. An empty prompt
 * generates nothing: finish comes once the engine is open. Fails with HL_ERROR_BUSY if too many requests wait. */
int hl_worker_start(struct hl_worker *worker, struct hl_request *request, const struct hl_generation_events *events,
                    struct hl_error *err);

/* Ends a queued request soon, with HL_FINISH_CANCELLED unless it ends by itself first. */
void hl_worker_cancel(struct hl_worker *worker, struct hl_request *request);
void hl_worker_cancel_all(struct hl_worker *worker);

/* Returns what computes, and why it is not another device. For the ready callback, and later. */
const char *hl_worker_device(const struct hl_worker *worker);

/* Returns the descriptor that is readable when there is something to dispatch. */
int hl_worker_fd(const struct hl_worker *worker);
void hl_worker_dispatch(struct hl_worker *worker);

/* Ends all requests and the thread. Returns false if the thread does not end within `patience` milliseconds, since a
 * step cannot be interrupted. Nothing is released then, the model is still in use, and the process can only exit. */
bool hl_worker_close(struct hl_worker *worker, uint32_t patience);

#endif
