/* Plans a program for the GPU. */
#include "kernels/cuda/gpu_plan.h"
#include "base/sizes.h"
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/code/best.h"
#include "kernels/cuda/code/linear.h"
#include "kernels/cuda/code/prepare.h"
#include "kernels/cuda/standins.h"
#include "kernels/op_weights.h"
#include <stdlib.h>
#include <string.h>

#define ALIGN 256u       /* the GPU's own allocations have it; whole rows of its memory */
#define MOST_ROWS 65535u /* of a grid in y */

static_assert(HL_KV_PAGE_TOKENS == HL_CUDA_PAGE_TOKENS, "the kernels' page");
static_assert(HL_BEST_MOST == HL_CUDA_BEST_MOST, "the kernels' choice");
static_assert(HL_KV_F32 == HL_CUDA_KV_F32 && HL_KV_F16 == HL_CUDA_KV_F16 && HL_KV_Q8 == HL_CUDA_KV_Q8, "types");
static_assert(sizeof(struct hl_adjustment) == sizeof(struct hl_cuda_adjustment), "copied as they are");

/* ---- weights ---- */

/* Notes that a tensor must be in the GPU's memory. */
static void keep(struct hl_gpu_plan *plan, uint32_t tensor)
{
    const struct hl_program_view *program = &plan->config.program;
    if (tensor == HL_NONE)
        return;
    uint64_t begin = program->tensors[tensor].offset, end = hl_op_weights_end(program, tensor);
    plan->resident[tensor] = true;
    plan->weights_begin = plan->weights_begin < begin ? plan->weights_begin : begin;
    plan->weights_end = plan->weights_end > end ? plan->weights_end : end;
}

/* A table that is only gathered from stays with the host. */
static void plan_weights(struct hl_gpu_plan *plan)
{
    const struct hl_program_view *program = &plan->config.program;
    plan->weights_begin = UINT64_MAX;
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        uint32_t tensors[2];
        hl_op_weights(&program->ops[i], tensors);
        keep(plan, tensors[0]);
        keep(plan, tensors[1]);
        plan->needs[i] = hl_op_weights_need(program, &program->ops[i]);
    }
    if (plan->weights_end == 0)
        plan->weights_begin = 0;
}

bool hl_gpu_plan_wants(const struct hl_gpu_plan *plan, uint64_t offset, uint32_t bytes)
{
    const struct hl_program_view *program = &plan->config.program;
    for (uint32_t i = 0; i < program->n_tensors; i++)
        if (plan->resident[i] && program->tensors[i].offset < offset + bytes && hl_op_weights_end(program, i) > offset)
            return true;
    return false;
}

/* ---- prepared activations ---- */

struct hl_gpu_plan_range hl_gpu_plan_written(const struct hl_program_view *program, const struct hl_op *op)
{
    switch ((enum hl_op_kind)op->kind) {
    case HL_OP_ANGLES:
        return (struct hl_gpu_plan_range){op->angles.out, 2 * program->tensors[op->angles.frequencies].cols};
    case HL_OP_GATHER:
        return (struct hl_gpu_plan_range){op->gather.out, program->tensors[op->gather.table].cols};
    case HL_OP_NORM:
        return (struct hl_gpu_plan_range){op->norm.out, op->norm.groups * op->norm.cols};
    case HL_OP_LINEAR:
        return (struct hl_gpu_plan_range){op->linear.out, program->tensors[op->linear.weight].rows};
    case HL_OP_ROPE:
        return (struct hl_gpu_plan_range){op->rope.x, op->rope.heads * op->rope.head_dim};
    case HL_OP_ATTEND:
        return (struct hl_gpu_plan_range){op->attend.out, op->attend.heads * program->kvs[op->attend.kv].head_dim};
    case HL_OP_GATE:
        return (struct hl_gpu_plan_range){op->gate.out, op->gate.cols};
    case HL_OP_ADD:
        return (struct hl_gpu_plan_range){op->add.out, op->add.cols};
    case HL_OP_PICK:
        return (struct hl_gpu_plan_range){op->pick.out, op->pick.cols};
    case HL_OP_SOFTCAP:
        return (struct hl_gpu_plan_range){op->softcap.x, op->softcap.cols};
    case HL_OP_KV_WRITE: /* into the cache, for the rows of its input */
        return (struct hl_gpu_plan_range){op->kv_write.k, 0};
    case HL_OP_COUNT:
        break;
    }
    return (struct hl_gpu_plan_range){.cols = 0};
}

