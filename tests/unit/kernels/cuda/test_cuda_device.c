/* The host side of the GPU, on the emulated driver (tests/cuda): a small transformer must give the CPU's numbers, and
 * every failure of the driver a message, without leaks or hanging. Each case is a process of its own, since the driver
 * reads its settings once. */
#include "base/sizes.h"
#include "hotlayer/half.h"
#include "hotlayer/layout.h"
#include "kernels/cuda/driver.h"
#include "kernels/device.h"
#include "tests/unit/check.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDTH 64u
#define HEADS 4u
#define HEAD_DIM 16u
#define HIDDEN 96u
#define VOCABULARY 150u
#define MOST_TOKENS 40u
#define RUNS 3u
#define RUN_PAGES 4u
#define WEIGHT_BYTES (1u << 20)

enum { X, Y, QKV, ATTENDED, MLP, ANGLES, PICKED, LOGITS, N_BUFFERS };
enum { TABLE, FREQUENCIES, NORM, QKV_WEIGHT, QKV_BIAS, OUT_WEIGHT, UP_WEIGHT, DOWN_WEIGHT, N_TENSORS };
#define KV_HEADS 2u
#define QKV_COLS ((HEADS + 2 * KV_HEADS) * HEAD_DIM)

static const struct hl_buffer buffers[N_BUFFERS] = {
    [X] = {WIDTH, HL_DOMAIN_TOKENS},        [Y] = {WIDTH, HL_DOMAIN_TOKENS},
    [QKV] = {QKV_COLS, HL_DOMAIN_TOKENS},   [ATTENDED] = {HEADS * HEAD_DIM, HL_DOMAIN_TOKENS},
    [MLP] = {2 * HIDDEN, HL_DOMAIN_TOKENS}, [ANGLES] = {HEAD_DIM, HL_DOMAIN_TOKENS},
    [PICKED] = {WIDTH, HL_DOMAIN_OUTPUTS},  [LOGITS] = {VOCABULARY, HL_DOMAIN_OUTPUTS},
};
static const struct hl_kv kvs[] = {{KV_HEADS, HEAD_DIM}};
static const struct hl_op ops[] = {
    {HL_OP_ANGLES, .angles = {{ANGLES, 0}, FREQUENCIES}},
    {HL_OP_GATHER, .gather = {{X, 0}, TABLE, 2}},
    {HL_OP_NORM, .norm = {{Y, 0}, {X, 0}, NORM, 1, WIDTH, 1e-5f}},
    {HL_OP_LINEAR, .linear = {{QKV, 0}, {Y, 0}, QKV_WEIGHT, QKV_BIAS}},
    {HL_OP_ROPE, .rope = {{QKV, 0}, {ANGLES, 0}, HEADS, HEAD_DIM, HEAD_DIM}},
    {HL_OP_ROPE, .rope = {{QKV, HEADS *HEAD_DIM}, {ANGLES, 0}, KV_HEADS, HEAD_DIM, HEAD_DIM}},
    {HL_OP_KV_WRITE, .kv_write = {{QKV, HEADS *HEAD_DIM}, {QKV, (HEADS + KV_HEADS) * HEAD_DIM}, 0}},
    {HL_OP_ATTEND, .attend = {{ATTENDED, 0}, {QKV, 0}, 0, HEADS, 0, 0.25f, 20}},
    {HL_OP_LINEAR, .linear = {{Y, 0}, {ATTENDED, 0}, OUT_WEIGHT, HL_NONE}},
    {HL_OP_ADD, .add = {{X, 0}, {Y, 0}, WIDTH}},
    {HL_OP_LINEAR, .linear = {{MLP, 0}, {X, 0}, UP_WEIGHT, HL_NONE}},
    {HL_OP_GATE, .gate = {{MLP, 0}, {MLP, 0}, {MLP, HIDDEN}, HIDDEN, HL_ACTIVATION_SILU}},
    {HL_OP_LINEAR, .linear = {{Y, 0}, {MLP, 0}, DOWN_WEIGHT, HL_NONE}},
    {HL_OP_ADD, .add = {{X, 0}, {Y, 0}, WIDTH}},
    {HL_OP_PICK, .pick = {{PICKED, 0}, {X, 0}, WIDTH}},
    {HL_OP_LINEAR, .linear = {{LOGITS, 0}, {PICKED, 0}, TABLE, HL_NONE}},
    {HL_OP_SOFTCAP, .softcap = {{LOGITS, 0}, VOCABULARY, 30}},
};
static const struct hl_program head = {N_BUFFERS, 1, HL_COUNT(ops), VOCABULARY, 256, LOGITS, {0}};

