/* Tokens that compete for being the next one: their order, a heap of the best, and what changes a logit beforehand. Every
 * choice on the host uses these, the device's and the sampler's. */
#ifndef HL_KERNELS_CANDIDATE_H
#define HL_KERNELS_CANDIDATE_H

#include "kernels/device.h"
#include <math.h>

struct hl_candidate {
    float logit;
    int32_t token;
};

/* Returns whether a is worse than b. A total order: larger logits are better, then lower ids; NaN is last. */
static inline bool hl_candidate_is_worse(struct hl_candidate a, struct hl_candidate b)
{
    bool a_nan = isnan(a.logit), b_nan = isnan(b.logit);
    if (a_nan != b_nan)
        return a_nan;
    if (!a_nan && a.logit != b.logit)
        return a.logit < b.logit;
    return a.token > b.token;
}

/* The same for qsort(): best first. */
static inline int hl_candidate_compare(const void *a, const void *b)
{
    const struct hl_candidate *x = a, *y = b;
    return hl_candidate_is_worse(*x, *y) ? 1 : hl_candidate_is_worse(*y, *x) ? -1 : 0;
}

/* Restores the heap (its root is the worst of `n`) after entry `at` changed. */
static inline void hl_candidate_sift_down(struct hl_candidate *heap, uint32_t n, uint32_t at)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && hl_candidate_is_worse(heap[child + 1], heap[child]))
            child++;
        if (!hl_candidate_is_worse(heap[child], heap[at]))
            return;
        struct hl_candidate swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* Makes a heap of `n` candidates in any order. */
static inline void hl_candidate_heapify(struct hl_candidate *heap, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        hl_candidate_sift_down(heap, n, i);
}

/* Replaces the worst of a heap, if `next` is better. */
static inline void hl_candidate_offer(struct hl_candidate *heap, uint32_t n, struct hl_candidate next)
{
    if (!hl_candidate_is_worse(heap[0], next))
        return;
    heap[0] = next;
    hl_candidate_sift_down(heap, n, 0);
}

/* Returns a logit after an adjustment. */
static inline float hl_adjustment_apply(const struct hl_adjustment *adjustment, float logit)
{
    return (logit > 0 ? logit / adjustment->divide : logit * adjustment->divide) + adjustment->add;
}

#endif
