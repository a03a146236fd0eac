/* AVX-512 linear kernels for few tokens. They read the tiles directly, and unpack each weight once for up to four
 * tokens.
 *
 * The bytes of a strip are read once, in order. So these kernels run at the memory's speed if two things hold:
 * computing a cache line takes less time than loading it (some ten cycles per core), and the line is prefetched in time
 * (hl_cpu_prefetch_lines()).
 *
 * Each line (avx512.h) has sixteen partial sums, even ones of row g, odd ones of row g + 8. They fold to rows at the
 * end of a strip. Quantized types use vpdpbusd, then one conversion and one fused multiply-add with the product of the
 * weights' and the activations' scale. Minima are multiplied with the sums of the activations in two more vectors.
 */
#include "base/sizes.h"
#include "kernels/cpu/avx512/avx512.h"

/* One token's 64 activations in the order of a line's words. */
struct spread {
    __m512i low, high, start_low, start_high;
    __m512 scale_low, scale_high, sum;
};

HL_INLINE struct spread spread_pair(uint32_t type, const struct hl_pair *pair)
{
    const __m512i words = _mm512_loadu_si512(pair->values);
    const __m512i starts = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)pair->start));
    const __m512i first_j = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i block = _mm512_set_epi32(1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0);
    const __m512i zero = _mm512_setzero_si512(), four = _mm512_set1_epi32(4);
    struct spread s;
    if (type == HL_TYPE_TILE_Q8) { /* word j or j + 4 of one block */
        __m512i place = _mm512_add_epi32(first_j, _mm512_slli_epi32(block, 2));
        s.low = _mm512_permutexvar_epi32(place, words);
        s.high = _mm512_permutexvar_epi32(_mm512_add_epi32(place, _mm512_set1_epi32(8)), words);
        s.start_low = _mm512_maskz_permutexvar_epi32(0x3, zero, starts);
        s.start_high = _mm512_maskz_permutexvar_epi32(0x3, _mm512_set1_epi32(2), starts);
        s.scale_low = _mm512_set1_ps(pair->scale[0]);
        s.scale_high = _mm512_set1_ps(pair->scale[1]);
        s.sum = _mm512_setzero_ps();
        return s;
    }
    __m512i place = _mm512_add_epi32(first_j, _mm512_slli_epi32(block, 3)), twice = _mm512_add_epi32(block, block);
    s.low = _mm512_permutexvar_epi32(place, words);
    s.high = _mm512_permutexvar_epi32(_mm512_add_epi32(place, four), words);
    s.start_low = _mm512_maskz_permutexvar_epi32(0xf, twice, starts);
    s.start_high = _mm512_maskz_permutexvar_epi32(0xf, _mm512_add_epi32(twice, _mm512_set1_epi32(1)), starts);
    double scale, sum;
    memcpy(&scale, pair->scale, sizeof scale);
    memcpy(&sum, pair->sum, sizeof sum);
    s.scale_low = s.scale_high = _mm512_permutexvar_ps(block, _mm512_castpd_ps(_mm512_set1_pd(scale)));
    s.sum = _mm512_permutexvar_ps(block, _mm512_castpd_ps(_mm512_set1_pd(sum)));
    return s;
}

/* Adds the products of a line with one token to its partial sums. */
HL_INLINE __m512 multiply_line(uint32_t type, struct line line, const struct spread *x, __m512 low, __m512 high,
                               __m512 sums)
{
    __m512i dot = _mm512_dpbusd_epi32(has_minima(type) ? _mm512_setzero_si512() : x->start_low, line.low, x->low);
    if (!two_scales(type)) {
        dot = _mm512_dpbusd_epi32(dot, line.high, x->high);
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(low, x->scale_low), sums);
    }
    __m512i other = _mm512_dpbusd_epi32(x->start_high, line.high, x->high);
    sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(low, x->scale_low), sums);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(other), _mm512_mul_ps(high, x->scale_high), sums);
}

