/* AVX2 linear kernels of quantized types for many tokens: ../avx512/prefill.c in halves of eight rows.
 *
 * The panel of one strip has a row in each 4-byte lane (rows in tile.h's order "pairs", two vectors for sixteen). Each
 * word of a token is broadcast and multiplied with both vectors. Products of bytes are summed in int16 for as many
 * words as fit: a whole block of 4-bit quants (8 * 2 * 15 * 127), two words of 6-bit ones, one of q8.
 */
#include "base/sizes.h"
#include "kernels/cpu/avx2/avx2.h"

#define TOKENS 4
#define PANEL_PAIRS 8u          /* 512 columns: 11 KiB */
#define SLAB_BYTES (384u << 10) /* of activations, which stay in the second-level cache while all strips are computed */

/* Weights of one strip, 64 columns. */
struct panel_pair {
    uint8_t words[2][8][64]; /* block, word, row in pairs */
    float scale[2][2][16];   /* of block b: [b][0]; q6k has one for each sixteen columns */
    float least[2][16];
} __attribute__((aligned(32)));

/* Returns the quads of block b as pairs. */
HL_INLINE void pairs_of_quads(float to[16], const float quads[32], uint32_t block)
{
    for (uint32_t g = 0; g < LINES; g++)
        memcpy(to + 2 * g, quads + 4 * g + 2 * block, 8);
}

HL_INLINE void unpack_pair(uint32_t type, const uint8_t *strip, uint32_t index, uint32_t tiles, struct panel_pair *to)
{
    struct chunk chunk = chunk_at(type, strip, index, tiles);
    struct scales scales;
    scales_of(type, &chunk, &scales);
    for (uint32_t g = 0; g < LINES; g++)
        for (uint32_t half = 0; half < 2; half++) {
            struct line line = line_at(type, &chunk, g, half);
            uint64_t low[4], high[4];
            _mm256_storeu_si256((__m256i *)(void *)low, line.low);
            _mm256_storeu_si256((__m256i *)(void *)high, line.high);
            for (uint32_t i = 0; i < 4; i++) { /* word j of both rows, of either block; of q8, of either half */
                uint32_t j = 2 * half + i / 2, other = i % 2;
                bool q8 = type == HL_TYPE_TILE_Q8;
                memcpy(&to->words[q8 ? 0 : other][q8 ? j + 4 * other : j][8 * g], &low[i], 8);
                memcpy(&to->words[q8 ? 1 : other][q8 ? j + 4 * other : j + 4][8 * g], &high[i], 8);
            }
        }
    for (uint32_t b = 0; b < 2; b++) {
        if (type == HL_TYPE_TILE_Q8) {
            memcpy(to->scale[b][0], b ? scales.high : scales.low, 64);
            continue;
        }
        pairs_of_quads(to->scale[b][0], scales.low, b);
        if (two_scales(type))
            pairs_of_quads(to->scale[b][1], scales.high, b);
        if (has_minima(type))
            pairs_of_quads(to->least[b], scales.least, b);
    }
}

struct product {
    const struct panel_pair *panel;
    const struct hl_pair *x[TOKENS]; /* starting at the panel's first column */
    uint32_t count;                  /* count of pairs */
};

HL_INLINE __m256i word_of(const struct hl_pair *pair, int b, int w)
{
    int32_t word;
    memcpy(&word, pair->values + 32 * b + 4 * w, sizeof word);
    return _mm256_set1_epi32(word);
}

/* Adds the words [first, end) of a block to sums in int32. */
HL_INLINE void dot_words(uint32_t type, const struct product *p, uint32_t i, int b, int first, int end, int T,
                         __m256i dot[TOKENS][2])
{
    const int fits = type == HL_TYPE_TILE_Q8 ? 1 : type == HL_TYPE_TILE_Q6K ? 2 : 8;
    for (int from = first; from < end; from += fits) {
        __m256i sums[TOKENS][2];
        for (int w = from; w < from + fits; w++)
            for (int half = 0; half < 2; half++) {
                __m256i weights = load256(p->panel[i].words[b][w] + 32 * half);
                for (int t = 0; t < T; t++) {
                    __m256i product = multiply_bytes(type, weights, word_of(p->x[t] + i, b, w));
                    sums[t][half] = w == from ? product : _mm256_add_epi16(sums[t][half], product);
                }
            }
        for (int t = 0; t < T; t++)
            for (int half = 0; half < 2; half++) {
                __m256i wide = _mm256_madd_epi16(sums[t][half], _mm256_set1_epi16(1));
                dot[t][half] = _mm256_add_epi32(dot[t][half], wide);
            }
    }
}

