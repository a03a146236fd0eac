/* The meaning of a tile's bytes, as numbers. This code is slow and plain. The kernels of every device are tested
 * against it, and rows of an embedding are read with it. */
#ifndef HOTLAYER_TILE_VALUES_H
#define HOTLAYER_TILE_VALUES_H

#include "hotlayer/half.h"
#include "hotlayer/tile.h"
#include <string.h>

#define HL_TILE_COLS_MOST 256u

static inline float hl_tile_half(const uint8_t *halves, uint32_t index)
{
    uint16_t half;
    memcpy(&half, halves + 2 * index, sizeof half);
    return hl_f16_to_f32(half);
}

static inline uint32_t hl_tile_nibble(const uint8_t *quants, uint32_t row, uint32_t col)
{
    return (uint32_t)quants[hl_tile_nibble_offset(row, col)] >> (col % 32 < 16 ? 0 : 4) & 15u;
}

/* Reads scale and minimum of a block of 32 in a chunk of q4k. */
static inline void hl_tile_q4k_block(const uint8_t *tile, uint32_t chunk, uint32_t quad, uint32_t *scale,
                                     uint32_t *minimum)
{
    uint32_t low = tile[HL_Q4K_LOW + 32 * chunk + quad];
    uint32_t high = (uint32_t)tile[HL_Q4K_HIGH + 16 * chunk + quad % 16] >> (quad < 16 ? 0 : 4);
    *scale = (low & 15u) | (high & 3u) << 4;
    *minimum = low >> 4 | (high & 12u) << 2;
}

/* Returns the six bits of a column of q6k. */
static inline uint32_t hl_tile_six_bits(const uint8_t *tile, uint32_t chunk, uint32_t row, uint32_t col)
{
    uint32_t offset = hl_tile_nibble_offset(row, col);
    uint32_t pair =
        (uint32_t)tile[HL_Q6K_HIGH + 256 * chunk + hl_tile_high_offset(offset)] >> (offset % 16 < 8 ? 0 : 4);
    uint32_t high = pair >> (col % 32 < 16 ? 0 : 2) & 3u;
    return hl_tile_nibble(tile + 512 * chunk, row, col) | high << 4;
}

static inline float hl_tile_q4k_value(const uint8_t *tile, uint32_t row, uint32_t col)
{
    uint32_t chunk = col / 64, scale, minimum;
    hl_tile_q4k_block(tile, chunk, hl_tile_quad_index(row, col % 64 / 32), &scale, &minimum);
    float d = hl_tile_half(tile + HL_Q4K_D, hl_tile_scale_index(row)) * (float)scale;
    float least = hl_tile_half(tile + HL_Q4K_DMIN, hl_tile_scale_index(row)) * (float)minimum;
    return d * (float)hl_tile_nibble(tile + 512 * chunk, row, col % 64) - least;
}

static inline float hl_tile_q6k_value(const uint8_t *tile, uint32_t row, uint32_t col)
{
    uint32_t chunk = col / 64, inside = col % 64;
    const int8_t *scales = (const int8_t *)tile + HL_Q6K_SCALES + 64 * chunk + (inside % 32 < 16 ? 0 : 32);
    float d =
        hl_tile_half(tile + HL_Q6K_D, hl_tile_scale_index(row)) * (float)scales[hl_tile_quad_index(row, inside / 32)];
    return d * (float)((int32_t)hl_tile_six_bits(tile, chunk, row, inside) - 32);
}

/* Returns a value of a float or int8 tile, whose words hold one, two or four. */
static inline float hl_tile_word_value(uint32_t type, const uint8_t *tile, uint32_t row, uint32_t col)
{
    uint32_t per_word = hl_type_traits[type].tile_cols / HL_TILE_WORDS;
    const uint8_t *word = tile + hl_tile_word_offset(row, col / per_word);
    uint16_t half;
    float value;
    if (type == HL_TYPE_TILE_F32) {
        memcpy(&value, word, sizeof value);
        return value;
    }
    if (type == HL_TYPE_TILE_Q8)
        return hl_tile_half(tile + HL_TILE_QUANT_BYTES, hl_tile_scale_index(row)) * (float)(int8_t)word[col % per_word];
    memcpy(&half, word + 2 * (col % per_word), sizeof half);
    return type == HL_TYPE_TILE_F16 ? hl_f16_to_f32(half) : hl_bf16_to_f32(half);
}

/* Returns column `col` of row `row` (0..15) of a tile. `type` must be tiled. */
static inline float hl_tile_value(uint32_t type, const uint8_t *tile, uint32_t row, uint32_t col)
{
    const uint8_t *side = tile + HL_TILE_QUANT_BYTES;
    uint32_t quad = hl_tile_quad_index(row, col % 64 / 32);
    switch (type) {
    case HL_TYPE_TILE_Q4:
        return hl_tile_half(side, quad) * (float)((int32_t)hl_tile_nibble(tile, row, col) - 8);
    case HL_TYPE_TILE_Q4M:
        return hl_tile_half(side, quad) * (float)hl_tile_nibble(tile, row, col) + hl_tile_half(side + 64, quad);
    case HL_TYPE_TILE_Q4K:
        return hl_tile_q4k_value(tile, row, col);
    case HL_TYPE_TILE_Q6K:
        return hl_tile_q6k_value(tile, row, col);
    default:
        return hl_tile_word_value(type, tile, row, col);
    }
}

/* Reads row `row` of a matrix of `cols` columns, tile by tile, and multiplies it by `scale`. */
static inline void hl_tile_row(float *out, uint32_t type, uint32_t cols, const uint8_t *matrix, uint32_t row,
                               float scale)
{
    const uint32_t width = hl_type_traits[type].tile_cols;
    const uint8_t *tile = matrix + row / HL_TILE_ROWS * hl_strip_bytes(type, cols);
    for (uint32_t first = 0; first < cols; first += width, tile += hl_type_traits[type].tile_bytes)
        for (uint32_t i = 0; i < width && first + i < cols; i++)
            out[first + i] = scale * hl_tile_value(type, tile, row % HL_TILE_ROWS, i);
}

#endif
