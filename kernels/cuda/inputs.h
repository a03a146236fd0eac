/* What a step tells the kernels, besides the weights: packed into one piece of memory, which goes to the GPU in one
 * copy.
 *
 *   tokens | positions | slots | tiles | pages | outputs | wants | adjustments | allowed tokens */
#ifndef HL_KERNELS_CUDA_INPUTS_H
#define HL_KERNELS_CUDA_INPUTS_H

#include "kernels/device.h"

struct hl_inputs {
    /* Offsets. The tiles of one token come first. */
    uint64_t tokens, positions, slots, tiles, pages, outputs, wants, adjustments, allowed, bytes;
    uint32_t n_single, n_tiles; /* tiles of one token; of several */
    uint32_t most_tokens;       /* of a tile of several */
    uint32_t single_positions;  /* the longest context of a tile of one token */
    uint32_t n_best;            /* wants that have something chosen */
};

/* Lays out the inputs of a step. */
void hl_inputs_measure(const struct hl_step *step, uint32_t vocabulary, struct hl_inputs *out);

/* Writes them to `to`, for memory that is at `base` for the GPU. */
void hl_inputs_pack(const struct hl_step *step, uint32_t vocabulary, const struct hl_inputs *inputs, uint8_t *to,
                    uint64_t base);

#endif
