/* The same keys and values in a cache of the CPU and, by copying numbers, in one of the GPU. What was never written is NaN
 * in both. */
#ifndef HL_TESTS_UNIT_KERNELS_CUDA_TWO_CACHES_H
#define HL_TESTS_UNIT_KERNELS_CUDA_TWO_CACHES_H

#include "base/sizes.h"
#include "hotlayer/half.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cuda/code/kv_cache.h"
#include "tests/unit/check.h"

struct two_caches {
    struct hl_kv_store cpu;
    struct hl_cuda_kv gpu;
    uint32_t n_pages; /* of both pools; the sequence has these, from `pages` on, in any order */
    uint32_t *pages;
};

static inline struct two_caches two_caches_new(struct dice *dice, uint32_t type, uint32_t heads, uint32_t head_dim,
                                               uint32_t n_pages)
{
    struct two_caches c = {.n_pages = n_pages};
    c.cpu = (struct hl_kv_store){.type = (enum hl_kv_type)type, .heads = heads, .head_dim = head_dim, .offset = 64};
    c.gpu = (struct hl_cuda_kv){.type = type, .heads = heads, .head_dim = head_dim, .offset = 512};
    c.cpu.page_bytes = hl_round_up(c.cpu.offset + hl_kv_bytes(c.cpu.type, heads, head_dim), 64);
    c.gpu.page_bytes = c.gpu.offset + hl_cuda_kv_bytes(type, heads, head_dim) + 256;
    c.cpu.base = aligned_alloc(64, n_pages * c.cpu.page_bytes);
    c.gpu.base = aligned_alloc(256, n_pages * c.gpu.page_bytes);
    memset(c.cpu.base, 0xff, n_pages * c.cpu.page_bytes);
    memset(c.gpu.base, 0xff, n_pages * c.gpu.page_bytes);
    c.pages = calloc(n_pages, sizeof *c.pages);
    for (uint32_t i = 0; i < n_pages; i++) {
        uint32_t k = dice_between(dice, 0, i);
        c.pages[i] = c.pages[k];
        c.pages[k] = i;
    }
    return c;
}

static inline void two_caches_free(struct two_caches *c)
{
    free(c->cpu.base);
    free(c->gpu.base);
    free(c->pages);
}

/* Copies a head's keys or values of one position. */
static inline void two_caches_copy(struct two_caches *c, uint32_t position, uint32_t head, uint32_t values)
{
    uint32_t dim = c->cpu.head_dim, cols = hl_cuda_kv_cols(dim), page = c->pages[position / 64], slot = position % 64;
    size_t element = hl_kv_element(c->cpu.type), cpu_cols = values || c->cpu.type == HL_KV_Q8 ? cols : dim;
    const uint8_t *from = hl_kv_head(&c->cpu, page, head, values);
    uint8_t *to = hl_cuda_kv_head(&c->gpu, head, values) + page * c->gpu.page_bytes;
    for (uint32_t i = 0; i < cols; i++) {
        size_t at = element * (values ? slot * cols + i : i * 64 + slot);
        if (i < cpu_cols)
            memcpy(to + at, from + at, element);
        else
            memset(to + at, 0, element);
    }
    for (uint32_t b = 0; c->cpu.type == HL_KV_Q8 && b < cols / 32; b++) {
        size_t at = 64 * (size_t)cols + 2 * (values ? slot * (cols / 32) + b : b * 64 + slot);
        memcpy(to + at, from + at, 2);
    }
}

/* Writes positions [first, first + n) to the cache of the CPU. */
static inline void two_caches_write_cpu(struct two_caches *c, uint32_t first, uint32_t n, const float *k,
                                        const float *v, size_t stride_k, size_t stride_v)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t position = first + i;
        const uint32_t *pages = c->pages;
        const struct hl_places places = {.n_tokens = 1, .positions = &position, .pages = &pages};
        hl_cpu_kv_write(&hl_kernels_scalar, &c->cpu, &places, k + i * stride_k, v + i * stride_v, stride_k, stride_v,
                        (struct hl_share){0, 1});
    }
}

/* Fills both with random keys and values for positions [0, n). */
static inline void two_caches_fill(struct two_caches *c, struct dice *dice, uint32_t n)
{
    size_t cols = (size_t)c->cpu.heads * c->cpu.head_dim;
    float *k = calloc(2 * cols, sizeof *k), *v = k + cols;
    for (uint32_t p = 0; p < n; p++) {
        for (size_t i = 0; i < cols; i++) {
            k[i] = dice_float(dice, 2);
            v[i] = dice_float(dice, 3);
        }
        two_caches_write_cpu(c, p, 1, k, v, cols, cols);
        for (uint32_t half = 0; half < 2 * c->cpu.heads; half++)
            two_caches_copy(c, p, half / 2, half % 2);
    }
    free(k);
}

#endif
