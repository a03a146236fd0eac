/* The conversion: the only place where weights change their representation, once, at build time. */
#include "pack/convert/tiles.h"
#include "base/sizes.h"
#include "hotlayer/tile_values.h"
#include "pack/convert/quantize.h"
#include "pack/convert/tile_blocks.h"
#include "pack/source/blocks.h"
#include <math.h>

uint32_t hl_tiles_padded_cols(enum hl_type type, uint32_t cols)
{
    return hl_strip_tiles(type, cols) * hl_type_traits[type].tile_cols;
}

/* Finds the part that contains row `row` of the tensor, and the row within it; NULL after the last row. */
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

/* Loads one row as numbers, padded with zeros. */
static void load_row(const struct hl_plan_tensor *tensor, const struct hl_source_tensor *part, uint64_t row, float *out)
{
    uint32_t cols = tensor->tensor.cols;
    hl_source_floats(part, row * cols, cols, out);
    memset(out + cols, 0, (hl_tiles_padded_cols(tensor->tensor.type, tensor->tensor.cols) - cols) * sizeof *out);
}

static void encode_f32(const float *row, uint32_t r, uint8_t *tile)
{
    for (uint32_t word = 0; word < HL_TILE_WORDS; word++)
        memcpy(tile + hl_tile_word_offset(r, word), row + word, 4);
}

/* Encodes a row. Infinities and NaNs stay what they are; fails if a finite value would become infinite. */
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

static bool is_finite_half(uint16_t bits)
{
    return (bits & 0x7c00) != 0x7c00;
}

static bool encode_eights(const float *row, uint32_t n, uint32_t r, uint8_t *tiles)
{
    struct hl_block_q8 blocks[HL_QUANTIZE_BLOCKS];
    if (!hl_quantize_q8(row, n, blocks))
        return false;
    for (uint32_t b = 0; b < n; b++)
        hl_block_put_q8(&blocks[b], r, tiles + (size_t)b * hl_type_traits[HL_TYPE_TILE_Q8].tile_bytes);
    return true;
}

static bool encode_fours(const float *row, uint32_t n, uint32_t r, uint8_t *tiles)
{
    struct hl_block_q4 blocks[HL_QUANTIZE_BLOCKS];
    if (!hl_quantize_q4(row, n, blocks))
        return false;
    for (uint32_t b = 0; b < n; b++)
        hl_block_put_q4(&blocks[b], false, r, b % 2,
                        tiles + (size_t)(b / 2) * hl_type_traits[HL_TYPE_TILE_Q4].tile_bytes);
    return true;
}

static bool encode_six(const float *row, uint32_t r, uint8_t *tile)
{
    struct hl_block_q6k block;
    if (!hl_quantize_q6k(row, &block))
        return false;
    hl_block_put_q6k(&block, r, tile);
    return true;
}

/* Encodes `n` tiles of a row, at most tiles_at_once(). */
static bool encode_tiles(enum hl_type type, const float *row, uint32_t n, uint32_t r, uint8_t *tiles)
{
    switch (type) {
    case HL_TYPE_TILE_F32:
        encode_f32(row, r, tiles);
        return true;
    case HL_TYPE_TILE_Q8:
        return encode_eights(row, n, r, tiles);
    case HL_TYPE_TILE_Q4:
        return encode_fours(row, 2 * n, r, tiles);
    case HL_TYPE_TILE_Q6K:
        return encode_six(row, r, tiles);
    case HL_TYPE_TILE_F16:
    case HL_TYPE_TILE_BF16:
        return encode_halves(row, r, tiles, type == HL_TYPE_TILE_BF16);
    default: /* a type for blocks of a .gguf alone; numbers are not converted to it */
        return false;
    }
}

static uint32_t tiles_at_once(enum hl_type type)
{
    if (type == HL_TYPE_TILE_Q8)
        return HL_QUANTIZE_BLOCKS;
    return type == HL_TYPE_TILE_Q4 ? HL_QUANTIZE_BLOCKS / 2 : 1;
}

/* Returns whether a type's tiles can represent this dtype's blocks exactly. */
static bool holds_blocks(enum hl_type type, enum hl_dtype dtype)
{
    switch (dtype) {
    case HL_DTYPE_Q8_0:
    case HL_DTYPE_Q5_0:
        return type == HL_TYPE_TILE_Q8;
    case HL_DTYPE_Q4_0:
        return type == HL_TYPE_TILE_Q4;
    case HL_DTYPE_Q4_1:
        return type == HL_TYPE_TILE_Q4M;
    case HL_DTYPE_Q4_K:
        return type == HL_TYPE_TILE_Q4K;
    case HL_DTYPE_Q6_K:
        return type == HL_TYPE_TILE_Q6K;
    default:
        return false;
    }
}

static bool copy_eights(enum hl_dtype dtype, const uint8_t *from, uint32_t r, uint8_t *tile)
{
    struct hl_block_q8 block;
    if (dtype == HL_DTYPE_Q5_0)
        hl_block_read_q5(from, &block);
    else
        hl_block_read_q8(from, &block);
    hl_block_put_q8(&block, r, tile);
    return is_finite_half(block.scale);
}

