/* The worker: requests from the main thread, callbacks on it, and the compute thread in between. Run it under
 * ThreadSanitizer too: make BUILD=build-tsan SANITIZE=thread OPTIMIZE=-O1 build-tsan/tests/unit/test_worker */
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/engine/worker.h"
#include "tests/unit/small_model.h"
#include <poll.h>
#include <pthread.h>

#define REQUESTS 40
#define PREDICT 12

struct bench {
    struct hl_model *model;
    struct hl_worker *worker;
    unsigned ready, failed, finished;
    struct hl_error err;
};

struct answer {
    struct bench *bench;
    struct hl_request request;
    char text[4096];
    size_t n;
    unsigned pieces, finished;
    unsigned order; /* how many finished before */
    enum hl_finish reason;
    struct hl_error err;
    struct hl_timings timings;
};

static pthread_t main_thread;

static void on_ready(void *context, uint64_t mapped_ns, uint64_t ready_ns)
{
    struct bench *b = context;
    CHECK(pthread_equal(pthread_self(), main_thread) && mapped_ns && ready_ns >= mapped_ns);
    b->ready++;
}

static void on_failed(void *context, const struct hl_error *err)
{
    struct bench *b = context;
    b->failed++;
    b->err = *err;
}

static bool on_text(void *context, const char *piece, size_t n)
{
    struct answer *a = context;
    CHECK(pthread_equal(pthread_self(), main_thread) && !a->finished);
    a->pieces++;
    if (CHECK(a->n + n < sizeof a->text)) {
        memcpy(a->text + a->n, piece, n);
        a->n += n;
    }
    return true;
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct answer *a = context;
    CHECK(pthread_equal(pthread_self(), main_thread) && !a->finished);
    CHECK((err != NULL) == (reason == HL_FINISH_ERROR));
    memcpy(a->text + a->n, rest, n);
    a->n += n;
    a->finished++;
    a->order = a->bench->finished++;
    a->reason = reason;
    a->timings = *timings;
    if (err)
        a->err = *err;
    hl_request_release(&a->request); /* allowed from here on */
}

static void open_bench(struct bench *b, const char *path, uint32_t parallel, uint32_t max_waiting)
{
    struct hl_error err;
    *b = (struct bench){.model = NULL};
    if (!CHECK_OK(hl_model_open(path, &b->model, &err), err))
        exit(check_summary());
    const struct hl_worker_options options = {
        .engine = {.threads = 2, .parallel = parallel, .kv_type = b->model->kv_type},
        .max_waiting = max_waiting,
        .ready = on_ready,
        .failed = on_failed,
        .context = b};
    if (!CHECK_OK(hl_worker_open(b->model, &options, &b->worker, &err), err))
        exit(check_summary());
}

static void close_bench(struct bench *b)
{
    CHECK(hl_worker_close(b->worker, 60000));
    hl_model_close(b->model);
}

/* Waits for news as the event loop does, until *count, one of the bench's counts, is `enough`. */
static void wait_until(struct bench *b, const unsigned *count, unsigned enough)
{
    uint64_t begin = hl_clock_ns();
    struct pollfd wait = {.fd = hl_worker_fd(b->worker), .events = POLLIN};
    while (*count < enough && CHECK(hl_clock_ns() - begin < 60000000000u)) {
        poll(&wait, 1, 1000);
        hl_worker_dispatch(b->worker);
    }
}

static void wait_for(struct bench *b, unsigned enough)
{
    wait_until(b, &b->finished, enough);
}

static int start(struct bench *b, struct answer *a, unsigned number, uint32_t n_predict, struct hl_error *err)
{
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = a};
    uint32_t n_prompt = 1 + number % 5;
    *a = (struct answer){.bench = b,
                         .request = {.tokens = malloc(n_prompt * sizeof(int32_t)),
                                     .n_prompt = n_prompt,
                                     .n_predict = n_predict,
                                     .sampling = {.top_p = 1, .repeat_penalty = 1}}};
    for (uint32_t i = 0; i < n_prompt; i++)
        a->request.tokens[i] = (int32_t)(3 + (number + i) % 20);
    int result = hl_worker_start(b->worker, &a->request, &events, err);
    if (result < 0)
        hl_request_release(&a->request);
    return result;
}