/* Multiplies the two tiles of a q8 chunk, one after the other. */
HL_INLINE void multiply_q8(const struct chunk *chunk, const struct scales *scales, const struct spread *x,
                           __m512 sums[][LINES], int T)
{
    const __m512i top = _mm512_set1_epi8((char)-128);
    for (int upper = 0; upper < 2; upper++)
#pragma GCC unroll 8
        for (uint32_t g = 0; g < LINES; g++) {
            __m512i w = _mm512_xor_si512(_mm512_loadu_si512((upper ? chunk->high : chunk->low) + 64 * g), top);
            __m512 scale = line_scale(HL_TYPE_TILE_Q8, upper ? scales->high : scales->low, g);
            for (int t = 0; t < T; t++) {
                __m512i dot = upper ? _mm512_dpbusd_epi32(x[t].start_high, w, x[t].high)
                                    : _mm512_dpbusd_epi32(x[t].start_low, w, x[t].low);
                __m512 product = _mm512_mul_ps(scale, upper ? x[t].scale_high : x[t].scale_low);
                sums[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), product, sums[t][g]);
            }
        }
}

/* Serves every number of tokens: `type` and T are constants where this is inlined. */
HL_INLINE void strip_quantized(uint32_t type, const uint8_t *strip, uint32_t tiles, const uint8_t *const x[],
                               __m512 sums[][LINES], int T)
{
    const uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    const uint32_t chunks = (tiles * width + 63) / 64;
    __m512 least[4][2];
    for (int t = 0; t < T; t++)
        least[t][0] = least[t][1] = _mm512_setzero_ps();
    for (uint32_t i = 0; i < chunks; i++) {
        struct chunk chunk = chunk_at(type, strip, i, tiles);
        struct scales scales;
        struct spread columns[4];
        if (type == HL_TYPE_TILE_Q8 && T == 1)
            hl_cpu_prefetch_in_sequence(strip + (size_t)i * bytes * 64 / width, bytes * 64 / width);
        else
            hl_cpu_prefetch_lines(strip + (size_t)i * bytes * 64 / width, bytes * 64 / width, T == 1);
        scales_of(type, &chunk, &scales);
        for (int t = 0; t < T; t++)
            columns[t] = spread_pair(type, (const struct hl_pair *)(const void *)x[t] + i);
        for (int t = 0; has_minima(type) && t < T; t++)
            for (int half = 0; half < 2; half++)
                least[t][half] =
                    _mm512_fmadd_ps(_mm512_load_ps(scales.least + 16 * half), columns[t].sum, least[t][half]);
        if (type == HL_TYPE_TILE_Q8) {
            multiply_q8(&chunk, &scales, columns, sums, T);
            continue;
        }
#pragma GCC unroll 8
        for (uint32_t g = 0; g < LINES; g++) {
            struct line line = line_at(type, &chunk, g);
            __m512 low = line_scale(type, scales.low, g);
            __m512 high = two_scales(type) ? line_scale(type, scales.high, g) : low;
            for (int t = 0; t < T; t++)
                sums[t][g] = multiply_line(type, line, &columns[t], low, high, sums[t][g]);
        }
    }
    /* The minima of line g are in four of sixteen positions; mask out the others. */
    for (int t = 0; has_minima(type) && t < T; t++)
        for (uint32_t g = 0; g < LINES; g++) {
            __mmask16 mine = (__mmask16)(0xf << 4 * (g % 4));
            sums[t][g] = _mm512_mask_add_ps(sums[t][g], mine, sums[t][g], least[t][g / 4]);
        }
}

/* Returns eight words of 4 bytes, each doubled, in the order of a line of a tile whose lanes are words. */
HL_INLINE __m512i spread_words(const uint8_t *words)
{
    const __m512i place = _mm512_set_epi32(7, 7, 3, 3, 6, 6, 2, 2, 5, 5, 1, 1, 4, 4, 0, 0);
    __m256i eight = _mm256_loadu_si256((const __m256i *)(const void *)words);
    return _mm512_permutexvar_epi32(place, _mm512_castsi256_si512(eight));
}

HL_INLINE void strip_f32(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][LINES], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        __m512 columns[4];
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int t = 0; t < T; t++)
            columns[t] = _mm512_castsi512_ps(spread_words(x[t] + 32 * (size_t)tile));
#pragma GCC unroll 8
        for (int g = 0; g < LINES; g++) {
            __m512 w = _mm512_loadu_ps(weight + 64 * g);
            for (int t = 0; t < T; t++)
                sums[t][g] = _mm512_fmadd_ps(w, columns[t], sums[t][g]);
        }
    }
}

