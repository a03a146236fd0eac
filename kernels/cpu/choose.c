/* The threads divide each row; every one keeps the best of its part in a heap, and the best of these are the row's.
 *
 *   parts of log_sum | adjustments | heaps | the row's best       a bar is a barrier
 *
 * Almost no logit is among the best: a part is read in blocks, which the compiler compares in vectors with the worst of
 * the heap, and only a block with a better one is looked at singly. */
#include "kernels/cpu/choose.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "kernels/candidate.h"
#include <math.h>
#include <stdlib.h>

#define BLOCK 64u       /* logits that are compared at once */
#define SUM_BLOCK 4096u /* logits that are added up by one thread: a fixed order, for any number of threads */

/* The worst of up to `room` candidates is at 0 once it is full. */
struct heap {
    struct hl_candidate *at;
    uint32_t n, room;
};

struct partial_sum {
    float most;
    double sum; /* of exp(logit - most) */
};

struct hl_chooser {
    uint32_t vocabulary, threads, sum_blocks;
    struct partial_sum *sums;        /* [max_outputs][sum_blocks] */
    struct hl_candidate *candidates; /* [max_outputs][threads][HL_BEST_MOST] */
    uint32_t *counts;                /* [max_outputs][threads] */
    int32_t *tokens;                 /* [max_outputs][HL_BEST_MOST] */
    float *logits;                   /* as tokens */
};

void hl_chooser_close(struct hl_chooser *chooser)
{
    if (!chooser)
        return;
    free(chooser->sums);
    free(chooser->candidates);
    free(chooser->counts);
    free(chooser->tokens);
    free(chooser->logits);
    free(chooser);
}

int hl_chooser_open(uint32_t vocabulary, uint32_t max_outputs, uint32_t threads, struct hl_chooser **out,
                    struct hl_error *err)
{
    struct hl_chooser *c = calloc(1, sizeof *c);
    size_t n = max_outputs ? max_outputs : 1;
    if (!c)
        return hl_no_memory(err);
    *c = (struct hl_chooser){
        .vocabulary = vocabulary, .threads = threads, .sum_blocks = (vocabulary + SUM_BLOCK - 1) / SUM_BLOCK};
    c->sums = calloc(n * (c->sum_blocks + 1), sizeof *c->sums);
    c->candidates = calloc(n * threads * HL_BEST_MOST, sizeof *c->candidates);
    c->counts = calloc(n * threads, sizeof *c->counts);
    c->tokens = calloc(n * HL_BEST_MOST, sizeof *c->tokens);
    c->logits = calloc(n * HL_BEST_MOST, sizeof *c->logits);
    if (!c->sums || !c->candidates || !c->counts || !c->tokens || !c->logits) {
        hl_chooser_close(c);
        return hl_no_memory(err);
    }
    *out = c;
    return 0;
}

static void offer(struct heap *heap, struct hl_candidate next)
{
    if (heap->n == heap->room) {
        hl_candidate_offer(heap->at, heap->n, next);
        return;
    }
    heap->at[heap->n++] = next;
    if (heap->n == heap->room)
        hl_candidate_heapify(heap->at, heap->n);
}

/* ---- one thread's part of a row ---- */

static bool is_allowed(const uint32_t *allowed, uint32_t token)
{
    return !allowed || (allowed[token / 32] >> token % 32 & 1);
}

static bool any_above(const float *x, float limit)
{
    int any = 0;
    for (uint32_t i = 0; i < BLOCK; i++)
        any |= x[i] > limit;
    return any;
}

/* Returns whether no logit of a whole block can enter the heap. An equal one comes later, which is worse. */
static bool is_hopeless(const struct heap *heap, const float *x)
{
    return heap->n == heap->room && !isnan(heap->at[0].logit) && !any_above(x, heap->at[0].logit);
}

static void scan(struct heap *heap, const float *row, const uint32_t *allowed, uint32_t begin, uint32_t end)
{
    for (uint32_t first = begin; first < end; first += BLOCK) {
        uint32_t n = hl_min_u32(BLOCK, end - first);
        if (n == BLOCK && is_hopeless(heap, row + first))
            continue;
        for (uint32_t i = first; i < first + n; i++)
            if (is_allowed(allowed, i))
                offer(heap, (struct hl_candidate){row[i], (int32_t)i});
    }
}

