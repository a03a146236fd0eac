/* Numbers into tiles (hotlayer/tile.h): the conversion itself. */
#ifndef HL_PACK_CONVERT_TILES_H
#define HL_PACK_CONVERT_TILES_H

#include "base/error.h"
#include "pack/compile/plan.h"

/* Columns of `type` that `cols` pad to. */
uint32_t hl_tiles_padded_cols(enum hl_type type, uint32_t cols);

/* Encodes strip `strip` of a tiled tensor into `out`, hl_strip_bytes() long. `row` is scratch for
 * hl_tiles_padded_cols() floats. Blocks that a tile can hold go into it bit by bit. Fails when a value has no place in
 * the type. */
int hl_tiles_encode(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, uint8_t *out,
                    struct hl_error *err);

/* What a conversion costs, as sums of squares: of the differences to what there was, and of what there was. */
struct hl_loss {
    double error, energy;
};

/* The loss of a strip that hl_tiles_encode() made: what the source says beside what the tiles say. `row` is scratch as
 * for it. NaNs of the source are passed over. */
struct hl_loss hl_tiles_loss(const struct hl_plan_tensor *tensor, uint32_t strip, float *row, const uint8_t *tiles);

#endif
