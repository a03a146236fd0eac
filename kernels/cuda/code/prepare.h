/* Converts activations to B fragments, once for all strips of the matrices that multiply with them. */
#ifndef HL_KERNELS_CUDA_CODE_PREPARE_H
#define HL_KERNELS_CUDA_CODE_PREPARE_H

#include "kernels/cuda/machine/types.h"

struct hl_cuda_prepare {
    const float *in; /* (n, cols) */
    uint8_t *x;      /* hl_cuda_prepared_bytes() */
    uint32_t n, cols, in_stride;
};

#endif
