/* Opens a device for a mapped model, and runs steps on it. */
#include "runtime/engine/engine.h"
#include "base/cleanup.h"

static const struct hl_device_interface *choose_device(const char *name, struct hl_error *err)
{
    if (!name || strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return &hl_cpu_device;
    hl_fail(err, "device '%s' is not supported by this build; 'cpu' and 'auto' are", name);
    return NULL;
}

static int open_pages(struct hl_engine *engine, struct hl_error *err)
{
    engine->pages_per_sequence = engine->context / HL_KV_PAGE_TOKENS + (engine->context % HL_KV_PAGE_TOKENS != 0);
    uint64_t pages = (uint64_t)engine->pages_per_sequence * engine->parallel;
    if (pages > UINT32_MAX / 2)
        return hl_fail(err, "--ctx %u times --parallel %u is too large", engine->context, engine->parallel);
    engine->free_pages = malloc(pages * sizeof *engine->free_pages);
    if (!engine->free_pages)
        return hl_no_memory(err);
    while (engine->n_free < pages) { /* page 0 on top */
        engine->free_pages[engine->n_free] = (uint32_t)pages - 1 - engine->n_free;
        engine->n_free++;
    }
    return 0;
}

static int wait_for_load(void *context, uint64_t end, struct hl_error *err)
{
    return hl_load_wait(context, end, err);
}

static void place_weights(const struct hl_hot *hot, struct hl_load *load, struct hl_device_config *config)
{
    config->weights = hl_load_weights(load);
    if (!hl_load_must_wait(load))
        return;
    config->rows = hot->weights;
    config->wait = wait_for_load;
    config->wait_context = load;
}

int hl_engine_open(const struct hl_hot *hot, const struct hl_engine_options *options, struct hl_engine **out,
                   struct hl_error *err)
{
    const struct hl_program *program = hot->program.head;
    struct hl_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return hl_no_memory(err);
    engine->vocabulary = program->vocabulary;
    engine->parallel = options->parallel ? options->parallel : 1;
    engine->context = hl_engine_context(hot, options->context);
    engine->batch = options->batch ? options->batch : HL_BATCH_DEFAULT;
    engine->batch = engine->batch < engine->parallel ? engine->parallel : engine->batch;
    engine->outputs = options->outputs < engine->parallel ? engine->parallel : options->outputs;
    engine->interface = choose_device(options->device, err);
    int result = engine->interface ? 0 : -1;
    if (result == 0 && engine->context > program->context)
        result = hl_fail(err, "--ctx %u is more than the %u positions that the model was made for", engine->context,
                         program->context);
    if (result == 0)
        result = open_pages(engine, err);
    if (result == 0)
        result = hl_load_open(hot, &options->load, &engine->load, err);
    struct hl_device_config config = {
        .program = hot->program,
        .max_tokens = engine->batch,
        .max_outputs = engine->outputs,
        .kv_pages = engine->n_free,
        .kv_type = options->kv_type,
        .threads = options->threads,
        .kernels = options->kernels,
    };
    if (result == 0)
        place_weights(hot, engine->load, &config);
    if (result == 0)
        result = engine->interface->open(&config, &engine->device, err);
    if (result < 0) {
        hl_engine_close(engine);
        return -1;
    }
    *out = engine;
    return 0;
}

void hl_engine_close(struct hl_engine *engine)
{
    if (!engine)
        return;
    if (engine->device)
        engine->interface->close(engine->device);
    hl_load_close(engine->load);
    free(engine->free_pages);
    free(engine);
}

int hl_engine_wait(struct hl_engine *engine, struct hl_error *err)
{
    return hl_load_wait(engine->load, UINT64_MAX, err);
}

int hl_sequence_open(const struct hl_engine *engine, struct hl_sequence *out, struct hl_error *err)
{
    *out = (struct hl_sequence){.pages = calloc(engine->pages_per_sequence, sizeof *out->pages)};
    return out->pages ? 0 : hl_no_memory(err);
}

int hl_sequence_reserve(struct hl_engine *engine, struct hl_sequence *sequence, uint32_t positions,
                        struct hl_error *err)
{
    if (positions > engine->context)
        return hl_fail_as(err, HL_ERROR_REQUEST, "%u positions are more than the context of %u", positions,
                          engine->context);
    while ((uint64_t)sequence->n_pages * HL_KV_PAGE_TOKENS < positions) {
        if (engine->n_free == 0)
            return hl_fail_as(err, HL_ERROR_BUSY, "the key/value cache is full");
        sequence->pages[sequence->n_pages++] = engine->free_pages[--engine->n_free];
    }
    return 0;
}

void hl_sequence_close(struct hl_engine *engine, struct hl_sequence *sequence)
{
    while (sequence->n_pages)
        engine->free_pages[engine->n_free++] = sequence->pages[--sequence->n_pages];
    free(sequence->pages);
    sequence->pages = NULL;
}

int hl_batch_open(const struct hl_engine *engine, struct hl_batch *out, struct hl_error *err)
{
    *out = (struct hl_batch){
        .tokens = calloc(engine->batch, sizeof *out->tokens),
        .positions = calloc(engine->batch, sizeof *out->positions),
        .pages = calloc(engine->batch, sizeof *out->pages),
        .outputs = calloc(engine->outputs, sizeof *out->outputs),
    };
    if (out->tokens && out->positions && out->pages && out->outputs)
        return 0;
    hl_batch_close(out);
    return hl_no_memory(err);
}

void hl_batch_close(struct hl_batch *batch)
{
    free(batch->tokens);
    free(batch->positions);
    free(batch->pages);
    free(batch->outputs);
    *batch = (struct hl_batch){.tokens = NULL};
}

void hl_batch_add(struct hl_batch *batch, struct hl_sequence *sequence, int32_t token, bool wanted)
{
    if (wanted)
        batch->outputs[batch->n_outputs++] = batch->n_tokens;
    batch->tokens[batch->n_tokens] = token;
    batch->positions[batch->n_tokens] = sequence->length++;
    batch->pages[batch->n_tokens] = sequence->pages;
    batch->n_tokens++;
}

int hl_batch_run(struct hl_engine *engine, struct hl_batch *batch, struct hl_logits *logits, struct hl_error *err)
{
    const struct hl_step step = {
        .n_tokens = batch->n_tokens,
        .tokens = batch->tokens,
        .positions = batch->positions,
        .pages = batch->pages,
        .n_outputs = batch->n_outputs,
        .outputs = batch->outputs,
    };
    batch->n_tokens = batch->n_outputs = 0;
    return engine->interface->step(engine->device, &step, logits, err);
}
