/* Writes a .hot file: the head and its shards, in the order of the plan, each byte once. */
#ifndef HL_PACK_CONVERT_WRITER_H
#define HL_PACK_CONVERT_WRITER_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/progress.h"
#include "hotlayer/layout.h"
#include "pack/compile/plan.h"
#include "pack/convert/tiles.h"

struct hl_write {
    const char *path;             /* MODEL.hot */
    struct hl_plan *plan;         /* hl_writer_place() sets its offsets */
    struct hl_view meta;          /* JSON */
    struct hl_view tokenizer;     /* section */
    struct hl_view template;      /* section, or empty */
    uint64_t shard_bytes;         /* at most this much in a shard; a larger tensor is cut at multiples of 2 MiB */
    uint32_t threads;             /* for the conversion; 0: one per core */
    struct hl_loss *losses;       /* [plan->n_tensors], zeros: the loss of each matrix is added; or NULL */
    struct hl_progress *progress; /* or NULL */
};

/* The sizes of the files written. */
struct hl_written {
    uint64_t head_bytes, weight_bytes;
    uint32_t n_shards;
};

/* Writes the files. They get their names only when all are complete and on disk, the head last. After a failure none
 * has its name, and no file is left. Removes shards of an earlier, longer model with the same name. */
int hl_writer_write(const struct hl_write *write, struct hl_written *out, struct hl_error *err);

/* Places tensors and cuts shards: sets the offsets of plan->tensors and the shard table of the header. Shards end at
 * tensor boundaries; a tensor larger than a shard is cut at multiples of HL_SHARD_ALIGN. */
int hl_writer_place(struct hl_plan *plan, uint64_t shard_bytes, struct hl_header *header, struct hl_error *err);

#endif
