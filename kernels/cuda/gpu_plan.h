/* What is known of a program before any GPU is there: which weights must be in its memory, where everything lies in the
 * memory of a step, and which operations share their prepared activations.
 *
 * The GPU's memory is three allocations: weights, cache, and the scratch of a step:
 *
 *   scratch:  buffers | prepared activations | partial results of attention | scratch and result of the choice
 */
#ifndef HL_KERNELS_CUDA_GPU_PLAN_H
#define HL_KERNELS_CUDA_GPU_PLAN_H

#include "kernels/device.h"

struct hl_gpu_plan_buffer {
    uint64_t offset; /* in the scratch */
    uint32_t stride; /* floats from row to row */
};

/* A range of columns of a buffer. */
struct hl_gpu_plan_range {
    struct hl_span span;
    uint32_t cols;
};

struct hl_gpu_plan {
    struct hl_device_config config;     /* its program is the caller's */
    struct hl_gpu_plan_buffer *buffers; /* [n_buffers] */
    uint64_t *kv_offsets;               /* [n_kvs] in a page */
    uint64_t page_bytes;
    bool *resident;                       /* [n_tensors] in the GPU's memory */
    bool *prepares;                       /* [n_ops] the activations must be prepared before this linear operation */
    uint64_t *needs;                      /* [n_ops] end of the weights that an operation reads; 0: none */
    uint64_t weights_begin, weights_end;  /* of the weights' space, what the GPU's memory holds */
    uint64_t prepared, partial;           /* offsets in the scratch */
    uint64_t best, chosen;                /* also */
    uint64_t scratch_bytes, chosen_bytes; /* of all of it; of the result */
    uint64_t gathered_bytes;              /* of rows that the host may have to gather for one step */
};

/* Checks that the GPU has a kernel for every operation, and plans. */
int hl_gpu_plan_open(const struct hl_device_config *config, struct hl_gpu_plan *out, struct hl_error *err);
void hl_gpu_plan_close(struct hl_gpu_plan *plan);

/* Returns the bytes of a page of the cache, as the interface wants it. */
uint64_t hl_gpu_plan_page_bytes(const struct hl_program_view *program, enum hl_kv_type type);

/* Returns whether any of [offset, offset + bytes) must be in the GPU's memory. */
bool hl_gpu_plan_wants(const struct hl_gpu_plan *plan, uint64_t offset, uint32_t bytes);

/* Returns what an operation writes; one that writes into the cache has no columns here. */
struct hl_gpu_plan_range hl_gpu_plan_written(const struct hl_program_view *program, const struct hl_op *op);

/* Returns the rows of an operation on a buffer of this domain. */
static inline uint32_t hl_gpu_plan_most_rows(const struct hl_gpu_plan *plan, uint32_t buffer)
{
    return plan->config.program.buffers[buffer].domain == HL_DOMAIN_TOKENS ? plan->config.max_tokens
                                                                           : plan->config.max_outputs;
}

#endif
