/* Quantized blocks: out of a .gguf, into a tile.
 *
 *   Q4_0  d | 16 bytes: number j in the low, number j + 16 in the high nibble of byte j      Q4_1  d | m | 16 bytes
 *   Q5_0  d | u32 of fifth bits | 16 bytes                                                  Q5_1  d | m | u32 | 16
 * bytes Q8_0  d | 32 int8 Q4_K  d | dmin | 12 bytes of 6-bit scales and minima | 128 bytes: of each 64 numbers the
 * first 32 in low nibbles Q5_K  d | dmin | 12 bytes | 32 bytes of fifth bits | 128 bytes Q6_K  128 bytes of low nibbles
 * | 64 bytes of high bit pairs | 16 int8 scales | d
 *
 * Halves may lie anywhere, so they are copied out.
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

/* 32 nibbles in the order of the numbers. */
static void read_nibbles(const uint8_t *bytes, uint8_t out[32])
{
    for (uint32_t i = 0; i < 16; i++) {
        out[i] = bytes[i] & 15;
        out[i + 16] = bytes[i] >> 4;
    }
}

/* The same with a fifth bit for each. */
static void read_fives(const uint8_t *bits, const uint8_t *bytes, uint8_t out[32])
{
    uint32_t fifth;
    memcpy(&fifth, bits, sizeof fifth);
    read_nibbles(bytes, out);
    for (uint32_t i = 0; i < 32; i++)
        out[i] |= (uint8_t)((fifth >> i & 1) << 4);
}

/* Eight 6-bit scales and eight minima: four of each whole, of the others the high two bits beside those. */
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

/* Numbers of a block of 32 that has a scale and a minimum of its own. */
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

void hl_block_put_q8(const struct hl_block_q8 *block, uint32_t row, uint8_t *tile)
{
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(row, word), block->quant + 4 * word, 4);
    memcpy(tile + HL_TILE_QUANT_BYTES + 2 * hl_tile_scale_index(row), &block->scale, sizeof block->scale);
}

/* Sixteen columns of a row, a byte each, eight of which are worked on at once. */
struct sixteen {
    uint64_t half[2];
};

static struct sixteen load_sixteen(const uint8_t *bytes)
{
    struct sixteen out;
    memcpy(&out, bytes, sizeof out);
    return out;
}

/* Number i in the low, number i + 16 in the high nibble of byte i. */
static struct sixteen join_nibbles(const struct sixteen *low, const struct sixteen *high)
{
    const uint64_t nibbles = 0x0f0f0f0f0f0f0f0f;
    struct sixteen out;
    for (uint32_t i = 0; i < 2; i++)
        out.half[i] = (low->half[i] & nibbles) | (high->half[i] & nibbles) << 4;
    return out;
}

/* Its four words, from `to` on, at the distance of lanes. */
static void put_words(const struct sixteen *words, uint32_t lane_bytes, uint8_t *to)
{
    uint8_t bytes[16];
    memcpy(bytes, words, sizeof bytes);
    for (uint32_t j = 0; j < 4; j++)
        memcpy(to + (size_t)j * lane_bytes, bytes + 4 * j, 4);
}

/* The low nibbles of 32 quants into block `b` of 512 bytes. */
static void put_nibbles(const uint8_t quant[32], uint32_t row, uint32_t b, uint8_t *quants)
{
    struct sixteen front = load_sixteen(quant), back = load_sixteen(quant + 16), both = join_nibbles(&front, &back);
    put_words(&both, 16, quants + hl_tile_nibble_offset(row, 32 * b));
}

/* Bits 4 and 5 of the 64 quants of a chunk: of each block a nibble for two numbers that are 16 columns apart. The
 * blocks are neighbours in the tile as the numbers of a block are. */
static void put_high_bits(const uint8_t quant[64], uint32_t row, uint8_t *high)
{
    const uint64_t pairs = 0x0303030303030303;
    struct sixteen part[4], block[2], both;
    for (uint32_t i = 0; i < 4; i++)
        part[i] = load_sixteen(quant + 16 * i);
    for (uint32_t b = 0; b < 2; b++)
        for (uint32_t i = 0; i < 2; i++)
            block[b].half[i] = (part[2 * b].half[i] >> 4 & pairs) | (part[2 * b + 1].half[i] >> 4 & pairs) << 2;
    both = join_nibbles(&block[0], &block[1]);
    put_words(&both, 8, high + hl_tile_high_offset(hl_tile_nibble_offset(row, 0)));
}

void hl_block_put_q4(const struct hl_block_q4 *block, bool minimum, uint32_t row, uint32_t b, uint8_t *tile)
{
    uint32_t quad = hl_tile_quad_index(row, b);
    put_nibbles(block->quant, row, b, tile);
    memcpy(tile + HL_TILE_QUANT_BYTES + 2 * quad, &block->scale, sizeof block->scale);
    if (minimum)
        memcpy(tile + HL_TILE_QUANT_BYTES + 64 + 2 * quad, &block->minimum, sizeof block->minimum);
}

/* A nibble of a byte that two rows share: the tile begins as zeros. */
static void put_nibble(uint8_t *byte, bool high, uint32_t value)
{
    *byte = (uint8_t)((*byte & (high ? 15 : 0xf0)) | value << (high ? 4 : 0));
}

void hl_block_put_q4k(const struct hl_block_q4k *block, uint32_t row, uint8_t *tile)
{
    memcpy(tile + HL_Q4K_D + 2 * hl_tile_scale_index(row), &block->d, sizeof block->d);
    memcpy(tile + HL_Q4K_DMIN + 2 * hl_tile_scale_index(row), &block->dmin, sizeof block->dmin);
    for (uint32_t b = 0; b < 8; b++) {
        uint32_t chunk = b / 2, quad = hl_tile_quad_index(row, b % 2), scale = block->scale[b],
                 minimum = block->minimum[b];
        put_nibbles(block->quant + 32 * b, row, b % 2, tile + 512 * chunk);
        tile[HL_Q4K_LOW + 32 * chunk + quad] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
        put_nibble(&tile[HL_Q4K_HIGH + 16 * chunk + quad % 16], quad >= 16, scale >> 4 | minimum >> 4 << 2);
    }
}

void hl_block_put_q6k(const struct hl_block_q6k *block, uint32_t row, uint8_t *tile)
{
    memcpy(tile + HL_Q6K_D + 2 * hl_tile_scale_index(row), &block->d, sizeof block->d);
    for (uint32_t b = 0; b < 8; b++) {
        uint32_t chunk = b / 2, quad = hl_tile_quad_index(row, b % 2);
        int8_t *scales = (int8_t *)tile + HL_Q6K_SCALES + 64 * chunk;
        put_nibbles(block->quant + 32 * b, row, b % 2, tile + 512 * chunk);
        scales[quad] = block->scale[2 * b];
        scales[32 + quad] = block->scale[2 * b + 1];
    }
    for (uint32_t chunk = 0; chunk < 4; chunk++)
        put_high_bits(block->quant + 64 * chunk, row, tile + HL_Q6K_HIGH + 256 * chunk);
}
