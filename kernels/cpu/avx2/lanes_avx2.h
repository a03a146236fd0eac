/* Lanes of eight floats, for wide_ops.h and wide_attend.h. */
#ifndef HL_KERNELS_CPU_AVX2_LANES_AVX2_H
#define HL_KERNELS_CPU_AVX2_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define LANES 8u
#define LANE_REGISTERS 16
#define LANES_INLINE static inline __attribute__((always_inline))

typedef __m256 lanes;

LANES_INLINE lanes lanes_set(float x)
{
    return _mm256_set1_ps(x);
}

LANES_INLINE lanes lanes_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

LANES_INLINE void lanes_store(float *to, lanes x)
{
    _mm256_storeu_ps(to, x);
}

LANES_INLINE __m256i lanes_first(uint32_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

/* Load or store the first n floats, n < LANES. The others become zero, or stay as they are. */
LANES_INLINE lanes lanes_load_some(const float *from, uint32_t n)
{
    return _mm256_maskload_ps(from, lanes_first(n));
}

LANES_INLINE void lanes_store_some(float *to, lanes x, uint32_t n)
{
    _mm256_maskstore_ps(to, lanes_first(n), x);
}

LANES_INLINE lanes lanes_halves(const uint8_t *from)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

LANES_INLINE lanes lanes_bytes(const uint8_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}

LANES_INLINE lanes lanes_add(lanes a, lanes b)
{
    return _mm256_add_ps(a, b);
}

LANES_INLINE lanes lanes_sub(lanes a, lanes b)
{
    return _mm256_sub_ps(a, b);
}

LANES_INLINE lanes lanes_mul(lanes a, lanes b)
{
    return _mm256_mul_ps(a, b);
}

LANES_INLINE lanes lanes_div(lanes a, lanes b)
{
    return _mm256_div_ps(a, b);
}

LANES_INLINE lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* Return the second argument if one is a NaN. */
LANES_INLINE lanes lanes_max(lanes a, lanes b)
{
    return _mm256_max_ps(a, b);
}

LANES_INLINE lanes lanes_min(lanes a, lanes b)
{
    return _mm256_min_ps(a, b);
}

LANES_INLINE lanes lanes_abs(lanes x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

LANES_INLINE lanes lanes_with_sign_of(lanes x, lanes sign)
{
    const __m256 top = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(top, x), _mm256_and_ps(top, sign));
}

/* Returns x where a < b, else y. */
LANES_INLINE lanes lanes_where_less(lanes a, lanes b, lanes x, lanes y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

LANES_INLINE lanes lanes_round(lanes x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

LANES_INLINE lanes lanes_power(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* Returns x 2^n for whole n, |n| < 250. Multiplies twice, so that neither power leaves the range. */
LANES_INLINE lanes lanes_scale(lanes x, lanes n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, lanes_power(half)), lanes_power(_mm256_sub_epi32(whole, half)));
}

LANES_INLINE float lanes_sum(lanes x)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

LANES_INLINE float lanes_most(lanes x)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

#endif
