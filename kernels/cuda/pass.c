/* Fills in the arguments of the kernels. */
#include "kernels/cuda/pass.h"
#include "hotlayer/tile_values.h"
#include "kernels/cuda/code/add.h"
#include "kernels/cuda/code/angles.h"
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/code/best.h"
#include "kernels/cuda/code/gate.h"
#include "kernels/cuda/code/gather.h"
#include "kernels/cuda/code/kv_write.h"
#include "kernels/cuda/code/linear.h"
#include "kernels/cuda/code/norm.h"
#include "kernels/cuda/code/pick.h"
#include "kernels/cuda/code/prepare.h"
#include "kernels/cuda/code/rope.h"
#include "kernels/cuda/code/softcap.h"
#include "kernels/cuda/standins.h"
#include "kernels/op_weights.h"

/* Pointers of the GPU, as the kernels' arguments have them. */
static float *floats(hl_gpu_pointer at)
{
    return (float *)(uintptr_t)at;
}

static const struct hl_tensor *tensor(const struct hl_pass *pass, uint32_t index)
{
    return &pass->plan->config.program.tensors[index];
}

static uint8_t *weight(const struct hl_pass *pass, uint32_t index)
{
    uint64_t offset = tensor(pass, index)->offset - pass->plan->weights_begin;
    return (uint8_t *)(uintptr_t)(pass->weights + offset);
}

static const float *vector(const struct hl_pass *pass, uint32_t index)
{
    return index == HL_NONE ? NULL : (const float *)(const void *)weight(pass, index);
}

static float *span(const struct hl_pass *pass, struct hl_span at)
{
    return floats(pass->scratch + pass->plan->buffers[at.buffer].offset) + at.column;
}

static uint32_t stride(const struct hl_pass *pass, struct hl_span at)
{
    return pass->plan->buffers[at.buffer].stride;
}

static uint32_t rows(const struct hl_pass *pass, struct hl_span at)
{
    bool tokens = pass->plan->config.program.buffers[at.buffer].domain == HL_DOMAIN_TOKENS;
    return tokens ? pass->step->n_tokens : pass->step->n_outputs;
}

static const uint32_t *words(const struct hl_pass *pass, uint64_t offset)
{
    return (const uint32_t *)(uintptr_t)(pass->at + offset);
}

static struct hl_cuda_kv kv(const struct hl_pass *pass, uint32_t index)
{
    const struct hl_kv *of = &pass->plan->config.program.kvs[index];
    return (struct hl_cuda_kv){
        .base = (uint8_t *)(uintptr_t)pass->cache,
        .page_bytes = pass->plan->page_bytes,
        .offset = pass->plan->kv_offsets[index],
        .type = pass->plan->config.kv_type,
        .heads = of->heads,
        .head_dim = of->head_dim,
    };
}