/* The table comes last, as the packer puts a tied one, so that the first step gathers before it is there. */
static struct hl_tensor tensors[N_TENSORS] = {
    [FREQUENCIES] = {.name = "frequencies", .type = HL_TYPE_VECTOR, .rows = 1, .cols = HEAD_DIM / 2},
    [NORM] = {.name = "norm", .type = HL_TYPE_VECTOR, .rows = 1, .cols = WIDTH},
    [QKV_WEIGHT] = {.name = "qkv", .type = HL_TYPE_TILE_F32, .rows = QKV_COLS, .cols = WIDTH},
    [QKV_BIAS] = {.name = "bias", .type = HL_TYPE_VECTOR, .rows = 1, .cols = QKV_COLS},
    [OUT_WEIGHT] = {.name = "out", .type = HL_TYPE_TILE_F16, .rows = WIDTH, .cols = HEADS * HEAD_DIM},
    [UP_WEIGHT] = {.name = "up", .type = HL_TYPE_TILE_F32, .rows = 2 * HIDDEN, .cols = WIDTH},
    [DOWN_WEIGHT] = {.name = "down", .type = HL_TYPE_TILE_F16, .rows = WIDTH, .cols = HIDDEN},
    [TABLE] = {.name = "table", .type = HL_TYPE_TILE_F16, .rows = VOCABULARY, .cols = WIDTH},
};

static uint8_t *weights;
static uint64_t weight_bytes;

static void fill_tensor(struct dice *dice, struct hl_tensor *t)
{
    hl_tensor_bytes(t->type, t->rows, t->cols, &t->bytes);
    t->offset = weight_bytes;
    weight_bytes = hl_round_up(t->offset + t->bytes, HL_PAGE_BYTES);
    if (weight_bytes > WEIGHT_BYTES)
        abort();
    for (uint64_t at = t->offset; at < t->offset + t->bytes; at += 4) {
        const float value = dice_float(dice, 0.4f);
        const uint16_t halves[2] = {hl_f32_to_f16(dice_float(dice, 0.4f)), hl_f32_to_f16(dice_float(dice, 0.4f))};
        if (t->type == HL_TYPE_TILE_F16)
            memcpy(weights + at, halves, sizeof halves);
        else
            memcpy(weights + at, &value, sizeof value);
    }
}

static void make_model(void)
{
    struct dice dice = {5};
    weights = aligned_alloc(HL_PAGE_BYTES, WEIGHT_BYTES);
    if (!weights)
        abort();
    memset(weights, 0, WEIGHT_BYTES);
    for (uint32_t i = 1; i <= N_TENSORS; i++)
        fill_tensor(&dice, &tensors[i % N_TENSORS]);
}

/* ---- loading, as the engine does it, in pieces of 64 KiB ---- */

#define PIECE (64u << 10)

struct load {
    const struct hl_device_interface *interface;
    struct hl_device *device;
    pthread_mutex_t mutex;
    pthread_cond_t progress;
    uint64_t here;
    bool failed;
    struct hl_error err;
    pthread_t thread;
};

