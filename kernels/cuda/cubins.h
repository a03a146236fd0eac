/* The kernels' machine code that this program carries: none in a build for the CPU alone. */
#ifndef HL_KERNELS_CUDA_CUBINS_H
#define HL_KERNELS_CUDA_CUBINS_H

#include <stddef.h>
#include <stdint.h>

struct hl_cubin {
    uint32_t arch; /* 89: sm_89 */
    const uint8_t *start;
    size_t bytes;
};

uint32_t hl_cubins_count(void);
const struct hl_cubin *hl_cubins_at(uint32_t index);

/* Returns the best one that runs on a GPU of this compute capability, or NULL. */
const struct hl_cubin *hl_cubins_choose(uint32_t major, uint32_t minor);

#endif
