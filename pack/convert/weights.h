/* Converts the weights with all threads and writes them into their shards, at the places that the writer has set. */
#ifndef HL_PACK_CONVERT_WEIGHTS_H
#define HL_PACK_CONVERT_WEIGHTS_H

#include "pack/convert/output.h"
#include "pack/convert/writer.h"

/* Writes the weights. `header` has the shard table and gets the shards' checksums. `outputs`, [n_shards], are open and
 * empty. */
int hl_weights_write(const struct hl_write *write, struct hl_header *header, const struct hl_output *outputs,
                     struct hl_error *err);

#endif
