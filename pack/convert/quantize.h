/* Quantizers: numbers become blocks of few bits, with as small an error as the block allows. All give the same result
 * on every processor. They return false when a number is not finite, or a scale has no fp16. */
#ifndef HL_PACK_CONVERT_QUANTIZE_H
#define HL_PACK_CONVERT_QUANTIZE_H

#include "pack/source/blocks.h"

#define HL_QUANTIZE_BLOCKS 16u /* of 32 numbers, that are worked on at once */

/* `n` blocks, at most HL_QUANTIZE_BLOCKS. q8: scale = max|x| / 127. */
bool hl_quantize_q8(const float *x, uint32_t n, struct hl_block_q8 *out);

/* The same for 4 bits, each block with the scale that makes the sum of its squared errors least, of those tried. */
bool hl_quantize_q4(const float *x, uint32_t n, struct hl_block_q4 *out);

/* 256 numbers; scales as for q4, then rounded to the block's common unit. */
bool hl_quantize_q6k(const float x[256], struct hl_block_q6k *out);

/* The same for one instruction set each; of the processor's own the functions above take the widest. */
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
