/* Attention in float32. The 256 threads of a block compute some rows of a tile (a row is a query head of a token) against
 * 128 keys after another:
 *
 *   scores    a thread has 4 keys and every eighth column, as keys are transposed in a page: with the rows, 4 sums each
 *   weights   a warp has a row, and adds up what the 8 warps found; the running softmax of Milakov and Gimelshein
 *   values    a thread has 4 columns and every so many keys: 4 sums for each row, added up when all keys are done
 *
 * Keys are dealt by their position alone, and one that a row does not see weighs zero, so that a row's result does not
 * depend on the rows beside it, nor on how many rows a block has. */
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/code/math_inside.h"
#include "kernels/cuda/machine/machine.h"

#define ATTEND_KEYS 128u
#define ATTEND_WARPS (HL_CUDA_ATTEND_THREADS / 32u)
#define ATTEND_INFINITY as_float(0x7f800000u)

/* Four numbers that are read at once. */
struct __attribute__((aligned(16))) attend_quad {
    float v[4];
};

struct attend_work {
    uint32_t type, rows;       /* constants, once the compiler has put the functions into each other */
    uint32_t head, first_row;  /* of the kv; of the tile */
    uint32_t n_rows, group;    /* of the tile; query heads of a kv head */
    uint32_t begin, end, cols; /* positions that some row sees; columns of the cache */
    struct hl_cuda_tile tile;
    struct attend_quad *room; /* shared: partial scores, then the weights (key, row) and factors of rows */
    float *q;                 /* shared: (column, row); at last the largest scores and the sums of weights */
};

/* Four elements as they lie in the cache. They are read some steps before they are converted, so that many reads are
 * under way. */
struct attend_words {
    uint32_t w[4];
};

/* Returns the bytes of an element of the cache. */
DEVICE uint32_t attend_element(uint32_t type)
{
    return type == HL_CUDA_KV_F32 ? 4 : type == HL_CUDA_KV_F16 ? 2 : 1;
}

DEVICE struct attend_words attend_read(uint32_t type, const uint8_t *from)
{
    struct attend_words to = {{0}};
    if (type == HL_CUDA_KV_F32)
        load16(to.w, from);
    else if (type == HL_CUDA_KV_F16)
        load8(to.w, from);
    else
        to.w[0] = load4(from);
    return to;
}

DEVICE struct attend_quad attend_convert(uint32_t type, const struct attend_words *from)
{
    struct attend_quad to;
    UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        if (type == HL_CUDA_KV_F32)
            to.v[i] = as_float(from->w[i]);
        else if (type == HL_CUDA_KV_F16)
            to.v[i] = half_at(from->w[i / 2], (int)(i % 2));
        else /* in the mantissa of 2^23 + ..., because the GPU is slow at converting integers */
            to.v[i] = as_float(0x4b000000u | ((from->w[0] ^ 0x80808080u) >> 8 * i & 0xff)) - 8388736.0f;
    }
    return to;
}

/* Reads a number for each row. */
DEVICE void attend_rows(float to[HL_CUDA_ATTEND_ROWS], const float *from, uint32_t rows)
{
    if (rows < 4) {
        UNROLL
        for (uint32_t r = 0; r < rows; r++)
            to[r] = from[r];
        return;
    }
    UNROLL
    for (uint32_t r = 0; r < rows; r += 4) {
        struct attend_quad quad = ((const struct attend_quad *)(const void *)from)[r / 4];
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            to[r + i] = quad.v[i];
    }
}

/* sums[row] += factors[row] values */
DEVICE void attend_add(struct attend_quad *sums, const float *factors, const struct attend_quad *values, uint32_t rows)
{
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            sums[r].v[i] = multiply_add(factors[r], values->v[i], sums[r].v[i]);
    }
}

DEVICE void attend_clear(struct attend_quad *sums, uint32_t rows)
{
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            sums[r].v[i] = 0;
    }
}

/* values[i] *= factors[i] */
DEVICE void attend_scale(struct attend_quad *values, const struct attend_quad *factors)
{
    UNROLL
    for (uint32_t i = 0; i < 4; i++)
        values->v[i] = multiply(values->v[i], factors->v[i]);
}

/* Returns where a row begins in the queries, or, with their stride, in the outputs. */
DEVICE size_t attend_offset(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t row, uint32_t stride)
{
    uint32_t token = w->tile.token + row / w->group, head = w->head * w->group + row % w->group;
    return (size_t)token * stride + (size_t)head * a->kv.head_dim;
}

