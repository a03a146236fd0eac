/* The operations beside linear: plain C over float32 matrices, shared by tokens among the threads.
 *
 * Attention walks a sequence's pages with a running softmax: for each page it scores the visible keys, rescales what it
 * has by the new maximum, and adds the page's values. Query heads that share a key/value head are done together, so
 * that a key is read, and widened from fp16, once.
 */
#include "hotlayer/tile_values.h"
#include "kernels/cpu/kernels.h"
#include <math.h>

void hl_cpu_angles(float *out, size_t stride, const float *frequencies, uint32_t half, const uint32_t *positions,
                   uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        for (uint32_t i = 0; i < half; i++) {
            float angle = (float)positions[t] * frequencies[i];
            out[t * stride + i] = cosf(angle);
            out[t * stride + half + i] = sinf(angle);
        }
}

/* One row of a table, tile by tile. */
static void gather_row(float *out, const struct hl_tensor *table, const uint8_t *weight, uint32_t row, float scale)
{
    const struct hl_type_traits *traits = &hl_type_traits[table->type];
    const uint8_t *tile = weight + row / HL_TILE_ROWS * hl_strip_bytes(table->type, table->cols);
    for (uint32_t first = 0; first < table->cols; first += traits->tile_cols, tile += traits->tile_bytes)
        for (uint32_t i = 0; i < hl_min_u32(traits->tile_cols, table->cols - first); i++)
            out[first + i] = scale * hl_tile_value(table->type, tile, row % HL_TILE_ROWS, i);
}

void hl_cpu_gather(float *out, size_t stride, const struct hl_tensor *table, const uint8_t *weight, float scale,
                   const int32_t *tokens, uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        gather_row(out + t * stride, table, weight, (uint32_t)tokens[t], scale);
}

void hl_cpu_norm(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *in, size_t in_stride,
                 const float *weight, uint32_t groups, uint32_t cols, float eps, uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        for (uint32_t group = 0; group < groups; group++) {
            const float *x = in + t * in_stride + group * (size_t)cols;
            float *y = out + t * out_stride + group * (size_t)cols;
            float scale = 1.0f / sqrtf(kernels->dot(x, x, cols) / (float)cols + eps);
            for (uint32_t i = 0; i < cols; i++)
                y[i] = x[i] * scale * weight[i];
        }
}

void hl_cpu_rope(float *x, size_t stride, const float *angles, size_t angles_stride, uint32_t heads, uint32_t head_dim,
                 uint32_t rotated, uint32_t n, struct hl_share share)
{
    uint32_t begin, end, half = rotated / 2;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++) {
        const float *cosine = angles + t * angles_stride, *sine = cosine + half;
        for (uint32_t head = 0; head < heads; head++) {
            float *low = x + t * stride + head * (size_t)head_dim, *high = low + half;
            for (uint32_t i = 0; i < half; i++) {
                float a = low[i], b = high[i];
                low[i] = a * cosine[i] - b * sine[i];
                high[i] = b * cosine[i] + a * sine[i];
            }
        }
    }
}

static size_t kv_element(const struct hl_kv_store *store)
{
    return store->type == HL_KV_F32 ? 4 : 2;
}

/* Where the key (or value) of a position lies. */
static uint8_t *kv_row(const struct hl_kv_store *store, const uint32_t *pages, uint32_t position, uint32_t head,
                       int value)
{
    size_t rows = (size_t)store->heads * HL_KV_PAGE_TOKENS;
    size_t row = (size_t)head * HL_KV_PAGE_TOKENS + position % HL_KV_PAGE_TOKENS + (value ? rows : 0);
    return store->base + pages[position / HL_KV_PAGE_TOKENS] * store->page_bytes + store->offset +
           row * store->head_dim * kv_element(store);
}

static void kv_store_row(const struct hl_kernels *kernels, const struct hl_kv_store *store, uint8_t *to,
                         const float *from)
{
    if (store->type == HL_KV_F32)
        memcpy(to, from, store->head_dim * sizeof *from);
    else
        kernels->f16_store((uint16_t *)(void *)to, from, store->head_dim);
}

void hl_cpu_kv_write(const struct hl_kernels *kernels, const struct hl_kv_store *store, const struct hl_step *step,
                     const float *k, const float *v, size_t stride_k, size_t stride_v, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, step->n_tokens, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        for (uint32_t head = 0; head < store->heads; head++) {
            size_t column = (size_t)head * store->head_dim;
            kv_store_row(kernels, store, kv_row(store, step->pages[t], step->positions[t], head, 0),
                         k + t * stride_k + column);
            kv_store_row(kernels, store, kv_row(store, step->pages[t], step->positions[t], head, 1),
                         v + t * stride_v + column);
        }
}

/* A row of the cache as float32: in place where it is that already, else widened into `wide`. */
static const float *kv_load_row(const struct hl_kernels *kernels, const struct hl_kv_store *store, const uint8_t *from,
                                float *wide)
{
    if (store->type == HL_KV_F32)
        return (const float *)(const void *)from;
    kernels->f16_load(wide, (const uint16_t *)(const void *)from, store->head_dim);
    return wide;
}

/* What the heads of one group carry from page to page. */
struct running {
    uint32_t group; /* query heads per key/value head */
    float *score;   /* (group, HL_KV_PAGE_TOKENS) */
    float *most;    /* (group) the largest score so far */
    float *total;   /* (group) sum of exp(score - most) */
    float *wide;    /* (head_dim) */
};

size_t hl_attend_scratch_floats(uint32_t heads, uint32_t kv_heads, uint32_t head_dim)
{
    size_t group = heads / kv_heads;
    return group * (HL_KV_PAGE_TOKENS + 2) + head_dim;
}

