/* HL_OP_LINEAR: out = weight in + bias. */
#ifndef HL_KERNELS_CUDA_CODE_LINEAR_H
#define HL_KERNELS_CUDA_CODE_LINEAR_H

#include "kernels/cuda/machine/types.h"

struct hl_cuda_linear {
    const uint8_t *weight; /* tiles, tile.h */
    const uint8_t *x;      /* prepared for the weight's type */
    const float *bias;     /* (rows), or NULL */
    float *out;            /* (n, rows) */
    uint32_t rows, n, cols, out_stride;
};

#endif
