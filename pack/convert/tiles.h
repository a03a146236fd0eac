/* Converts numbers into tiles (hotlayer/tile.h). */
#ifndef HL_PACK_CONVERT_TILES_H
#define HL_PACK_CONVERT_TILES_H

#include "base/error.h"
#include "pack/compile/plan.h"

/* Returns the number of columns to which `type` pads `cols`. */
uint32_t hl_tiles_padded_cols(enum hl_type type, uint32_t cols);

/* Encodes strip `strip` of a tiled tensor into `out`, hl_strip_bytes() long. `row` is scratch for
 * hl_tiles_padded_cols() floats. Blocks that the tile's type can represent are copied bit by bit. Fails if a value is
 * out of the type's range. */
int hl_tiles_encode(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, uint8_t *out,
                    struct hl_error *err);

/* The loss of a conversion, as sums of squares: of the differences from the source, and of the source. */
struct hl_loss {
    double error, energy;
};

/* Computes the loss of a strip that hl_tiles_encode() made, by comparing the source with the tiles. `row` is scratch as
 * there. NaNs of the source are skipped. */
struct hl_loss hl_tiles_loss(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, const uint8_t *tiles);

#endif
