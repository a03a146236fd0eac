/* Quantizers: turn numbers into blocks of few bits with as small an error as the block allows. Their results are the
 * same on every processor. They return false if a number is not finite or a scale has no fp16. */
#ifndef HL_PACK_CONVERT_QUANTIZE_H
#define HL_PACK_CONVERT_QUANTIZE_H

#include "pack/source/blocks.h"

#define HL_QUANTIZE_BLOCKS 16u /* of 32 numbers, processed at once */

/* Quantizes `n` blocks, at most HL_QUANTIZE_BLOCKS, to 8 bits: scale = max|x| / 127. */
bool hl_quantize_q8(const float *x, uint32_t n, struct hl_block_q8 *out);

/* Quantizes to 4 bits. Of the scales tried, each block gets the one with the least sum of squared errors. */
bool hl_quantize_q4(const float *x, uint32_t n, struct hl_block_q4 *out);

/* Quantizes 256 numbers; the scales are found as for q4, then rounded to the block's common unit. */
bool hl_quantize_q6k(const float x[256], struct hl_block_q6k *out);

/* The quantizers for one instruction set. The functions above use the widest set that the processor has. */
struct hl_quantizers {
    bool (*q8)(const float *x, uint32_t n, struct hl_block_q8 *out);
    bool (*q4)(const float *x, uint32_t n, struct hl_block_q4 *out);
    bool (*q6k)(const float x[256], struct hl_block_q6k *out);
};

extern const struct hl_quantizers hl_quantizers_plain;
#if defined(__x86_64__)
extern const struct hl_quantizers hl_quantizers_avx2;
extern const struct hl_quantizers hl_quantizers_avx512; /* F, BW, DQ and VL */
#endif

#endif