static int bring(struct load *load, uint64_t offset, struct hl_error *err)
{
    uint32_t bytes = weight_bytes - offset < PIECE ? (uint32_t)(weight_bytes - offset) : PIECE;
    uint8_t *to;
    if (load->interface->room(load->device, offset, bytes, &to, err) < 0)
        return -1;
    if (!to)
        return 0;
    memcpy(to, weights + offset, bytes);
    return load->interface->full(load->device, offset, bytes, to, err);
}

static void *read_weights(void *argument)
{
    struct load *load = argument;
    for (uint64_t offset = 0; offset < weight_bytes; offset += PIECE) {
        struct hl_error err;
        int result = bring(load, offset, &err);
        pthread_mutex_lock(&load->mutex);
        load->here = offset + PIECE;
        load->failed = result < 0;
        if (result < 0)
            load->err = err;
        pthread_cond_broadcast(&load->progress);
        pthread_mutex_unlock(&load->mutex);
        if (result < 0)
            break;
    }
    return NULL;
}

static int wait_for(void *context, uint64_t end, struct hl_error *err)
{
    struct load *load = context;
    pthread_mutex_lock(&load->mutex);
    while (!load->failed && load->here < end)
        pthread_cond_wait(&load->progress, &load->mutex);
    bool failed = load->failed;
    if (failed)
        *err = load->err;
    pthread_mutex_unlock(&load->mutex);
    return failed ? -1 : 0;
}

static struct hl_device_config config_for(struct load *load, enum hl_kv_type kv_type)
{
    return (struct hl_device_config){.program = {&head, buffers, kvs, ops, tensors, N_TENSORS},
                                     .weight_bytes = weight_bytes,
                                     .weights = weights,
                                     .in_place = load == NULL,
                                     .wait = wait_for,
                                     .wait_context = load,
                                     .max_tokens = MOST_TOKENS,
                                     .max_outputs = RUNS,
                                     .max_runs = RUNS,
                                     .run_pages = RUN_PAGES,
                                     .kv_pages = RUNS * RUN_PAGES,
                                     .kv_pages_least = RUN_PAGES,
                                     .kv_type = kv_type,
                                     .threads = 1};
}

/* ---- steps ---- */

#define STEPS 4u

/* What a step gave: whole rows, or the best. */
struct result {
    uint32_t n[RUNS];
    float log_sum[RUNS];
    int32_t tokens[RUNS][VOCABULARY];
    float logits[RUNS][VOCABULARY];
};

static const uint32_t pages[RUNS][RUN_PAGES] = {{5, 2, 9, 0}, {1, 11, 3, 4}, {7, 6, 8, 10}};

static void keep(const struct hl_logits *from, uint32_t n, struct result *to)
{
    memset(to, 0, sizeof *to);
    for (uint32_t i = 0; i < n; i++) {
        to->n[i] = from[i].row ? VOCABULARY : from[i].n;
        to->log_sum[i] = from[i].row ? 0 : from[i].log_sum;
        memcpy(to->logits[i], from[i].row ? from[i].row : from[i].logits, to->n[i] * sizeof(float));
        if (!from[i].row)
            memcpy(to->tokens[i], from[i].tokens, to->n[i] * sizeof(int32_t));
    }
}

/* Prompts of 33, 2 and 1 tokens, whose logits are wanted in every way; 38 more of the first; one of each, with no
 * outputs; one of each. */
