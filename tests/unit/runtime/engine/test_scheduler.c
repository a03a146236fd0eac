/* runtime/engine/scheduler.c over real models: every request gets the tokens that it would get alone, whatever is
 * computed together and in whatever pieces. */
#include "base/sizes.h"
#include "runtime/engine/scheduler.h"
#include "tests/unit/small_model.h"

#define REQUESTS 7
#define TOKENS 128 /* the fixtures' context */

/* An open model, and an engine with a scheduler on it. */
struct bench {
    struct hl_model *model;
    struct hl_engine *engine;
    struct hl_scheduler *scheduler;
    uint32_t pages;
};

/* One request, and its result. */
struct answer {
    int32_t prompt[TOKENS], tokens[TOKENS];
    uint32_t n_prompt, n_predict, n_tokens;
    uint32_t stop_after; /* the callback stops at this many tokens; 0: never */
    bool finished;
    enum hl_finish reason;
    struct hl_timings timings;
    struct hl_request request; /* with the prompt and the tokens in a buffer of its own */
};

static bool on_token(void *context, int32_t token)
{
    struct answer *a = context;
    CHECK(!a->finished && a->n_tokens < TOKENS);
    a->tokens[a->n_tokens++] = token;
    return a->n_tokens != a->stop_after;
}

static void on_finish(void *context, enum hl_finish reason, const struct hl_timings *timings,
                      const struct hl_error *err)
{
    struct answer *a = context;
    CHECK(!a->finished && (reason == HL_FINISH_ERROR) == (err != NULL));
    CHECK(a->request.n_tokens == a->n_prompt + a->n_tokens &&
          memcmp(a->request.tokens, a->prompt, a->n_prompt * sizeof *a->prompt) == 0 &&
          memcmp(a->request.tokens + a->n_prompt, a->tokens, a->n_tokens * sizeof *a->tokens) == 0);
    hl_request_release(&a->request);
    a->finished = true;
    a->reason = reason;
    a->timings = *timings;
}

static struct bench open_bench(const char *path, struct hl_engine_options options)
{
    struct bench b = {.model = NULL};
    struct hl_error err;
    if (!CHECK_OK(hl_model_open(path, &b.model, &err), err) || !CHECK_OK(hl_hot_map_weights(b.model->hot, &err), err))
        exit(check_summary());
    options.kv_type = b.model->kv_type;
    options.device = getenv("HOTLAYER_TEST_DEVICE");
    if (!CHECK_OK(hl_engine_open(b.model->hot, &options, &b.engine, &err), err) ||
        !CHECK_OK(hl_scheduler_open(b.model, b.engine, &b.scheduler, &err), err))
        exit(check_summary());
    b.pages = b.engine->n_free;
    return b;
}

static void close_bench(struct bench *b)
{
    hl_scheduler_close(b->scheduler);
    CHECK_SAY(b->engine->n_free == b->pages, "%u of %u pages came back", b->engine->n_free, b->pages);
    hl_engine_close(b->engine);
    hl_model_close(b->model);
}

static bool add(struct bench *b, struct answer *a, struct hl_error *err)
{
    const struct hl_scheduler_events events = {.token = on_token, .finish = on_finish, .context = a};
    a->request = (struct hl_request){.tokens = malloc((a->n_prompt + 1) * sizeof *a->tokens),
                                     .n_prompt = a->n_prompt,
                                     .n_predict = a->n_predict,
                                     .sampling = {.top_p = 1, .repeat_penalty = 1}};
    memcpy(a->request.tokens, a->prompt, a->n_prompt * sizeof *a->tokens);
    a->n_tokens = 0;
    a->finished = false;
    if (hl_scheduler_add(b->scheduler, &a->request, &events, err) == 0)
        return true;
    hl_request_release(&a->request);
    return false;
}

static void run_all(struct bench *b)
{
    for (int step = 0; step < 2000 && !hl_scheduler_idle(b->scheduler); step++)
        hl_scheduler_step(b->scheduler);
    CHECK(hl_scheduler_idle(b->scheduler));
}

/* Prompts and generations of different lengths, also across pages; one generation reaches the context's end. */
static void make_requests(struct answer answers[REQUESTS], uint32_t vocabulary)
{
    static const uint32_t lengths[REQUESTS][2] = {{1, 20},  {63, 9}, {64, 10}, {5, UINT32_MAX},
                                                  {100, 5}, {17, 1}, {127, 50}};
    struct dice dice = {51};
    for (int i = 0; i < REQUESTS; i++) {
        answers[i] = (struct answer){.n_prompt = lengths[i][0], .n_predict = lengths[i][1]};
        for (uint32_t k = 0; k < lengths[i][0]; k++)
            answers[i].prompt[k] = (int32_t)dice_between(&dice, 3, vocabulary - 1);
    }
}

