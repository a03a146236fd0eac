/* HL_OP_KV_WRITE: converts keys and values of a step and puts them into the cache. */
#ifndef HL_KERNELS_CUDA_CODE_KV_WRITE_H
#define HL_KERNELS_CUDA_CODE_KV_WRITE_H

#include "kernels/cuda/code/kv_cache.h"

#define HL_CUDA_KV_WRITE_THREADS 128

struct hl_cuda_kv_write {
    struct hl_cuda_kv kv;
    const float *k, *v;    /* (n, heads, head_dim) */
    const uint32_t *slots; /* (n) page number * HL_CUDA_PAGE_TOKENS + position in the page */
    uint32_t k_stride, v_stride;
};

#if !defined(__CUDACC__)

/* Blocks for n tokens: z is 0 for keys, 1 for values; a warp has a block of 32 columns of one head. */
static inline struct hl_cuda_grid hl_cuda_kv_write_grid(const struct hl_cuda_kv_write *a, uint32_t n)
{
    uint32_t warps = a->kv.heads * (hl_cuda_kv_cols(a->kv.head_dim) / 32), each = HL_CUDA_KV_WRITE_THREADS / 32;
    struct hl_cuda_grid grid = {(warps + each - 1) / each, n, 2};
    return grid;
}

#endif

#endif
