/* convert: the only place where weights change their form, once, at build time. */
#include "pack/tiles.h"
#include "hotlayer/half.h"
#include <math.h>

uint32_t hl_padded_cols(enum hl_type type, uint32_t cols)
{
    return hl_strip_tiles(type, cols) * hl_type_traits[type].tile_cols;
}

void hl_source_floats(const struct hl_source_tensor *tensor, uint64_t first, uint64_t n, float *out)
{
    if (tensor->dtype == HL_DTYPE_F32) {
        memcpy(out, tensor->data + 4 * first, n * sizeof *out);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint16_t half;
        const uint8_t *block = tensor->data + (first + i) / 32 * 34;
        memcpy(&half, tensor->dtype == HL_DTYPE_Q8_0 ? block : tensor->data + 2 * (first + i), sizeof half);
        out[i] = tensor->dtype == HL_DTYPE_BF16 ? hl_bf16_to_f32(half) : hl_f16_to_f32(half);
        if (tensor->dtype == HL_DTYPE_Q8_0)
            out[i] *= (float)(int8_t)block[2 + (first + i) % 32];
    }
}

/* Row `row` of the tensor, wherever its part is, padded with zeros; a row beyond the last is all zeros. */
static void load_row(const struct hl_plan_tensor *tensor, uint64_t row, float *out)
{
    uint32_t cols = tensor->tensor.cols, padded = hl_padded_cols(tensor->tensor.type, cols);
    uint32_t i = 0;
    while (i < tensor->n_parts && row >= tensor->part[i]->shape[0])
        row -= tensor->part[i++]->shape[0];
    if (i < tensor->n_parts)
        hl_source_floats(tensor->part[i], hl_source_row(tensor->part[i], row) * cols, cols, out);
    else
        cols = 0;
    memset(out + cols, 0, (padded - cols) * sizeof *out);
}

bool hl_quantize_q8(const float x[32], uint16_t *scale, int8_t quants[32])
{
    float most = 0;
    for (int i = 0; i < 32; i++) {
        if (!isfinite(x[i]))
            return false;
        most = fmaxf(most, fabsf(x[i]));
    }
    *scale = hl_f32_to_f16(most / 127.0f);
    float d = hl_f16_to_f32(*scale);
    if (!isfinite(d))
        return false;
    for (int i = 0; i < 32; i++)
        quants[i] = d > 0 ? (int8_t)fmaxf(fminf(rintf(x[i] / d), 127.0f), -127.0f) : 0;
    return true;
}

static void encode_f32(const float *row, uint32_t r, uint8_t *tile)
{
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(r, word), row + word, 4);
}

/* Infinities and NaNs pass as what they are, but nothing finite may become infinite. */
static bool encode_halves(const float *row, uint32_t r, uint8_t *tile, bool bf16)
{
    const uint16_t infinity = bf16 ? 0x7f80 : 0x7c00;
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++) {
        uint16_t two[2];
        for (uint32_t i = 0; i < 2; i++) {
            float value = row[2 * word + i];
            two[i] = bf16 ? hl_f32_to_bf16(value) : hl_f32_to_f16(value);
            if ((two[i] & 0x7fff) == infinity && isfinite(value))
                return false;
        }
        memcpy(tile + hl_tile_word_offset(r, word), two, 4);
    }
    return true;
}

static bool encode_q8(const float *row, uint32_t r, uint8_t *tile)
{
    uint16_t scale;
    int8_t quants[32];
    if (!hl_quantize_q8(row, &scale, quants))
        return false;
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(r, word), quants + 4 * word, 4);
    memcpy(tile + HL_TILE_QUANT_BYTES + 2 * hl_tile_scale_index(r), &scale, 2);
    return true;
}

static bool encode_row(enum hl_type type, const float *row, uint32_t r, uint8_t *tile)
{
    if (type == HL_TYPE_TILE_Q8)
        return encode_q8(row, r, tile);
    if (type != HL_TYPE_TILE_F32)
        return encode_halves(row, r, tile, type == HL_TYPE_TILE_BF16);
    encode_f32(row, r, tile);
    return true;
}

int hl_encode_strip(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, uint8_t *out, struct hl_error *err)
{
    uint32_t type = tensor->tensor.type, tiles = hl_strip_tiles(type, tensor->tensor.cols);
    uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    for (uint32_t r = 0; r < HL_TILE_ROWS; r++) {
        load_row(tensor, (uint64_t)strip * HL_TILE_ROWS + r, row);
        for (uint32_t t = 0; t < tiles; t++) {
            if (!encode_row(type, row + (size_t)t * width, r, out + (size_t)t * bytes))
                return hl_fail(err, "tensor %s: row %llu, columns from %u: a value is not finite or too large for %s",
                               tensor->tensor.name, (unsigned long long)strip * HL_TILE_ROWS + r, t * width,
                               hl_type_traits[type].name);
        }
    }
    return 0;
}
