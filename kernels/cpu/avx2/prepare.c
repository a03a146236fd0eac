/* Converts activations to the form that weights multiply with (kernels.h), with AVX2. The bits equal the reference's.
 */
#include "base/sizes.h"
#include "kernels/cpu/avx2/avx2.h"

/* Loads eight columns, with zeros after the last. */
HL_INLINE __m256 columns_at(const float *x, uint32_t col, uint32_t cols)
{
    const __m256i places = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    if (col + 8 <= cols)
        return _mm256_loadu_ps(x + col);
    if (col >= cols)
        return _mm256_setzero_ps();
    return _mm256_maskload_ps(x + col, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(cols - col)), places));
}

HL_INLINE float most_of(const __m256 x[4])
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps(); /* a NaN is ignored: vmaxps returns its second operand */
    for (int i = 0; i < 4; i++)
        most = _mm256_max_ps(_mm256_andnot_ps(sign, x[i]), most);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

HL_INLINE int32_t sum_of(__m128i four)
{
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* Rounds. An infinite activation becomes the low byte of the smallest int32, as with vpmovdb in AVX-512. */
HL_INLINE __m256i round_to_ints(__m256 x, __m256 inverse)
{
    return _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)), _mm256_set1_epi32(0xff));
}

static void prepare_block(struct hl_pair *pair, uint32_t b, const float *x, uint32_t col, uint32_t cols, uint32_t type)
{
    const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
    __m256 block[4];
    __m256i ints[4];
    for (uint32_t i = 0; i < 4; i++)
        block[i] = columns_at(x, col + 8 * i, cols);
    float most = most_of(block);
    __m256 inverse = _mm256_set1_ps(most > 1e-30f ? 127.0f / most : 0);
    for (int i = 0; i < 4; i++)
        ints[i] = round_to_ints(block[i], inverse);
    __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(ints[0], ints[1]), _mm256_packus_epi32(ints[2], ints[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, order);
    _mm256_storeu_si256((__m256i *)(void *)(pair->values + 32 * b), bytes);
    pair->scale[b] = most / 127.0f;
    __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
    int32_t first = sum_of(_mm256_castsi256_si128(sums)), other = sum_of(_mm256_extracti128_si256(sums, 1));
    int32_t offset = hl_pair_offset(type);
    bool halves = type == HL_TYPE_TILE_Q6K;
    pair->start[2 * b] = -offset * (halves ? first : first + other);
    pair->start[2 * b + 1] = halves ? -offset * other : 0;
    pair->sum[b] = pair->scale[b] * (float)(first + other);
}

static void prepare_floats(uint8_t *to, const float *x, uint32_t col, uint32_t end, uint32_t cols, uint32_t type)
{
    for (; col < end; col++) {
        float value = col < cols ? x[col] : 0;
        uint16_t half = hl_f32_to_bf16(value);
        if (type == HL_TYPE_TILE_BF16)
            memcpy(to + 2 * col, &half, sizeof half);
        else
            memcpy(to + 4 * col, &value, sizeof value);
    }
}

void hl_avx2_prepare(const struct hl_linear *linear, struct hl_share share)
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
        for (uint32_t col = first; col < last; col += 32)
            prepare_block((struct hl_pair *)(void *)to + col / 64, col / 32 % 2, x, col, linear->cols, linear->type);
    }
}
