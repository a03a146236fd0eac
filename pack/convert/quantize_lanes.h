/* Quantizers of sixteen blocks at a time: lane l of a vector belongs to block l. So sums over a block need no
 * reduction, and every lane adds in the same order. The vectors are GCC's and have LANES elements, as many as the
 * registers of an instruction set: GCC would process wider vectors one element at a time. pack/convert/quantize*.c
 * include this with TARGET, the attribute that allows the instructions. Nothing is contracted or reassociated, so the
 * bits are the same in all sets.
 *
 * 4 bits: for a fixed rounding q_i of x_i the best scale is
 *
 *   d = sum(x q) / sum(q q),   which explains   sum(x q)^2 / sum(q q)   of the block's energy.
 *
 * Roundings come from trial scales. The first puts the number of largest magnitude at -8, the end of the range that
 * reaches further. A few more lie on both sides of it. The best is refined once more with its own d. This loses almost
 * nothing against an exhaustive search, in a fraction of its time (docs/performance.md, "Quality").
 *
 * Tried and dropped: errors weighted by x^2, by |x|, by their sums with the block's mean, or by the inverse of those.
 * None improved the predictions of both of bench/quality's models.
 */
#ifndef HL_PACK_CONVERT_QUANTIZE_LANES_H
#define HL_PACK_CONVERT_QUANTIZE_LANES_H

#include "base/sizes.h"
#include "hotlayer/half.h"
#include "pack/convert/quantize.h"
#include <math.h>
#include <string.h>

#define BLOCKS HL_QUANTIZE_BLOCKS
/* The loops over a block's numbers stay loops (unroll 1): unrolled for every trial they take ten times as long to
 * compile and run no faster. */
#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t uints __attribute__((vector_size(4 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES)));
typedef int8_t sixteen_bytes __attribute__((vector_size(16)));

/* Columns of up to 32 numbers, one from each block. */
struct columns {
    _Alignas(64) float x[32][BLOCKS];
};

/* Sets every lane to a value. A macro: a function would return a vector for which old processors have no register. */
#define ALL(value) ((floats){0} + (value))

/* Numbers arrive block by block and are processed in columns. They are transposed 4 x 4 at a time, in registers that
 * every processor has. */
typedef float four_floats __attribute__((vector_size(16), aligned(4)));
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float some_floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

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
        *(four_floats *)(to + (size_t)i * BLOCKS) = __builtin_shufflevector(half[i], half[i + 1], 0, 1, 4, 5);
        *(four_floats *)(to + (size_t)(i + 1) * BLOCKS) = __builtin_shufflevector(half[i], half[i + 1], 2, 3, 6, 7);
    }
}

/* Loads `n` blocks of `length` numbers into columns; the columns of missing blocks are zeros. */
INLINE void load(const float *x, uint32_t n, uint32_t length, struct columns *out)
{
    uint32_t l = 0;
    if (n < BLOCKS)
        memset(out, 0, sizeof *out);
    for (; l + 4 <= n; l += 4)
        for (uint32_t i = 0; i < length; i += 4)
            transpose(x + (size_t)l * length + i, length, &out->x[i][l]);
    for (; l < n; l++)
        for (uint32_t i = 0; i < length; i++)
            out->x[i][l] = x[l * length + i];
}

/* Returns column `i` of the LANES blocks from `first` on. */
INLINE const floats *column(const struct columns *c, uint32_t first, uint32_t i)
{
    return (const floats *)&c->x[i][first];
}

