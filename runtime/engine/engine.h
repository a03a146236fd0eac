/* The engine: a model on a device, with a pool of cache pages. It computes steps; the scheduler chooses the tokens and
 * uses the logits. Not thread-safe: one thread drives it. */
#ifndef HL_RUNTIME_ENGINE_ENGINE_H
#define HL_RUNTIME_ENGINE_ENGINE_H

#include "base/sizes.h"
#include "kernels/device.h"
#include "runtime/engine/load.h"
#include "runtime/model/hot.h"

struct hl_engine_options {
    const char *device;  /* "auto", "cpu"; NULL: auto */
    const char *kernels; /* CPU: a table's name; NULL: the best */
    uint32_t threads;    /* CPU; 0: one per core */
    uint32_t parallel;   /* sequences at once */
    uint32_t context;    /* positions per sequence; 0: the model's, at most HL_CONTEXT_DEFAULT */
    uint32_t batch;      /* tokens per step; 0: HL_BATCH_DEFAULT */
    uint32_t outputs;    /* logits per step; at least `parallel` */
    enum hl_kv_type kv_type;
    struct hl_load_options load;
};

#define HL_CONTEXT_DEFAULT 4096u
#define HL_BATCH_DEFAULT 256u

struct hl_engine {
    const struct hl_device_interface *interface;
    struct hl_device *device;
    struct hl_load *load;
    uint32_t vocabulary, context, parallel, batch, outputs;
    uint32_t pages_per_sequence;
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

/* Opens an engine on a file with mapped weights; it loads them while it computes already. Close the engine before the
 * file. */
int hl_engine_open(const struct hl_hot *hot, const struct hl_engine_options *options, struct hl_engine **out,
                   struct hl_error *err);
void hl_engine_close(struct hl_engine *engine);

/* Waits until every weight is resident. */
int hl_engine_wait(struct hl_engine *engine, struct hl_error *err);

int hl_sequence_open(const struct hl_engine *engine, struct hl_sequence *out, struct hl_error *err);
/* Gives the sequence enough pages for `positions` in total. Fails with HL_ERROR_BUSY if the pool is empty. */
int hl_sequence_reserve(struct hl_engine *engine, struct hl_sequence *sequence, uint32_t positions,
                        struct hl_error *err);
/* Gives the pages back to the pool. */
void hl_sequence_close(struct hl_engine *engine, struct hl_sequence *sequence);

/* A step that is being filled; room for engine->batch tokens and engine->outputs outputs. */
struct hl_batch {
    int32_t *tokens;
    uint32_t *positions;
    const uint32_t **pages;
    uint32_t *outputs;
    uint32_t n_tokens, n_outputs;
};

int hl_batch_open(const struct hl_engine *engine, struct hl_batch *out, struct hl_error *err);
void hl_batch_close(struct hl_batch *batch);
/* Adds the next token of a sequence, which must have the page for it. With `wanted` its logits are an output. */
void hl_batch_add(struct hl_batch *batch, struct hl_sequence *sequence, int32_t token, bool wanted);
/* Computes the batch and empties it. */
int hl_batch_run(struct hl_engine *engine, struct hl_batch *batch, struct hl_logits *logits, struct hl_error *err);

#endif
