/* AVX-512 (F, BW, DQ, VL, VNNI, BF16): the operations beside linear, and the table. */
#include "kernels/cpu/avx512.h"
#include <math.h>

/* From how many tokens on a panel pays: float types have little to unpack. */
#define PREFILL_QUANTIZED 5
#define PREFILL_FLOAT 32

static void multiply(const struct hl_linear *linear, struct hl_share strips)
{
    if (linear->n < (hl_type_is_quantized(linear->type) ? PREFILL_QUANTIZED : PREFILL_FLOAT))
        hl_avx512_decode(linear, strips);
    else
        hl_avx512_prefill(linear, strips);
}

static inline __mmask16 tail_mask(uint32_t left)
{
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

static float dot(const float *a, const float *b, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

static void axpy(float *y, float a, const float *x, uint32_t n)
{
    __m512 factor = _mm512_set1_ps(a);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        __m512 sum = _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, y + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

static void f16_load(float *to, const uint16_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        _mm512_mask_storeu_ps(to + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from + i)));
    }
}

static void f16_store(uint16_t *to, const float *from, uint32_t n)
{
    const __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        __m512 value = _mm512_min_ps(_mm512_max_ps(_mm512_maskz_loadu_ps(mask, from + i), least), most);
        _mm256_mask_storeu_epi16(to + i, mask, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

const struct hl_kernels hl_kernels_avx512 = {
    .name = "avx512",
    .prepare = hl_avx512_prepare,
    .linear = multiply,
    .dot = dot,
    .axpy = axpy,
    .f16_load = f16_load,
    .f16_store = f16_store,
};
