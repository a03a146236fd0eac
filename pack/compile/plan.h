/* The plan of a .hot file: its program, and the source of the numbers of every tensor. A plan converts nothing, but
 * every size is known, so that offsets can be assigned before anything is written. */
#ifndef HL_PACK_COMPILE_PLAN_H
#define HL_PACK_COMPILE_PLAN_H

#include "base/error.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include "kernels/device.h"
#include "pack/compile/arch.h"
#include "pack/source/source.h"

#define HL_PLAN_PARTS 3

/* The types that matrices are converted to. HL_QUANT_DEFAULT converts plain numbers as HL_QUANT_Q4 does and keeps the
 * blocks of a .gguf, because rounding them a second time would only lose precision. */
enum hl_quant { HL_QUANT_KEEP, HL_QUANT_BF16, HL_QUANT_Q8, HL_QUANT_Q4, HL_QUANT_DEFAULT };

/* A tensor of the file: the rows of up to three source tensors, one after another, or computed values. */
struct hl_plan_tensor {
    struct hl_tensor tensor; /* its offset is 0 in a plan */
    const struct hl_source_tensor *part[HL_PLAN_PARTS];
    uint32_t n_parts;
    float *values; /* computed: tensor.cols values, owned by the plan; else NULL */
    float addend;  /* added to every value of a vector: 1 for norms that multiply by 1 + weight */
};

struct hl_plan {
    struct hl_program program;
    struct hl_buffer *buffers;
    struct hl_kv *kvs;
    struct hl_op *ops;
    struct hl_plan_tensor *tensors; /* in the order of first touch */
    uint32_t n_tensors;
    uint64_t parameters;      /* count of the source's numbers that the model uses */
    enum hl_kv_type kv_type;  /* as precise as the weights */
    const char *quantization; /* what the matrices became, in one word; static */
};

/* Compiles a model. Fails if a needed tensor is missing or has the wrong shape, or if a block has a
 * tensor that the model does not need. The caller frees the plan. The plan refers to the source, so the source must
 * outlive it. */
int hl_plan_build(const struct hl_source *source, const struct hl_arch *arch, enum hl_quant quant, struct hl_plan **out,
                  struct hl_error *err);
void hl_plan_free(struct hl_plan *plan);

/* Returns "keep", "bf16", "q8" or "q4". HL_QUANT_DEFAULT has no name. */
const char *hl_quant_name(enum hl_quant quant);

#endif
