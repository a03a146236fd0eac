/* The C bodies of machine.h's operations, for a thread that is a fiber. */
#ifndef HL_KERNELS_CUDA_MACHINE_MACHINE_HOST_H
#define HL_KERNELS_CUDA_MACHINE_MACHINE_HOST_H

#include "hotlayer/half.h"
#include "kernels/cuda/machine/fiber.h"
#include <math.h>
#include <string.h>

/* Zeroes the bytes of a struct that belong to no member, where the compiler can. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define CLEAR_PADDING(pointer) __builtin_clear_padding(pointer)
#endif
#endif
#if !defined(CLEAR_PADDING)
#define CLEAR_PADDING(pointer) (void)(pointer)
#endif

/* Defines the kernel and enters it in the table of the launcher. */
#define KERNEL(name, threads, type)                                                                                    \
    static void name(type arguments);                                                                                  \
    static void call_##name(const void *arguments)                                                                     \
    {                                                                                                                  \
        name(*(const type *)arguments);                                                                                \
    }                                                                                                                  \
    static void clear_##name(void *arguments)                                                                          \
    {                                                                                                                  \
        CLEAR_PADDING((type *)arguments);                                                                              \
    }                                                                                                                  \
    static const struct hl_fiber_kernel entry_##name                                                                   \
        __attribute__((used, section("hl_fiber_kernels"), aligned(8))) = {#name, call_##name, clear_##name,            \
                                                                          sizeof(type), threads};                      \
    static void name(type arguments)
#define KERNEL_OF_BLOCKS(name, threads, blocks, type) KERNEL(name, threads, type)
#define DEVICE static inline
#define SHARED(type, name, n)                                                                                          \
    static struct hl_fiber_array array_##name;                                                                         \
    type *const name = hl_fiber_share(&array_##name, (n) * sizeof(type))
#define UNROLL

DEVICE uint32_t thread_index(void)
{
    return hl_fiber_self()->thread;
}
DEVICE uint32_t block_index(void)
{
    return hl_fiber_self()->block[0];
}
DEVICE uint32_t block_index_y(void)
{
    return hl_fiber_self()->block[1];
}
DEVICE uint32_t block_index_z(void)
{
    return hl_fiber_self()->block[2];
}
DEVICE void block_barrier(void)
{
    hl_fiber_meet(HL_FIBER_BARRIER);
}

DEVICE void load_words(uint32_t *to, const void *from, uint32_t n)
{
    if ((uintptr_t)from % (4 * n)) /* a GPU faults here */
        hl_fiber_fail("a load of %u bytes that is not aligned", 4 * n);
    memcpy(to, from, 4 * n);
}

DEVICE void stream16(uint32_t to[4], const void *from)
{
    load_words(to, from, 4);
}
DEVICE void load16(uint32_t to[4], const void *from)
{
    load_words(to, from, 4);
}
DEVICE void load8(uint32_t to[2], const void *from)
{
    load_words(to, from, 2);
}

DEVICE uint32_t load4(const void *from)
{
    uint32_t to;
    load_words(&to, from, 1);
    return to;
}

DEVICE uint32_t load2(const void *from)
{
    uint16_t to;
    if ((uintptr_t)from % 2)
        hl_fiber_fail("a load of 2 bytes that is not aligned");
    memcpy(&to, from, sizeof to);
    return to;
}

DEVICE float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

DEVICE uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

DEVICE float half_at(uint32_t word, int part)
{
    return hl_f16_to_f32((uint16_t)(part ? word >> 16 : word));
}

DEVICE uint32_t half_bits(float value)
{
    return hl_f32_to_f16(value);
}

DEVICE float multiply(float a, float b)
{
    return a * b;
}

DEVICE float multiply_add(float a, float b, float c)
{
    return fmaf(a, b, c);
}
DEVICE int32_t round_to_int(float value)
{
    return (int32_t)lrintf(value);
}

DEVICE float exchange(float value, uint32_t mask)
{
    return as_float(hl_fiber_exchange(float_bits(value), mask));
}

DEVICE int32_t exchange_int(int32_t value, uint32_t mask)
{
    return (int32_t)hl_fiber_exchange((uint32_t)value, mask);
}

DEVICE void mma_words(enum hl_fiber_operation operation, uint32_t *c, const uint32_t *a, const uint32_t *b)
{
    struct hl_fiber *self = hl_fiber_self();
    memcpy(self->c, c, sizeof self->c);
    memcpy(self->a, a, sizeof self->a);
    memcpy(self->b, b, sizeof self->b);
    hl_fiber_meet(operation);
    memcpy(c, self->c, sizeof self->c);
}

DEVICE void mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
    mma_words(HL_FIBER_MMA_S8, (uint32_t *)c, a, b);
}

/* Its fragments are the first halves of those above. */
DEVICE void mma_s8_half(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    uint32_t wide_a[4] = {a[0], a[1], 0, 0}, wide_b[2] = {b, 0};
    mma_s8(c, wide_a, wide_b);
}

DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    uint32_t words[4];
    memcpy(words, c, sizeof words);
    mma_words(HL_FIBER_MMA_BF16, words, a, b);
    memcpy(c, words, sizeof words);
}

#endif
