/* The CPU as a device: it uses the weights in place, or where room() has let them be read to, and a team of threads
 * executes the program together.
 *
 *   step:  every thread:  for each operation:  its share of it | barrier;  its share of choosing
 *
 * A linear operation has two parts. The threads first convert the activations to the form that the tiles multiply with,
 * divided by tokens; after a barrier they divide the strips of the matrix. Buffers and the cache are allocated once and
 * take no memory until they are used.
 */
#include "kernels/device.h"
#include "base/sizes.h"
#include "base/team.h"
#include "hotlayer/layout.h"
#include "kernels/cpu/choose.h"
#include "kernels/cpu/kernels.h"
#include "kernels/op_weights.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WEIGHTS_PER_THREAD (4u << 20)

struct matrix {
    float *data;
    size_t stride; /* floats from row to row */
};

struct hl_device {
    struct hl_device_config config;
    const struct hl_kernels *kernels;
    struct hl_team *team;
    struct matrix *buffers; /* [n_buffers] */
    float *memory;          /* of all buffers */
    size_t memory_bytes;
    uint8_t *staged; /* a copy of the weights' space in huge pages, unless they are used in place */
    void *staged_memory;
    uint64_t staged_bytes;
    uint8_t *linear_scratch;
    float *attend_scratch; /* one part per thread */
    size_t attend_floats;
    uint8_t *kv;
    uint64_t kv_bytes;
    uint64_t kv_page_bytes;
    uint64_t *kv_offset; /* [n_kvs] in a page */
    uint64_t *needs; /* [n_ops] bytes of the weights that must be loaded before an operation; NULL: no need to wait */
    uint64_t loaded; /* bytes that are loaded */
    bool failed;     /* loading failed, for the reason in err */
    struct hl_error err;
    _Atomic uint32_t next[2]; /* pieces of a matrix that are taken; operations alternate between the two */
    /* Of the step that runs: the tokens' positions and pages, and the rows to pick. */
    const struct hl_step *step;
    uint32_t *positions;    /* [max_tokens] */
    const uint32_t **pages; /* [max_tokens] */
    uint32_t *outputs;      /* [max_outputs] */
    struct hl_places places;
    struct hl_chooser *chooser;
    struct hl_logits *logits; /* [max_outputs] */
    char description[64];
};

#if defined(__x86_64__)
/* Two features whose names some compilers do not know. The other features are queried by name, which also checks that
 * the operating system saves the registers. */
static bool has_avx512_bf16(void)
{
    unsigned eax = 0, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1);
}

static bool has_f16c(void)
{
    unsigned eax, ebx, ecx = 0, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}
#endif

const struct hl_kernels *const *hl_kernels_available(void)
{
#if defined(__x86_64__)
    static const struct hl_kernels *const all[] = {&hl_kernels_avx512, &hl_kernels_avx2, &hl_kernels_scalar, NULL};
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && has_avx512_bf16())
        return all;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        return all + 1;
    return all + 2;
#else
    static const struct hl_kernels *const all[] = {&hl_kernels_scalar, NULL};
    return all;
#endif
}

static uint64_t cpu_kv_page_bytes(const struct hl_program_view *program, enum hl_kv_type type)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < program->head->n_kvs; i++)
        bytes += hl_kv_bytes(type, program->kvs[i].heads, program->kvs[i].head_dim);
    return hl_round_up(bytes, 64);
}

