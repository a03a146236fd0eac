/* The GPU as a device.
 *
 *   open    plans, and starts a thread:   driver, context, kernels | memory for the weights | the ring is pinned
 *   room, full    readers fill slots of the ring meanwhile; from then on each slot is copied as it is filled
 *   start   waits for the thread, and allocates the cache and the scratch of a step
 *   step    inputs up | for each operation: wait for its weights, launch | results down
 *
 * The stream that computes waits for the stream that copies, operation by operation: the first step runs while the last
 * weights are still on the disk. A step ends with one wait of the host.
 */
#include "base/sizes.h"
#include "kernels/cuda/code/best.h"
#include "kernels/cuda/pass.h"
#include "kernels/cuda/report.h"
#include "kernels/cuda/ring.h"
#include <pthread.h>
#include <stdlib.h>

#define RESERVE (96ull << 20) /* of the GPU's memory, for what the driver needs by itself */
#define MANY_ADJUSTMENTS 256u /* of an output; more than that make a step grow its memory */
#define SMALL_INPUTS (64ull << 10)

struct hl_device {
    struct hl_gpu_plan plan;
    struct hl_gpu gpu;
    struct hl_ring *ring;
    pthread_t thread;
    bool threaded; /* the thread is to be joined */
    int result;    /* of the thread, with err */
    struct hl_error err;
    hl_gpu_pointer weights, cache, scratch;
    hl_gpu_pointer at; /* the inputs of a step */
    uint64_t at_bytes;
    struct hl_pinned inputs, gathered, chosen, rows;
    struct hl_logits *logits; /* [max_outputs] */
    uint64_t loaded;          /* bytes of the weights' space that the computing stream may read */
    bool brought;             /* all weights are there, and the ring is gone */
    char description[160];
};

/* ---- the thread that opens the GPU ---- */

static int open_gpu(struct hl_device *device, struct hl_error *err)
{
    const struct hl_gpu_plan *plan = &device->plan;
    uint64_t bytes = plan->weights_end - plan->weights_begin;
    if (hl_gpu_open(&device->gpu, plan->config.index, err) < 0 || hl_pass_find(&device->gpu, plan, err) < 0)
        return -1;
    if (hl_gpu_allocate(&device->gpu, &device->weights, bytes, "memory for the weights", err) < 0) {
        size_t n = strlen(err->message);
        if (!hl_driver_is_lost(&device->gpu.driver))
            snprintf(err->message + n, sizeof err->message - n, "; pack the model with a smaller --quant");
        return -1;
    }
    const struct hl_ring_target target = {&device->gpu.driver, device->gpu.context, device->gpu.copy, device->weights};
    return hl_ring_attach(device->ring, &target, err);
}

static void *run_thread(void *argument)
{
    struct hl_device *device = argument;
    device->result = open_gpu(device, &device->err);
    if (device->result < 0)
        hl_ring_stop(device->ring, &device->err);
    return NULL;
}

static void join_thread(struct hl_device *device)
{
    if (device->threaded)
        pthread_join(device->thread, NULL);
    device->threaded = false;
}

/* ---- open and close ---- */

static void cuda_close(struct hl_device *device)
{
    struct hl_error ignored;
    if (!device)
        return;
    join_thread(device);
    struct hl_gpu *gpu = &device->gpu;
    if (gpu->context && hl_gpu_enter(gpu, &ignored) == 0) {
        if (gpu->copy)
            gpu->driver.cuStreamSynchronize(gpu->copy);
        if (gpu->compute)
            gpu->driver.cuStreamSynchronize(gpu->compute);
    }
    hl_ring_close(device->ring);
    hl_gpu_unpin(gpu, &device->inputs);
    hl_gpu_unpin(gpu, &device->gathered);
    hl_gpu_unpin(gpu, &device->chosen);
    hl_gpu_unpin(gpu, &device->rows);
    hl_gpu_free(gpu, &device->at);
    hl_gpu_free(gpu, &device->scratch);
    hl_gpu_free(gpu, &device->cache);
    hl_gpu_free(gpu, &device->weights);
    hl_gpu_close(gpu);
    hl_gpu_plan_close(&device->plan);
    free(device->logits);
    free(device);
}

