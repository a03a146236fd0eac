/* AVX-512 (F, BW, DQ, VL, VNNI, BF16): the operations except linear, and the table. */
#include "kernels/cpu/avx512/avx512.h"
#include <math.h>

#include "kernels/cpu/avx512/lanes_avx512.h"
#include "kernels/cpu/wide_ops.h"

/* Panels pay from so many tokens on. That is more than the decode kernel multiplies at once; float types need little
 * unpacking. Figures: docs/performance.md, "Panels or decode". From PREFILL_QUANTIZED tokens in a step on, sums are
 * rounded in another order. So a choice between two nearly equal tokens may depend on the other requests in the step.
 */
#define PREFILL_QUANTIZED 5
#define PREFILL_FLOAT 32

static void multiply(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
    if (linear->n < (hl_type_is_quantized(linear->type) ? PREFILL_QUANTIZED : PREFILL_FLOAT))
        hl_avx512_decode(linear, begin, end);
    else
        hl_avx512_prefill(linear, begin, end);
}

static inline __mmask16 tail_mask(uint32_t left)
{
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
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
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
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
    .attend = hl_avx512_attend,
    .gate = gate_row,
    .softcap = softcap,
    .dot = dot,
    .f16_store = f16_store,
};
