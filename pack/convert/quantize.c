/* Chooses the fastest quantizers for this processor. Also contains the plain ones, for registers that every processor
 * has (pack/convert/quantize_lanes.h). */
#define LANES 4
#define TARGET
#include "pack/convert/quantize_lanes.h"

const struct hl_quantizers hl_quantizers_plain = {quantize_q8, quantize_q4, quantize_q6k};

static const struct hl_quantizers *quantizers(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &hl_quantizers_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &hl_quantizers_avx2;
#endif
    return &hl_quantizers_plain;
}

bool hl_quantize_q8(const float *x, uint32_t n, struct hl_block_q8 *out)
{
    return quantizers()->q8(x, n, out);
}

bool hl_quantize_q4(const float *x, uint32_t n, struct hl_block_q4 *out)
{
    return quantizers()->q4(x, n, out);
}

bool hl_quantize_q6k(const float x[256], struct hl_block_q6k *out)
{
    return quantizers()->q6k(x, out);
}
