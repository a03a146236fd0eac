/* The table of a build for the CPU alone. */
#include "kernels/cuda/cubins.h"

uint32_t hl_cubins_count(void)
{
    return 0;
}

const struct hl_cubin *hl_cubins_at(uint32_t index)
{
    (void)index;
    return NULL;
}

const struct hl_cubin *hl_cubins_choose(uint32_t major, uint32_t minor)
{
    (void)major, (void)minor;
    return NULL;
}