/* Scores of the keys [first, last] of one page, then exp() against the maximum, rescaling the sums so far. */
static void score_page(const struct hl_kernels *kernels, const struct hl_attend *attend, struct running *run,
                       uint32_t t, uint32_t kv_head, uint32_t first, uint32_t last)
{
    const struct hl_kv_store *store = attend->store;
    uint32_t dim = store->head_dim;
    const float *q = attend->q + t * attend->q_stride + (size_t)kv_head * run->group * dim;
    float *out = attend->out + t * attend->out_stride + (size_t)kv_head * run->group * dim;
    for (uint32_t p = first; p <= last; p++) {
        const float *key = kv_load_row(kernels, store, kv_row(store, attend->step->pages[t], p, kv_head, 0), run->wide);
        for (uint32_t head = 0; head < run->group; head++) {
            float score = attend->scale * kernels->dot(q + (size_t)head * dim, key, dim);
            if (attend->softcap > 0)
                score = attend->softcap * tanhf(score / attend->softcap);
            run->score[head * HL_KV_PAGE_TOKENS + p - first] = score;
        }
    }
    for (uint32_t head = 0; head < run->group; head++) {
        float *score = run->score + (size_t)head * HL_KV_PAGE_TOKENS, most = run->most[head], total = 0;
        for (uint32_t i = 0; i <= last - first; i++)
            most = fmaxf(most, score[i]);
        float keep = expf(run->most[head] - most);
        for (uint32_t i = 0; i <= last - first; i++)
            total += score[i] = expf(score[i] - most);
        run->total[head] = run->total[head] * keep + total;
        run->most[head] = most;
        for (uint32_t i = 0; i < dim; i++)
            out[(size_t)head * dim + i] *= keep;
    }
}

static void attend_group(const struct hl_kernels *kernels, const struct hl_attend *attend, struct running *run,
                         uint32_t t, uint32_t kv_head)
{
    const struct hl_kv_store *store = attend->store;
    uint32_t dim = store->head_dim, position = attend->step->positions[t], first = 0;
    float *out = attend->out + t * attend->out_stride + (size_t)kv_head * run->group * dim;
    if (attend->window && position >= attend->window)
        first = position - attend->window + 1;
    memset(out, 0, (size_t)run->group * dim * sizeof *out);
    for (uint32_t head = 0; head < run->group; head++) {
        run->most[head] = -INFINITY;
        run->total[head] = 0;
    }
    while (first <= position) {
        uint32_t last = hl_min_u32(position, first / HL_KV_PAGE_TOKENS * HL_KV_PAGE_TOKENS + HL_KV_PAGE_TOKENS - 1);
        score_page(kernels, attend, run, t, kv_head, first, last);
        for (uint32_t p = first; p <= last; p++) {
            const uint8_t *row = kv_row(store, attend->step->pages[t], p, kv_head, 1);
            const float *value = kv_load_row(kernels, store, row, run->wide);
            for (uint32_t head = 0; head < run->group; head++)
                kernels->axpy(out + (size_t)head * dim, run->score[head * HL_KV_PAGE_TOKENS + p - first], value, dim);
        }
        first = last + 1;
    }
    for (uint32_t head = 0; head < run->group; head++)
        for (uint32_t i = 0; i < dim; i++)
            out[(size_t)head * dim + i] /= run->total[head];
}

void hl_cpu_attend(const struct hl_kernels *kernels, const struct hl_attend *attend, struct hl_share share)
{
    uint32_t kv_heads = attend->store->heads, begin, end;
    struct running run = {.group = attend->heads / kv_heads};
    run.score = attend->scratch;
    run.most = run.score + (size_t)run.group * HL_KV_PAGE_TOKENS;
    run.total = run.most + run.group;
    run.wide = run.total + run.group;
    hl_share_range(share, attend->step->n_tokens * kv_heads, &begin, &end);
    for (uint32_t i = begin; i < end; i++)
        attend_group(kernels, attend, &run, i / kv_heads, i % kv_heads);
}

static float silu(float x)
{
    return x / (1.0f + expf(-x));
}

static float gelu_tanh(float x)
{
    const float root_2_over_pi = 0.79788456080286535588f;
    return 0.5f * x * (1.0f + tanhf(root_2_over_pi * (x + 0.044715f * x * x * x)));
}

void hl_cpu_gate(float *out, size_t out_stride, const float *gate, size_t gate_stride, const float *up,
                 size_t up_stride, uint32_t cols, uint32_t activation, uint32_t n, struct hl_share share)
{
    uint32_t begin, end; /* of columns: a single token's are worth sharing too */
    hl_share_range(share, cols, &begin, &end);
    for (uint32_t t = 0; t < n; t++) {
        const float *g = gate + t * gate_stride, *u = up + t * up_stride;
        float *to = out + t * out_stride;
        for (uint32_t i = begin; i < end; i++)
            to[i] = (activation == HL_ACTIVATION_SILU ? silu(g[i]) : gelu_tanh(g[i])) * u[i];
    }
}

void hl_cpu_add(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols, uint32_t n,
                struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        for (uint32_t i = 0; i < cols; i++)
            out[t * out_stride + i] += in[t * in_stride + i];
}

void hl_cpu_pick(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols,
                 const uint32_t *outputs, uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t r = begin; r < end; r++)
        memcpy(out + r * out_stride, in + outputs[r] * in_stride, cols * sizeof *out);
}

void hl_cpu_softcap(float *x, size_t stride, uint32_t cols, float cap, uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, cols, &begin, &end);
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t i = begin; i < end; i++)
            x[t * stride + i] = cap * tanhf(x[t * stride + i] / cap);
}
