/* The blocks of quantized numbers, in a .gguf [ggml-common.h, ggml-quants.c: dequantize_row_*] and on their way into a
 * tile (hotlayer/tile.h). Here each 4-bit quant has a byte of its own, which is easy to fill, to copy and to test. */
#ifndef HL_PACK_SOURCE_BLOCKS_H
#define HL_PACK_SOURCE_BLOCKS_H

#include "hotlayer/tile.h"
#include "pack/source/source.h"

/* 32 numbers: scale * quant. */
struct hl_block_q8 {
    uint16_t scale;
    int8_t quant[32];
};

/* 32 numbers: scale * (quant - 8), or with a minimum scale * quant + minimum. Scale and minimum are the bits of an
 * fp16. */
struct hl_block_q4 {
    uint16_t scale, minimum;
    uint8_t quant[32]; /* 0..15 */
};

/* 256 numbers: d * scale[b] * quant - dmin * minimum[b], where b is the number's block of 32. */
struct hl_block_q4k {
    uint16_t d, dmin;
    uint8_t scale[8], minimum[8]; /* 0..63 */
    uint8_t quant[256];           /* 0..15 */
};

/* 256 numbers: d * scale[b] * (quant - 32), where b is the number's block of 16. */
struct hl_block_q6k {
    uint16_t d;
    int8_t scale[16];
    uint8_t quant[256]; /* 0..63 */
};

/* Computes the numbers of one block as GGUF's reference does. `out` holds hl_dtype_block() floats. */
void hl_block_floats(enum hl_dtype dtype, const uint8_t *block, float *out);

/* Read a block whose quants a tile holds unchanged. */
void hl_block_read_q4(const uint8_t *block, bool minimum, struct hl_block_q4 *out); /* Q4_0; Q4_1 with a minimum */
void hl_block_read_q4k(const uint8_t *block, struct hl_block_q4k *out);
void hl_block_read_q6k(const uint8_t *block, struct hl_block_q6k *out);
void hl_block_read_q8(const uint8_t *block, struct hl_block_q8 *out); /* Q8_0; others may write -128 */
void hl_block_read_q5(const uint8_t *block, struct hl_block_q8 *out); /* Q5_0 */

/* Reads `n` numbers of a source tensor, starting at number `first`, as float32. This is exact: no source type is wider.
 */
void hl_source_floats(const struct hl_source_tensor *tensor, uint64_t first, uint64_t n, float *out);

#endif
