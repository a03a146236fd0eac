/* The interface of every device: one that computes where the weights lie (cpu), and one that they must be brought to
 * (cuda).
 *
 * A device executes programs (program.h) step by step. It owns the buffers of the step and the key/value cache. The
 * caller decides which sequence a token belongs to and which pages of the cache it uses. The caller has checked the
 * program (hl_program_check()), so a device trusts every index in it. It also trusts every step.
 *
 * Opening has two halves, since a GPU takes some 0.2 to 0.5 s to start and the disk should not wait for it:
 *
 *   main     open ----- readers start ----------------- start -- step -- step ...
 *   device       `---- driver, context, kernels ----------^
 *   readers             room -> read -> full -> room -> ...    into memory of the host until the device is there
 *
 * open, start, step and close come from one thread; room and full from any, several at a time, until close begins.
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
    uint64_t weight_bytes; /* of the weights' space */
    /* The weights' space in the host's memory; must stay mapped until close(). Single rows of tables can be read from it
     * at any time. */
    const uint8_t *weights;
    /* The device uses `weights` as they are: all of them are loaded, or are faulted in when touched. room() and full()
     * will not be called. Only for a device with `in_place`. */
    bool in_place;
    /* Returns once full() has returned for every byte before `end`, or fails if that will never be. NULL if in_place. */
    int (*wait)(void *context, uint64_t end, struct hl_error *err);
    void *wait_context;
    uint32_t max_tokens;     /* per step */
    uint32_t max_outputs;    /* per step */
    uint32_t max_runs;       /* per step */
    uint32_t run_pages;      /* of one run at most */
    uint32_t kv_pages;       /* wanted in the pool */
    uint32_t kv_pages_least; /* start() fails with fewer */
    enum hl_kv_type kv_type;
    uint32_t index;      /* cuda: which GPU */
    uint32_t threads;    /* cpu; 0: one per available core, fewer for a model of a few MiB */
    const char *kernels; /* cpu: "scalar", "avx2", "avx512"; NULL: the best that the processor supports */
};

/* What start() found. */
struct hl_device_limits {
    uint32_t kv_pages;               /* in the pool: as many as were wanted, or what there is room for */
    uint64_t bytes_used, bytes_free; /* of the device's own memory; 0 where that is the host's */
};

/* Tokens of one sequence that follow each other, from a position on. */
struct hl_run {
    uint32_t n_tokens;
    uint32_t position;     /* of the first */
    const uint32_t *pages; /* [n_pages] page numbers of the sequence, one for every HL_KV_PAGE_TOKENS positions */
    uint32_t n_pages;      /* enough for the last token of the run */
};

/* A change of one token's logit before anything is chosen: first logit > 0 ? logit / divide : logit * divide, then
 * + add. Holds the penalties of a sampler, which knows the recent tokens, and a bias (divide 1). */
struct hl_adjustment {
    int32_t token;
    float divide, add;
};

#define HL_BEST_MOST 256u

/* A token whose logits are wanted, and what of them. */
struct hl_want {
    uint32_t token; /* index into the step's tokens */
    /* The so many largest logits after the adjustments, at most HL_BEST_MOST; 0: the whole row, unchanged. The rest is
     * for the best alone. */
    uint32_t best;
    const struct hl_adjustment *adjustments; /* no token twice */
    uint32_t n_adjustments;
    const uint32_t
        *allowed; /* a bit for each token of the vocabulary, the lowest first; others are not chosen. NULL: all */
    bool log_sum;
};

/* One batch: tokens to decode, and pieces of prompts, of any sequences. */
struct hl_step {
    uint32_t n_tokens, n_runs, n_outputs;
    const int32_t *tokens;       /* [n_tokens] ids, below the vocabulary, run after run */
    const struct hl_run *runs;   /* [n_runs] */
    const struct hl_want *wants; /* [n_outputs] in order of token */
};

/* What was wanted; the device owns it until the next step. 40 candidates are 320 bytes. A row of a large vocabulary is
 * 1 MiB: 50 us over PCIe, and 1 ms of one core to choose from, while the GPU has nothing to do. */
struct hl_logits {
    const float *row;      /* the vocabulary's width; NULL if the best were wanted */
    const int32_t *tokens; /* [n] largest logit first, equal ones by id, NaN last */
    const float *logits;   /* [n] adjusted */
    uint32_t n;            /* `best`, or fewer if fewer are allowed */
    float log_sum;         /* log of the sum of exp of all logits before adjustments, if wanted */
};

enum hl_step_result {
    HL_STEP_DONE = 0,
    HL_STEP_FAILED = -1, /* this step alone; the device is as before it */
    HL_STEP_LOST = -2,   /* the device is gone: close it. CUDA's errors stay for good */
};

struct hl_device;

struct hl_device_interface {
    const char *name;
    bool in_place; /* can use weights where they are mapped */
    /* Is there such a device, as far as can be told within milliseconds? For --device auto. Says in `err` why not. */
    int (*probe)(uint32_t index, struct hl_error *err);
    /* Describes what computes here for doctor, one line for each device or obstacle; may take seconds. Returns false if
     * it is slow or does not work at all. */
    bool (*report)(char *text, size_t bytes);
    /* Returns the bytes of one page of the cache, for all kvs of the program: each device has its own order in it. */
    uint64_t (*kv_page_bytes)(const struct hl_program_view *program, enum hl_kv_type type);
    /* Checks what it is asked for, and begins. Does not wait for a driver. */
    int (*open)(const struct hl_device_config *config, struct hl_device **out, struct hl_error *err);
    /* Gives memory to read [offset, offset + bytes) of the weights' space into: the final place (cpu), or a slot of a
     * ring once one is free (cuda). `bytes` is at most HL_PIECE_BYTES. *to is NULL if the device needs none of them.
     * Fails if the device failed or is being closed. */
    int (*room)(struct hl_device *device, uint64_t offset, uint32_t bytes, uint8_t **to, struct hl_error *err);
    /* The bytes are there, where room() said. The device copies them on by itself. */
    int (*full)(struct hl_device *device, uint64_t offset, uint32_t bytes, const uint8_t *from, struct hl_error *err);
    /* Ends all waiting in room(), now and later, with an error: before the readers are stopped. */
    void (*cancel)(struct hl_device *device);
    /* Waits until the device can compute, which may be before the weights are there. Its memory is allocated here: a
     * failure says what was wanted, what there is, and what would fit. */
    int (*start)(struct hl_device *device, struct hl_device_limits *limits, struct hl_error *err);
    /* Computes a step. *logits has one element per want. Returns enum hl_step_result. */
    int (*step)(struct hl_device *device, const struct hl_step *step, const struct hl_logits **outputs,
                struct hl_error *err);
    /* Returns what computes, for logs: "avx512, 2 threads". */
    const char *(*describe)(const struct hl_device *device);
    void (*close)(struct hl_device *device);
};

#define HL_PIECE_BYTES (4u << 20)

extern const struct hl_device_interface hl_cpu_device;
extern const struct hl_device_interface hl_cuda_device;

#endif
