/* Measures how long the choice of one token takes: the best of a row of logits on the device, and the draw on the
 * scheduler's thread.
 *
 *     build/bench/choose [--rounds N]
 *
 * The rows are normal random numbers, as wide as Gemma's vocabulary. Before each measurement the row is copied, so it is
 * in the caches as after the matrix that computes it. Prints medians, for one thread and for all. */
#include "kernels/cpu/choose.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/team.h"
#include "bench/bandwidth.h"
#include "runtime/engine/sample.h"
#include <math.h>

#define VOCABULARY 262144u
#define ROUNDS_MOST 999u

struct choice {
    struct hl_chooser *chooser;
    const struct hl_want *want;
    float *row;
    struct hl_logits logits;
};

static void choose(void *context, struct hl_team *team, struct hl_share share)
{
    struct choice *c = context;
    hl_chooser_run(c->chooser, team, share, c->want, 1, c->row, VOCABULARY, &c->logits);
}

static void fill(float *row)
{
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < VOCABULARY; i++) {
        float sum = 0; /* of twelve uniform numbers: normal enough */
        for (int k = 0; k < 12; k++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        row[i] = 3 * (sum - 6);
    }
}

/* Chooses `rounds` times, and prints the medians of both parts. */
static int measure(const char *name, const struct hl_sampling *sampling, bool log_sum, struct hl_team *team,
                   const float *source, float *row, uint32_t rounds, struct hl_error *err)
{
    double device[ROUNDS_MOST], host[ROUNDS_MOST];
    const int32_t recent[] = {1};
    struct hl_want want = {.token = 0};
    struct choice c = {.want = &want, .row = row};
    struct hl_sampler *sampler;
    if (hl_sampler_open(sampling, VOCABULARY, &sampler, err) < 0)
        return -1;
    if (hl_sampler_want(sampler, recent, 1, &want, err) < 0 ||
        hl_chooser_open(VOCABULARY, 1, hl_team_size(team), &c.chooser, err) < 0) {
        hl_sampler_close(sampler);
        return -1;
    }
    want.log_sum = log_sum;
    for (uint32_t i = 0; i < rounds; i++) {
        memcpy(row, source, VOCABULARY * sizeof *row);
        double begin = seconds();
        hl_team_run(team, choose, &c);
        double middle = seconds();
        hl_sample(sampler, &c.logits);
        device[i] = middle - begin;
        host[i] = seconds() - middle;
    }
    printf("%-32s %u thread%s  device %8.1f us   scheduler %8.1f us\n", name, hl_team_size(team),
           hl_team_size(team) == 1 ? " " : "s", 1e6 * median(device, rounds), 1e6 * median(host, rounds));
    hl_chooser_close(c.chooser);
    hl_sampler_close(sampler);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        struct hl_sampling sampling;
        bool log_sum;
    } cases[] = {
        {"greedy", {.temperature = 0, .top_p = 1, .repeat_penalty = 1}, false},
        {"40 candidates", {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .repeat_penalty = 1}, false},
        {"40 candidates and log-sum", {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .repeat_penalty = 1}, true},
        {"256 candidates", {.temperature = 0.8f, .top_k = 256, .top_p = 0.9f, .repeat_penalty = 1}, false},
        {"all 262,144, on the scheduler", {.temperature = 0.8f, .top_k = 0, .top_p = 0.9f, .repeat_penalty = 1}, false},
    };
    uint32_t rounds = argc == 3 && strcmp(argv[1], "--rounds") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10) : 199;
    float *source = malloc(VOCABULARY * sizeof *source), *row = malloc(VOCABULARY * sizeof *row);
    struct hl_error err = {.message = "usage: choose [--rounds N]"};
    int result = source && row && rounds >= 1 && rounds <= ROUNDS_MOST && argc != 2 ? 0 : -1;
    if (result == 0)
        fill(source);
    const uint32_t threads[] = {1, hl_team_cores()};
    for (size_t t = 0; result == 0 && t < (threads[1] > 1 ? 2 : 1); t++) {
        struct hl_team *team;
        result = hl_team_open(threads[t], &team, &err);
        for (size_t i = 0; result == 0 && i < HL_COUNT(cases); i++)
            result = measure(cases[i].name, &cases[i].sampling, cases[i].log_sum, team, source, row, rounds, &err);
        if (result == 0)
            hl_team_close(team);
    }
    if (result < 0)
        fprintf(stderr, "choose: %s\n", err.message);
    free(source);
    free(row);
    return result < 0;
}
