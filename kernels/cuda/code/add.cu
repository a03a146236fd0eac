#include "kernels/cuda/code/add.h"
#include "kernels/cuda/machine/machine.h"

KERNEL(hl_cuda_add, HL_CUDA_ADD_THREADS, struct hl_cuda_add)
{
    uint32_t col = block_index() * HL_CUDA_ADD_THREADS + thread_index(), row = block_index_y();
    if (col < arguments.cols)
        arguments.out[(size_t)row * arguments.out_stride + col] +=
            arguments.in[(size_t)row * arguments.in_stride + col];
}
