/* AVX-512 linear kernels for many tokens: a matrix product, in blocks such that the multipliers never wait.
 *
 * Some hundred columns of the weights of two strips are unpacked into a panel, which stays in the first-level cache.
 * Each lane holds one row:
 *
 *   vector w of a block | row 0, word w | row 8, word w | row 1, word w | row 9 ... | row 15, word w
 *
 * (rows in tile.h's order "pairs", which results from transposing the lines of a tile). Word w of each token is
 * broadcast and multiplied with this vector. So a block of 32 columns takes eight vpdpbusd, each of which adds to
 * sixteen rows, and needs no fold at the end. Then the sum of the block is converted, and added with the product of its
 * scales.
 *
 * Two strips by TOKENS tokens are multiplied at once. Each vector of weights is loaded once for TOKENS tokens, and each
 * word of a token once for two strips. Twelve sums hide the latency of a product; they and as many float sums fit the
 * registers.
 *
 * The columns are divided into slabs. The activations of a slab stay in the second-level cache while all strips are
 * computed, and `out` accumulates the sums from slab to slab. For few tokens a slab is the whole width, and strips are
 * read in order.
 *
 * bf16 does the same with vdpbf16ps and without scales. f32 and f16 multiply floats, so their panels have fewer
 * columns.
 */
#include "base/sizes.h"
#include "kernels/cpu/avx512/avx512.h"

#define STRIPS 2
#define TOKENS 6
#define SLAB_BYTES (384u << 10) /* of activations */

/* Weights of one strip, 64 columns of a quantized type. */
struct panel_pair {
    __m512i words[2][8];
    __m512 scale[2][2]; /* of block b: [b][0]; types with two_scales have one for each sixteen columns */
    __m512 least[2];
};

#define PANEL_PAIRS 8u   /* 512 columns: two strips are 22 KiB, including parts that some types leave unused */
#define PANEL_WORDS 256u /* float types: words of 4 bytes in a row of the panel; f16 needs two per word of its own */

struct panel {
    union {
        struct panel_pair pair[PANEL_PAIRS];
        __m512i word[PANEL_WORDS];
    };
};

/* Transposes eight vectors of eight pairs of words: vector i of the result has pair i of each. */
HL_INLINE void transpose(__m512i v[8])
{
    __m512i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int odd = 0; odd < 2; odd++) { /* lines 4i .. 4i + 3, their even or odd pairs */
            b[4 * i + odd] = _mm512_shuffle_i64x2(a[4 * i + odd], a[4 * i + 2 + odd], 0x44);
            b[4 * i + 2 + odd] = _mm512_shuffle_i64x2(a[4 * i + odd], a[4 * i + 2 + odd], 0xee);
        }
    for (int k = 0; k < 4; k++) { /* b[k]: pairs k/2*4 + k%2 and 2 more, of the lower lines; b[4 + k]: of the upper
                                   * lines */
        int pair = k / 2 * 4 + k % 2;
        v[pair] = _mm512_shuffle_i64x2(b[k], b[4 + k], 0x88);
        v[pair + 2] = _mm512_shuffle_i64x2(b[k], b[4 + k], 0xdd);
    }
}

/* Returns the quads of block b as pairs. */
HL_INLINE __m512 pairs_of_quads(const float quads[32], int block)
{
    const __m512i place = _mm512_set_epi32(29, 28, 25, 24, 21, 20, 17, 16, 13, 12, 9, 8, 5, 4, 1, 0);
    return _mm512_permutex2var_ps(_mm512_load_ps(quads), _mm512_add_epi32(place, _mm512_set1_epi32(2 * block)),
                                  _mm512_load_ps(quads + 16));
}

