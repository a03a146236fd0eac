/* Random matrices in tiles, made by the packer and read back as tile.h describes them in words. This reading of the
 * layout shares no code with the product. */
#ifndef HL_TESTS_UNIT_PACK_PACKED_WEIGHTS_H
#define HL_TESTS_UNIT_PACK_PACKED_WEIGHTS_H

#include "hotlayer/half.h"
#include "pack/convert/tiles.h"
#include "tests/unit/check.h"

/* Returns the byte offset of a row's 4-byte word: lane 4g + j holds word j of rows g and g+8, then word j+4 of rows g
 * and g+8. */
static inline size_t word_place(uint32_t row, uint32_t word)
{
    uint32_t g = row & 7, j = word & 3, quarter = (word >= 4 ? 2u : 0u) + (row >= 8 ? 1u : 0u);
    return (4 * g + j) * 16 + quarter * 4;
}

/* Returns the nibble of a column, from 512 bytes of nibbles: lane 4g + j has, for block b, row g + 8h, the columns 4j
 * to 4j + 3 low in word 2b + h, and those sixteen further high in it. */
static inline unsigned nibble_at(const uint8_t *bytes, uint32_t row, uint32_t col, uint32_t *place)
{
    uint32_t g = row & 7, h = row >> 3, b = col >> 5, high = col >> 4 & 1, j = (col & 15) >> 2, k = col & 3;
    *place = 16 * (4 * g + j) + 4 * (2 * b + h) + k;
    return high ? bytes[*place] >> 4 : bytes[*place] & 15u;
}

static inline double half_at(const uint8_t *bytes, uint32_t index)
{
    uint16_t half;
    memcpy(&half, bytes + 2 * index, 2);
    return (double)hl_f16_to_f32(half);
}

static inline double q4_number(const uint8_t *tile, uint32_t r, uint32_t c)
{
    uint32_t place;
    int nibble = (int)nibble_at(tile, r, c, &place);
    return half_at(tile + 512, 4 * (r & 7) + 2 * (c >> 5) + (r >> 3)) * (nibble - 8);
}

static inline double q6k_number(const uint8_t *tile, uint32_t r, uint32_t c)
{
    uint32_t chunk = c / 64, place, inside = c % 64;
    unsigned low = nibble_at(tile + 512 * chunk, r, inside, &place), lane = place / 16, at = place % 16;
    unsigned pair = tile[2048 + 256 * chunk + 8 * lane + (at & 7)] >> (at < 8 ? 0 : 4) & 15u;
    unsigned high = (inside & 16 ? pair >> 2 : pair) & 3u;
    int8_t scale =
        (int8_t)tile[3072 + 64 * chunk + (inside & 16 ? 32u : 0u) + 4 * (r & 7) + 2 * (inside >> 5) + (r >> 3)];
    double d = half_at(tile + 3328, r < 8 ? 2 * r : 2 * (r - 8) + 1);
    return (double)(float)(d * scale) * ((int)(low + 16 * high) - 32);
}

/* Returns the number at (row, col), with the padding counted, for the types that numbers are converted to. */
static inline double tile_number(uint32_t type, uint32_t cols, const uint8_t *bytes, uint32_t row, uint32_t col)
{
    static const struct {
        uint32_t width, size;
    } shapes[HL_TYPE_COUNT] = {
        [HL_TYPE_TILE_F32] = {8, 512}, [HL_TYPE_TILE_F16] = {16, 512}, [HL_TYPE_TILE_BF16] = {16, 512},
        [HL_TYPE_TILE_Q8] = {32, 544}, [HL_TYPE_TILE_Q4] = {64, 576},  [HL_TYPE_TILE_Q6K] = {256, 3360}};
    uint32_t width = shapes[type].width, tiles = (cols + width - 1) / width, r = row % 16, c = col % width;
    const uint8_t *tile = bytes + ((size_t)(row / 16) * tiles + col / width) * shapes[type].size;
    if (type == HL_TYPE_TILE_Q4)
        return q4_number(tile, r, c);
    if (type == HL_TYPE_TILE_Q6K)
        return q6k_number(tile, r, c);
    uint32_t element = 32 / width;
    const uint8_t *at = tile + word_place(r, c * element / 4) + c * element % 4;
    float number;
    uint16_t half;
    memcpy(&number, at, type == HL_TYPE_TILE_F32 ? 4 : 0);
    memcpy(&half, at, type == HL_TYPE_TILE_Q8 ? 0 : 2);
    if (type == HL_TYPE_TILE_F32)
        return (double)number;
    if (type == HL_TYPE_TILE_F16)
        return (double)hl_f16_to_f32(half);
    if (type == HL_TYPE_TILE_BF16)
        return (double)hl_bf16_to_f32(half);
    return half_at(tile + 512, r < 8 ? 2 * r : 2 * (r - 8) + 1) * (double)(int8_t)*at; /* scales of rows 0, 8, 1, ... */
}

