/* The CPU's kernels: one table per instruction set, the scalar one being the reference that the others are tested
 * against.
 *
 * Work is shared by rows of output or by tokens: every thread of the team calls the same function with its own share.
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

/* out = weight in + bias, for n tokens. Activations are first brought into the form that the weight's type multiplies
 * with (prepare), in `scratch`, one row a token, zeros beyond the last column. The form is the same for every table:
 *   f32, f16        float32 as it is
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

/* Two blocks of 32 activations beside quantized weights, rounded to int8 with one scale each: max|x| / 127. The fast
 * kernels multiply unsigned weights, which are too large by an offset (hl_pair_offset()), so sums of products start
 * from -offset times the activations' own sum. */
struct hl_pair {
    int8_t values[64];
    float scale[2];
    int32_t start[4]; /* of block b, all in [2b]; of q6k [2b] for the first 16 columns, [2b + 1] for the others */
    float sum[2];     /* scale times the values' sum: what a minimum is multiplied with */
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

/* Columns with the padding of the last tile, and of the last pair. */
static inline uint32_t hl_linear_padded(const struct hl_linear *linear)
{
    uint32_t cols = hl_strip_tiles(linear->type, linear->cols) * hl_type_traits[linear->type].tile_cols;
    return hl_type_is_quantized(linear->type) ? (uint32_t)hl_round_up(cols, 64) : cols;
}

/* From token to token of the scratch: an odd number of cache lines, so that the same columns of many tokens spread over
 * all sets of a cache. */
static inline size_t hl_linear_scratch_stride(const struct hl_linear *linear)
{
    size_t cols = hl_linear_padded(linear);
    size_t bytes = linear->type == HL_TYPE_TILE_BF16 ? 2 * cols : 4 * cols;
    if (hl_type_is_quantized(linear->type))
        bytes = cols / 64 * sizeof(struct hl_pair);
    return (size_t)hl_round_up(bytes, 64) | 64;
}

/* Scratch for `n` tokens of `cols` columns, whatever the type. */
static inline size_t hl_linear_scratch_bytes(uint32_t n, uint32_t cols)
{
    return n * ((size_t)hl_round_up(cols, 128) * 4 + 64);
}

/* One token's part of the scratch. */
static inline uint8_t *hl_linear_scratch(const struct hl_linear *linear, uint32_t token)
{
    return linear->scratch + token * hl_linear_scratch_stride(linear);
}

/* The tokens' columns in pieces of HL_PIECE, numbered token by token: what preparing is shared by. */
#define HL_PIECE 256u

static inline uint32_t hl_linear_pieces(const struct hl_linear *linear)
{
    return (hl_linear_padded(linear) + HL_PIECE - 1) / HL_PIECE;
}

/* Asks for what a decode kernel will read after these bytes of tiles, into the next strip too, which the same thread
 * computes. A processor's own prefetching ends at every page of 4 KiB, and is lost where a chunk is read in several
 * places at once.
 *
 *   in sequence   float types; q8 for one token, where its tiles are read one after the other: every fourth line, two
 *                 pages ahead, into the second-level cache: keeps the processor's own prefetching going; more is in
 *                 its way
 *   otherwise     every line, from memory into the second-level cache; where reading is all that counts (one token),
 *                 just ahead once more, from there into the first
 *
 * Measured on Zen 4 by taking turns from token to token inside one process, as nothing else is steady enough; time per
 * token of whole models, of that for the second level alone, three pages ahead (reading alone took 88 to 98 %): as it
 * is now, q4 94 to 96 %, the K types 88 to 93 %. Farther or nearer by 2 KiB changed 1 % or less; nearer than 8 KiB 3 to
 * 18 % for the worse. Dropped: the first level alone (95 to 99 %, where the memory is fast 108 %), every second line
 * (130 to 230 %), non-temporal ones, none at all; both levels for four tokens (112 %). q8 in sequence takes as long as
 * reading; prefetching its every line cost 6 to 19 %, none at all 1 to 2 %.
 *
 * Always inlined: of a function that does nothing else gcc knows that it has no effect, and drops calls of it. */
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

struct hl_attend;

struct hl_kernels {
    const char *name;
    /* Brings a share of the pieces into the form that the weights multiply with. */
    void (*prepare)(const struct hl_linear *linear, struct hl_share pieces);
    /* Computes the strips [begin, end). */
    void (*linear)(const struct hl_linear *linear, uint32_t begin, uint32_t end);
    void (*attend)(const struct hl_attend *attend, struct hl_share share);
    /* out = activation(gate) * up; any two may be the same */
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

/* The tables that this processor can run, best first, NULL at the end. */
const struct hl_kernels *const *hl_kernels_available(void);

/* Key/value cache pages as the CPU lays them out: for each kv, the keys of all its heads, then the values of all. Keys
 * lie across, so that the scores of many positions come from one pass over a query's columns:
 *
 *   keys of a head    (head_dim, HL_KV_PAGE_TOKENS)                    q8: int8, then (blocks, HL_KV_PAGE_TOKENS) fp16
 *   values of a head  (HL_KV_PAGE_TOKENS, head_dim, padded to 32)      q8: int8, then (HL_KV_PAGE_TOKENS, blocks) fp16
 *
 * The padding of a value is zeros once its position is written.
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

/* Blocks of 32 columns in a head. */
static inline uint32_t hl_kv_blocks(uint32_t head_dim)
{
    return head_dim / 32 + (head_dim % 32 != 0);
}

/* One head's keys, or values, of one page. */
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

/* Where the keys, or the values, of a head begin in a page. */
static inline uint8_t *hl_kv_head(const struct hl_kv_store *store, uint32_t page, uint32_t head, bool values)
{
    size_t keys = hl_kv_half_bytes(store->type, store->head_dim, false);
    size_t at =
        values ? store->heads * keys + head * hl_kv_half_bytes(store->type, store->head_dim, true) : head * keys;
    return store->base + page * store->page_bytes + store->offset + at;
}

/* What an operation works on: the step and its matrices, resolved. `n` counts tokens or outputs. */
void hl_cpu_angles(float *out, size_t stride, const float *frequencies, uint32_t half, const uint32_t *positions,
                   uint32_t n, struct hl_share share);
void hl_cpu_gather(float *out, size_t stride, const struct hl_tensor *table, const uint8_t *weight, float scale,
                   const int32_t *tokens, uint32_t n, struct hl_share share);
void hl_cpu_norm(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *in, size_t in_stride,
                 const float *weight, uint32_t groups, uint32_t cols, float eps, uint32_t n, struct hl_share share);
void hl_cpu_rope(float *x, size_t stride, const float *angles, size_t angles_stride, uint32_t heads, uint32_t head_dim,
                 uint32_t rotated, uint32_t n, struct hl_share share);
void hl_cpu_kv_write(const struct hl_kernels *kernels, const struct hl_kv_store *store, const struct hl_step *step,
                     const float *k, const float *v, size_t stride_k, size_t stride_v, struct hl_share share);

struct hl_attend {
    const struct hl_kv_store *store;
    const struct hl_step *step;
    const float *q; /* (n, heads, head_dim) */
    size_t q_stride;
    float *out; /* as q */
    size_t out_stride;
    uint32_t heads, window;
    float scale, softcap;
    float *scratch; /* per share: hl_attend_scratch_floats(), 64-byte aligned */
};

#define HL_ATTEND_ROWS 32u /* query heads of tokens that are computed together */

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
