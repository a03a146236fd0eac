/* Compares decoding with reading: one token, then a plain read of the same weights, and so on in turns.
 *
 *     build/bench/decode --model MODEL.hot [-p 512] [-n 64] [--threads N] [--kernels NAME]
 *
 * On a shared machine, speeds measured seconds apart are not comparable. So each token here has a read next to it, by
 * as many threads, of the matrices in the order of the program, with the widest loads and no computation. `-p`
 * positions are in the cache before, so that attention takes its part of the time; the plain read leaves the cache out.
 * Prints medians, and the median of each pair's ratio. */
#include "base/cleanup.h"
#include "base/team.h"
#include "bench/bandwidth.h"
#include "runtime/engine/engine.h"
#include "runtime/model/hot.h"

#define TURNS_MOST 4096u

struct options {
    const char *model;
    uint32_t prompt, turns;
    struct hl_engine_options engine;
};

static void read_matrices(void *context, struct hl_team *team, struct hl_share share)
{
    const struct hl_hot *hot = context;
    const struct hl_program_view *program = &hot->program;
    (void)team;
    for (uint32_t i = 0; i < program->head->n_ops; i++)
        if (program->ops[i].kind == HL_OP_LINEAR) {
            const struct hl_tensor *tensor = &program->tensors[program->ops[i].linear.weight];
            read_share(hot->weights + tensor->offset, tensor->bytes, share);
        }
}

static uint64_t matrix_bytes(const struct hl_program_view *program)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < program->head->n_ops; i++)
        if (program->ops[i].kind == HL_OP_LINEAR)
            bytes += program->tensors[program->ops[i].linear.weight].bytes;
    return bytes;
}

static int prefill(struct hl_engine *engine, struct hl_batch *batch, struct hl_sequence *sequence, uint32_t n,
                   struct hl_error *err)
{
    const struct hl_logits *logits;
    for (uint32_t i = 0; i < n;) {
        for (; i < n && batch->n_tokens < engine->batch; i++)
            hl_batch_add(batch, sequence, (int32_t)(i % engine->vocabulary));
        if (hl_batch_run(engine, batch, &logits, err) < 0)
            return -1;
    }
    return 0;
}

static int take_turns(const struct options *o, struct hl_engine *engine, struct hl_hot *hot, struct hl_team *team,
                      struct hl_error *err)
{
    static double decode[TURNS_MOST], plain[TURNS_MOST], ratio[TURNS_MOST];
    struct hl_sequence sequence;
    struct hl_batch batch;
    const struct hl_logits *logits;
    if (hl_sequence_open(engine, &sequence, err) < 0 || hl_batch_open(engine, &batch, err) < 0 ||
        hl_engine_wait(engine, err) < 0 || hl_sequence_reserve(engine, &sequence, o->prompt + o->turns, err) < 0 ||
        prefill(engine, &batch, &sequence, o->prompt, err) < 0)
        return -1;
    for (uint32_t i = 0; i < o->turns; i++) {
        hl_batch_add(&batch, &sequence, (int32_t)(i % engine->vocabulary));
        hl_batch_want(&batch)->best = 40;
        double begin = seconds();
        if (hl_batch_run(engine, &batch, &logits, err) < 0)
            return -1;
        decode[i] = seconds() - begin;
        begin = seconds();
        hl_team_run(team, read_matrices, hot);
        plain[i] = seconds() - begin;
        ratio[i] = plain[i] / decode[i];
    }
    double bytes = (double)matrix_bytes(&hot->program), token = median(decode, o->turns);
    double once = median(plain, o->turns);
    printf("%s, %u positions before, %u turns\n"
           "decode  %.3f ms (%.1f GB/s)\nread    %.3f ms (%.1f GB/s)\nof the read's speed  %.1f %%\n",
           engine->interface->describe(engine->device), o->prompt, o->turns, 1e3 * token, 1e-9 * bytes / token,
           1e3 * once, 1e-9 * bytes / once, 100 * median(ratio, o->turns));
    hl_batch_close(&batch);
    hl_sequence_close(engine, &sequence);
    return 0;
}

static int run(struct options *o, struct hl_error *err)
{
    struct hl_hot *hot;
    struct hl_engine *engine = NULL;
    struct hl_team *team = NULL;
    if (hl_hot_open(o->model, &hot, err) < 0)
        return -1;
    o->engine.context = o->prompt + o->turns;
    int result = hl_hot_map_weights(hot, err);
    if (result == 0)
        result = hl_engine_open(hot, &o->engine, &engine, err);
    if (result == 0)
        result = hl_team_open(o->engine.threads, &team, err);
    if (result == 0)
        result = take_turns(o, engine, hot, team, err);
    hl_team_close(team);
    hl_engine_close(engine);
    hl_hot_close(hot);
    return result;
}

int main(int argc, char **argv)
{
    struct options o = {.prompt = 512, .turns = 64, .engine = {.kv_type = HL_KV_F16}};
    struct hl_error err;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        uint32_t number = (uint32_t)strtoul(value, NULL, 10);
        if (*value && strcmp(argv[i], "--model") == 0)
            o.model = value;
        else if (*value && strcmp(argv[i], "--kernels") == 0)
            o.engine.kernels = value;
        else if (number && strcmp(argv[i], "--threads") == 0)
            o.engine.threads = number;
        else if (number && number <= 1u << 20 && strcmp(argv[i], "-p") == 0)
            o.prompt = number;
        else if (number && number <= TURNS_MOST && strcmp(argv[i], "-n") == 0)
            o.turns = number;
        else {
            o.model = NULL;
            break;
        }
    }
    if (!o.model) {
        fprintf(stderr, "usage: decode --model MODEL.hot [-p 512] [-n 1..4096] [--threads N] [--kernels NAME]\n");
        return 2;
    }
    if (run(&o, &err) < 0) {
        fprintf(stderr, "decode: %s\n", err.message);
        return 1;
    }
    return 0;
}