HL_INLINE void multiply_block(uint32_t type, const struct product *p, uint32_t i, int b, int T, __m256 sums[TOKENS][2])
{
    const int parts = type == HL_TYPE_TILE_Q6K ? 2 : 1;
    for (int part = 0; part < parts; part++) {
        __m256i dot[TOKENS][2];
        for (int t = 0; t < T; t++) {
            bool none = type == HL_TYPE_TILE_Q8 || has_minima(type); /* q8 keeps its signs */
            dot[t][0] = none ? _mm256_setzero_si256() : _mm256_set1_epi32(p->x[t][i].start[2 * b + part]);
            dot[t][1] = dot[t][0];
        }
        dot_words(type, p, i, b, part * 4, parts == 2 ? part * 4 + 4 : 8, T, dot);
        for (int t = 0; t < T; t++)
            for (int half = 0; half < 2; half++) {
                __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[t][half]), _mm256_set1_ps(p->x[t][i].scale[b]));
                sums[t][half] =
                    _mm256_fmadd_ps(product, _mm256_load_ps(p->panel[i].scale[b][part] + 8 * half), sums[t][half]);
            }
    }
    for (int t = 0; has_minima(type) && t < T; t++)
        for (int half = 0; half < 2; half++)
            sums[t][half] = _mm256_fmadd_ps(_mm256_set1_ps(p->x[t][i].sum[b]),
                                            _mm256_load_ps(p->panel[i].least[b] + 8 * half), sums[t][half]);
}

/* Where the sums of a product go: `rows` rows starting at `first`, of `token` and the tokens after it. */
struct place {
    uint32_t token, first, rows;
    bool begins; /* nothing has been summed yet */
};

HL_INLINE void tokens(const struct hl_linear *linear, uint32_t type, const struct product *p, struct place place, int T)
{
    __m256 sums[TOKENS][2];
    for (int t = 0; t < T; t++)
        sums[t][0] = sums[t][1] = _mm256_setzero_ps();
    for (uint32_t i = 0; i < p->count; i++) {
        multiply_block(type, p, i, 0, T, sums);
        multiply_block(type, p, i, 1, T, sums);
    }
    for (int t = 0; t < T; t++) {
        float pairs[16], *out = linear->out + (place.token + (uint32_t)t) * linear->out_stride + place.first;
        _mm256_storeu_ps(pairs, sums[t][0]);
        _mm256_storeu_ps(pairs + 8, sums[t][1]);
        for (uint32_t r = 0; r < place.rows; r++) {
            float before = !place.begins ? out[r] : linear->bias ? linear->bias[place.first + r] : 0;
            out[r] = before + pairs[hl_tile_scale_index(r)];
        }
    }
}

HL_INLINE void all_tokens(const struct hl_linear *linear, uint32_t type, struct product *p, uint32_t first,
                          struct place place)
{
    for (place.token = 0; place.token < linear->n;) {
        uint32_t left = linear->n - place.token, n = left >= TOKENS ? TOKENS : left >= 2 ? 2 : 1;
        for (uint32_t t = 0; t < n; t++)
            p->x[t] = (const struct hl_pair *)(const void *)hl_linear_scratch(linear, place.token + t) + first;
        if (n == TOKENS)
            tokens(linear, type, p, place, TOKENS);
        else if (n == 2)
            tokens(linear, type, p, place, 2);
        else
            tokens(linear, type, p, place, 1);
        place.token += n;
    }
}

/* Computes the panels of one strip, pairs [first, last). */
HL_INLINE void panels(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t first, uint32_t last)
{
    struct panel_pair panel[PANEL_PAIRS];
    const uint8_t *from = linear->weight + strip * hl_strip_bytes(type, linear->cols);
    struct place place = {.first = strip * HL_TILE_ROWS};
    place.rows = hl_min_u32(HL_TILE_ROWS, linear->rows - place.first);
    for (; first < last; first += PANEL_PAIRS) {
        struct product product = {.panel = panel, .count = hl_min_u32(PANEL_PAIRS, last - first)};
        for (uint32_t i = 0; i < product.count; i++)
            unpack_pair(type, from, first + i, hl_strip_tiles(type, linear->cols), &panel[i]);
        place.begins = first == 0;
        all_tokens(linear, type, &product, first, place);
    }
}

HL_INLINE void slabs(const struct hl_linear *linear, uint32_t type, uint32_t begin, uint32_t end)
{
    const uint32_t pairs = hl_linear_padded(linear) / 64;
    uint32_t fit = SLAB_BYTES / (PANEL_PAIRS * (uint32_t)sizeof(struct hl_pair) * linear->n);
    const uint32_t slab = (fit ? fit : 1) * PANEL_PAIRS;
    for (uint32_t first = 0; first < pairs; first += slab)
        for (uint32_t strip = begin; strip < end; strip++)
            panels(linear, type, strip, first, hl_min_u32(first + slab, pairs));
}

void hl_avx2_prefill(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
    switch (linear->type) {
    case HL_TYPE_TILE_Q8:
        slabs(linear, HL_TYPE_TILE_Q8, begin, end);
        break;
    case HL_TYPE_TILE_Q4:
        slabs(linear, HL_TYPE_TILE_Q4, begin, end);
        break;
    case HL_TYPE_TILE_Q4M:
        slabs(linear, HL_TYPE_TILE_Q4M, begin, end);
        break;
    case HL_TYPE_TILE_Q4K:
        slabs(linear, HL_TYPE_TILE_Q4K, begin, end);
        break;
    case HL_TYPE_TILE_Q6K:
        slabs(linear, HL_TYPE_TILE_Q6K, begin, end);
        break;
    default:
        break;
    }
}
