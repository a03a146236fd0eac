/* Stand-ins for helpers of kernels/cuda/code that are not written yet: their names and meaning are those of the real
 * ones. To be removed with them. */
#ifndef HL_KERNELS_CUDA_STANDINS_H
#define HL_KERNELS_CUDA_STANDINS_H

#include "kernels/cuda/code/best.h"
#include "kernels/cuda/code/linear.h"
#include "kernels/cuda/code/prepare.h"

static inline const char *hl_cuda_linear_kernel(uint32_t type, uint32_t n)
{
    static const char *const names[] = {NULL,
                                        "hl_cuda_linear_f32",
                                        "hl_cuda_linear_f16",
                                        "hl_cuda_linear_bf16",
                                        "hl_cuda_linear_q8",
                                        "hl_cuda_linear_q4",
                                        "hl_cuda_linear_q4m",
                                        "hl_cuda_linear_q4k",
                                        "hl_cuda_linear_q6k"};
    (void)n;
    return names[type];
}

static inline struct hl_cuda_grid hl_cuda_linear_grid(uint32_t type, const struct hl_cuda_linear *a)
{
    struct hl_cuda_grid grid = {(a->rows + 15) / 16, (a->n + 7) / 8, 1};
    (void)type;
    return grid;
}

static inline const char *hl_cuda_prepare_kernel(uint32_t type)
{
    return type == 0   ? NULL
           : type <= 2 ? "hl_cuda_prepare_float"
           : type == 3 ? "hl_cuda_prepare_bf16"
                       : "hl_cuda_prepare_int8";
}

static inline struct hl_cuda_grid hl_cuda_prepare_grid(uint32_t type, const struct hl_cuda_prepare *a)
{
    struct hl_cuda_grid grid = {(a->cols + 63) / 64, (a->n + 7) / 8, 1};
    (void)type;
    return grid;
}

static inline size_t hl_cuda_prepared_bytes(uint32_t type, uint32_t cols, uint32_t n)
{
    (void)type;
    return ((size_t)cols + 255) / 256 * 256 * 8 * ((n + 7) / 8 * 8);
}

#define HL_CUDA_BEST_STEPS 2u

static inline const char *hl_cuda_best_kernel(uint32_t step)
{
    return step == 0 ? "hl_cuda_best_parts" : "hl_cuda_best_merge";
}

static inline struct hl_cuda_grid hl_cuda_best_grid(uint32_t step, const struct hl_cuda_best *a, uint32_t n)
{
    struct hl_cuda_grid grid = {step == 0 ? (a->vocabulary + 4095) / 4096 : 1, n, 1};
    return grid;
}

static inline size_t hl_cuda_best_scratch_bytes(uint32_t vocabulary, uint32_t n)
{
    return (size_t)((vocabulary + 4095) / 4096) * 8 * HL_CUDA_BEST_MOST * n;
}

#endif
