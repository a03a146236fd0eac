/* HL_OP_ROPE: rotates the halves of each head in place. */
#ifndef HL_KERNELS_CUDA_CODE_ROPE_H
#define HL_KERNELS_CUDA_CODE_ROPE_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_ROPE_THREADS 128

struct hl_cuda_rope {
    float *x;            /* (n, heads, head_dim) */
    const float *angles; /* (n, rotated): cosines, then sines */
    uint32_t heads, head_dim, rotated, x_stride, angles_stride;
};

#if !defined(__CUDACC__)

/* Blocks for n rows: a thread has one pair of columns. */
static inline struct hl_cuda_grid hl_cuda_rope_grid(const struct hl_cuda_rope *a, uint32_t n)
{
    uint32_t pairs = a->heads * (a->rotated / 2);
    struct hl_cuda_grid grid = {(pairs + HL_CUDA_ROPE_THREADS - 1) / HL_CUDA_ROPE_THREADS, n, 1};
    return grid;
}

#endif

#endif
