/* The engine: a model on a device, with a pool of cache pages. It computes steps; the scheduler chooses the tokens and
 * uses the logits. Not thread-safe: one thread drives it. */
#ifndef HL_RUNTIME_ENGINE_ENGINE_H
#define HL_RUNTIME_ENGINE_ENGINE_H

#include "base/sizes.h"
#include "kernels/device.h"
#include "runtime/engine/load.h"
#include "runtime/model/hot.h"

struct hl_engine_options {
    const char *device;  /* "auto", or a device's name, ":N" for the Nth; NULL: auto */
    const char *kernels; /* CPU: a table's name; NULL: the best */
    uint32_t threads;    /* CPU; 0: one per core */
    uint32_t parallel;   /* sequences at once */
    uint32_t context;    /* positions per sequence; 0: the model's, at most HL_CONTEXT_DEFAULT */
    uint32_t batch;      /* tokens per step; 0: HL_BATCH_DEFAULT */
    uint32_t outputs;    /* wants per step; at least `parallel` */
    enum hl_kv_type kv_type;
    struct hl_load_options load;
};

#define HL_CONTEXT_DEFAULT 4096u
#define HL_BATCH_DEFAULT 256u

struct hl_engine {
    const struct hl_device_interface *interface;
    struct hl_error passed_over; /* auto: why it is not the best device that this build has; else an empty message */
    struct hl_device *device;
    struct hl_load *load;
    uint32_t vocabulary, context, parallel, batch, outputs;
    uint32_t pages_per_sequence;
    uint32_t n_pages;     /* in the pool: for `parallel` sequences, or for fewer where the device has no more room */
    uint32_t *free_pages; /* a stack */
    uint32_t n_free;
};

/* The pages of one sequence, in order of position. */
struct hl_sequence {
    uint32_t *pages; /* room for engine->pages_per_sequence */
    uint32_t n_pages;
    uint32_t length; /* positions computed so far */
};

/* Returns the positions of a sequence: `wanted`, or the default if it is 0. The caller refuses more than the
 * model's. */
static inline uint32_t hl_engine_context(const struct hl_hot *hot, uint32_t wanted)
{
    return wanted ? wanted : hl_min_u32(hot->program.head->context, HL_CONTEXT_DEFAULT);
}

/* All that this build has, best first, NULL at the end. */
extern const struct hl_device_interface *const hl_engine_devices[];

/* Finds a device by its name, "NAME" or "NAME:N". With NULL or "auto" it is the first that probe() finds; whatever fails
 * after that is an error, and no other device is taken. *passed_over says why it is not the first. */
int hl_engine_choose(const char *name, const struct hl_device_interface **interface, uint32_t *index,
                     struct hl_error *passed_over, struct hl_error *err);

/* Opens an engine on a file with mapped weights; it loads them while it computes already. Close the engine before the
 * file. */
int hl_engine_open(const struct hl_hot *hot, const struct hl_engine_options *options, struct hl_engine **out,
                   struct hl_error *err);
void hl_engine_close(struct hl_engine *engine);

/* Waits until every weight is resident. */
int hl_engine_wait(struct hl_engine *engine, struct hl_error *err);

int hl_sequence_open(const struct hl_engine *engine, struct hl_sequence *out, struct hl_error *err);
/* Gives the sequence enough pages for `positions` in total. Fails with HL_ERROR_BUSY, and changes nothing, if the pool has
 * too few; one sequence alone always finds enough. */
int hl_sequence_reserve(struct hl_engine *engine, struct hl_sequence *sequence, uint32_t positions,
                        struct hl_error *err);
/* Gives the pages back to the pool. */
void hl_sequence_close(struct hl_engine *engine, struct hl_sequence *sequence);

/* A step that is being filled; room for engine->batch tokens of engine->parallel sequences, and engine->outputs
 * wants. */
struct hl_batch {
    int32_t *tokens;
    struct hl_run *runs;
    struct hl_want *wants;
    const struct hl_sequence *last; /* whose run is the last one */
    uint32_t n_tokens, n_runs, n_outputs;
};

int hl_batch_open(const struct hl_engine *engine, struct hl_batch *out, struct hl_error *err);
void hl_batch_close(struct hl_batch *batch);
/* Adds the next token of a sequence, which must have the page for it. A sequence's tokens are added one after another,
 * without another's between them. */
void hl_batch_add(struct hl_batch *batch, struct hl_sequence *sequence, int32_t token);
/* Asks for the whole row of the last token's logits. The caller may ask for something else instead: it returns the want,
 * valid until the next call. */
struct hl_want *hl_batch_want(struct hl_batch *batch);
/* Computes the batch and empties it. *logits has one element for each hl_batch_want(), valid until the next step.
 * Returns enum hl_step_result. */
int hl_batch_run(struct hl_engine *engine, struct hl_batch *batch, const struct hl_logits **logits,
                 struct hl_error *err);

#endif
