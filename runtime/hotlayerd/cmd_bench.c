/* hotlayerd bench: how fast this machine computes steps of this model. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/hotlayerd/commands.h"
#include <getopt.h>

static const char help[] = "usage: hotlayerd bench --model PATH [-p 512] [-n 128] [-b 1] [OPTIONS]\n"
                           "\n"
                           "Measures prefill (a prompt of p tokens) and decode (n tokens each for b sequences at "
                           "once), in tokens per second.\n"
                           "The tokens are arbitrary; sampling and text are left out.\n"
                           "\n"
                           "  -p N             prompt tokens (default 512; what fits in the context)\n"
                           "  -n N             tokens to decode (default 128)\n"
                           "  -b N             sequences at once (default 1)\n"
                           "      --batch N    tokens per prefill step (default 256)\n"
                           "      --json       one JSON object\n" HL_COMMON_HELP "  -h, --help\n"
                           "\n"
                           "example:\n"
                           "  hotlayerd bench --model llama.hot -p 256 -n 64\n";

struct options {
    struct hl_common common;
    uint32_t prompt, decode, sequences;
    bool json, help;
};

struct figures {
    uint64_t open_ns, prefill_ns, decode_ns;
};

enum { BATCH = 1, JSON };

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    static const struct option longs[] = {{"batch", required_argument, NULL, BATCH},
                                          {"json", no_argument, NULL, JSON},
                                          {"help", no_argument, NULL, 'h'},
                                          HL_COMMON_OPTIONS,
                                          {NULL, 0, NULL, 0}};
    int option, result = 0;
    opterr = 0;
    while (result >= 0 && (option = getopt_long(argc, argv, "p:n:b:h", longs, NULL)) != -1) {
        if (option == 'h') {
            o->help = true;
            return 0;
        }
        if (option == 'p')
            result = hl_cli_count("-p", optarg, 1, 1u << 24, &o->prompt, err);
        else if (option == 'n')
            result = hl_cli_count("-n", optarg, 1, 1u << 24, &o->decode, err);
        else if (option == 'b')
            result = hl_cli_count("-b", optarg, 1, 1024, &o->sequences, err);
        else if (option == BATCH)
            result = hl_cli_count("--batch", optarg, 1, 65536, &o->common.engine.batch, err);
        else if (option == JSON)
            o->json = true;
        else
            result = hl_common_option(&o->common, option, argv, err);
    }
    if (result < 0)
        return -1;
    return optind == argc ? 0 : hl_fail_as(err, HL_ERROR_USAGE, "'%s' is one argument too many", argv[optind]);
}

/* Token numbers that wander through the vocabulary. */
static int32_t some_token(uint32_t i, uint32_t vocabulary)
{
    return (int32_t)((i * 2654435761u) % vocabulary);
}

static int prefill(struct hl_engine *engine, struct hl_batch *batch, struct hl_sequence *sequence, uint32_t n,
                   struct hl_error *err)
{
    struct hl_logits logits;
    if (hl_sequence_reserve(engine, sequence, n, err) < 0)
        return -1;
    for (uint32_t i = 0; i < n;) {
        for (; i < n && batch->n_tokens < engine->batch; i++)
            hl_batch_add(batch, sequence, some_token(i, engine->vocabulary), i + 1 == n);
        if (hl_batch_run(engine, batch, &logits, err) < 0)
            return -1;
    }
    return 0;
}

static int decode(struct hl_engine *engine, struct hl_batch *batch, struct hl_sequence *sequences,
                  const struct options *o, struct hl_error *err)
{
    struct hl_logits logits;
    for (uint32_t i = 0; i < o->decode; i++) {
        for (uint32_t s = 0; s < o->sequences; s++) {
            if (hl_sequence_reserve(engine, &sequences[s], sequences[s].length + 1, err) < 0)
                return -1;
            hl_batch_add(batch, &sequences[s], some_token(i + s, engine->vocabulary), true);
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
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    return run(&o, &err) < 0 ? hl_cli_report("bench", &err) : 0;
}