static int open_parts(struct hl_device *device, const struct hl_device_config *config, struct hl_error *err)
{
    if (hl_gpu_plan_open(config, &device->plan, err) < 0 ||
        hl_ring_open(device->plan.weights_end - device->plan.weights_begin, &device->ring, err) < 0)
        return -1;
    device->logits = calloc((size_t)config->max_outputs + 1, sizeof *device->logits);
    if (!device->logits)
        return hl_no_memory(err);
    int code = pthread_create(&device->thread, NULL, run_thread, device);
    if (code)
        return hl_fail(err, "the thread that opens the GPU cannot be started: %s", strerror(code));
    device->threaded = true;
    return 0;
}

static int cuda_open(const struct hl_device_config *config, struct hl_device **out, struct hl_error *err)
{
    struct hl_device *device = calloc(1, sizeof *device);
    if (!device)
        return hl_no_memory(err);
    snprintf(device->description, sizeof device->description, "cuda:%u", config->index);
    if (open_parts(device, config, err) < 0) {
        cuda_close(device);
        return -1;
    }
    *out = device;
    return 0;
}

/* ---- weights ---- */

static int cuda_room(struct hl_device *device, uint64_t offset, uint32_t bytes, uint8_t **to, struct hl_error *err)
{
    *to = NULL;
    return hl_gpu_plan_wants(&device->plan, offset, bytes) ? hl_ring_room(device->ring, to, err) : 0;
}

/* The ends of a piece may lie outside of what the GPU holds. */
static int cuda_full(struct hl_device *device, uint64_t offset, uint32_t bytes, const uint8_t *from,
                     struct hl_error *err)
{
    const struct hl_gpu_plan *plan = &device->plan;
    uint64_t begin = offset > plan->weights_begin ? offset : plan->weights_begin;
    uint64_t end = offset + bytes < plan->weights_end ? offset + bytes : plan->weights_end;
    return hl_ring_full(device->ring, from, (uint32_t)(begin - offset), (uint32_t)(end - begin),
                        begin - plan->weights_begin, err);
}

static void cuda_cancel(struct hl_device *device)
{
    struct hl_error why;
    hl_fail(&why, "loading was stopped");
    hl_ring_stop(device->ring, &why);
}

/* ---- start ---- */

/* Says what would fit instead of a cache that is too large. */
static int fail_cache(const struct hl_device *device, uint64_t room, struct hl_error *err)
{
    const struct hl_device_config *config = &device->plan.config;
    const uint64_t page = device->plan.page_bytes, fit = page ? room / page : 0;
    char instead[128];
    if (config->run_pages && fit >= config->run_pages)
        snprintf(instead, sizeof instead, "--parallel %llu would fit", (unsigned long long)(fit / config->run_pages));
    else if (fit > 0)
        snprintf(instead, sizeof instead, "--ctx %llu would fit", (unsigned long long)fit * HL_KV_PAGE_TOKENS);
    else
        snprintf(instead, sizeof instead, "nothing is left beside the weights: pack the model with a smaller --quant");
    return hl_fail(err,
                   "the GPU has too little memory for the key/value cache: at least %llu MiB are wanted, and %llu MiB "
                   "are free beside the weights; %s%s",
                   (unsigned long long)((page * config->kv_pages_least + (1u << 20) - 1) >> 20),
                   (unsigned long long)(room >> 20), instead, config->kv_type == HL_KV_Q8 ? "" : ", or try --kv q8");
}

static int start_cache(struct hl_device *device, struct hl_device_limits *limits, struct hl_error *err)
{
    const struct hl_device_config *config = &device->plan.config;
    const uint64_t page = device->plan.page_bytes;
    size_t there = 0, total = 0;
    if (HL_DRIVER(&device->gpu.driver, err, cuMemGetInfo_v2, &there, &total) < 0)
        return -1;
    uint64_t room = there > RESERVE ? there - RESERVE : 0;
    uint64_t pages = page && room / page < config->kv_pages ? room / page : config->kv_pages;
    if (pages < config->kv_pages_least)
        return fail_cache(device, room, err);
    if (hl_gpu_allocate(&device->gpu, &device->cache, pages * page, "memory for the key/value cache", err) < 0)
        return -1;
    uint64_t bytes = device->plan.weights_end - device->plan.weights_begin + device->plan.scratch_bytes + pages * page;
    *limits =
        (struct hl_device_limits){.kv_pages = (uint32_t)pages, .bytes_used = bytes, .bytes_free = there - pages * page};
    return 0;
}

