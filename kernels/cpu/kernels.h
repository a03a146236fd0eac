/* The CPU's kernels: one table per instruction set. The others are tested against the scalar table.
 *
 * Threads divide the work by rows of output or by tokens: all threads call the same function, each with its own share.
 */
#ifndef HL_KERNELS_CPU_KERNELS_H
#define HL_KERNELS_CPU_KERNELS_H

#include "base/sizes.h"
#include "base/team.h"
#include "hotlayer/half.h"
#include "hotlayer/program.h"
#include "hotlayer/tile.h"
#include "kernels/device.h"
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* out = weight in + bias, for n tokens. prepare() first converts the activations to the form that the weight's type
 * multiplies with. It writes them to `scratch`, one row per token, with zeros after the last column. The padding of a
 * tile may hold anything that is finite, because it meets these zeros with a scale of zero. All tables use the same form:
 *   f32, f16        float32, unchanged
 *   bf16            rounded to bf16
 *   quantized ones  struct hl_pair for every 64 columns
 */
struct hl_linear {
    uint32_t type, rows, cols;
    const uint8_t *weight; /* tiles */
    const float *bias;     /* (rows), or NULL */
    uint32_t n;
    const float *in; /* (n, cols) */
    size_t in_stride;
    float *out; /* (n, rows) */
    size_t out_stride;
    uint8_t *scratch; /* hl_linear_scratch_bytes(), 64-byte aligned */
};

/* Two blocks of 32 activations for quantized weights, rounded to int8 with a scale each of max|x| / 127. The fast
 * kernels multiply unsigned weights, which are too large by hl_pair_offset(). So a sum of products starts at -offset
 * times the sum of the activations. */
struct hl_pair {
    int8_t values[64];
    float scale[2];
    int32_t start[4]; /* of block b, all in [2b]; q6k: [2b] for the first 16 columns, [2b + 1] for the rest */
    float sum[2];     /* scale times the sum of the values, to multiply a minimum with */
};

static_assert(sizeof(struct hl_pair) == 96, "whole cache lines for two");

static inline int32_t hl_pair_offset(uint32_t type)
{
    return type == HL_TYPE_TILE_Q8 ? 128 : type == HL_TYPE_TILE_Q4 ? 8 : type == HL_TYPE_TILE_Q6K ? 32 : 0;
}

static inline bool hl_type_is_quantized(uint32_t type)
{
    return type >= HL_TYPE_TILE_Q8;
}

/* Returns the columns including the padding of the last tile and of the last pair. */
static inline uint32_t hl_linear_padded(const struct hl_linear *linear)
{
    uint32_t cols = hl_strip_tiles(linear->type, linear->cols) * hl_type_traits[linear->type].tile_cols;
    return hl_type_is_quantized(linear->type) ? (uint32_t)hl_round_up(cols, 64) : cols;
}

/* Returns the bytes from token to token. An odd number of cache lines spreads the same columns of many tokens over all
 * sets of a cache. */
static inline size_t hl_linear_scratch_stride(const struct hl_linear *linear)
{
    size_t cols = hl_linear_padded(linear);
    size_t bytes = linear->type == HL_TYPE_TILE_BF16 ? 2 * cols : 4 * cols;
    if (hl_type_is_quantized(linear->type))
        bytes = cols / 64 * sizeof(struct hl_pair);
    return (size_t)hl_round_up(bytes, 64) | 64;
}

/* Returns the bytes of scratch for `n` tokens of `cols` columns, enough for every type. */
static inline size_t hl_linear_scratch_bytes(uint32_t n, uint32_t cols)
{
    return n * ((size_t)hl_round_up(cols, 128) * 4 + 64);
}

/* Returns one token's part of the scratch. */
static inline uint8_t *hl_linear_scratch(const struct hl_linear *linear, uint32_t token)
{
    return linear->scratch + token * hl_linear_scratch_stride(linear);
}

/* prepare() is divided into pieces of HL_PIECE columns, numbered token by token. */
#define HL_PIECE 256u

static inline uint32_t hl_linear_pieces(const struct hl_linear *linear)
{
    return (hl_linear_padded(linear) + HL_PIECE - 1) / HL_PIECE;
}

