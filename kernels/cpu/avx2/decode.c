/* AVX2 (with FMA and F16C) linear kernels for few tokens: ../avx512/decode.c with each line in two halves.
 *
 * Products of bytes are summed in int16 as long as they fit (4-bit quants of a whole line, 6-bit ones of both halves),
 * then widened once. AVX2 has no dot product of bf16, so the two columns of a word widen to two vectors of float32: the
 * upper half of the word is a float32 already, the lower half needs a shift. Float types use these kernels for any
 * number of tokens.
 */
#include "base/sizes.h"
#include "kernels/cpu/avx2/avx2.h"

#define TOKENS 2
#define BATCH 32 /* tokens whose activations stay in the second-level cache from strip to strip */

/* One token's 64 activations in the order of a line's words; the index is the half. */
struct spread {
    __m256i low[2], high[2];
    __m128i start_low, start_high;
    __m256 scale_low, scale_high, sum;
};

/* Returns word `word` of both blocks, each doubled, b0 b0 b1 b1, then the same of the next word. */
HL_INLINE __m256i spread_quads(__m256i first, __m256i other, int word)
{
    const __m256i place = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
    __m256i at = _mm256_add_epi32(place, _mm256_set1_epi32(word));
    return _mm256_blend_epi32(_mm256_permutevar8x32_epi32(first, at), _mm256_permutevar8x32_epi32(other, at), 0xcc);
}

/* Returns the words j, j + 4 of one block, each doubled, for j and j + 1. */
HL_INLINE __m256i spread_words(__m256i words, int j)
{
    const __m256i place = _mm256_set_epi32(5, 5, 1, 1, 4, 4, 0, 0);
    return _mm256_permutevar8x32_epi32(words, _mm256_add_epi32(place, _mm256_set1_epi32(j)));
}

HL_INLINE __m256 quad_of(float first, float other)
{
    return _mm256_set_ps(other, other, first, first, other, other, first, first);
}

HL_INLINE struct spread spread_pair(uint32_t type, const struct hl_pair *pair)
{
    __m256i first = load256(pair->values), other = load256(pair->values + 32);
    struct spread s = {.sum = _mm256_setzero_ps()};
    for (int half = 0; half < 2; half++) {
        s.low[half] = type == HL_TYPE_TILE_Q8 ? spread_words(first, 2 * half) : spread_quads(first, other, 2 * half);
        s.high[half] =
            type == HL_TYPE_TILE_Q8 ? spread_words(other, 2 * half) : spread_quads(first, other, 2 * half + 4);
    }
    const int32_t *start = pair->start;
    s.start_low = _mm_set_epi32(start[2], start[2], start[0], start[0]);
    s.start_high = _mm_set_epi32(start[3], start[3], start[1], start[1]);
    if (type == HL_TYPE_TILE_Q8) {
        s.scale_low = _mm256_set1_ps(pair->scale[0]);
        s.scale_high = _mm256_set1_ps(pair->scale[1]);
        return s;
    }
    s.scale_low = s.scale_high = quad_of(pair->scale[0], pair->scale[1]);
    if (has_minima(type))
        s.sum = quad_of(pair->sum[0], pair->sum[1]);
    return s;
}

HL_INLINE __m256i widen(__m256i sums)
{
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

/* Multiplies both halves of one vector of a line. */
HL_INLINE __m256i multiply_halves(uint32_t type, __m256i w0, __m256i w1, const __m256i x[2])
{
    __m256i a = multiply_bytes(type, w0, x[0]), b = multiply_bytes(type, w1, x[1]);
    if (type == HL_TYPE_TILE_Q8)
        return _mm256_add_epi32(widen(a), widen(b));
    return _mm256_add_epi16(a, b); /* 63 * 127 * 4 fits */
}

HL_INLINE __m256i with_start(__m256i dot, __m128i start)
{
    return _mm256_add_epi32(dot, _mm256_inserti128_si256(_mm256_setzero_si256(), start, 0));
}

HL_INLINE __m256 multiply_line(uint32_t type, const struct line line[2], const struct spread *x, __m256 low,
                               __m256 high, __m256 sums)
{
    __m256i dot = multiply_halves(type, line[0].low, line[1].low, x->low);
    __m256i other = multiply_halves(type, line[0].high, line[1].high, x->high);
    if (type == HL_TYPE_TILE_Q6K) {
        dot = with_start(widen(dot), x->start_low);
        other = with_start(widen(other), x->start_high);
    }
    if (two_scales(type)) {
        sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(low, x->scale_low), sums);
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(other), _mm256_mul_ps(high, x->scale_high), sums);
    }
    dot = widen(_mm256_add_epi16(dot, other));
    if (!has_minima(type))
        dot = with_start(dot, x->start_low);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(low, x->scale_low), sums);
}

