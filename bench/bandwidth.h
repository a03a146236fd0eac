/* Time, medians, and the plain streaming read that kernels are compared with, for the programs of this folder. */
#ifndef HL_BENCH_BANDWIDTH_H
#define HL_BENCH_BANDWIDTH_H

#include "kernels/cpu/kernels.h"
#include <stdlib.h>
#include <time.h>

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double median(double *numbers, uint32_t n)
{
    qsort(numbers, n, sizeof *numbers, by_size);
    return numbers[n / 2];
}

typedef uint64_t wide __attribute__((vector_size(64), aligned(64)));

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static uint64_t
read_all(const wide *from, uint64_t n)
{
    wide sum[4] = {{0}};
    for (uint64_t i = 0; i < n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] |= from[i + (uint64_t)k];
    sum[0] |= sum[1] | sum[2] | sum[3];
    return sum[0][0] | sum[0][1] | sum[0][2] | sum[0][3] | sum[0][4] | sum[0][5] | sum[0][6] | sum[0][7];
}

/* Reads this thread's share of the bytes, with the widest loads of the processor. */
static inline void read_share(const uint8_t *from, uint64_t bytes, struct hl_share share)
{
    uint64_t part = bytes / share.count / 256 * 256;
    uint64_t sum = read_all((const wide *)(const void *)(from + part * share.index), part / 64);
    __asm__ volatile("" : : "r"(sum)); /* the loads must not be optimized away */
}

#endif
