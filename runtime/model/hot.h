/* An open .hot file: mapped, checked, ready to execute in place. The packer's `inspect` and `verify` use it too, so
 * they report what the runtime sees. */
#ifndef HL_RUNTIME_MODEL_HOT_H
#define HL_RUNTIME_MODEL_HOT_H

#include "base/error.h"
#include "hotlayer/layout.h"
#include "kernels/device.h"

#define HL_PATH_BYTES 4096

struct hl_hot {
    char *path; /* of the head file */
    const struct hl_header *header;
    const char *meta; /* JSON; not NUL-terminated */
    size_t meta_bytes;
    struct hl_program_view program; /* with the tensors */
    const void *tokenizer;
    size_t tokenizer_bytes;
    const void *template;
    size_t template_bytes;  /* 0: the model has none */
    const uint8_t *weights; /* NULL until hl_hot_map_weights() */
    /* the mappings that hold all of these */
    void *head_map;
    size_t head_map_bytes;
    void *weights_map;
    size_t weights_map_bytes;
};

/* Maps the head file and checks everything in it: magic, version, sizes, checksums, program. `path` may be a folder
 * that holds exactly one .hot file. The caller closes *out. */
int hl_hot_open(const char *path, struct hl_hot **out, struct hl_error *err);

/* Maps all shards into one contiguous range. Checks their sizes and trailers, reads nothing else. */
int hl_hot_map_weights(struct hl_hot *hot, struct hl_error *err);

/* Opens shard `index` (from 0) and checks its size and trailer. Writes its path into `path`. Returns the descriptor,
 * which the caller closes, or -1. */
int hl_hot_open_shard(const struct hl_hot *hot, uint32_t index, char path[HL_PATH_BYTES], struct hl_error *err);

/* Reads all of shard `index` (from 0) and compares its checksum. progress may be NULL. */
int hl_hot_verify_shard(const struct hl_hot *hot, uint32_t index, void (*progress)(void *context, uint64_t bytes),
                        void *context, struct hl_error *err);

/* Writes the path of a shard: MODEL.hot.001 for index 0. Fails if it does not fit in `out`. */
int hl_hot_shard_path(const char *path, uint32_t index, char out[HL_PATH_BYTES], struct hl_error *err);

void hl_hot_close(struct hl_hot *hot);

/* Checks every index, shape, offset and number of a program against its tables. A program that passes cannot make a
 * device read or write outside its buffers. The error names the operation and the field. */
int hl_program_check(const struct hl_program_view *program, uint64_t weight_bytes, struct hl_error *err);

/* Points a program view into a section's bytes. Fails if the tables do not fill them exactly. */
int hl_program_open(const void *section, uint64_t bytes, const struct hl_tensor *tensors, uint32_t n_tensors,
                    struct hl_program_view *out, struct hl_error *err);

/* Return names for messages and listings; `section` is an enum hl_section_id. */
const char *hl_section_name(int section);
const char *hl_op_name(uint32_t kind);

#endif