/* Maps zeroed, page-aligned memory, which takes no space until it is touched. */
static void *map_anonymous(uint64_t bytes)
{
    void *memory =
        mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static const struct hl_kernels *choose_kernels(const char *name, struct hl_error *err)
{
    const struct hl_kernels *const *available = hl_kernels_available();
    if (!name)
        return available[0];
    for (size_t i = 0; available[i]; i++)
        if (strcmp(available[i]->name, name) == 0)
            return available[i];
    hl_fail(err, "kernels '%s' are unknown, or this processor cannot run them; its best are '%s'", name,
            available[0]->name);
    return NULL;
}

/* Rounds up, so that rows start on cache lines. */
static size_t row_floats(uint32_t cols)
{
    return (size_t)hl_round_up(cols, 16);
}

static int open_buffers(struct hl_device *device, struct hl_error *err)
{
    const struct hl_program_view *program = &device->config.program;
    uint32_t rows[2] = {device->config.max_tokens, device->config.max_outputs};
    device->buffers = calloc(program->head->n_buffers, sizeof *device->buffers);
    if (!device->buffers)
        return hl_no_memory(err);
    size_t floats = 0;
    for (uint32_t i = 0; i < program->head->n_buffers; i++) {
        device->buffers[i].stride = row_floats(program->buffers[i].cols);
        floats += device->buffers[i].stride * rows[program->buffers[i].domain];
    }
    device->memory_bytes = floats * sizeof(float);
    device->memory = map_anonymous(device->memory_bytes);
    if (!device->memory)
        return hl_fail(err, "out of memory for buffers of %zu bytes", device->memory_bytes);
    float *next = device->memory;
    for (uint32_t i = 0; i < program->head->n_buffers; i++) {
        device->buffers[i].data = next;
        next += device->buffers[i].stride * rows[program->buffers[i].domain];
    }
    return 0;
}

static int open_scratch(struct hl_device *device, struct hl_error *err)
{
    const struct hl_program_view *program = &device->config.program;
    uint32_t widest = 0;
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        const struct hl_op *op = &program->ops[i];
        if (op->kind == HL_OP_LINEAR && program->tensors[op->linear.weight].cols > widest)
            widest = program->tensors[op->linear.weight].cols;
        if (op->kind == HL_OP_ATTEND) {
            const struct hl_kv *kv = &program->kvs[op->attend.kv];
            size_t floats = hl_attend_scratch_floats(kv->head_dim);
            if (floats > device->attend_floats)
                device->attend_floats = (size_t)hl_round_up(floats, 16);
        }
    }
    uint32_t rows =
        device->config.max_tokens > device->config.max_outputs ? device->config.max_tokens : device->config.max_outputs;
    size_t linear = (size_t)hl_round_up(hl_linear_scratch_bytes(rows, widest), 64);
    size_t attend = device->attend_floats * hl_team_size(device->team) * sizeof(float);
    device->linear_scratch = aligned_alloc(64, linear ? linear : 64);
    device->attend_scratch = aligned_alloc(64, attend ? attend : 64);
    if (!device->linear_scratch || !device->attend_scratch)
        return hl_fail(err, "out of memory for scratch of %zu bytes", linear + attend);
    return 0;
}

static int open_kv(struct hl_device *device, struct hl_error *err)
{
    const struct hl_program_view *program = &device->config.program;
    uint64_t page = cpu_kv_page_bytes(program, device->config.kv_type), offset = 0;
    device->kv_page_bytes = page;
    device->kv_offset = calloc((size_t)program->head->n_kvs + 1, sizeof *device->kv_offset);
    if (!device->kv_offset)
        return hl_no_memory(err);
    for (uint32_t i = 0; i < program->head->n_kvs; i++) {
        device->kv_offset[i] = offset;
        offset += hl_kv_bytes(device->config.kv_type, program->kvs[i].heads, program->kvs[i].head_dim);
    }
    if (!hl_mul(page, device->config.kv_pages, &device->kv_bytes))
        return hl_fail(err, "a key/value cache of %u pages of %llu bytes is too large", device->config.kv_pages,
                       (unsigned long long)page);
    device->kv = map_anonymous(device->kv_bytes);
    if (!device->kv)
        return hl_fail(err, "out of memory for a key/value cache of %llu MiB; choose a smaller --ctx or --parallel",
                       (unsigned long long)(device->kv_bytes >> 20));
    return 0;
}