/* Serves every number of tokens: `type` and T are constants where this is inlined. */
HL_INLINE void strip_quantized(uint32_t type, const uint8_t *strip, uint32_t tiles, const uint8_t *const x[],
                               __m256 sums[][LINES], int T)
{
    const uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    const uint32_t chunks = (tiles * width + 63) / 64;
    __m256 least[TOKENS][4];
    for (int t = 0; t < T; t++)
        for (int i = 0; i < 4; i++)
            least[t][i] = _mm256_setzero_ps();
    for (uint32_t i = 0; i < chunks; i++) {
        struct chunk chunk = chunk_at(type, strip, i, tiles);
        struct scales scales;
        struct spread columns[TOKENS];
        hl_cpu_prefetch_lines(strip + (size_t)i * bytes * 64 / width, bytes * 64 / width, T == 1);
        scales_of(type, &chunk, &scales);
        for (int t = 0; t < T; t++)
            columns[t] = spread_pair(type, (const struct hl_pair *)(const void *)x[t] + i);
        for (int t = 0; has_minima(type) && t < T; t++)
            for (int k = 0; k < 4; k++)
                least[t][k] = _mm256_fmadd_ps(_mm256_load_ps(scales.least + 8 * k), columns[t].sum, least[t][k]);
#pragma GCC unroll 8
        for (uint32_t g = 0; g < LINES; g++) {
            const struct line line[2] = {line_at(type, &chunk, g, 0), line_at(type, &chunk, g, 1)};
            __m256 low = line_scale(type, scales.low, g);
            __m256 high = two_scales(type) ? line_scale(type, scales.high, g) : low;
            for (int t = 0; t < T; t++)
                sums[t][g] = multiply_line(type, line, &columns[t], low, high, sums[t][g]);
        }
    }
    /* The minima of line g are one half of a vector. */
    for (int t = 0; has_minima(type) && t < T; t++)
        for (uint32_t g = 0; g < LINES; g += 2) {
            __m256 both = least[t][g / 2], none = _mm256_setzero_ps();
            sums[t][g] = _mm256_add_ps(sums[t][g], _mm256_blend_ps(none, both, 0x0f));
            sums[t][g + 1] = _mm256_add_ps(sums[t][g + 1], _mm256_blend_ps(none, both, 0xf0));
        }
}

HL_INLINE void strip_f32(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m256 sums[][LINES], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int half = 0; half < 2; half++) {
            __m256 columns[TOKENS];
            for (int t = 0; t < T; t++)
                columns[t] = _mm256_castsi256_ps(spread_words(load256(x[t] + 32 * (size_t)tile), 2 * half));
            for (int g = 0; g < LINES; g++) {
                __m256 w = _mm256_castsi256_ps(load256(weight + 64 * g + 32 * half));
                for (int t = 0; t < T; t++)
                    sums[t][g] = _mm256_fmadd_ps(w, columns[t], sums[t][g]);
            }
        }
    }
}

/* Word j of each row is two columns. A quarter of a line widens to eight floats, in which the rows alternate in pairs.
 */
HL_INLINE void strip_f16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m256 sums[][LINES], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int j = 0; j < 4; j++) {
            __m256 columns[TOKENS];
            for (int t = 0; t < T; t++) {
                double low, high;
                memcpy(&low, x[t] + 64 * (size_t)tile + 8 * j, sizeof low);
                memcpy(&high, x[t] + 64 * (size_t)tile + 32 + 8 * j, sizeof high);
                columns[t] = _mm256_castpd_ps(_mm256_set_pd(high, high, low, low));
            }
            for (int g = 0; g < LINES; g++) {
                __m256 w = halves_at(weight + 64 * g + 16 * j);
                for (int t = 0; t < T; t++)
                    sums[t][g] = _mm256_fmadd_ps(w, columns[t], sums[t][g]);
            }
        }
    }
}

