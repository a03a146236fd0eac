/* AVX2 (with FMA and F16C): the operations beside linear, and the table. */
#include "kernels/cpu/avx2.h"
#include <math.h>

#define PREFILL 12 /* from how many tokens on a panel pays */

static void multiply(const struct hl_linear *linear, struct hl_share strips)
{
    if (hl_type_is_quantized(linear->type) && linear->n >= PREFILL)
        hl_avx2_prefill(linear, strips);
    else
        hl_avx2_decode(linear, strips);
}

static float dot(const float *a, const float *b, uint32_t n)
{
    __m256 sums = _mm256_setzero_ps();
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        sums = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sums);
    float lanes[8], sum = 0;
    _mm256_storeu_ps(lanes, sums);
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (uint32_t lane = 0; lane < 8; lane++)
        sum += lanes[lane];
    return sum;
}

static void axpy(float *y, float a, const float *x, uint32_t n)
{
    __m256 factor = _mm256_set1_ps(a);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] += a * x[i];
}

static void f16_load(float *to, const uint16_t *from, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    for (; i < n; i++)
        to[i] = hl_f16_to_f32(from[i]);
}

static void f16_store(uint16_t *to, const float *from, uint32_t n)
{
    const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 value = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(from + i), least), most);
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; i++)
        to[i] = hl_f32_to_f16(fminf(fmaxf(from[i], -65504.0f), 65504.0f));
}

const struct hl_kernels hl_kernels_avx2 = {
    .name = "avx2",
    .prepare = hl_avx2_prepare,
    .linear = multiply,
    .dot = dot,
    .axpy = axpy,
    .f16_load = f16_load,
    .f16_store = f16_store,
};
