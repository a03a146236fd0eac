/* kernels/cuda/code/kv_write.cu on the host: the cache has the CPU's numbers, bit for bit, and nothing else is written. */
#include "kernels/cuda/code/kv_write.h"
#include "kernels/cuda/machine/fiber.h"
#include "tests/unit/kernels/cuda/two_caches.h"

/* Numbers that a conversion could get wrong, among others. */
static void fill(struct dice *dice, float *x, size_t n)
{
    static const float odd[] = {NAN,      INFINITY, -INFINITY, 65504, 65519,  65520,   1e6f,    -1e6f,    1e-8f,
                                -6.1e-5f, 0x1p-24f, 0x1p-25f,  -0.0f, 1e-38f, 3.4e38f, 2049.5f, 0x1p-149f};
    uint32_t kind = dice_between(dice, 0, 3); /* a block of small ones has a small scale */
    for (size_t i = 0; i < n; i++)
        x[i] = kind == 0 && dice_between(dice, 0, 19) == 0 ? odd[dice_between(dice, 0, HL_COUNT(odd) - 1)]
               : kind == 1                                 ? dice_float(dice, 1e-5f)
               : kind == 2                                 ? 0
                                                           : dice_float(dice, 3);
}

static void check_case(struct dice *dice, uint32_t type, uint32_t heads, uint32_t head_dim)
{
    enum { N = 9, STRIDE_MORE = 3 };
    struct two_caches c = two_caches_new(dice, type, heads, head_dim, 3);
    uint32_t stride = heads * head_dim + STRIDE_MORE, slots[N], first = 60;
    float *k = calloc(2 * N * stride, sizeof *k), *v = k + N * stride;
    for (uint32_t i = 0; i < 2 * N; i++)
        fill(dice, k + i * stride, stride);
    two_caches_write_cpu(&c, first, N, k, v, stride, stride);
    for (uint32_t i = 0; i < N; i++) {
        slots[i] = c.pages[(first + i) / 64] * 64 + (first + i) % 64;
        for (uint32_t half = 0; half < 2 * heads; half++)
            two_caches_copy(&c, first + i, half / 2, half % 2);
    }
    size_t bytes = c.n_pages * c.gpu.page_bytes;
    uint8_t *got = aligned_alloc(256, bytes), *want = c.gpu.base;
    memset(got, 0xff, bytes);
    c.gpu.base = got;
    const struct hl_cuda_kv_write a = {
        .kv = c.gpu, .k = k, .v = v, .slots = slots, .k_stride = stride, .v_stride = stride};
    hl_fiber_launch(hl_fiber_find("hl_cuda_kv_write"), &a, hl_cuda_kv_write_grid(&a, N), head_dim);
    CHECK_SAY(memcmp(got, want, bytes) == 0, "type %u, %u heads of %u", type, heads, head_dim);
    free(want);
    free(k);
    two_caches_free(&c);
}

int main(void)
{
    static const uint32_t dims[] = {1, 8, 20, 32, 33, 64, 80, 128, 256, 300};
    struct dice dice = {0xca5e};
    for (uint32_t type = 0; type < 3; type++)
        for (uint32_t i = 0; i < HL_COUNT(dims); i++)
            for (uint32_t heads = 1; heads < 6; heads += 2)
                check_case(&dice, type, heads, dims[i]);
    return check_summary();
}
