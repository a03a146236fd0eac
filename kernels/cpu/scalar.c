/* The reference: defines in plain C what every linear kernel computes.
 *
 * It is slow on purpose. Sums are doubles, so a difference from a fast kernel is the fast kernel's error. Where the
 * definition rounds the activations (bf16, quantized types), the rounding here is exactly that of the fast kernels.
 */
#include "base/sizes.h"
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

/* Loads `width` activations of a token, starting at column `col`, with zeros after the last. */
static void load_columns(float *to, const struct hl_linear *linear, uint32_t token, uint32_t col, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        to[i] = col + i < linear->cols ? linear->in[token * linear->in_stride + col + i] : 0;
}

/* Quantizes one block to int8 and returns its scale. */
static float quantize_block(const float x[32], int8_t values[32])
{
    float most = 0;
    for (uint32_t i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    float inverse = most > 1e-30f ? 127.0f / most : 0; /* the inverse of a smaller number may be infinite */
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

/* Returns the activation that a weight is multiplied with. */
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

#define TOKENS 32u /* decode a row's weights once for so many tokens */

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

static void multiply(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
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

/* Returns column i of the key or value in slot `slot` of a page. */
static float kv_number(const struct hl_kv_store *store, const uint8_t *half, uint32_t slot, uint32_t i, bool value)
{
    uint32_t blocks = hl_kv_blocks(store->head_dim), page = HL_KV_PAGE_TOKENS;
    size_t at = value ? (size_t)slot * blocks * 32 + i : (size_t)i * page + slot;
    size_t scale = value ? (size_t)slot * blocks + i / 32 : (size_t)(i / 32) * page + slot;
    float number;
    if (store->type == HL_KV_F16)
        return hl_tile_half(half, (uint32_t)at);
    if (store->type == HL_KV_Q8)
        return (float)(int8_t)half[at] * hl_tile_half(half + (size_t)blocks * 32 * page, (uint32_t)scale);
    memcpy(&number, half + 4 * at, sizeof number);
    return number;
}

static float score_of(const struct hl_attend *attend, const float *q, uint32_t page, uint32_t slot, uint32_t kv_head)
{
    const uint8_t *keys = hl_kv_head(attend->store, page, kv_head, false);
    double sum = 0;
    for (uint32_t i = 0; i < attend->store->head_dim; i++)
        sum += (double)q[i] * (double)kv_number(attend->store, keys, slot, i, false);
    float score = attend->scale * (float)sum;
    return attend->softcap > 0 ? attend->softcap * tanhf(score / attend->softcap) : score;
}

/* Computes one head of one token in two passes over the keys: for the largest score, and for the sums. */
static void attend_head(const struct hl_attend *attend, uint32_t t, uint32_t head)
{
    const struct hl_kv_store *store = attend->store;
    uint32_t dim = store->head_dim, position = attend->places->positions[t],
             kv_head = head / (attend->heads / store->heads);
    uint32_t first = attend->window && position >= attend->window ? position - attend->window + 1 : 0;
    const float *q = attend->q + t * attend->q_stride + (size_t)head * dim;
    float *out = attend->out + t * attend->out_stride + (size_t)head * dim, most = -INFINITY;
    double total = 0, *sums = (double *)(void *)attend->scratch;
    memset(sums, 0, dim * sizeof *sums);
    for (uint32_t p = first; p <= position; p++)
        most = fmaxf(
            most, score_of(attend, q, attend->places->pages[t][p / HL_KV_PAGE_TOKENS], p % HL_KV_PAGE_TOKENS, kv_head));
    for (uint32_t p = first; p <= position; p++) {
        uint32_t page = attend->places->pages[t][p / HL_KV_PAGE_TOKENS], slot = p % HL_KV_PAGE_TOKENS;
        double weight = exp((double)score_of(attend, q, page, slot, kv_head) - (double)most);
        const uint8_t *values = hl_kv_head(store, page, kv_head, true);
        total += weight;
        for (uint32_t i = 0; i < dim; i++)
            sums[i] += weight * (double)kv_number(store, values, slot, i, true);
    }
    for (uint32_t i = 0; i < dim; i++)
        out[i] = (float)(sums[i] / total);
}

static void attend_all(const struct hl_attend *attend, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, attend->places->n_tokens * attend->heads, &begin, &end);
    for (uint32_t i = begin; i < end; i++)
        attend_head(attend, i / attend->heads, i % attend->heads);
}

static float silu(float x)
{
    return x / (1.0f + expf(-x));
}

/* x/2 (1 + tanh(u)) = x / (1 + exp(-2u)), which keeps its precision where tanh(u) is near -1. */
static float gelu_tanh(float x)
{
    const float root_8_over_pi = 1.59576912160573071176f;
    return x / (1.0f + expf(-root_8_over_pi * (x + 0.044715f * x * x * x)));
}

static void gate_row(float *out, const float *gate, const float *up, uint32_t n, uint32_t activation)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = (activation == HL_ACTIVATION_SILU ? silu(gate[i]) : gelu_tanh(gate[i])) * up[i];
}

static void softcap(float *x, uint32_t n, float cap)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
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
    .attend = attend_all,
    .gate = gate_row,
    .softcap = softcap,
    .dot = dot,
    .f16_store = f16_store,
};
