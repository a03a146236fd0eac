/* Integers of a known size. NVRTC has no headers, so it is told here. */
#ifndef HL_KERNELS_CUDA_MACHINE_TYPES_H
#define HL_KERNELS_CUDA_MACHINE_TYPES_H

#if defined(__CUDACC_RTC__)
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned long size_t;
#define NULL 0
#else
#include <stddef.h>
#include <stdint.h>
#endif

/* A function of a header that host and kernels call. */
#if defined(__CUDACC__)
#define HL_CUDA_BOTH __host__ __device__
#else
#define HL_CUDA_BOTH
#endif

/* Blocks of a launch, as cuLaunchKernel() takes them. */
struct hl_cuda_grid {
    uint32_t x, y, z;
};

#endif
