/* All that a kernel asks of the machine. Each operation has two bodies:
 *
 *   nvcc, NVRTC    inline PTX, below
 *   a C compiler   plain C, where a thread is a fiber (fiber.h): tests run the very source that a GPU runs
 *
 * A kernel is written once, in what C and CUDA C++ have in common. It takes one struct, by value:
 *
 *   KERNEL(hl_cuda_add, 256, struct hl_cuda_add)   the name, the threads of a block, the type of its arguments
 *   {
 *       ... arguments.out ...
 *   }
 *
 * KERNEL_OF_BLOCKS() takes another number before the type: the blocks that a multiprocessor must have registers for. A
 * compiler that knows it uses as many as that leaves, and so has more reads under way.
 *
 * Operations marked "warp" need all 32 lanes. SHARED declares an array of the block's shared memory, at the start of a
 * function; it holds garbage until it is written.
 */
#ifndef HL_KERNELS_CUDA_MACHINE_MACHINE_H
#define HL_KERNELS_CUDA_MACHINE_MACHINE_H

#include "kernels/cuda/machine/types.h"

#if defined(__CUDACC__)

#define KERNEL(name, threads, type) extern "C" __global__ void __launch_bounds__(threads) name(type arguments)
#define KERNEL_OF_BLOCKS(name, threads, blocks, type)                                                                  \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(type arguments)
#define DEVICE static __device__ __forceinline__
#define SHARED(type, name, n) __shared__ type name[n]
#define UNROLL _Pragma("unroll")

DEVICE uint32_t thread_index(void)
{
    return threadIdx.x;
}
DEVICE uint32_t block_index(void)
{
    return blockIdx.x;
}
DEVICE uint32_t block_index_y(void)
{
    return blockIdx.y;
}
DEVICE uint32_t block_index_z(void)
{
    return blockIdx.z;
}
DEVICE void block_barrier(void)
{
    __syncthreads();
}

/* Read once, by one thread of the grid: kept out of the first-level cache, which is the activations'. */
DEVICE void stream16(uint32_t to[4], const void *from)
{
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "l"(from));
}

DEVICE void load16(uint32_t to[4], const void *from)
{
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "l"(from));
}

DEVICE void load8(uint32_t to[2], const void *from)
{
    asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
}

DEVICE uint32_t load4(const void *from)
{
    uint32_t to;
    asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(to) : "l"(from));
    return to;
}

DEVICE uint32_t load2(const void *from)
{
    unsigned short to;
    asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(to) : "l"(from));
    return to;
}

DEVICE float as_float(uint32_t bits)
{
    return __uint_as_float(bits);
}
DEVICE uint32_t float_bits(float value)
{
    return __float_as_uint(value);
}

/* The half in the low (0) or high (1) part of a word. */
DEVICE float half_at(uint32_t word, int part)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((unsigned short)(part ? word >> 16 : word)));
    return value;
}

/* The half nearest to a value. */
DEVICE uint32_t half_bits(float value)
{
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

/* A product that no compiler fuses with a sum. */
DEVICE float multiply(float a, float b)
{
    return __fmul_rn(a, b);
}

DEVICE float multiply_add(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}
DEVICE int32_t round_to_int(float value)
{
    return __float2int_rn(value);
}

/* warp: the value of lane (own ^ mask) */
DEVICE float exchange(float value, uint32_t mask)
{
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
DEVICE int32_t exchange_int(int32_t value, uint32_t mask)
{
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

/* warp: c += a b; 16 x 8 numbers, over 32 columns of int8, or over 16 of bf16. Who holds which element: PTX ISA,
 * "Matrix Fragments for mma.m16n8k32" and "... for mma.m16n8k16 with floating point type". */
DEVICE void mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The same over 16 columns, "... for mma.m16n8k16 with integer type". */
DEVICE void mma_s8_half(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}

DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else
#include "kernels/cuda/machine/machine_host.h"
#endif

#endif