/* Many requests, some before the engine is open: every one ends once, in order with one sequence, and says the same
 * with several. */
static void test_many(const char *path)
{
    static struct answer alone[REQUESTS], together[REQUESTS];
    struct hl_error err;
    struct bench b;
    for (int parallel = 1; parallel <= 4; parallel += 3) {
        struct answer *answers = parallel == 1 ? alone : together;
        open_bench(&b, path, (uint32_t)parallel, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++) {
            CHECK_OK(start(&b, &answers[i], i, PREDICT, &err), err);
            if (i % 7 == 0)
                hl_worker_dispatch(b.worker); /* with or without news */
        }
        wait_for(&b, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++) {
            CHECK(answers[i].finished == 1 &&
                  (answers[i].reason == HL_FINISH_LENGTH || answers[i].reason == HL_FINISH_STOP));
            CHECK(answers[i].pieces == answers[i].timings.n_decoded && answers[i].timings.n_prompt == 1 + i % 5);
            CHECK(parallel > 1 || answers[i].order == i);
        }
        close_bench(&b);
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        CHECK_SAY(alone[i].n == together[i].n && !memcmp(alone[i].text, together[i].text, alone[i].n),
                  "request %u says something else beside others", i);
}

/* Cancels queued, running and finished requests; the others do not notice. */
static void test_cancel(const char *path)
{
    static struct answer answers[REQUESTS];
    struct hl_error err;
    struct bench b;
    struct dice dice = {61};
    for (int round = 0; round < 5; round++) {
        open_bench(&b, path, 3, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++)
            CHECK_OK(start(&b, &answers[i], i, i % 2 ? UINT32_MAX : PREDICT, &err), err);
        uint64_t begin = hl_clock_ns();
        while (b.finished < REQUESTS / 4 &&
               hl_clock_ns() - begin < 60000000000u) { /* never waits: cancels fall anywhere */
            hl_worker_dispatch(b.worker);
            struct answer *a = &answers[1 + 2 * dice_between(&dice, 0, REQUESTS / 2 - 1)];
            if (!a->finished)
                hl_worker_cancel(b.worker, &a->request);
            if (!a->finished) /* once more is the same */
                hl_worker_cancel(b.worker, &a->request);
        }
        for (unsigned i = 1; i < REQUESTS; i += 2)
            if (!answers[i].finished)
                hl_worker_cancel(b.worker, &answers[i].request);
        wait_for(&b, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++)
            CHECK(answers[i].finished == 1 && (i % 2 || answers[i].reason != HL_FINISH_CANCELLED));
        close_bench(&b);
    }
}

/* Cancelling all ends those in the inbox, too; later requests run. */
static void test_cancel_all(const char *path)
{
    static struct answer answers[REQUESTS];
    struct answer later;
    struct hl_error err;
    struct bench b;
    open_bench(&b, path, 2, REQUESTS);
    for (unsigned i = 0; i < REQUESTS; i++)
        CHECK_OK(start(&b, &answers[i], i, UINT32_MAX, &err), err);
    hl_worker_cancel_all(b.worker);
    wait_for(&b, REQUESTS);
    unsigned cancelled = 0;
    for (unsigned i = 0; i < REQUESTS; i++)
        cancelled += answers[i].reason == HL_FINISH_CANCELLED;
    CHECK(cancelled > REQUESTS / 2);
    CHECK_OK(start(&b, &later, 0, PREDICT, &err), err);
    wait_for(&b, REQUESTS + 1);
    CHECK(later.finished == 1 && later.reason != HL_FINISH_CANCELLED);
    close_bench(&b);
}

/* Closing in the middle of everything ends each request once. */
static void test_close(const char *path)
{
    static struct answer answers[REQUESTS];
    struct hl_error err;
    struct bench b;
    for (unsigned wait = 0; wait < 6; wait++) {
        open_bench(&b, path, 2, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++)
            CHECK_OK(start(&b, &answers[i], i, UINT32_MAX, &err), err);
        wait_for(&b, wait);
        CHECK(hl_worker_close(b.worker, 60000));
        for (unsigned i = 0; i < REQUESTS; i++)
            CHECK(answers[i].finished == 1);
        CHECK(answers[REQUESTS - 1].reason == HL_FINISH_CANCELLED && b.finished == REQUESTS);
        hl_model_close(b.model);
    }
}

static void test_full(const char *path)
{
    static struct answer answers[8];
    struct hl_error err = {.message = ""};
    struct bench b;
    open_bench(&b, path, 2, 3);
    for (unsigned i = 0; i < 5; i++)
        CHECK_OK(start(&b, &answers[i], i, PREDICT, &err), err);
    CHECK(start(&b, &answers[5], 5, PREDICT, &err) < 0 && err.kind == HL_ERROR_BUSY &&
          strstr(err.message, "5 requests"));
    wait_for(&b, 1);
    CHECK_OK(start(&b, &answers[5], 5, PREDICT, &err), err); /* there is room again */
    wait_for(&b, 6);
    close_bench(&b);
}

/* A request without a prompt waits for the engine; one that the scheduler refuses ends with its error. */
static void test_odd_requests(const char *path)
{
    struct answer empty = {.finished = 0}, outside, ok;
    struct hl_error err;
    struct bench b;
    open_bench(&b, path, 1, 8);
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = &empty};
    empty.bench = &b;
    CHECK_OK(hl_worker_start(b.worker, &empty.request, &events, &err), err);
    CHECK_OK(start(&b, &outside, 0, PREDICT, &err), err);
    wait_for(&b, 2);
    CHECK(empty.reason == HL_FINISH_STOP && empty.n == 0 && empty.pieces == 0);
    CHECK_OK(start(&b, &outside, 0, 0, &err), err); /* no tokens are wanted */
    CHECK_OK(start(&b, &ok, 1, PREDICT, &err), err);
    wait_for(&b, 4);
    CHECK(outside.reason == HL_FINISH_ERROR && outside.err.kind == HL_ERROR_REQUEST && *outside.err.message);
    CHECK(ok.reason != HL_FINISH_ERROR && b.failed == 0);
    wait_until(&b, &b.ready, 1);
    CHECK(b.ready == 1);
    close_bench(&b);
}

