/* Copies blocks into tiles, bit by bit (hotlayer/tile.h). */
#ifndef HL_PACK_CONVERT_TILE_BLOCKS_H
#define HL_PACK_CONVERT_TILE_BLOCKS_H

#include "pack/source/blocks.h"

/* Copy a block into row `row` (0..15) of a tile of zeros; q4 and q4m into its block `b` (0 or 1). */
void hl_block_put_q8(const struct hl_block_q8 *block, uint32_t row, uint8_t *tile);
void hl_block_put_q4(const struct hl_block_q4 *block, bool minimum, uint32_t row, uint32_t b, uint8_t *tile);
void hl_block_put_q4k(const struct hl_block_q4k *block, uint32_t row, uint8_t *tile);
void hl_block_put_q6k(const struct hl_block_q6k *block, uint32_t row, uint8_t *tile);

#endif
