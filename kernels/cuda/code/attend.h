/* HL_OP_ATTEND: softmax(scale q k) v over the keys that a token sees.
 *
 * A tile is up to HL_CUDA_TILE_TOKENS consecutive tokens of one run. Tiles of one token are decode: their context is cut
 * into splits of HL_CUDA_SPLIT_TOKENS positions, a block each, and hl_cuda_attend_merge adds these up in their order.
 * Other tiles are computed whole, with a running softmax. So a launch has tiles of one kind. */
#ifndef HL_KERNELS_CUDA_CODE_ATTEND_H
#define HL_KERNELS_CUDA_CODE_ATTEND_H

#include "kernels/cuda/code/kv_cache.h"

#define HL_CUDA_TILE_TOKENS 16u
#define HL_CUDA_SPLIT_TOKENS 256u
#define HL_CUDA_ATTEND_THREADS 256
#define HL_CUDA_MERGE_THREADS 128
#define HL_CUDA_ATTEND_COLS 1024u /* the widest head */
#define HL_CUDA_ATTEND_ROWS 16u   /* the most (token, query head) pairs of a block */
#define HL_CUDA_ATTEND_Q 4096u    /* floats of shared memory for its queries */

struct hl_cuda_tile {
    uint32_t token;    /* of the step, the first */
    uint32_t n_tokens; /* 1 to HL_CUDA_TILE_TOKENS */
    uint32_t position; /* of the first token */
    uint32_t pages;    /* where the pages of its sequence begin in `pages` below */
};

struct hl_cuda_attend {
    struct hl_cuda_kv kv;
    const float *q;                   /* (n, heads, head_dim) */
    float *out;                       /* as q */
    const struct hl_cuda_tile *tiles; /* [n_tiles] */
    const uint32_t *pages;            /* page numbers */
    float *partial;                   /* decode: hl_cuda_attend_partial_floats(); else NULL */
    uint32_t heads, window, q_stride, out_stride;
    uint32_t splits; /* decode: of the longest context; else 1 */
    float scale, softcap;
};

#if !defined(__CUDACC__)

/* Returns the query heads of a kv head. */
static inline uint32_t hl_cuda_attend_group(const struct hl_cuda_attend *a)
{
    return a->heads / a->kv.heads;
}

/* Returns the rows of a block: a power of two that is enough for tiles of `most_tokens`, if there is one. A row's result
 * is the same in each. */
static inline uint32_t hl_cuda_attend_rows(const struct hl_cuda_attend *a, uint32_t most_tokens)
{
    uint32_t wanted = most_tokens * hl_cuda_attend_group(a), rows = 1, cols = (a->kv.head_dim + 63) / 64 * 64;
    while (rows < wanted && rows < HL_CUDA_ATTEND_ROWS && 2 * rows * cols <= HL_CUDA_ATTEND_Q)
        rows *= 2;
    return rows;
}

/* Returns the name of the kernel for tiles of at most so many tokens, or NULL if the heads are too wide. */
static inline const char *hl_cuda_attend_kernel(const struct hl_cuda_attend *a, uint32_t most_tokens)
{
    static const char *const names[3][5] = {{"hl_cuda_attend_f32_1", "hl_cuda_attend_f32_2", "hl_cuda_attend_f32_4",
                                             "hl_cuda_attend_f32_8", "hl_cuda_attend_f32_16"},
                                            {"hl_cuda_attend_f16_1", "hl_cuda_attend_f16_2", "hl_cuda_attend_f16_4",
                                             "hl_cuda_attend_f16_8", "hl_cuda_attend_f16_16"},
                                            {"hl_cuda_attend_q8_1", "hl_cuda_attend_q8_2", "hl_cuda_attend_q8_4",
                                             "hl_cuda_attend_q8_8", "hl_cuda_attend_q8_16"}};
    if (a->kv.head_dim > HL_CUDA_ATTEND_COLS)
        return NULL;
    uint32_t rows = hl_cuda_attend_rows(a, most_tokens), power = 0;
    while (rows >> power > 1)
        power++;
    return names[a->kv.type][power];
}

/* x: splits; y: for each kv head, the rows of a tile; z: tiles. */
static inline struct hl_cuda_grid hl_cuda_attend_grid(const struct hl_cuda_attend *a, uint32_t most_tokens,
                                                      uint32_t n_tiles)
{
    uint32_t rows = hl_cuda_attend_rows(a, most_tokens);
    struct hl_cuda_grid grid = {a->splits, a->kv.heads * ((most_tokens * hl_cuda_attend_group(a) + rows - 1) / rows),
                                n_tiles};
    return grid;
}

/* For the kernel "hl_cuda_attend_merge". x: columns of all heads; y: tiles. */
static inline struct hl_cuda_grid hl_cuda_attend_merge_grid(const struct hl_cuda_attend *a, uint32_t n_tiles)
{
    uint32_t cols = a->heads * a->kv.head_dim;
    struct hl_cuda_grid grid = {(cols + HL_CUDA_MERGE_THREADS - 1) / HL_CUDA_MERGE_THREADS, n_tiles, 1};
    return grid;
}

/* Returns the size of `partial`: for each tile, head and split the largest score, the sum of weights, and the sum of
 * weighted values. */
static inline uint64_t hl_cuda_attend_partial_floats(uint32_t heads, uint32_t head_dim, uint32_t splits,
                                                     uint32_t n_tiles)
{
    return (uint64_t)n_tiles * heads * splits * (head_dim + 2);
}

/* Returns the splits of a context. */
static inline uint32_t hl_cuda_attend_splits(uint32_t positions)
{
    return (positions + HL_CUDA_SPLIT_TOKENS - 1) / HL_CUDA_SPLIT_TOKENS;
}

#endif

#endif
