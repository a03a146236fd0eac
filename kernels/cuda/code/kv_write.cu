#include "kernels/cuda/code/kv_write.h"
#include "kernels/cuda/machine/machine.h"

/* Returns value, or a bound that it exceeds. A NaN becomes the low one, as in the CPU's conversions. */
DEVICE float kv_clamp(float value, float bound)
{
    float low = value > -bound ? value : -bound;
    return low < bound ? low : bound;
}

/* warp: returns the scale of the 32 values of a block, fp16. */
DEVICE uint32_t kv_scale(float value)
{
    float most = as_float(float_bits(value) & 0x7fffffffu);
    most = most >= 0 ? most : 0; /* not a NaN */
    for (uint32_t mask = 16; mask; mask /= 2) {
        float other = exchange(most, mask);
        most = other > most ? other : most;
    }
    float scale = most / 127.0f;
    return half_bits(scale < 65504.0f ? scale : 65504.0f);
}

DEVICE void kv_store_half(uint8_t *to, uint64_t at, uint32_t half)
{
    ((uint16_t *)(void *)to)[at] = (uint16_t)half;
}

/* Each lane of a warp has one column of a block of 32. The keys of a head are transposed, its values are not. */
KERNEL(hl_cuda_kv_write, HL_CUDA_KV_WRITE_THREADS, struct hl_cuda_kv_write)
{
    const struct hl_cuda_kv *kv = &arguments.kv;
    uint32_t blocks = hl_cuda_kv_cols(kv->head_dim) / 32, token = block_index_y(), values = block_index_z();
    uint32_t warp = block_index() * (HL_CUDA_KV_WRITE_THREADS / 32) + thread_index() / 32, head = warp / blocks;
    uint32_t block = warp % blocks, col = 32 * block + thread_index() % 32;
    if (head >= kv->heads)
        return;
    const float *from =
        values ? arguments.v + (size_t)token * arguments.v_stride : arguments.k + (size_t)token * arguments.k_stride;
    float value = col < kv->head_dim ? from[(size_t)head * kv->head_dim + col] : 0;
    uint32_t page = arguments.slots[token] / HL_CUDA_PAGE_TOKENS, slot = arguments.slots[token] % HL_CUDA_PAGE_TOKENS;
    uint8_t *to = hl_cuda_kv_head(kv, head, values) + page * kv->page_bytes;
    uint32_t at = values ? slot * 32 * blocks + col : col * HL_CUDA_PAGE_TOKENS + slot;
    if (kv->type == HL_CUDA_KV_F32) {
        ((float *)(void *)to)[at] = value;
    } else if (kv->type == HL_CUDA_KV_F16) {
        kv_store_half(to, at, half_bits(kv_clamp(value, 65504.0f)));
    } else {
        uint32_t scale = kv_scale(value);
        float step = half_at(scale, 0), inverse = step > 0 ? 1.0f / step : 0;
        to[at] = (uint8_t)round_to_int(kv_clamp(multiply(value, inverse), 127.0f));
        if (thread_index() % 32 == 0)
            kv_store_half(to + (size_t)HL_CUDA_PAGE_TOKENS * 32 * blocks,
                          values ? slot * blocks + block : block * HL_CUDA_PAGE_TOKENS + slot, scale);
    }
}