static int open_step(struct hl_device *device, struct hl_error *err)
{
    const struct hl_device_config *config = &device->config;
    device->positions = calloc((size_t)config->max_tokens + 1, sizeof *device->positions);
    device->pages = calloc((size_t)config->max_tokens + 1, sizeof *device->pages);
    device->outputs = calloc((size_t)config->max_outputs + 1, sizeof *device->outputs);
    device->logits = calloc((size_t)config->max_outputs + 1, sizeof *device->logits);
    if (!device->positions || !device->pages || !device->outputs || !device->logits)
        return hl_no_memory(err);
    device->places = (struct hl_places){.positions = device->positions, .pages = device->pages};
    return hl_chooser_open(config->program.head->vocabulary, config->max_outputs, hl_team_size(device->team),
                           &device->chooser, err);
}

/* Maps the memory that the weights are read to. */
static int open_staged(struct hl_device *device, struct hl_error *err)
{
    if (device->config.in_place)
        return 0;
    device->staged_bytes = device->config.weight_bytes + HL_SHARD_ALIGN;
    device->staged_memory = map_anonymous(device->staged_bytes);
    if (!device->staged_memory)
        return hl_fail(err, "out of memory for a copy of %llu MiB of weights; use --load map",
                       (unsigned long long)(device->config.weight_bytes >> 20));
    device->staged = (uint8_t *)(uintptr_t)hl_round_up((uintptr_t)device->staged_memory, HL_SHARD_ALIGN);
    madvise(device->staged, (size_t)device->config.weight_bytes, MADV_HUGEPAGE);
    return 0;
}

static int open_needs(struct hl_device *device, struct hl_error *err)
{
    const struct hl_program_view *program = &device->config.program;
    if (device->config.in_place)
        return 0;
    device->needs = calloc((size_t)program->head->n_ops + 1, sizeof *device->needs);
    if (!device->needs)
        return hl_no_memory(err);
    for (uint32_t i = 0; i < program->head->n_ops; i++)
        device->needs[i] = hl_op_weights_need(program, &program->ops[i]);
    return 0;
}

static void cpu_close(struct hl_device *device)
{
    if (!device)
        return;
    hl_team_close(device->team);
    if (device->memory)
        munmap(device->memory, device->memory_bytes ? device->memory_bytes : 1);
    if (device->kv)
        munmap(device->kv, device->kv_bytes ? device->kv_bytes : 1);
    if (device->staged_memory)
        munmap(device->staged_memory, device->staged_bytes);
    hl_chooser_close(device->chooser);
    free(device->positions);
    free(device->pages);
    free(device->outputs);
    free(device->logits);
    free(device->buffers);
    free(device->linear_scratch);
    free(device->attend_scratch);
    free(device->kv_offset);
    free(device->needs);
    free(device);
}

/* Returns a number of threads such that each has some MiB of weights to read. With less, barriers cost more than
 * another thread saves. */
static uint32_t suitable_threads(const struct hl_device_config *config)
{
    uint64_t bytes = 0, cores = hl_team_cores();
    if (config->threads)
        return config->threads;
    for (uint32_t i = 0; i < config->program.n_tensors; i++)
        bytes += config->program.tensors[i].bytes;
    return (uint32_t)(1 + bytes / WEIGHTS_PER_THREAD < cores ? 1 + bytes / WEIGHTS_PER_THREAD : cores);
}

static int cpu_open(const struct hl_device_config *config, struct hl_device **out, struct hl_error *err)
{
    struct hl_device *device = calloc(1, sizeof *device);
    if (!device)
        return hl_no_memory(err);
    device->config = *config;
    device->kernels = choose_kernels(config->kernels, err);
    if (!device->kernels || hl_team_open(suitable_threads(config), &device->team, err) < 0 ||
        open_buffers(device, err) < 0 || open_scratch(device, err) < 0 || open_step(device, err) < 0 ||
        open_staged(device, err) < 0 || open_needs(device, err) < 0) {
        cpu_close(device);
        return -1;
    }
    snprintf(device->description, sizeof device->description, "cpu: %s, %u thread%s", device->kernels->name,
             hl_team_size(device->team), hl_team_size(device->team) == 1 ? "" : "s");
    *out = device;
    return 0;
}

static int cpu_room(struct hl_device *device, uint64_t offset, uint32_t bytes, uint8_t **to, struct hl_error *err)
{
    (void)bytes, (void)err;
    *to = device->staged + offset;
    return 0;
}

