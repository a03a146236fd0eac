/* Lanes of sixteen floats, for wide_ops.h and wide_attend.h. */
#ifndef HL_KERNELS_CPU_AVX512_LANES_AVX512_H
#define HL_KERNELS_CPU_AVX512_LANES_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define LANES 16u
#define LANE_REGISTERS 32
#define LANES_INLINE static inline __attribute__((always_inline))

typedef __m512 lanes;

LANES_INLINE lanes lanes_set(float x)
{
    return _mm512_set1_ps(x);
}

LANES_INLINE lanes lanes_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

LANES_INLINE void lanes_store(float *to, lanes x)
{
    _mm512_storeu_ps(to, x);
}

/* Load or store the first n floats, n < LANES. The others become zero, or stay as they are. */
LANES_INLINE lanes lanes_load_some(const float *from, uint32_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
}

LANES_INLINE void lanes_store_some(float *to, lanes x, uint32_t n)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), x);
}

LANES_INLINE lanes lanes_halves(const uint8_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

LANES_INLINE lanes lanes_bytes(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}

LANES_INLINE lanes lanes_add(lanes a, lanes b)
{
    return _mm512_add_ps(a, b);
}

LANES_INLINE lanes lanes_sub(lanes a, lanes b)
{
    return _mm512_sub_ps(a, b);
}

LANES_INLINE lanes lanes_mul(lanes a, lanes b)
{
    return _mm512_mul_ps(a, b);
}

LANES_INLINE lanes lanes_div(lanes a, lanes b)
{
    return _mm512_div_ps(a, b);
}

LANES_INLINE lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* Return the second argument if one is a NaN. */
LANES_INLINE lanes lanes_max(lanes a, lanes b)
{
    return _mm512_max_ps(a, b);
}

LANES_INLINE lanes lanes_min(lanes a, lanes b)
{
    return _mm512_min_ps(a, b);
}

LANES_INLINE lanes lanes_abs(lanes x)
{
    return _mm512_abs_ps(x);
}

LANES_INLINE lanes lanes_with_sign_of(lanes x, lanes sign)
{
    const __m512i top = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(top, _mm512_castps_si512(sign), _mm512_castps_si512(x), 0xca));
}

/* Returns x where a < b, else y. */
LANES_INLINE lanes lanes_where_less(lanes a, lanes b, lanes x, lanes y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

LANES_INLINE lanes lanes_round(lanes x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Returns x 2^n for whole n, correct also beyond both ends of the range. */
LANES_INLINE lanes lanes_scale(lanes x, lanes n)
{
    return _mm512_scalef_ps(x, n);
}

LANES_INLINE float lanes_sum(lanes x)
{
    return _mm512_reduce_add_ps(x);
}

LANES_INLINE float lanes_most(lanes x)
{
    return _mm512_reduce_max_ps(x);
}

#endif
