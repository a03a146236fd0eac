/* Random tiles of every type, made of random bytes and not by the packer. Every bit pattern of the quants occurs, the
 * padding is not zero, and the test chooses the scales. tile_values.h reads their values. */
#ifndef HL_TESTS_UNIT_KERNELS_CPU_RANDOM_TILES_H
#define HL_TESTS_UNIT_KERNELS_CPU_RANDOM_TILES_H

#include "base/cleanup.h"
#include "hotlayer/tile_values.h"
#include "tests/unit/check.h"

enum scales {
    SCALES_USUAL,   /* some thousandths, of either sign */
    SCALES_EXTREME, /* zero, the smallest and the largest fp16, and any between */
};

struct tiles {
    struct hl_tensor tensor;
    uint8_t *bytes;
    double *values; /* (rows, cols) */
    double *sizes;  /* (rows, cols) sum of the magnitudes of a value's terms; with a minimum, more than |value| */
};

static inline void tiles_free(struct tiles *t)
{
    free(t->bytes);
    free(t->values);
    free(t->sizes);
}

static inline uint16_t random_scale(struct dice *dice, enum scales scales)
{
    static const uint16_t extremes[] = {0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x7bff, 0xfbff};
    if (scales == SCALES_EXTREME && dice_between(dice, 0, 1))
        return extremes[dice_between(dice, 0, 7)];
    return hl_f32_to_f16(dice_float(dice, 0.02f));
}

static inline void random_halves(struct dice *dice, uint8_t *to, uint32_t n, enum scales scales)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t scale = random_scale(dice, scales);
        memcpy(to + 2 * i, &scale, 2);
    }
}

static inline void random_floats(struct dice *dice, uint32_t type, uint8_t *tile)
{
    for (uint32_t i = 0; i < 512; i += type == HL_TYPE_TILE_F32 ? 4 : 2) {
        float number = dice_float(dice, 1);
        uint16_t half = type == HL_TYPE_TILE_F16 ? hl_f32_to_f16(number) : hl_f32_to_bf16(number);
        memcpy(tile + i, type == HL_TYPE_TILE_F32 ? (void *)&number : (void *)&half, type == HL_TYPE_TILE_F32 ? 4 : 2);
    }
}

static inline void random_tile(struct dice *dice, uint32_t type, enum scales scales, uint8_t *tile)
{
    for (uint32_t i = 0; i < hl_type_traits[type].tile_bytes; i++)
        tile[i] = (uint8_t)dice_bits(dice);
    if (type < HL_TYPE_TILE_Q8)
        random_floats(dice, type, tile);
    else if (type == HL_TYPE_TILE_Q4K)
        random_halves(dice, tile + HL_Q4K_D, 32, scales);
    else if (type == HL_TYPE_TILE_Q6K)
        random_halves(dice, tile + HL_Q6K_D, 16, scales);
    else
        random_halves(dice, tile + 512, (hl_type_traits[type].tile_bytes - 512) / 2, scales);
}

static inline double minimum_of(uint32_t type, const uint8_t *tile, uint32_t row, uint32_t col)
{
    uint32_t quad = hl_tile_quad_index(row, col % 64 / 32), scale, minimum;
    if (type == HL_TYPE_TILE_Q4M)
        return (double)hl_tile_half(tile + 576, quad);
    if (type != HL_TYPE_TILE_Q4K)
        return 0;
    hl_tile_q4k_block(tile, col / 64, quad, &scale, &minimum);
    return -(double)hl_tile_half(tile + HL_Q4K_DMIN, hl_tile_scale_index(row)) * minimum;
}

static inline struct tiles tiles_random(struct dice *dice, uint32_t type, uint32_t rows, uint32_t cols,
                                        enum scales scales)
{
    struct tiles t = {.tensor = {.name = "test", .type = type, .rows = rows, .cols = cols}};
    uint32_t strips = (rows + 15) / 16, width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    uint32_t across = (cols + width - 1) / width;
    t.bytes = malloc((size_t)strips * across * bytes); /* exactly as long as the tiles, for sanitizers */
    t.values = malloc((size_t)rows * cols * sizeof *t.values);
    t.sizes = malloc((size_t)rows * cols * sizeof *t.sizes);
    for (uint32_t i = 0; i < strips * across; i++)
        random_tile(dice, type, scales, t.bytes + (size_t)i * bytes);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const uint8_t *tile = t.bytes + ((size_t)(r / 16) * across + c / width) * bytes;
            double value = (double)hl_tile_value(type, tile, r % 16, c % width);
            double minimum = minimum_of(type, tile, r % 16, c % width);
            t.values[(size_t)r * cols + c] = value;
            t.sizes[(size_t)r * cols + c] = fabs(value - minimum) + 2 * fabs(minimum);
        }
    return t;
}

#endif
