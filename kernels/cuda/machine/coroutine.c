/* swapcontext() would do, but it asks the kernel for the signal mask each time: 300 ns where these twelve instructions
 * take 3, and an emulated step of a model has a hundred million of them. */
#include "kernels/cuda/machine/coroutine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES (256u << 10) /* a sanitizer's frames are large */
#else
#define STACK_BYTES (64u << 10)
#endif
#define GUARD_BYTES (64u << 10) /* the largest page there is */

#define HL_TLS __attribute__((tls_model("initial-exec"))) /* fiber.h says why */

/* Where the thread goes and where it comes from, for the first call of a body. */
static _Thread_local struct hl_coroutine *source HL_TLS, *target HL_TLS;

/* Tells a sanitizer which stack comes next. */
static void leave(struct hl_coroutine *from, struct hl_coroutine *to)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
#elif defined(__SANITIZE_THREAD__)
    if (!from->tsan_fiber)
        from->tsan_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    source = from;
    target = to;
}

/* The thread's own stack is learned here. */
static void arrive(void)
{
#if defined(__SANITIZE_ADDRESS__)
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(target->fake_stack, &stack, &bytes);
    source->stack = (uint8_t *)(uintptr_t)stack;
    source->bytes = bytes;
#endif
}

static void begin(void)
{
    arrive();
    target->body();
    abort(); /* it has nowhere to return to */
}

#if defined(__x86_64__)
/* Pushes what a function must preserve, exchanges the stacks, and pops the same of the other. The calls come from one
 * place, so the processor even predicts the `ret`. */
void hl_coroutine_exchange(void **from, void *to);
__asm__(".pushsection .text.hl_coroutine_exchange,\"ax\",@progbits\n"
        ".globl hl_coroutine_exchange\n"
        ".hidden hl_coroutine_exchange\n"
        ".type hl_coroutine_exchange,@function\n"
        "hl_coroutine_exchange:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size hl_coroutine_exchange, .-hl_coroutine_exchange\n"
        ".popsection\n");

static void prepare(struct hl_coroutine *coroutine, size_t unused)
{
    /* Six registers, the address that `ret` takes, and none to return to from there. */
    void **top = (void **)(coroutine->stack + coroutine->bytes - unused);
    void (*first)(void) = begin;
    memset(top - 8, 0, 8 * sizeof *top);
    memcpy(top - 2, &first, sizeof first);
    coroutine->stack_pointer = top - 8;
}

static void exchange(struct hl_coroutine *from, struct hl_coroutine *to)
{
    hl_coroutine_exchange(&from->stack_pointer, to->stack_pointer);
}
#else
static void prepare(struct hl_coroutine *coroutine, size_t unused)
{
    getcontext(&coroutine->context);
    coroutine->context.uc_stack.ss_sp = coroutine->stack;
    coroutine->context.uc_stack.ss_size = coroutine->bytes - unused;
    makecontext(&coroutine->context, begin, 0);
}

static void exchange(struct hl_coroutine *from, struct hl_coroutine *to)
{
    swapcontext(&from->context, &to->context);
}
#endif

void hl_coroutine_open(struct hl_coroutine *coroutine, void (*body)(void), uint32_t index)
{
    uint8_t *memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE)) {
        perror("no memory for the stack of an emulated thread");
        abort();
    }
    *coroutine = (struct hl_coroutine){.body = body, .stack = memory + GUARD_BYTES, .bytes = STACK_BYTES};
#if defined(__SANITIZE_THREAD__)
    coroutine->tsan_fiber = __tsan_create_fiber(0);
#endif
    prepare(coroutine, index % 64 * 576 % 4096); /* nine cache lines further in each */
}

void hl_coroutine_close(struct hl_coroutine *coroutine)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(coroutine->tsan_fiber);
#endif
    munmap(coroutine->stack - GUARD_BYTES, GUARD_BYTES + STACK_BYTES);
}

void hl_coroutine_switch(struct hl_coroutine *from, struct hl_coroutine *to)
{
    leave(from, to);
    exchange(from, to);
    arrive();
}
