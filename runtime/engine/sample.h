/* Chooses the next token from logits, in two parts: what to ask of the device, and which of its candidates to take. */
#ifndef HL_RUNTIME_ENGINE_SAMPLE_H
#define HL_RUNTIME_ENGINE_SAMPLE_H

#include "base/error.h"
#include "kernels/device.h"
#include <stdint.h>

/* Defaults are Ollama's. The filters apply in the order: penalties, top_k, top_p, min_p, temperature. */
struct hl_sampling {
    float temperature;       /* 0: always the most likely token */
    uint32_t top_k;          /* 0: all */
    float top_p;             /* 1: all */
    float min_p;             /* 0: all */
    float repeat_penalty;    /* 1: none; divides positive logits, multiplies negative ones */
    float presence_penalty;  /* 0: none */
    float frequency_penalty; /* 0: none */
    uint32_t repeat_last_n;  /* the number of last tokens that the penalties consider */
    uint64_t seed;
};

static const struct hl_sampling hl_sampling_default = {
    .temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .repeat_penalty = 1.0f, .repeat_last_n = 64};

struct hl_sampler;

int hl_sampler_open(const struct hl_sampling *sampling, uint32_t vocabulary, struct hl_sampler **out,
                    struct hl_error *err);
void hl_sampler_close(struct hl_sampler *sampler);

/* Fills in what the next token is chosen from, except want->token: the best, or the whole row if more than HL_BEST_MOST
 * are wanted. `recent` is the sequence so far, with the prompt; the penalties consider its end. The adjustments are the
 * sampler's, and valid until the next call. */
int hl_sampler_want(struct hl_sampler *sampler, const int32_t *recent, uint32_t n_recent, struct hl_want *want,
                    struct hl_error *err);

/* Returns the next token from what was wanted, a valid one for any logits. The same seed and logits give the same
 * tokens. */
int32_t hl_sample(struct hl_sampler *sampler, const struct hl_logits *logits);

#endif
