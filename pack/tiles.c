/* convert: the only place where weights change their form, once, at build time. */
#include "pack/tiles.h"
#include "hotlayer/half.h"
#include <math.h>

uint32_t hl_padded_cols(enum hl_type type, uint32_t cols)
{
    return hl_strip_tiles(type, cols) * hl_type_traits[type].tile_cols;
}

#define BLOCK 32u /* numbers of a Q8_0 block: an fp16 scale and as many int8 */
#define BLOCK_BYTES 34u

/* Part of a row: blocks are met at both ends. */
static void q8_0_floats(const uint8_t *data, uint64_t first, uint64_t n, float *out)
{
    const uint8_t *block = data + first / BLOCK * BLOCK_BYTES;
    uint32_t skip = (uint32_t)(first % BLOCK);
    for (; n; block += BLOCK_BYTES, skip = 0) {
        uint32_t now = n < BLOCK - skip ? (uint32_t)n : BLOCK - skip;
        const int8_t *quants = (const int8_t *)block + 2 + skip;
        uint16_t half;
        memcpy(&half, block, sizeof half);
        float scale = hl_f16_to_f32(half);
        for (uint32_t i = 0; i < now; i++)
            out[i] = scale * (float)quants[i];
        out += now;
        n -= now;
    }
}

void hl_source_floats(const struct hl_source_tensor *tensor, uint64_t first, uint64_t n, float *out)
{
    if (tensor->dtype == HL_DTYPE_F32) {
        memcpy(out, tensor->data + 4 * first, n * sizeof *out);
        return;
    }
    if (tensor->dtype == HL_DTYPE_Q8_0) {
        q8_0_floats(tensor->data, first, n, out);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, tensor->data + 2 * (first + i), sizeof half);
        out[i] = tensor->dtype == HL_DTYPE_BF16 ? hl_bf16_to_f32(half) : hl_f16_to_f32(half);
    }
}

/* The part that row `row` of the tensor is in, and where in it; NULL beyond the last row. */
static const struct hl_source_tensor *find_row(const struct hl_plan_tensor *tensor, uint64_t row, uint64_t *in_part)
{
    uint32_t i = 0;
    while (i < tensor->n_parts && row >= tensor->part[i]->shape[0])
        row -= tensor->part[i++]->shape[0];
    if (i == tensor->n_parts)
        return NULL;
    *in_part = hl_source_row(tensor->part[i], row);
    return tensor->part[i];
}

/* One row as numbers, padded with zeros; a row beyond the last is all zeros. */
static void load_row(const struct hl_plan_tensor *tensor, const struct hl_source_tensor *part, uint64_t row, float *out)
{
    uint32_t cols = part ? tensor->tensor.cols : 0;
    if (part)
        hl_source_floats(part, row * cols, cols, out);
    memset(out + cols, 0, (hl_padded_cols(tensor->tensor.type, tensor->tensor.cols) - cols) * sizeof *out);
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

static void put_q8(uint16_t scale, const void *quants, uint32_t r, uint8_t *tile)
{
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(r, word), (const uint8_t *)quants + 4 * word, 4);
    memcpy(tile + HL_TILE_QUANT_BYTES + 2 * hl_tile_scale_index(r), &scale, 2);
}

static bool encode_q8(const float *row, uint32_t r, uint8_t *tile)
{
    uint16_t scale;
    int8_t quants[BLOCK];
    if (!hl_quantize_q8(row, &scale, quants))
        return false;
    put_q8(scale, quants, r, tile);
    return true;
}

/* Q8_0 has the tile's own blocks: they are taken as they are. */
static bool copy_q8(const uint8_t *block, uint32_t r, uint8_t *tile)
{
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    put_q8(scale, block + 2, r, tile);
    return (scale & 0x7c00) != 0x7c00; /* infinity or NaN */
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
    uint32_t type = tensor->tensor.type, cols = tensor->tensor.cols, tiles = hl_strip_tiles(type, cols);
    uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    for (uint32_t r = 0; r < HL_TILE_ROWS; r++) {
        uint64_t at = 0;
        const struct hl_source_tensor *part = find_row(tensor, (uint64_t)strip * HL_TILE_ROWS + r, &at);
        bool as_it_is = part && part->dtype == HL_DTYPE_Q8_0 && type == HL_TYPE_TILE_Q8;
        if (!as_it_is)
            load_row(tensor, part, at, row);
        for (uint32_t t = 0; t < tiles; t++) {
            uint8_t *tile = out + (size_t)t * bytes;
            if (as_it_is ? copy_q8(part->data + (at * tiles + t) * BLOCK_BYTES, r, tile)
                         : encode_row(type, row + (size_t)t * width, r, tile))
                continue;
            return hl_fail(err, "tensor %s: row %llu, columns from %u: a value is not finite or too large for %s",
                           tensor->tensor.name, (unsigned long long)strip * HL_TILE_ROWS + r, t * width,
                           hl_type_traits[type].name);
        }
    }
    return 0;
}
