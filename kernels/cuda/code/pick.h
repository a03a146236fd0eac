/* HL_OP_PICK: copies the rows whose logits are wanted. */
#ifndef HL_KERNELS_CUDA_CODE_PICK_H
#define HL_KERNELS_CUDA_CODE_PICK_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_PICK_THREADS 256

struct hl_cuda_pick {
    float *out; /* (n, cols) */
    const float *in;
    const uint32_t *outputs; /* (n) rows of `in` */
    uint32_t cols, out_stride, in_stride;
};

/* Blocks for n outputs. */
static inline struct hl_cuda_grid hl_cuda_pick_grid(const struct hl_cuda_pick *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->cols + HL_CUDA_PICK_THREADS - 1) / HL_CUDA_PICK_THREADS, n, 1};
    return grid;
}

#endif
