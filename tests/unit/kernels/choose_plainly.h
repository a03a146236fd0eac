/* What a device must choose (struct hl_want), computed plainly: a copy of the row, changed and sorted as a whole. */
#ifndef HL_TESTS_UNIT_KERNELS_CHOOSE_PLAINLY_H
#define HL_TESTS_UNIT_KERNELS_CHOOSE_PLAINLY_H

#include "kernels/device.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plain_choice {
    struct plain_candidate {
        float logit;
        int32_t token;
    } * all;
    int32_t *tokens;
    float *logits;
};

static inline int plain_order(const void *a, const void *b)
{
    const struct plain_candidate *x = a, *y = b;
    if (!isnan(x->logit) != !isnan(y->logit))
        return isnan(x->logit) ? 1 : -1;
    if (x->logit > y->logit || x->logit < y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static inline double plain_log_sum(const float *row, uint32_t n)
{
    double most = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmax(most, (double)row[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)row[i] - most);
    return most + log(sum);
}

/* Fills in *out, which lives as long as the result. */
static inline struct plain_choice choose_plainly(const float *row, uint32_t n, const struct hl_want *want,
                                                 struct hl_logits *out)
{
    struct plain_choice c = {malloc(n * sizeof *c.all), malloc(n * sizeof *c.tokens), malloc(n * sizeof *c.logits)};
    uint32_t kept = 0;
    memcpy(c.logits, row, n * sizeof *row);
    for (uint32_t i = 0; i < want->n_adjustments && want->best; i++) {
        const struct hl_adjustment *a = &want->adjustments[i];
        float *logit = &c.logits[a->token];
        *logit = (*logit > 0 ? *logit / a->divide : *logit * a->divide) + a->add;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!want->allowed || want->allowed[i / 32] >> i % 32 & 1)
            c.all[kept++] = (struct plain_candidate){c.logits[i], (int32_t)i};
    *out = (struct hl_logits){.row = c.logits};
    if (want->best == 0)
        return c;
    qsort(c.all, kept, sizeof *c.all, plain_order);
    for (uint32_t i = 0; i < kept; i++) {
        c.tokens[i] = c.all[i].token;
        c.logits[i] = c.all[i].logit;
    }
    *out = (struct hl_logits){.tokens = c.tokens,
                              .logits = c.logits,
                              .n = kept < want->best ? kept : want->best,
                              .log_sum = want->log_sum ? (float)plain_log_sum(row, n) : 0};
    return c;
}

static inline void plain_choice_close(struct plain_choice *c)
{
    free(c->all);
    free(c->tokens);
    free(c->logits);
}

#endif
