/* hotlayerd bench: measures how fast this machine computes steps of a model. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "runtime/hotlayerd/commands.h"

static const char about[] = "usage: hotlayerd bench --model PATH [-p 512] [-n 128] [-b 1] [OPTIONS]\n"
                            "\n"
                            "Measures prefill (a prompt of p tokens) and decode (n tokens each for b sequences at "
                            "once), in tokens per second.\n"
                            "The tokens are arbitrary; sampling and text are not measured.\n";

static const char examples[] = "example:\n"
                               "  hotlayerd bench --model llama.hot -p 256 -n 64\n";

#define CANDIDATES 40u /* as many as the default sampling wants */

struct options {
    struct hl_common common;
    uint32_t prompt, decode, sequences;
    bool json;
};

struct figures {
    uint64_t open_ns, prefill_ns, decode_ns;
};

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    const struct hl_option table[] = {
        hl_option_count("-p N", 1, 1u << 24, &o->prompt, "prompt tokens; default 512, or what fits in the context"),
        hl_option_count("-n N", 1, 1u << 24, &o->decode, "tokens to decode; default 128"),
        hl_option_count("-b N", 1, 1024, &o->sequences, "sequences at once; default 1"),
        hl_option_count("--batch N", 1, 65536, &o->common.engine.batch, "tokens per prefill step; default 256"),
        hl_option_flag("--json", &o->json, "print one JSON object"),
        HL_COMMON_OPTIONS(&o->common),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, NULL, 0, 0};
    return hl_options_parse(&options, argc, argv, err) < 0 ? -1 : 0;
}

/* Returns the i-th of a series of token ids that are spread over the vocabulary. */
static int32_t some_token(uint32_t i, uint32_t vocabulary)
{
    return (int32_t)((i * 2654435761u) % vocabulary);
}

static int prefill(struct hl_engine *engine, struct hl_batch *batch, struct hl_sequence *sequence, uint32_t n,
                   struct hl_error *err)
{
    const struct hl_logits *logits;
    if (hl_sequence_reserve(engine, sequence, n, err) < 0)
        return -1;
    for (uint32_t i = 0; i < n;) {
        for (; i < n && batch->n_tokens < engine->batch; i++)
            hl_batch_add(batch, sequence, some_token(i, engine->vocabulary));
        if (i == n)
            hl_batch_want(batch)->best = CANDIDATES;
        if (hl_batch_run(engine, batch, &logits, err) < 0)
            return -1;
    }
    return 0;
}

static int decode(struct hl_engine *engine, struct hl_batch *batch, struct hl_sequence *sequences,
                  const struct options *o, struct hl_error *err)
{
    const struct hl_logits *logits;
    for (uint32_t i = 0; i < o->decode; i++) {
        for (uint32_t s = 0; s < o->sequences; s++) {
            if (hl_sequence_reserve(engine, &sequences[s], sequences[s].length + 1, err) < 0)
                return -1;
            hl_batch_add(batch, &sequences[s], some_token(i + s, engine->vocabulary));
            hl_batch_want(batch)->best = CANDIDATES;
        }
        if (hl_batch_run(engine, batch, &logits, err) < 0)
            return -1;
    }
    return 0;
}

static int measure(const struct options *o, struct hl_engine *engine, struct figures *figures, struct hl_error *err)
{
    struct hl_batch batch;
    HL_FREE struct hl_sequence *sequences = calloc(o->sequences, sizeof *sequences);
    if (!sequences)
        return hl_no_memory(err);
    if (hl_batch_open(engine, &batch, err) < 0)
        return -1;
    int result = 0;
    for (uint32_t s = 0; s < o->sequences && result == 0; s++)
        result = hl_sequence_open(engine, &sequences[s], err);
    if (result == 0)
        result = hl_engine_wait(engine, err);
    uint64_t start = hl_clock_ns();
    if (result == 0)
        result = prefill(engine, &batch, &sequences[0], o->prompt, err);
    figures->prefill_ns = hl_clock_ns() - start;
    for (uint32_t s = 1; s < o->sequences && result == 0; s++)
        result = prefill(engine, &batch, &sequences[s], 1, err);
    start = hl_clock_ns();
    if (result == 0)
        result = decode(engine, &batch, sequences, o, err);
    figures->decode_ns = hl_clock_ns() - start;
    for (uint32_t s = 0; s < o->sequences; s++)
        hl_sequence_close(engine, &sequences[s]);
    hl_batch_close(&batch);
    return result;
}

static void print(const struct options *o, const struct hl_model *model, const struct hl_engine *engine,
                  const struct figures *f)
{
    double prefill = o->prompt / ((double)f->prefill_ns / 1e9);
    double decode = (double)o->decode * o->sequences / ((double)f->decode_ns / 1e9);
    double steps = o->decode / ((double)f->decode_ns / 1e9);
    double bytes = (double)model->hot->header->weight_bytes;
    const char *format = o->json ? "{\"model\":\"%s\",\"device\":\"%s\",\"prompt\":%u,\"decode\":%u,\"sequences\":%u,"
                                   "\"open_ms\":%.3f,\"prefill_tokens_per_second\":%.2f,"
                                   "\"decode_tokens_per_second\":%.2f,\"weights_gb_per_second\":%.3f}\n"
                                 : "model    %s\ndevice   %s\nload     prompt %u, decode %u, sequences %u\n"
                                   "open     %.3f ms\nprefill  %.2f tokens/s\ndecode   %.2f tokens/s\n"
                                   "         %.3f GB/s of weights\n";
    printf(format, model->name, engine->interface->describe(engine->device), o->prompt, o->decode, o->sequences,
           (double)f->open_ns / 1e6, prefill, decode, steps * bytes / 1e9);
}

static int run(struct options *o, struct hl_error *err)
{
    struct hl_model *model;
    struct hl_engine *engine;
    struct figures figures = {0, 0, 0};
    o->common.engine.parallel = o->sequences;
    uint64_t start = hl_clock_ns();
    if (hl_common_open(&o->common, &model, &engine, err) < 0)
        return -1;
    figures.open_ns = hl_clock_ns() - start;
    int result = 0;
    if (o->decode >= engine->context)
        result = hl_fail(err, "-n %u does not fit in the context of %u; raise --ctx", o->decode, engine->context);
    else
        o->prompt = hl_min_u32(o->prompt, engine->context - o->decode);
    if (result == 0)
        result = measure(o, engine, &figures, err);
    if (result == 0)
        print(o, model, engine, &figures);
    hl_common_close(model, engine);
    return result;
}

int hl_cmd_bench(int argc, char **argv)
{
    struct options o = {.prompt = 512, .decode = 128, .sequences = 1};
    struct hl_error err;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("bench", &err);
    return run(&o, &err) < 0 ? hl_cli_report("bench", &err) : 0;
}