static int run_step(const struct hl_device_interface *interface, struct hl_device *device, uint32_t number,
                    struct result *result, struct hl_error *err)
{
    static const uint32_t counts[STEPS][RUNS] = {{33, 2, 1}, {38, 0, 0}, {1, 1, 1}, {1, 1, 1}};
    static const struct hl_adjustment adjustments[] = {{3, 1.5f, -1}, {149, 1, 2}, {0, 2, 0}};
    static const uint32_t allowed[] = {0xffffffff, 0, 0xf0f0f0f0, 1, 0x3fffff};
    const struct hl_want ways[] = {{.best = 20, .adjustments = adjustments, .n_adjustments = 3, .log_sum = true},
                                   {.best = 0},
                                   {.best = 60, .adjustments = adjustments, .n_adjustments = 1, .allowed = allowed}};
    int32_t tokens[MOST_TOKENS];
    struct hl_run runs[RUNS];
    struct hl_want wants[RUNS];
    struct hl_step step = {.tokens = tokens, .runs = runs, .wants = wants};
    for (uint32_t r = 0; r < RUNS; r++) {
        uint32_t position = 0;
        for (uint32_t before = 0; before < number; before++)
            position += counts[before][r];
        if (counts[number][r] == 0)
            continue;
        for (uint32_t i = 0; i < counts[number][r]; i++)
            tokens[step.n_tokens++] = (int32_t)((r * 31 + number * 17 + i * 7) % VOCABULARY);
        runs[step.n_runs++] = (struct hl_run){counts[number][r], position, pages[r], RUN_PAGES};
        wants[step.n_outputs] = ways[(r + number) % 3];
        wants[step.n_outputs++].token = step.n_tokens - 1;
    }
    if (number == 2)
        step.n_outputs = 0;
    const struct hl_logits *logits;
    int code = interface->step(device, &step, &logits, err);
    if (code == HL_STEP_DONE)
        keep(logits, step.n_outputs, result);
    return code;
}

static void run_on_cpu(enum hl_kv_type kv_type, struct result results[STEPS])
{
    const struct hl_device_config config = config_for(NULL, kv_type);
    struct hl_device *device;
    struct hl_device_limits limits;
    struct hl_error err;
    if (!CHECK_OK(hl_cpu_device.open(&config, &device, &err), err) ||
        !CHECK_OK(hl_cpu_device.start(device, &limits, &err), err))
        exit(check_summary());
    for (uint32_t i = 0; i < STEPS; i++)
        CHECK_OK(run_step(&hl_cpu_device, device, i, &results[i], &err), err);
    hl_cpu_device.close(device);
}

/* Opens, loads, computes and closes; ends where something fails, with the code of the step. */
static int run_on_gpu(enum hl_kv_type kv_type, struct result results[STEPS], struct hl_error *err)
{
    struct load load = {
        .interface = &hl_cuda_device, .mutex = PTHREAD_MUTEX_INITIALIZER, .progress = PTHREAD_COND_INITIALIZER};
    const struct hl_device_config config = config_for(&load, kv_type);
    struct hl_device_limits limits;
    if (hl_cuda_device.open(&config, &load.device, err) < 0)
        return -1;
    pthread_create(&load.thread, NULL, read_weights, &load);
    int result = hl_cuda_device.start(load.device, &limits, err);
    if (result == 0)
        CHECK(limits.kv_pages == RUNS * RUN_PAGES && limits.bytes_used > 0);
    for (uint32_t i = 0; result == 0 && i < STEPS; i++)
        result = run_step(&hl_cuda_device, load.device, i, &results[i], err);
    hl_cuda_device.cancel(load.device);
    pthread_join(load.thread, NULL);
    hl_cuda_device.close(load.device);
    return result;
}

static void compare(const struct result *want, const struct result *got, uint32_t number)
{
    for (uint32_t r = 0; r < RUNS; r++) {
        CHECK_SAY(want->n[r] == got->n[r], "step %u, output %u: %u instead of %u", number, r, got->n[r], want->n[r]);
        CHECK_SAY(fabsf(want->log_sum[r] - got->log_sum[r]) < 1e-3f, "step %u, output %u: log of sum %g instead of %g",
                  number, r, (double)got->log_sum[r], (double)want->log_sum[r]);
        for (uint32_t i = 0; i < want->n[r]; i++) {
            CHECK_SAY(fabsf(want->logits[r][i] - got->logits[r][i]) < 1e-3f * (1 + fabsf(want->logits[r][0])),
                      "step %u, output %u, logit %u: %g instead of %g", number, r, i, (double)got->logits[r][i],
                      (double)want->logits[r][i]);
            CHECK(want->tokens[r][i] == got->tokens[r][i] || /* two that are almost equal */
                  (i + 1 < want->n[r] && fabsf(want->logits[r][i] - want->logits[r][i + 1]) < 1e-3f) ||
                  (i > 0 && fabsf(want->logits[r][i] - want->logits[r][i - 1]) < 1e-3f));
        }
    }
}

