/* Tensors and a program section -> checked -> one step on the CPU. A program that passes the check may compute
 * nonsense, but must stay inside of its weights, buffers and cache.
 *
 *   u8 number of tensors | u8 tokens | u8 outputs | u8 choices | struct hl_tensor[] | program section
 *
 * Computes a step twice. After the first, the addresses of the buffers are known, and everything between and after
 * their rows is poisoned, so that the second cannot touch it unnoticed. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "kernels/cpu/kernels.h"
#include "runtime/model/hot.h"
#include "tests/fuzz/guard.h"
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

#define WEIGHT_BYTES (512u << 10)
#define MEMORY_MOST (16u << 20)
#define WORK_MOST (4u << 20)
#define TOKENS_MOST 8u
#define ROWS_MOST (TOKENS_MOST + 3) /* size of the device; no step uses all rows */
#define PAGES 6u

struct input {
    struct hl_program_view view;
    struct hl_tensor *tensors;
    uint8_t *section;
    uint32_t n_tokens, n_outputs, choices;
};

/* Corrects the fields that nearly every mutation breaks, and the sizes. */
static void mend(struct input *in, size_t bytes)
{
    struct hl_program head;
    for (uint32_t i = 0; i < in->view.n_tensors; i++) {
        struct hl_tensor *t = &in->tensors[i];
        uint64_t size;
        memset(t->name, 0, sizeof t->name);
        t->name[0] = 't';
        t->reserved = 0;
        t->offset = t->offset / HL_PAGE_BYTES * HL_PAGE_BYTES;
        if (t->type < HL_TYPE_COUNT && hl_tensor_bytes(t->type, t->rows, t->cols, &size))
            t->bytes = size;
    }
    memcpy(&head, in->section, sizeof head);
    memset(head.reserved, 0, sizeof head.reserved);
    uint64_t tables = sizeof head + 8 * ((uint64_t)head.n_buffers + head.n_kvs);
    if (tables <= bytes)
        head.n_ops = (uint32_t)((bytes - tables) / sizeof(struct hl_op));
    uint64_t logits = sizeof head + 8 * (uint64_t)head.logits;
    if (in->choices & 1 && logits + 4 <= bytes)
        memcpy(&head.vocabulary, in->section + logits, 4);
    memcpy(in->section, &head, sizeof head);
}

static bool parse(const uint8_t *data, size_t size, struct input *in)
{
    struct hl_error err;
    if (size < 4 + sizeof(struct hl_program) ||
        size < 4 + data[0] * sizeof(struct hl_tensor) + sizeof(struct hl_program))
        return false;
    size_t tensor_bytes = data[0] * sizeof(struct hl_tensor), bytes = size - 4 - tensor_bytes;
    *in = (struct input){.view = {.n_tensors = data[0]}, .tensors = malloc(tensor_bytes + 1), .section = malloc(bytes)};
    if (!in->tensors || !in->section)
        abort();
    memcpy(in->tensors, data + 4, tensor_bytes);
    memcpy(in->section, data + 4 + tensor_bytes, bytes);
    in->choices = data[3];
    in->n_tokens = 1 + data[1] % TOKENS_MOST;
    in->n_outputs = data[2] % (in->n_tokens + 1);
    if (hl_program_open(in->section, bytes, in->tensors, in->view.n_tensors, &in->view, &err) == 0)
        hl_program_check(&in->view, WEIGHT_BYTES, &err); /* unchanged, whatever it is */
    mend(in, bytes);
    const struct hl_program *head = (const void *)in->section;
    uint64_t used = sizeof *head + 8 * ((uint64_t)head->n_buffers + head->n_kvs) + head->n_ops * sizeof(struct hl_op);
    return hl_program_open(in->section, used <= bytes ? used : bytes, in->tensors, data[0], &in->view, &err) == 0 &&
           hl_program_check(&in->view, WEIGHT_BYTES, &err) == 0;
}

/* Returns whether it is small enough to run a thousand times a second. */
static bool is_small(const struct hl_program_view *view)
{
    uint64_t floats = 0, work = 0;
    for (uint32_t i = 0; i < view->head->n_buffers; i++)
        floats += view->buffers[i].cols + 16ull;
    for (uint32_t i = 0; i < view->head->n_ops; i++) {
        const struct hl_op *op = &view->ops[i];
        const struct hl_kv *kv = op->kind == HL_OP_ATTEND ? &view->kvs[op->attend.kv] : NULL;
        work += floats; /* no other operation touches more than all buffers */
        if (op->kind == HL_OP_LINEAR)
            work += (uint64_t)view->tensors[op->linear.weight].rows * view->tensors[op->linear.weight].cols;
        if (kv)
            work += (uint64_t)op->attend.heads * kv->head_dim * 2 * HL_KV_PAGE_TOKENS;
    }
    return floats * ROWS_MOST * sizeof(float) <= MEMORY_MOST && work <= WORK_MOST &&
           hl_cpu_device.kv_page_bytes(view, HL_KV_F32) * PAGES <= MEMORY_MOST;
}