static void check_same(const struct answer *is, const struct answer *want, const char *how, uint32_t parallel,
                       uint32_t batch)
{
    CHECK_SAY(is->finished && is->reason == want->reason && is->n_tokens == want->n_tokens &&
                  memcmp(is->tokens, want->tokens, want->n_tokens * sizeof *want->tokens) == 0,
              "%s, parallel %u, batch %u: a prompt of %u gave %u tokens, alone %u", how, parallel, batch, is->n_prompt,
              is->n_tokens, want->n_tokens);
}

/* Runs each alone, one after another. */
static void answer_alone(const char *path, struct answer answers[REQUESTS])
{
    struct hl_error err;
    struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 1});
    unsigned different = 0;
    make_requests(answers, b.engine->vocabulary);
    for (int i = 0; i < REQUESTS; i++) {
        CHECK_OK(add(&b, &answers[i], &err) ? 0 : -1, err);
        run_all(&b);
        uint32_t most =
            answers[i].n_predict < TOKENS - answers[i].n_prompt ? answers[i].n_predict : TOKENS - answers[i].n_prompt;
        CHECK(answers[i].reason == HL_FINISH_STOP || answers[i].n_tokens == most);
        CHECK(answers[i].timings.n_prompt == answers[i].n_prompt &&
              answers[i].timings.n_decoded == answers[i].n_tokens);
        for (uint32_t k = 1; k < answers[i].n_tokens; k++)
            different += answers[i].tokens[k] != answers[i].tokens[k - 1];
    }
    CHECK_SAY(different > 10, "%s says the same token nearly all the time (%u changes), which would prove nothing",
              path, different);
    close_bench(&b);
}

static void test_together(const char *path, const struct answer alone[REQUESTS])
{
    static const uint32_t batches[] = {1, 2, 7, 33, 64};
    struct hl_error err;
    for (uint32_t parallel = 1; parallel <= 4; parallel++)
        for (size_t k = 0; k < HL_COUNT(batches); k++) {
            struct answer answers[REQUESTS];
            struct bench b =
                open_bench(path, (struct hl_engine_options){
                                     .threads = parallel == 2 ? 2 : 1, .parallel = parallel, .batch = batches[k]});
            memcpy(answers, alone, sizeof answers);
            for (int i = 0; i < REQUESTS; i++) {
                CHECK(add(&b, &answers[i], &err));
                for (uint32_t steps = i % 3 == 2 ? parallel : 0; steps; steps--) /* some arrive while others run */
                    hl_scheduler_step(b.scheduler);
            }
            run_all(&b);
            CHECK(b.engine->n_free == b.pages);
            for (int i = 0; i < REQUESTS; i++)
                check_same(&answers[i], &alone[i], "together", parallel, batches[k]);
            close_bench(&b);
        }
}

/* Returns the best of a row of logits, for sequences that the test drives. */
static int32_t best_of(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return (int32_t)best;
}

/* Feeds prompt and answer in pieces of `piece` tokens, and asks for all logits. At each place the best token must be
 * the next one of the scheduler's sequence: prefill gives the same tokens as decoding step by step. */
static void check_prefill(const char *path, const struct answer *alone, uint32_t piece)
{
    struct hl_error err;
    struct bench b =
        open_bench(path, (struct hl_engine_options){.threads = 2, .parallel = 1, .batch = piece, .outputs = piece});
    struct hl_sequence sequence;
    struct hl_batch batch;
    const struct hl_logits *logits;
    uint32_t total = alone->n_prompt + alone->n_tokens - 1, wrong = 0;
    CHECK_OK(hl_sequence_open(b.engine, &sequence, &err), err);
    CHECK_OK(hl_batch_open(b.engine, &batch, &err), err);
    while (sequence.length < total) {
        uint32_t first = sequence.length, n = total - first < piece ? total - first : piece;
        CHECK_OK(hl_sequence_reserve(b.engine, &sequence, first + n, &err), err);
        for (uint32_t i = first; i < first + n; i++) {
            hl_batch_add(&batch, &sequence,
                         i < alone->n_prompt ? alone->prompt[i] : alone->tokens[i - alone->n_prompt]);
            hl_batch_want(&batch);
        }
        CHECK_OK(hl_batch_run(b.engine, &batch, &logits, &err), err);
        for (uint32_t i = first; i < first + n; i++)
            if (i + 1 >= alone->n_prompt)
                wrong += best_of(logits[i - first].row, b.engine->vocabulary) != alone->tokens[i + 1 - alone->n_prompt];
    }
    CHECK_SAY(wrong == 0, "in pieces of %u: %u of %u tokens differ", piece, wrong, alone->n_tokens);
    hl_batch_close(&batch);
    hl_sequence_close(b.engine, &sequence);
    close_bench(&b);
}

