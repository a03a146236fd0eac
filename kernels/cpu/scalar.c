/* The reference: what every linear kernel means, in plain C.
 *
 * Slow on purpose. Sums run in double, so that a difference between this and a fast kernel is the fast kernel's. Where
 * the meaning includes a rounding of the activations (bf16, quantized types), it is done here exactly as in the fast
 * kernels.
 */
#include "hotlayer/tile_values.h"
#include "kernels/cpu/kernels.h"
#include <math.h>

static float *float_values(const struct hl_linear *linear, uint32_t token)
{
    return (float *)(void *)hl_linear_scratch(linear, token);
}

static struct hl_pair *pair_values(const struct hl_linear *linear, uint32_t token)
{
    return (struct hl_pair *)(void *)hl_linear_scratch(linear, token);
}

/* `width` activations of a token from column `col` on, zeros beyond the last. */
static void load_columns(float *to, const struct hl_linear *linear, uint32_t token, uint32_t col, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        to[i] = col + i < linear->cols ? linear->in[token * linear->in_stride + col + i] : 0;
}

/* One block: int8 values and their scale, which is returned. */
static float quantize_block(const float x[32], int8_t values[32])
{
    float most = 0;
    for (uint32_t i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    float inverse = most > 1e-30f ? 127.0f / most : 0; /* of less the inverse may be infinite */
    for (uint32_t i = 0; i < 32; i++)
        values[i] = (int8_t)lrintf(x[i] * inverse);
    return most / 127.0f;
}

static void prepare_pair(struct hl_pair *pair, const float x[64], uint32_t type)
{
    for (uint32_t b = 0; b < 2; b++) {
        int32_t sum[2] = {0, 0}, offset = hl_pair_offset(type);
        pair->scale[b] = quantize_block(x + 32 * b, pair->values + 32 * b);
        for (uint32_t i = 0; i < 32; i++)
            sum[i / 16] += pair->values[32 * b + i];
        bool halves = type == HL_TYPE_TILE_Q6K;
        pair->start[2 * b] = -offset * (halves ? sum[0] : sum[0] + sum[1]);
        pair->start[2 * b + 1] = halves ? -offset * sum[1] : 0;
        pair->sum[b] = pair->scale[b] * (float)(sum[0] + sum[1]);
    }
}

static void prepare_piece(const struct hl_linear *linear, uint32_t token, uint32_t first, uint32_t end)
{
    float x[64];
    if (hl_type_is_quantized(linear->type)) {
        for (uint32_t col = first; col < end; col += 64) {
            load_columns(x, linear, token, col, 64);
            prepare_pair(pair_values(linear, token) + col / 64, x, linear->type);
        }
    } else if (linear->type == HL_TYPE_TILE_BF16) {
        uint16_t *to = (uint16_t *)(void *)hl_linear_scratch(linear, token);
        for (uint32_t col = first; col < end; col++) {
            load_columns(x, linear, token, col, 1);
            to[col] = hl_f32_to_bf16(x[0]);
        }
    } else {
        load_columns(float_values(linear, token) + first, linear, token, first, end - first);
    }
}

static void prepare(const struct hl_linear *linear, struct hl_share share)
{
    uint32_t begin, end, pieces = hl_linear_pieces(linear), padded = hl_linear_padded(linear);
    hl_share_range(share, linear->n * pieces, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t first = i % pieces * HL_PIECE;
        prepare_piece(linear, i / pieces, first, hl_min_u32(first + HL_PIECE, padded));
    }
}

/* The number that a weight meets. */
static double activation(const struct hl_linear *linear, uint32_t token, uint32_t col)
{
    if (hl_type_is_quantized(linear->type)) {
        const struct hl_pair *pair = pair_values(linear, token) + col / 64;
        return (double)pair->values[col % 64] * (double)pair->scale[col % 64 / 32];
    }
    if (linear->type == HL_TYPE_TILE_BF16)
        return (double)hl_bf16_to_f32(((const uint16_t *)(const void *)hl_linear_scratch(linear, token))[col]);
    return (double)float_values(linear, token)[col];
}

#define TOKENS 32u /* for which a row's weights are decoded once */

static void linear_row(const struct hl_linear *linear, uint32_t row, uint32_t token, uint32_t n)
{
    double sum[TOKENS] = {0};
    const struct hl_type_traits *traits = &hl_type_traits[linear->type];
    const uint8_t *tile = linear->weight + row / HL_TILE_ROWS * hl_strip_bytes(linear->type, linear->cols);
    for (uint32_t col = 0; col < linear->cols; col++) {
        uint32_t inside = col % traits->tile_cols;
        double weight = (double)hl_tile_value(linear->type, tile + col / traits->tile_cols * (size_t)traits->tile_bytes,
                                              row % HL_TILE_ROWS, inside);
        for (uint32_t t = 0; t < n; t++)
            sum[t] += weight * activation(linear, token + t, col);
    }
    for (uint32_t t = 0; t < n; t++)
        linear->out[(token + t) * linear->out_stride + row] = (float)sum[t] + (linear->bias ? linear->bias[row] : 0);
}

/* Whole strips, as in the fast kernels. */
static void multiply(const struct hl_linear *linear, struct hl_share strips)
{
    uint32_t begin, end;
    hl_share_range(strips, hl_tile_strips(linear->rows), &begin, &end);
    end = hl_min_u32(end * HL_TILE_ROWS, linear->rows);
    for (uint32_t row = begin * HL_TILE_ROWS; row < end; row++)
        for (uint32_t token = 0; token < linear->n; token += TOKENS)
            linear_row(linear, row, token, hl_min_u32(TOKENS, linear->n - token));
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
    .prepare = prepare,
    .linear = multiply,
    .dot = dot,
    .axpy = axpy,
    .f16_load = f16_load,
    .f16_store = f16_store,
};