/* ---- cases, each in a process ---- */

/* ThreadSanitizer would let each of the hundreds of processes sleep for a second at its end. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}

enum outcome { WORKED = 0, WRONG = 1, REFUSED = 10, LOST = 11 };

/* What a process says in the pipe when it ends. */
struct answer {
    int outcome; /* of the process */
    char text[1024];
};

/* Runs a case in a process, in which `set` ("NAME=value", ends with NULL) is in the environment. */
static struct answer in_process(int (*run)(struct hl_error *err), const char *const *set)
{
    struct answer answer = {.outcome = -1};
    int ends[2], status = 0;
    if (pipe(ends) < 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct hl_error err = {.message = ""};
        alarm(60);
        check_failed = 0;
        for (; *set; set++)
            putenv((char *)(uintptr_t)*set);
        int outcome = run(&err);
        if (write(ends[1], err.message, sizeof answer.text) < 0 || check_failed)
            outcome = WRONG;
        free(weights);
        exit(outcome);
    }
    close(ends[1]);
    if (read(ends[0], answer.text, sizeof answer.text) < 0)
        answer.text[0] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    answer.outcome = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return answer;
}

static int compute(struct hl_error *err)
{
    static struct result want[STEPS], got[STEPS];
    for (int type = HL_KV_F32; type <= HL_KV_Q8; type++) {
        run_on_cpu((enum hl_kv_type)type, want);
        int code = run_on_gpu((enum hl_kv_type)type, got, err);
        if (code != HL_STEP_DONE)
            return code == HL_STEP_LOST ? LOST : REFUSED;
        for (uint32_t i = 0; i < STEPS; i++)
            compare(&want[i], &got[i], i);
    }
    return WORKED;
}

static int compute_once(struct hl_error *err)
{
    static struct result got[STEPS];
    int code = run_on_gpu(HL_KV_F16, got, err);
    return code == HL_STEP_DONE ? WORKED : code == HL_STEP_LOST ? LOST : REFUSED;
}

/* Closes while the thread opens the GPU; then while a reader waits for a slot. */
static int close_early(struct hl_error *err)
{
    for (int readers = 0; readers < 2; readers++) {
        struct load load = {
            .interface = &hl_cuda_device, .mutex = PTHREAD_MUTEX_INITIALIZER, .progress = PTHREAD_COND_INITIALIZER};
        const struct hl_device_config config = config_for(&load, HL_KV_F16);
        if (hl_cuda_device.open(&config, &load.device, err) < 0)
            return WRONG;
        if (readers)
            pthread_create(&load.thread, NULL, read_weights, &load);
        hl_cuda_device.cancel(load.device);
        if (readers)
            pthread_join(load.thread, NULL);
        hl_cuda_device.close(load.device);
    }
    return WORKED;
}

/* Only starts; says how many pages there are. */
static int start_only(struct hl_error *err)
{
    struct load load = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct hl_device_config config = config_for(&load, HL_KV_F16);
    struct hl_device_limits limits = {.kv_pages = 0};
    if (hl_cuda_device.open(&config, &load.device, err) < 0)
        return WRONG;
    int result = hl_cuda_device.start(load.device, &limits, err);
    hl_cuda_device.close(load.device);
    if (result == 0)
        hl_fail(err, "%u pages", limits.kv_pages);
    return result == 0 ? WORKED : REFUSED;
}