HL_INLINE void unpack_pair(uint32_t type, const uint8_t *strip, uint32_t index, uint32_t tiles, struct panel_pair *to)
{
    struct chunk chunk = chunk_at(type, strip, index, tiles);
    struct scales scales;
    __m512i low[8], high[8];
    scales_of(type, &chunk, &scales);
    for (uint32_t g = 0; g < LINES; g++) {
        struct line line = line_at(type, &chunk, g);
        low[g] = line.low;
        high[g] = line.high;
    }
    transpose(low);
    transpose(high);
    for (int j = 0; j < 4; j++)
        for (int other = 0; other < 2; other++) { /* the other block; of q8 the upper half of the same */
            if (type == HL_TYPE_TILE_Q8) {
                to->words[0][j + 4 * other] = low[2 * j + other];
                to->words[1][j + 4 * other] = high[2 * j + other];
            } else {
                to->words[other][j] = low[2 * j + other];
                to->words[other][j + 4] = high[2 * j + other];
            }
        }
    for (int b = 0; b < 2; b++) {
        if (type == HL_TYPE_TILE_Q8) {
            to->scale[b][0] = _mm512_load_ps(b ? scales.high : scales.low);
            continue;
        }
        to->scale[b][0] = pairs_of_quads(scales.low, b);
        if (two_scales(type))
            to->scale[b][1] = pairs_of_quads(scales.high, b);
        if (has_minima(type))
            to->least[b] = pairs_of_quads(scales.least, b);
    }
}

/* Unpacks a tile of a float type. */
HL_INLINE void unpack_words(uint32_t type, const uint8_t *tile, __m512i *to)
{
    __m512i v[8];
    for (int g = 0; g < LINES; g++)
        v[g] = _mm512_loadu_si512(tile + 64 * g);
    transpose(v);
    for (int w = 0; w < 8; w++) {
        __m512i word = v[2 * (w % 4) + w / 4];
        if (type != HL_TYPE_TILE_F16) {
            to[w] = word;
            continue;
        }
        to[2 * w] = _mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(word)));
        to[2 * w + 1] = _mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(word, 16))));
    }
}

/* The operands of one product of a panel. */
struct product {
    const struct panel *panel; /* [STRIPS] */
    const uint8_t *x[TOKENS];  /* starting at the panel's first column */
    uint32_t count;            /* count of pairs, or of words */
};

HL_INLINE __m512i word_at(const void *from)
{
    int32_t word;
    memcpy(&word, from, sizeof word);
    return _mm512_set1_epi32(word);
}

/* Multiplies a block with T tokens. T and the type's properties are constants where this is inlined. */
HL_INLINE void multiply_block(int two, int minima, const struct product *p, uint32_t i, int b, int T,
                              __m512 sums[STRIPS][TOKENS])
{
    for (int half = 0; half < (two ? 2 : 1); half++) {
        __m512i dot[STRIPS][TOKENS];
        for (int t = 0; t < T; t++) {
            const struct hl_pair *pair = (const struct hl_pair *)(const void *)p->x[t] + i;
            __m512i start = minima ? _mm512_setzero_si512() : _mm512_set1_epi32(pair->start[2 * b + half]);
            for (int s = 0; s < STRIPS; s++)
                dot[s][t] = start;
        }
        for (int w = two ? 4 * half : 0; w < (two ? 4 * half + 4 : 8); w++)
            for (int t = 0; t < T; t++) {
                const struct hl_pair *pair = (const struct hl_pair *)(const void *)p->x[t] + i;
                __m512i x = word_at(pair->values + 32 * b + 4 * w);
                for (int s = 0; s < STRIPS; s++)
                    dot[s][t] = _mm512_dpbusd_epi32(dot[s][t], p->panel[s].pair[i].words[b][w], x);
            }
        for (int t = 0; t < T; t++) {
            const struct hl_pair *pair = (const struct hl_pair *)(const void *)p->x[t] + i;
            __m512 scale = _mm512_set1_ps(pair->scale[b]);
            for (int s = 0; s < STRIPS; s++) {
                __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[s][t]), scale);
                sums[s][t] = _mm512_fmadd_ps(product, p->panel[s].pair[i].scale[b][half], sums[s][t]);
            }
        }
    }
    for (int t = 0; minima && t < T; t++) {
        const struct hl_pair *pair = (const struct hl_pair *)(const void *)p->x[t] + i;
        for (int s = 0; s < STRIPS; s++)
            sums[s][t] = _mm512_fmadd_ps(_mm512_set1_ps(pair->sum[b]), p->panel[s].pair[i].least[b], sums[s][t]);
    }
}

