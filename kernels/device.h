/* The interface of every device.
 *
 * A device executes programs (program.h) step by step. It reads the weights' address space, and owns the buffers of the
 * step and the key/value cache. The caller decides which sequence a token belongs to and which pages of the cache it
 * uses. The caller has checked the program (hl_program_check()), so a device trusts every index in it. It also trusts
 * every step.
 */
#ifndef HL_KERNELS_DEVICE_H
#define HL_KERNELS_DEVICE_H

#include "base/error.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL_KV_PAGE_TOKENS 64u /* positions in a page of the cache; a page holds them for every kv of the program */

enum hl_kv_type {
    HL_KV_F32, /* exact, for reference */
    HL_KV_F16, /* saturates at 65504, also for a NaN */
    HL_KV_Q8,  /* int8 in blocks of 32 columns of a head, with an fp16 scale of max|x| / 127 */
    HL_KV_COUNT,
};

/* A program in memory, with its tensors. The caller owns everything. */
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
    const uint8_t *weights; /* base of the weights' space; must stay mapped until close() */
    /* For weights that are still being loaded. In `rows`, the same space, single rows can be read at any time. wait()
     * returns once the first `end` bytes of `weights` are loaded, or fails if they cannot be. With wait NULL all
     * weights are loaded, or are faulted in when touched. */
    const uint8_t *rows;
    int (*wait)(void *context, uint64_t end, struct hl_error *err);
    void *wait_context;
    uint32_t max_tokens;  /* per step */
    uint32_t max_outputs; /* per step */
    uint32_t kv_pages;    /* pages in the pool */
    enum hl_kv_type kv_type;
    uint32_t threads;    /* CPU; 0: one per available core, fewer for a model of a few MiB */
    const char *kernels; /* CPU: "scalar", "avx2", "avx512"; NULL: the best that the processor supports */
};

/* One batch: tokens to decode, and pieces of prompts, of any sequences. The tokens of a sequence are in order of
 * position. */
struct hl_step {
    uint32_t n_tokens;
    const int32_t *tokens;     /* [n_tokens] ids, below the vocabulary */
    const uint32_t *positions; /* [n_tokens] */
    /* [n_tokens] page numbers of the token's sequence, one for every HL_KV_PAGE_TOKENS positions */
    const uint32_t *const *pages;
    uint32_t n_outputs;
    const uint32_t *outputs; /* [n_outputs] indices of the tokens whose logits are wanted */
};

/* The logits of a step: row r, as wide as the vocabulary, starts at data + r * stride. */
struct hl_logits {
    const float *data;
    size_t stride;
};

struct hl_device;

struct hl_device_interface {
    const char *name;
    /* Describes what computes here, as "2 cores, avx512 kernels". Returns false if it is slow or does not work at all.
     */
    bool (*probe)(char *text, size_t bytes);
    /* Returns the bytes of one page of the cache, for all kvs of the program. */
    uint64_t (*kv_page_bytes)(const struct hl_program_view *program, enum hl_kv_type type);
    int (*open)(const struct hl_device_config *config, struct hl_device **out, struct hl_error *err);
    /* Computes a step. *logits has one row per output; the device owns it, and the next step overwrites it. */
    int (*step)(struct hl_device *device, const struct hl_step *step, struct hl_logits *logits, struct hl_error *err);
    /* Returns which kernels run, for logs: "avx512, 2 threads". */
    const char *(*describe)(const struct hl_device *device);
    void (*close)(struct hl_device *device);
};

extern const struct hl_device_interface hl_cpu_device;

#endif
