/* Quantizers, sixteen blocks at a time: lane l of a vector belongs to block l, so that sums over a block need no
 * reduction and every lane adds in the same order. The vectors are GCC's; they become whatever registers the processor
 * has, and since nothing is contracted or reassociated, the bits are the same on all of them.
 *
 * 4 bits: for a fixed rounding q_i of x_i the best scale is d = sum(x q) / sum(q q), and it explains sum(x q)^2 / sum(q
 * q) of the block's energy. Roundings come from trial scales: the number of largest magnitude at -8 (the end of the
 * range that reaches further), and some to both sides of that; the best is refined once more with its own d. Against an
 * exhaustive search over 200 scales the error is 0.4 % larger (7.98 % of the numbers' size for normal ones, where the
 * plain maximum gives 8.45 %), in a thirtieth of its time.
 *
 * Tried and dropped: errors weighted by x^2, |x|, their sums with the block's mean, or the inverse of those. None made
 * the predictions of both of bench/quality's models better.
 */
#include "pack/quantize.h"
#include "hotlayer/half.h"
#include <math.h>
#include <string.h>

#define LANES HL_QUANTIZE_BLOCKS
/* The loops over a block's numbers stay loops (unroll 1): unrolled for every trial they compile ten times as long and
 * run no faster. */
#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES)));

/* Columns of up to 32 numbers, a block in each lane. */
struct columns {
    floats x[32];
};

/* A value in every lane. A macro: a function would return a vector that the oldest processors have no register for. */
#define ALL(value) ((floats){0} + (value))

/* Numbers come block after block and are worked on in columns: they are transposed 4 x 4 at a time, in registers that
 * every processor has. */
typedef float four_floats __attribute__((vector_size(16), aligned(4)));

INLINE void transpose(const float *from, uint32_t stride, float *to)
{
    four_floats r[4], half[4];
    for (uint32_t i = 0; i < 4; i++)
        r[i] = *(const four_floats *)(from + (size_t)i * stride);
    half[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    half[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    half[2] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    half[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    for (uint32_t i = 0; i < 4; i += 2) {
        *(four_floats *)(to + (size_t)i * LANES) = __builtin_shufflevector(half[i], half[i + 1], 0, 1, 4, 5);
        *(four_floats *)(to + (size_t)(i + 1) * LANES) = __builtin_shufflevector(half[i], half[i + 1], 2, 3, 6, 7);
    }
}

/* Numbers of `n` blocks of `length` into lanes; lanes without a block are zeros. */
INLINE void load(const float *x, uint32_t n, uint32_t length, struct columns *out)
{
    float *to = (float *)out->x;
    uint32_t l = 0;
    if (n < LANES)
        memset(out, 0, sizeof *out);
    for (; l + 4 <= n; l += 4)
        for (uint32_t i = 0; i < length; i += 4)
            transpose(x + (size_t)l * length + i, length, to + (size_t)i * LANES + l);
    for (; l < n; l++)
        for (uint32_t i = 0; i < length; i++)
            to[i * LANES + l] = x[l * length + i];
}

/* To the nearest whole number, ties to even, of what is far below 2^22. */
INLINE void round_floats(floats *x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: behind it is no room for a fraction */
    *x = (*x + shift) - shift;
}

INLINE void choose(floats *to, const ints *where, const floats *from)
{
    *to = (floats)(((ints)*from & *where) | ((ints)*to & ~*where));
}

INLINE void clamp(floats *x, float least, float most)
{
    floats low = ALL(least), high = ALL(most);
    ints below = *x<low, above = *x> high;
    choose(x, &below, &low);
    choose(x, &above, &high);
}

/* The number of largest magnitude of each lane, with its sign; false when one is not finite. */
INLINE bool find_largest(const struct columns *c, uint32_t n, floats *out)
{
    floats largest = ALL(0), most = ALL(0);
    ints bad = {0};
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats x = c->x[i], size = (floats)((ints)x & 0x7fffffff);
        ints larger = size > most;
        choose(&most, &larger, &size);
        choose(&largest, &larger, &x);
        bad |= (ints)size >= 0x7f800000;
    }
    *out = largest;
    int32_t any = 0;
    for (uint32_t l = 0; l < LANES; l++)
        any |= bad[l];
    return !any;
}

/* The best scale for the rounding that 1 / `inverse` gives, and how much energy it explains. */
INLINE void try_scale(const struct columns *c, uint32_t n, const floats *inverse, float least, float most,
                      floats *scale, floats *explained)
{
    floats xq = ALL(0), qq = ALL(0);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats q = c->x[i] * *inverse;
        clamp(&q, least, most);
        round_floats(&q);
        xq += c->x[i] * q;
        qq += q * q;
    }
    ints none = qq == ALL(0);
    floats one = ALL(1);
    choose(&qq, &none, &one);
    *scale = xq / qq;
    *explained = xq * *scale;
}

INLINE void keep_better(const floats *scale, const floats *explained, floats *best_scale, floats *best)
{
    ints better = *explained > *best;
    choose(best, &better, explained);
    choose(best_scale, &better, scale);
}

/* 1 / x, and 0 where that is no finite number. */
INLINE void invert(const floats *x, floats *out)
{
    floats inverse = ALL(1) / *x, zero = ALL(0), size = (floats)((ints)*x & 0x7fffffff);
    ints tiny = size < ALL(1e-30f);
    choose(&inverse, &tiny, &zero);
    *out = inverse;
}

/* The scale for quants from -bound to bound - 1. */
INLINE void best_scale(const struct columns *c, uint32_t n, float bound, const float *trials, uint32_t n_trials,
                       const floats *largest, floats *out)
{
    floats best = ALL(0), scale, explained, inverse, unit;
    *out = *largest / -bound;
    invert(largest, &unit);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n_trials; i++) {
        inverse = unit * -trials[i];
        try_scale(c, n, &inverse, -bound, bound - 1, &scale, &explained);
        keep_better(&scale, &explained, out, &best);
    }
    invert(out, &inverse);
    try_scale(c, n, &inverse, -bound, bound - 1, &scale, &explained);
    keep_better(&scale, &explained, out, &best);
}