struct weights {
    struct hl_plan_tensor plan; /* with tensor.type, rows and cols */
    struct hl_source_tensor source;
    uint8_t *numbers; /* the source's data, (rows, cols) of its dtype */
    uint8_t *tiles;   /* encoded */
    double *values;   /* (rows, cols) the numbers read from the tiles */
};

static inline void weights_free(struct weights *w)
{
    free(w->numbers);
    free(w->tiles);
    free(w->values);
}

/* Encodes the plan's tensor; returns false, with the error, if the packer refuses it. */
static inline bool weights_encode(struct weights *w, struct hl_error *err)
{
    const struct hl_tensor *t = &w->plan.tensor;
    uint32_t strips = (t->rows + 15) / 16;
    uint64_t strip_bytes = hl_strip_bytes(t->type, t->cols);
    HL_FREE float *row = malloc(hl_tiles_padded_cols(t->type, t->cols) * sizeof *row);
    w->tiles = malloc(strips * strip_bytes);
    memset(w->tiles, 0xa5, strips * strip_bytes);
    for (uint32_t i = 0; i < strips; i++)
        if (hl_tiles_encode(&w->plan, i, row, w->tiles + i * strip_bytes, err) < 0)
            return false;
    w->values = malloc((size_t)t->rows * t->cols * sizeof *w->values);
    for (uint32_t r = 0; r < t->rows; r++)
        for (uint32_t c = 0; c < t->cols; c++)
            w->values[(size_t)r * t->cols + c] = tile_number(t->type, t->cols, w->tiles, r, c);
    return true;
}

/* Makes a source of the dtype that a type keeps without loss (q8: float32), with numbers in [-1, 1). */
static inline struct weights weights_source(struct dice *dice, uint32_t type, uint32_t rows, uint32_t cols)
{
    struct weights w = {.plan = {.tensor = {.name = "test", .type = type, .rows = rows, .cols = cols}, .n_parts = 1}};
    size_t n = (size_t)rows * cols;
    enum hl_dtype dtype = type == HL_TYPE_TILE_F16    ? HL_DTYPE_F16
                          : type == HL_TYPE_TILE_BF16 ? HL_DTYPE_BF16
                                                      : HL_DTYPE_F32;
    size_t element = dtype == HL_DTYPE_F32 ? 4 : 2;
    w.numbers = malloc(n * element);
    for (size_t i = 0; i < n; i++) {
        float number = dice_float(dice, 1);
        uint16_t half = dtype == HL_DTYPE_F16 ? hl_f32_to_f16(number) : hl_f32_to_bf16(number);
        memcpy(w.numbers + i * element, element == 4 ? (void *)&number : (void *)&half, element);
    }
    w.source = (struct hl_source_tensor){
        .dtype = dtype, .n_dims = 2, .shape = {rows, cols}, .data = w.numbers, .bytes = n * element};
    return w;
}

static inline struct weights weights_random(struct dice *dice, uint32_t type, uint32_t rows, uint32_t cols)
{
    struct hl_error err = {.message = ""};
    struct weights w = weights_source(dice, type, rows, cols);
    w.plan.part[0] = &w.source;
    CHECK_SAY(weights_encode(&w, &err), "encoding: %s", err.message);
    w.plan.part[0] = NULL; /* it would point to this function's copy */
    return w;
}

#endif