/* Rounds to the nearest whole number, ties to even; |x| must be far below 2^22. */
INLINE void round_floats(floats *x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: a float32 of this size has no bits for a fraction */
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

/* Finds the number of largest magnitude in each lane, with its sign; false if a number is not finite. */
INLINE bool find_largest(const struct columns *c, uint32_t first, uint32_t n, floats *out)
{
    floats largest = ALL(0), most = ALL(0);
    ints bad = {0};
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats x = *column(c, first, i), size = (floats)((ints)x & 0x7fffffff);
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

/* Computes the best scale for the rounding with 1 / `inverse`, and the energy that it explains. */
INLINE void try_scale(const struct columns *c, uint32_t first, uint32_t n, const floats *inverse, float least,
                      float most, floats *scale, floats *explained)
{
    floats xq = ALL(0), qq = ALL(0);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats x = *column(c, first, i), q = x * *inverse;
        clamp(&q, least, most);
        round_floats(&q);
        xq += x * q;
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

/* Computes 1 / x, or 0 where |x| is so small that this would not be finite. */
INLINE void invert(const floats *x, floats *out)
{
    floats inverse = ALL(1) / *x, zero = ALL(0), size = (floats)((ints)*x & 0x7fffffff);
    ints tiny = size < ALL(1e-30f);
    choose(&inverse, &tiny, &zero);
    *out = inverse;
}

/* Finds the scale for quants from -bound to bound - 1. */
INLINE void best_scale(const struct columns *c, uint32_t first, uint32_t n, float bound, const float *trials,
                       uint32_t n_trials, const floats *largest, floats *out)
{
    floats best = ALL(0), scale, explained, inverse, unit;
    *out = *largest / -bound;
    invert(largest, &unit);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n_trials; i++) {
        inverse = unit * -trials[i];
        try_scale(c, first, n, &inverse, -bound, bound - 1, &scale, &explained);
        keep_better(&scale, &explained, out, &best);
    }
    invert(out, &inverse);
    try_scale(c, first, n, &inverse, -bound, bound - 1, &scale, &explained);
    keep_better(&scale, &explained, out, &best);
}

/* The scales and quants found, still in lanes. */
struct result {
    uint16_t scale[BLOCKS]; /* fp16 */
    uint8_t quant[32][BLOCKS];
};

/* Transposes sixteen columns of quants into a row of sixteen quants for each block. Each round interleaves the bytes of
 * two rows that are eight rows apart; after four rounds rows are columns. */
INLINE void transpose_bytes(const uint8_t from[16][BLOCKS], uint8_t to[BLOCKS][16])
{
    sixteen_bytes rows[16], mixed[16];
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

/* Copies `columns` quants of each block out of the lanes: those of block l from l * columns on. */
INLINE void deal(const struct result *from, uint32_t columns, uint8_t *to)
{
    uint8_t part[BLOCKS][16];
    for (uint32_t i = 0; i < columns; i += 16) {
        transpose_bytes(from->quant + i, part);
        for (uint32_t l = 0; l < BLOCKS; l++)
            memcpy(to + l * columns + i, part[l], 16);
    }
}

/* Stores whole numbers that fit into bytes. */
INLINE void store_bytes(const floats *x, uint8_t out[LANES])
{
    ints wide = __builtin_convertvector(*x, ints);
    bytes narrow = __builtin_convertvector(wide, bytes);
    memcpy(out, &narrow, sizeof narrow);
}

INLINE void round_quants(const struct columns *c, uint32_t first, uint32_t n, const floats *scale, float least,
                         float most, struct result *out)
{
    floats inverse;
    invert(scale, &inverse);
#pragma GCC unroll 1
    for (uint32_t i = 0; i < n; i++) {
        floats q = *column(c, first, i) * inverse;
        clamp(&q, least, most);
        round_floats(&q);
        q -= least;
        store_bytes(&q, &out->quant[i][first]);
    }
}

/* Rounds scales to fp16 and back, lane by lane as hl_f32_to_f16() and hl_f16_to_f32() do; false if a scale is too large
 * or not finite. Quants must be computed with the scale as rounded here: readers have no other. */
INLINE bool half_scales(floats *scale, uint16_t *out)
{
    ints bits = (ints)*scale, sign = bits & INT32_MIN, size = bits & 0x7fffffff;
    ints small = size < 0x38800000, half = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    floats shifted = (floats)size + 0.5f;
    half = (((ints)shifted - 0x3f000000) & small) | (half & ~small);
    ints large = size >= 0x477ff000, none = half == 0;
    sign &= ~none; /* one zero is enough */
    floats subnormal = __builtin_convertvector(half, floats) * 0x1p-24f;
    ints whole = ((half << 13) + 0x38000000) & ~small;
    *scale = (floats)(whole | ((ints)subnormal & small) | sign);
    ints both = (ints)((uints)sign >> 16) | half;
    int32_t any = 0;
    for (uint32_t l = 0; l < LANES; l++) {
        out[l] = (uint16_t)both[l];
        any |= large[l];
    }
    return !any;
}

TARGET static bool quantize_q4(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    static const float trials[] = {8.0f, 7.3f, 7.65f, 8.4f, 8.8f};
    struct columns c;
    struct result result;
    uint8_t quant[BLOCKS * 32];
    bool finite = true;
    load(x, n, 32, &c);
    for (uint32_t first = 0; first < n; first += LANES) {
        floats largest, scale;
        if (!find_largest(&c, first, 32, &largest))
            return false;
        best_scale(&c, first, 32, 8, trials, HL_COUNT(trials), &largest, &scale);
        finite = half_scales(&scale, &result.scale[first]) && finite;
        round_quants(&c, first, 32, &scale, -8, 7, &result);
    }
    deal(&result, 32, quant);
    for (uint32_t l = 0; l < n; l++) {
        out[l].scale = result.scale[l];
        out[l].minimum = 0;
        memcpy(out[l].quant, quant + (size_t)32 * l, 32);
    }
    return finite;
}

/* Quantizes sixteen blocks of sixteen, which make one of 256. */
TARGET static bool quantize_q6k(const float x[256], struct hl_block_q6k *out)
{
    static const float trials[] = {32.0f, 31.2f, 33.0f};
    struct columns c;
    struct result result;
    floats scale[BLOCKS / LANES];
    float most = 0;
    load(x, BLOCKS, 16, &c);
    for (uint32_t first = 0; first < BLOCKS; first += LANES) {
        floats largest;
        if (!find_largest(&c, first, 16, &largest))
            return false;
        best_scale(&c, first, 16, 32, trials, HL_COUNT(trials), &largest, &scale[first / LANES]);
        for (uint32_t l = 0; l < LANES; l++)
            most = fmaxf(most, fabsf(scale[first / LANES][l]));
    }
    out->d = hl_f32_to_f16(most / 127.0f);
    float d = hl_f16_to_f32(out->d), inverse = d > 0 ? 1.0f / d : 0;
    for (uint32_t first = 0; first < BLOCKS; first += LANES) {
        floats whole = scale[first / LANES] * inverse;
        clamp(&whole, -128, 127);
        round_floats(&whole);
        store_bytes(&whole, (uint8_t *)out->scale + first);
        whole *= d;
        round_quants(&c, first, 16, &whole, -32, 31, &result);
    }
    deal(&result, 16, out->quant);
    return (out->d & 0x7c00) != 0x7c00;
}

/* Returns the largest magnitude in a block, as the bits of a float32. */
INLINE int32_t largest_bits(const float *x)
{
    _Alignas(64) four_ints part[LANES / 4];
    ints most = {0};
    for (uint32_t i = 0; i < 32; i += LANES) {
        ints size = (ints) * (const some_floats *)(x + i) & 0x7fffffff, larger = size > most;
        most = (size & larger) | (most & ~larger);
    }
    memcpy(part, &most, sizeof most);
    four_ints four = part[0];
    for (uint32_t i = 1; i < LANES / 4; i++) {
        four_ints larger = part[i] > four;
        four = (part[i] & larger) | (four & ~larger);
    }
    int32_t a = four[0] > four[1] ? four[0] : four[1], b = four[2] > four[3] ? four[2] : four[3];
    return a > b ? a : b;
}

/* Quantizes to 8 bits. Only a block's largest magnitude is needed, so this works along the blocks, not across them. */
TARGET static bool quantize_q8(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    union {
        int32_t bits[BLOCKS];
        float number[BLOCKS];
        floats vector[BLOCKS / LANES];
    } largest = {0};
    uint16_t halves[BLOCKS];
    for (uint32_t l = 0; l < n; l++)
        largest.bits[l] = largest_bits(x + (size_t)32 * l);
    for (uint32_t first = 0; first < n; first += LANES) {
        largest.vector[first / LANES] /= 127.0f;
        if (!half_scales(&largest.vector[first / LANES], halves + first))
            return false;
    }
    for (uint32_t l = 0; l < n; l++) {
        float scale = largest.number[l];
        out[l].scale = halves[l];
        for (uint32_t i = 0; i < 32; i += LANES) {
            floats q = *(const some_floats *)(x + (size_t)32 * l + i);
            q = scale > 0 ? q / scale : ALL(0);
            clamp(&q, -127, 127);
            round_floats(&q);
            store_bytes(&q, (uint8_t *)out[l].quant + i);
        }
    }
    return true;
}

#endif