static bool overlap(const struct hl_gpu_plan_range *a, const struct hl_gpu_plan_range *b)
{
    return a->span.buffer == b->span.buffer && a->span.column < b->span.column + b->cols &&
           b->span.column < a->span.column + a->cols;
}

/* Prepares an input once for neighbors that multiply with the same one in the same form, until it changes. */
static void plan_prepares(struct hl_gpu_plan *plan)
{
    const struct hl_program_view *program = &plan->config.program;
    struct hl_gpu_plan_range prepared = {.cols = 0};
    const char *form = "";
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        const struct hl_op *op = &program->ops[i];
        if (op->kind == HL_OP_LINEAR) {
            const struct hl_tensor *weight = &program->tensors[op->linear.weight];
            const struct hl_gpu_plan_range in = {op->linear.in, weight->cols};
            const char *wanted = hl_cuda_prepare_kernel(weight->type);
            plan->prepares[i] = strcmp(form, wanted) != 0 || in.cols != prepared.cols ||
                                in.span.buffer != prepared.span.buffer || in.span.column != prepared.span.column;
            prepared = in;
            form = wanted;
        }
        const struct hl_gpu_plan_range out = hl_gpu_plan_written(program, op);
        if (out.cols && overlap(&out, &prepared))
            prepared.cols = 0;
    }
}

/* ---- memory ---- */

/* Takes `bytes` of the scratch and returns their offset. */
static uint64_t take(struct hl_gpu_plan *plan, uint64_t bytes)
{
    uint64_t offset = plan->scratch_bytes;
    plan->scratch_bytes += hl_round_up(bytes, ALIGN);
    return offset;
}

static void plan_buffers(struct hl_gpu_plan *plan)
{
    const struct hl_program_view *program = &plan->config.program;
    for (uint32_t i = 0; i < program->head->n_buffers; i++) {
        uint32_t stride = (uint32_t)hl_round_up(program->buffers[i].cols, ALIGN / sizeof(float));
        uint64_t bytes = (uint64_t)stride * hl_gpu_plan_most_rows(plan, i) * sizeof(float);
        plan->buffers[i] = (struct hl_gpu_plan_buffer){take(plan, bytes), stride};
    }
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void plan_scratch(struct hl_gpu_plan *plan)
{
    const struct hl_device_config *config = &plan->config;
    const struct hl_program_view *program = &config->program;
    uint64_t prepared = 0, partial = 0;
    uint32_t splits = hl_cuda_attend_splits(config->run_pages * HL_KV_PAGE_TOKENS);
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        const struct hl_op *op = &program->ops[i];
        if (op->kind == HL_OP_LINEAR) {
            const struct hl_tensor *weight = &program->tensors[op->linear.weight];
            uint32_t rows = hl_gpu_plan_most_rows(plan, op->linear.in.buffer);
            prepared = most(prepared, hl_cuda_prepared_bytes(weight->type, weight->cols, rows));
        }
        if (op->kind == HL_OP_ATTEND) { /* a run has at most one tile of one token */
            uint32_t head_dim = program->kvs[op->attend.kv].head_dim;
            uint64_t floats = hl_cuda_attend_partial_floats(op->attend.heads, head_dim, splits, config->max_runs);
            partial = most(partial, floats * sizeof(float));
        }
        if (op->kind == HL_OP_GATHER)
            plan->gathered_bytes +=
                (uint64_t)plan->buffers[op->gather.out.buffer].stride * config->max_tokens * sizeof(float);
    }
    plan->prepared = take(plan, prepared);
    plan->partial = take(plan, partial);
    plan->best = take(plan, hl_cuda_best_scratch_bytes(program->head->vocabulary, config->max_outputs));
    plan->chosen_bytes = config->max_outputs * sizeof(struct hl_cuda_chosen);
    plan->chosen = take(plan, plan->chosen_bytes);
}