/* Prefetches the tiles that a decode kernel reads after these bytes. That may reach into the next strip, which the same
 * thread computes. The processor's own prefetching stops at every page of 4 KiB, and fails where a chunk is read in
 * several places at once.
 *
 *   in sequence   float types, and q8 for one token, whose tiles are read one after the other: every fourth line, two
 *                 pages ahead, into the second-level cache. This keeps the processor's own prefetching going; more
 *                 prefetches slow it down.
 *   otherwise     every line, from memory into the second-level cache. For one token, where reading is the limit, a
 *                 second prefetch shortly before use, into the first-level cache.
 *
 * Two levels are faster than the second level alone. 2 KiB more or less distance hardly matters, less than 8 KiB is
 * slower. Dropped: the first level alone, every second line, non-temporal prefetches, no prefetches, both levels for
 * four tokens; for q8 in sequence, every line. Figures: docs/performance.md, "Prefetching in decode".
 *
 * Keep these functions always_inline: gcc considers a function that only prefetches to have no effect, and drops calls
 * to it. Keep each prefetch apart from the loads: prefetches interleaved with the loads are slower.
 */
#define HL_PREFETCH static inline __attribute__((always_inline)) void

HL_PREFETCH hl_cpu_prefetch_in_sequence(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 256)
        __builtin_prefetch(from + 8192 + i, 0, 2);
}

HL_PREFETCH hl_cpu_prefetch_lines(const uint8_t *from, size_t bytes, bool twice)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + 10240 + i, 0, 2);
    for (size_t i = 0; twice && i < bytes; i += 64)
        __builtin_prefetch(from + 1536 + i, 0, 3);
}

/* Where the tokens of a step are: what attention and the cache need of its runs, token by token. */
struct hl_places {
    uint32_t n_tokens;
    const uint32_t *positions;    /* [n_tokens] */
    const uint32_t *const *pages; /* [n_tokens] the pages of the token's sequence */
};

struct hl_attend;

struct hl_kernels {
    const char *name;
    /* Converts a share of the pieces to the form that the weights multiply with. */
    void (*prepare)(const struct hl_linear *linear, struct hl_share pieces);
    /* Computes the strips [begin, end). */
    void (*linear)(const struct hl_linear *linear, uint32_t begin, uint32_t end);
    void (*attend)(const struct hl_attend *attend, struct hl_share share);
    /* out = activation(gate) * up; any of the three may be the same */
    void (*gate)(float *out, const float *gate, const float *up, uint32_t n, uint32_t activation);
    void (*softcap)(float *x, uint32_t n, float cap); /* x = cap tanh(x / cap) */
    float (*dot)(const float *a, const float *b, uint32_t n);
    void (*f16_store)(uint16_t *to, const float *from, uint32_t n); /* saturates */
};

extern const struct hl_kernels hl_kernels_scalar;
#if defined(__x86_64__)
extern const struct hl_kernels hl_kernels_avx2;
extern const struct hl_kernels hl_kernels_avx512;
#endif

/* Returns the tables that this processor can run, best first, with a NULL at the end. */
const struct hl_kernels *const *hl_kernels_available(void);

/* The layout of the CPU's key/value cache pages: for each kv the keys of all its heads, then the values of all its
 * heads. Keys are transposed, so that one pass over a query's columns computes the scores of many positions:
 *
 *   keys of a head    (head_dim, HL_KV_PAGE_TOKENS)                    q8: int8, then (blocks, HL_KV_PAGE_TOKENS) fp16
 *   values of a head  (HL_KV_PAGE_TOKENS, head_dim, padded to 32)      q8: int8, then (HL_KV_PAGE_TOKENS, blocks) fp16
 *
 * The padding of a value is zero once its position is written. Positions that no token has written hold anything, even
 * NaN, and zero times NaN is NaN: attention must mask their scores, not multiply them by zero.
 */
struct hl_kv_store {
    uint8_t *base;
    uint64_t page_bytes;
    uint64_t offset; /* of this kv in a page */
    enum hl_kv_type type;
    uint32_t heads, head_dim;
};

