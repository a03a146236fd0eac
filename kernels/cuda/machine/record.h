/* Launches in a file; fiber.h has the format and how tests ask for it. */
#ifndef HL_KERNELS_CUDA_MACHINE_RECORD_H
#define HL_KERNELS_CUDA_MACHINE_RECORD_H

#include "kernels/cuda/machine/types.h"

void hl_record_region(void *memory, size_t bytes);
void hl_record_forget(void);
/* Keeps the regions' bytes before a launch; hl_record_end() writes the record. */
void hl_record_begin(void);
void hl_record_end(const char *kernel, const void *arguments, size_t bytes, struct hl_cuda_grid grid, uint32_t threads);

#endif
