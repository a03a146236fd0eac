/* HL_OP_SOFTCAP: cap tanh(x / cap), in place. */
#ifndef HL_KERNELS_CUDA_CODE_SOFTCAP_H
#define HL_KERNELS_CUDA_CODE_SOFTCAP_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_SOFTCAP_THREADS 256

struct hl_cuda_softcap {
    float *x; /* (n, cols) */
    uint32_t cols, stride;
    float cap;
};

/* Blocks for n rows. */
static inline struct hl_cuda_grid hl_cuda_softcap_grid(const struct hl_cuda_softcap *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->cols + HL_CUDA_SOFTCAP_THREADS - 1) / HL_CUDA_SOFTCAP_THREADS, n, 1};
    return grid;
}

#endif
