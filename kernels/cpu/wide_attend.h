/* Attention in lanes. Include this after lanes_avx2.h or lanes_avx512.h.
 *
 * A row is one query head of one token. A unit of work is up to HL_ATTEND_ROWS rows that share a key/value head and a
 * sequence: in decode the group's heads of one token, in prefill those of several consecutive tokens.
 *
 * A unit walks the pages with a running softmax. For each page it computes
 *
 *   scores    of the rows with all positions of the page: lanes are positions, and each widened vector of keys is used
 *             for several rows
 *   weights   relative to the largest score so far
 *   sums      of the values times the weights: lanes are columns, again for several rows at once
 *
 * Sums are rescaled at the point where they are loaded anyway. Positions that a row does not see are masked out of its
 * scores. Pages that no row of the unit sees are not read.
 *
 * The first rows of a unit prefetch the next page. Pages are not adjacent, and a head's part of a page is too short for
 * the processor to detect the stream (docs/performance.md, "Prefetching the cache"). Dropped: huge pages for the cache,
 * which made no difference.
 */
#ifndef HL_KERNELS_CPU_WIDE_ATTEND_H
#define HL_KERNELS_CPU_WIDE_ATTEND_H

#include "base/sizes.h"
#include "kernels/cpu/wide_ops.h"

#define PAGE HL_KV_PAGE_TOKENS
#define GROUP 4u /* vectors of keys or values at once */

struct unit {
    const struct hl_attend *attend;
    uint32_t n, token, first_head; /* rows; row r belongs to token + (skip + r) / group */
    uint32_t group, skip;
    uint32_t padded; /* columns of a value */
    float *score;    /* (n, PAGE) */
    float *sum;      /* (n, padded) */
    ptrdiff_t ahead; /* bytes from this page to the next one; 0: this is the last page */
    float most[HL_ATTEND_ROWS], total[HL_ATTEND_ROWS], keep[HL_ATTEND_ROWS];
    uint32_t first[HL_ATTEND_ROWS], last[HL_ATTEND_ROWS]; /* positions that a row sees */
};

LANES_INLINE const float *row_query(const struct unit *u, uint32_t r)
{
    uint32_t at = u->skip + r;
    return u->attend->q + (u->token + at / u->group) * u->attend->q_stride +
           (size_t)(u->first_head + at % u->group) * u->attend->store->head_dim;
}

LANES_INLINE lanes load_elements(enum hl_kv_type type, const uint8_t *from, size_t at)
{
    if (type == HL_KV_F32)
        return lanes_load((const float *)(const void *)from + at);
    return type == HL_KV_F16 ? lanes_halves(from + 2 * at) : lanes_bytes(from + at);
}

/* Prefetches the elements of the next page that correspond to those being read now. */
LANES_INLINE void ask_ahead(enum hl_kv_type type, const uint8_t *from, size_t at, uint32_t n, ptrdiff_t ahead)
{
    const size_t bytes = hl_kv_element(type);
    for (size_t i = 0; i < n * bytes; i += 64)
        __builtin_prefetch(from + ahead + at * bytes + i, 0, 2);
}