/* Puts the queries into shared memory, with zeros for columns and rows that there are not. */
DEVICE void attend_queries(const struct hl_cuda_attend *a, const struct attend_work *w)
{
    uint32_t cols = (w->cols + 63) / 64 * 64;
    UNROLL
    for (uint32_t r = 0; r < w->rows; r++) {
        const float *q = a->q + attend_offset(a, w, w->first_row + r, a->q_stride);
        for (uint32_t col = thread_index(); col < cols; col += HL_CUDA_ATTEND_THREADS)
            w->q[col * w->rows + r] = w->first_row + r < w->n_rows && col < a->kv.head_dim ? q[col] : 0;
    }
}

/* Returns where a head's keys or values of a position's page begin; for a position that no row sees, another page. */
DEVICE const uint8_t *attend_page(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t position,
                                  uint32_t values)
{
    uint32_t seen = position < w->begin ? w->begin : position < w->end ? position : w->end - 1;
    uint32_t page = a->pages[w->tile.pages + seen / HL_CUDA_PAGE_TOKENS];
    return hl_cuda_kv_head(&a->kv, w->head, values) + page * a->kv.page_bytes;
}

/* Computes a thread's part of the scores of its 4 keys, over every eighth column. */
DEVICE void attend_scores(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t first,
                          struct attend_quad *sums)
{
    const uint32_t ahead = w->rows < 8 ? 8 : 4; /* loads under way */
    const uint32_t element = attend_element(w->type), row = element * HL_CUDA_PAGE_TOKENS;
    uint32_t warp = thread_index() / 32, blocks = w->cols / 32;
    const uint8_t *keys = attend_page(a, w, first + 4 * (thread_index() % 32), 0);
    const uint8_t *scales_at = keys + w->cols * HL_CUDA_PAGE_TOKENS + 8 * (thread_index() % 16);
    attend_clear(sums, w->rows);
    for (uint32_t block = 0; block < blocks; block += ahead / 4) {
        struct attend_words words[8], scale_words[2];
        UNROLL
        for (uint32_t j = 0; j < ahead / 4; j++) {
            uint32_t from = block + j < blocks ? block + j : block; /* beyond the last the query is zero */
            const uint8_t *at = keys + (32 * from + warp) * row + 4 * element * (thread_index() % 16);
            if (w->type == HL_CUDA_KV_Q8)
                scale_words[j] = attend_read(HL_CUDA_KV_F16, scales_at + from * 2 * HL_CUDA_PAGE_TOKENS);
            UNROLL
            for (uint32_t i = 0; i < 4; i++)
                words[4 * j + i] = attend_read(w->type, at + 8 * i * row);
        }
        UNROLL
        for (uint32_t i = 0; i < ahead; i++) {
            float q[HL_CUDA_ATTEND_ROWS];
            struct attend_quad values = attend_convert(w->type, &words[i]);
            if (w->type == HL_CUDA_KV_Q8) {
                struct attend_quad scales = attend_convert(HL_CUDA_KV_F16, &scale_words[i / 4]);
                attend_scale(&values, &scales);
            }
            attend_rows(q, w->q + (32 * block + 8 * i + warp) * w->rows, w->rows);
            attend_add(sums, q, &values, w->rows);
        }
    }
}

/* A row's softmax so far. */
struct attend_state {
    float most, total;
};

/* Returns what sums under one maximum are multiplied with to be sums under another. */
DEVICE float attend_change(float from, float to)
{
    return from == to ? 1.0f : hl_cuda_exp(from - to);
}

/* warp: turns the scores of a row into weights; returns the factor of earlier sums. Lane's keys are 4 neighbours. */
DEVICE float attend_weights(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t row, uint32_t first,
                            struct attend_state *state, struct attend_quad *scores)
{
    uint32_t at = w->tile.position + row / w->group, key = first + 4 * (thread_index() % 32);
    uint32_t lowest = a->window && at >= a->window ? at - a->window + 1 : 0;
    float most = state->most, sum = 0;
    UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        float score = multiply(scores->v[i], a->scale);
        if (a->softcap > 0)
            score = multiply(a->softcap, hl_cuda_tanh(score / a->softcap));
        int seen = key + i >= lowest && key + i <= at;
        scores->v[i] = seen ? score : -ATTEND_INFINITY;
        most = scores->v[i] > most ? scores->v[i] : most;
    }
    for (uint32_t mask = 16; mask; mask /= 2) {
        float other = exchange(most, mask);
        most = other > most ? other : most;
    }
    UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        int seen = key + i >= lowest && key + i <= at;
        scores->v[i] = seen ? hl_cuda_exp(scores->v[i] - most) : 0;
        sum += scores->v[i];
    }
    for (uint32_t mask = 16; mask; mask /= 2)
        sum += exchange(sum, mask);
    float factor = attend_change(state->most, most);
    state->total = multiply_add(state->total, factor, sum);
    state->most = most;
    return factor;
}