static int launch_angles(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_angles a = {
        .out = span(pass, op->angles.out),
        .frequencies = vector(pass, op->angles.frequencies),
        .positions = words(pass, pass->inputs.positions),
        .half = tensor(pass, op->angles.frequencies)->cols,
        .out_stride = stride(pass, op->angles.out),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_angles", hl_cuda_angles_grid(&a, pass->step->n_tokens), &a, err);
}

/* Copies n rows of `cols` floats that lie one after another, each on a multiple of `pitch`. */
static int copy_rows(struct hl_pass *pass, struct hl_span to, uint32_t cols, const float *from, struct hl_error *err)
{
    struct hl_driver *driver = &pass->gpu->driver;
    size_t pitch = stride(pass, to), n = pass->step->n_tokens;
    hl_gpu_pointer out = (uintptr_t)span(pass, to);
    if (to.column == 0 && pass->plan->config.program.buffers[to.buffer].cols == cols) /* nothing between the rows */
        return HL_DRIVER(driver, err, cuMemcpyHtoDAsync_v2, out, from, n * pitch * sizeof *from, pass->gpu->compute);
    for (size_t t = 0; t < n; t++)
        if (HL_DRIVER(driver, err, cuMemcpyHtoDAsync_v2, out + t * pitch * sizeof *from, from + t * pitch,
                      cols * sizeof *from, pass->gpu->compute) < 0)
            return -1;
    return 0;
}

static int gather_on_host(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    const struct hl_tensor *table = tensor(pass, op->gather.table);
    const uint8_t *from = pass->plan->config.weights + table->offset;
    float *out = (float *)(void *)(pass->gathered + pass->n_gathered);
    size_t pitch = stride(pass, op->gather.out), n = pass->step->n_tokens;
    for (size_t t = 0; t < n; t++)
        hl_tile_row(out + t * pitch, table->type, table->cols, from, (uint32_t)pass->step->tokens[t], op->gather.scale);
    pass->n_gathered += n * pitch * sizeof *out;
    return copy_rows(pass, op->gather.out, table->cols, out, err);
}

/* The table comes last or not at all: until it is there, the host reads the few rows that a step needs. */
static int launch_gather(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    uint32_t table = op->gather.table;
    if (!pass->plan->resident[table] || hl_op_weights_end(&pass->plan->config.program, table) > pass->loaded)
        return gather_on_host(pass, op, err);
    struct hl_cuda_gather a = {
        .out = span(pass, op->gather.out),
        .table = weight(pass, table),
        .tokens = (const int32_t *)words(pass, pass->inputs.tokens),
        .scale = op->gather.scale,
        .type = tensor(pass, table)->type,
        .cols = tensor(pass, table)->cols,
        .out_stride = stride(pass, op->gather.out),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_gather", hl_cuda_gather_grid(&a, pass->step->n_tokens), &a, err);
}

static int launch_norm(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_norm a = {
        .out = span(pass, op->norm.out),
        .in = span(pass, op->norm.in),
        .weight = vector(pass, op->norm.weight),
        .groups = op->norm.groups,
        .cols = op->norm.cols,
        .out_stride = stride(pass, op->norm.out),
        .in_stride = stride(pass, op->norm.in),
        .eps = op->norm.eps,
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_norm", hl_cuda_norm_grid(&a, rows(pass, op->norm.in)), &a, err);
}

static int launch_prepare(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    const struct hl_tensor *w = tensor(pass, op->linear.weight);
    struct hl_cuda_prepare a = {
        .in = span(pass, op->linear.in),
        .x = (uint8_t *)(uintptr_t)(pass->scratch + pass->plan->prepared),
        .n = rows(pass, op->linear.in),
        .cols = w->cols,
        .in_stride = stride(pass, op->linear.in),
    };
    return hl_gpu_launch(pass->gpu, hl_cuda_prepare_kernel(w->type), hl_cuda_prepare_grid(w->type, &a), &a, err);
}

static int launch_linear(struct hl_pass *pass, const struct hl_op *op, bool prepare, struct hl_error *err)
{
    const struct hl_tensor *w = tensor(pass, op->linear.weight);
    struct hl_cuda_linear a = {
        .weight = weight(pass, op->linear.weight),
        .x = (const uint8_t *)(uintptr_t)(pass->scratch + pass->plan->prepared),
        .bias = vector(pass, op->linear.bias),
        .out = span(pass, op->linear.out),
        .rows = w->rows,
        .n = rows(pass, op->linear.in),
        .cols = w->cols,
        .out_stride = stride(pass, op->linear.out),
    };
    if (prepare && launch_prepare(pass, op, err) < 0)
        return -1;
    return hl_gpu_launch(pass->gpu, hl_cuda_linear_kernel(w->type, a.n), hl_cuda_linear_grid(w->type, &a), &a, err);
}

static int launch_rope(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_rope a = {
        .x = span(pass, op->rope.x),
        .angles = span(pass, op->rope.angles),
        .heads = op->rope.heads,
        .head_dim = op->rope.head_dim,
        .rotated = op->rope.rotated,
        .x_stride = stride(pass, op->rope.x),
        .angles_stride = stride(pass, op->rope.angles),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_rope", hl_cuda_rope_grid(&a, pass->step->n_tokens), &a, err);
}

static int launch_kv_write(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_kv_write a = {
        .kv = kv(pass, op->kv_write.kv),
        .k = span(pass, op->kv_write.k),
        .v = span(pass, op->kv_write.v),
        .slots = words(pass, pass->inputs.slots),
        .k_stride = stride(pass, op->kv_write.k),
        .v_stride = stride(pass, op->kv_write.v),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_kv_write", hl_cuda_kv_write_grid(&a, pass->step->n_tokens), &a, err);
}

/* Tiles of one token: their contexts are cut into splits, which are added up afterwards. */
static int attend_single(struct hl_pass *pass, struct hl_cuda_attend a, struct hl_error *err)
{
    uint32_t n = pass->inputs.n_single;
    a.partial = floats(pass->scratch + pass->plan->partial);
    a.splits = hl_cuda_attend_splits(pass->inputs.single_positions);
    if (hl_gpu_launch(pass->gpu, hl_cuda_attend_kernel(&a, 1), hl_cuda_attend_grid(&a, 1, n), &a, err) < 0)
        return -1;
    return hl_gpu_launch(pass->gpu, "hl_cuda_attend_merge", hl_cuda_attend_merge_grid(&a, n), &a, err);
}

static int attend_several(struct hl_pass *pass, struct hl_cuda_attend a, struct hl_error *err)
{
    uint32_t most = pass->inputs.most_tokens;
    a.tiles += pass->inputs.n_single;
    a.splits = 1;
    return hl_gpu_launch(pass->gpu, hl_cuda_attend_kernel(&a, most),
                         hl_cuda_attend_grid(&a, most, pass->inputs.n_tiles), &a, err);
}

static int launch_attend(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    const struct hl_cuda_attend a = {
        .kv = kv(pass, op->attend.kv),
        .q = span(pass, op->attend.q),
        .out = span(pass, op->attend.out),
        .tiles = (const struct hl_cuda_tile *)words(pass, pass->inputs.tiles),
        .pages = words(pass, pass->inputs.pages),
        .heads = op->attend.heads,
        .window = op->attend.window,
        .q_stride = stride(pass, op->attend.q),
        .out_stride = stride(pass, op->attend.out),
        .scale = op->attend.scale,
        .softcap = op->attend.softcap,
    };
    if (pass->inputs.n_single && attend_single(pass, a, err) < 0)
        return -1;
    return pass->inputs.n_tiles ? attend_several(pass, a, err) : 0;
}

static int launch_gate(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_gate a = {
        .out = span(pass, op->gate.out),
        .gate = span(pass, op->gate.gate),
        .up = span(pass, op->gate.up),
        .cols = op->gate.cols,
        .out_stride = stride(pass, op->gate.out),
        .gate_stride = stride(pass, op->gate.gate),
        .up_stride = stride(pass, op->gate.up),
        .activation = op->gate.activation,
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_gate", hl_cuda_gate_grid(&a, rows(pass, op->gate.out)), &a, err);
}

static int launch_add(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_add a = {
        .out = span(pass, op->add.out),
        .in = span(pass, op->add.in),
        .cols = op->add.cols,
        .out_stride = stride(pass, op->add.out),
        .in_stride = stride(pass, op->add.in),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_add", hl_cuda_add_grid(&a, rows(pass, op->add.out)), &a, err);
}

static int launch_pick(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_pick a = {
        .out = span(pass, op->pick.out),
        .in = span(pass, op->pick.in),
        .outputs = words(pass, pass->inputs.outputs),
        .cols = op->pick.cols,
        .out_stride = stride(pass, op->pick.out),
        .in_stride = stride(pass, op->pick.in),
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_pick", hl_cuda_pick_grid(&a, pass->step->n_outputs), &a, err);
}

static int launch_softcap(struct hl_pass *pass, const struct hl_op *op, struct hl_error *err)
{
    struct hl_cuda_softcap a = {
        .x = span(pass, op->softcap.x),
        .cols = op->softcap.cols,
        .stride = stride(pass, op->softcap.x),
        .cap = op->softcap.cap,
    };
    return hl_gpu_launch(pass->gpu, "hl_cuda_softcap", hl_cuda_softcap_grid(&a, rows(pass, op->softcap.x)), &a, err);
}

int hl_pass_launch(struct hl_pass *pass, uint32_t index, struct hl_error *err)
{
    const struct hl_op *op = &pass->plan->config.program.ops[index];
    if (rows(pass, hl_gpu_plan_written(&pass->plan->config.program, op).span) == 0) /* no logits are wanted */
        return 0;
    switch ((enum hl_op_kind)op->kind) {
    case HL_OP_ANGLES:
        return launch_angles(pass, op, err);
    case HL_OP_GATHER:
        return launch_gather(pass, op, err);
    case HL_OP_NORM:
        return launch_norm(pass, op, err);
    case HL_OP_LINEAR:
        return launch_linear(pass, op, pass->plan->prepares[index], err);
    case HL_OP_ROPE:
        return launch_rope(pass, op, err);
    case HL_OP_KV_WRITE:
        return launch_kv_write(pass, op, err);
    case HL_OP_ATTEND:
        return launch_attend(pass, op, err);
    case HL_OP_GATE:
        return launch_gate(pass, op, err);
    case HL_OP_ADD:
        return launch_add(pass, op, err);
    case HL_OP_PICK:
        return launch_pick(pass, op, err);
    case HL_OP_SOFTCAP:
        return launch_softcap(pass, op, err);
    case HL_OP_COUNT:
        break;
    }
    return 0;
}

hl_gpu_pointer hl_pass_logits(const struct hl_pass *pass, uint32_t row)
{
    const struct hl_gpu_plan_buffer *buffer = &pass->plan->buffers[pass->plan->config.program.head->logits];
    return pass->scratch + buffer->offset + (uint64_t)row * buffer->stride * sizeof(float);
}

int hl_pass_choose(struct hl_pass *pass, struct hl_error *err)
{
    const struct hl_gpu_plan *plan = pass->plan;
    struct hl_cuda_best a = {
        .rows = floats(hl_pass_logits(pass, 0)),
        .wants = (const struct hl_cuda_want *)(uintptr_t)(pass->at + pass->inputs.wants),
        .adjustments = (const struct hl_cuda_adjustment *)(uintptr_t)(pass->at + pass->inputs.adjustments),
        .scratch = (uint8_t *)(uintptr_t)(pass->scratch + plan->best),
        .chosen = (struct hl_cuda_chosen *)(uintptr_t)(pass->scratch + plan->chosen),
        .vocabulary = plan->config.program.head->vocabulary,
        .stride = plan->buffers[plan->config.program.head->logits].stride,
    };
    uint32_t n = pass->step->n_outputs;
    for (uint32_t i = 0; i < HL_CUDA_BEST_STEPS; i++)
        if (hl_gpu_launch(pass->gpu, hl_cuda_best_kernel(i), hl_cuda_best_grid(i, &a, n), &a, err) < 0)
            return -1;
    return 0;
}

/* ---- which kernels a program needs ---- */

static int find_linear(struct hl_gpu *gpu, const struct hl_gpu_plan *plan, uint32_t type, struct hl_error *err)
{
    uint32_t most =
        plan->config.max_tokens > plan->config.max_outputs ? plan->config.max_tokens : plan->config.max_outputs;
    const char *last = NULL;
    for (uint32_t n = 1; n <= most; n++) {
        const char *name = hl_cuda_linear_kernel(type, n);
        if (name != last && hl_gpu_find(gpu, name, err) < 0)
            return -1;
        last = name;
    }
    return hl_gpu_find(gpu, hl_cuda_prepare_kernel(type), err);
}

static int find_attend(struct hl_gpu *gpu, const struct hl_gpu_plan *plan, const struct hl_op *op, struct hl_error *err)
{
    const struct hl_kv *of = &plan->config.program.kvs[op->attend.kv];
    struct hl_cuda_attend a = {
        .kv = {.type = plan->config.kv_type, .heads = of->heads, .head_dim = of->head_dim},
        .heads = op->attend.heads,
        .window = op->attend.window,
        .scale = op->attend.scale,
        .softcap = op->attend.softcap,
    };
    for (uint32_t n = 1; n <= HL_CUDA_TILE_TOKENS; n++)
        if (hl_gpu_find(gpu, hl_cuda_attend_kernel(&a, n), err) < 0)
            return -1;
    return hl_gpu_find(gpu, "hl_cuda_attend_merge", err);
}

int hl_pass_find(struct hl_gpu *gpu, const struct hl_gpu_plan *plan, struct hl_error *err)
{
    static const char *const names[HL_OP_COUNT] = {
        [HL_OP_ANGLES] = "hl_cuda_angles", [HL_OP_GATHER] = "hl_cuda_gather",     [HL_OP_NORM] = "hl_cuda_norm",
        [HL_OP_ROPE] = "hl_cuda_rope",     [HL_OP_KV_WRITE] = "hl_cuda_kv_write", [HL_OP_GATE] = "hl_cuda_gate",
        [HL_OP_ADD] = "hl_cuda_add",       [HL_OP_PICK] = "hl_cuda_pick",         [HL_OP_SOFTCAP] = "hl_cuda_softcap"};
    const struct hl_program_view *program = &plan->config.program;
    bool seen[HL_TYPE_COUNT] = {false};
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        const struct hl_op *op = &program->ops[i];
        const uint32_t type = op->kind == HL_OP_LINEAR ? program->tensors[op->linear.weight].type : HL_TYPE_VECTOR;
        int result = 0;
        if (op->kind == HL_OP_LINEAR && !seen[type])
            result = find_linear(gpu, plan, type, err);
        else if (op->kind == HL_OP_ATTEND)
            result = find_attend(gpu, plan, op, err);
        else if (names[op->kind])
            result = hl_gpu_find(gpu, names[op->kind], err);
        if (result < 0)
            return -1;
        seen[type] = true;
    }
    for (uint32_t i = 0; i < HL_CUDA_BEST_STEPS; i++)
        if (hl_gpu_find(gpu, hl_cuda_best_kernel(i), err) < 0)
            return -1;
    return 0;
}
