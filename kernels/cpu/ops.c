/* The operations except linear and attention: plain C over float32 matrices. The threads divide tokens or columns. */
#include "base/sizes.h"
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

void hl_cpu_gather(float *out, size_t stride, const struct hl_tensor *table, const uint8_t *weight, float scale,
                   const int32_t *tokens, uint32_t n, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, n, &begin, &end);
    for (uint32_t t = begin; t < end; t++)
        hl_tile_row(out + t * stride, table->type, table->cols, weight, (uint32_t)tokens[t], scale);
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

/* Quantizes a block to q8 with its scale, as in the cache. */
static void quantize_row(const float *x, uint32_t n, int8_t *values, uint16_t *scale)
{
    float most = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    *scale = hl_f32_to_f16(fminf(most / 127.0f, 65504.0f));
    float step = hl_f16_to_f32(*scale), inverse = step > 0 ? 1.0f / step : 0;
    for (uint32_t i = 0; i < n; i++) {
        float value = fminf(fmaxf(x[i] * inverse, -127.0f), 127.0f); /* a NaN becomes -127 */
        values[i] = (int8_t)lrintf(value);
    }
}

/* Converts a head's key or value to elements of the cache, head_dim padded to a multiple of 32, with zeros after the
 * last. */
static void kv_elements(const struct hl_kernels *kernels, const struct hl_kv_store *store, const float *from,
                        uint8_t *elements, uint16_t *scales)
{
    uint32_t dim = store->head_dim;
    memset(elements, 0, (size_t)hl_kv_blocks(dim) * 32 * hl_kv_element(store->type));
    if (store->type == HL_KV_F32)
        memcpy(elements, from, dim * sizeof *from);
    else if (store->type == HL_KV_F16)
        kernels->f16_store((uint16_t *)(void *)elements, from, dim);
    else
        for (uint32_t b = 0; 32 * b < dim; b++)
            quantize_row(from + 32 * b, hl_min_u32(32, dim - 32 * b), (int8_t *)elements + 32 * b, &scales[b]);
}

/* Columns of a head that are written at once: whole blocks, and few enough for the stack. */
#define KV_PIECE 256u

static void kv_write_key(const struct hl_kv_store *store, uint8_t *keys, uint32_t slot, uint32_t first, uint32_t n,
                         const uint8_t *elements, const uint16_t *scales)
{
    size_t element = hl_kv_element(store->type), row = HL_KV_PAGE_TOKENS * element;
    uint32_t padded = store->type == HL_KV_Q8 ? (uint32_t)hl_round_up(n, 32) : n;
    for (uint32_t i = 0; i < padded; i++)
        memcpy(keys + (first + i) * row + slot * element, elements + i * element, element);
    uint8_t *scales_at = keys + (size_t)hl_kv_blocks(store->head_dim) * 32 * row;
    for (uint32_t b = 0; store->type == HL_KV_Q8 && 32 * b < n; b++)
        memcpy(scales_at + 2 * ((size_t)(first / 32 + b) * HL_KV_PAGE_TOKENS + slot), &scales[b], 2);
}

static void kv_write_value(const struct hl_kv_store *store, uint8_t *values, uint32_t slot, uint32_t first, uint32_t n,
                           const uint8_t *elements, const uint16_t *scales)
{
    size_t element = hl_kv_element(store->type), row = (size_t)hl_kv_blocks(store->head_dim) * 32 * element;
    memcpy(values + slot * row + first * element, elements, (size_t)hl_round_up(n, 32) * element);
    uint8_t *scales_at = values + HL_KV_PAGE_TOKENS * row;
    if (store->type == HL_KV_Q8)
        memcpy(scales_at + 2 * ((size_t)slot * hl_kv_blocks(store->head_dim) + first / 32), scales,
               2 * (size_t)hl_kv_blocks(n));
}

static void kv_write_head(const struct hl_kernels *kernels, const struct hl_kv_store *store, uint8_t *half,
                          uint32_t slot, const float *from, bool values)
{
    uint8_t elements[KV_PIECE * sizeof(float)] __attribute__((aligned(64)));
    uint16_t scales[KV_PIECE / 32];
    for (uint32_t first = 0; first < store->head_dim; first += KV_PIECE) {
        struct hl_kv_store piece = *store;
        piece.head_dim = hl_min_u32(KV_PIECE, store->head_dim - first);
        kv_elements(kernels, &piece, from + first, elements, scales);
        if (values)
            kv_write_value(store, half, slot, first, piece.head_dim, elements, scales);
        else
            kv_write_key(store, half, slot, first, piece.head_dim, elements, scales);
    }
}

void hl_cpu_kv_write(const struct hl_kernels *kernels, const struct hl_kv_store *store, const struct hl_places *places,
                     const float *k, const float *v, size_t stride_k, size_t stride_v, struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, places->n_tokens, &begin, &end);
    for (uint32_t t = begin; t < end; t++) {
        uint32_t page = places->pages[t][places->positions[t] / HL_KV_PAGE_TOKENS];
        uint32_t slot = places->positions[t] % HL_KV_PAGE_TOKENS;
        for (uint32_t head = 0; head < store->heads; head++) {
            size_t column = (size_t)head * store->head_dim;
            kv_write_head(kernels, store, hl_kv_head(store, page, head, false), slot, k + t * stride_k + column, false);
            kv_write_head(kernels, store, hl_kv_head(store, page, head, true), slot, v + t * stride_v + column, true);
        }
    }
}

void hl_cpu_gate(const struct hl_kernels *kernels, float *out, size_t out_stride, const float *gate, size_t gate_stride,
                 const float *up, size_t up_stride, uint32_t cols, uint32_t activation, uint32_t n,
                 struct hl_share share)
{
    uint32_t begin, end; /* of columns, so that even a single token is divided */
    hl_share_range(share, cols, &begin, &end);
    for (uint32_t t = 0; t < n; t++)
        kernels->gate(out + t * out_stride + begin, gate + t * gate_stride + begin, up + t * up_stride + begin,
                      end - begin, activation);
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

void hl_cpu_softcap(const struct hl_kernels *kernels, float *x, size_t stride, uint32_t cols, float cap, uint32_t n,
                    struct hl_share share)
{
    uint32_t begin, end;
    hl_share_range(share, cols, &begin, &end);
    for (uint32_t t = 0; t < n; t++)
        kernels->softcap(x + t * stride + begin, end - begin, cap);
}