/* Computes the scores of B rows with GROUP vectors of positions. `type` and B are constants where this is inlined. */
LANES_INLINE void score_rows(enum hl_kv_type type, const struct unit *u, uint32_t r, uint32_t B, const uint8_t *keys,
                             uint32_t slot)
{
    const uint32_t dim = u->attend->store->head_dim, depth = type == HL_KV_Q8 ? 32 : dim;
    const uint8_t *scales = keys + (size_t)hl_kv_blocks(dim) * 32 * PAGE;
    const ptrdiff_t ahead = r == 0 ? u->ahead : 0;
    const float *q[4];
    lanes total[4][GROUP];
    for (uint32_t b = 0; b < B; b++) {
        q[b] = row_query(u, r + b);
        for (uint32_t v = 0; v < GROUP; v++)
            total[b][v] = lanes_set(0);
    }
    for (uint32_t begin = 0; begin < dim; begin += depth) {
        lanes sum[4][GROUP];
        for (uint32_t b = 0; b < B; b++)
            for (uint32_t v = 0; v < GROUP; v++)
                sum[b][v] = type == HL_KV_Q8 ? lanes_set(0) : total[b][v];
        for (uint32_t i = begin; i < hl_min_u32(begin + depth, dim); i++) {
            lanes key[GROUP];
            for (uint32_t v = 0; v < GROUP; v++)
                key[v] = load_elements(type, keys, (size_t)i * PAGE + slot + v * LANES);
            if (ahead)
                ask_ahead(type, keys, (size_t)i * PAGE + slot, GROUP * LANES, ahead);
            for (uint32_t b = 0; b < B; b++)
                for (uint32_t v = 0; v < GROUP; v++)
                    sum[b][v] = lanes_fma(lanes_set(q[b][i]), key[v], sum[b][v]);
        }
        for (uint32_t v = 0; v < GROUP; v++) {
            lanes scale = lanes_set(1);
            if (type == HL_KV_Q8)
                scale = lanes_halves(scales + 2 * ((size_t)(begin / 32) * PAGE + slot + v * LANES));
            for (uint32_t b = 0; b < B; b++)
                total[b][v] = type == HL_KV_Q8 ? lanes_fma(sum[b][v], scale, total[b][v]) : sum[b][v];
        }
    }
    for (uint32_t b = 0; b < B; b++)
        for (uint32_t v = 0; v < GROUP; v++)
            lanes_store(u->score + (size_t)(r + b) * PAGE + slot + v * LANES, total[b][v]);
}

/* Turns scores into weights: exp(score - most), and 0 for positions that the row does not see. */
static inline void weigh_row(struct unit *u, uint32_t r, uint32_t page_first)
{
    float *score = u->score + (size_t)r * PAGE;
    uint32_t last_slot = u->last[r] - page_first, first_slot = u->first[r] > page_first ? u->first[r] - page_first : 0;
    u->keep[r] = 1;
    if (u->last[r] < page_first || first_slot >= PAGE) {
        memset(score, 0, PAGE * sizeof *score);
        return;
    }
    for (uint32_t i = 0; i < PAGE; i += LANES) {
        lanes s = lanes_mul(lanes_load(score + i), lanes_set(u->attend->scale));
        if (u->attend->softcap > 0) {
            lanes cap = lanes_set(u->attend->softcap);
            s = lanes_mul(cap, wide_tanh(lanes_div(s, cap)));
        }
        lanes_store(score + i, s);
    }
    for (uint32_t i = 0; i < first_slot; i++)
        score[i] = -INFINITY;
    for (uint32_t i = last_slot + 1; i < PAGE; i++)
        score[i] = -INFINITY;
    lanes most = lanes_set(u->most[r]), total = lanes_set(0);
    for (uint32_t i = 0; i < PAGE; i += LANES)
        most = lanes_max(lanes_load(score + i), most);
    float largest = lanes_most(most);
    u->keep[r] = expf(u->most[r] - largest);
    for (uint32_t i = 0; i < PAGE; i += LANES) {
        lanes weight = wide_exp(lanes_sub(lanes_load(score + i), lanes_set(largest)));
        lanes_store(score + i, weight);
        total = lanes_add(total, weight);
    }
    u->total[r] = u->total[r] * u->keep[r] + lanes_sum(total);
    u->most[r] = largest;
}