static struct partial_sum add_up(const float *x, uint32_t n)
{
    struct partial_sum s = {-INFINITY, 0};
    for (uint32_t i = 0; i < n; i++)
        s.most = x[i] > s.most ? x[i] : s.most;
    for (uint32_t i = 0; i < n && s.most > -INFINITY; i++)
        s.sum += (double)expf(x[i] - s.most);
    return s;
}

static void add_up_part(struct hl_chooser *c, uint32_t output, const float *row, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, c->sum_blocks, &begin, &end);
    for (uint32_t b = begin; b < end; b++)
        c->sums[(size_t)output * c->sum_blocks + b] =
            add_up(row + b * SUM_BLOCK, hl_min_u32(SUM_BLOCK, c->vocabulary - b * SUM_BLOCK));
}

/* ---- one thread's work on a whole row ---- */

static float log_of_sum(const struct hl_chooser *c, uint32_t output)
{
    const struct partial_sum *s = &c->sums[(size_t)output * c->sum_blocks];
    double sum = 0;
    float most = -INFINITY;
    for (uint32_t b = 0; b < c->sum_blocks; b++)
        most = s[b].most > most ? s[b].most : most;
    for (uint32_t b = 0; b < c->sum_blocks && most > -INFINITY; b++)
        sum += s[b].sum * exp((double)s[b].most - (double)most);
    return (float)((double)most + log(sum));
}

static void adjust(float *row, const struct hl_want *want)
{
    for (uint32_t i = 0; i < want->n_adjustments; i++) {
        const struct hl_adjustment *a = &want->adjustments[i];
        row[a->token] = hl_adjustment_apply(a, row[a->token]);
    }
}

static void merge(struct hl_chooser *c, uint32_t output, const struct hl_want *want, struct hl_logits *out)
{
    struct hl_candidate best[HL_BEST_MOST];
    struct heap heap = {best, 0, want->best};
    for (uint32_t t = 0; t < c->threads; t++) {
        size_t part = (size_t)output * c->threads + t;
        for (uint32_t i = 0; i < c->counts[part]; i++)
            offer(&heap, c->candidates[part * HL_BEST_MOST + i]);
    }
    qsort(best, heap.n, sizeof *best, hl_candidate_compare);
    int32_t *tokens = c->tokens + (size_t)output * HL_BEST_MOST;
    float *logits = c->logits + (size_t)output * HL_BEST_MOST;
    for (uint32_t i = 0; i < heap.n; i++) {
        tokens[i] = best[i].token;
        logits[i] = best[i].logit;
    }
    *out = (struct hl_logits){
        .tokens = tokens, .logits = logits, .n = heap.n, .log_sum = want->log_sum ? log_of_sum(c, output) : 0};
}

void hl_chooser_run(struct hl_chooser *c, struct hl_team *team, struct hl_share share, const struct hl_want *wants,
                    uint32_t n, float *rows, size_t stride, struct hl_logits *out)
{
    uint32_t begin, end;
    hl_share_range(share, c->vocabulary, &begin, &end);
    for (uint32_t i = 0; i < n; i++)
        if (wants[i].best && wants[i].log_sum)
            add_up_part(c, i, rows + i * stride, share);
    hl_team_barrier(team);
    for (uint32_t i = share.index; i < n; i += share.count)
        if (wants[i].best)
            adjust(rows + i * stride, &wants[i]);
    hl_team_barrier(team);
    for (uint32_t i = 0; i < n; i++)
        if (wants[i].best) {
            size_t part = (size_t)i * c->threads + share.index;
            struct heap heap = {c->candidates + part * HL_BEST_MOST, 0, wants[i].best};
            scan(&heap, rows + i * stride, wants[i].allowed, begin, end);
            c->counts[part] = heap.n;
        }
    hl_team_barrier(team);
    for (uint32_t i = share.index; i < n; i += share.count)
        if (wants[i].best)
            merge(c, i, &wants[i], &out[i]);
        else
            out[i] = (struct hl_logits){.row = rows + i * stride};
}
