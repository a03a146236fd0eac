/* The quantizers for the registers of AVX-512. */
#if defined(__x86_64__)
#define LANES 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "pack/convert/quantize_lanes.h"

const struct hl_quantizers hl_quantizers_avx512 = {quantize_q8, quantize_q4, quantize_q6k};
#endif