uint64_t hl_gpu_plan_page_bytes(const struct hl_program_view *program, enum hl_kv_type type)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < program->head->n_kvs; i++)
        bytes += hl_cuda_kv_bytes(type, program->kvs[i].heads, program->kvs[i].head_dim);
    return bytes;
}

static void plan_cache(struct hl_gpu_plan *plan)
{
    const struct hl_program_view *program = &plan->config.program;
    for (uint32_t i = 0; i < program->head->n_kvs; i++) {
        plan->kv_offsets[i] = plan->page_bytes;
        plan->page_bytes += hl_cuda_kv_bytes(plan->config.kv_type, program->kvs[i].heads, program->kvs[i].head_dim);
    }
}

/* ---- open and close ---- */

/* Checks that there are kernels for an operation. */
static int check_op(const struct hl_device_config *config, const struct hl_op *op, struct hl_error *err)
{
    const struct hl_program_view *program = &config->program;
    if (op->kind == HL_OP_LINEAR) {
        const struct hl_tensor *weight = &program->tensors[op->linear.weight];
        if (!hl_cuda_prepare_kernel(weight->type) || !hl_cuda_linear_kernel(weight->type, 1))
            return hl_fail(err, "tensor '%s': there is no kernel of the GPU for the type %s", weight->name,
                           hl_type_traits[weight->type].name);
    }
    if (op->kind == HL_OP_ATTEND) {
        const struct hl_kv *kv = &program->kvs[op->attend.kv];
        const struct hl_cuda_attend a = {.kv = {.type = config->kv_type, .heads = kv->heads, .head_dim = kv->head_dim},
                                         .heads = op->attend.heads};
        if (!hl_cuda_attend_kernel(&a, 1))
            return hl_fail(err,
                           "there is no kernel of the GPU for attention with heads of %u columns; use --device cpu",
                           kv->head_dim);
    }
    return 0;
}

static int check_config(const struct hl_device_config *config, struct hl_error *err)
{
    const struct hl_program_view *program = &config->program;
    if (config->in_place)
        return hl_fail(err, "a GPU cannot use the weights where they are mapped");
    if (config->max_tokens > MOST_ROWS || config->max_outputs > MOST_ROWS)
        return hl_fail(err, "a step of %u tokens and %u outputs is too large for a GPU; at most %u are possible",
                       config->max_tokens, config->max_outputs, MOST_ROWS);
    for (uint32_t i = 0; i < program->head->n_ops; i++)
        if (check_op(config, &program->ops[i], err) < 0)
            return -1;
    return 0;
}

int hl_gpu_plan_open(const struct hl_device_config *config, struct hl_gpu_plan *out, struct hl_error *err)
{
    const struct hl_program *head = config->program.head;
    *out = (struct hl_gpu_plan){.config = *config};
    if (check_config(config, err) < 0)
        return -1;
    out->buffers = calloc(head->n_buffers + 1u, sizeof *out->buffers);
    out->kv_offsets = calloc(head->n_kvs + 1u, sizeof *out->kv_offsets);
    out->resident = calloc(config->program.n_tensors + 1u, sizeof *out->resident);
    out->prepares = calloc(head->n_ops + 1u, sizeof *out->prepares);
    out->needs = calloc(head->n_ops + 1u, sizeof *out->needs);
    if (!out->buffers || !out->kv_offsets || !out->resident || !out->prepares || !out->needs) {
        hl_gpu_plan_close(out);
        return hl_no_memory(err);
    }
    plan_weights(out);
    plan_prepares(out);
    plan_buffers(out);
    plan_scratch(out);
    plan_cache(out);
    return 0;
}

void hl_gpu_plan_close(struct hl_gpu_plan *plan)
{
    free(plan->buffers);
    free(plan->kv_offsets);
    free(plan->resident);
    free(plan->prepares);
    free(plan->needs);
    *plan = (struct hl_gpu_plan){.buffers = NULL};
}
