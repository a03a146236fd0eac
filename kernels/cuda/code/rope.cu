#include "kernels/cuda/code/rope.h"
#include "kernels/cuda/machine/machine.h"

KERNEL(hl_cuda_rope, HL_CUDA_ROPE_THREADS, struct hl_cuda_rope)
{
    uint32_t pair = block_index() * HL_CUDA_ROPE_THREADS + thread_index(), row = block_index_y();
    uint32_t half = arguments.rotated / 2, head = pair / half, i = pair % half;
    if (head >= arguments.heads)
        return;
    float *low = arguments.x + (size_t)row * arguments.x_stride + (size_t)head * arguments.head_dim + i;
    const float *angle = arguments.angles + (size_t)row * arguments.angles_stride + i;
    float a = low[0], b = low[half], cosine = angle[0], sine = angle[half];
    low[0] = multiply(a, cosine) - multiply(b, sine);
    low[half] = multiply(b, cosine) + multiply(a, sine);
}