static int cpu_full(struct hl_device *device, uint64_t offset, uint32_t bytes, const uint8_t *from,
                    struct hl_error *err)
{
    (void)device, (void)offset, (void)bytes, (void)from, (void)err;
    return 0;
}

static void cpu_cancel(struct hl_device *device)
{
    (void)device; /* nothing waits */
}

static int cpu_start(struct hl_device *device, struct hl_device_limits *limits, struct hl_error *err)
{
    *limits = (struct hl_device_limits){.kv_pages = device->config.kv_pages};
    return open_kv(device, err);
}

static float *at(const struct hl_device *device, struct hl_span span)
{
    return device->buffers[span.buffer].data + span.column;
}

static size_t stride(const struct hl_device *device, struct hl_span span)
{
    return device->buffers[span.buffer].stride;
}

static uint32_t rows_in(const struct hl_device *device, struct hl_span span)
{
    bool tokens = device->config.program.buffers[span.buffer].domain == HL_DOMAIN_TOKENS;
    return tokens ? device->step->n_tokens : device->step->n_outputs;
}

static const uint8_t *tensor_data(const struct hl_device *device, uint32_t tensor)
{
    const uint8_t *base = device->staged ? device->staged : device->config.weights;
    return base + device->config.program.tensors[tensor].offset;
}

/* Returns the rows of a table, from the mapping if the table is not loaded yet. */
static const uint8_t *table_rows(const struct hl_device *device, uint32_t tensor)
{
    if (!device->needs || hl_op_weights_end(&device->config.program, tensor) <= device->loaded)
        return tensor_data(device, tensor);
    return device->config.weights + device->config.program.tensors[tensor].offset;
}

static const float *vector(const struct hl_device *device, uint32_t tensor)
{
    return (const float *)(const void *)tensor_data(device, tensor);
}

static struct hl_kv_store kv_store(const struct hl_device *device, uint32_t kv)
{
    return (struct hl_kv_store){
        .base = device->kv,
        .page_bytes = device->kv_page_bytes,
        .offset = device->kv_offset[kv],
        .type = device->config.kv_type,
        .heads = device->config.program.kvs[kv].heads,
        .head_dim = device->config.program.kvs[kv].head_dim,
    };
}

/* Three quarters of a matrix are divided beforehand. Threads take the rest in pieces, as they finish, so that a thread
 * that lost time to another process does not delay the others (docs/performance.md, "Where the time goes"). Pieces are
 * so large that prefetches beyond their ends do not matter. */
#define PIECE_BYTES (128u << 10)
#define PIECES_MOST 4u /* per thread */

static void run_strips(const struct hl_device *device, const struct hl_linear *linear, _Atomic uint32_t *next,
                       struct hl_share share)
{
    uint32_t strips = hl_tile_strips(linear->rows), begin, end;
    uint64_t left = share.count > 1 ? strips / 4 * hl_strip_bytes(linear->type, linear->cols) : 0;
    uint32_t pieces =
        (uint32_t)(left / PIECE_BYTES < PIECES_MOST * share.count ? left / PIECE_BYTES : PIECES_MOST * share.count);
    uint32_t dealt = pieces ? strips - strips / 4 : strips;
    hl_share_range(share, dealt, &begin, &end);
    device->kernels->linear(linear, begin, end);
    for (uint32_t piece; pieces && (piece = atomic_fetch_add(next, 1)) < pieces;) {
        hl_share_range((struct hl_share){piece, pieces}, strips - dealt, &begin, &end);
        device->kernels->linear(linear, dealt + begin, dealt + end);
    }
}

static void run_linear(struct hl_device *device, const struct hl_op *op, _Atomic uint32_t *next, struct hl_share share)
{
    const struct hl_tensor *weight = &device->config.program.tensors[op->linear.weight];
    struct hl_linear linear = {
        .type = weight->type,
        .rows = weight->rows,
        .cols = weight->cols,
        .weight = tensor_data(device, op->linear.weight),
        .bias = op->linear.bias == HL_NONE ? NULL : vector(device, op->linear.bias),
        .n = rows_in(device, op->linear.in),
        .in = at(device, op->linear.in),
        .in_stride = stride(device, op->linear.in),
        .out = at(device, op->linear.out),
        .out_stride = stride(device, op->linear.out),
        .scratch = device->linear_scratch,
    };
    device->kernels->prepare(&linear, share);
    hl_team_barrier(device->team);
    run_strips(device, &linear, next, share);
}