/* An engine that cannot be opened is reported once; its requests end when the worker closes. */
static void test_failure(const char *path)
{
    struct answer a;
    struct hl_error err;
    struct bench b = {.model = NULL};
    CHECK_OK(hl_model_open(path, &b.model, &err), err);
    const struct hl_worker_options options = {.engine = {.parallel = 1, .kernels = "sse9"},
                                              .max_waiting = 4,
                                              .ready = on_ready,
                                              .failed = on_failed,
                                              .context = &b};
    CHECK_OK(hl_worker_open(b.model, &options, &b.worker, &err), err);
    CHECK_OK(start(&b, &a, 0, PREDICT, &err), err);
    wait_until(&b, &b.failed, 1);
    hl_worker_dispatch(b.worker);
    CHECK(b.failed == 1 && b.ready == 0 && strstr(b.err.message, "sse9"));
    CHECK(hl_worker_close(b.worker, 60000));
    CHECK(a.finished == 1 && a.reason == HL_FINISH_CANCELLED);
    hl_model_close(b.model);
    CHECK(hl_worker_close(NULL, 0));
}

int main(void)
{
    struct hl_error err;
    const char *path = in_scratch("model.hot");
    main_thread = pthread_self();
    if (!CHECK_OK(pack_model(FIXTURES "f16-sharded", path, HL_QUANT_BF16, 1 << 20, &err), err))
        return check_summary();
    test_many(path);
    test_cancel(path);
    test_cancel_all(path);
    test_close(path);
    test_full(path);
    test_odd_requests(path);
    test_failure(path);
    return scratch_summary();
}
