/* Writes the weights into their shards: what the writer's plan has placed, converted with all threads. */
#ifndef HL_PACK_CONVERT_WEIGHTS_H
#define HL_PACK_CONVERT_WEIGHTS_H

#include "pack/convert/output.h"
#include "pack/convert/writer.h"

/* header: has the shard table, and gets the shards' checksums. outputs: [n_shards], open and empty. */
int hl_weights_write(const struct hl_write *write, struct hl_header *header, const struct hl_output *outputs,
                     struct hl_error *err);

#endif
