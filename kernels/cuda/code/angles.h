/* HL_OP_ANGLES: the cosines and sines of a step's positions. */
#ifndef HL_KERNELS_CUDA_CODE_ANGLES_H
#define HL_KERNELS_CUDA_CODE_ANGLES_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_ANGLES_THREADS 128

struct hl_cuda_angles {
    float *out;                /* (n, 2 half): cosines, then sines */
    const float *frequencies;  /* (half) */
    const uint32_t *positions; /* (n) */
    uint32_t half, out_stride;
};

/* Blocks for n rows. */
static inline struct hl_cuda_grid hl_cuda_angles_grid(const struct hl_cuda_angles *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->half + HL_CUDA_ANGLES_THREADS - 1) / HL_CUDA_ANGLES_THREADS, n, 1};
    return grid;
}

#endif
