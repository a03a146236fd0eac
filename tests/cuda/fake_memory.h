/* Memory of the fake device: apart from the host's, which can only touch it while work runs. */
#ifndef HL_TESTS_CUDA_FAKE_MEMORY_H
#define HL_TESTS_CUDA_FAKE_MEMORY_H

#include "tests/cuda/fake_things.h"

size_t memory_total(void);
int memory_alloc(struct thing **out, size_t bytes);
void memory_free(struct thing *memory);
/* The host's: allocates it, or takes what is there. */
int memory_pin(struct thing **out, void *memory, size_t bytes);
void memory_unpin(struct thing *memory);

/* Opens all memory of the device to this process, and closes it again. */
void memory_open(void);
void memory_close(void);

/* Checks a range of the device. Returns false, and says so, if it is not all there. */
bool memory_is_device(uint64_t address, size_t bytes);
/* Is it registered? *wrong is set, and it is said, if the range is registered in part. */
bool memory_is_pinned(const void *address, size_t bytes, bool *wrong);
/* Looks for addresses of the host's own memory among a kernel's arguments. */
bool memory_checks_arguments(const void *arguments, size_t bytes);

#endif
