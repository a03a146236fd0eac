/* AVX-512 (F, BW, DQ, VL, VNNI, BF16) linear kernels.
 *
 * 64 bytes of a tile are the four lanes of one g (tile.h): sixteen words that belong alternately to the rows g and g
 * + 8. The activations are prepared once, in the same order with each word doubled, so that one vector serves all eight
 * g:
 *
 *   weights of g   | g,w0 g+8,w0 g,w4 g+8,w4 | g,w1 g+8,w1 g,w5 g+8,w5 | ...
 *   activations    |  x0    x0    x4    x4   |  x1    x1    x5    x5   | ...
 *
 * and the sixteen partial sums of an accumulator fold to two rows: the even ones to g, the odd ones to g + 8. Two
 * tokens share one pass over a strip's weights; sixteen accumulators leave room for the loads.
 *
 * q8: vpdpbusd multiplies unsigned by signed bytes. The weights are made unsigned by flipping their top bit, which adds
 * 128; the sums start from -128 times the activations' own sum, kept beside them.
 */
#include "kernels/cpu/kernels.h"
#include <immintrin.h>
#include <math.h>

#define GROUPS 8 /* values of g */

/* Eight words of 4 bytes, each doubled, in the order of a tile's lanes. */
static void spread_words(uint32_t to[16], const uint32_t words[8])
{
    for (uint32_t j = 0; j < 4; j++) {
        to[4 * j] = to[4 * j + 1] = words[j];
        to[4 * j + 2] = to[4 * j + 3] = words[j + 4];
    }
}

static void prepare_f32(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[8];
    uint32_t words[8];
    hl_linear_columns(x, linear, token, 8 * tile, 8);
    memcpy(words, x, sizeof words);
    spread_words((uint32_t *)(void *)hl_linear_scratch(linear, token) + 16 * tile, words);
}

/* Each word is a pair of columns, and each half of a lane's vector widens to sixteen floats. */
static void prepare_f16(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[16], *to = (float *)(void *)hl_linear_scratch(linear, token) + 32 * tile;
    hl_linear_columns(x, linear, token, 16 * tile, 16);
    for (uint32_t j = 0; j < 4; j++)
        for (uint32_t i = 0; i < 8; i++)
            to[8 * j + i] = x[2 * (j + 4 * (i / 4)) + i % 2];
}

static void prepare_bf16(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[16];
    uint32_t words[8];
    hl_linear_columns(x, linear, token, 16 * tile, 16);
    for (uint32_t w = 0; w < 8; w++)
        words[w] = hl_f32_to_bf16(x[2 * w]) | (uint32_t)hl_f32_to_bf16(x[2 * w + 1]) << 16;
    spread_words((uint32_t *)(void *)hl_linear_scratch(linear, token) + 16 * tile, words);
}

/* One block of 32 columns beside q8. */
struct q8_block {
    uint32_t words[16]; /* int8 activations, spread */
    int32_t start[16];  /* -128 times the sum of each word's four */
    float scale;
    uint32_t unused[15];
};

static_assert(sizeof(struct q8_block) == 192, "fits the scratch of 32 columns");

static void prepare_q8(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    struct q8_block *block = (struct q8_block *)(void *)hl_linear_scratch(linear, token) + tile;
    float x[32];
    int8_t values[32];
    uint32_t words[8], starts[8];
    hl_linear_columns(x, linear, token, 32 * tile, 32);
    block->scale = hl_linear_q8(x, values);
    for (uint32_t w = 0; w < 8; w++) {
        const int8_t *four = values + 4 * w;
        starts[w] = (uint32_t)(-128 * (four[0] + four[1] + four[2] + four[3]));
    }
    memcpy(words, values, sizeof words);
    spread_words(block->words, words);
    spread_words((uint32_t *)block->start, starts);
}

/* Folds sixteen sums, in pairs or in alternation of the rows, to those of row g (low) and row g + 8 (high). */
static inline __m128 fold(__m512 v, int paired)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    if (paired)
        return _mm_hadd_ps(quarter, quarter);
    return _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
}

static void store_strip(const struct hl_linear *linear, uint32_t token, uint32_t strip, const __m512 sums[GROUPS],
                        int paired)
{
    float rows[HL_TILE_ROWS];
    for (uint32_t g = 0; g < GROUPS; g++) {
        float two[4];
        _mm_storeu_ps(two, fold(sums[g], paired));
        rows[g] = two[0];
        rows[g + 8] = two[1];
    }
    hl_linear_store(linear, token, strip, rows);
}

/* The strips below are written once for one and for two tokens: T is a constant where they are inlined. */
#define STRIP static inline __attribute__((always_inline)) void

STRIP strip_f32(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][GROUPS], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512)
        for (int g = 0; g < GROUPS; g++) {
            __m512 w = _mm512_loadu_ps(weight + 64 * g);
            for (int t = 0; t < T; t++)
                sums[t][g] = _mm512_fmadd_ps(w, _mm512_load_ps(x[t] + 64 * (size_t)tile), sums[t][g]);
        }
}

STRIP strip_f16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][GROUPS], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512)
        for (int g = 0; g < GROUPS; g++) {
            __m512i halves = _mm512_loadu_si512(weight + 64 * g);
            __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
            __m512 high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
            for (int t = 0; t < T; t++) {
                const uint8_t *columns = x[t] + 128 * (size_t)tile;
                sums[t][g] = _mm512_fmadd_ps(low, _mm512_load_ps(columns), sums[t][g]);
                sums[t][g] = _mm512_fmadd_ps(high, _mm512_load_ps(columns + 64), sums[t][g]);
            }
        }
}

