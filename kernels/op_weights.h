/* Which weights an operation needs before it can run, for devices that begin while weights still arrive. Gathering needs
 * none: the rows of a table can be read from the mapping at any time. */
#ifndef HL_KERNELS_OP_WEIGHTS_H
#define HL_KERNELS_OP_WEIGHTS_H

#include "kernels/device.h"

/* Fills in the tensors that an operation reads, HL_NONE where there are fewer than two. */
static inline void hl_op_weights(const struct hl_op *op, uint32_t out[2])
{
    out[0] = out[1] = HL_NONE;
    if (op->kind == HL_OP_ANGLES)
        out[0] = op->angles.frequencies;
    else if (op->kind == HL_OP_NORM)
        out[0] = op->norm.weight;
    else if (op->kind == HL_OP_LINEAR) {
        out[0] = op->linear.weight;
        out[1] = op->linear.bias;
    }
}

/* Returns the end of a tensor in the weights' space; 0 for HL_NONE. */
static inline uint64_t hl_op_weights_end(const struct hl_program_view *program, uint32_t tensor)
{
    return tensor == HL_NONE ? 0 : program->tensors[tensor].offset + program->tensors[tensor].bytes;
}

/* Returns how many bytes of the weights' space must be there before an operation. */
static inline uint64_t hl_op_weights_need(const struct hl_program_view *program, const struct hl_op *op)
{
    uint32_t tensors[2];
    hl_op_weights(op, tensors);
    uint64_t first = hl_op_weights_end(program, tensors[0]), second = hl_op_weights_end(program, tensors[1]);
    return first > second ? first : second;
}

#endif
