/* Opens a device for a mapped model, and runs steps on it. */
#include "runtime/engine/engine.h"
#include "base/cleanup.h"
#include <assert.h>

const struct hl_device_interface *const hl_engine_devices[] = {&hl_cuda_device, &hl_cpu_device, NULL};

/* Returns whether `name` names the device, with its number. */
static bool names(const char *name, const struct hl_device_interface *interface, uint32_t *index)
{
    size_t n = strlen(interface->name);
    if (strncmp(name, interface->name, n) != 0)
        return false;
    *index = 0;
    if (name[n] == 0)
        return true;
    char *end;
    unsigned long number = strtoul(name + n + 1, &end, 10);
    *index = (uint32_t)number;
    return name[n] == ':' && name[n + 1] >= '0' && name[n + 1] <= '9' && *end == 0 && number < 1024;
}

int hl_engine_choose(const char *name, const struct hl_device_interface **interface, uint32_t *index,
                     struct hl_error *passed_over, struct hl_error *err)
{
    const bool any = !name || strcmp(name, "auto") == 0;
    passed_over->message[0] = 0;
    for (const struct hl_device_interface *const *at = hl_engine_devices; *at; at++) {
        struct hl_error why;
        *interface = *at;
        *index = 0;
        if (!any && names(name, *at, index))
            return 0;
        if (any && (*at)->probe(0, &why) == 0)
            return 0;
        if (any && !passed_over->message[0])
            *passed_over = why;
    }
    return hl_fail_as(err, HL_ERROR_USAGE, "device '%s' is unknown; 'auto', 'cpu', 'cuda' and 'cuda:N' are known",
                      any ? "auto" : name);
}

/* Returns how many pages hold so many positions. */
static uint32_t pages_of(uint32_t positions)
{
    return positions / HL_KV_PAGE_TOKENS + (positions % HL_KV_PAGE_TOKENS != 0);
}

/* Counts the pages that every sequence needs at once. */
static int count_pages(struct hl_engine *engine, struct hl_error *err)
{
    engine->pages_per_sequence = pages_of(engine->context);
    uint64_t pages = (uint64_t)engine->pages_per_sequence * engine->parallel;
    if (pages > UINT32_MAX / 2)
        return hl_fail(err, "--ctx %u times --parallel %u is too large", engine->context, engine->parallel);
    engine->n_pages = (uint32_t)pages;
    return 0;
}

static int open_pages(struct hl_engine *engine, struct hl_error *err)
{
    engine->free_pages = malloc(engine->n_pages * sizeof *engine->free_pages);
    if (!engine->free_pages)
        return hl_no_memory(err);
    while (engine->n_free < engine->n_pages) { /* page 0 on top */
        engine->free_pages[engine->n_free] = engine->n_pages - 1 - engine->n_free;
        engine->n_free++;
    }
    return 0;
}

static int wait_for_load(void *context, uint64_t end, struct hl_error *err)
{
    const struct hl_engine *engine = context;
    return hl_load_wait(engine->load, end, err);
}

static int open_device(struct hl_engine *engine, const struct hl_hot *hot, const struct hl_engine_options *options,
                       uint32_t index, struct hl_error *err)
{
    const bool in_place = hl_load_in_place(engine->interface, options->load.way);
    const struct hl_device_config config = {
        .program = hot->program,
        .weight_bytes = hot->header->weight_bytes,
        .weights = hot->weights,
        .in_place = in_place,
        .wait = wait_for_load,
        .wait_context = engine,
        .max_tokens = engine->batch,
        .max_outputs = engine->outputs,
        .max_runs = engine->parallel,
        .run_pages = engine->pages_per_sequence,
        .kv_pages = engine->n_pages,
        .kv_pages_least = engine->pages_per_sequence,
        .kv_type = options->kv_type,
        .index = index,
        .threads = options->threads,
        .kernels = options->kernels,
    };
    assert(engine->interface); /* hl_engine_choose() has found one */
    if (engine->interface->open(&config, &engine->device, err) < 0)
        return -1;
    const struct hl_load_target target = {engine->interface, in_place ? NULL : engine->device};
    struct hl_device_limits limits;
    if (hl_load_open(hot, &options->load, target, &engine->load, err) < 0)
        return -1;
    if (engine->interface->start(engine->device, &limits, err) < 0)
        return -1;
    engine->n_pages = limits.kv_pages;
    return open_pages(engine, err);
}

/* Returns a count of the option, its default, or what `parallel` needs. */
static uint32_t at_least(uint32_t wanted, uint32_t otherwise, uint32_t least)
{
    uint32_t n = wanted ? wanted : otherwise;
    return n < least ? least : n;
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
    engine->batch = at_least(options->batch, HL_BATCH_DEFAULT, engine->parallel);
    engine->outputs = at_least(options->outputs, 1, engine->parallel);
    uint32_t index = 0;
    int result = hl_engine_choose(options->device, &engine->interface, &index, &engine->passed_over, err);
    if (result == 0 && engine->context > program->context)
        result = hl_fail(err, "--ctx %u is more than the %u positions that the model was made for", engine->context,
                         program->context);
    if (result == 0)
        result = count_pages(engine, err);
    if (result == 0)
        result = open_device(engine, hot, options, index, err);
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
    hl_load_close(engine->load);
    if (engine->device)
        engine->interface->close(engine->device);
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
    uint32_t pages = pages_of(positions);
    if (pages > sequence->n_pages && pages - sequence->n_pages > engine->n_free)
        return hl_fail_as(err, HL_ERROR_BUSY, "the key/value cache is full");
    while (sequence->n_pages < pages)
        sequence->pages[sequence->n_pages++] = engine->free_pages[--engine->n_free];
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
        .runs = calloc(engine->parallel, sizeof *out->runs),
        .wants = calloc(engine->outputs, sizeof *out->wants),
    };
    if (out->tokens && out->runs && out->wants)
        return 0;
    hl_batch_close(out);
    return hl_no_memory(err);
}

void hl_batch_close(struct hl_batch *batch)
{
    free(batch->tokens);
    free(batch->runs);
    free(batch->wants);
    *batch = (struct hl_batch){.tokens = NULL};
}

void hl_batch_add(struct hl_batch *batch, struct hl_sequence *sequence, int32_t token)
{
    if (sequence != batch->last)
        batch->runs[batch->n_runs++] =
            (struct hl_run){.position = sequence->length, .pages = sequence->pages, .n_pages = sequence->n_pages};
    batch->last = sequence;
    batch->runs[batch->n_runs - 1].n_tokens++;
    batch->tokens[batch->n_tokens++] = token;
    sequence->length++;
}

struct hl_want *hl_batch_want(struct hl_batch *batch)
{
    struct hl_want *want = &batch->wants[batch->n_outputs++];
    *want = (struct hl_want){.token = batch->n_tokens - 1};
    return want;
}

int hl_batch_run(struct hl_engine *engine, struct hl_batch *batch, const struct hl_logits **logits,
                 struct hl_error *err)
{
    const struct hl_step step = {
        .n_tokens = batch->n_tokens,
        .n_runs = batch->n_runs,
        .n_outputs = batch->n_outputs,
        .tokens = batch->tokens,
        .runs = batch->runs,
        .wants = batch->wants,
    };
    batch->n_tokens = batch->n_runs = batch->n_outputs = 0;
    batch->last = NULL;
    return engine->interface->step(engine->device, &step, logits, err);
}
