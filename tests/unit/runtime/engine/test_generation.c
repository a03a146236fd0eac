/* Generations: stop texts across tokens, characters across tokens, tokens without text, lengths, cancelling. A greedy
 * run over a real model says which pieces come; stop texts are then cut from its text at every place. */
#include "base/sizes.h"
#include "runtime/engine/generation.h"
#include "tests/unit/small_model.h"
#include <utf8proc.h>

#define PREDICT 40

struct bench {
    struct hl_model *model;
    struct hl_engine *engine;
    struct hl_scheduler *scheduler;
};

struct answer {
    char text[8192];
    size_t n, piece_end[256];
    unsigned pieces, finished;
    unsigned stop_after; /* pieces, then the callback returns false; 0: never */
    enum hl_finish reason;
    struct hl_timings timings;
};

static bool is_utf8(const char *text, size_t n)
{
    utf8proc_int32_t code;
    for (size_t at = 0; at < n;) {
        utf8proc_ssize_t bytes =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &code);
        if (bytes < 1)
            return false;
        at += (size_t)bytes;
    }
    return true;
}

static void add(struct answer *a, const char *text, size_t n)
{
    CHECK(!a->finished && is_utf8(text, n) && a->n + n < sizeof a->text);
    memcpy(a->text + a->n, text, n);
    a->n += n;
    a->text[a->n] = 0;
}

static bool on_text(void *context, const char *piece, size_t n)
{
    struct answer *a = context;
    add(a, piece, n);
    if (CHECK(a->pieces < HL_COUNT(a->piece_end)))
        a->piece_end[a->pieces++] = a->n;
    return a->pieces != a->stop_after;
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct answer *a = context;
    CHECK((err != NULL) == (reason == HL_FINISH_ERROR));
    add(a, rest, n);
    a->finished++;
    a->reason = reason;
    a->timings = *timings;
}

static struct hl_request new_request(const char *stop)
{
    struct hl_request request = {.tokens = malloc(3 * sizeof *request.tokens),
                                 .n_prompt = 3,
                                 .n_predict = PREDICT,
                                 .sampling = {.top_p = 1, .repeat_penalty = 1, .seed = 5}};
    for (int i = 0; i < 3; i++)
        request.tokens[i] = 40 + 7 * i;
    if (stop)
        snprintf(request.stop[request.n_stop++], HL_STOP_TEXT_BYTES, "%s", stop);
    return request;
}

static void run(struct bench *b, struct hl_request *request, struct answer *a)
{
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = a};
    struct hl_error err;
    if (!CHECK_OK(hl_generation_start(b->scheduler, b->model, request, &events, &err), err))
        return;
    while (!hl_scheduler_idle(b->scheduler))
        hl_scheduler_step(b->scheduler);
    CHECK(a->finished == 1);
}

static struct answer answer(struct bench *b, const char *stop, unsigned stop_after)
{
    struct hl_request request = new_request(stop);
    struct answer a = {.stop_after = stop_after};
    run(b, &request, &a);
    CHECK(a.pieces == request.n_tokens - request.n_prompt && a.timings.n_decoded == a.pieces);
    hl_request_release(&request);
    return a;
}

/* A stop text of `n` bytes at `at`: the text ends before its first occurrence, and no part of it went out. */
static void check_stop(struct bench *b, const struct answer *whole, size_t at, size_t n)
{
    char stop[64];
    snprintf(stop, sizeof stop, "%.*s", (int)n, whole->text + at);
    if (strlen(stop) != n || !is_utf8(stop, n))
        return;
    size_t first = (size_t)(strstr(whole->text, stop) - whole->text);
    struct answer a = answer(b, stop, 0);
    CHECK_SAY(a.reason == HL_FINISH_STOP && a.n == first && !memcmp(a.text, whole->text, first),
              "stop '%s' of %zu bytes at %zu: %zu bytes came", stop, n, first, a.n);
    unsigned needed = 0; /* it ends with the token that completes the stop text */
    while (needed < whole->pieces && whole->piece_end[needed] < first + n)
        needed++;
    CHECK_SAY(a.pieces <= needed + 4, "stop '%s': %u tokens, %u would do", stop, a.pieces, needed + 1);
}

static void test_stops(struct bench *b, const struct answer *whole)
{
    for (size_t at = 0; at < whole->n; at += 9)
        for (size_t n = 1; n <= 13 && at + n <= whole->n; n += 4)
            check_stop(b, whole, at, n);
}

/* A stop text that never comes changes nothing, even where its beginning is held back to the very end. */
static void test_near_stops(struct bench *b, const struct answer *whole)
{
    char stop[64];
    for (size_t n = 1; n <= 13 && n <= whole->n; n += 3) {
        snprintf(stop, sizeof stop, "%s\x01", whole->text + whole->n - n);
        struct answer a = answer(b, stop, 0);
        CHECK_SAY(a.reason == whole->reason && a.n == whole->n && !memcmp(a.text, whole->text, a.n), "stop '%s'", stop);
    }
}

