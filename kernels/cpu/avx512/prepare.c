/* Converts activations to the form that weights multiply with (kernels.h), with AVX-512. The bits equal the
 * reference's. */
#include "base/sizes.h"
#include "kernels/cpu/avx512/avx512.h"

HL_INLINE __mmask16 mask_of(uint32_t col, uint32_t cols)
{
    uint32_t left = col < cols ? cols - col : 0;
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

HL_INLINE __m512 columns_at(const float *x, uint32_t col, uint32_t cols)
{
    return _mm512_maskz_loadu_ps(mask_of(col, cols), x + col);
}

/* Returns the largest magnitude in two vectors, ignoring NaN. */
HL_INLINE float most_of(__m512 a, __m512 b)
{
    __m512 most = _mm512_max_ps(_mm512_abs_ps(a), _mm512_setzero_ps());
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(b), most));
}

HL_INLINE __m128i round_to_bytes(__m512 x, __m512 inverse)
{
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
}

static void prepare_pair(struct hl_pair *pair, const float *x, uint32_t col, uint32_t cols, uint32_t type)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m128i *to = (__m128i *)(void *)pair->values;
    int32_t sums[16];
    for (uint32_t b = 0; b < 2; b++) {
        __m512 low = columns_at(x, col + 32 * b, cols), high = columns_at(x, col + 32 * b + 16, cols);
        float most = most_of(low, high);
        __m512 inverse = _mm512_set1_ps(most > 1e-30f ? 127.0f / most : 0);
        _mm_storeu_si128(to + 2 * b, round_to_bytes(low, inverse));
        _mm_storeu_si128(to + 2 * b + 1, round_to_bytes(high, inverse));
        pair->scale[b] = most / 127.0f;
    }
    __m512i four = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, _mm512_loadu_si512(pair->values));
    four = _mm512_add_epi32(four, _mm512_shuffle_epi32(four, _MM_PERM_BADC));
    four = _mm512_add_epi32(four, _mm512_shuffle_epi32(four, _MM_PERM_CDAB));
    _mm512_storeu_si512(sums, four);
    for (uint32_t b = 0; b < 2; b++) {
        int32_t first = sums[8 * b], other = sums[8 * b + 4], offset = hl_pair_offset(type);
        bool halves = type == HL_TYPE_TILE_Q6K;
        pair->start[2 * b] = -offset * (halves ? first : first + other);
        pair->start[2 * b + 1] = halves ? -offset * other : 0;
        pair->sum[b] = pair->scale[b] * (float)(first + other);
    }
}

/* Rounds as the reference does. vcvtneps2bf16 would treat subnormals as zeros. */
HL_INLINE __m256i to_bf16(__m512 x)
{
    __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

static void prepare_floats(uint8_t *to, const float *x, uint32_t col, uint32_t end, uint32_t cols, uint32_t type)
{
    for (; col < end; col += 16) {
        __m512 columns = columns_at(x, col, cols);
        __mmask16 mask = mask_of(col, end);
        if (type == HL_TYPE_TILE_BF16)
            _mm256_storeu_si256((__m256i *)(void *)(to + 2 * col), to_bf16(columns));
        else
            _mm512_mask_storeu_ps(to + 4 * col, mask, columns);
    }
}

void hl_avx512_prepare(const struct hl_linear *linear, struct hl_share share)
{
    uint32_t begin, end, pieces = hl_linear_pieces(linear), padded = hl_linear_padded(linear);
    hl_share_range(share, linear->n * pieces, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t token = i / pieces, first = i % pieces * HL_PIECE, last = hl_min_u32(first + HL_PIECE, padded);
        const float *x = linear->in + token * linear->in_stride;
        uint8_t *to = hl_linear_scratch(linear, token);
        if (!hl_type_is_quantized(linear->type)) {
            prepare_floats(to, x, first, last, linear->cols, linear->type);
            continue;
        }
        for (uint32_t col = first; col < last; col += 64)
            prepare_pair((struct hl_pair *)(void *)to + col / 64, x, col, linear->cols, linear->type);
    }
}
