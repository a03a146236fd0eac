/* Attention with AVX2: wide_attend.h in lanes of eight. */
#include "kernels/cpu/avx2/avx2.h"
#include "kernels/cpu/avx2/lanes_avx2.h"
#include "kernels/cpu/wide_attend.h"

void hl_avx2_attend(const struct hl_attend *attend, struct hl_share share)
{
    wide_attend(attend, share);
}