HL_INLINE void multiply_pairs(int two, int minima, const struct product *p, int T, __m512 sums[STRIPS][TOKENS])
{
    for (uint32_t i = 0; i < p->count; i++) {
        multiply_block(two, minima, p, i, 0, T, sums);
        multiply_block(two, minima, p, i, 1, T, sums);
    }
}

HL_INLINE void multiply_words(int bf16, const struct product *p, int T, __m512 sums[STRIPS][TOKENS])
{
    for (uint32_t i = 0; i < p->count; i++)
        for (int t = 0; t < T; t++) {
            __m512i x = word_at(p->x[t] + 4 * (size_t)i);
            for (int s = 0; s < STRIPS; s++) {
                __m512i w = p->panel[s].word[i];
                sums[s][t] = bf16 ? _mm512_dpbf16_ps(sums[s][t], (__m512bh)w, (__m512bh)x)
                                  : _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), sums[s][t]);
            }
        }
}

HL_INLINE void multiply_any(uint32_t type, const struct product *p, int T, __m512 sums[STRIPS][TOKENS])
{
    for (int s = 0; s < STRIPS; s++)
        for (int t = 0; t < T; t++)
            sums[s][t] = _mm512_setzero_ps();
    if (hl_type_is_quantized(type))
        multiply_pairs(type == HL_TYPE_TILE_Q6K, has_minima(type), p, T, sums);
    else
        multiply_words(type == HL_TYPE_TILE_BF16, p, T, sums);
}

/* Where the sums of a product go: `rows` rows starting at `first`, of `token` and the tokens after it. */
struct place {
    uint32_t token, first, rows;
    bool begins; /* nothing has been summed yet */
};

HL_INLINE void store_sums(const struct hl_linear *linear, struct place place, int T, __m512 sums[STRIPS][TOKENS])
{
    const __m512i pairs = _mm512_set_epi32(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
    for (uint32_t s = 0; s < STRIPS && 16 * s < place.rows; s++) {
        uint32_t left = place.rows - 16 * s, first = place.first + 16 * s;
        __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
        __m512 bias =
            place.begins && linear->bias ? _mm512_maskz_loadu_ps(mask, linear->bias + first) : _mm512_setzero_ps();
        for (int t = 0; t < T; t++) {
            float *out = linear->out + (place.token + (uint32_t)t) * linear->out_stride + first;
            __m512 before = place.begins ? bias : _mm512_maskz_loadu_ps(mask, out);
            _mm512_mask_storeu_ps(out, mask, _mm512_add_ps(_mm512_permutexvar_ps(pairs, sums[s][t]), before));
        }
    }
}

HL_INLINE void tokens(const struct hl_linear *linear, uint32_t type, const struct product *p, struct place place, int T)
{
    __m512 sums[STRIPS][TOKENS];
    multiply_any(type, p, T, sums);
    store_sums(linear, place, T, sums);
}

/* Multiplies one panel with all tokens. The panel's columns begin at `at` in a token's scratch. */
HL_INLINE void all_tokens(const struct hl_linear *linear, uint32_t type, struct product *p, size_t at,
                          struct place place)
{
    for (place.token = 0; place.token < linear->n;) {
        uint32_t left = linear->n - place.token;
        for (uint32_t t = 0; t < TOKENS; t++)
            p->x[t] = hl_linear_scratch(linear, place.token + hl_min_u32(t, left - 1)) + at;
        uint32_t n = left >= TOKENS ? TOKENS : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (n == TOKENS)
            tokens(linear, type, p, place, TOKENS);
        else if (n == 4)
            tokens(linear, type, p, place, 4);
        else if (n == 2)
            tokens(linear, type, p, place, 2);
        else
            tokens(linear, type, p, place, 1);
        place.token += n;
    }
}

/* Returns the columns of a panel. */
HL_INLINE uint32_t panel_cols(uint32_t type)
{
    if (hl_type_is_quantized(type))
        return PANEL_PAIRS * 64;
    return type == HL_TYPE_TILE_BF16 ? 2 * PANEL_WORDS : PANEL_WORDS;
}

/* Returns the weights of strip `strip` from column `col` on. */
HL_INLINE const uint8_t *source_of(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t col)
{
    const struct hl_type_traits *traits = &hl_type_traits[type];
    return linear->weight + strip * hl_strip_bytes(type, linear->cols) +
           (size_t)col * traits->tile_bytes / traits->tile_cols;
}

HL_INLINE void prefetch(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)from + i, _MM_HINT_T1);
}

