/* Weight tiles: the layout of matrices in the weights' space, the same for every device.
 *
 * A matrix of `rows` outputs by `cols` inputs is cut into strips of 16 rows, and a strip into tiles of 16 rows by
 * HL_TILE_WORDS x 4 bytes of columns. Strips follow each other; within a strip, tiles go along the columns. Rows are
 * padded to 16, and columns to the tile, with zeros.
 *
 * The quants of a tile are 512 bytes = 32 lanes x 16 bytes. Cut each of its 16 rows into eight words of 4 bytes (1 f32,
 * 2 bf16 or f16, 4 int8). Lane 4g + j (g = 0..7, j = 0..3) holds
 *
 *     word j of row g | word j of row g+8 | word j+4 of row g | word j+4 of row g+8
 *
 * This is the A fragment of mma.m16n8k8 (tf32), .m16n8k16 (f16, bf16) and .m16n8k32 (s8) [PTX ISA, "Matrix fragments"],
 * so a warp of a GPU loads a tile with one coalesced 16-byte load per lane. 64 consecutive bytes are two whole rows, so
 * AVX-512 multiplies them by one vector of activations, which is the same for all eight g.
 *
 * Quants of 4 bits: 512 bytes hold 16 rows x 64 columns, two blocks of 32. For block b and the rows g and g+8, lane 4g
 * + j holds the columns 4j..4j+3 in the low nibbles of a word, and 16+4j..16+4j+3 in the high nibbles:
 *
 *     word j of row g, block 0 | word j of row g+8, block 0 | word j of row g, block 1 | word j of row g+8, block 1
 *
 * So (word & 0x0f0f0f0f) and (word >> 4 & 0x0f0f0f0f) are the A fragments of mma.m16n8k32.s8, again without a shuffle,
 * and the nibbles of a block are those of GGUF's Q4_0.
 *
 * Side data come after the quants of their tile, in one of two orders of rows. "pairs" is 0, 8, 1, 9, ..., 7, 15: the
 * two rows of a lane are neighbors. "quads" has row g + 8h and block b at 4g + 2b + h: the four numbers for the four
 * words of a lane are neighbors.
 *
 *   q8    16 x 32    16 fp16 scales (pairs)
 *                    scale * int8                                                    as Q8_0
 *   q4    16 x 64    32 fp16 scales (quads)
 *                    scale * (nibble - 8)                                            as Q4_0
 *   q4m   16 x 64    32 fp16 scales (quads), 32 fp16 minima (quads)
 *                    scale * nibble + minimum                                        as Q4_1
 *   q4k   16 x 256   four chunks of 512 bytes, each 64 columns of quants;
 *                    16 fp16 d (pairs), 16 fp16 dmin (pairs);
 *                    for each chunk 32 bytes (quads): scale & 15 | (minimum & 15) << 4;
 *                    for each chunk 16 bytes, byte i for the numbers i (low nibble) and 16 + i (high nibble):
 *                    scale >> 4 | (minimum >> 4) << 2
 *                    d * scale * nibble - dmin * minimum                             as Q4_K
 *   q6k   16 x 256   four chunks of 512 bytes: the low 4 bits of 64 columns;
 *                    four chunks of 256 bytes: their high 2 bits, eight bytes a lane, byte i for the lane's quant
 *                    bytes i (low nibble) and 8 + i (high nibble); each nibble is
 *                    the two bits of that byte's low nibble | those of its high nibble << 2;
 *                    for each chunk 32 int8 scales (quads) of columns 0 to 15 of the blocks,
 *                    and 32 of columns 16 to 31;
 *                    16 fp16 d (pairs)
 *                    d * scale * (six bits - 32)                                     as Q6_K
 *
 * Products are computed in float32, in the order in which they are written here, as GGUF's reference does.
 */
#ifndef HOTLAYER_TILE_H
#define HOTLAYER_TILE_H

#include "base/cleanup.h"
#include "base/sizes.h"
#include <assert.h>
#include <stdint.h>

#define HL_TILE_ROWS 16u
#define HL_TILE_WORDS 8u
#define HL_TILE_QUANT_BYTES 512u
#define HL_NAME_BYTES 40

