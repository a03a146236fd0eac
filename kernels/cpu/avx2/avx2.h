/* How AVX2 reads a quantized tile: like avx512.h, with each line in two halves of eight words.
 *
 * Both halves of a line have the same order of rows and blocks, so their products are added before the scales are
 * applied. q8 keeps its signs. vpmaddubsw multiplies unsigned by signed bytes and saturates at int16: 255 * 127 twice
 * would not fit, 128 * 127 twice does. So |w| is multiplied by x with w's sign.
 */
#ifndef HL_KERNELS_CPU_AVX2_AVX2_H
#define HL_KERNELS_CPU_AVX2_AVX2_H

#include "kernels/cpu/kernels.h"
#include <immintrin.h>

#define HL_INLINE static inline __attribute__((always_inline))
#define LINES 8

struct chunk {
    const uint8_t *low;  /* 512 bytes of quants */
    const uint8_t *high; /* q8: the second tile's 512; q6k: 256 bytes of high bits */
    const uint8_t *tile; /* start of the tile; of q8 the first */
    uint32_t index;      /* q4k, q6k: index of the quarter */
};

struct line {
    __m256i low, high;
};

/* Returns whether the two vectors of a line have different scales. */
HL_INLINE int two_scales(uint32_t type)
{
    return type == HL_TYPE_TILE_Q8 || type == HL_TYPE_TILE_Q6K;
}

HL_INLINE int has_minima(uint32_t type)
{
    return type == HL_TYPE_TILE_Q4M || type == HL_TYPE_TILE_Q4K;
}

HL_INLINE __m256i load256(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Does the same as in avx512.h. */
HL_INLINE struct chunk chunk_at(uint32_t type, const uint8_t *strip, uint32_t index, uint32_t tiles)
{
    struct chunk chunk = {.index = index % 4};
    if (type == HL_TYPE_TILE_Q8) {
        chunk.tile = chunk.low = strip + 2 * (size_t)index * 544;
        chunk.high = chunk.low + (2 * index + 1 < tiles ? 544 : 0);
    } else if (type == HL_TYPE_TILE_Q4K || type == HL_TYPE_TILE_Q6K) {
        chunk.tile = strip + (size_t)(index / 4) * hl_type_traits[type].tile_bytes;
        chunk.low = chunk.tile + 512 * (size_t)chunk.index;
        chunk.high = chunk.tile + HL_Q6K_HIGH + 256 * (size_t)chunk.index;
    } else {
        chunk.tile = chunk.low = chunk.high = strip + (size_t)index * hl_type_traits[type].tile_bytes;
    }
    return chunk;
}

/* Returns half `half` of line `g`. */
HL_INLINE struct line line_at(uint32_t type, const struct chunk *chunk, uint32_t g, uint32_t half)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i v = load256(chunk->low + 64 * g + 32 * half);
    if (type == HL_TYPE_TILE_Q8)
        return (struct line){v, load256(chunk->high + 64 * g + 32 * half)};
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
    v = _mm256_and_si256(v, nibble);
    if (type != HL_TYPE_TILE_Q6K)
        return (struct line){v, upper};
    /* Eight bytes of high bits a lane: first eight quants in the low nibbles, last eight quants in the high nibbles. */
    const __m256i bits = _mm256_set1_epi8(0x30);
    __m128i two = _mm_loadu_si128((const __m128i *)(const void *)(chunk->high + 32 * g + 16 * half));
    __m256i twice = _mm256_permute4x64_epi64(_mm256_castsi128_si256(two), 0x50);
    twice = _mm256_srlv_epi64(twice, _mm256_set_epi64x(4, 0, 4, 0));
    return (struct line){_mm256_or_si256(v, _mm256_and_si256(_mm256_slli_epi16(twice, 4), bits)),
                         _mm256_or_si256(upper, _mm256_and_si256(_mm256_slli_epi16(twice, 2), bits))};
}

struct scales {
    float low[32], high[32], least[32]; /* `high` if two_scales(), `least` if has_minima() */
} __attribute__((aligned(32)));

HL_INLINE __m256 halves_at(const uint8_t *from)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

HL_INLINE void load_halves(float *to, const uint8_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 8)
        _mm256_store_ps(to + i, halves_at(from + 2 * i));
}

