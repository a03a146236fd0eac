/* The CPU's kernels: one table per instruction set, the scalar one being the reference that the others are tested
 * against.
 *
 * Work is shared by rows of output or by tokens: every thread of the team calls the same function with its own share.
 */
#ifndef HOTLAYER_CPU_KERNELS_H
#define HOTLAYER_CPU_KERNELS_H

#include "hotlayer/half.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include "kernels/device.h"
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* The share `index` of `count` of some work. */
struct hl_share {
    uint32_t index, count;
};

/* This share's part [*begin, *end) of `n` items. */
static inline void hl_share_range(struct hl_share share, uint32_t n, uint32_t *begin, uint32_t *end)
{
    *begin = (uint32_t)((uint64_t)n * share.index / share.count);
    *end = (uint32_t)((uint64_t)n * (share.index + 1) / share.count);
}

/* out = weight in + bias, for n tokens. Activations are first brought into the form that the weight's type multiplies
 * with (prepare), in `scratch`, whose content is private to the table:
 *   f32, f16  float32 as it is
 *   bf16      rounded to bf16
 *   q8        int8 per block of 32 columns, scale = max|x| / 127 in float32
 */
struct hl_linear {
    uint32_t type, rows, cols;
    const uint8_t *weight; /* tiles */
    const float *bias;     /* (rows), or NULL */
    uint32_t n;
    const float *in; /* (n, cols) */
    size_t in_stride;
    float *out; /* (n, rows) */
    size_t out_stride;
    uint8_t *scratch; /* hl_linear_scratch_bytes(), 64-byte aligned */
};

/* Scratch that any table needs for `n` tokens of `cols` columns. */
static inline size_t hl_linear_scratch_bytes(uint32_t n, uint32_t cols)
{
    return (size_t)n * (size_t)hl_round_up(cols, 32) * 8;
}

/* One token's part of the scratch. */
static inline uint8_t *hl_linear_scratch(const struct hl_linear *linear, uint32_t token)
{
    return linear->scratch + token * hl_linear_scratch_bytes(1, linear->cols);
}

/* `width` activations of a token from column `col` on, zeros beyond the last. */
static inline void hl_linear_columns(float *to, const struct hl_linear *linear, uint32_t token, uint32_t col,
                                     uint32_t width)
{
    uint32_t n = hl_min_u32(width, linear->cols - col);
    memcpy(to, linear->in + token * linear->in_stride + col, n * sizeof *to);
    for (uint32_t i = n; i < width; i++)
        to[i] = 0;
}

/* A block of activations beside q8: the int8 values, and their scale, which is returned. */
static inline float hl_linear_q8(const float x[32], int8_t values[32])
{
    float most = 0;
    for (uint32_t i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    float inverse = most > 1e-30f ? 127.0f / most : 0; /* of less the inverse may be infinite */
    for (uint32_t i = 0; i < 32; i++)
        values[i] = (int8_t)lrintf(x[i] * inverse);
    return most / 127.0f;
}

/* Writes the 16 rows of a strip, or those that exist of it, with their bias. */
static inline void hl_linear_store(const struct hl_linear *linear, uint32_t token, uint32_t strip,
                                   const float rows[HL_TILE_ROWS])
{
    uint32_t first = strip * HL_TILE_ROWS, n = hl_min_u32(HL_TILE_ROWS, linear->rows - first);
    float *out = linear->out + token * linear->out_stride + first;
    for (uint32_t i = 0; i < n; i++)
        out[i] = linear->bias ? rows[i] + linear->bias[first + i] : rows[i];
}

struct hl_kernels {
    const char *name;
    /* The activations of one token for one tile's columns. */
    void (*prepare[HL_TYPE_COUNT])(const struct hl_linear *linear, uint32_t token, uint32_t tile);
    void (*linear[HL_TYPE_COUNT])(const struct hl_linear *linear, struct hl_share strips);
    float (*dot)(const float *a, const float *b, uint32_t n);
    void (*axpy)(float *y, float a, const float *x, uint32_t n); /* y += a x */
    void (*f16_load)(float *to, const uint16_t *from, uint32_t n);
    void (*f16_store)(uint16_t *to, const float *from, uint32_t n); /* saturates */
};

/* Brings the activations of this share's tokens into the form that the table multiplies with. */
static inline void hl_linear_prepare(const struct hl_kernels *kernels, const struct hl_linear *linear,
                                     struct hl_share tokens)
{
    uint32_t begin, end, tiles = hl_strip_tiles(linear->type, linear->cols);
    hl_share_range(tokens, linear->n, &begin, &end);
    for (uint32_t token = begin; token < end; token++)
        for (uint32_t tile = 0; tile < tiles; tile++)
            kernels->prepare[linear->type](linear, token, tile);
}

extern const struct hl_kernels hl_kernels_scalar;
#if defined(__x86_64__)
extern const struct hl_kernels hl_kernels_avx2;
extern const struct hl_kernels hl_kernels_avx512;
#endif

/* The tables that this processor can run, best first, NULL at the end. */
const struct hl_kernels *const *hl_kernels_available(void);

/* Key/value cache pages as the CPU lays them out: for each kv, keys (heads, HL_KV_PAGE_TOKENS, head_dim), then values.
 */
struct hl_kv_store {
    uint8_t *base;
    uint64_t page_bytes;
    uint64_t offset; /* of this kv in a page */
    enum hl_kv_type type;
    uint32_t heads, head_dim;
};

/* What an operation works on: the step and its matrices, resolved. `n` counts tokens or outputs. */
void hl_cpu_angles(float *out, size_t stride, const float *frequencies, uint32_t half, const uint32_t *positions,
                   uint32_t n, struct hl_share share);
void hl_cpu_gather(float *out, size_t stride, const struct hl_tensor *table, const uint8_t *weight, float scale,
                   const int32_t *tokens, uint32_t n, struct hl_share share);
void hl_cpu_norm(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *in, size_t in_stride,
                 const float *weight, uint32_t groups, uint32_t cols, float eps, uint32_t n, struct hl_share share);
void hl_cpu_rope(float *x, size_t stride, const float *angles, size_t angles_stride, uint32_t heads, uint32_t head_dim,
                 uint32_t rotated, uint32_t n, struct hl_share share);
void hl_cpu_kv_write(const struct hl_kernels *kernels, const struct hl_kv_store *store, const struct hl_step *step,
                     const float *k, const float *v, size_t stride_k, size_t stride_v, struct hl_share share);

struct hl_attend {
    const struct hl_kv_store *store;
    const struct hl_step *step;
    const float *q; /* (n, heads, head_dim) */
    size_t q_stride;
    float *out; /* as q */
    size_t out_stride;
    uint32_t heads, window;
    float scale, softcap;
    float *scratch; /* per share: hl_attend_scratch_floats() */
};
size_t hl_attend_scratch_floats(uint32_t heads, uint32_t kv_heads, uint32_t head_dim);
void hl_cpu_attend(const struct hl_kernels *kernels, const struct hl_attend *attend, struct hl_share share);

void hl_cpu_gate(float *out, size_t out_stride, const float *gate, size_t gate_stride, const float *up,
                 size_t up_stride, uint32_t cols, uint32_t activation, uint32_t n, struct hl_share share);
void hl_cpu_add(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols, uint32_t n,
                struct hl_share share);
void hl_cpu_pick(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols,
                 const uint32_t *outputs, uint32_t n, struct hl_share share);
void hl_cpu_softcap(float *x, size_t stride, uint32_t cols, float cap, uint32_t n, struct hl_share share);

#endif
