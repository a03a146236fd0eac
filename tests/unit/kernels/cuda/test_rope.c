/* kernels/cuda/code/rope.cu on the host, against the CPU's. */
#include "kernels/cuda/code/rope.h"
#include "kernels/cuda/machine/fiber.h"
#include "tests/unit/kernels/cpu/matrix.h"

static void check_case(struct dice *dice, uint32_t n, uint32_t heads, uint32_t head_dim, uint32_t rotated)
{
    struct matrix want = matrix_random(dice, n, heads * head_dim, 2), got = matrix_new(dice, n, heads * head_dim);
    struct matrix angles = matrix_random(dice, n, rotated, 1);
    matrix_copy(&got, &want);
    hl_cpu_rope(want.data, want.stride, angles.data, angles.stride, heads, head_dim, rotated, n,
                (struct hl_share){0, 1});
    const struct hl_cuda_rope a = {
        got.data, angles.data, heads, head_dim, rotated, (uint32_t)got.stride, (uint32_t)angles.stride};
    hl_fiber_launch(hl_fiber_find("hl_cuda_rope"), &a, hl_cuda_rope_grid(&a, n), 1);
    for (uint32_t r = 0; r < n; r++)
        CHECK(memcmp(matrix_at(&got, r, 0), matrix_at(&want, r, 0), heads * head_dim * sizeof(float)) == 0);
    for (uint32_t r = 0; r + 1 < n; r++)
        for (size_t i = got.cols; i < got.stride; i++)
            CHECK(is_canary(matrix_at(&got, r, 0)[i]));
    matrix_free(&want);
    matrix_free(&got);
    matrix_free(&angles);
}

int main(void)
{
    struct dice dice = {0x109e};
    check_case(&dice, 1, 1, 2, 2);
    check_case(&dice, 3, 5, 7, 4);
    check_case(&dice, 2, 3, 128, 128);
    check_case(&dice, 5, 4, 96, 32);
    check_case(&dice, 1, 9, 256, 256);
    return check_summary();
}
