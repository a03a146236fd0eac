/* Sampling. The device selects the best candidates after the penalties, sorted; they are cut by probability, and one is
 * drawn. At temperature 0 there is one candidate. Where more candidates are wanted than a device selects, the whole row
 * is sorted here. The random generator is our own (splitmix64), so that a seed gives the same tokens on every system. */
#include "runtime/engine/sample.h"
#include "base/sizes.h"
#include "kernels/candidate.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Finds a recent token's adjustment: a hash table with twice as many slots as there are recent tokens. */
struct recent_table {
    uint32_t *slots; /* index of an adjustment + 1; 0: none */
    uint32_t n_slots;
    uint32_t *counts; /* of each adjustment's token */
};

struct hl_sampler {
    struct hl_sampling sampling;
    uint64_t state;
    uint32_t vocabulary;
    struct hl_adjustment *adjustments;
    uint32_t n_adjustments, room;
    struct recent_table recent;
    struct hl_candidate *candidates; /* [vocabulary] if the whole row is wanted, else [HL_BEST_MOST] */
};

static bool wants_row(const struct hl_sampler *s)
{
    bool all = s->sampling.top_k == 0 || s->sampling.top_k >= s->vocabulary;
    return s->sampling.temperature > 0 && (all ? s->vocabulary : s->sampling.top_k) > HL_BEST_MOST;
}

int hl_sampler_open(const struct hl_sampling *sampling, uint32_t vocabulary, struct hl_sampler **out,
                    struct hl_error *err)
{
    struct hl_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return hl_no_memory(err);
    *sampler = (struct hl_sampler){.sampling = *sampling, .state = sampling->seed, .vocabulary = vocabulary};
    sampler->candidates = malloc((wants_row(sampler) ? vocabulary : HL_BEST_MOST) * sizeof *sampler->candidates);
    if (!sampler->candidates) {
        hl_sampler_close(sampler);
        return hl_no_memory(err);
    }
    *out = sampler;
    return 0;
}

void hl_sampler_close(struct hl_sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->adjustments);
    free(sampler->recent.slots);
    free(sampler->recent.counts);
    free(sampler->candidates);
    free(sampler);
}

/* splitmix64: https://prng.di.unimi.it/splitmix64.c (public domain; the constants are the algorithm). */
static double next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53; /* in [0, 1) */
}

/* ---- penalties ---- */

/* Makes room for the adjustments of `n` recent tokens. */
static int reserve(struct hl_sampler *s, uint32_t n, struct hl_error *err)
{
    if (n <= s->room)
        return 0;
    uint32_t room = 64;
    while (room < n)
        room *= 2;
    free(s->adjustments);
    free(s->recent.slots);
    free(s->recent.counts);
    s->room = 0;
    s->recent.n_slots = 2 * room;
    s->adjustments = malloc(room * sizeof *s->adjustments);
    s->recent.counts = malloc(room * sizeof *s->recent.counts);
    s->recent.slots = calloc(s->recent.n_slots, sizeof *s->recent.slots);
    if (!s->adjustments || !s->recent.counts || !s->recent.slots)
        return hl_no_memory(err);
    s->room = room;
    return 0;
}

/* Returns the slot of a token: with its adjustment, or empty. */
static uint32_t *slot_of(const struct hl_sampler *s, int32_t token)
{
    uint32_t at = (uint32_t)token * 2654435761u;
    for (;; at++) {
        uint32_t *slot = &s->recent.slots[at & (s->recent.n_slots - 1)];
        if (*slot == 0 || s->adjustments[*slot - 1].token == token)
            return slot;
    }
}

static void count_recent(struct hl_sampler *s, const int32_t *recent, uint32_t n)
{
    memset(s->recent.slots, 0, s->recent.n_slots * sizeof *s->recent.slots);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *slot = slot_of(s, recent[i]);
        if (*slot == 0) {
            s->adjustments[s->n_adjustments] = (struct hl_adjustment){.token = recent[i]};
            s->recent.counts[s->n_adjustments] = 0;
            *slot = ++s->n_adjustments;
        }
        s->recent.counts[*slot - 1]++;
    }
}