/* What is found, still in lanes. */
struct result {
    uint16_t scale[LANES]; /* fp16 */
    uint8_t quant[32][LANES];
};

/* Sixteen rows of quants, a block in each lane, become a row of sixteen quants for each block. Each round puts bytes of
 * two rows side by side that are eight rows apart: after four of them rows are columns. */
INLINE void transpose_bytes(const uint8_t from[16][LANES], uint8_t to[LANES][16])
{
    bytes rows[16], mixed[16];
    memcpy(rows, from, sizeof rows);
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            mixed[2 * i] =
                __builtin_shufflevector(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            mixed[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                                       29, 14, 30, 15, 31);
        }
        memcpy(rows, mixed, sizeof rows);
    }
    memcpy(to, rows, sizeof rows);
}

/* `columns` quants of each block out of the lanes: block l's from l * columns on. */
INLINE void deal(const struct result *from, uint32_t columns, uint8_t *to)
{
    uint8_t part[LANES][16];
    for (uint32_t i = 0; i < columns; i += 16) {
        transpose_bytes(from->quant + i, part);
        for (uint32_t l = 0; l < LANES; l++)
            memcpy(to + l * columns + i, part[l], 16);
    }
}

/* Whole numbers that fit. */
INLINE void store_bytes(const floats *x, uint8_t out[LANES])
{
    ints wide = __builtin_convertvector(*x, ints);
    bytes narrow = __builtin_convertvector(wide, bytes);
    memcpy(out, &narrow, sizeof narrow);
}

INLINE void round_quants(const struct columns *c, uint32_t n, const floats *scale, float least, float most,
                         struct result *out)
{
    floats inverse;
    invert(scale, &inverse);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats q = c->x[i] * inverse;
        clamp(&q, least, most);
        round_floats(&q);
        q -= least;
        store_bytes(&q, out->quant[i]);
    }
}

INLINE bool half_scales(floats *scale, struct result *out)
{
    bool finite = true;
    for (uint32_t l = 0; l < LANES; l++) {
        uint16_t bits = hl_f32_to_f16((*scale)[l]);
        finite = finite && (bits & 0x7c00) != 0x7c00;
        out->scale[l] = bits & 0x7fff ? bits : 0; /* one zero is enough */
        (*scale)[l] = hl_f16_to_f32(out->scale[l]);
    }
    return finite;
}

INLINE bool q4_lanes(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    static const float trials[] = {8.0f, 7.3f, 7.65f, 8.4f, 8.8f};
    struct columns c;
    struct result result;
    uint8_t quant[LANES * 32];
    floats largest, scale;
    load(x, n, 32, &c);
    if (!find_largest(&c, 32, &largest))
        return false;
    best_scale(&c, 32, 8, trials, sizeof trials / sizeof *trials, &largest, &scale);
    bool finite = half_scales(&scale, &result);
    round_quants(&c, 32, &scale, -8, 7, &result);
    deal(&result, 32, quant);
    for (uint32_t l = 0; l < n; l++) {
        out[l].scale = result.scale[l];
        out[l].minimum = 0;
        memcpy(out[l].quant, quant + (size_t)32 * l, 32);
    }
    return finite;
}

