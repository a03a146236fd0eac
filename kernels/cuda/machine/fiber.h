/* A block of GPU threads on the host: each thread is a fiber, and warp operations are meetings of 32 of them. */
#ifndef HL_KERNELS_CUDA_MACHINE_FIBER_H
#define HL_KERNELS_CUDA_MACHINE_FIBER_H

#include "kernels/cuda/machine/types.h"
#include <stddef.h>
#include <stdint.h>

/* What a thread can wait for. fiber_lanes.c has a line for each. */
enum hl_fiber_operation {
    HL_FIBER_BARRIER,
    HL_FIBER_ENDED,
    HL_FIBER_EXCHANGE,
    HL_FIBER_MMA_S8,
    HL_FIBER_MMA_BF16,
    HL_FIBER_OPERATIONS /* how many */
};

struct hl_fiber_runner;

/* A thread of a block. */
struct hl_fiber {
    uint32_t thread, block[3];
    uint32_t a[4], b[2], c[4];      /* its part of an mma's operands */
    uint32_t value, mask;           /* of an exchange */
    struct hl_fiber_runner *runner; /* has its stack; NULL until it starts */
};

/* Thread-local variables of a library that is opened late are slow, and confuse gcc's AddressSanitizer, unless they are
 * few and say so. */
#define HL_FIBER_TLS __attribute__((tls_model("initial-exec")))

/* The thread that runs. */
extern _Thread_local struct hl_fiber *hl_fiber_current HL_FIBER_TLS;

static inline struct hl_fiber *hl_fiber_self(void)
{
    return hl_fiber_current;
}

/* Waits until all 32 lanes have come to the same operation (the barrier: all threads of the block) and it is done. */
void hl_fiber_meet(enum hl_fiber_operation operation);
uint32_t hl_fiber_exchange(uint32_t value, uint32_t mask);
/* Says which thread of which block did what, and aborts. */
_Noreturn void hl_fiber_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A SHARED array of a source. */
struct hl_fiber_array {
    _Atomic uint32_t number; /* among all; 0 until a thread first comes to it */
};

/* Returns the array of this thread's block. When the first thread of a block comes to it, it is filled with ones, which
 * are NaN to most types. */
void *hl_fiber_share(struct hl_fiber_array *array, size_t bytes);

/* A kernel that KERNEL() has defined in a source that is linked in. */
struct hl_fiber_kernel {
    const char *name;
    void (*call)(const void *arguments);
    void (*clear)(void *arguments); /* zeroes what lies between its members, if the compiler can */
    size_t bytes;                   /* of the arguments */
    uint32_t threads;
};

/* Returns the kernel of that name, or NULL. */
const struct hl_fiber_kernel *hl_fiber_find(const char *name);

/* Runs a kernel for every thread of every block, blocks on all cores. Lanes and warps take turns in an order that `seed`
 * changes, so that a kernel that depends on one is found out; an odd one takes blocks from last to first. One launch runs
 * at a time; others wait. */
void hl_fiber_launch(const struct hl_fiber_kernel *kernel, const void *arguments, struct hl_cuda_grid grid,
                     uint32_t seed);

/* How many blocks run at a time: 0 for the number of cores, which is what it starts with. */
void hl_fiber_cores(uint32_t cores);

/* With HL_FIBER_RECORD=FILE in the environment, launches append to FILE what the PTX interpreter needs to run them again
 * and compare: "HLRC", u32 bytes of the name, name, u32 grid[3], u32 threads, u32 bytes of the arguments, arguments, u32
 * regions, and for each u64 address, u64 bytes, the bytes before the launch, and after it. Regions are the memory that
 * the kernel may touch; a test names them first. Without the variable these do nothing. */
void hl_fiber_region(void *memory, size_t bytes);
void hl_fiber_forget_regions(void);

#endif