/* Cancels requests that wait, in the middle of the prompt, and in the middle of the answer; the others are
 * unaffected. */
static void test_cancel(const char *path, const struct answer alone[REQUESTS])
{
    struct hl_error err;
    for (uint32_t when = 0; when < 30; when++) {
        struct answer answers[REQUESTS];
        struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 2, .batch = 8});
        memcpy(answers, alone, sizeof answers);
        for (int i = 0; i < REQUESTS; i++)
            CHECK(add(&b, &answers[i], &err));
        for (uint32_t i = 0; i < when; i++)
            hl_scheduler_step(b.scheduler);
        struct answer *gone = &answers[when % REQUESTS];
        bool there = !gone->finished;
        if (there) {
            hl_scheduler_cancel(b.scheduler, &gone->request);
            CHECK(gone->finished && gone->reason == HL_FINISH_CANCELLED);
        }
        run_all(&b);
        for (int i = 0; i < REQUESTS; i++)
            if (!there || &answers[i] != gone)
                check_same(&answers[i], &alone[i], "next to a cancelled one", 2, 8);
        close_bench(&b);
    }
}

/* Closing ends the remaining requests. */
static void test_close(const char *path, const struct answer alone[REQUESTS])
{
    struct hl_error err;
    struct answer answers[REQUESTS];
    struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 3, .batch = 16});
    memcpy(answers, alone, sizeof answers);
    for (int i = 0; i < REQUESTS; i++)
        CHECK(add(&b, &answers[i], &err));
    for (int i = 0; i < 3; i++)
        hl_scheduler_step(b.scheduler);
    close_bench(&b);
    unsigned cancelled = 0;
    for (int i = 0; i < REQUESTS; i++)
        cancelled += answers[i].finished && answers[i].reason == HL_FINISH_CANCELLED;
    CHECK(cancelled >= REQUESTS - 3);
}

/* A cache with room for two of three sequences, or one: requests wait for pages, in order, and none fails for want of
 * them. */
static void test_small_cache(const char *path, const struct answer alone[REQUESTS])
{
    struct hl_error err;
    for (uint32_t pages = 2; pages <= 4; pages++) {
        struct answer answers[REQUESTS];
        struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 3, .batch = 16});
        CHECK(b.engine->n_free == 6 && b.engine->pages_per_sequence == 2);
        b.pages = b.engine->n_free = pages;
        memcpy(answers, alone, sizeof answers);
        for (int i = 0; i < REQUESTS; i++)
            CHECK(add(&b, &answers[i], &err));
        run_all(&b);
        for (int i = 0; i < REQUESTS; i++)
            check_same(&answers[i], &alone[i], "in a small cache of so many pages", 3, pages);
        close_bench(&b);
    }
}

static void test_limits(const char *path, const struct answer alone[REQUESTS])
{
    struct hl_error err = {.message = ""};
    struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 1, .context = 70});
    struct answer a = alone[0];
    a.stop_after = 3;
    CHECK(add(&b, &a, &err));
    run_all(&b);
    CHECK(a.reason == HL_FINISH_STOP && a.n_tokens == 3 && memcmp(a.tokens, alone[0].tokens, 12) == 0);
    a = alone[1]; /* 63 tokens: seven fit after them */
    a.n_predict = UINT32_MAX;
    CHECK(add(&b, &a, &err));
    run_all(&b);
    CHECK((a.reason == HL_FINISH_LENGTH && a.n_tokens == 7) || a.reason == HL_FINISH_STOP);
    CHECK(memcmp(a.tokens, alone[1].tokens, 7 * sizeof *a.tokens) == 0);
    a.n_prompt = 70;
    CHECK(!add(&b, &a, &err) && err.kind == HL_ERROR_REQUEST && strstr(err.message, "70"));
    a.n_prompt = 0;
    CHECK(!add(&b, &a, &err) && err.kind == HL_ERROR_REQUEST && strstr(err.message, "empty"));
    a.n_prompt = 5;
    a.n_predict = 0;
    CHECK(!add(&b, &a, &err) && err.kind == HL_ERROR_REQUEST);
    a.n_predict = 5;
    a.prompt[4] = (int32_t)b.engine->vocabulary;
    CHECK(!add(&b, &a, &err) && err.kind == HL_ERROR_REQUEST && strstr(err.message, "vocabulary"));
    a.prompt[4] = -1;
    CHECK(!add(&b, &a, &err) && err.kind == HL_ERROR_REQUEST && strstr(err.message, "-1"));
    a.prompt[4] = (int32_t)b.engine->vocabulary - 1;
    CHECK(add(&b, &a, &err));
    run_all(&b);
    CHECK(a.n_tokens == 5 || a.reason == HL_FINISH_STOP);
    hl_scheduler_step(b.scheduler); /* with an empty queue */
    close_bench(&b);
}