static void run_attend(struct hl_device *device, const struct hl_op *op, struct hl_share share)
{
    struct hl_kv_store store = kv_store(device, op->attend.kv);
    struct hl_attend attend = {
        .store = &store,
        .places = &device->places,
        .q = at(device, op->attend.q),
        .q_stride = stride(device, op->attend.q),
        .out = at(device, op->attend.out),
        .out_stride = stride(device, op->attend.out),
        .heads = op->attend.heads,
        .window = op->attend.window,
        .scale = op->attend.scale,
        .softcap = op->attend.softcap,
        .scratch = device->attend_scratch + share.index * device->attend_floats,
    };
    device->kernels->attend(&attend, share);
}

static void run_kv_write(struct hl_device *device, const struct hl_op *op, struct hl_share share)
{
    struct hl_kv_store store = kv_store(device, op->kv_write.kv);
    hl_cpu_kv_write(device->kernels, &store, &device->places, at(device, op->kv_write.k), at(device, op->kv_write.v),
                    stride(device, op->kv_write.k), stride(device, op->kv_write.v), share);
}

static void run_op(struct hl_device *device, const struct hl_op *op, _Atomic uint32_t *next, struct hl_share share)
{
    const struct hl_step *step = device->step;
    const struct hl_tensor *tensors = device->config.program.tensors;
    switch ((enum hl_op_kind)op->kind) {
    case HL_OP_ANGLES:
        hl_cpu_angles(at(device, op->angles.out), stride(device, op->angles.out),
                      vector(device, op->angles.frequencies), tensors[op->angles.frequencies].cols, device->positions,
                      step->n_tokens, share);
        break;
    case HL_OP_GATHER:
        hl_cpu_gather(at(device, op->gather.out), stride(device, op->gather.out), &tensors[op->gather.table],
                      table_rows(device, op->gather.table), op->gather.scale, step->tokens, step->n_tokens, share);
        break;
    case HL_OP_NORM:
        hl_cpu_norm(device->kernels, at(device, op->norm.out), stride(device, op->norm.out), at(device, op->norm.in),
                    stride(device, op->norm.in), vector(device, op->norm.weight), op->norm.groups, op->norm.cols,
                    op->norm.eps, rows_in(device, op->norm.in), share);
        break;
    case HL_OP_LINEAR:
        run_linear(device, op, next, share);
        break;
    case HL_OP_ROPE:
        hl_cpu_rope(at(device, op->rope.x), stride(device, op->rope.x), at(device, op->rope.angles),
                    stride(device, op->rope.angles), op->rope.heads, op->rope.head_dim, op->rope.rotated,
                    step->n_tokens, share);
        break;
    case HL_OP_KV_WRITE:
        run_kv_write(device, op, share);
        break;
    case HL_OP_ATTEND:
        run_attend(device, op, share);
        break;
    case HL_OP_GATE:
        hl_cpu_gate(device->kernels, at(device, op->gate.out), stride(device, op->gate.out), at(device, op->gate.gate),
                    stride(device, op->gate.gate), at(device, op->gate.up), stride(device, op->gate.up), op->gate.cols,
                    op->gate.activation, rows_in(device, op->gate.out), share);
        break;
    case HL_OP_ADD:
        hl_cpu_add(at(device, op->add.out), stride(device, op->add.out), at(device, op->add.in),
                   stride(device, op->add.in), op->add.cols, rows_in(device, op->add.out), share);
        break;
    case HL_OP_PICK:
        hl_cpu_pick(at(device, op->pick.out), stride(device, op->pick.out), at(device, op->pick.in),
                    stride(device, op->pick.in), op->pick.cols, device->outputs, step->n_outputs, share);
        break;
    case HL_OP_SOFTCAP:
        hl_cpu_softcap(device->kernels, at(device, op->softcap.x), stride(device, op->softcap.x), op->softcap.cols,
                       op->softcap.cap, rows_in(device, op->softcap.x), share);
        break;
    case HL_OP_COUNT:
        break;
    }
}