/* Adds up the scores of 8 rows at a time, a warp for each, and leaves the weights of all in w->room. */
DEVICE void attend_softmax(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t first,
                           const struct attend_quad *sums, struct attend_state *states)
{
    const uint32_t once = w->rows < ATTEND_WARPS ? w->rows : ATTEND_WARPS;
    uint32_t warp = thread_index() / 32, lane = thread_index() % 32;
    float *weights = (float *)w->room, factors[2] = {1, 1};
    struct attend_quad scores[2];
    UNROLL
    for (uint32_t half = 0; half < w->rows / once; half++) {
        UNROLL
        for (uint32_t r = 0; r < once; r++)
            w->room[(warp * once + r) * 32 + lane] = sums[half * once + r];
        block_barrier();
        if (warp < once) {
            attend_clear(&scores[half], 1);
            UNROLL
            for (uint32_t part = 0; part < ATTEND_WARPS; part++) {
                UNROLL
                for (uint32_t i = 0; i < 4; i++)
                    scores[half].v[i] += w->room[(part * once + warp) * 32 + lane].v[i];
            }
            factors[half] =
                attend_weights(a, w, w->first_row + half * once + warp, first, &states[half], &scores[half]);
        }
        block_barrier();
    }
    if (warp < once) {
        UNROLL
        for (uint32_t half = 0; half < w->rows / once; half++) {
            uint32_t row = half * once + warp;
            UNROLL
            for (uint32_t i = 0; i < 4; i++)
                weights[(4 * lane + i) * w->rows + row] = scores[half].v[i];
            if (lane == 0)
                weights[ATTEND_KEYS * w->rows + row] = factors[half];
        }
    }
    block_barrier();
}

/* Adds the weighted values of 128 keys to a thread's 4 columns. As many threads as there are quads of columns form a
 * group, and the groups take turns with the keys. */
DEVICE void attend_values(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t first,
                          struct attend_quad *sums)
{
    const uint32_t ahead = w->rows < 8 ? 8 : 4;
    uint32_t quads = w->cols / 4, groups = HL_CUDA_ATTEND_THREADS / quads, quad = thread_index() % quads;
    uint32_t begin = w->begin > first ? w->begin - first : 0;
    uint32_t end = w->end - first < ATTEND_KEYS ? w->end - first : ATTEND_KEYS;
    const uint8_t *low = attend_page(a, w, first, 1), *high = attend_page(a, w, first + HL_CUDA_PAGE_TOKENS, 1);
    const float *weights = (const float *)w->room;
    float of_rows[HL_CUDA_ATTEND_ROWS];
    attend_rows(of_rows, weights + ATTEND_KEYS * w->rows, w->rows);
    UNROLL
    for (uint32_t r = 0; r < w->rows; r++) {
        const struct attend_quad factors = {{of_rows[r], of_rows[r], of_rows[r], of_rows[r]}};
        attend_scale(&sums[r], &factors);
    }
    uint32_t key = thread_index() / quads;
    if (key >= groups)
        return;
    for (; key < end; key += ahead * groups) {
        struct attend_words words[8];
        uint32_t scales[8];
        UNROLL
        for (uint32_t i = 0; i < ahead; i++) {
            uint32_t from = key + i * groups;
            from = from >= begin && from < end ? from : begin; /* what no row sees is not worth reading */
            const uint8_t *page = from < HL_CUDA_PAGE_TOKENS ? low : high;
            from %= HL_CUDA_PAGE_TOKENS;
            words[i] = attend_read(w->type, page + attend_element(w->type) * (from * w->cols + 4 * quad));
            if (w->type == HL_CUDA_KV_Q8)
                scales[i] = load2(page + w->cols * HL_CUDA_PAGE_TOKENS + 2 * (from * (w->cols / 32) + quad / 8));
        }
        UNROLL
        for (uint32_t i = 0; i < ahead; i++)
            if (key + i * groups >= begin && key + i * groups < end) {
                struct attend_quad values = attend_convert(w->type, &words[i]);
                if (w->type == HL_CUDA_KV_Q8) {
                    float scale = half_at(scales[i], 0);
                    const struct attend_quad all = {{scale, scale, scale, scale}};
                    attend_scale(&values, &all);
                }
                attend_rows(of_rows, weights + (key + i * groups) * w->rows, w->rows);
                attend_add(sums, of_rows, &values, w->rows);
            }
    }
}