static void test_engine_limits(const char *path)
{
    struct hl_error err = {.message = ""};
    struct hl_engine *engine;
    struct hl_sequence sequence;
    struct bench b = open_bench(path, (struct hl_engine_options){.threads = 1, .parallel = 1, .context = 100});
    CHECK(b.engine->n_free == 2 && b.engine->pages_per_sequence == 2);
    CHECK_OK(hl_sequence_open(b.engine, &sequence, &err), err);
    CHECK_OK(hl_sequence_reserve(b.engine, &sequence, 64, &err), err);
    CHECK(b.engine->n_free == 1);
    CHECK_OK(hl_sequence_reserve(b.engine, &sequence, 65, &err), err);
    CHECK(b.engine->n_free == 0);
    CHECK(hl_sequence_reserve(b.engine, &sequence, 101, &err) < 0 && err.kind == HL_ERROR_REQUEST);
    struct hl_sequence other;
    CHECK_OK(hl_sequence_open(b.engine, &other, &err), err);
    CHECK(hl_sequence_reserve(b.engine, &other, 1, &err) < 0 && err.kind == HL_ERROR_BUSY);
    hl_sequence_close(b.engine, &other);
    hl_sequence_close(b.engine, &sequence);
    CHECK_OK(hl_sequence_open(b.engine, &other, &err), err);
    b.engine->n_free = 1;
    CHECK(hl_sequence_reserve(b.engine, &other, 65, &err) < 0 && err.kind == HL_ERROR_BUSY && b.engine->n_free == 1);
    CHECK_OK(hl_sequence_reserve(b.engine, &other, 64, &err), err);
    hl_sequence_close(b.engine, &other);
    b.engine->n_free = 2;
    struct hl_engine_options options = {.threads = 1, .context = 129};
    CHECK_FAILS(hl_engine_open(b.model->hot, &options, &engine, &err), err, "129");
    options = (struct hl_engine_options){.threads = 1, .device = "abacus"};
    CHECK_FAILS(hl_engine_open(b.model->hot, &options, &engine, &err), err, "abacus");
    options = (struct hl_engine_options){.threads = 1, .device = "cpu", .kernels = "sse9"};
    CHECK_FAILS(hl_engine_open(b.model->hot, &options, &engine, &err), err, "sse9");
    options = (struct hl_engine_options){.threads = 1, .parallel = UINT32_MAX};
    CHECK_FAILS(hl_engine_open(b.model->hot, &options, &engine, &err), err, "--parallel");
    close_bench(&b);
}

int main(void)
{
    static const struct {
        const char *fixture;
        enum hl_quant quant;
    } models[] = {{"f32-awkward", HL_QUANT_KEEP}, {"f16-sharded", HL_QUANT_BF16}, {"f16-sharded", HL_QUANT_Q8}};
    for (size_t i = 0; i < HL_COUNT(models); i++) {
        char folder[PATH_MAX];
        struct answer alone[REQUESTS];
        struct hl_error err;
        const char *path = in_scratch("model.hot");
        snprintf(folder, sizeof folder, FIXTURES "%s", models[i].fixture);
        if (!CHECK_OK(pack_model(folder, path, models[i].quant, 1 << 20, &err), err))
            break;
        answer_alone(path, alone);
        test_together(path, alone);
        check_prefill(path, &alone[3], 1);
        check_prefill(path, &alone[3], 29);
        check_prefill(path, &alone[1], 128);
        test_cancel(path, alone);
        test_close(path, alone);
        test_small_cache(path, alone);
        test_limits(path, alone);
        test_engine_limits(path);
    }
    return scratch_summary();
}