static int penalize(struct hl_sampler *s, const int32_t *recent, uint32_t n, struct hl_error *err)
{
    const struct hl_sampling *p = &s->sampling;
    float divide = p->repeat_penalty > 0 ? p->repeat_penalty : 1;
    uint32_t window = hl_min_u32(n, p->repeat_last_n);
    s->n_adjustments = 0;
    if ((divide == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0) || window == 0)
        return 0;
    if (reserve(s, window, err) < 0)
        return -1;
    count_recent(s, recent + n - window, window);
    for (uint32_t i = 0; i < s->n_adjustments; i++) {
        s->adjustments[i].divide = divide;
        s->adjustments[i].add = -(p->presence_penalty + p->frequency_penalty * (float)s->recent.counts[i]);
    }
    return 0;
}

int hl_sampler_want(struct hl_sampler *s, const int32_t *recent, uint32_t n_recent, struct hl_want *want,
                    struct hl_error *err)
{
    uint32_t best = s->sampling.temperature > 0 ? s->sampling.top_k : 1;
    if (penalize(s, recent, n_recent, err) < 0)
        return -1;
    want->best = wants_row(s) ? 0 : hl_min_u32(best ? best : s->vocabulary, s->vocabulary);
    want->adjustments = s->adjustments;
    want->n_adjustments = s->n_adjustments;
    return 0;
}

/* ---- candidates ---- */

/* Puts the k best of a whole row, with its adjustments, first and in order. Returns k. */
static uint32_t select_best(struct hl_sampler *s, const float *row)
{
    struct hl_candidate *c = s->candidates;
    uint32_t k = s->sampling.top_k ? hl_min_u32(s->sampling.top_k, s->vocabulary) : s->vocabulary;
    for (uint32_t i = 0; i < s->vocabulary; i++)
        c[i] = (struct hl_candidate){row[i], (int32_t)i};
    for (uint32_t i = 0; i < s->n_adjustments; i++) {
        const struct hl_adjustment *a = &s->adjustments[i];
        c[a->token].logit = hl_adjustment_apply(a, c[a->token].logit);
    }
    if (k < s->vocabulary)
        hl_candidate_heapify(c, k);
    for (uint32_t i = k; i < s->vocabulary; i++)
        hl_candidate_offer(c, k, c[i]);
    qsort(c, k, sizeof *c, hl_candidate_compare);
    return k;
}

static uint32_t take_best(struct hl_sampler *s, const struct hl_logits *logits)
{
    for (uint32_t i = 0; i < logits->n; i++)
        s->candidates[i] = (struct hl_candidate){logits->logits[i], logits->tokens[i]};
    return logits->n;
}

static double weight_of(const struct hl_candidate *c, float best, float temperature)
{
    double weight = exp(((double)c->logit - (double)best) / (double)temperature);
    return isnan(weight) ? 0 : weight;
}

/* Returns how many of the sorted candidates pass top_p and min_p, by probabilities before the temperature; at least
 * 1. */
static uint32_t cut(const struct hl_sampler *s, uint32_t n)
{
    const struct hl_candidate *c = s->candidates;
    const double top_p = (double)s->sampling.top_p, min_p = (double)s->sampling.min_p;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        total += weight_of(&c[i], c[0].logit, 1);
    uint32_t keep = 0;
    while (keep < n) {
        double weight = weight_of(&c[keep], c[0].logit, 1);
        /* top_p = 1 keeps all, even candidates whose weight vanishes in the sum's rounding. */
        if (keep && ((top_p < 1 && sum >= top_p * total) || weight < min_p))
            break;
        sum += weight;
        keep++;
    }
    return keep;
}

int32_t hl_sample(struct hl_sampler *s, const struct hl_logits *logits)
{
    const struct hl_candidate *c = s->candidates;
    uint32_t n = logits->row ? select_best(s, logits->row) : take_best(s, logits);
    if (s->sampling.temperature <= 0)
        return c[0].token;
    n = cut(s, n);
    double total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += weight_of(&c[i], c[0].logit, s->sampling.temperature);
    double at = next_random(&s->state) * total;
    for (uint32_t i = 0; i < n; i++) {
        at -= weight_of(&c[i], c[0].logit, s->sampling.temperature);
        if (at < 0)
            return c[i].token;
    }
    return c[0].token;
}
