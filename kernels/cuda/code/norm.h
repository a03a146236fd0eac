/* HL_OP_NORM: x / sqrt(mean(x^2) + eps) * weight, of each group of columns. */
#ifndef HL_KERNELS_CUDA_CODE_NORM_H
#define HL_KERNELS_CUDA_CODE_NORM_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_NORM_THREADS 256

struct hl_cuda_norm {
    float *out; /* (n, groups, cols); may be `in` */
    const float *in;
    const float *weight; /* (cols) */
    uint32_t groups, cols, out_stride, in_stride;
    float eps;
};

/* Blocks for n rows: one for each group. */
static inline struct hl_cuda_grid hl_cuda_norm_grid(const struct hl_cuda_norm *a, uint32_t n)
{
    struct hl_cuda_grid grid = {a->groups, n, 1};
    return grid;
}

#endif
