/* Reads quantized blocks of a .gguf.
 *
 *   Q4_0  d | 16 bytes: number j in the low nibble of byte j, number j + 16 in the high one
 *   Q4_1  d | m | 16 bytes
 *   Q5_0  d | u32 of fifth bits | 16 bytes
 *   Q5_1  d | m | u32 | 16 bytes
 *   Q8_0  d | 32 int8
 *   Q4_K  d | dmin | 12 bytes of 6-bit scales and minima | 128 bytes: of each 64 numbers the first 32 in low nibbles
 *   Q5_K  d | dmin | 12 bytes | 32 bytes of fifth bits | 128 bytes
 *   Q6_K  128 bytes of low nibbles | 64 bytes of high bit pairs | 16 int8 scales | d
 *
 * A half may be unaligned, so it is copied out.
 */
#include "pack/source/blocks.h"
#include "hotlayer/half.h"
#include <string.h>

static uint16_t half_bits(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static float half(const uint8_t *at)
{
    return hl_f16_to_f32(half_bits(at));
}

/* Reads 32 nibbles in the order of the numbers. */
static void read_nibbles(const uint8_t *bytes, uint8_t out[32])
{
    for (uint32_t i = 0; i < 16; i++) {
        out[i] = bytes[i] & 15;
        out[i + 16] = bytes[i] >> 4;
    }
}

/* Reads 32 nibbles with a fifth bit for each. */
static void read_fives(const uint8_t *bits, const uint8_t *bytes, uint8_t out[32])
{
    uint32_t fifth;
    memcpy(&fifth, bits, sizeof fifth);
    read_nibbles(bytes, out);
    for (uint32_t i = 0; i < 32; i++)
        out[i] |= (uint8_t)((fifth >> i & 1) << 4);
}

/* Reads eight 6-bit scales and eight minima. The first four of each are whole; the high two bits of the others are in
 * the same bytes. */
static void read_k_scales(const uint8_t bytes[12], uint8_t scale[8], uint8_t minimum[8])
{
    for (uint32_t i = 0; i < 4; i++) {
        scale[i] = bytes[i] & 63;
        minimum[i] = bytes[i + 4] & 63;
        scale[i + 4] = (uint8_t)((bytes[i + 8] & 15) | bytes[i] >> 6 << 4);
        minimum[i + 4] = (uint8_t)(bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4);
    }
}

void hl_block_read_q4(const uint8_t *block, bool minimum, struct hl_block_q4 *out)
{
    out->scale = half_bits(block);
    out->minimum = minimum ? half_bits(block + 2) : 0;
    read_nibbles(block + (minimum ? 4 : 2), out->quant);
}

void hl_block_read_q8(const uint8_t *block, struct hl_block_q8 *out)
{
    out->scale = half_bits(block);
    memcpy(out->quant, block + 2, sizeof out->quant);
}

void hl_block_read_q5(const uint8_t *block, struct hl_block_q8 *out)
{
    uint8_t five[32];
    out->scale = half_bits(block);
    read_fives(block + 2, block + 6, five);
    for (uint32_t i = 0; i < 32; i++)
        out->quant[i] = (int8_t)(five[i] - 16);
}

void hl_block_read_q4k(const uint8_t *block, struct hl_block_q4k *out)
{
    out->d = half_bits(block);
    out->dmin = half_bits(block + 2);
    read_k_scales(block + 4, out->scale, out->minimum);
    for (uint32_t chunk = 0; chunk < 4; chunk++)
        for (uint32_t i = 0; i < 32; i++) {
            uint8_t byte = block[16 + 32 * chunk + i];
            out->quant[64 * chunk + i] = byte & 15;
            out->quant[64 * chunk + 32 + i] = byte >> 4;
        }
}

void hl_block_read_q6k(const uint8_t *block, struct hl_block_q6k *out)
{
    out->d = half_bits(block + 208);
    memcpy(out->scale, block + 192, sizeof out->scale);
    for (uint32_t half_block = 0; half_block < 2; half_block++) {
        const uint8_t *low = block + 64 * half_block, *high = block + 128 + 32 * half_block;
        uint8_t *quant = out->quant + 128 * half_block;
        for (uint32_t i = 0; i < 32; i++) {
            quant[i] = (uint8_t)((low[i] & 15) | (high[i] & 3) << 4);
            quant[i + 32] = (uint8_t)((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4);
            quant[i + 64] = (uint8_t)(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
            quant[i + 96] = (uint8_t)(low[i + 32] >> 4 | high[i] >> 6 << 4);
        }
    }
}

static void q4_floats(const uint8_t *block, bool minimum, float *out)
{
    struct hl_block_q4 q4;
    hl_block_read_q4(block, minimum, &q4);
    float d = hl_f16_to_f32(q4.scale), m = hl_f16_to_f32(q4.minimum);
    for (uint32_t i = 0; i < 32; i++)
        out[i] = minimum ? d * (float)q4.quant[i] + m : d * (float)((int32_t)q4.quant[i] - 8);
}

static void q5_floats(const uint8_t *block, bool minimum, float *out)
{
    uint8_t five[32];
    float d = half(block), m = minimum ? half(block + 2) : 0;
    const uint8_t *bits = block + (minimum ? 4 : 2);
    read_fives(bits, bits + 4, five);
    for (uint32_t i = 0; i < 32; i++)
        out[i] = minimum ? d * (float)five[i] + m : d * (float)((int32_t)five[i] - 16);
}

static void q8_floats(const uint8_t *block, float *out)
{
    float d = half(block);
    for (uint32_t i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)block[2 + i];
}

/* Computes a block of 32 numbers that has its own scale and minimum. */
static void k_floats(float d, float least, const uint8_t *quant, float *out)
{
    for (uint32_t i = 0; i < 32; i++)
        out[i] = d * (float)quant[i] - least;
}

static void q4k_floats(const uint8_t *block, float *out)
{
    struct hl_block_q4k q4k;
    hl_block_read_q4k(block, &q4k);
    float d = hl_f16_to_f32(q4k.d), dmin = hl_f16_to_f32(q4k.dmin);
    for (uint32_t b = 0; b < 8; b++)
        k_floats(d * (float)q4k.scale[b], dmin * (float)q4k.minimum[b], q4k.quant + 32 * b, out + 32 * b);
}

static void q5k_floats(const uint8_t *block, float *out)
{
    uint8_t scale[8], minimum[8];
    float d = half(block), dmin = half(block + 2);
    const uint8_t *fifth = block + 16, *nibbles = block + 48;
    read_k_scales(block + 4, scale, minimum);
    for (uint32_t b = 0; b < 8; b++) {
        uint8_t five[32];
        for (uint32_t i = 0; i < 32; i++)
            five[i] = (uint8_t)((nibbles[32 * (b / 2) + i] >> (b % 2 ? 4 : 0) & 15) | (fifth[i] >> b & 1) << 4);
        k_floats(d * (float)scale[b], dmin * (float)minimum[b], five, out + 32 * b);
    }
}

static void q6k_floats(const uint8_t *block, float *out)
{
    struct hl_block_q6k q6k;
    hl_block_read_q6k(block, &q6k);
    float d = hl_f16_to_f32(q6k.d);
    for (uint32_t b = 0; b < 16; b++)
        for (uint32_t i = 16 * b; i < 16 * b + 16; i++)
            out[i] = d * (float)q6k.scale[b] * (float)((int32_t)q6k.quant[i] - 32);
}

void hl_block_floats(enum hl_dtype dtype, const uint8_t *block, float *out)
{
    switch (dtype) {
    case HL_DTYPE_F32:
        memcpy(out, block, sizeof *out);
        break;
    case HL_DTYPE_F16:
        *out = half(block);
        break;
    case HL_DTYPE_BF16:
        *out = hl_bf16_to_f32(half_bits(block));
        break;
    case HL_DTYPE_Q4_0:
    case HL_DTYPE_Q4_1:
        q4_floats(block, dtype == HL_DTYPE_Q4_1, out);
        break;
    case HL_DTYPE_Q5_0:
    case HL_DTYPE_Q5_1:
        q5_floats(block, dtype == HL_DTYPE_Q5_1, out);
        break;
    case HL_DTYPE_Q8_0:
        q8_floats(block, out);
        break;
    case HL_DTYPE_Q4_K:
        q4k_floats(block, out);
        break;
    case HL_DTYPE_Q5_K:
        q5k_floats(block, out);
        break;
    case HL_DTYPE_Q6_K:
        q6k_floats(block, out);
        break;
    }
}

/* Reads part of a row, which may begin and end inside a block. */
void hl_source_floats(const struct hl_source_tensor *tensor, uint64_t first, uint64_t n, float *out)
{
    uint32_t numbers = hl_dtype_block(tensor->dtype), bytes = hl_dtype_block_bytes(tensor->dtype);
    const uint8_t *block = tensor->data + first / numbers * bytes;
    if (tensor->dtype == HL_DTYPE_F32) {
        memcpy(out, block, n * sizeof *out);
        return;
    }
    if (tensor->dtype == HL_DTYPE_BF16) { /* the common case, which the compiler vectorizes */
        for (uint64_t i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, block + 2 * i, sizeof half);
            out[i] = hl_bf16_to_f32(half);
        }
        return;
    }
    for (uint32_t skip = (uint32_t)(first % numbers); n; block += bytes, skip = 0) {
        float values[256];
        uint32_t now = n < numbers - skip ? (uint32_t)n : numbers - skip;
        hl_block_floats(tensor->dtype, block, values);
        memcpy(out, values + skip, now * sizeof *out);
        out += now;
        n -= now;
    }
}
