/* One pass of a step through the program: each operation becomes one launch or a few. */
#ifndef HL_KERNELS_CUDA_PASS_H
#define HL_KERNELS_CUDA_PASS_H

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/gpu_plan.h"
#include "kernels/cuda/inputs.h"

struct hl_pass {
    struct hl_gpu *gpu;
    const struct hl_gpu_plan *plan;
    hl_gpu_pointer weights, cache, scratch; /* weights: where plan->weights_begin is */
    hl_gpu_pointer at;                      /* the inputs of the step */
    struct hl_inputs inputs;
    const struct hl_step *step;
    uint8_t *gathered; /* pinned; plan->gathered_bytes */
    uint64_t n_gathered;
    uint64_t loaded; /* bytes of the weights' space that are in the GPU's memory */
};

/* Gets all kernels ready that the plan's program may need. */
int hl_pass_find(struct hl_gpu *gpu, const struct hl_gpu_plan *plan, struct hl_error *err);

/* Launches an operation. The weights that it reads are on their way. */
int hl_pass_launch(struct hl_pass *pass, uint32_t op, struct hl_error *err);

/* Launches the choice of the best logits. */
int hl_pass_choose(struct hl_pass *pass, struct hl_error *err);

/* Returns where a row of the logits is. */
hl_gpu_pointer hl_pass_logits(const struct hl_pass *pass, uint32_t row);

#endif