/* Adds the values in slots [first, last] of a page, from column `col` on, times the weights of B rows. */
LANES_INLINE void add_values(enum hl_kv_type type, const struct unit *u, uint32_t r, uint32_t B, uint32_t V,
                             const uint8_t *values, uint32_t col, uint32_t first, uint32_t last)
{
    const uint8_t *scales = values + (size_t)PAGE * u->padded;
    const ptrdiff_t ahead = r == 0 ? u->ahead : 0;
    lanes sum[4][GROUP];
    for (uint32_t b = 0; b < B; b++)
        for (uint32_t v = 0; v < V; v++)
            sum[b][v] = lanes_mul(lanes_set(u->keep[r + b]),
                                  lanes_load(u->sum + (size_t)(r + b) * u->padded + col + v * LANES));
    for (uint32_t p = first; p <= last; p++) {
        lanes value[GROUP];
        if (ahead)
            ask_ahead(type, values, (size_t)p * u->padded + col, V * LANES, ahead);
        for (uint32_t v = 0; v < V; v++) {
            value[v] = load_elements(type, values, (size_t)p * u->padded + col + v * LANES);
            if (type == HL_KV_Q8) {
                uint16_t scale;
                memcpy(&scale, scales + 2 * ((size_t)p * (u->padded / 32) + (col + v * LANES) / 32), sizeof scale);
                value[v] = lanes_mul(value[v], lanes_set(_cvtsh_ss(scale)));
            }
        }
        for (uint32_t b = 0; b < B; b++) {
            lanes weight = lanes_set(u->score[(size_t)(r + b) * PAGE + p]);
            for (uint32_t v = 0; v < V; v++)
                sum[b][v] = lanes_fma(weight, value[v], sum[b][v]);
        }
    }
    for (uint32_t b = 0; b < B; b++)
        for (uint32_t v = 0; v < V; v++)
            lanes_store(u->sum + (size_t)(r + b) * u->padded + col + v * LANES, sum[b][v]);
}

LANES_INLINE void page_rows(enum hl_kv_type type, struct unit *u, uint32_t r, uint32_t B, uint32_t page,
                            uint32_t page_first, uint32_t kv_head)
{
    const struct hl_kv_store *store = u->attend->store;
    uint32_t first = UINT32_MAX, last = 0;
    for (uint32_t b = 0; b < B; b++) {
        first = hl_min_u32(first, u->first[r + b]);
        last = u->last[r + b] > last ? u->last[r + b] : last;
    }
    if (last < page_first || first >= page_first + PAGE)
        return;
    first = first > page_first ? first - page_first : 0;
    last = hl_min_u32(last - page_first, PAGE - 1);
    const uint8_t *keys = hl_kv_head(store, page, kv_head, false), *values = hl_kv_head(store, page, kv_head, true);
    for (uint32_t slot = 0; slot < PAGE; slot += GROUP * LANES)
        score_rows(type, u, r, B, keys, slot);
    for (uint32_t b = 0; b < B; b++)
        weigh_row(u, r + b, page_first);
    uint32_t col = 0;
    for (; col + GROUP * LANES <= u->padded; col += GROUP * LANES)
        add_values(type, u, r, B, GROUP, values, col, first, last);
    if (col < u->padded) /* 32 columns remain, with vectors of 16 */
        add_values(type, u, r, B, 2, values, col, first, last);
}

/* As many rows as fit the registers with their sums, and in q8 with as many partial sums. */
#define ROWS_AT_ONCE(type) (LANE_REGISTERS / 8u / ((type) == HL_KV_Q8 ? 2 : 1))

LANES_INLINE void unit_page(enum hl_kv_type type, struct unit *u, uint32_t page, uint32_t page_first, uint32_t kv_head)
{
    uint32_t r = 0;
    for (; r + ROWS_AT_ONCE(type) <= u->n; r += ROWS_AT_ONCE(type))
        page_rows(type, u, r, ROWS_AT_ONCE(type), page, page_first, kv_head);
    for (; r + 2 <= u->n; r += 2)
        page_rows(type, u, r, 2, page, page_first, kv_head);
    for (; r < u->n; r++)
        page_rows(type, u, r, 1, page, page_first, kv_head);
}

