/* One operation interface for every device.
 *
 * A device executes programs (program.h) step by step. It is given the weights' address space and keeps the step's
 * buffers and the key/value cache; who a token belongs to and where its cache pages lie is the caller's business. The
 * caller has checked the program (hl_program_check()), so a device trusts every index in it; what a step says, it
 * trusts likewise.
 */
#ifndef HL_KERNELS_DEVICE_H
#define HL_KERNELS_DEVICE_H

#include "base/error.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL_KV_PAGE_TOKENS 64u /* positions in one page of the cache; a page holds them for every kv of the program */

enum hl_kv_type {
    HL_KV_F32, /* exact, for reference */
    HL_KV_F16, /* saturates at 65504, a NaN too */
    HL_KV_Q8,  /* int8 per block of 32 of a head's columns, with an fp16 scale of max|x| / 127 */
    HL_KV_COUNT,
};

/* A program in memory, with its tensors. Everything is borrowed. */
struct hl_program_view {
    const struct hl_program *head;
    const struct hl_buffer *buffers; /* head->n_buffers */
    const struct hl_kv *kvs;         /* head->n_kvs */
    const struct hl_op *ops;         /* head->n_ops */
    const struct hl_tensor *tensors;
    uint32_t n_tensors;
};

struct hl_device_config {
    struct hl_program_view program;
    const uint8_t *weights; /* base of the weights' space; stays mapped while the device lives */
    /* Weights that are still on their way. `rows` is the same space where single rows can be read at any time, and
     * wait() returns when the first `end` bytes have come to `weights`, or with an error when they never will. NULL:
     * all are there, or come by themselves when they are touched. */
    const uint8_t *rows;
    int (*wait)(void *context, uint64_t end, struct hl_error *err);
    void *wait_context;
    uint32_t max_tokens;  /* per step */
    uint32_t max_outputs; /* per step */
    uint32_t kv_pages;    /* pages in the pool */
    enum hl_kv_type kv_type;
    uint32_t threads;    /* CPU; 0: one per available core, fewer for a model of a few MiB */
    const char *kernels; /* CPU: "scalar", "avx2", "avx512"; NULL: the best that the processor has */
};

/* One batch: decode tokens and pieces of prompts of any sequences. A sequence's tokens stand in order of position. */
struct hl_step {
    uint32_t n_tokens;
    const int32_t *tokens;     /* [n_tokens] ids, below the vocabulary */
    const uint32_t *positions; /* [n_tokens] */
    const uint32_t *const
        *pages; /* [n_tokens] the token's sequence: page number of every HL_KV_PAGE_TOKENS positions */
    uint32_t n_outputs;
    const uint32_t *outputs; /* [n_outputs] which tokens' logits are wanted, as indices into tokens */
};

/* What a step computed: row r, of the vocabulary's width, starts at data + r * stride. */
struct hl_logits {
    const float *data;
    size_t stride;
};

struct hl_device;

struct hl_device_interface {
    const char *name;
    /* What computes here, as "2 cores, avx512 kernels"; false: slowly, or not at all. */
    bool (*probe)(char *text, size_t bytes);
    /* Bytes of one page of the cache for all kvs of the program. */
    uint64_t (*kv_page_bytes)(const struct hl_program_view *program, enum hl_kv_type type);
    int (*open)(const struct hl_device_config *config, struct hl_device **out, struct hl_error *err);
    /* *logits: one row per output, owned by the device, valid until the next step. */
    int (*step)(struct hl_device *device, const struct hl_step *step, struct hl_logits *logits, struct hl_error *err);
    /* Which kernels it runs, for logs: "avx512, 2 threads". */
    const char *(*describe)(const struct hl_device *device);
    void (*close)(struct hl_device *device);
};

extern const struct hl_device_interface hl_cpu_device;

#endif
