/* HL_OP_GATHER: rows of a tiled table. */
#ifndef HL_KERNELS_CUDA_CODE_GATHER_H
#define HL_KERNELS_CUDA_CODE_GATHER_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_GATHER_THREADS 256

struct hl_cuda_gather {
    float *out;            /* (n, cols) */
    const uint8_t *table;  /* tiles */
    const int32_t *tokens; /* (n) rows of the table */
    float scale;
    uint32_t type, cols, out_stride; /* type: enum hl_type */
};

/* Blocks for n rows. */
static inline struct hl_cuda_grid hl_cuda_gather_grid(const struct hl_cuda_gather *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->cols + HL_CUDA_GATHER_THREADS - 1) / HL_CUDA_GATHER_THREADS, n, 1};
    return grid;
}

#endif
