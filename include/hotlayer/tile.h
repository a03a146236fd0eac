/* Weight tiles: how matrices lie in the weights' space, the same for every device.
 *
 * A matrix of `rows` outputs by `cols` inputs is cut into strips of 16 rows, and a strip into tiles of 16 rows by
 * HL_TILE_WORDS x 4 bytes of columns. Strips follow each other; within a strip, tiles go along the columns. Rows pad to
 * 16 and columns to the tile with zeros.
 *
 * A tile's quants are 512 bytes = 32 lanes x 16 bytes. Cut each of its 16 rows into eight 4-byte words (1 f32, 2 bf16
 * or f16, 4 int8). Lane 4g + j (g = 0..7, j = 0..3) holds
 *
 *     word j of row g | word j of row g+8 | word j+4 of row g | word j+4 of row g+8
 *
 * which is the A fragment of mma.m16n8k8 (tf32), .m16n8k16 (f16, bf16) and .m16n8k32 (s8) [PTX ISA, "Matrix
 * fragments"], so a GPU's warp loads a tile with one coalesced 16-byte load per lane; and 64 consecutive bytes are two
 * whole rows, so AVX-512 multiplies them by one vector of activations that all eight g share.
 *
 * Side data follow the quants of their tile. q8: 16 fp16 scales, rows in the order 0, 8, 1, 9, ..., 7, 15: the two rows
 * of a lane are neighbours. value = scale * int8; the block of 32 columns is that of GGUF's Q8_0.
 */
#ifndef HOTLAYER_TILE_H
#define HOTLAYER_TILE_H

#include "hotlayer/cleanup.h"
#include <assert.h>
#include <stdint.h>

#define HL_TILE_ROWS 16u
#define HL_TILE_WORDS 8u
#define HL_TILE_QUANT_BYTES 512u
#define HL_NAME_BYTES 40

enum hl_type {
    HL_TYPE_VECTOR,    /* float32, rows of `cols` one after another, no tiles: norm weights, biases, tables */
    HL_TYPE_TILE_F32,  /* 16 x 8 */
    HL_TYPE_TILE_F16,  /* 16 x 16 */
    HL_TYPE_TILE_BF16, /* 16 x 16 */
    HL_TYPE_TILE_Q8,   /* 16 x 32 int8, 16 fp16 scales */
    HL_TYPE_COUNT,
};

struct hl_type_traits {
    const char *name;
    uint32_t tile_cols;  /* 0: not tiled */
    uint32_t tile_bytes; /* quants and side data */
};

static const struct hl_type_traits hl_type_traits[HL_TYPE_COUNT] = {
    [HL_TYPE_VECTOR] = {"f32 vector", 0, 0}, [HL_TYPE_TILE_F32] = {"f32", 8, 512},
    [HL_TYPE_TILE_F16] = {"f16", 16, 512},   [HL_TYPE_TILE_BF16] = {"bf16", 16, 512},
    [HL_TYPE_TILE_Q8] = {"q8", 32, 544},
};

/* One row of the tensors section. */
struct hl_tensor {
    char name[HL_NAME_BYTES]; /* printable ASCII, NUL-padded, at least one NUL: "blocks.3.attn.qkv" */
    uint32_t type;            /* enum hl_type */
    uint32_t reserved;
    uint32_t rows;   /* outputs */
    uint32_t cols;   /* inputs */
    uint64_t offset; /* in the weights' space, a multiple of HL_PAGE_BYTES */
    uint64_t bytes;  /* as hl_tensor_bytes() says */
};

static_assert(sizeof(struct hl_tensor) == 72, "on-disk size");

static inline uint32_t hl_tile_strips(uint32_t rows)
{
    return rows / HL_TILE_ROWS + (rows % HL_TILE_ROWS != 0);
}

/* Tiles along the columns of one strip. */
static inline uint32_t hl_strip_tiles(uint32_t type, uint32_t cols)
{
    uint32_t width = hl_type_traits[type].tile_cols;
    return cols / width + (cols % width != 0);
}

static inline uint64_t hl_strip_bytes(uint32_t type, uint32_t cols)
{
    return (uint64_t)hl_strip_tiles(type, cols) * hl_type_traits[type].tile_bytes;
}

/* Bytes of a whole tensor; false when they do not fit in 64 bits. `type` must be below HL_TYPE_COUNT. */
static inline bool hl_tensor_bytes(uint32_t type, uint32_t rows, uint32_t cols, uint64_t *bytes)
{
    if (type == HL_TYPE_VECTOR)
        return hl_mul((uint64_t)rows * cols, sizeof(float), bytes);
    return hl_mul(hl_tile_strips(rows), hl_strip_bytes(type, cols), bytes);
}

/* Byte offset, inside a tile's quants, of 4-byte word `word` (0..7) of row `row` (0..15). */
static inline uint32_t hl_tile_word_offset(uint32_t row, uint32_t word)
{
    uint32_t lane = 4 * (row % 8) + word % 4;
    return 16 * lane + 4 * (2 * (word / 4) + row / 8);
}

/* Index, among a q8 tile's 16 scales, of row `row`. */
static inline uint32_t hl_tile_scale_index(uint32_t row)
{
    return 2 * (row % 8) + row / 8;
}

#endif
