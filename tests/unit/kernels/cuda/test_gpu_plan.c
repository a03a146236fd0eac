/* kernels/cuda/gpu_plan.c: which weights go to the GPU, and which operations share prepared activations. */
#include "base/sizes.h"
#include "kernels/cuda/code/kv_cache.h"
#include "kernels/cuda/gpu_plan.h"
#include "tests/unit/check.h"

enum { TABLE, NORM, QKV, OUT, HEAD, FREQUENCIES, N_TENSORS };
enum { X, Y, Z, LOGITS, N_BUFFERS };

static struct hl_tensor tensors[N_TENSORS] = {
    [TABLE] = {.name = "table", .type = HL_TYPE_TILE_Q8, .rows = 100, .cols = 64},
    [NORM] = {.name = "norm", .type = HL_TYPE_VECTOR, .rows = 1, .cols = 64},
    [QKV] = {.name = "qkv", .type = HL_TYPE_TILE_Q4, .rows = 96, .cols = 64},
    [OUT] = {.name = "out", .type = HL_TYPE_TILE_Q8, .rows = 64, .cols = 64},
    [HEAD] = {.name = "head", .type = HL_TYPE_TILE_BF16, .rows = 100, .cols = 64},
    [FREQUENCIES] = {.name = "frequencies", .type = HL_TYPE_VECTOR, .rows = 1, .cols = 16},
};
static const struct hl_buffer buffers[N_BUFFERS] = {[X] = {64, HL_DOMAIN_TOKENS},
                                                    [Y] = {64, HL_DOMAIN_TOKENS},
                                                    [Z] = {96, HL_DOMAIN_TOKENS},
                                                    [LOGITS] = {100, HL_DOMAIN_OUTPUTS}};
static const struct hl_kv kvs[] = {{1, 32}, {2, 40}};

/* The same input three times, the last one after a change; then in another form. */
static const struct hl_op ops[] = {
    {HL_OP_GATHER, .gather = {{X, 0}, TABLE, 1}},
    {HL_OP_NORM, .norm = {{Y, 0}, {X, 0}, NORM, 1, 64, 0}},
    {HL_OP_LINEAR, .linear = {{Z, 0}, {Y, 0}, QKV, HL_NONE}},
    {HL_OP_LINEAR, .linear = {{X, 0}, {Y, 0}, OUT, NORM}},
    {HL_OP_ADD, .add = {{Y, 0}, {X, 0}, 64}},
    {HL_OP_LINEAR, .linear = {{X, 0}, {Y, 0}, OUT, HL_NONE}},
    {HL_OP_LINEAR, .linear = {{LOGITS, 0}, {Y, 0}, HEAD, HL_NONE}},
    {HL_OP_ANGLES, .angles = {{Z, 0}, FREQUENCIES}},
    {HL_OP_ATTEND, .attend = {{Z, 0}, {Z, 0}, 1, 2, 0, 1, 0}},
};

static const struct hl_program head = {N_BUFFERS, 2, HL_COUNT(ops), 100, 128, LOGITS, {0}};

static struct hl_device_config config_of_program(void)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < N_TENSORS; i++) {
        hl_tensor_bytes(tensors[i].type, tensors[i].rows, tensors[i].cols, &tensors[i].bytes);
        tensors[i].offset = offset;
        offset += hl_round_up(tensors[i].bytes, 4096);
    }
    return (struct hl_device_config){.program = {&head, buffers, kvs, ops, tensors, N_TENSORS},
                                     .weight_bytes = offset,
                                     .max_tokens = 20,
                                     .max_outputs = 3,
                                     .max_runs = 2,
                                     .run_pages = 20,
                                     .kv_type = HL_KV_F16};
}

static void check_weights(const struct hl_gpu_plan *plan)
{
    CHECK(!plan->resident[TABLE] && plan->resident[NORM] && plan->resident[HEAD]);
    CHECK(plan->weights_begin == tensors[NORM].offset);
    CHECK(plan->weights_end == tensors[FREQUENCIES].offset + tensors[FREQUENCIES].bytes);
    CHECK(!hl_gpu_plan_wants(plan, 0, 4096));
    CHECK(hl_gpu_plan_wants(plan, 0, (uint32_t)tensors[NORM].offset + 1));
    CHECK(!hl_gpu_plan_wants(plan, 0, (uint32_t)tensors[NORM].offset));
    CHECK(!hl_gpu_plan_wants(plan, plan->weights_end, 4096));
    CHECK(plan->needs[0] == 0 && plan->needs[2] == tensors[QKV].offset + tensors[QKV].bytes);
    CHECK(plan->needs[3] == tensors[OUT].offset + tensors[OUT].bytes && plan->needs[4] == 0);
}

static void check_memory(const struct hl_gpu_plan *plan)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < N_BUFFERS; i++) {
        uint32_t rows = buffers[i].domain == HL_DOMAIN_TOKENS ? 20 : 3;
        CHECK(plan->buffers[i].offset >= end && plan->buffers[i].offset % 256 == 0);
        CHECK(plan->buffers[i].stride >= buffers[i].cols && plan->buffers[i].stride % 4 == 0);
        end = plan->buffers[i].offset + 4ull * rows * plan->buffers[i].stride;
    }
    CHECK(plan->prepared >= end && plan->partial > plan->prepared && plan->best > plan->partial);
    CHECK(plan->chosen > plan->best && plan->scratch_bytes >= plan->chosen + plan->chosen_bytes);
    CHECK(plan->gathered_bytes == 20ull * plan->buffers[X].stride * 4);
    CHECK(plan->kv_offsets[0] == 0 && plan->kv_offsets[1] == hl_cuda_kv_bytes(HL_CUDA_KV_F16, 1, 32));
    CHECK(plan->page_bytes == plan->kv_offsets[1] + hl_cuda_kv_bytes(HL_CUDA_KV_F16, 2, 40));
    CHECK(hl_gpu_plan_page_bytes(&plan->config.program, HL_KV_F16) == plan->page_bytes);
}

int main(void)
{
    struct hl_device_config config = config_of_program();
    struct hl_gpu_plan plan;
    struct hl_error err;
    CHECK_OK(hl_gpu_plan_open(&config, &plan, &err), err);
    check_weights(&plan);
    check_memory(&plan);
    CHECK(plan.prepares[2] && !plan.prepares[3] && plan.prepares[5] && plan.prepares[6]);
    hl_gpu_plan_close(&plan);
    config.in_place = true;
    CHECK_FAILS(hl_gpu_plan_open(&config, &plan, &err), err, "mapped");
    config.in_place = false;
    config.max_tokens = 70000;
    CHECK_FAILS(hl_gpu_plan_open(&config, &plan, &err), err, "70000");
    config.max_tokens = 20;
    tensors[QKV].type = HL_TYPE_VECTOR;
    CHECK_FAILS(hl_gpu_plan_open(&config, &plan, &err), err, "qkv");
    return check_summary();
}
