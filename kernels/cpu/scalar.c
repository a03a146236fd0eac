/* The reference: what every linear kernel means, in plain C.
 *
 * Slow on purpose. Sums run in double, so that a difference between this and a fast kernel is the fast kernel's. Where
 * the meaning includes a rounding of the activations (bf16, q8), it is done here exactly as in the fast kernels.
 */
#include "kernels/cpu/kernels.h"
#include <math.h>

/* The activations of one token beside q8: the int8 values, then one float32 scale per block of 32. */
static int8_t *q8_values(const struct hl_linear *linear, uint32_t token)
{
    return (int8_t *)hl_linear_scratch(linear, token);
}

static float *q8_scales(const struct hl_linear *linear, uint32_t token)
{
    return (float *)(void *)(q8_values(linear, token) + hl_round_up(linear->cols, 32));
}

static float *f32_values(const struct hl_linear *linear, uint32_t token)
{
    return (float *)(void *)hl_linear_scratch(linear, token);
}

static void prepare_f32(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    uint32_t width = hl_type_traits[linear->type].tile_cols;
    hl_linear_columns(f32_values(linear, token) + tile * width, linear, token, tile * width, width);
}

static void prepare_bf16(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float *x = f32_values(linear, token) + 16 * tile;
    hl_linear_columns(x, linear, token, 16 * tile, 16);
    for (uint32_t i = 0; i < 16; i++)
        x[i] = hl_bf16_to_f32(hl_f32_to_bf16(x[i]));
}

static void prepare_q8(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[32];
    hl_linear_columns(x, linear, token, 32 * tile, 32);
    q8_scales(linear, token)[tile] = hl_linear_q8(x, q8_values(linear, token) + 32 * tile);
}

static const uint8_t *tile_of(const struct hl_linear *linear, uint32_t row, uint32_t col)
{
    const struct hl_type_traits *traits = &hl_type_traits[linear->type];
    return linear->weight + row / HL_TILE_ROWS * hl_strip_bytes(linear->type, linear->cols) +
           (size_t)(col / traits->tile_cols) * traits->tile_bytes;
}

/* One weight of a float tile, whatever its width. */
static float weight_at(const struct hl_linear *linear, uint32_t row, uint32_t col)
{
    const uint8_t *tile = tile_of(linear, row, col);
    uint32_t width = hl_type_traits[linear->type].tile_cols, inside = col % width, per_word = width / HL_TILE_WORDS;
    const uint8_t *word = tile + hl_tile_word_offset(row % HL_TILE_ROWS, inside / per_word);
    if (linear->type == HL_TYPE_TILE_F32) {
        float value;
        memcpy(&value, word, 4);
        return value;
    }
    uint16_t half;
    memcpy(&half, word + 2 * (inside % per_word), 2);
    return linear->type == HL_TYPE_TILE_F16 ? hl_f16_to_f32(half) : hl_bf16_to_f32(half);
}

static float bias_of(const struct hl_linear *linear, uint32_t row)
{
    return linear->bias ? linear->bias[row] : 0;
}

/* Rows of this share: whole strips, as in the fast kernels. */
static void rows_of(const struct hl_linear *linear, struct hl_share strips, uint32_t *begin, uint32_t *end)
{
    hl_share_range(strips, hl_tile_strips(linear->rows), begin, end);
    *begin *= HL_TILE_ROWS;
    *end = hl_min_u32(*end * HL_TILE_ROWS, linear->rows);
}

static void linear_float(const struct hl_linear *linear, struct hl_share strips)
{
    uint32_t begin, end;
    rows_of(linear, strips, &begin, &end);
    for (uint32_t t = 0; t < linear->n; t++) {
        const float *x = f32_values(linear, t);
        for (uint32_t row = begin; row < end; row++) {
            double sum = 0;
            for (uint32_t c = 0; c < linear->cols; c++)
                sum += (double)weight_at(linear, row, c) * (double)x[c];
            linear->out[t * linear->out_stride + row] = (float)sum + bias_of(linear, row);
        }
    }
}

static double q8_block(const uint8_t *tile, uint32_t row, const int8_t *x, float scale)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < 32; i++) {
        int8_t w = (int8_t)tile[hl_tile_word_offset(row, i / 4) + i % 4];
        sum += w * x[i];
    }
    uint16_t half;
    memcpy(&half, tile + HL_TILE_QUANT_BYTES + 2 * hl_tile_scale_index(row), 2);
    return (double)sum * (double)hl_f16_to_f32(half) * (double)scale;
}

static void linear_q8(const struct hl_linear *linear, struct hl_share strips)
{
    uint32_t begin, end;
    rows_of(linear, strips, &begin, &end);
    for (uint32_t t = 0; t < linear->n; t++)
        for (uint32_t row = begin; row < end; row++) {
            double sum = 0;
            for (uint32_t c = 0; c < linear->cols; c += 32)
                sum += q8_block(tile_of(linear, row, c), row % HL_TILE_ROWS, q8_values(linear, t) + c,
                                q8_scales(linear, t)[c / 32]);
            linear->out[t * linear->out_stride + row] = (float)sum + bias_of(linear, row);
        }
}

static float dot(const float *a, const float *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

static void axpy(float *y, float a, const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void f16_load(float *to, const uint16_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = hl_f16_to_f32(from[i]);
}

static void f16_store(uint16_t *to, const float *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = hl_f32_to_f16(fminf(fmaxf(from[i], -65504.0f), 65504.0f));
}

const struct hl_kernels hl_kernels_scalar = {
    .name = "scalar",
    .prepare = {[HL_TYPE_TILE_F32] = prepare_f32,
                [HL_TYPE_TILE_F16] = prepare_f32,
                [HL_TYPE_TILE_BF16] = prepare_bf16,
                [HL_TYPE_TILE_Q8] = prepare_q8},
    .linear = {[HL_TYPE_TILE_F32] = linear_float,
               [HL_TYPE_TILE_F16] = linear_float,
               [HL_TYPE_TILE_BF16] = linear_float,
               [HL_TYPE_TILE_Q8] = linear_q8},
    .dot = dot,
    .axpy = axpy,
    .f16_load = f16_load,
    .f16_store = f16_store,
};