/* Writes a column of a row: to the output, or beside the maximum and the sum of weights to `partial`. */
DEVICE void attend_store(const struct hl_cuda_attend *a, const struct attend_work *w, uint32_t r, uint32_t col,
                         float sum)
{
    uint32_t row = w->first_row + r, head = w->head * w->group + row % w->group;
    float most = w->q[r], total = w->q[w->rows + r];
    if (!a->partial) {
        a->out[attend_offset(a, w, row, a->out_stride) + col] = sum / total;
        return;
    }
    float *to =
        a->partial + (((size_t)block_index_z() * a->heads + head) * a->splits + block_index()) * (a->kv.head_dim + 2);
    if (col == 0) {
        to[0] = most;
        to[1] = total;
    }
    to[2 + col] = sum;
}

/* Adds up what the threads of a column have found, 8 rows at a time. */
DEVICE void attend_finish(const struct hl_cuda_attend *a, const struct attend_work *w, const struct attend_quad *sums,
                          const struct attend_state *states)
{
    const uint32_t once = w->rows < ATTEND_WARPS ? w->rows : ATTEND_WARPS;
    uint32_t warp = thread_index() / 32, quads = w->cols / 4, groups = HL_CUDA_ATTEND_THREADS / quads;
    UNROLL
    for (uint32_t half = 0; half < w->rows / once; half++) {
        if (warp < once && thread_index() % 32 == 0) {
            w->q[half * once + warp] = states[half].most;
            w->q[w->rows + half * once + warp] = states[half].total;
        }
        UNROLL
        for (uint32_t r = 0; r < once; r++)
            w->room[r * HL_CUDA_ATTEND_THREADS + thread_index()] = sums[half * once + r];
        block_barrier();
        for (uint32_t item = thread_index(); item < once * w->cols; item += HL_CUDA_ATTEND_THREADS) {
            uint32_t r = item / w->cols, col = item % w->cols;
            const float *part = (const float *)&w->room[r * HL_CUDA_ATTEND_THREADS] + col;
            float sum = 0;
            for (uint32_t group = 0; group < groups; group++)
                sum += part[group * w->cols];
            r += half * once;
            if (w->first_row + r < w->n_rows && col < a->kv.head_dim)
                attend_store(a, w, r, col, sum);
        }
        block_barrier();
    }
}

/* Sets the rows and positions of a block; returns 0 if there are none. */
DEVICE int attend_begin(const struct hl_cuda_attend *a, struct attend_work *w)
{
    uint32_t share = block_index_y() / a->kv.heads;
    w->tile = a->tiles[block_index_z()];
    w->head = block_index_y() % a->kv.heads;
    w->group = a->heads / a->kv.heads;
    w->cols = hl_cuda_kv_cols(a->kv.head_dim);
    w->first_row = share * w->rows;
    w->n_rows = w->tile.n_tokens * w->group;
    if (w->first_row >= w->n_rows)
        return 0;
    uint32_t last_row = w->first_row + w->rows < w->n_rows ? w->first_row + w->rows - 1 : w->n_rows - 1;
    uint32_t first = w->tile.position + w->first_row / w->group, last = w->tile.position + last_row / w->group;
    w->begin = a->window && first >= a->window ? first - a->window + 1 : 0;
    w->end = last + 1;
    if (a->partial) {
        uint32_t begin = block_index() * HL_CUDA_SPLIT_TOKENS, end = begin + HL_CUDA_SPLIT_TOKENS;
        w->begin = w->begin > begin ? w->begin : begin;
        w->end = w->end < end ? w->end : end;
    }
    return w->begin < w->end;
}

