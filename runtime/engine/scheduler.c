/* The requests are one list, in order of arrival. The first `parallel` of them own a sequence and run.
 *
 *   request->tokens:  [ prompt ............ | generated ..... ]
 *                      `- sequence.length of them are in the cache; the next step feeds the last generated one
 *
 * The last generated token is not in the cache: a context of n positions takes a prompt of n - 1 tokens and one
 * more. */
#include "runtime/engine/scheduler.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"
#include <assert.h>

struct scheduled {
    struct scheduled *next;
    struct hl_request *request;
    struct hl_scheduler_events events;
    uint32_t room; /* tokens that fit in the request's */
    bool running;
    struct hl_sequence sequence;
    struct hl_sampler *sampler;
    uint32_t output; /* index of this step's logits, or HL_NONE */
    uint64_t started, first_token;
};

struct hl_scheduler {
    const struct hl_model *model;
    struct hl_engine *engine;
    struct scheduled *first; /* oldest first */
    struct hl_batch batch;
    bool lost; /* the device, for the reason in err */
    struct hl_error err;
};

int hl_scheduler_check(uint32_t n_prompt, uint32_t context, struct hl_error *err)
{
    if (n_prompt == 0)
        return hl_fail_as(err, HL_ERROR_REQUEST, "the prompt is empty and the model has no token to begin with");
    if (n_prompt >= context)
        return hl_fail_as(err, HL_ERROR_REQUEST,
                          "the prompt of %u tokens does not fit in the context of %u; shorten it or raise --ctx",
                          n_prompt, context);
    return 0;
}

int hl_scheduler_open(const struct hl_model *model, struct hl_engine *engine, struct hl_scheduler **out,
                      struct hl_error *err)
{
    struct hl_scheduler *scheduler = calloc(1, sizeof *scheduler);
    if (!scheduler)
        return hl_no_memory(err);
    scheduler->model = model;
    scheduler->engine = engine;
    if (hl_batch_open(engine, &scheduler->batch, err) < 0) {
        free(scheduler);
        return -1;
    }
    *out = scheduler;
    return 0;
}

static void release(struct hl_scheduler *scheduler, struct scheduled *s)
{
    hl_sequence_close(scheduler->engine, &s->sequence);
    hl_sampler_close(s->sampler);
    free(s);
}

static void finish(struct hl_scheduler *scheduler, struct scheduled *s, enum hl_finish reason,
                   const struct hl_error *err)
{
    uint64_t now = hl_clock_ns();
    struct hl_timings timings = {.n_prompt = s->request->n_prompt,
                                 .n_decoded = s->request->n_tokens - s->request->n_prompt};
    if (s->first_token) {
        timings.prompt_ns = s->first_token - s->started;
        timings.decode_ns = now - s->first_token;
    }
    for (struct scheduled **link = &scheduler->first; *link; link = &(*link)->next)
        if (*link == s) {
            *link = s->next;
            break;
        }
    s->events.finish(s->events.context, reason, &timings, err);
    release(scheduler, s);
}

void hl_scheduler_cancel(struct hl_scheduler *scheduler, const struct hl_request *request)
{
    struct scheduled *s = scheduler->first;
    while (s && s->request != request)
        s = s->next;
    assert(s);
    finish(scheduler, s, HL_FINISH_CANCELLED, NULL);
}

void hl_scheduler_close(struct hl_scheduler *scheduler)
{
    if (!scheduler)
        return;
    while (scheduler->first)
        finish(scheduler, scheduler->first, HL_FINISH_CANCELLED, NULL);
    hl_batch_close(&scheduler->batch);
    free(scheduler);
}

static int check_request(const struct hl_engine *engine, const struct hl_request *request, struct hl_error *err)
{
    if (hl_scheduler_check(request->n_prompt, engine->context, err) < 0)
        return -1;
    for (uint32_t i = 0; i < request->n_prompt; i++)
        if (request->tokens[i] < 0 || (uint32_t)request->tokens[i] >= engine->vocabulary)
            return hl_fail_as(err, HL_ERROR_REQUEST, "token %d of the prompt is outside the vocabulary of %u",
                              request->tokens[i], engine->vocabulary);
    return request->n_predict ? 0 : hl_fail_as(err, HL_ERROR_REQUEST, "the request asks for 0 tokens");
}

int hl_scheduler_add(struct hl_scheduler *scheduler, struct hl_request *request,
                     const struct hl_scheduler_events *events, struct hl_error *err)
{
    const struct hl_engine *engine = scheduler->engine;
    if (check_request(engine, request, err) < 0)
        return -1;
    uint32_t room = request->n_prompt + hl_min_u32(request->n_predict, engine->context - request->n_prompt);
    assert(room > request->n_prompt); /* check_request() insists on it */
    int32_t *tokens = realloc(request->tokens, (size_t)room * sizeof *tokens);
    if (!tokens)
        return hl_no_memory(err);
    request->tokens = tokens;
    request->n_tokens = request->n_prompt;
    struct scheduled *s = calloc(1, sizeof *s);
    if (!s || hl_sampler_open(&request->sampling, engine->vocabulary, &s->sampler, err) < 0) {
        free(s);
        return hl_no_memory(err);
    }
    s->request = request;
    s->events = *events;
    s->room = room;
    struct scheduled **link = &scheduler->first;
    while (*link)
        link = &(*link)->next;
    *link = s;
    return 0;
}

