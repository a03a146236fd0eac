/* kernels/cuda/code/math_inside.h against the C library in double. */
#include "kernels/cuda/code/math_inside.h"
#include "tests/unit/check.h"

/* Returns the distance of a float from the exact value in units of the float's last place. */
static double places(float got, double exact)
{
    if (isinf(got) || fabs(exact) > 0x1.ffffffp127)
        return (double)got == (double)(float)exact ? 0 : INFINITY;
    double last = fabs(exact) < 0x1p-126 ? 0x1p-149 : exp2(floor(log2(fabs(exact))) - 23);
    return fabs((double)got - exact) / last;
}

static double worst(float (*function)(float), double (*exact)(double))
{
    double most = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 4999) {
        float x = as_float((uint32_t)bits);
        if (isnan(x))
            CHECK(isnan(function(x)));
        else
            most = fmax(most, places(function(x), exact((double)x)));
    }
    for (float x = -110; x < 110; x += 0.00173f)
        most = fmax(most, places(function(x), exact((double)x)));
    return most;
}

static float exp_of(float x)
{
    return hl_cuda_exp(x);
}

static float tanh_of(float x)
{
    return hl_cuda_tanh(x);
}

int main(void)
{
    double of_exp = worst(exp_of, exp), of_tanh = worst(tanh_of, tanh);
    printf("exp within %.3f, tanh within %.3f places\n", of_exp, of_tanh);
    CHECK(of_exp <= 1.1);
    CHECK(of_tanh <= 1.5);
    CHECK(hl_cuda_exp(-INFINITY) == 0 && isinf(hl_cuda_exp(INFINITY)) && hl_cuda_exp(0) == 1);
    CHECK(hl_cuda_tanh(-INFINITY) == -1 && hl_cuda_tanh(INFINITY) == 1 && signbit(hl_cuda_tanh(-0.0f)));
    return check_summary();
}