DEVICE void attend_block(const struct hl_cuda_attend *a, uint32_t type, uint32_t rows, struct attend_quad *room,
                         float *q)
{
    struct attend_work w;
    struct attend_quad scores[HL_CUDA_ATTEND_ROWS], sums[HL_CUDA_ATTEND_ROWS];
    struct attend_state states[2] = {{-ATTEND_INFINITY, 0}, {-ATTEND_INFINITY, 0}};
    w.type = type;
    w.rows = rows;
    w.room = room;
    w.q = q;
    if (!attend_begin(a, &w))
        return;
    attend_queries(a, &w);
    attend_clear(sums, rows);
    block_barrier();
    for (uint32_t first = w.begin / ATTEND_KEYS * ATTEND_KEYS; first < w.end; first += ATTEND_KEYS) {
        attend_scores(a, &w, first, scores);
        attend_softmax(a, &w, first, scores, states);
        attend_values(a, &w, first, sums);
        block_barrier();
    }
    attend_finish(a, &w, sums, states);
}

#define ATTEND(name, type, rows)                                                                                       \
    KERNEL_OF_BLOCKS(name, HL_CUDA_ATTEND_THREADS, (rows < 16 ? 2 : 1), struct hl_cuda_attend)                         \
    {                                                                                                                  \
        SHARED(struct attend_quad, room, (rows < 8 ? rows : 8) * HL_CUDA_ATTEND_THREADS);                              \
        SHARED(struct attend_quad, q, (rows < 4 ? rows * HL_CUDA_ATTEND_COLS : HL_CUDA_ATTEND_Q) / 4);                 \
        attend_block(&arguments, type, rows, room, (float *)q);                                                        \
    }

ATTEND(hl_cuda_attend_f32_1, HL_CUDA_KV_F32, 1)
ATTEND(hl_cuda_attend_f32_2, HL_CUDA_KV_F32, 2)
ATTEND(hl_cuda_attend_f32_4, HL_CUDA_KV_F32, 4)
ATTEND(hl_cuda_attend_f32_8, HL_CUDA_KV_F32, 8)
ATTEND(hl_cuda_attend_f32_16, HL_CUDA_KV_F32, 16)
ATTEND(hl_cuda_attend_f16_1, HL_CUDA_KV_F16, 1)
ATTEND(hl_cuda_attend_f16_2, HL_CUDA_KV_F16, 2)
ATTEND(hl_cuda_attend_f16_4, HL_CUDA_KV_F16, 4)
ATTEND(hl_cuda_attend_f16_8, HL_CUDA_KV_F16, 8)
ATTEND(hl_cuda_attend_f16_16, HL_CUDA_KV_F16, 16)
ATTEND(hl_cuda_attend_q8_1, HL_CUDA_KV_Q8, 1)
ATTEND(hl_cuda_attend_q8_2, HL_CUDA_KV_Q8, 2)
ATTEND(hl_cuda_attend_q8_4, HL_CUDA_KV_Q8, 4)
ATTEND(hl_cuda_attend_q8_8, HL_CUDA_KV_Q8, 8)
ATTEND(hl_cuda_attend_q8_16, HL_CUDA_KV_Q8, 16)

/* Adds up the splits of a tile of one token in their order, a thread for each column. */
KERNEL(hl_cuda_attend_merge, HL_CUDA_MERGE_THREADS, struct hl_cuda_attend)
{
    uint32_t at = block_index() * HL_CUDA_MERGE_THREADS + thread_index(), dim = arguments.kv.head_dim;
    struct hl_cuda_tile tile = arguments.tiles[block_index_y()];
    if (at >= arguments.heads * dim)
        return;
    uint32_t position = tile.position, window = arguments.window;
    uint32_t split = (window && position >= window ? position - window + 1 : 0) / HL_CUDA_SPLIT_TOKENS;
    const float *parts =
        arguments.partial + ((size_t)block_index_y() * arguments.heads + at / dim) * arguments.splits * (dim + 2);
    float most = -ATTEND_INFINITY, total = 0, sum = 0;
    for (; split <= position / HL_CUDA_SPLIT_TOKENS; split++) {
        const float *part = parts + (size_t)split * (dim + 2);
        float larger = part[0] > most ? part[0] : most;
        float before = attend_change(most, larger), here = attend_change(part[0], larger);
        total = multiply_add(part[1], here, multiply(total, before));
        sum = multiply_add(part[2 + at % dim], here, multiply(sum, before));
        most = larger;
    }
    arguments.out[(size_t)tile.token * arguments.out_stride + at] = sum / total;
}