STRIP strip_bf16(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][GROUPS], int T)
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512)
        for (int g = 0; g < GROUPS; g++) {
            __m512bh w = (__m512bh)_mm512_loadu_si512(weight + 64 * g);
            for (int t = 0; t < T; t++) {
                __m512bh columns = (__m512bh)_mm512_load_si512(x[t] + 64 * (size_t)tile);
                sums[t][g] = _mm512_dpbf16_ps(sums[t][g], w, columns);
            }
        }
}

STRIP strip_q8(const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][GROUPS], int T)
{
    const __m512i top = _mm512_set1_epi8((char)-128);
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 544) {
        __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(weight + 512)));
        __m512d pairs[2];
        const struct q8_block *block[2];
        for (int t = 0; t < T; t++) {
            block[t] = (const struct q8_block *)(const void *)x[t] + tile;
            pairs[t] = _mm512_castps_pd(_mm512_mul_ps(scales, _mm512_set1_ps(block[t]->scale)));
        }
        for (int g = 0; g < GROUPS; g++) {
            __m512i w = _mm512_xor_si512(_mm512_loadu_si512(weight + 64 * g), top);
            for (int t = 0; t < T; t++) {
                __m512i sum =
                    _mm512_dpbusd_epi32(_mm512_load_si512(block[t]->start), w, _mm512_load_si512(block[t]->words));
                __m512 scale = _mm512_castpd_ps(_mm512_permutexvar_pd(_mm512_set1_epi64(g), pairs[t]));
                sums[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, sums[t][g]);
            }
        }
    }
}

STRIP strip_any(uint32_t type, const uint8_t *weight, uint32_t tiles, const uint8_t *const x[], __m512 sums[][GROUPS],
                int T)
{
    if (type == HL_TYPE_TILE_F32)
        strip_f32(weight, tiles, x, sums, T);
    else if (type == HL_TYPE_TILE_F16)
        strip_f16(weight, tiles, x, sums, T);
    else if (type == HL_TYPE_TILE_BF16)
        strip_bf16(weight, tiles, x, sums, T);
    else
        strip_q8(weight, tiles, x, sums, T);
}

STRIP linear_tokens(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t token, int T)
{
    uint32_t tiles = hl_strip_tiles(type, linear->cols);
    const uint8_t *weight = linear->weight + strip * hl_strip_bytes(type, linear->cols), *x[2];
    __m512 sums[2][GROUPS];
    for (int t = 0; t < T; t++) {
        x[t] = hl_linear_scratch(linear, token + (uint32_t)t);
        for (int g = 0; g < GROUPS; g++)
            sums[t][g] = _mm512_setzero_ps();
    }
    strip_any(type, weight, tiles, x, sums, T);
    for (int t = 0; t < T; t++)
        store_strip(linear, token + (uint32_t)t, strip, sums[t], type == HL_TYPE_TILE_F16);
}

STRIP linear_strips(const struct hl_linear *linear, uint32_t type, struct hl_share strips)
{
    uint32_t begin, end;
    hl_share_range(strips, hl_tile_strips(linear->rows), &begin, &end);
    for (uint32_t strip = begin; strip < end; strip++) {
        uint32_t token = 0;
        for (; token + 2 <= linear->n; token += 2)
            linear_tokens(linear, type, strip, token, 2);
        if (token < linear->n)
            linear_tokens(linear, type, strip, token, 1);
    }
}

static void linear_f32(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, HL_TYPE_TILE_F32, strips);
}

static void linear_f16(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, HL_TYPE_TILE_F16, strips);
}

static void linear_bf16(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, HL_TYPE_TILE_BF16, strips);
}

static void linear_q8(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, HL_TYPE_TILE_Q8, strips);
}

static inline __mmask16 tail_mask(uint32_t left)
{
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

static float dot(const float *a, const float *b, uint32_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

static void axpy(float *y, float a, const float *x, uint32_t n)
{
    __m512 factor = _mm512_set1_ps(a);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        __m512 sum = _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, y + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

static void f16_load(float *to, const uint16_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        _mm512_mask_storeu_ps(to + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from + i)));
    }
}

static void f16_store(uint16_t *to, const float *from, uint32_t n)
{
    const __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 mask = tail_mask(n - i);
        __m512 value = _mm512_min_ps(_mm512_max_ps(_mm512_maskz_loadu_ps(mask, from + i), least), most);
        _mm256_mask_storeu_epi16(to + i, mask, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

const struct hl_kernels hl_kernels_avx512 = {
    .name = "avx512",
    .prepare = {[HL_TYPE_TILE_F32] = prepare_f32,
                [HL_TYPE_TILE_F16] = prepare_f16,
                [HL_TYPE_TILE_BF16] = prepare_bf16,
                [HL_TYPE_TILE_Q8] = prepare_q8},
    .linear = {[HL_TYPE_TILE_F32] = linear_f32,
               [HL_TYPE_TILE_F16] = linear_f16,
               [HL_TYPE_TILE_BF16] = linear_bf16,
               [HL_TYPE_TILE_Q8] = linear_q8},
    .dot = dot,
    .axpy = axpy,
    .f16_load = f16_load,
    .f16_store = f16_store,
};