/* Returns four numbers in pairs as eight in quads: part i (0..3) of the sixteen. */
HL_INLINE __m256 quads_of_pairs(const uint8_t *halves, uint32_t i)
{
    const __m256i place = _mm256_set_epi32(3, 2, 3, 2, 1, 0, 1, 0);
    return _mm256_permutevar8x32_ps(
        _mm256_castps128_ps256(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)(halves + 8 * i)))), place);
}

HL_INLINE void q4k_scales(const struct chunk *chunk, struct scales *to)
{
    const __m256i nibble = _mm256_set1_epi8(15), lows = _mm256_set1_epi8(0x30);
    uint8_t scale[32], least[32];
    __m256i low = load256(chunk->tile + HL_Q4K_LOW + 32 * chunk->index);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(chunk->tile + HL_Q4K_HIGH + 16 * chunk->index));
    __m256i bits = _mm256_inserti128_si256(_mm256_castsi128_si256(high), _mm_srli_epi16(high, 4), 1);
    __m256i s = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(_mm256_slli_epi16(bits, 4), lows));
    __m256i m = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), nibble),
                                _mm256_and_si256(_mm256_slli_epi16(bits, 2), lows));
    _mm256_storeu_si256((__m256i *)(void *)scale, s);
    _mm256_storeu_si256((__m256i *)(void *)least, m);
    for (uint32_t i = 0; i < 4; i++) {
        __m256 d = quads_of_pairs(chunk->tile + HL_Q4K_D, i);
        __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), quads_of_pairs(chunk->tile + HL_Q4K_DMIN, i));
        __m128i eight = _mm_loadl_epi64((const __m128i *)(const void *)(scale + 8 * i));
        _mm256_store_ps(to->low + 8 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight))));
        eight = _mm_loadl_epi64((const __m128i *)(const void *)(least + 8 * i));
        _mm256_store_ps(to->least + 8 * i, _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight))));
    }
}

HL_INLINE void q6k_scales(const struct chunk *chunk, struct scales *to)
{
    const uint8_t *bytes = chunk->tile + HL_Q6K_SCALES + 64 * chunk->index;
    for (uint32_t i = 0; i < 4; i++) {
        __m256 d = quads_of_pairs(chunk->tile + HL_Q6K_D, i);
        __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)(bytes + 8 * i));
        __m128i high = _mm_loadl_epi64((const __m128i *)(const void *)(bytes + 32 + 8 * i));
        _mm256_store_ps(to->low + 8 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low))));
        _mm256_store_ps(to->high + 8 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))));
    }
}

HL_INLINE void scales_of(uint32_t type, const struct chunk *chunk, struct scales *to)
{
    if (type == HL_TYPE_TILE_Q4K) {
        q4k_scales(chunk, to);
    } else if (type == HL_TYPE_TILE_Q6K) {
        q6k_scales(chunk, to);
    } else if (type == HL_TYPE_TILE_Q8) {
        load_halves(to->low, chunk->low + 512, 16);
        load_halves(to->high, chunk->high + 512, 16);
    } else {
        load_halves(to->low, chunk->low + 512, 32);
        if (type == HL_TYPE_TILE_Q4M)
            load_halves(to->least, chunk->low + 576, 32);
    }
}

/* Returns the scales of line g for the eight words of either half. */
HL_INLINE __m256 line_scale(uint32_t type, const float *scales, uint32_t g)
{
    if (type != HL_TYPE_TILE_Q8)
        return _mm256_broadcast_ps((const __m128 *)(const void *)(scales + 4 * g));
    double two;
    memcpy(&two, scales + 2 * g, sizeof two);
    return _mm256_castpd_ps(_mm256_set1_pd(two));
}

/* Returns sums of two products each, in int16. */
HL_INLINE __m256i multiply_bytes(uint32_t type, __m256i weights, __m256i x)
{
    if (type == HL_TYPE_TILE_Q8)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights));
    return _mm256_maddubs_epi16(weights, x);
}

/* In decode.c, prepare.c and prefill.c; prefill is for quantized types only. */
void hl_avx2_prepare(const struct hl_linear *linear, struct hl_share pieces);
void hl_avx2_decode(const struct hl_linear *linear, uint32_t begin, uint32_t end);
void hl_avx2_prefill(const struct hl_linear *linear, uint32_t begin, uint32_t end);
void hl_avx2_attend(const struct hl_attend *attend, struct hl_share share); /* attend.c */

#endif