/* Fills one panel from column `col` on, and prefetches the bytes of the panel that will be filled next. */
HL_INLINE void fill(const struct hl_linear *linear, uint32_t type, struct panel *panel, uint32_t strip, uint32_t col,
                    uint32_t cols, const uint8_t *next)
{
    const uint32_t tiles = hl_strip_tiles(type, linear->cols), width = hl_type_traits[type].tile_cols;
    const uint32_t step = hl_type_is_quantized(type) ? 64 : width;
    const size_t bytes = (size_t)hl_type_traits[type].tile_bytes * step / width;
    const uint8_t *from = source_of(linear, type, strip, 0);
    for (uint32_t i = 0; i < cols / step; i++) {
        prefetch(next + i * bytes, bytes);
        if (hl_type_is_quantized(type))
            unpack_pair(type, from, col / 64 + i, tiles, &panel->pair[i]);
        else
            unpack_words(type, from + (col / width + i) * bytes, panel->word + i * (type == HL_TYPE_TILE_F16 ? 16 : 8));
    }
}

/* Computes the panels of STRIPS strips. If the second strip is beyond this share, the first one is repeated. */
HL_INLINE void panels(const struct hl_linear *linear, uint32_t type, uint32_t strip, uint32_t end, uint32_t col,
                      uint32_t last_col)
{
    const uint32_t first_col = col;
    struct panel panel[STRIPS];
    const uint32_t most = panel_cols(type);
    for (; col < last_col; col += most) {
        uint32_t cols = hl_min_u32(most, last_col - col);
        struct place place = {.first = strip * HL_TILE_ROWS, .begins = col == 0};
        struct product product = {.panel = panel, .count = cols / 64};
        size_t at = col / 64 * sizeof(struct hl_pair);
        if (!hl_type_is_quantized(type)) {
            at = (size_t)col * (type == HL_TYPE_TILE_BF16 ? 2 : 4);
            product.count = type == HL_TYPE_TILE_BF16 ? cols / 2 : cols;
        }
        place.rows = hl_min_u32(hl_min_u32(end - strip, STRIPS) * HL_TILE_ROWS, linear->rows - place.first);
        bool more = col + most < last_col;
        for (uint32_t s = 0; s < STRIPS; s++)
            fill(linear, type, &panel[s], hl_min_u32(strip + s, end - 1), col, cols,
                 source_of(linear, type, strip + s + (more ? 0 : STRIPS), more ? col + most : first_col));
        all_tokens(linear, type, &product, at, place);
    }
}

HL_INLINE void slabs(const struct hl_linear *linear, uint32_t type, uint32_t begin, uint32_t end)
{
    const uint32_t padded = hl_linear_padded(linear), most = panel_cols(type);
    uint32_t bytes = hl_type_is_quantized(type) ? 96 * most / 64 : type == HL_TYPE_TILE_BF16 ? 2 * most : 4 * most;
    uint32_t fit = SLAB_BYTES / (bytes * linear->n), slab = (fit ? fit : 1) * most;
    for (uint32_t col = 0; col < padded; col += slab)
        for (uint32_t strip = begin; strip < end; strip += STRIPS)
            panels(linear, type, strip, end, col, hl_min_u32(col + slab, padded));
}

void hl_avx512_prefill(const struct hl_linear *linear, uint32_t begin, uint32_t end)
{
    switch (linear->type) {
    case HL_TYPE_TILE_F32:
        slabs(linear, HL_TYPE_TILE_F32, begin, end);
        break;
    case HL_TYPE_TILE_F16:
        slabs(linear, HL_TYPE_TILE_F16, begin, end);
        break;
    case HL_TYPE_TILE_BF16:
        slabs(linear, HL_TYPE_TILE_BF16, begin, end);
        break;
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
