/* The 16-bit floats, IEEE 754 binary16 (fp16) and bfloat16: conversions in plain C, which round to nearest even.
 *
 * The packer writes with these and the reference kernels read with them. The fast kernels use the processor's
 * instructions, which agree bit for bit.
 */
#ifndef HOTLAYER_HALF_H
#define HOTLAYER_HALF_H

#include <stdint.h>
#include <string.h>

static inline float hl_bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t hl_f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float hl_bf16_to_f32(uint16_t bits)
{
    return hl_bits_to_f32((uint32_t)bits << 16);
}

static inline uint16_t hl_f32_to_bf16(float value)
{
    uint32_t bits = hl_f32_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN: set the quiet bit, because rounding could turn it into infinity */
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* Multiplies by a power of two, so that the hardware normalizes subnormals. */
static inline float hl_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = (uint32_t)(half & 0x7fffu) << 13;
    if (magnitude >= 0x0f800000u) /* infinity or NaN */
        return hl_bits_to_f32(sign | magnitude | 0x70000000u);
    float value = hl_bits_to_f32(magnitude) * 0x1p112f; /* changes the exponent's bias from 15 to 127, for subnormals
                                                         * too */
    return hl_bits_to_f32(sign | hl_f32_to_bits(value));
}

static inline uint16_t hl_f32_to_f16(float value)
{
    uint32_t bits = hl_f32_to_bits(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 1/2 leaves the rounded mantissa in the low bits */
        float shifted = hl_bits_to_f32(magnitude) + 0.5f;
        return (uint16_t)(sign | (hl_f32_to_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

#endif