/* Makes room for the inputs of a step, here and in the GPU. Nothing uses the old room: no step runs. */
static int grow_inputs(struct hl_device *device, uint64_t bytes, struct hl_error *err)
{
    if (bytes <= device->at_bytes)
        return 0;
    hl_gpu_free(&device->gpu, &device->at);
    device->at_bytes = 0;
    if (hl_gpu_pin(&device->gpu, &device->inputs, bytes, err) < 0 ||
        hl_gpu_allocate(&device->gpu, &device->at, bytes, "memory for the inputs of a step", err) < 0)
        return -1;
    device->at_bytes = bytes;
    return 0;
}

/* Returns enough for the inputs of most steps. */
static uint64_t usual_inputs(const struct hl_device_config *config)
{
    uint64_t tokens = (uint64_t)config->max_tokens * 32, pages = (uint64_t)config->max_runs * config->run_pages * 4;
    uint64_t outputs = config->max_outputs * (64ull + MANY_ADJUSTMENTS * sizeof(struct hl_cuda_adjustment));
    return SMALL_INPUTS + tokens + pages + outputs;
}

static int start_memory(struct hl_device *device, struct hl_device_limits *limits, struct hl_error *err)
{
    const struct hl_gpu_plan *plan = &device->plan;
    struct hl_gpu *gpu = &device->gpu;
    if (hl_gpu_enter(gpu, err) < 0 ||
        hl_gpu_allocate(gpu, &device->scratch, plan->scratch_bytes, "memory for a step", err) < 0 ||
        grow_inputs(device, usual_inputs(&plan->config), err) < 0 ||
        hl_gpu_pin(gpu, &device->gathered, plan->gathered_bytes, err) < 0 ||
        hl_gpu_pin(gpu, &device->chosen, plan->chosen_bytes, err) < 0)
        return -1;
    return start_cache(device, limits, err);
}

static int cuda_start(struct hl_device *device, struct hl_device_limits *limits, struct hl_error *err)
{
    join_thread(device);
    if (device->result < 0) {
        *err = device->err;
        return -1;
    }
    if (start_memory(device, limits, err) < 0)
        return -1;
    snprintf(device->description, sizeof device->description, "cuda:%u: %s, sm_%d%d, %llu MiB",
             device->plan.config.index, device->gpu.name, device->gpu.major, device->gpu.minor,
             (unsigned long long)(device->gpu.memory >> 20));
    return 0;
}

/* ---- step ---- */

static int check_step(const struct hl_device *device, const struct hl_step *step, struct hl_error *err)
{
    const struct hl_device_config *config = &device->plan.config;
    if (step->n_tokens > config->max_tokens || step->n_outputs > config->max_outputs || step->n_runs > config->max_runs)
        return hl_fail(err, "a step of %u tokens, %u outputs and %u runs is larger than the device was opened for",
                       step->n_tokens, step->n_outputs, step->n_runs);
    return 0;
}

static int send_inputs(struct hl_device *device, struct hl_pass *pass, struct hl_error *err)
{
    uint32_t vocabulary = device->plan.config.program.head->vocabulary;
    hl_inputs_measure(pass->step, vocabulary, &pass->inputs);
    if (grow_inputs(device, pass->inputs.bytes, err) < 0)
        return -1;
    pass->at = device->at;
    hl_inputs_pack(pass->step, vocabulary, &pass->inputs, device->inputs.memory, device->at);
    return HL_DRIVER(&device->gpu.driver, err, cuMemcpyHtoDAsync_v2, device->at, device->inputs.memory,
                     pass->inputs.bytes, device->gpu.compute);
}

/* Waits until the copies of all weights before `end` are in their stream, and lets the other stream wait for them. */
static int wait_for_weights(struct hl_device *device, uint64_t end, struct hl_error *err)
{
    const struct hl_device_config *config = &device->plan.config;
    if (end <= device->loaded)
        return 0;
    if (config->wait(config->wait_context, end, err) < 0 || hl_ring_follow(device->ring, device->gpu.compute, err) < 0)
        return -1;
    device->loaded = end;
    return 0;
}

static int launch_all(struct hl_device *device, struct hl_pass *pass, struct hl_error *err)
{
    for (uint32_t i = 0; i < device->plan.config.program.head->n_ops; i++) {
        if (wait_for_weights(device, device->plan.needs[i], err) < 0)
            return -1;
        pass->loaded = device->loaded;
        if (hl_pass_launch(pass, i, err) < 0)
            return -1;
    }
    return pass->inputs.n_best ? hl_pass_choose(pass, err) : 0;
}

