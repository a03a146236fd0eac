/* Chooses the best of a step's logits: adjusts them, finds the k largest of each row, and the log of the sum of exp. The
 * order is that of kernels/device.h: largest first, equal ones by id, NaN last. */
#ifndef HL_KERNELS_CUDA_CODE_BEST_H
#define HL_KERNELS_CUDA_CODE_BEST_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_BEST_MOST 256u /* HL_BEST_MOST, which NVRTC does not see */

/* struct hl_adjustment */
struct hl_cuda_adjustment {
    int32_t token;
    float divide, add;
};

/* What is wanted of one row. */
struct hl_cuda_want {
    const uint32_t *allowed; /* a bit for each token, or NULL: all */
    uint32_t best;           /* 0: nothing; the row stays as it is */
    uint32_t first_adjustment, n_adjustments;
    uint32_t log_sum; /* 1: wanted */
};

struct hl_cuda_chosen {
    uint32_t n;
    float log_sum;
    int32_t tokens[HL_CUDA_BEST_MOST];
    float logits[HL_CUDA_BEST_MOST];
};

/* The arguments of each of the kernels, which run one after another. */
struct hl_cuda_best {
    float *rows;                                  /* (n, vocabulary), changed */
    const struct hl_cuda_want *wants;             /* [n] */
    const struct hl_cuda_adjustment *adjustments; /* of all rows */
    uint8_t *scratch;                             /* hl_cuda_best_scratch_bytes() */
    struct hl_cuda_chosen *chosen;                /* [n] */
    uint32_t vocabulary, stride;
};

#endif