/* A step that fails leaves the device as it was: done again, it works. */
static int compute_again(struct hl_error *err)
{
    static struct result want[STEPS], got[STEPS];
    struct load load = {
        .interface = &hl_cuda_device, .mutex = PTHREAD_MUTEX_INITIALIZER, .progress = PTHREAD_COND_INITIALIZER};
    const struct hl_device_config config = config_for(&load, HL_KV_F32);
    struct hl_device_limits limits;
    run_on_cpu(HL_KV_F32, want);
    if (hl_cuda_device.open(&config, &load.device, err) < 0)
        return WRONG;
    read_weights(&load);
    int failures = hl_cuda_device.start(load.device, &limits, err) < 0 ? -1 : 0;
    for (uint32_t i = 0; failures >= 0 && !load.failed && i < STEPS; i++) {
        int code = run_step(&hl_cuda_device, load.device, i, &got[i], err);
        failures += code == HL_STEP_FAILED;
        if (code == HL_STEP_FAILED)
            code = run_step(&hl_cuda_device, load.device, i, &got[i], err);
        CHECK_SAY(code == HL_STEP_DONE, "step %u: %s", i, err->message);
        compare(&want[i], &got[i], i);
    }
    hl_cuda_device.cancel(load.device);
    hl_cuda_device.close(load.device);
    return failures == 0 && !load.failed ? WORKED : REFUSED;
}

static int report(struct hl_error *err)
{
    bool works = hl_cuda_device.report(err->message, sizeof err->message);
    return works && hl_cuda_device.probe(0, err) == 0 ? WORKED : REFUSED;
}

/* ---- tests ---- */

static const char *const strict[] = {"FAKE_CUDA_STRICT=1", NULL};

static void test_numbers(void)
{
    struct answer a = in_process(compute, strict);
    CHECK_SAY(a.outcome == WORKED, "outcome %d: %s", a.outcome, a.text);
    a = in_process(close_early, strict);
    CHECK_SAY(a.outcome == WORKED, "outcome %d: %s", a.outcome, a.text);
    a = in_process(report, strict);
    CHECK_SAY(a.outcome == WORKED && strstr(a.text, "driver for CUDA 12.2"), "outcome %d: %s", a.outcome, a.text);
}

/* Returns how many calls of a run can fail. */
static unsigned count_calls(void)
{
    char path[] = "/tmp/hotlayer-calls-XXXXXX", setting[64];
    int file = mkstemp(path);
    unsigned n = 0;
    snprintf(setting, sizeof setting, "FAKE_CUDA_COUNT=%s", path);
    const char *const set[] = {"FAKE_CUDA_STRICT=1", setting, NULL};
    struct answer a = in_process(compute_once, set);
    CHECK_SAY(a.outcome == WORKED, "outcome %d: %s", a.outcome, a.text);
    FILE *from = fdopen(file, "r");
    CHECK(from && fscanf(from, "%u", &n) == 1);
    if (from)
        fclose(from);
    unlink(path);
    return n;
}

/* A failure is told, unless the call is one that may fail, such as those of closing. */
static void test_failures(unsigned n, int code, const char *name, unsigned most_ignored)
{
    unsigned ignored = 0;
    char which[48], what[48];
    snprintf(what, sizeof what, "FAKE_CUDA_FAIL_CODE=%d", code);
    for (unsigned i = 1; i <= n; i++) {
        snprintf(which, sizeof which, "FAKE_CUDA_FAIL=%u", i);
        const char *const set[] = {"FAKE_CUDA_STRICT=1", which, what, NULL};
        struct answer a = in_process(compute_once, set);
        const bool told = (a.outcome == REFUSED || a.outcome == LOST) && strstr(a.text, name);
        CHECK_SAY(told || a.outcome == WORKED, "call %u fails with %d: outcome %d: %s", i, code, a.outcome, a.text);
        ignored += a.outcome == WORKED;
    }
    CHECK_SAY(ignored <= most_ignored, "%u of %u failures with %d were not told", ignored, n, code);
}