/* Copies what was wanted to the host: what was chosen, in one piece, and whole rows. */
static int fetch_results(struct hl_device *device, const struct hl_pass *pass, struct hl_error *err)
{
    struct hl_driver *driver = &device->gpu.driver;
    const struct hl_step *step = pass->step;
    const size_t row = device->plan.config.program.head->vocabulary * sizeof(float);
    const uint32_t n_rows = step->n_outputs - pass->inputs.n_best;
    if (hl_gpu_pin(&device->gpu, &device->rows, n_rows * row, err) < 0)
        return -1;
    uint8_t *to = device->rows.memory;
    for (uint32_t i = 0; i < step->n_outputs; i++) {
        if (step->wants[i].best)
            continue;
        if (HL_DRIVER(driver, err, cuMemcpyDtoHAsync_v2, to, hl_pass_logits(pass, i), row, device->gpu.compute) < 0)
            return -1;
        to += row;
    }
    if (!pass->inputs.n_best)
        return 0;
    return HL_DRIVER(driver, err, cuMemcpyDtoHAsync_v2, device->chosen.memory, device->scratch + device->plan.chosen,
                     step->n_outputs * sizeof(struct hl_cuda_chosen), device->gpu.compute);
}

static void point_at_results(struct hl_device *device, const struct hl_step *step)
{
    const struct hl_cuda_chosen *chosen = (const struct hl_cuda_chosen *)(const void *)device->chosen.memory;
    const float *row = (const float *)(const void *)device->rows.memory;
    for (uint32_t i = 0; i < step->n_outputs; i++) {
        if (step->wants[i].best) {
            device->logits[i] = (struct hl_logits){
                .tokens = chosen[i].tokens, .logits = chosen[i].logits, .n = chosen[i].n, .log_sum = chosen[i].log_sum};
            continue;
        }
        device->logits[i] = (struct hl_logits){.row = row};
        row += device->plan.config.program.head->vocabulary;
    }
}

static int compute(struct hl_device *device, const struct hl_step *step, struct hl_error *err)
{
    struct hl_pass pass = {
        .gpu = &device->gpu,
        .plan = &device->plan,
        .weights = device->weights,
        .cache = device->cache,
        .scratch = device->scratch,
        .step = step,
        .gathered = device->gathered.memory,
        .loaded = device->loaded,
    };
    if (hl_gpu_enter(&device->gpu, err) < 0 || send_inputs(device, &pass, err) < 0 ||
        launch_all(device, &pass, err) < 0 || fetch_results(device, &pass, err) < 0)
        return -1;
    return hl_gpu_wait(&device->gpu, err);
}

static int cuda_step(struct hl_device *device, const struct hl_step *step, const struct hl_logits **logits,
                     struct hl_error *err)
{
    if (check_step(device, step, err) < 0)
        return HL_STEP_FAILED;
    if (compute(device, step, err) < 0) {
        struct hl_error ignored; /* the next step writes to memory that this one may still read */
        HL_DRIVER(&device->gpu.driver, &ignored, cuStreamSynchronize, device->gpu.compute);
        return hl_driver_is_lost(&device->gpu.driver) ? HL_STEP_LOST : HL_STEP_FAILED;
    }
    if (!device->brought && device->loaded >= device->plan.weights_end)
        hl_ring_detach(device->ring);
    device->brought = device->loaded >= device->plan.weights_end;
    point_at_results(device, step);
    *logits = device->logits;
    return HL_STEP_DONE;
}

static const char *cuda_describe(const struct hl_device *device)
{
    return device->description;
}

const struct hl_device_interface hl_cuda_device = {.name = "cuda",
                                                   .in_place = false,
                                                   .probe = hl_report_probe,
                                                   .report = hl_report_write,
                                                   .kv_page_bytes = hl_gpu_plan_page_bytes,
                                                   .open = cuda_open,
                                                   .room = cuda_room,
                                                   .full = cuda_full,
                                                   .cancel = cuda_cancel,
                                                   .start = cuda_start,
                                                   .step = cuda_step,
                                                   .describe = cuda_describe,
                                                   .close = cuda_close};
