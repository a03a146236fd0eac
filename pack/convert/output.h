/* The files that a model is written to; each has a name that ends in ".part" until all of them are complete. */
#ifndef HL_PACK_CONVERT_OUTPUT_H
#define HL_PACK_CONVERT_OUTPUT_H

#include "base/error.h"
#include "runtime/model/hot.h"

struct hl_output {
    char path[HL_PATH_BYTES], part[HL_PATH_BYTES];
    int fd; /* -1: not open */
};

/* Opens and locks shard `index` of the model at `path`; HL_NONE: its head. Fails if the name belongs to a file that is
 * not a model, or if another process is writing it. */
int hl_output_open(const char *path, uint32_t index, struct hl_output *out, struct hl_error *err);

/* Writes `n` bytes at offset `at`. Any thread may call it, in any order of offsets. */
int hl_output_write(const struct hl_output *out, uint64_t at, const void *data, size_t n, struct hl_error *err);

/* Starts writing the bytes of [at, at + n) to the disk, so that the final sync waits less. */
void hl_output_flush(const struct hl_output *out, uint64_t at, uint64_t n);

/* Syncs the files (the shards, then the head) and gives all of them their names, or none. */
int hl_output_finish(struct hl_output *outputs, uint32_t n_shards, struct hl_error *err);

/* Closes the open files; `discard`: removes them first. */
void hl_output_close(struct hl_output *outputs, uint32_t n, bool discard);

#endif
