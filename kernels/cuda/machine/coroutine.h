/* A function with a stack of its own, which is left in the middle and continued later, on the same thread. */
#ifndef HL_KERNELS_CUDA_MACHINE_COROUTINE_H
#define HL_KERNELS_CUDA_MACHINE_COROUTINE_H

#include <stddef.h>
#include <stdint.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

/* The stack that a thread was started on is one too: all zero, and it is filled when it is first left. */
struct hl_coroutine {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    void (*body)(void);
    uint8_t *stack;                /* the guard is below it */
    size_t bytes;                  /* of the stack */
    void *fake_stack, *tsan_fiber; /* of the sanitizers */
};

/* Allocates a stack. The first switch to it calls `body`, which never returns. `index` is a small number that differs
 * from those of other coroutines: their stacks then use different parts of the processor's cache. */
void hl_coroutine_open(struct hl_coroutine *coroutine, void (*body)(void), uint32_t index);

/* Frees the stack of one that does not run. */
void hl_coroutine_close(struct hl_coroutine *coroutine);

/* Leaves `from`, which is running, until another coroutine switches back to it; continues `to`. */
void hl_coroutine_switch(struct hl_coroutine *from, struct hl_coroutine *to);

#endif
