/* The layout of each type of tile is pictured in hotlayer/tile.h. */
#include "pack/convert/tile_blocks.h"
#include <string.h>

void hl_block_put_q8(const struct hl_block_q8 *block, uint32_t row, uint8_t *tile)
{
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(row, word), block->quant + 4 * word, 4);
    memcpy(tile + HL_TILE_QUANT_BYTES + 2 * hl_tile_scale_index(row), &block->scale, sizeof block->scale);
}

/* Sixteen columns of a row, a byte each, processed eight at a time. */
struct sixteen {
    uint64_t half[2];
};

static struct sixteen load_sixteen(const uint8_t *bytes)
{
    struct sixteen out;
    memcpy(&out, bytes, sizeof out);
    return out;
}

/* Puts number i into the low nibble of byte i and number i + 16 into the high one. */
static struct sixteen join_nibbles(const struct sixteen *low, const struct sixteen *high)
{
    const uint64_t nibbles = 0x0f0f0f0f0f0f0f0f;
    struct sixteen out;
    for (uint32_t i = 0; i < 2; i++)
        out.half[i] = (low->half[i] & nibbles) | (high->half[i] & nibbles) << 4;
    return out;
}

/* Writes the four words, from `to` on, one lane apart. */
static void put_words(const struct sixteen *words, uint32_t lane_bytes, uint8_t *to)
{
    uint8_t bytes[16];
    memcpy(bytes, words, sizeof bytes);
    for (uint32_t j = 0; j < 4; j++)
        memcpy(to + (size_t)j * lane_bytes, bytes + 4 * j, 4);
}

/* Writes the low nibbles of 32 quants into block `b` of 512 bytes. */
static void put_nibbles(const uint8_t quant[32], uint32_t row, uint32_t b, uint8_t *quants)
{
    struct sixteen front = load_sixteen(quant), back = load_sixteen(quant + 16), both = join_nibbles(&front, &back);
    put_words(&both, 16, quants + hl_tile_nibble_offset(row, 32 * b));
}

/* Writes bits 4 and 5 of the 64 quants of a chunk: each block has a nibble for two numbers that are 16 columns apart.
 * The two blocks are adjacent in the tile, as the numbers of a block are. */
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

/* Sets a nibble of a byte that two rows share; the tile begins as zeros. */
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
