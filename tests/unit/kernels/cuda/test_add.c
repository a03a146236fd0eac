/* kernels/cuda/code/add.cu on the host. */
#include "kernels/cuda/code/add.h"
#include "kernels/cuda/machine/fiber.h"
#include "tests/unit/check.h"

int main(void)
{
    float out[3 * 400], in[3 * 300];
    for (unsigned i = 0; i < 1200; i++)
        out[i] = (float)i;
    for (unsigned i = 0; i < 900; i++)
        in[i] = 1;
    const struct hl_cuda_add a = {out, in, 290, 400, 300};
    hl_fiber_launch(hl_fiber_find("hl_cuda_add"), &a, hl_cuda_add_grid(&a, 3), 1);
    for (unsigned i = 0; i < 1200; i++)
        CHECK(out[i] == (float)i + (i % 400 < 290));
    CHECK(!hl_fiber_find("hl_cuda_nothing"));
    return check_summary();
}