static inline void unit_begin(struct unit *u)
{
    for (uint32_t r = 0; r < u->n; r++) {
        uint32_t position = u->attend->places->positions[u->token + (u->skip + r) / u->group],
                 window = u->attend->window;
        u->most[r] = -INFINITY;
        u->total[r] = 0;
        u->last[r] = position;
        u->first[r] = window && position >= window ? position - window + 1 : 0;
    }
    memset(u->sum, 0, (size_t)u->n * u->padded * sizeof *u->sum);
}

static inline void unit_end(const struct unit *u)
{
    for (uint32_t r = 0; r < u->n; r++) {
        uint32_t dim = u->attend->store->head_dim, at = u->skip + r, i = 0;
        const float *sum = u->sum + (size_t)r * u->padded;
        float *out = u->attend->out + (u->token + at / u->group) * u->attend->out_stride +
                     (size_t)(u->first_head + at % u->group) * dim;
        lanes total = lanes_set(u->total[r]);
        for (; i + LANES <= dim; i += LANES)
            lanes_store(out + i, lanes_div(lanes_load(sum + i), total));
        if (i < dim)
            lanes_store_some(out + i, lanes_div(lanes_load(sum + i), total), dim - i);
    }
}

static inline void unit_run(struct unit *u, uint32_t kv_head)
{
    const enum hl_kv_type type = u->attend->store->type;
    const uint32_t *pages = u->attend->places->pages[u->token];
    unit_begin(u);
    const uint32_t last = u->last[u->n - 1] / PAGE;
    for (uint32_t page = u->first[0] / PAGE; page <= last; page++) {
        int64_t pages_ahead = page < last ? (int64_t)pages[page + 1] - pages[page] : 0;
        u->ahead = pages_ahead * (int64_t)u->attend->store->page_bytes;
        if (type == HL_KV_F32)
            unit_page(HL_KV_F32, u, pages[page], page * PAGE, kv_head);
        else if (type == HL_KV_F16)
            unit_page(HL_KV_F16, u, pages[page], page * PAGE, kv_head);
        else
            unit_page(HL_KV_Q8, u, pages[page], page * PAGE, kv_head);
    }
    unit_end(u);
}

/* Returns how many tokens, from `token` on and at most `most`, are consecutive in one sequence. */
static inline uint32_t run_of_tokens(const struct hl_places *places, uint32_t token, uint32_t most)
{
    uint32_t n = 1;
    while (n < most && token + n < places->n_tokens && places->pages[token + n] == places->pages[token] &&
           places->positions[token + n] == places->positions[token] + n)
        n++;
    return n;
}

/* Deals out the units one by one. Later units of a prompt see more keys, so contiguous shares would be uneven. */
static inline void wide_attend(const struct hl_attend *attend, struct hl_share share)
{
    const struct hl_places *places = attend->places;
    uint32_t kv_heads = attend->store->heads, padded = hl_kv_blocks(attend->store->head_dim) * 32;
    struct unit u = {.attend = attend, .group = attend->heads / kv_heads, .padded = padded};
    uint64_t rows = (uint64_t)places->n_tokens * attend->heads / share.count;
    uint32_t most = rows < HL_ATTEND_ROWS ? (uint32_t)(rows ? rows : 1) : HL_ATTEND_ROWS, number = 0;
    u.score = attend->scratch;
    u.sum = u.score + HL_ATTEND_ROWS * PAGE;
    for (uint32_t token = 0, n; token < places->n_tokens; token += n) {
        n = run_of_tokens(places, token, most / u.group ? most / u.group : 1);
        for (uint32_t kv_head = 0; kv_head < kv_heads; kv_head++)
            for (u.skip = 0; u.skip < n * u.group; u.skip += u.n) {
                u.n = hl_min_u32(most, n * u.group - u.skip);
                u.token = token;
                u.first_head = kv_head * u.group;
                if (number++ % share.count == share.index)
                    unit_run(&u, kv_head);
            }
    }
}

#endif