/* Copies block `b` of a row, counted in the source's blocks, into its tile. */
static bool copy_block(enum hl_dtype dtype, const uint8_t *from, uint32_t r, uint32_t b, uint8_t *tile)
{
    struct hl_block_q4 q4;
    struct hl_block_q4k q4k;
    struct hl_block_q6k q6k;
    switch (dtype) {
    case HL_DTYPE_Q4_0:
    case HL_DTYPE_Q4_1:
        hl_block_read_q4(from, dtype == HL_DTYPE_Q4_1, &q4);
        hl_block_put_q4(&q4, dtype == HL_DTYPE_Q4_1, r, b % 2, tile);
        return is_finite_half(q4.scale) && is_finite_half(q4.minimum);
    case HL_DTYPE_Q4_K:
        hl_block_read_q4k(from, &q4k);
        hl_block_put_q4k(&q4k, r, tile);
        return is_finite_half(q4k.d) && is_finite_half(q4k.dmin);
    case HL_DTYPE_Q6_K:
        hl_block_read_q6k(from, &q6k);
        hl_block_put_q6k(&q6k, r, tile);
        return is_finite_half(q6k.d);
    default:
        return copy_eights(dtype, from, r, tile);
    }
}

static int bad_value(const struct hl_plan_tensor *tensor, uint64_t row, uint32_t col, struct hl_error *err)
{
    return hl_fail(err, "tensor %s: row %llu, columns from %u: a value is not finite or too large for %s",
                   tensor->tensor.name, (unsigned long long)row, col, hl_type_traits[tensor->tensor.type].name);
}

static int copy_row(const struct hl_plan_tensor *tensor, const struct hl_source_tensor *part, uint64_t at, uint64_t row,
                    uint8_t *out, struct hl_error *err)
{
    const struct hl_type_traits *traits = &hl_type_traits[tensor->tensor.type];
    uint32_t numbers = hl_dtype_block(part->dtype), bytes = hl_dtype_block_bytes(part->dtype);
    uint32_t blocks = tensor->tensor.cols / numbers, per_tile = traits->tile_cols / numbers;
    for (uint32_t b = 0; b < blocks; b++)
        if (!copy_block(part->dtype, part->data + (at * blocks + b) * bytes, (uint32_t)(row % HL_TILE_ROWS), b,
                        out + (size_t)(b / per_tile) * traits->tile_bytes))
            return bad_value(tensor, row, b * numbers, err);
    return 0;
}

int hl_tiles_encode(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, uint8_t *out, struct hl_error *err)
{
    uint32_t type = tensor->tensor.type, cols = tensor->tensor.cols, tiles = hl_strip_tiles(type, cols);
    uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    uint32_t at_once = tiles_at_once(type);
    memset(out, 0, (size_t)tiles * bytes);
    for (uint32_t r = 0; r < HL_TILE_ROWS; r++) {
        uint64_t number = (uint64_t)strip * HL_TILE_ROWS + r, at = 0;
        const struct hl_source_tensor *part = find_row(tensor, number, &at);
        if (!part)
            continue; /* padding */
        if (holds_blocks(type, part->dtype)) {
            if (copy_row(tensor, part, at, number, out, err))
                return -1;
            continue;
        }
        load_row(tensor, part, at, row);
        for (uint32_t t = 0; t < tiles; t += at_once)
            if (!encode_tiles(type, row + (size_t)t * width, hl_min_u32(at_once, tiles - t), r,
                              out + (size_t)t * bytes))
                return bad_value(tensor, number, t * width, err);
    }
    return 0;
}

static void add_tile_loss(enum hl_type type, const float *numbers, uint32_t n, uint32_t r, const uint8_t *tile,
                          struct hl_loss *loss)
{
    for (uint32_t col = 0; col < n; col++) {
        double was = (double)numbers[col], is = (double)hl_tile_value(type, tile, r, col);
        if (isnan(was))
            continue;
        double difference = was == is ? 0 : was - is; /* equal infinities have no difference */
        loss->error += difference * difference;
        loss->energy += was * was;
    }
}

struct hl_loss hl_tiles_loss(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, const uint8_t *tiles)
{
    uint32_t type = tensor->tensor.type, cols = tensor->tensor.cols;
    uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    struct hl_loss loss = {0, 0};
    for (uint32_t r = 0; r < HL_TILE_ROWS; r++) {
        uint64_t at = 0;
        const struct hl_source_tensor *part = find_row(tensor, (uint64_t)strip * HL_TILE_ROWS + r, &at);
        if (!part)
            break;
        load_row(tensor, part, at, row);
        for (uint32_t first = 0; first < cols; first += width)
            add_tile_loss(type, row + first, hl_min_u32(width, cols - first), r,
                          tiles + (size_t)(first / width) * bytes, &loss);
    }
    return loss;
}
