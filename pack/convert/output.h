/* The files that a model is written to, each under a name that ends in ".part" until all of them are complete. */
#ifndef HL_PACK_CONVERT_OUTPUT_H
#define HL_PACK_CONVERT_OUTPUT_H

#include "base/error.h"
#include "runtime/model/hot.h"

struct hl_output {
    char path[HL_PATH_BYTES], part[HL_PATH_BYTES];
    int fd; /* -1: not open */
};

/* Opens and locks shard `index` of the model at `path`, HL_NONE being its head. Fails where the name is taken by what
 * is no model, or another process writes it. */
int hl_output_open(const char *path, uint32_t index, struct hl_output *out, struct hl_error *err);

/* `n` bytes at offset `at`. From any thread; pieces may come in any order. */
int hl_output_write(const struct hl_output *out, uint64_t at, const void *data, size_t n, struct hl_error *err);

/* The bytes of [at, at + n) may go to the disk now: so the sync at the end has little left to wait for. */
void hl_output_flush(const struct hl_output *out, uint64_t at, uint64_t n);

/* outputs: the shards, then the head. All get their names, or none, once they are on the disk. */
int hl_output_finish(struct hl_output *outputs, uint32_t n_shards, struct hl_error *err);

/* Closes what is open; with `discard` it is removed before. */
void hl_output_close(struct hl_output *outputs, uint32_t n, bool discard);

#endif