/* A word is two columns. Each half of a line widens to sixteen floats, in which the rows alternate in pairs. */
HL_INLINE void strip_f16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][LINES], int T)
{
    const __m512i low = _mm512_set_epi32(11, 10, 11, 10, 3, 2, 3, 2, 9, 8, 9, 8, 1, 0, 1, 0);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(4));
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        __m512 columns[4][2];
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int t = 0; t < T; t++) {
            __m512 sixteen = _mm512_loadu_ps(x[t] + 64 * (size_t)tile);
            columns[t][0] = _mm512_permutexvar_ps(low, sixteen);
            columns[t][1] = _mm512_permutexvar_ps(high, sixteen);
        }
#pragma GCC unroll 8
        for (int g = 0; g < LINES; g++)
            for (int half = 0; half < 2; half++) {
                __m512 w = halves_at(weight + 64 * g + 32 * half);
                for (int t = 0; t < T; t++)
                    sums[t][g] = _mm512_fmadd_ps(w, columns[t][half], sums[t][g]);
            }
    }
}

HL_INLINE void strip_bf16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][LINES], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512) {
        __m512bh columns[4];
        hl_cpu_prefetch_in_sequence(weight, 512);
        for (int t = 0; t < T; t++)
            columns[t] = (__m512bh)spread_words(x[t] + 32 * (size_t)tile);
#pragma GCC unroll 8
        for (int g = 0; g < LINES; g++) {
            __m512bh w = (__m512bh)_mm512_loadu_si512(weight + 64 * g);
            for (int t = 0; t < T; t++)
                sums[t][g] = _mm512_dpbf16_ps(sums[t][g], w, columns[t]);
        }
    }
}

HL_INLINE void strip_any(uint32_t type, const uint8_t *strip, uint32_t tiles, const uint8_t *const x[],
                         __m512 sums[][LINES], int T)
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

/* Folds sixteen sums, in which single rows or pairs alternate, to those of row g (low) and row g + 8. */
HL_INLINE __m128 fold(__m512 v, int paired)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    if (paired)
        return _mm_hadd_ps(quarter, quarter);
    return _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
}

HL_INLINE void store_strip(const struct hl_linear *linear, uint32_t token, uint32_t strip, const __m512 sums[LINES],
                           int paired)
{
    float rows[HL_TILE_ROWS];
    for (uint32_t g = 0; g < LINES; g++) {
        float two[4];
        _mm_storeu_ps(two, fold(sums[g], paired));
        rows[g] = two[0];
        rows[g + 8] = two[1];
    }
    uint32_t first = strip * HL_TILE_ROWS, left = linear->rows - first;
    __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
    __m512 all = _mm512_loadu_ps(rows);
    if (linear->bias)
        all = _mm512_add_ps(all, _mm512_maskz_loadu_ps(mask, linear->bias + first));
    _mm512_mask_storeu_ps(linear->out + token * linear->out_stride + first, mask, all);
}

HL_INLINE void tokens(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t token, int T)
{
    const uint8_t *weight = linear->weight + strip * hl_strip_bytes(type, linear->cols), *x[4];
    __m512 sums[4][LINES];
    for (int t = 0; t < T; t++) {
        x[t] = hl_linear_scratch(linear, token + (uint32_t)t);
        for (int g = 0; g < LINES; g++)
            sums[t][g] = _mm512_setzero_ps();
    }
    strip_any(type, weight, hl_strip_tiles(type, linear->cols), x, sums, T);
    for (int t = 0; t < T; t++)
        store_strip(linear, token + (uint32_t)t, strip, sums[t], type == HL_TYPE_TILE_F16);
}

HL_INLINE void strips(const struct hl_linear *linear, uint32_t type, uint32_t begin, uint32_t end)
{
    for (uint32_t strip = begin; strip < end; strip++)
        for (uint32_t token = 0; token < linear->n;) {
            uint32_t left = linear->n - token;
            if (left >= 4)
                tokens(linear, type, strip, token, 4);
            else if (left == 3)
                tokens(linear, type, strip, token, 3);
            else if (left == 2)
                tokens(linear, type, strip, token, 2);
            else
                tokens(linear, type, strip, token, 1);
            token += hl_min_u32(left, 4);
        }
}

void hl_avx512_decode(const struct hl_linear *linear, uint32_t begin, uint32_t end)
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