bool hl_scheduler_idle(const struct hl_scheduler *scheduler)
{
    return scheduler->first == NULL;
}

/* Gives a request a sequence with pages for all of its tokens, so that it never has to end for want of one. */
static int start(struct hl_scheduler *scheduler, struct scheduled *s, struct hl_error *err)
{
    if (hl_sequence_open(scheduler->engine, &s->sequence, err) < 0 ||
        hl_sequence_reserve(scheduler->engine, &s->sequence, s->room, err) < 0) {
        hl_sequence_close(scheduler->engine, &s->sequence);
        return -1;
    }
    s->started = hl_clock_ns();
    s->running = true;
    return 0;
}

/* Starts waiting requests while there are free sequences and pages. The oldest goes first, even if a younger one needs
 * fewer pages: it would wait forever otherwise. */
static void start_waiting(struct hl_scheduler *scheduler)
{
    uint32_t running = 0;
    for (struct scheduled *s = scheduler->first, *next; s && running < scheduler->engine->parallel; s = next) {
        struct hl_error err;
        next = s->next;
        if (!s->running && start(scheduler, s, &err) < 0) {
            if (err.kind == HL_ERROR_BUSY)
                return;
            finish(scheduler, s, HL_FINISH_ERROR, &err);
            continue;
        }
        running++;
    }
}

/* Puts up to `most` of a request's tokens into the batch; asks for the logits of the last known token. */
static int feed(struct hl_scheduler *scheduler, struct scheduled *s, uint32_t most, struct hl_error *err)
{
    struct hl_batch *batch = &scheduler->batch;
    uint32_t n = hl_min_u32(s->request->n_tokens - s->sequence.length, most);
    while (n--)
        hl_batch_add(batch, &s->sequence, s->request->tokens[s->sequence.length]);
    if (s->sequence.length < s->request->n_tokens)
        return 0;
    s->output = batch->n_outputs;
    return hl_sampler_want(s->sampler, s->request->tokens, s->request->n_tokens, hl_batch_want(batch), err);
}

/* Decoding requests first, one token each: another's long prompt delays a token by one step at most. */
static void fill_batch(struct hl_scheduler *scheduler)
{
    for (int prompts = 0; prompts < 2; prompts++)
        for (struct scheduled *s = scheduler->first, *next; s; s = next) {
            struct hl_error err;
            uint32_t room = scheduler->engine->batch - scheduler->batch.n_tokens;
            next = s->next;
            if (!prompts)
                s->output = HL_NONE;
            if (!s->running || room == 0 || (s->request->n_tokens - s->sequence.length > 1) != (prompts == 1) ||
                s->output != HL_NONE)
                continue;
            if (feed(scheduler, s, room, &err) < 0)
                finish(scheduler, s, HL_FINISH_ERROR, &err);
        }
}

/* Samples one request's next token and reports it. */
static void advance(struct hl_scheduler *scheduler, struct scheduled *s, const struct hl_logits *logits)
{
    int32_t token = hl_sample(s->sampler, logits);
    if (!s->first_token)
        s->first_token = hl_clock_ns();
    if (hl_model_stops_at(scheduler->model, token)) {
        finish(scheduler, s, HL_FINISH_STOP, NULL);
        return;
    }
    s->request->tokens[s->request->n_tokens++] = token;
    if (!s->events.token(s->events.context, token))
        finish(scheduler, s, HL_FINISH_STOP, NULL);
    else if (s->request->n_tokens == s->room)
        finish(scheduler, s, HL_FINISH_LENGTH, NULL);
}

void hl_scheduler_step(struct hl_scheduler *scheduler)
{
    struct hl_error err;
    const struct hl_logits *logits;
    start_waiting(scheduler);
    fill_batch(scheduler);
    if (scheduler->batch.n_tokens == 0)
        return;
    int result = hl_batch_run(scheduler->engine, &scheduler->batch, &logits, &err);
    if (result == HL_STEP_LOST) {
        scheduler->lost = true;
        scheduler->err = err;
    }
    if (result != HL_STEP_DONE) {
        while (scheduler->first)
            finish(scheduler, scheduler->first, HL_FINISH_ERROR, &err);
        return;
    }
    for (struct scheduled *s = scheduler->first, *next; s; s = next) {
        next = s->next;
        if (s->running && s->output != HL_NONE)
            advance(scheduler, s, &logits[s->output]);
    }
}

const struct hl_error *hl_scheduler_lost(const struct hl_scheduler *scheduler)
{
    return scheduler->lost ? &scheduler->err : NULL;
}
