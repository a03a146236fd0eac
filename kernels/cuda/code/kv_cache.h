/* The key/value cache in the memory of the GPU: pages of HL_CUDA_PAGE_TOKENS positions. A page holds, for each kv of the
 * program, the keys of its heads and then the values of its heads:
 *
 *   keys of a head     (head_dim, HL_CUDA_PAGE_TOKENS)            q8: int8, then (blocks, HL_CUDA_PAGE_TOKENS) fp16 scales
 *   values of a head   (HL_CUDA_PAGE_TOKENS, head_dim)            q8: int8, then (HL_CUDA_PAGE_TOKENS, blocks) fp16 scales
 *
 * Columns are padded to a multiple of 32; the padding of a position is zero once it is written. A position that no
 * token has written holds anything, even NaN: attention masks it, and never multiplies it by zero. */
#ifndef HL_KERNELS_CUDA_CODE_KV_CACHE_H
#define HL_KERNELS_CUDA_CODE_KV_CACHE_H

#include "kernels/cuda/machine/types.h"

#define HL_CUDA_PAGE_TOKENS 64u /* HL_KV_PAGE_TOKENS, which NVRTC does not see */

/* enum hl_kv_type */
#define HL_CUDA_KV_F32 0u
#define HL_CUDA_KV_F16 1u
#define HL_CUDA_KV_Q8 2u

struct hl_cuda_kv {
    uint8_t *base;       /* page 0, 256-byte aligned */
    uint64_t page_bytes; /* from page to page, a multiple of 256 */
    uint64_t offset;     /* of this kv in a page, a multiple of 256 */
    uint32_t type, heads, head_dim;
};

/* Returns the columns of a head, with padding. */
static inline HL_CUDA_BOTH uint32_t hl_cuda_kv_cols(uint32_t head_dim)
{
    return (head_dim + 31) / 32 * 32;
}

/* Returns the bytes of one head's keys, or values, in a page: a multiple of 256. */
static inline HL_CUDA_BOTH uint64_t hl_cuda_kv_half_bytes(uint32_t type, uint32_t head_dim)
{
    uint64_t cols = hl_cuda_kv_cols(head_dim), element = type == HL_CUDA_KV_F32 ? 4 : type == HL_CUDA_KV_F16 ? 2 : 1;
    uint64_t scales = type == HL_CUDA_KV_Q8 ? cols / 32 * 2 : 0;
    return (HL_CUDA_PAGE_TOKENS * (cols * element + scales) + 255) / 256 * 256;
}

/* Returns the bytes of one kv in a page. */
static inline HL_CUDA_BOTH uint64_t hl_cuda_kv_bytes(uint32_t type, uint32_t heads, uint32_t head_dim)
{
    return 2 * heads * hl_cuda_kv_half_bytes(type, head_dim);
}

/* Returns where a head's keys (values: 1: its values) begin in page 0. */
static inline HL_CUDA_BOTH uint8_t *hl_cuda_kv_head(const struct hl_cuda_kv *kv, uint32_t head, uint32_t values)
{
    return kv->base + kv->offset + (values * kv->heads + head) * hl_cuda_kv_half_bytes(kv->type, kv->head_dim);
}

#endif