static inline uint32_t hl_kv_element(enum hl_kv_type type)
{
    return type == HL_KV_F32 ? 4 : type == HL_KV_F16 ? 2 : 1;
}

/* Returns the count of blocks of 32 columns in a head. */
static inline uint32_t hl_kv_blocks(uint32_t head_dim)
{
    return head_dim / 32 + (head_dim % 32 != 0);
}

/* Returns the bytes of one head's keys, or values, in a page. */
static inline size_t hl_kv_half_bytes(enum hl_kv_type type, uint32_t head_dim, bool values)
{
    size_t cols = values || type == HL_KV_Q8 ? (size_t)hl_kv_blocks(head_dim) * 32 : head_dim;
    size_t scales = type == HL_KV_Q8 ? (size_t)hl_kv_blocks(head_dim) * 2 : 0;
    return HL_KV_PAGE_TOKENS * (cols * hl_kv_element(type) + scales);
}

static inline size_t hl_kv_bytes(enum hl_kv_type type, uint32_t heads, uint32_t head_dim)
{
    return heads * (hl_kv_half_bytes(type, head_dim, false) + hl_kv_half_bytes(type, head_dim, true));
}

/* Returns the start of a head's keys, or values, in a page. */
static inline uint8_t *hl_kv_head(const struct hl_kv_store *store, uint32_t page, uint32_t head, bool values)
{
    size_t keys = hl_kv_half_bytes(store->type, store->head_dim, false);
    size_t at =
        values ? store->heads * keys + head * hl_kv_half_bytes(store->type, store->head_dim, true) : head * keys;
    return store->base + page * store->page_bytes + store->offset + at;
}

/* The operations, on the resolved matrices of a step. `n` is a count of tokens or of outputs. */
void hl_cpu_angles(float *out, size_t stride, const float *frequencies, uint32_t half, const uint32_t *positions,
                   uint32_t n, struct hl_share share);
void hl_cpu_gather(float *out, size_t stride, const struct hl_tensor *table, const uint8_t *weight, float scale,
                   const int32_t *tokens, uint32_t n, struct hl_share share);
void hl_cpu_norm(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *in, size_t in_stride,
                 const float *weight, uint32_t groups, uint32_t cols, float eps, uint32_t n, struct hl_share share);
void hl_cpu_rope(float *x, size_t stride, const float *angles, size_t angles_stride, uint32_t heads, uint32_t head_dim,
                 uint32_t rotated, uint32_t n, struct hl_share share);
void hl_cpu_kv_write(const struct hl_kernels *kernels, const struct hl_kv_store *store, const struct hl_places *places,
                     const float *k, const float *v, size_t stride_k, size_t stride_v, struct hl_share share);

struct hl_attend {
    const struct hl_kv_store *store;
    const struct hl_places *places;
    const float *q; /* (n, heads, head_dim) */
    size_t q_stride;
    float *out; /* as q */
    size_t out_stride;
    uint32_t heads, window;
    float scale, softcap;
    float *scratch; /* one part per share: hl_attend_scratch_floats(), 64-byte aligned */
};

#define HL_ATTEND_ROWS 32u /* rows (query heads of tokens) that are computed together */

static inline size_t hl_attend_scratch_floats(uint32_t head_dim)
{
    return HL_ATTEND_ROWS * ((size_t)HL_KV_PAGE_TOKENS + hl_kv_blocks(head_dim) * 32);
}

void hl_cpu_gate(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *gate, size_t gate_stride,
                 const float *up, size_t up_stride, uint32_t cols, uint32_t activation, uint32_t n,
                 struct hl_share share);
void hl_cpu_add(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols, uint32_t n,
                struct hl_share share);
void hl_cpu_pick(float *out, size_t out_stride, const float *in, size_t in_stride, uint32_t cols,
                 const uint32_t *outputs, uint32_t n, struct hl_share share);
void hl_cpu_softcap(const struct hl_kernels *kernels, float *x, size_t stride, uint32_t cols, float cap, uint32_t n,
                    struct hl_share share);

#endif