/* The earliest of several stop texts counts; an empty one is none. */
static void test_several(struct bench *b, const struct answer *whole)
{
    struct hl_request request = new_request(NULL);
    struct answer a = {.n = 0};
    size_t early = whole->n / 3, late = 2 * whole->n / 3;
    snprintf(request.stop[0], HL_STOP_TEXT_BYTES, "%.9s", whole->text + late);
    request.stop[1][0] = 0;
    snprintf(request.stop[2], HL_STOP_TEXT_BYTES, "%.9s", whole->text + early);
    request.n_stop = 3;
    const char *first = strstr(whole->text, request.stop[2]), *other = strstr(whole->text, request.stop[0]);
    first = first && first < other ? first : other;
    run(b, &request, &a);
    CHECK(a.reason == HL_FINISH_STOP && a.n == (size_t)(first - whole->text) && !memcmp(a.text, whole->text, a.n));
    hl_request_release(&request);
}

static void test_ends(struct bench *b, const struct answer *whole)
{
    for (unsigned n = 1; n < 6; n++) {
        struct answer a = answer(b, NULL, n);
        CHECK(a.reason == HL_FINISH_STOP && a.pieces == n && !memcmp(a.text, whole->text, a.n));
    }
    struct hl_request request = new_request(NULL);
    struct answer a = {.n = 0}, cancelled = {.n = 0};
    request.n_predict = 2;
    run(b, &request, &a);
    CHECK(a.reason == HL_FINISH_LENGTH && a.pieces == 2 && !memcmp(a.text, whole->text, a.n));
    hl_request_release(&request);
    request = new_request(NULL);
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = &cancelled};
    struct hl_error err;
    CHECK_OK(hl_generation_start(b->scheduler, b->model, &request, &events, &err), err);
    for (int i = 0; i < 4; i++)
        hl_scheduler_step(b->scheduler);
    hl_scheduler_cancel(b->scheduler, &request);
    CHECK(cancelled.finished == 1 && cancelled.reason == HL_FINISH_CANCELLED && cancelled.pieces == 4);
    CHECK(!memcmp(cancelled.text, whole->text, cancelled.n) && hl_scheduler_idle(b->scheduler));
    hl_request_release(&request);
    request = new_request(NULL);
    request.n_prompt = 0;
    CHECK(hl_generation_start(b->scheduler, b->model, &request, &events, &err) < 0 && err.kind == HL_ERROR_REQUEST);
    hl_request_release(&request);
}

/* At a high temperature any token comes: bytes of broken characters, control tokens. What goes out is UTF-8 (add()),
 * and a control token whose name is a stop text ends the generation. */
static void test_any_tokens(struct bench *b)
{
    unsigned silent = 0, named = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct hl_request request = new_request(NULL);
        struct answer a = {.n = 0};
        request.sampling.temperature = 1000;
        request.sampling.seed = seed;
        request.n_predict = 100;
        run(b, &request, &a);
        for (unsigned i = 1; i < a.pieces; i++)
            silent += a.piece_end[i] == a.piece_end[i - 1];
        for (uint32_t i = request.n_prompt; i < request.n_tokens; i++) {
            uint32_t token = (uint32_t)request.tokens[i];
            size_t n = 0;
            const char *name = hl_tokenizer_text(b->model->tokenizer, token, &n);
            if (hl_tokenizer_kind(b->model->tokenizer, token) != HL_TOKEN_CONTROL || !n)
                continue;
            struct hl_request again = new_request(NULL);
            struct answer stopped = {.n = 0};
            again.sampling = request.sampling;
            again.n_predict = 100;
            snprintf(again.stop[again.n_stop++], HL_STOP_TEXT_BYTES, "%.*s", (int)n, name);
            run(b, &again, &stopped);
            CHECK(stopped.reason == HL_FINISH_STOP && stopped.pieces <= i - request.n_prompt + 1 &&
                  !memcmp(stopped.text, a.text, stopped.n));
            hl_request_release(&again);
            named++;
            break;
        }
        hl_request_release(&request);
    }
    CHECK_SAY(silent > 0 && named > 0, "%u tokens without text, %u control tokens: too few to prove anything", silent,
              named);
}

int main(void)
{
    struct hl_error err;
    struct bench b;
    const char *path = in_scratch("model.hot");
    if (!CHECK_OK(pack_model("examples/demo/model", path, HL_QUANT_KEEP, 64 << 20, &err), err) ||
        !CHECK_OK(hl_model_open(path, &b.model, &err), err) || !CHECK_OK(hl_hot_map_weights(b.model->hot, &err), err))
        return check_summary();
    const struct hl_engine_options options = {.threads = 2, .parallel = 1, .kv_type = b.model->kv_type};
    if (!CHECK_OK(hl_engine_open(b.model->hot, &options, &b.engine, &err), err) ||
        !CHECK_OK(hl_scheduler_open(b.model, b.engine, &b.scheduler, &err), err))
        return check_summary();
    struct answer whole = answer(&b, NULL, 0);
    if (CHECK_SAY(whole.n > 30, "only %zu bytes of text", whole.n)) {
        test_stops(&b, &whole);
        test_near_stops(&b, &whole);
        test_several(&b, &whole);
        test_ends(&b, &whole);
    }
    test_any_tokens(&b);
    hl_scheduler_close(b.scheduler);
    hl_engine_close(b.engine);
    hl_model_close(b.model);
    return scratch_summary();
}
