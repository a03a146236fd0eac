/* exp, tanh and functions built on them, in lanes. Include this after lanes_avx2.h or lanes_avx512.h.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) - 1 is its Taylor series up to r^7 (the error is below 6e-9). From
 * these, exp(x) = 2^n (1 + p).
 */
#ifndef HL_KERNELS_CPU_WIDE_OPS_H
#define HL_KERNELS_CPU_WIDE_OPS_H

#include "kernels/cpu/kernels.h"

/* Returns exp(r) - 1, where r is the rest of x, and sets *n, which is whole. |x| must be at most 140. */
LANES_INLINE lanes wide_exp_parts(lanes x, lanes *n)
{
    static const float taylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2};
    *n = lanes_round(lanes_mul(x, lanes_set(1.44269504088896341f)));
    lanes r = lanes_fma(*n, lanes_set(-0x1.62e43p-1f), x); /* the upper bits of ln 2, so the product is exact */
    r = lanes_fma(*n, lanes_set(0x1.05c61p-29f), r);
    lanes p = lanes_set(taylor[0]);
    for (int i = 1; i < 6; i++)
        p = lanes_fma(p, r, lanes_set(taylor[i]));
    return lanes_fma(lanes_mul(r, r), p, r);
}

/* Returns 0 below -104 and infinity above 89. A NaN counts as large. */
LANES_INLINE lanes wide_exp(lanes x)
{
    lanes n, p;
    x = lanes_max(lanes_min(x, lanes_set(130)), lanes_set(-130));
    p = wide_exp_parts(x, &n);
    return lanes_scale(lanes_add(p, lanes_set(1)), n);
}

/* For |x| < 0.55 the Taylor series, else 1 - 2 / (exp(2|x|) + 1). An error of two ulp here shows in the logits after
 * forty blocks with a soft cap. */
LANES_INLINE lanes wide_tanh(lanes x)
{
    static const float taylor[] = {-443861162.0f / 1856156927625.0f,
                                   6404582.0f / 10854718875.0f,
                                   -929569.0f / 638512875.0f,
                                   21844.0f / 6081075.0f,
                                   -1382.0f / 155925.0f,
                                   62.0f / 2835.0f,
                                   -17.0f / 315.0f,
                                   2.0f / 15.0f,
                                   -1.0f / 3.0f};
    lanes size = lanes_abs(x), square = lanes_mul(x, x), p = lanes_set(taylor[0]), one = lanes_set(1);
    for (int i = 1; i < 9; i++)
        p = lanes_fma(p, square, lanes_set(taylor[i]));
    lanes small = lanes_fma(lanes_mul(size, square), p, size);
    lanes large = lanes_sub(one, lanes_div(lanes_set(2), lanes_add(wide_exp(lanes_add(size, size)), one)));
    return lanes_with_sign_of(lanes_where_less(size, lanes_set(0.55f), small, large), x);
}

/* Returns x / (1 + exp(-x)); for gelu the exponent is a polynomial in x. */
LANES_INLINE lanes wide_activation(lanes x, uint32_t activation)
{
    lanes y = x;
    if (activation != HL_ACTIVATION_SILU) { /* x/2 (1 + tanh(u)) = x / (1 + exp(-2u)) */
        lanes cube = lanes_mul(lanes_mul(lanes_mul(lanes_set(0.044715f), x), x), x);
        y = lanes_mul(lanes_set(1.59576912160573071176f), lanes_add(x, cube));
    }
    return lanes_div(x, lanes_add(lanes_set(1), wide_exp(lanes_sub(lanes_set(0), y))));
}

static inline void wide_gate(float *out, const float *gate, const float *up, uint32_t n, uint32_t activation)
{
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        lanes_store(out + i, lanes_mul(wide_activation(lanes_load(gate + i), activation), lanes_load(up + i)));
    if (i < n) {
        lanes product =
            lanes_mul(wide_activation(lanes_load_some(gate + i, n - i), activation), lanes_load_some(up + i, n - i));
        lanes_store_some(out + i, product, n - i);
    }
}

static inline void wide_softcap(float *x, uint32_t n, float cap)
{
    uint32_t i = 0;
    lanes most = lanes_set(cap);
    for (; i + LANES <= n; i += LANES)
        lanes_store(x + i, lanes_mul(most, wide_tanh(lanes_div(lanes_load(x + i), most))));
    if (i < n)
        lanes_store_some(x + i, lanes_mul(most, wide_tanh(lanes_div(lanes_load_some(x + i, n - i), most))), n - i);
}

#endif