/* Fills with bytes of every kind, NaN and infinity among them, or with zeros. */
static uint8_t *make_weights(uint32_t choices)
{
    uint8_t *weights = aligned_alloc(HL_PAGE_BYTES, WEIGHT_BYTES);
    if (!weights)
        abort();
    memset(weights, 0, WEIGHT_BYTES);
    uint64_t state = 0x9e3779b97f4a7c15u + choices;
    for (size_t i = 0; choices & 2 && i < WEIGHT_BYTES; i += 8) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        memcpy(weights + i, &state, 8);
    }
    return weights;
}

/* Poisons all that no step may touch: the padding of the rows in use, and the unused rows. */
static void guard_buffers(const struct input *in, const float *logits, bool poison)
{
    const struct hl_program_view *view = &in->view;
    const float *at = logits;
    for (uint32_t i = 0; i < view->head->logits; i++)
        at -= hl_round_up(view->buffers[i].cols, 16) * ROWS_MOST;
    for (uint32_t i = 0; i < view->head->n_buffers; i++) {
        size_t cols = view->buffers[i].cols, stride = (size_t)hl_round_up(cols, 16);
        uint32_t used = view->buffers[i].domain == HL_DOMAIN_TOKENS ? in->n_tokens : in->n_outputs;
        for (uint32_t row = 0; row < ROWS_MOST; row++, at += stride) {
            size_t keep = row < used ? cols : 0;
            if (poison)
                ASAN_POISON_MEMORY_REGION(at + keep, (stride - keep) * sizeof *at);
            else
                ASAN_UNPOISON_MEMORY_REGION(at, stride * sizeof *at);
        }
    }
}

static void execute(const struct input *in)
{
    static const uint32_t pages[2][3] = {{4, 1, 3}, {5, 0, 2}};
    const struct hl_kernels *const *tables = hl_kernels_available();
    struct hl_error err;
    struct hl_device *device;
    struct hl_device_limits limits;
    const struct hl_logits *logits;
    int32_t tokens[TOKENS_MOST];
    struct hl_want wants[TOKENS_MOST];
    for (uint32_t i = 0; i < in->n_tokens; i++) {
        tokens[i] = (int32_t)((in->choices * 31u + i * 7u) % in->view.head->vocabulary);
        wants[i] = (struct hl_want){.token = in->n_tokens - 1 - i};
    }
    /* One sequence crosses into its second page, the other begins. */
    const struct hl_run runs[2] = {{hl_min_u32(in->n_tokens, 5), 61, pages[0], 3},
                                   {in->n_tokens > 5 ? in->n_tokens - 5 : 0, 0, pages[1], 3}};
    size_t table = in->choices >> 2 & 3;
    while (table && !tables[table])
        table--;
    HL_FREE uint8_t *weights = make_weights(in->choices);
    const struct hl_device_config config = {.program = in->view,
                                            .weight_bytes = WEIGHT_BYTES,
                                            .weights = weights,
                                            .in_place = true,
                                            .max_tokens = ROWS_MOST,
                                            .max_outputs = ROWS_MOST,
                                            .kv_pages = PAGES,
                                            .kv_type = in->choices & 32   ? HL_KV_Q8
                                                       : in->choices & 16 ? HL_KV_F16
                                                                          : HL_KV_F32,
                                            .threads = 1,
                                            .kernels = tables[table]->name};
    const struct hl_step step = {.n_tokens = in->n_tokens,
                                 .n_runs = 1 + (runs[1].n_tokens > 0),
                                 .n_outputs = in->n_outputs,
                                 .tokens = tokens,
                                 .runs = runs,
                                 .wants = wants};
    if (hl_cpu_device.open(&config, &device, &err) < 0)
        return;
    if (hl_cpu_device.start(device, &limits, &err) < 0 || hl_cpu_device.step(device, &step, &logits, &err) < 0)
        abort();
    const float *first = in->n_outputs ? logits[0].row : NULL;
    if (first)
        guard_buffers(in, first, true);
    if (hl_cpu_device.step(device, &step, &logits, &err) < 0)
        abort();
    if (first)
        guard_buffers(in, first, false);
    for (uint32_t i = 0; i < in->n_outputs; i++) /* the buffers may hold anything now */
        wants[i].best = 1 + in->choices % HL_BEST_MOST;
    if (hl_cpu_device.step(device, &step, &logits, &err) < 0 || (in->n_outputs && logits[0].n == 0))
        abort();
    hl_cpu_device.close(device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.tensors = NULL};
    if (parse(data, size, &in) && is_small(&in.view))
        execute(&in);
    free(in.tensors);
    free(in.section);
    return 0;
}
