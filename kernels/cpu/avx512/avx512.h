/* How AVX-512 reads a quantized tile. The kernels treat all types alike; the differences are here.
 *
 * A chunk is 64 columns of a strip: one tile of q4 and q4m, a quarter of a tile of q4k and q6k, two tiles of q8. Its
 * weights are eight lines, one for each g (tile.h). A line is sixteen words in each of two vectors of unsigned bytes,
 * which are too large by hl_pair_offset(). The words of lane j are
 *
 *                 line.low                             line.high
 *   q4*, q6k      g,0  g+8,0  g,1  g+8,1  word j       the same, word j + 4 of the two blocks
 *   q8            g,j  g+8,j  g,j+4  g+8,j+4, block 0  the same of block 1
 *
 * so even positions are always row g, and odd positions row g + 8. Scales and minima are converted to float32 once per
 * chunk, in the order of tile.h: pairs for q8, quads for the others.
 */
#ifndef HL_KERNELS_CPU_AVX512_AVX512_H
#define HL_KERNELS_CPU_AVX512_AVX512_H

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
    __m512i low, high;
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

/* Returns the chunk at columns 64 * index of a strip of `tiles` tiles. A strip of q8 may end in the middle of a chunk.
 * The second half then repeats the last tile, whose weights are multiplied by zeros. */
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

HL_INLINE struct line line_at(uint32_t type, const struct chunk *chunk, uint32_t g)
{
    const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8((char)-128);
    __m512i v = _mm512_loadu_si512(chunk->low + 64 * g);
    if (type == HL_TYPE_TILE_Q8)
        return (struct line){_mm512_xor_si512(v, top), _mm512_xor_si512(_mm512_loadu_si512(chunk->high + 64 * g), top)};
    __m512i upper = _mm512_srli_epi16(v, 4);
    if (type != HL_TYPE_TILE_Q6K)
        return (struct line){_mm512_and_si512(v, nibble), _mm512_and_si512(upper, nibble)};
    /* Eight bytes of high bits a lane: first eight quants in the low nibbles, last eight quants in the high nibbles. */
    const __m512i twice = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), shift = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
    const __m512i six = _mm512_set1_epi8(63);
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)(chunk->high + 32 * g));
    __m512i bits = _mm512_srlv_epi64(_mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(half)), shift);
    /* 0xca selects the second operand where the first has ones, else the third */
    __m512i low = _mm512_ternarylogic_epi64(nibble, v, _mm512_slli_epi16(bits, 4), 0xca);
    __m512i high = _mm512_ternarylogic_epi64(nibble, upper, _mm512_slli_epi16(bits, 2), 0xca);
    return (struct line){_mm512_and_si512(low, six), _mm512_and_si512(high, six)};
}

struct scales {
    float low[32], high[32], least[32]; /* `high` if two_scales(), `least` if has_minima() */
} __attribute__((aligned(64)));

HL_INLINE __m512 halves_at(const uint8_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

/* Converts numbers in pairs to quads: first those of the rows' lower eight lines, then of the upper eight. */
HL_INLINE void quads_of_pairs(__m512 pairs, __m512 quads[2])
{
    const __m512i lower = _mm512_set_epi32(7, 6, 7, 6, 5, 4, 5, 4, 3, 2, 3, 2, 1, 0, 1, 0);
    quads[0] = _mm512_permutexvar_ps(lower, pairs);
    quads[1] = _mm512_permutexvar_ps(_mm512_add_epi32(lower, _mm512_set1_epi32(8)), pairs);
}

HL_INLINE __m512 bytes_to_floats(__m256i bytes, int upper)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(upper ? _mm256_extracti128_si256(bytes, 1) : _mm256_castsi256_si128(bytes)));
}

HL_INLINE void q4k_scales(const struct chunk *chunk, struct scales *to)
{
    const __m256i nibble = _mm256_set1_epi8(15), lows = _mm256_set1_epi8(0x30);
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(chunk->tile + HL_Q4K_LOW + 32 * chunk->index));
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(chunk->tile + HL_Q4K_HIGH + 16 * chunk->index));
    __m256i bits = _mm256_inserti128_si256(_mm256_castsi128_si256(high), _mm_srli_epi16(high, 4), 1);
    __m256i scale = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(_mm256_slli_epi16(bits, 4), lows));
    __m256i least = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), nibble),
                                    _mm256_and_si256(_mm256_slli_epi16(bits, 2), lows));
    __m512 d[2], dmin[2];
    quads_of_pairs(halves_at(chunk->tile + HL_Q4K_D), d);
    quads_of_pairs(_mm512_sub_ps(_mm512_setzero_ps(), halves_at(chunk->tile + HL_Q4K_DMIN)), dmin);
    for (int i = 0; i < 2; i++) {
        _mm512_store_ps(to->low + 16 * i, _mm512_mul_ps(d[i], bytes_to_floats(scale, i)));
        _mm512_store_ps(to->least + 16 * i, _mm512_mul_ps(dmin[i], bytes_to_floats(least, i)));
    }
}

HL_INLINE void q6k_scales(const struct chunk *chunk, struct scales *to)
{
    const uint8_t *bytes = chunk->tile + HL_Q6K_SCALES + 64 * chunk->index;
    __m512 d[2], scale[4];
    quads_of_pairs(halves_at(chunk->tile + HL_Q6K_D), d);
    for (int i = 0; i < 4; i++)
        scale[i] =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i))));
    for (int i = 0; i < 2; i++) {
        _mm512_store_ps(to->low + 16 * i, _mm512_mul_ps(d[i], scale[i]));
        _mm512_store_ps(to->high + 16 * i, _mm512_mul_ps(d[i], scale[2 + i]));
    }
}

HL_INLINE void scales_of(uint32_t type, const struct chunk *chunk, struct scales *to)
{
    if (type == HL_TYPE_TILE_Q4K) {
        q4k_scales(chunk, to);
    } else if (type == HL_TYPE_TILE_Q6K) {
        q6k_scales(chunk, to);
    } else {
        _mm512_store_ps(to->low, halves_at(chunk->low + 512));
        if (type == HL_TYPE_TILE_Q8) {
            _mm512_store_ps(to->high, halves_at(chunk->high + 512));
            return;
        }
        _mm512_store_ps(to->low + 16, halves_at(chunk->low + 544));
        if (type == HL_TYPE_TILE_Q4M) {
            _mm512_store_ps(to->least, halves_at(chunk->low + 576));
            _mm512_store_ps(to->least + 16, halves_at(chunk->low + 608));
        }
    }
}

/* Returns the scales of line g for its sixteen words, from `low` or `high`. */
HL_INLINE __m512 line_scale(uint32_t type, const float *scales, uint32_t g)
{
    if (type != HL_TYPE_TILE_Q8)
        return _mm512_broadcast_f32x4(_mm_load_ps(scales + 4 * g));
    double two;
    memcpy(&two, scales + 2 * g, sizeof two);
    return _mm512_castpd_ps(_mm512_set1_pd(two));
}

/* In prepare.c, which converts a share of the pieces, and in decode.c and prefill.c, for few and for many tokens. */
void hl_avx512_prepare(const struct hl_linear *linear, struct hl_share pieces);
void hl_avx512_decode(const struct hl_linear *linear, uint32_t begin, uint32_t end);
void hl_avx512_prefill(const struct hl_linear *linear, uint32_t begin, uint32_t end);
void hl_avx512_attend(const struct hl_attend *attend, struct hl_share share); /* attend.c */

#endif