HL_INLINE void strip_bf16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m256 sums[][LINES], int T)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int half = 0; half < 2; half++) {
            __m256 even[TOKENS], odd[TOKENS];
            for (int t = 0; t < T; t++) {
                __m256i words = spread_words(load256(x[t] + 32 * (size_t)tile), 2 * half);
                even[t] = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
                odd[t] = _mm256_castsi256_ps(_mm256_and_si256(words, upper));
            }
            for (int g = 0; g < LINES; g++) {
                __m256i words = load256(weight + 64 * g + 32 * half);
                __m256 low = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
                __m256 high = _mm256_castsi256_ps(_mm256_and_si256(words, upper));
                for (int t = 0; t < T; t++) {
                    sums[t][g] = _mm256_fmadd_ps(low, even[t], sums[t][g]);
                    sums[t][g] = _mm256_fmadd_ps(high, odd[t], sums[t][g]);
                }
            }
        }
    }
}

HL_INLINE void strip_any(uint32_t type, const uint8_t *strip, uint32_t tiles, const uint8_t *const x[],
                         __m256 sums[][LINES], int T)
{
    if (type == HL_TYPE_TILE_F32)
        strip_f32(strip, tiles, x, sums, T);
    else if (type == HL_TYPE_TILE_F16)
        strip_f16(strip, tiles, x, sums, T);
    else if (type == HL_TYPE_TILE_BF16)
        strip_bf16(strip, tiles, x, sums, T);
    else
        strip_quantized(type, strip, tiles, x, sums, T);
}

/* Folds eight sums, in which single rows or pairs alternate, to those of row g (low) and row g + 8. */
HL_INLINE __m128 fold(__m256 v, int paired)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    if (paired)
        return _mm_hadd_ps(half, half);
    return _mm_add_ps(half, _mm_movehl_ps(half, half));
}

HL_INLINE void store_strip(const struct hl_linear *linear, uint32_t token, uint32_t strip, const __m256 sums[LINES],
                           int paired)
{
    float rows[HL_TILE_ROWS];
    for (uint32_t g = 0; g < LINES; g++) {
        float two[4];
        _mm_storeu_ps(two, fold(sums[g], paired));
        rows[g] = two[0];
        rows[g + 8] = two[1];
    }
    uint32_t first = strip * HL_TILE_ROWS, n = hl_min_u32(HL_TILE_ROWS, linear->rows - first);
    float *out = linear->out + token * linear->out_stride + first;
    for (uint32_t i = 0; i < n; i++)
        out[i] = linear->bias ? rows[i] + linear->bias[first + i] : rows[i];
}

HL_INLINE void tokens(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t token, int T)
{
    const uint8_t *weight = linear->weight + strip * hl_strip_bytes(type, linear->cols), *x[TOKENS];
    __m256 sums[TOKENS][LINES];
    for (int t = 0; t < T; t++) {
        x[t] = hl_linear_scratch(linear, token + (uint32_t)t);
        for (int g = 0; g < LINES; g++)
            sums[t][g] = _mm256_setzero_ps();
    }
    strip_any(type, weight, hl_strip_tiles(type, linear->cols), x, sums, T);
    for (int t = 0; t < T; t++)
        store_strip(linear, token + (uint32_t)t, strip, sums[t], type == HL_TYPE_TILE_F16);
}

HL_INLINE void strips(const struct hl_linear *linear, uint32_t type, uint32_t begin, uint32_t end)
{
    for (uint32_t first = 0; first < linear->n; first += BATCH)
        for (uint32_t strip = begin; strip < end; strip++) {
            uint32_t token = first, last = hl_min_u32(first + BATCH, linear->n);
            for (; token + TOKENS <= last; token += TOKENS)
                tokens(linear, type, strip, token, TOKENS);
            if (token < last)
                tokens(linear, type, strip, token, 1);
        }
}

void hl_avx2_decode(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
    switch (linear->type) {
    case HL_TYPE_TILE_F32:
        strips(linear, HL_TYPE_TILE_F32, begin, end);
        break;
    case HL_TYPE_TILE_F16:
        strips(linear, HL_TYPE_TILE_F16, begin, end);
        break;
    case HL_TYPE_TILE_BF16:
        strips(linear, HL_TYPE_TILE_BF16, begin, end);
        break;
    case HL_TYPE_TILE_Q8:
        strips(linear, HL_TYPE_TILE_Q8, begin, end);
        break;
    case HL_TYPE_TILE_Q4:
        strips(linear, HL_TYPE_TILE_Q4, begin, end);
        break;
    case HL_TYPE_TILE_Q4M:
        strips(linear, HL_TYPE_TILE_Q4M, begin, end);
        break;
    case HL_TYPE_TILE_Q4K:
        strips(linear, HL_TYPE_TILE_Q4K, begin, end);
        break;
    case HL_TYPE_TILE_Q6K:
        strips(linear, HL_TYPE_TILE_Q6K, begin, end);
        break;
    default:
        break;
    }
}
