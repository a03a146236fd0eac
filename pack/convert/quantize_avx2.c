/* The quantizers for the registers of AVX2. */
#if defined(__x86_64__)
#define LANES 8
#define TARGET __attribute__((target("avx2")))
#include "pack/convert/quantize_lanes.h"

const struct hl_quantizers hl_quantizers_avx2 = {quantize_q8, quantize_q4, quantize_q6k};
#endif
