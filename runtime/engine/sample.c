/* Sampling. At temperature 0 the most likely token after the penalties wins; ties go to the lower id. Otherwise a heap
 * selects the k best candidates; they are sorted and cut by probability, and one is drawn. The random generator is our
 * own (splitmix64), so that a seed gives the same tokens on every system. */
#include "runtime/engine/sample.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct candidate {
    float logit;
    int32_t token;
};

struct hl_sampler {
    struct hl_sampling sampling;
    uint64_t state;
    uint32_t vocabulary;
    float *logits;                /* with penalties applied */
    uint32_t *counts;             /* of recent tokens; zero between calls */
    struct candidate *candidates; /* [vocabulary] */
};

int hl_sampler_open(const struct hl_sampling *sampling, uint32_t vocabulary, struct hl_sampler **out,
                    struct hl_error *err)
{
    struct hl_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return hl_no_memory(err);
    *sampler = (struct hl_sampler){.sampling = *sampling, .state = sampling->seed, .vocabulary = vocabulary};
    sampler->logits = malloc(vocabulary * sizeof *sampler->logits);
    sampler->counts = calloc(vocabulary, sizeof *sampler->counts);
    sampler->candidates = malloc(vocabulary * sizeof *sampler->candidates);
    if (!sampler->logits || !sampler->counts || !sampler->candidates) {
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
    free(sampler->logits);
    free(sampler->counts);
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

static void penalize(struct hl_sampler *s, const int32_t *recent, uint32_t n)
{
    const struct hl_sampling *p = &s->sampling;
    bool none =
        (p->repeat_penalty == 1.0f || p->repeat_penalty <= 0) && p->presence_penalty == 0 && p->frequency_penalty == 0;
    uint32_t window = n < p->repeat_last_n ? n : p->repeat_last_n;
    if (none)
        return;
    for (uint32_t i = n - window; i < n; i++)
        s->counts[recent[i]]++;
    for (uint32_t i = n - window; i < n; i++) {
        int32_t token = recent[i];
        if (s->counts[token] == 0)
            continue; /* done already */
        float *logit = &s->logits[token];
        if (p->repeat_penalty > 0)
            *logit = *logit > 0 ? *logit / p->repeat_penalty : *logit * p->repeat_penalty;
        *logit -= p->presence_penalty + p->frequency_penalty * (float)s->counts[token];
        s->counts[token] = 0;
    }
}

static int32_t most_likely(const float *logits, uint32_t n)
{
    int32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
            best = (int32_t)i;
    return best;
}

/* Returns whether a is worse than b. A total order, NaN last. */
static bool worse(struct candidate a, struct candidate b)
{
    bool a_nan = isnan(a.logit), b_nan = isnan(b.logit);
    if (a_nan != b_nan)
        return a_nan;
    if (!a_nan && a.logit != b.logit)
        return a.logit < b.logit;
    return a.token > b.token;
}

static int best_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return worse(*x, *y) ? 1 : worse(*y, *x) ? -1 : 0;
}

/* Restores the heap (its root is the worst of `n`) after entry `at` changed. */
static void sift_down(struct candidate *heap, uint32_t n, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && worse(heap[child + 1], heap[child]))
            child++;
        if (!worse(heap[child], heap[at]))
            return;
        struct candidate swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

/* Puts the k best candidates first, the best at 0. Returns k. */
static uint32_t select_best(struct hl_sampler *s)
{
    uint32_t k = s->sampling.top_k && s->sampling.top_k < s->vocabulary ? s->sampling.top_k : s->vocabulary;
    for (uint32_t i = 0; i < k; i++)
        s->candidates[i] = (struct candidate){s->logits[i], (int32_t)i};
    if (k < s->vocabulary) {
        for (uint32_t i = k / 2; i-- > 0;)
            sift_down(s->candidates, k, i);
        for (uint32_t i = k; i < s->vocabulary; i++) {
            struct candidate next = {s->logits[i], (int32_t)i};
            if (!worse(s->candidates[0], next))
                continue;
            s->candidates[0] = next;
            sift_down(s->candidates, k, 0);
        }
    }
    qsort(s->candidates, k, sizeof *s->candidates, best_first);
    return k;
}

static double weight_of(const struct candidate *c, float best, float temperature)
{
    double weight = exp(((double)c->logit - (double)best) / (double)temperature);
    return isnan(weight) ? 0 : weight;
}

/* Returns how many of the sorted candidates pass top_p and min_p, by probabilities before the temperature; at least
 * 1. */
static uint32_t cut(const struct hl_sampler *s, uint32_t n)
{
    const struct candidate *c = s->candidates;
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

int32_t hl_sample(struct hl_sampler *s, const float *logits, const int32_t *recent, uint32_t n_recent)
{
    memcpy(s->logits, logits, s->vocabulary * sizeof *logits);
    penalize(s, recent, n_recent);
    if (s->sampling.temperature <= 0)
        return most_likely(s->logits, s->vocabulary);
    uint32_t n = cut(s, select_best(s));
    const struct candidate *c = s->candidates;
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