/* Sixteen blocks of sixteen are one of 256. */
INLINE bool q6k_lanes(const float *x, struct hl_block_q6k *out)
{
    static const float trials[] = {32.0f, 31.2f, 33.0f};
    struct columns c;
    struct result result;
    floats largest, scale;
    float most = 0;
    load(x, LANES, 16, &c);
    if (!find_largest(&c, 16, &largest))
        return false;
    best_scale(&c, 16, 32, trials, sizeof trials / sizeof *trials, &largest, &scale);
    for (uint32_t l = 0; l < LANES; l++)
        most = fmaxf(most, fabsf(scale[l]));
    out->d = hl_f32_to_f16(most / 127.0f);
    float d = hl_f16_to_f32(out->d), inverse = d > 0 ? 1.0f / d : 0;
    floats whole = scale * inverse;
    clamp(&whole, -128, 127);
    round_floats(&whole);
    store_bytes(&whole, (uint8_t *)out->scale);
    scale = whole * d;
    round_quants(&c, 16, &scale, -32, 31, &result);
    deal(&result, 16, out->quant);
    return (out->d & 0x7c00) != 0x7c00;
}

INLINE bool q8_lanes(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    struct columns c;
    struct result result;
    uint8_t quant[LANES * 32];
    floats largest;
    load(x, n, 32, &c);
    if (!find_largest(&c, 32, &largest))
        return false;
    floats scale = (floats)((ints)largest & 0x7fffffff) / 127.0f;
    bool finite = half_scales(&scale, &result);
    ints none = scale == ALL(0);
    floats one = ALL(1), zero = ALL(0);
    choose(&scale, &none, &one);
    for (uint32_t i = 0; i < 32; i++) {
        floats q = c.x[i] / scale;
        choose(&q, &none, &zero);
        clamp(&q, -127, 127);
        round_floats(&q);
        store_bytes(&q, result.quant[i]);
    }
    deal(&result, 32, quant);
    for (uint32_t l = 0; l < n; l++) {
        out[l].scale = result.scale[l];
        memcpy(out[l].quant, quant + (size_t)32 * l, 32);
    }
    return finite;
}

struct kernels {
    bool (*q4)(const float *x, uint32_t n, struct hl_block_q4 *out);
    bool (*q6k)(const float *x, struct hl_block_q6k *out);
    bool (*q8)(const float *x, uint32_t n, struct hl_block_q8 *out);
};

/* The same functions once for each instruction set. */
static bool q4_plain(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    return q4_lanes(x, n, out);
}

static bool q6k_plain(const float *x, struct hl_block_q6k *out)
{
    return q6k_lanes(x, out);
}

static bool q8_plain(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    return q8_lanes(x, n, out);
}

static const struct kernels kernels_plain = {q4_plain, q6k_plain, q8_plain};

#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool q4_avx2(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    return q4_lanes(x, n, out);
}

__attribute__((target("avx2"))) static bool q6k_avx2(const float *x, struct hl_block_q6k *out)
{
    return q6k_lanes(x, out);
}

__attribute__((target("avx2"))) static bool q8_avx2(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    return q8_lanes(x, n, out);
}

static const struct kernels kernels_avx2 = {q4_avx2, q6k_avx2, q8_avx2};

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static bool q4_avx512(const float *x, uint32_t n,
                                                                                    struct hl_block_q4 *out)
{
    return q4_lanes(x, n, out);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static bool q6k_avx512(const float *x,
                                                                                     struct hl_block_q6k *out)
{
    return q6k_lanes(x, out);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static bool q8_avx512(const float *x, uint32_t n,
                                                                                    struct hl_block_q8 *out)
{
    return q8_lanes(x, n, out);
}

static const struct kernels kernels_avx512 = {q4_avx512, q6k_avx512, q8_avx512};
#endif

static const struct kernels *kernels(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &kernels_avx2;
#endif
    return &kernels_plain;
}

bool hl_quantize_q8(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    return kernels()->q8(x, n, out);
}

bool hl_quantize_q4(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    return kernels()->q4(x, n, out);
}

bool hl_quantize_q6k(const float x[256], struct hl_block_q6k *out)
{
    return kernels()->q6k(x, out);
}
