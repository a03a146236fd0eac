/* The plan of a .hot file: its program, and for every tensor where its numbers come from. Nothing is converted yet, and
 * every size and offset is known already. */
#ifndef HL_PACK_COMPILE_PLAN_H
#define HL_PACK_COMPILE_PLAN_H

#include "base/error.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include "kernels/device.h"
#include "pack/compile/arch.h"
#include "pack/source/source.h"

#define HL_PLAN_PARTS 3

/* What becomes of matrices. HL_QUANT_DEFAULT is what happens when nobody says: numbers become what HL_QUANT_Q4 makes of
 * them, and what a .gguf has in blocks already is kept, since a second rounding would only lose. */
enum hl_quant { HL_QUANT_KEEP, HL_QUANT_BF16, HL_QUANT_Q8, HL_QUANT_Q4, HL_QUANT_DEFAULT };

/* One tensor of the file: the rows of up to three source tensors one after another, or computed values. */
struct hl_plan_tensor {
    struct hl_tensor tensor; /* offset still 0 */
    const struct hl_source_tensor *part[HL_PLAN_PARTS];
    uint32_t n_parts;
    float *values; /* computed: tensor.cols of them, owned by the plan; NULL otherwise */
    float addend;  /* to every value of a vector: 1 for the norms that multiply by 1 + weight */
};

struct hl_plan {
    struct hl_program program;
    struct hl_buffer *buffers;
    struct hl_kv *kvs;
    struct hl_op *ops;
    struct hl_plan_tensor *tensors; /* in the order of first touch */
    uint32_t n_tensors;
    uint64_t parameters;      /* numbers in the source's tensors that are used */
    enum hl_kv_type kv_type;  /* what suits the weights' precision */
    const char *quantization; /* what became of the matrices, in a word; static */
};

/* Compiles a model. Every tensor that it needs must be in the source in the right shape, and every tensor of a block
 * must be needed. The caller frees the plan; it refers to the source, which must live as long. */
int hl_plan_build(const struct hl_source *source, const struct hl_arch *arch, enum hl_quant quant, struct hl_plan **out,
                  struct hl_error *err);
void hl_plan_free(struct hl_plan *plan);

/* "keep", "bf16", "q8" or "q4"; not of HL_QUANT_DEFAULT, which is nobody's word. */
const char *hl_quant_name(enum hl_quant quant);

#endif
