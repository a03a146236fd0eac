/* HL_OP_GATE: activation(gate) * up. */
#ifndef HL_KERNELS_CUDA_CODE_GATE_H
#define HL_KERNELS_CUDA_CODE_GATE_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_GATE_THREADS 256

struct hl_cuda_gate {
    float *out; /* (n, cols); may be one of the two */
    const float *gate, *up;
    uint32_t cols, out_stride, gate_stride, up_stride;
    uint32_t activation; /* enum hl_activation */
};

/* Blocks for n rows. */
static inline struct hl_cuda_grid hl_cuda_gate_grid(const struct hl_cuda_gate *a, uint32_t n)
{
    struct hl_cuda_grid grid = {(a->cols + HL_CUDA_GATE_THREADS - 1) / HL_CUDA_GATE_THREADS, n, 1};
    return grid;
}

#endif