enum hl_type {
    HL_TYPE_VECTOR,    /* float32, row after row of `cols`, not tiled: norm weights, biases, tables */
    HL_TYPE_TILE_F32,  /* 16 x 8 */
    HL_TYPE_TILE_F16,  /* 16 x 16 */
    HL_TYPE_TILE_BF16, /* 16 x 16 */
    HL_TYPE_TILE_Q8,   /* 16 x 32 int8 */
    HL_TYPE_TILE_Q4,   /* 16 x 64 */
    HL_TYPE_TILE_Q4M,  /* 16 x 64, with minima */
    HL_TYPE_TILE_Q4K,  /* 16 x 256 */
    HL_TYPE_TILE_Q6K,  /* 16 x 256 */
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
    [HL_TYPE_TILE_Q8] = {"q8", 32, 544},     [HL_TYPE_TILE_Q4] = {"q4", 64, 576},
    [HL_TYPE_TILE_Q4M] = {"q4m", 64, 640},   [HL_TYPE_TILE_Q4K] = {"q4k", 256, 2304},
    [HL_TYPE_TILE_Q6K] = {"q6k", 256, 3360},
};

/* A row of the tensors section. */
struct hl_tensor {
    char name[HL_NAME_BYTES]; /* printable ASCII, NUL-padded, at least one NUL: "blocks.3.attn.qkv" */
    uint32_t type;            /* enum hl_type */
    uint32_t reserved;
    uint32_t rows;   /* outputs */
    uint32_t cols;   /* inputs */
    uint64_t offset; /* in the weights' space, a multiple of HL_PAGE_BYTES */
    uint64_t bytes;  /* must equal hl_tensor_bytes() */
};

static_assert(sizeof(struct hl_tensor) == 72, "on-disk size");

static inline uint32_t hl_tile_strips(uint32_t rows)
{
    return rows / HL_TILE_ROWS + (rows % HL_TILE_ROWS != 0);
}

/* Returns the tiles along the columns of one strip. */
static inline uint32_t hl_strip_tiles(uint32_t type, uint32_t cols)
{
    uint32_t width = hl_type_traits[type].tile_cols;
    return cols / width + (cols % width != 0);
}

static inline uint64_t hl_strip_bytes(uint32_t type, uint32_t cols)
{
    return (uint64_t)hl_strip_tiles(type, cols) * hl_type_traits[type].tile_bytes;
}

/* Computes the bytes of a whole tensor. Returns false if they do not fit in 64 bits. `type` must be below
 * HL_TYPE_COUNT. */
static inline bool hl_tensor_bytes(uint32_t type, uint32_t rows, uint32_t cols, uint64_t *bytes)
{
    if (type == HL_TYPE_VECTOR)
        return hl_mul((uint64_t)rows * cols, sizeof(float), bytes);
    return hl_mul(hl_tile_strips(rows), hl_strip_bytes(type, cols), bytes);
}

/* Returns the byte offset, inside a tile's quants, of the 4-byte word `word` (0..7) of row `row` (0..15). */
static inline uint32_t hl_tile_word_offset(uint32_t row, uint32_t word)
{
    uint32_t lane = 4 * (row % 8) + word % 4;
    return 16 * lane + 4 * (2 * (word / 4) + row / 8);
}

/* Returns the index of row `row` among the 16 scales of a q8 tile. */
static inline uint32_t hl_tile_scale_index(uint32_t row)
{
    return 2 * (row % 8) + row / 8;
}

/* Returns the byte offset, inside 512 bytes of 4-bit quants, of column `col` (0..63) of row `row` (0..15). The column
 * is in the low nibble if col % 32 < 16. */
static inline uint32_t hl_tile_nibble_offset(uint32_t row, uint32_t col)
{
    uint32_t lane = 4 * (row % 8) + col % 16 / 4;
    return 16 * lane + 4 * (2 * (col / 32) + row / 8) + col % 4;
}

/* Returns the index, in the order "quads", of row `row` and block `block` (0 or 1) of 32 columns. */
static inline uint32_t hl_tile_quad_index(uint32_t row, uint32_t block)
{
    return 4 * (row % 8) + 2 * block + row / 8;
}

/* Returns the byte offset, inside the 256 bytes of high bits of a q6k chunk, of the bits of the quant byte at `offset`
 * (as hl_tile_nibble_offset() returns it). They are in the low nibble if offset % 16 < 8. */
static inline uint32_t hl_tile_high_offset(uint32_t offset)
{
    return offset / 16 * 8 + offset % 8;
}

/* Offsets of side data in the tiles of 256 columns. */
enum {
    HL_Q4K_D = 2048, /* 16 fp16, then 16 fp16 dmin */
    HL_Q4K_DMIN = HL_Q4K_D + 32,
    HL_Q4K_LOW = HL_Q4K_DMIN + 32,      /* 4 x 32 */
    HL_Q4K_HIGH = HL_Q4K_LOW + 128,     /* 4 x 16 */
    HL_Q6K_HIGH = 2048,                 /* 4 x 256 */
    HL_Q6K_SCALES = HL_Q6K_HIGH + 1024, /* 4 x (32 + 32) */
    HL_Q6K_D = HL_Q6K_SCALES + 256,     /* 16 fp16 */
};

#endif
