/* The kernels of the GPU, computed plainly: one thread, the arguments and grids of kernels/cuda/code, and no attention to
 * speed. With them the emulated driver runs whole models, whatever the state of the real kernels: what differs from the
 * CPU is then a mistake of the host side. One that kernels/cuda/code has by now must go from here. */
#include "hotlayer/program.h"
#include "hotlayer/tile_values.h"
#include "kernels/cuda/code/angles.h"
#include "kernels/cuda/code/gate.h"
#include "kernels/cuda/code/gather.h"
#include "kernels/cuda/code/norm.h"
#include "kernels/cuda/code/pick.h"
#include "kernels/cuda/code/softcap.h"
#include "kernels/cuda/machine/machine.h"
#include "kernels/cuda/standins.h"
#include "tests/unit/kernels/choose_plainly.h"

/* Most kernels compute a row in the first block of it. */
#define ROW_KERNEL(name, type) KERNEL(name, 1, struct type)
#define ONLY_FIRST                                                                                                     \
    if (block_index() != 0)                                                                                            \
    return
#define ROW_OF(pointer, stride) ((pointer) + (size_t)block_index_y() * (stride))

ROW_KERNEL(hl_cuda_angles, hl_cuda_angles)
{
    ONLY_FIRST;
    float *out = ROW_OF(arguments.out, arguments.out_stride);
    for (uint32_t i = 0; i < arguments.half; i++) {
        float angle = (float)arguments.positions[block_index_y()] * arguments.frequencies[i];
        out[i] = cosf(angle);
        out[arguments.half + i] = sinf(angle);
    }
}

ROW_KERNEL(hl_cuda_gather, hl_cuda_gather)
{
    ONLY_FIRST;
    uint32_t row = (uint32_t)arguments.tokens[block_index_y()], width = hl_type_traits[arguments.type].tile_cols;
    const uint8_t *strip = arguments.table + row / 16 * hl_strip_bytes(arguments.type, arguments.cols);
    float *out = ROW_OF(arguments.out, arguments.out_stride);
    for (uint32_t col = 0; col < arguments.cols; col++) {
        const uint8_t *tile = strip + (size_t)(col / width) * hl_type_traits[arguments.type].tile_bytes;
        out[col] = arguments.scale * hl_tile_value(arguments.type, tile, row % 16, col % width);
    }
}

ROW_KERNEL(hl_cuda_norm, hl_cuda_norm)
{
    const size_t first = (size_t)block_index() * arguments.cols;
    const float *in = ROW_OF(arguments.in, arguments.in_stride) + first;
    float *out = ROW_OF(arguments.out, arguments.out_stride) + first;
    double sum = 0;
    for (uint32_t i = 0; i < arguments.cols; i++)
        sum += (double)in[i] * (double)in[i];
    float scale = 1.0f / sqrtf((float)(sum / arguments.cols) + arguments.eps);
    for (uint32_t i = 0; i < arguments.cols; i++)
        out[i] = in[i] * scale * arguments.weight[i];
}

ROW_KERNEL(hl_cuda_gate, hl_cuda_gate)
{
    ONLY_FIRST;
    const float *gate = ROW_OF(arguments.gate, arguments.gate_stride), *up = ROW_OF(arguments.up, arguments.up_stride);
    float *out = ROW_OF(arguments.out, arguments.out_stride);
    for (uint32_t i = 0; i < arguments.cols; i++) {
        float x = gate[i], y = x / (1.0f + expf(-x));
        if (arguments.activation == HL_ACTIVATION_GELU_TANH)
            y = 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
        out[i] = y * up[i];
    }
}

ROW_KERNEL(hl_cuda_pick, hl_cuda_pick)
{
    ONLY_FIRST;
    memcpy(ROW_OF(arguments.out, arguments.out_stride),
           arguments.in + (size_t)arguments.outputs[block_index_y()] * arguments.in_stride,
           arguments.cols * sizeof(float));
}

ROW_KERNEL(hl_cuda_softcap, hl_cuda_softcap)
{
    ONLY_FIRST;
    float *x = ROW_OF(arguments.x, arguments.stride);
    for (uint32_t i = 0; i < arguments.cols; i++)
        x[i] = arguments.cap * tanhf(x[i] / arguments.cap);
}

/* ---- linear: prepared activations are float32 rows, rounded as the form asks ---- */

static float *plain_prepared(const uint8_t *x, uint32_t cols, uint32_t token)
{
    return (float *)(uintptr_t)x + (size_t)token * cols;
}

static void plain_round(float *x, uint32_t n)
{
    float most = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    float scale = most / 127.0f, inverse = most > 0 ? 127.0f / most : 0;
    for (uint32_t i = 0; i < n; i++)
        x[i] = scale * (float)lrintf(x[i] * inverse);
}

