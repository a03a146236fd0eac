/* What happens when the lanes of a warp have come to the same operation. */
#ifndef HL_KERNELS_CUDA_MACHINE_FIBER_LANES_H
#define HL_KERNELS_CUDA_MACHINE_FIBER_LANES_H

#include "kernels/cuda/machine/fiber.h"

/* Returns the operation's name, for messages. */
const char *hl_fiber_operation_name(enum hl_fiber_operation operation);

/* Does an operation of 32 lanes: reads what they have put into their fibers, and leaves the results there. */
void hl_fiber_operate(enum hl_fiber_operation operation, struct hl_fiber lanes[32]);

#endif
