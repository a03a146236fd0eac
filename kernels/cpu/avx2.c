/* AVX2 (with FMA and F16C) linear kernels: those of avx512.c with each 64 bytes taken as two halves.
 *
 * A half is two lanes: eight words that alternate between the rows g and g + 8. bf16 has no dot product here; a word's
 * two columns widen to two vectors of float32 (the upper half of the word is one already, the lower needs a shift),
 * against activations that were rounded to bf16 first, so that the result is that of the other devices.
 *
 * q8: vpmaddubsw multiplies unsigned by signed bytes, so |w| meets x with w's sign; 2 * 128 * 127 fits its int16.
 */
#include "kernels/cpu/kernels.h"
#include <immintrin.h>
#include <math.h>

#define GROUPS 8 /* values of g */

/* The word (0..7) of a row that stands at place i (0..15) of a tile's 64 bytes. */
static inline uint32_t word_at(uint32_t i)
{
    return i / 4 + 4 * (i % 4 / 2);
}

static void prepare_f32(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[8], *to = (float *)(void *)hl_linear_scratch(linear, token) + 16 * tile;
    hl_linear_columns(x, linear, token, 8 * tile, 8);
    for (uint32_t i = 0; i < 16; i++)
        to[i] = x[word_at(i)];
}

/* Four vectors a tile: for f16 the floats in the order of the halves; for bf16, per half, the even columns, then the
 * odd. */
static void prepare_f16(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[16], *to = (float *)(void *)hl_linear_scratch(linear, token) + 32 * tile;
    hl_linear_columns(x, linear, token, 16 * tile, 16);
    for (uint32_t i = 0; i < 32; i++)
        to[i] = x[2 * word_at(i / 2) + i % 2];
}

static void prepare_bf16(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    float x[16], *to = (float *)(void *)hl_linear_scratch(linear, token) + 32 * tile;
    hl_linear_columns(x, linear, token, 16 * tile, 16);
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t place = 8 * (i / 16) + i % 8, odd = i / 8 % 2;
        to[i] = hl_bf16_to_f32(hl_f32_to_bf16(x[2 * word_at(place) + odd]));
    }
}

/* One block of 32 columns beside q8. */
struct q8_block {
    int8_t values[64]; /* in the order of a tile's 64 bytes */
    float scale;
    uint32_t unused[7];
};

static_assert(sizeof(struct q8_block) == 96, "fits the scratch of 32 columns");

static void prepare_q8(const struct hl_linear *linear, uint32_t token, uint32_t tile)
{
    struct q8_block *block = (struct q8_block *)(void *)hl_linear_scratch(linear, token) + tile;
    float x[32];
    int8_t values[32];
    hl_linear_columns(x, linear, token, 32 * tile, 32);
    block->scale = hl_linear_q8(x, values);
    for (uint32_t i = 0; i < 64; i++)
        block->values[i] = values[4 * word_at(i / 4) + i % 4];
}

/* Folds eight sums, in pairs or in alternation of the rows, to those of row g (low) and row g + 8 (high). */
static inline __m128 fold(__m256 v, int paired)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    if (paired)
        return _mm_hadd_ps(half, half);
    return _mm_add_ps(half, _mm_movehl_ps(half, half));
}

static void store_strip(const struct hl_linear *linear, uint32_t token, uint32_t strip, const __m256 sums[GROUPS],
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

static void strip_f32(const uint8_t *weight, uint32_t tiles, const uint8_t *x, __m256 sums[GROUPS])
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512, x += 64) {
        __m256 low = _mm256_load_ps((const float *)(const void *)x);
        __m256 high = _mm256_load_ps((const float *)(const void *)(x + 32));
        for (int g = 0; g < GROUPS; g++) {
            const float *w = (const float *)(const void *)(weight + 64 * g);
            sums[g] = _mm256_fmadd_ps(_mm256_loadu_ps(w), low, sums[g]);
            sums[g] = _mm256_fmadd_ps(_mm256_loadu_ps(w + 8), high, sums[g]);
        }
    }
}