/* form: 0 float32, 1 bf16, 2 int8 */
static void plain_prepare(const struct hl_cuda_prepare *a, uint32_t form)
{
    if (block_index() != 0 || block_index_y() != 0)
        return;
    for (uint32_t t = 0; t < a->n; t++) {
        float *row = plain_prepared(a->x, a->cols, t);
        memcpy(row, a->in + (size_t)t * a->in_stride, a->cols * sizeof *row);
        for (uint32_t i = 0; form == 1 && i < a->cols; i++)
            row[i] = hl_bf16_to_f32(hl_f32_to_bf16(row[i]));
        for (uint32_t i = 0; form == 2 && i < a->cols; i += 32)
            plain_round(row + i, a->cols - i < 32 ? a->cols - i : 32);
    }
}

KERNEL(hl_cuda_prepare_float, 1, struct hl_cuda_prepare)
{
    plain_prepare(&arguments, 0);
}

KERNEL(hl_cuda_prepare_bf16, 1, struct hl_cuda_prepare)
{
    plain_prepare(&arguments, 1);
}

KERNEL(hl_cuda_prepare_int8, 1, struct hl_cuda_prepare)
{
    plain_prepare(&arguments, 2);
}

/* A block has 16 rows and 8 tokens. */
static void plain_multiply(const struct hl_cuda_linear *a, uint32_t type)
{
    const uint32_t width = hl_type_traits[type].tile_cols, bytes = hl_type_traits[type].tile_bytes;
    const uint8_t *strip = a->weight + block_index() * hl_strip_bytes(type, a->cols);
    for (uint32_t r = 0; r < 16 && 16 * block_index() + r < a->rows; r++) {
        double sums[8] = {0};
        uint32_t row = 16 * block_index() + r, first = 8 * block_index_y(), n = a->n - first < 8 ? a->n - first : 8;
        for (uint32_t col = 0; col < a->cols; col++) {
            double value = (double)hl_tile_value(type, strip + (size_t)(col / width) * bytes, r, col % width);
            for (uint32_t t = 0; t < n; t++)
                sums[t] += value * (double)plain_prepared(a->x, a->cols, first + t)[col];
        }
        for (uint32_t t = 0; t < n; t++)
            a->out[(size_t)(first + t) * a->out_stride + row] = (float)sums[t] + (a->bias ? a->bias[row] : 0);
    }
}

#define LINEAR(name, type)                                                                                             \
    KERNEL(hl_cuda_linear_##name, 1, struct hl_cuda_linear)                                                            \
    {                                                                                                                  \
        plain_multiply(&arguments, type);                                                                              \
    }
LINEAR(f32, HL_TYPE_TILE_F32)
LINEAR(f16, HL_TYPE_TILE_F16)
LINEAR(bf16, HL_TYPE_TILE_BF16)
LINEAR(q8, HL_TYPE_TILE_Q8)
LINEAR(q4, HL_TYPE_TILE_Q4)
LINEAR(q4m, HL_TYPE_TILE_Q4M)
LINEAR(q4k, HL_TYPE_TILE_Q4K)
LINEAR(q6k, HL_TYPE_TILE_Q6K)

/* ---- the choice ---- */

KERNEL(hl_cuda_best_parts, 1, struct hl_cuda_best)
{
    (void)arguments;
}

KERNEL(hl_cuda_best_merge, 1, struct hl_cuda_best)
{
    const struct hl_cuda_want *w = &arguments.wants[block_index_y()];
    struct hl_cuda_chosen *chosen = &arguments.chosen[block_index_y()];
    struct hl_logits logits;
    chosen->n = 0;
    if (w->best == 0)
        return;
    const struct hl_want want = {
        .best = w->best,
        .adjustments = (const struct hl_adjustment *)(const void *)(arguments.adjustments + w->first_adjustment),
        .n_adjustments = w->n_adjustments,
        .allowed = w->allowed,
        .log_sum = w->log_sum};
    struct plain_choice c =
        choose_plainly(ROW_OF(arguments.rows, arguments.stride), arguments.vocabulary, &want, &logits);
    chosen->n = logits.n;
    chosen->log_sum = logits.log_sum;
    memcpy(chosen->tokens, logits.tokens, logits.n * sizeof *logits.tokens);
    memcpy(chosen->logits, logits.logits, logits.n * sizeof *logits.logits);
    plain_choice_close(&c);
}

extern const struct hl_fiber_kernel __start_hl_fiber_kernels[], __stop_hl_fiber_kernels[];

/* Refuses a kernel that exists twice: it is not known which one a test would run. */
__attribute__((constructor)) static void plain_check(void)
{
    for (const struct hl_fiber_kernel *a = __start_hl_fiber_kernels; a < __stop_hl_fiber_kernels; a++)
        for (const struct hl_fiber_kernel *b = __start_hl_fiber_kernels; b < a; b++)
            if (strcmp(a->name, b->name) == 0)
                hl_fiber_fail("%s is in kernels/cuda/code and in tests/cuda/plain_kernels.c", a->name);
}
