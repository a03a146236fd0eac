/* AVX2 (with FMA and F16C): the operations except linear, and the table. */
#include "kernels/cpu/avx2/avx2.h"
#include <math.h>

#include "kernels/cpu/avx2/lanes_avx2.h"
#include "kernels/cpu/wide_ops.h"

#define PREFILL 12 /* panels pay from so many tokens on */

static void multiply(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
    if (hl_type_is_quantized(linear->type) && linear->n >= PREFILL)
        hl_avx2_prefill(linear, begin, end);
    else
        hl_avx2_decode(linear, begin, end);
}

static void gate_row(float *out, const float *gate, const float *up, uint32_t n, uint32_t activation)
{
    if (activation == HL_ACTIVATION_SILU)
        wide_gate(out, gate, up, n, HL_ACTIVATION_SILU);
    else
        wide_gate(out, gate, up, n, activation);
}

static void softcap(float *x, uint32_t n, float cap)
{
    wide_softcap(x, n, cap);
}

static float dot(const float *a, const float *b, uint32_t n)
{
    __m256 sums = _mm256_setzero_ps();
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        sums = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sums);
    float parts[8], sum = 0;
    _mm256_storeu_ps(parts, sums);
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (uint32_t i8 = 0; i8 < 8; i8++)
        sum += parts[i8];
    return sum;
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
    .attend = hl_avx2_attend,
    .gate = gate_row,
    .softcap = softcap,
    .dot = dot,
    .f16_store = f16_store,
};
