/* out += in, of whole rows. */
#ifndef HL_KERNELS_CUDA_CODE_ADD_H
#define HL_KERNELS_CUDA_CODE_ADD_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_ADD_THREADS 256

struct hl_cuda_add {
    float *out;                           /* (n, cols) */
    const float *in;                      /* (n, cols) */
    uint32_t cols, out_stride, in_stride; /* strides in floats */
};

/* Blocks for n rows. */
static inline struct hl_cuda_grid hl_cuda_add_grid(const struct hl_cuda_add *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->cols + HL_CUDA_ADD_THREADS - 1) / HL_CUDA_ADD_THREADS, n, 1};
    return grid;
}

#endif