/* Every call of the steps fails in turn, and the step is done again. */
static void test_again(unsigned n)
{
    unsigned failed = 0;
    char which[48];
    for (unsigned i = n / 4; i <= n; i++) {
        snprintf(which, sizeof which, "FAKE_CUDA_FAIL=%u", i);
        const char *const set[] = {"FAKE_CUDA_STRICT=1", which, NULL};
        struct answer a = in_process(compute_again, set);
        CHECK_SAY(a.outcome == WORKED || a.outcome == REFUSED, "call %u fails: outcome %d: %s", i, a.outcome, a.text);
        failed += a.outcome == REFUSED;
    }
    CHECK(failed > n / 2);
}

static struct answer start_with(uint64_t memory)
{
    char setting[64];
    snprintf(setting, sizeof setting, "FAKE_CUDA_MEMORY=%llu", (unsigned long long)memory);
    const char *const set[] = {"FAKE_CUDA_STRICT=1", setting, NULL};
    return in_process(start_only, set);
}

/* Fewer pages than wanted are taken as they are; with too few, the message says what would fit. */
static void test_memory(void)
{
    const struct hl_device_config config = config_for(NULL, HL_KV_F16);
    const uint64_t page = hl_cuda_device.kv_page_bytes(&config.program, HL_KV_F16);
    uint64_t low = 90ull << 20, high = 120ull << 20;
    while (high - low > page / 8) {
        uint64_t middle = (low + high) / 2;
        if (start_with(middle).outcome == WORKED)
            high = middle;
        else
            low = middle;
    }
    struct answer a = start_with(high);
    CHECK_SAY(a.outcome == WORKED && strcmp(a.text, "4 pages") == 0, "%s", a.text);
    a = start_with(high + 3 * page);
    CHECK_SAY(a.outcome == WORKED && strcmp(a.text, "7 pages") == 0, "%s", a.text);
    a = start_with(high + 100 * page);
    CHECK_SAY(a.outcome == WORKED && strcmp(a.text, "12 pages") == 0, "%s", a.text);
    a = start_with(high - page);
    CHECK_SAY(a.outcome == REFUSED && strstr(a.text, "--ctx 192 would fit, or try --kv q8"), "%s", a.text);
    a = start_with(high - 5 * page);
    CHECK_SAY(a.outcome == REFUSED && strstr(a.text, "nothing is left beside the weights"), "%s", a.text);
}

static void test_refusals(void)
{
    static const struct {
        const char *setting;
        int outcome;
        const char *words;
    } cases[] = {
        {"FAKE_CUDA_DEVICES=0", REFUSED, "docker run --gpus all"},
        {"FAKE_CUDA_MEMORY=1024", REFUSED, "memory for the weights"},
        {"FAKE_CUDA_MEMORY=100000000", REFUSED, "--quant"},
        {"HOTLAYER_LIBCUDA=/nowhere/libcuda.so.1", REFUSED, "/nowhere/libcuda.so.1"},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        const char *const set[] = {"FAKE_CUDA_STRICT=1", cases[i].setting, NULL};
        struct answer a = in_process(compute_once, set);
        CHECK_SAY(a.outcome == cases[i].outcome && strstr(a.text, cases[i].words), "%s: outcome %d: %s",
                  cases[i].setting, a.outcome, a.text);
    }
}

/* The emulated driver is beside the unit tests: build/tests/libfakecuda.so. */
static void find_driver(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    path[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 4; up++)
        if (strrchr(path, '/'))
            *strrchr(path, '/') = 0;
    strcat(path, "/libfakecuda.so");
    setenv("HOTLAYER_LIBCUDA", path, 0);
}

int main(void)
{
    find_driver();
    make_model();
    test_numbers();
    test_refusals();
    unsigned n = count_calls();
    CHECK(n > 100);
    test_failures(n, 2, "CUDA_ERROR_OUT_OF_MEMORY", 40);
    test_failures(n, 700, "CUDA_ERROR_ILLEGAL_ADDRESS", 40);
    test_again(n);
    test_memory();
    free(weights);
    return check_summary();
}