/* Lets one thread wait for the weights, and the other threads for that one. */
static void wait_for_weights(struct hl_device *device, uint64_t end, struct hl_team *team, struct hl_share share)
{
    if (share.index == 0 && device->config.wait(device->config.wait_context, end, &device->err) < 0)
        device->failed = true;
    hl_team_barrier(team);
}

static void run_program(void *context, struct hl_team *team, struct hl_share share)
{
    struct hl_device *device = context;
    const struct hl_program_view *program = &device->config.program;
    uint64_t loaded = device->loaded; /* each thread keeps its own count, and all counts are equal */
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        if (device->needs && device->needs[i] > loaded) {
            loaded = device->needs[i];
            wait_for_weights(device, loaded, team, share);
            if (device->failed)
                return;
        }
        if (share.index == 0) /* no thread uses the other counter now */
            atomic_store(&device->next[(i + 1) % 2], 0);
        run_op(device, &program->ops[i], &device->next[i % 2], share);
        hl_team_barrier(team);
    }
    if (share.index == 0) /* the other threads do not read it again in this step */
        device->loaded = loaded;
    const struct matrix *rows = &device->buffers[program->head->logits];
    hl_chooser_run(device->chooser, team, share, device->step->wants, device->step->n_outputs, rows->data, rows->stride,
                   device->logits);
}

/* Writes down for each token what its run says. */
static void place_tokens(struct hl_device *device, const struct hl_step *step)
{
    uint32_t token = 0;
    for (uint32_t r = 0; r < step->n_runs; r++)
        for (uint32_t i = 0; i < step->runs[r].n_tokens; i++, token++) {
            device->positions[token] = step->runs[r].position + i;
            device->pages[token] = step->runs[r].pages;
        }
    device->places.n_tokens = step->n_tokens;
    for (uint32_t i = 0; i < step->n_outputs; i++)
        device->outputs[i] = step->wants[i].token;
}

static int cpu_step(struct hl_device *device, const struct hl_step *step, const struct hl_logits **logits,
                    struct hl_error *err)
{
    if (step->n_tokens > device->config.max_tokens || step->n_outputs > device->config.max_outputs)
        return hl_fail(err, "a step of %u tokens and %u outputs is larger than the device was opened for",
                       step->n_tokens, step->n_outputs);
    device->step = step;
    place_tokens(device, step);
    atomic_store(&device->next[0], 0);
    hl_team_run(device->team, run_program, device);
    if (device->failed) {
        *err = device->err;
        return HL_STEP_FAILED;
    }
    *logits = device->logits;
    return HL_STEP_DONE;
}

static const char *cpu_describe(const struct hl_device *device)
{
    return device->description;
}

static int cpu_probe(uint32_t index, struct hl_error *err)
{
    (void)index, (void)err;
    return 0;
}

static bool cpu_report(char *text, size_t bytes)
{
    const struct hl_kernels *best = hl_kernels_available()[0];
    uint32_t cores = hl_team_cores();
    const bool fast = best != &hl_kernels_scalar;
    snprintf(text, bytes, "%u core%s, %s kernels%s", cores, cores == 1 ? "" : "s", best->name,
             fast ? "" : ", which are slow: this processor has no AVX2");
    return fast;
}

const struct hl_device_interface hl_cpu_device = {.name = "cpu",
                                                  .in_place = true,
                                                  .probe = cpu_probe,
                                                  .report = cpu_report,
                                                  .kv_page_bytes = cpu_kv_page_bytes,
                                                  .open = cpu_open,
                                                  .room = cpu_room,
                                                  .full = cpu_full,
                                                  .cancel = cpu_cancel,
                                                  .start = cpu_start,
                                                  .step = cpu_step,
                                                  .describe = cpu_describe,
                                                  .close = cpu_close};
