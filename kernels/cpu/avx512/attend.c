/* Attention with AVX-512: wide_attend.h in lanes of sixteen. */
#include "kernels/cpu/avx512/avx512.h"
#include "kernels/cpu/avx512/lanes_avx512.h"
#include "kernels/cpu/wide_attend.h"

void hl_avx512_attend(const struct hl_attend *attend, struct hl_share share)
{
    wide_attend(attend, share);
}
