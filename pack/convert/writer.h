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
    const char *path;         /* MODEL.hot */
    struct hl_plan *plan;     /* hl_place() fills in its offsets */
    struct hl_view meta;      /* JSON */
    struct hl_view tokenizer; /* section */
    struct hl_view template;  /* section, or empty */
    uint64_t shard_bytes;   /* at most this much per shard, unless a single tensor is larger: those are cut at 2 MiB */
    uint32_t threads;       /* for the conversion; 0: one per core */
    struct hl_loss *losses; /* [plan->n_tensors], zeros: adds up what each matrix loses; or NULL */
    struct hl_progress *progress; /* or NULL */
};

/* What was written. */
struct hl_written {
    uint64_t head_bytes, weight_bytes;
    uint32_t n_shards;
};

/* The files get their names only when all of them are complete and on disk, the head last; on failure none does, and
 * nothing is left behind. Shards of an earlier, longer model under the same name are removed. */
int hl_writer_write(const struct hl_write *write, struct hl_written *out, struct hl_error *err);

/* Places tensors and cuts shards: fills the offsets of plan->tensors and the shard table of the header. At tensor
 * boundaries, except that a tensor larger than a shard is cut at multiples of HL_SHARD_ALIGN. */
int hl_place(struct hl_plan *plan, uint64_t shard_bytes, struct hl_header *header, struct hl_error *err);

#endif
