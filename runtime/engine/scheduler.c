/* schedule: tasks stand in one list, in order of arrival. The first `parallel` of them own a sequence and run.
 *
 *   task:  prompt tokens ... | generated tokens ...
 *          ^ fed: those already in the cache          the last one generated is fed by the next step
 */
#include "runtime/engine/scheduler.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"

struct hl_task {
    struct hl_task *next;
    struct hl_request request;
    int32_t *tokens; /* prompt and generated */
    uint32_t n_tokens, room;
    bool running;
    struct hl_sequence sequence;
    struct hl_sampler *sampler;
    uint32_t output; /* row of this step's logits, or HL_NONE */
    uint64_t started, first_token;
};

struct hl_scheduler {
    const struct hl_model *model;
    struct hl_engine *engine;
    struct hl_task *tasks; /* oldest first */
    struct hl_batch batch;
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

static void free_task(struct hl_scheduler *scheduler, struct hl_task *task)
{
    hl_sequence_close(scheduler->engine, &task->sequence);
    hl_sampler_close(task->sampler);
    free(task->tokens);
    free(task);
}

static void finish(struct hl_scheduler *scheduler, struct hl_task *task, enum hl_finish reason,
                   const struct hl_error *err)
{
    uint64_t now = hl_clock_ns();
    struct hl_timings timings = {.n_prompt = task->request.n_prompt,
                                 .n_decoded = task->n_tokens - task->request.n_prompt};
    if (task->first_token) {
        timings.prompt_ns = task->first_token - task->started;
        timings.decode_ns = now - task->first_token;
    }
    for (struct hl_task **link = &scheduler->tasks; *link; link = &(*link)->next)
        if (*link == task) {
            *link = task->next;
            break;
        }
    task->request.finish(task->request.context, reason, &timings, err);
    free_task(scheduler, task);
}

void hl_scheduler_cancel(struct hl_scheduler *scheduler, struct hl_task *task)
{
    finish(scheduler, task, HL_FINISH_CANCELLED, NULL);
}

void hl_scheduler_close(struct hl_scheduler *scheduler)
{
    if (!scheduler)
        return;
    while (scheduler->tasks)
        finish(scheduler, scheduler->tasks, HL_FINISH_CANCELLED, NULL);
    hl_batch_close(&scheduler->batch);
    free(scheduler);
}

int hl_scheduler_add(struct hl_scheduler *scheduler, const struct hl_request *request, struct hl_task **out,
                     struct hl_error *err)
{
    const struct hl_engine *engine = scheduler->engine;
    if (hl_scheduler_check(request->n_prompt, engine->context, err) < 0)
        return -1;
    for (uint32_t i = 0; i < request->n_prompt; i++)
        if (request->prompt[i] < 0 || (uint32_t)request->prompt[i] >= engine->vocabulary)
            return hl_fail_as(err, HL_ERROR_REQUEST, "token %d of the prompt is outside the vocabulary of %u",
                              request->prompt[i], engine->vocabulary);
    if (request->n_predict == 0)
        return hl_fail_as(err, HL_ERROR_REQUEST, "no tokens are asked for");
    struct hl_task *task = calloc(1, sizeof *task);
    if (!task)
        return hl_no_memory(err);
    task->request = *request;
    uint32_t left = engine->context - request->n_prompt;
    task->room = request->n_prompt + hl_min_u32(request->n_predict, left);
    task->tokens = malloc((size_t)task->room * sizeof *task->tokens);
    if (!task->tokens || hl_sampler_open(&request->sampling, engine->vocabulary, &task->sampler, err) < 0) {
        free_task(scheduler, task);
        return hl_no_memory(err);
    }
    memcpy(task->tokens, request->prompt, request->n_prompt * sizeof *task->tokens);
    task->n_tokens = request->n_prompt;
    struct hl_task **link = &scheduler->tasks;
    while (*link)
        link = &(*link)->next;
    *link = task;
    *out = task;
    return 0;
}

bool hl_scheduler_idle(const struct hl_scheduler *scheduler)
{
    return scheduler->tasks == NULL;
}

/* Gives waiting tasks a sequence while there are free ones. */
static void start_tasks(struct hl_scheduler *scheduler)
{
    uint32_t running = 0;
    for (struct hl_task *task = scheduler->tasks, *next; task && running < scheduler->engine->parallel; task = next) {
        struct hl_error err;
        next = task->next;
        if (!task->running && hl_sequence_open(scheduler->engine, &task->sequence, &err) < 0) {
            finish(scheduler, task, HL_FINISH_ERROR, &err);
            continue;
        }
        if (!task->running)
            task->started = hl_clock_ns();
        task->running = true;
        running++;
    }
}

/* Puts up to `most` of a task's tokens into the batch; the last known token's logits are wanted. */
static int feed(struct hl_scheduler *scheduler, struct hl_task *task, uint32_t most, struct hl_error *err)
{
    struct hl_batch *batch = &scheduler->batch;
    uint32_t n = hl_min_u32(task->n_tokens - task->sequence.length, most);
    if (hl_sequence_reserve(scheduler->engine, &task->sequence, task->sequence.length + n, err) < 0)
        return -1;
    while (n--) {
        bool last = task->sequence.length + 1 == task->n_tokens;
        if (last)
            task->output = batch->n_outputs;
        hl_batch_add(batch, &task->sequence, task->tokens[task->sequence.length], last);
    }
    return 0;
}

/* Decoding tasks first, one token each: nobody who already reads waits for another's long prompt more than one step. */
static void fill_batch(struct hl_scheduler *scheduler)
{
    for (int prompts = 0; prompts < 2; prompts++)
        for (struct hl_task *task = scheduler->tasks, *next; task; task = next) {
            struct hl_error err;
            uint32_t room = scheduler->engine->batch - scheduler->batch.n_tokens;
            next = task->next;
            if (!prompts)
                task->output = HL_NONE;
            if (!task->running || room == 0 || (task->n_tokens - task->sequence.length > 1) != (prompts == 1) ||
                task->output != HL_NONE)
                continue;
            if (feed(scheduler, task, room, &err) < 0)
                finish(scheduler, task, HL_FINISH_ERROR, &err);
        }
}

/* One task's new token: sampled, judged, told. */
static void advance(struct hl_scheduler *scheduler, struct hl_task *task, const float *logits)
{
    int32_t token = hl_sample(task->sampler, logits, task->tokens, task->n_tokens);
    if (!task->first_token)
        task->first_token = hl_clock_ns();
    if (hl_model_stops_at(scheduler->model, token)) {
        finish(scheduler, task, HL_FINISH_STOP, NULL);
        return;
    }
    task->tokens[task->n_tokens++] = token;
    if (!task->request.token(task->request.context, token))
        finish(scheduler, task, HL_FINISH_STOP, NULL);
    else if (task->n_tokens == task->room)
        finish(scheduler, task, HL_FINISH_LENGTH, NULL);
}

void hl_scheduler_step(struct hl_scheduler *scheduler)
{
    struct hl_error err;
    struct hl_logits logits;
    start_tasks(scheduler);
    fill_batch(scheduler);
    if (scheduler->batch.n_tokens == 0)
        return;
    if (hl_batch_run(scheduler->engine, &scheduler->batch, &logits, &err) < 0) {
        while (scheduler->tasks)
            finish(scheduler, scheduler->tasks, HL_FINISH_ERROR, &err);
        return;
    }
    for (struct hl_task *task = scheduler->tasks, *next; task; task = next) {
        next = task->next;
        if (task->running && task->output != HL_NONE)
            advance(scheduler, task, logits.data + task->output * logits.stride);
    }
}