static void strip_f16(const uint8_t *weight, uint32_t tiles, const uint8_t *x, __m256 sums[GROUPS])
{
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512, x += 128)
        for (int g = 0; g < GROUPS; g++)
            for (int quarter = 0; quarter < 4; quarter++) {
                const __m128i *halves = (const __m128i *)(const void *)(weight + 64 * g + 16 * quarter);
                __m256 columns = _mm256_load_ps((const float *)(const void *)(x + 32 * quarter));
                sums[g] = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm_loadu_si128(halves)), columns, sums[g]);
            }
}

static void strip_bf16(const uint8_t *weight, uint32_t tiles, const uint8_t *x, __m256 sums[GROUPS])
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 512, x += 128)
        for (int g = 0; g < GROUPS; g++)
            for (int half = 0; half < 2; half++) {
                __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)(weight + 64 * g + 32 * half));
                const float *columns = (const float *)(const void *)(x + 64 * half);
                __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
                __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(words, upper));
                sums[g] = _mm256_fmadd_ps(even, _mm256_load_ps(columns), sums[g]);
                sums[g] = _mm256_fmadd_ps(odd, _mm256_load_ps(columns + 8), sums[g]);
            }
}

static void strip_q8(const uint8_t *weight, uint32_t tiles, const uint8_t *x, __m256 sums[GROUPS])
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (uint32_t tile = 0; tile < tiles; tile++, weight += 544) {
        const struct q8_block *block = (const struct q8_block *)(const void *)x + tile;
        __m256 token = _mm256_set1_ps(block->scale);
        for (int g = 0; g < GROUPS; g++) {
            __m256i sum = _mm256_setzero_si256();
            for (int half = 0; half < 2; half++) {
                __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(weight + 64 * g + 32 * half));
                __m256i columns = _mm256_load_si256((const __m256i *)(const void *)(block->values + 32 * half));
                __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(columns, w));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            int two; /* the scales of the rows g and g + 8 */
            memcpy(&two, weight + 512 + 4 * g, sizeof two);
            __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(two));
            __m256 scale = _mm256_castpd_ps(_mm256_broadcastsd_pd(_mm_castps_pd(scales)));
            sums[g] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, token), sums[g]);
        }
    }
}

typedef void strip_function(const uint8_t *weight, uint32_t tiles, const uint8_t *x, __m256 sums[GROUPS]);

static void linear_strips(const struct hl_linear *linear, strip_function *multiply, struct hl_share strips)
{
    uint32_t begin, end, tiles = hl_strip_tiles(linear->type, linear->cols);
    hl_share_range(strips, hl_tile_strips(linear->rows), &begin, &end);
    for (uint32_t strip = begin; strip < end; strip++)
        for (uint32_t token = 0; token < linear->n; token++) {
            __m256 sums[GROUPS];
            for (int g = 0; g < GROUPS; g++)
                sums[g] = _mm256_setzero_ps();
            multiply(linear->weight + strip * hl_strip_bytes(linear->type, linear->cols), tiles,
                     hl_linear_scratch(linear, token), sums);
            store_strip(linear, token, strip, sums, linear->type == HL_TYPE_TILE_F16);
        }
}

static void linear_f32(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, strip_f32, strips);
}

static void linear_f16(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, strip_f16, strips);
}

static void linear_bf16(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, strip_bf16, strips);
}

static void linear_q8(const struct hl_linear *linear, struct hl_share strips)
{
    linear_strips(linear, strip_q8, strips);
}

static float dot(const float *a, const float *b, uint32_t n)
{
    __m256 sums = _mm256_setzero_ps();
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        sums = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sums);
    float lanes[8], sum = 0;
    _mm256_storeu_ps(lanes, sums);
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (uint32_t lane = 0; lane < 8; lane++)
        sum += lanes[lane];
    return sum;
}

static void axpy(float *y, float a, const float *x, uint32_t n)
{
    __m256 factor = _mm256_set1_ps(a);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] += a * x[i];
}

static void f16_load(float *to, const uint16_t *from, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    for (; i < n; i++)
        to[i] = hl_f16_to_f32(from[i]);
}

static void f16_store(uint16_t *to, const float *from, uint32_t n)
{
    const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 value = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(from + i), least), most);
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; i++)
        to[i] = hl_f32_to_f16(fminf(fmaxf(from[i], -65504.0f), 65504.0f));
}

const struct hl_kernels hl_kernels_avx2 = {
    .name = "avx2",
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
