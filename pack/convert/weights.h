/* Converts the weights with all threads and writes them into their shards, at the places that the writer has set. */
#ifndef HL_PACK_CONVERT_WEIGHTS_H
#define HL_PACK_CONVERT_WEIGHTS_H

#include "base/progress.h"
#include "pack/compile/plan.h"
#include "pack/convert/output.h"
#include "pack/convert/tiles.h"

struct hl_weights {
    const struct hl_plan *plan;   /* with offsets */
    uint32_t threads;             /* 0: one per core */
    struct hl_loss *losses;       /* [plan->n_tensors]: the loss of each matrix is added; or NULL */
    struct hl_progress *progress; /* or NULL */
};

/* Writes the weights. `header` has the shard table and gets the shards' checksums. `outputs`, [n_shards], are open and
 * empty. */
int hl_weights_write(const struct hl_weights *weights, struct hl_header *header, const struct hl_output *outputs,
                     struct hl_error *err);

#endif
