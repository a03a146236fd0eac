/* The thread between: it owns the engine and the scheduler, so that computing never keeps the event loop from
 * answering, and the event loop never keeps a step from starting. All functions here are the main thread's; so are the
 * callbacks, which hl_worker_dispatch() makes. */
#ifndef HL_RUNTIME_ENGINE_WORKER_H
#define HL_RUNTIME_ENGINE_WORKER_H

#include "runtime/engine/generation.h"

struct hl_worker;
struct hl_job;

struct hl_worker_options {
    struct hl_engine_options engine;
    uint32_t max_waiting; /* jobs beyond those that run */
    /* The engine is open and every weight resident; when the weights were mapped and when it was done, on the clock of
     * hl_clock_ns(). Jobs may have been answered before. */
    void (*ready)(void *context, uint64_t mapped_ns, uint64_t ready_ns);
    /* It cannot be opened, or its weights cannot be read: no job will succeed any more. */
    void (*failed)(void *context, const struct hl_error *err);
    void *context;
};

/* Starts the thread, which maps the model's weights and opens the engine. Borrows the model. */
int hl_worker_open(struct hl_model *model, const struct hl_worker_options *options, struct hl_worker **out,
                   struct hl_error *err);

/* Queues a generation; jobs that come before the engine is there wait for it. Copies what it is given. Both callbacks
 * of `generate` come from hl_worker_dispatch(); a call of finish is certain, and the job's end; the result of text does
 * not matter. With an empty prompt nothing is generated: finish comes when the engine is open. HL_ERROR_BUSY when too
 * many jobs wait. */
int hl_worker_start(struct hl_worker *worker, const struct hl_generate *generate, struct hl_job **out,
                    struct hl_error *err);
/* Ends a job soon, with HL_FINISH_CANCELLED unless it ends by itself first. */
void hl_worker_cancel(struct hl_worker *worker, struct hl_job *job);

/* Readable when there is something to dispatch. */
int hl_worker_fd(const struct hl_worker *worker);
void hl_worker_dispatch(struct hl_worker *worker);

/* Ends all jobs and the thread. False when the thread does not end within `patience` milliseconds, since a step cannot
 * be interrupted: then nothing is released, the model is still in use, and the process can but exit. */
bool hl_worker_close(struct hl_worker *worker, uint32_t patience);

#endif
