/* Functions that kernels compute by themselves, so that a host finds the same bits: each step has one rounding. A
 * compiler may fuse a product that is written with * with what is added to it later, even in another function, so all
 * products are multiply() or multiply_add(). */
#ifndef HL_KERNELS_CUDA_CODE_MATH_INSIDE_H
#define HL_KERNELS_CUDA_CODE_MATH_INSIDE_H

#include "kernels/cuda/machine/machine.h"

/* e^x, within 1.1 units of the last place: 2^n e^r with |r| <= log(2) / 2. */
DEVICE float hl_cuda_exp(float x)
{
    x = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x; /* infinity and 0 from here on; a NaN stays */
    const float round = 12582912.0f;                   /* 1.5 2^23: what is added to it becomes an integer */
    float shifted = multiply_add(x, 1.44269502f, round), n = shifted - round;
    float r = multiply_add(n, -1.42860677e-6f, multiply_add(n, -0.693145752f, x)); /* log(2) in two parts */
    float sum = multiply_add(1.37805939e-3f, r, 8.37312452e-3f);
    sum = multiply_add(sum, r, 4.16695364e-2f);
    sum = multiply_add(sum, r, 1.66664720e-1f);
    sum = multiply_add(sum, r, 4.99999851e-1f);
    sum = multiply_add(sum, r, 1.0f);
    sum = multiply_add(sum, r, 1.0f);
    /* 2^n in two factors, as n is -150 to 128. */
    uint32_t power = float_bits(shifted) - float_bits(round), half = (power + 256) / 2 - 128;
    return multiply(multiply(sum, as_float((half + 127) << 23)), as_float((power - half + 127) << 23));
}

/* tanh(x), within 1.5 units of the last place. */
DEVICE float hl_cuda_tanh(float x)
{
    float size = as_float(float_bits(x) & 0x7fffffffu), square = multiply(size, size), result;
    if (size < 0.5625f) { /* where the difference below would lose the last places */
        result = multiply_add(2.487614751e-3f, square, -8.499247953e-3f);
        result = multiply_add(result, square, 2.181190252e-2f);
        result = multiply_add(result, square, -5.396406353e-2f);
        result = multiply_add(result, square, 1.333332211e-1f);
        result = multiply_add(result, square, -3.333333433e-1f);
        result = multiply_add(multiply(result, square), size, size);
    } else {
        result = 1.0f - 2.0f / (hl_cuda_exp(2.0f * size) + 1.0f);
    }
    return as_float(float_bits(result) | (float_bits(x) & 0x80000000u));
}

#endif
