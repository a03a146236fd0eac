/* The emulation: it finds what a GPU would punish, its operations are the ISA's, and results depend on neither the order
 * of threads nor the number of cores. */
#include "base/sizes.h"
#include "kernels/cuda/machine/machine.h"
#include "tests/unit/check.h"
#include "tests/unit/kernels/cuda/apart.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void launch(const char *name, const void *arguments, uint32_t x, uint32_t y, uint32_t z, uint32_t seed)
{
    hl_fiber_launch(hl_fiber_find(name), arguments, (struct hl_cuda_grid){x, y, z}, seed);
}

/* ---- mistakes that end the process ---- */

struct words {
    uint32_t *out;
    const uint32_t *in;
};

KERNEL(test_misaligned, 64, struct words)
{
    uint32_t to[4];
    load16(to, (const uint8_t *)arguments.in + (thread_index() == 37 ? 8 : 0));
    arguments.out[thread_index()] = to[0];
}

KERNEL(test_split_warp, 64, struct words)
{
    float value = 1;
    if (thread_index() == 40)
        block_barrier();
    else
        value = exchange(value, 1);
    arguments.out[thread_index()] = float_bits(value);
}

KERNEL(test_masks, 32, struct words)
{
    arguments.out[thread_index()] = float_bits(exchange(1, thread_index() < 16 ? 1 : 2));
}

KERNEL(test_lane_ends, 32, struct words)
{
    if (thread_index() == 5)
        return;
    arguments.out[thread_index()] = float_bits(exchange(1, 1));
}

KERNEL(test_warp_ends, 96, struct words)
{
    if (thread_index() / 32 == 1)
        return;
    block_barrier();
    arguments.out[thread_index()] = 1;
}

KERNEL(test_small_warp, 40, struct words)
{
    arguments.out[thread_index()] = float_bits(exchange(1, 1));
}

/* Frames of 256 bytes and more: a bit more than a stack and less than its neighbours. A sanitizer's stacks are large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEPTH 4000
#else
#define DEPTH 300
#endif

/* Overflows the stack of a thread, in a way that a compiler does not turn into a loop. */
static uint32_t dig(volatile uint32_t *above, uint32_t depth)
{
    volatile uint32_t here[64];
    here[depth % 64] = above[0] + depth;
    return depth ? dig(here, depth - 1) + here[depth % 64] : here[0];
}

KERNEL(test_deep, 32, struct words)
{
    volatile uint32_t first[64] = {0};
    arguments.out[thread_index()] = dig(first, DEPTH);
}

struct kernel_apart {
    const char *name;
    uint32_t grid;
};

static void launch_apart(const void *context)
{
    static _Alignas(16) uint32_t in[256];
    static uint32_t out[64 * 100];
    const struct kernel_apart *kernel = context;
    const struct words a = {out, in};
    alarm(60);
    launch(kernel->name, &a, kernel->grid, 1, 1, 3);
}

/* Runs a kernel in a process of its own. Returns how that ended, and what it said. */
static int run_kernel_apart(const char *name, uint32_t grid, char *said, size_t room)
{
    return run_apart(launch_apart, &(struct kernel_apart){name, grid}, said, room);
}

static void check_mistakes(void)
{
    static const struct {
        const char *kernel, *who, *what;
    } cases[] = {
        {"test_misaligned", "block 0,0,0, thread 37: ", "a load of 16 bytes that is not aligned"},
        {"test_split_warp", "block 0,0,0, thread ", "another lane of its warp at"},
        {"test_masks", "block 0,0,0, thread ", "different masks"},
        {"test_lane_ends", "block 0,0,0, thread ", "its end"},
        {"test_warp_ends", "block 0,0,0, thread ", "1 warps have ended, others wait at a barrier"},
        {"test_small_warp", "block 0,0,0, thread ", "an exchange in a warp of 8 lanes"},
    };
    char said[4096];
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        int status = run_kernel_apart(cases[i].kernel, 1, said, sizeof said);
        CHECK_SAY(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status %d", cases[i].kernel, status);
        CHECK_SAY(strstr(said, cases[i].kernel) && strstr(said, cases[i].who) && strstr(said, cases[i].what),
                  "%s: '%s'", cases[i].kernel, said);
    }
    int status = run_kernel_apart("test_deep", 1, said, sizeof said);
    CHECK_SAY(status, "an overflow of a stack was not noticed");
    status = run_kernel_apart("test_masks", 100, said, sizeof said); /* from several cores at once */
    CHECK_SAY(WIFSIGNALED(status) && strstr(said, "different masks"), "status %d, '%s'", status, said);
}

/* ---- mistakes that give wrong numbers ---- */

/* Reads shared memory that the block before has written. */
KERNEL(test_stale, 64, struct words)
{
    SHARED(uint32_t, shared, 64);
    arguments.out[64 * block_index() + thread_index()] = shared[thread_index()];
    shared[thread_index()] = thread_index();
}

/* Gives each thread the word of the thread `shift` further, with or without the barrier that this needs. */
struct shift {
    uint32_t *out;
    uint32_t shift, barrier;
};

KERNEL(test_shift, 256, struct shift)
{
    SHARED(uint32_t, shared, 256);
    uint32_t thread = thread_index();
    shared[thread] = thread;
    if (arguments.barrier)
        block_barrier();
    arguments.out[256 * block_index() + thread] = shared[(thread + arguments.shift) % 256];
}

/* Overwrites what others may not have read yet. */
KERNEL(test_overwrite, 256, struct shift)
{
    SHARED(uint32_t, shared, 256);
    uint32_t thread = thread_index(), sum = 0;
    for (uint32_t round = 0; round < 4; round++) {
        shared[thread] = thread;
        block_barrier();
        sum += shared[(thread + arguments.shift) % 256];
        if (arguments.barrier)
            block_barrier();
        shared[thread] = 1000000;
    }
    arguments.out[256 * block_index() + thread] = sum;
}

static void check_poison(void)
{
    uint32_t out[8 * 64];
    const struct words a = {out, NULL};
    for (uint32_t seed = 0; seed < 4; seed++) {
        launch("test_stale", &a, 8, 1, 1, seed);
        for (uint32_t i = 0; i < 8 * 64; i++)
            CHECK(out[i] == UINT32_MAX);
    }
}

/* Returns how many of the words of 16 launches are wrong. Those that come from the other end of the block do not count,
 * nor those from the next warp if it is about lanes: a fixed order of either would get some right and some wrong. */
static uint32_t wrong_words(const char *kernel, int32_t shift, uint32_t barrier, uint32_t times)
{
    uint32_t out[4 * 256], wrong = 0;
    const struct shift a = {out, (uint32_t)(256 + shift), barrier};
    for (uint32_t seed = 0; seed < 16; seed++) {
        launch(kernel, &a, 4, 1, 1, seed);
        for (uint32_t i = 0; i < 4 * 256; i++) {
            int32_t thread = (int32_t)i % 256, from = thread + shift;
            bool counts = abs(shift) < 32 ? from >= 0 && from / 32 == thread / 32 : from >= 0 && from < 256;
            wrong += counts && out[i] != times * (uint32_t)from;
        }
    }
    return wrong;
}

static void check_order(void)
{
    static const int32_t shifts[] = {1, -1, 31, -31, 32, -32, 224, -224}; /* of lanes and warps */
    for (size_t i = 0; i < HL_COUNT(shifts); i++) {
        CHECK(wrong_words("test_shift", shifts[i], 1, 1) == 0);
        CHECK(wrong_words("test_shift", shifts[i], 0, 1) > 0);
        CHECK(wrong_words("test_overwrite", shifts[i], 1, 4) == 0);
        CHECK(wrong_words("test_overwrite", shifts[i], 0, 4) > 0);
    }
}

/* ---- operations ---- */

struct multiply {
    const int8_t *a8, *b8;  /* (16, 32), (32, 8) */
    const float *a16, *b16; /* (16, 16), (16, 8), bf16's numbers */
    int32_t *c8;            /* (16, 8) */
    float *c16;             /* (16, 8) */
    float *other;           /* (32) of exchange() */
};

DEVICE uint32_t bf16_pair(float low, float high)
{
    return float_bits(low) >> 16 | (float_bits(high) & 0xffff0000u);
}

/* The PTX ISA's tables, element by element. */
KERNEL(test_multiply, 32, struct multiply)
{
    uint32_t lane = thread_index(), g = lane / 4, j = lane % 4, a[4] = {0}, b[2] = {0};
    int32_t c[4];
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t row = i < 4 || (i >= 8 && i < 12) ? g : g + 8, col = 4 * j + i % 4 + (i >= 8 ? 16 : 0);
        a[i / 4] |= (uint32_t)(uint8_t)arguments.a8[32 * row + col] << i % 4 * 8;
    }
    for (uint32_t i = 0; i < 8; i++)
        b[i / 4] |= (uint32_t)(uint8_t)arguments.b8[8 * (4 * j + i % 4 + (i >= 4 ? 16 : 0)) + g] << i % 4 * 8;
    for (uint32_t i = 0; i < 4; i++)
        c[i] = arguments.c8[8 * (i < 2 ? g : g + 8) + 2 * j + i % 2];
    mma_s8(c, a, b);
    for (uint32_t i = 0; i < 4; i++)
        arguments.c8[8 * (i < 2 ? g : g + 8) + 2 * j + i % 2] = c[i];

    float f[4];
    for (uint32_t i = 0; i < 8; i += 2) {
        uint32_t row = i < 2 || (i >= 4 && i < 6) ? g : g + 8, col = 2 * j + (i >= 4 ? 8 : 0);
        a[i / 2] = bf16_pair(arguments.a16[16 * row + col], arguments.a16[16 * row + col + 1]);
    }
    for (uint32_t i = 0; i < 4; i += 2) {
        uint32_t row = 2 * j + (i >= 2 ? 8 : 0);
        b[i / 2] = bf16_pair(arguments.b16[8 * row + g], arguments.b16[8 * (row + 1) + g]);
    }
    for (uint32_t i = 0; i < 4; i++)
        f[i] = arguments.c16[8 * (i < 2 ? g : g + 8) + 2 * j + i % 2];
    mma_bf16(f, a, b);
    for (uint32_t i = 0; i < 4; i++)
        arguments.c16[8 * (i < 2 ? g : g + 8) + 2 * j + i % 2] = f[i];
    arguments.other[lane] = exchange((float)lane, 5);
}

static void check_operations(void)
{
    struct dice dice = {7};
    int8_t a8[16 * 32], b8[32 * 8];
    int32_t c8[16 * 8], want8[16 * 8];
    float a16[16 * 16], b16[16 * 8], c16[16 * 8], other[32];
    double want16[16 * 8];
    for (uint32_t i = 0; i < 16 * 32; i++)
        a8[i] = (int8_t)dice_bits(&dice);
    for (uint32_t i = 0; i < 32 * 8; i++)
        b8[i] = (int8_t)dice_bits(&dice);
    for (uint32_t i = 0; i < 16 * 16; i++)
        a16[i] = (float)dice_between(&dice, 0, 255) - 100;
    for (uint32_t i = 0; i < 16 * 8; i++)
        b16[i] = (float)dice_between(&dice, 0, 255) - 100;
    for (uint32_t i = 0; i < 16 * 8; i++) {
        want8[i] = c8[i] = (int32_t)dice_between(&dice, 0, 1000);
        want16[i] = c16[i] = (float)dice_between(&dice, 0, 1000);
        for (uint32_t k = 0; k < 32; k++)
            want8[i] += a8[i / 8 * 32 + k] * b8[k * 8 + i % 8];
        for (uint32_t k = 0; k < 16; k++)
            want16[i] += (double)a16[i / 8 * 16 + k] * (double)b16[k * 8 + i % 8];
    }
    const struct multiply a = {a8, b8, a16, b16, c8, c16, other};
    launch("test_multiply", &a, 1, 1, 1, 1);
    for (uint32_t i = 0; i < 16 * 8; i++) {
        CHECK(c8[i] == want8[i]);
        CHECK((double)c16[i] == want16[i]);
    }
    for (uint32_t i = 0; i < 32; i++)
        CHECK(other[i] == (float)(i ^ 5));
}

/* ---- blocks ---- */

/* Sums its block's numbers in a tree of warps, over three dimensions of blocks. */
struct sum {
    const float *in;
    float *out;
};

KERNEL(test_sum, 200, struct sum)
{
    SHARED(float, part, 8);
    uint32_t thread = thread_index();
    size_t block = block_index() + 7 * (block_index_y() + 5 * (size_t)block_index_z());
    SHARED(float, all, 200);
    all[thread] = arguments.in[200 * block + thread];
    block_barrier();
    if (thread < 32) {
        float sum = 0;
        for (uint32_t i = thread; i < 200; i += 32)
            sum += all[i];
        for (uint32_t mask = 16; mask; mask /= 2)
            sum += exchange(sum, mask);
        if (thread == 0)
            part[0] = sum;
    }
    block_barrier();
    if (thread == 199)
        arguments.out[block] = part[0];
}

#define BLOCKS (7 * 5 * 3)
static float sum_in[200 * BLOCKS];

static void sum_blocks(float *out, uint32_t seed)
{
    const struct sum a = {sum_in, out};
    memset(out, 0xff, BLOCKS * sizeof *out);
    launch("test_sum", &a, 7, 5, 3, seed);
}

static void *sum_often(void *failed)
{
    float want[BLOCKS], got[BLOCKS];
    sum_blocks(want, 1);
    for (uint32_t seed = 0; seed < 10; seed++) {
        sum_blocks(got, seed);
        *(bool *)failed |= memcmp(want, got, sizeof want) != 0;
    }
    return NULL;
}

static void check_cores(void)
{
    struct dice dice = {3};
    float want[BLOCKS], got[BLOCKS];
    for (uint32_t i = 0; i < 200 * BLOCKS; i++)
        sum_in[i] = dice_float(&dice, 1);
    hl_fiber_cores(1);
    sum_blocks(want, 1);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < 200; k++)
            sum += (double)sum_in[200 * i + k];
        CHECK(fabs((double)want[i] - sum) < 1e-4);
    }
    for (uint32_t cores = 1; cores <= 4; cores *= 2) {
        hl_fiber_cores(cores);
        for (uint32_t seed = 0; seed < 6; seed++) {
            sum_blocks(got, seed);
            CHECK(memcmp(want, got, sizeof want) == 0);
        }
    }
    hl_fiber_cores(0);
}

/* A process launches from threads that come and go. */
static void check_threads(void)
{
    for (uint32_t round = 0; round < 2; round++) {
        bool failed[2] = {false};
        pthread_t threads[2];
        for (uint32_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, sum_often, &failed[i]) == 0);
        for (uint32_t i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        CHECK(!failed[0] && !failed[1]);
    }
}

/* The threads of the emulation are missing after fork(). ThreadSanitizer allows no new ones there. */
static void check_fork(void)
{
#if !defined(__SANITIZE_THREAD__)
    char said[256];
    bool failed = false;
    sum_often(&failed);
    CHECK(!failed);
    CHECK(run_kernel_apart("test_stale", 100, said, sizeof said) == 0);
#endif
}

/* ---- the recorder ---- */

static uint32_t take_u32(const uint8_t **at)
{
    uint32_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

/* Reads a launch of test_shift over one block, which changed `out` from zeros. */
static const uint8_t *check_record(const uint8_t *at, const struct shift *a, const uint32_t *unused)
{
    static const uint32_t zeros[256];
    CHECK(memcmp(at, "HLRC", 4) == 0);
    at += 4;
    CHECK(take_u32(&at) == strlen("test_shift") && memcmp(at, "test_shift", 10) == 0);
    at += 10;
    CHECK(take_u32(&at) == 1 && take_u32(&at) == 1 && take_u32(&at) == 1);
    CHECK(take_u32(&at) == 256);
    CHECK(take_u32(&at) == sizeof *a && memcmp(at, a, sizeof *a) == 0);
    at += sizeof *a;
    CHECK(take_u32(&at) == 2);
    uint64_t head[2];
    memcpy(head, at, sizeof head);
    CHECK(head[0] == (uintptr_t)a->out && head[1] == sizeof zeros);
    at += sizeof head;
    CHECK(memcmp(at, zeros, sizeof zeros) == 0 && memcmp(at + sizeof zeros, a->out, sizeof zeros) == 0);
    at += 2 * sizeof zeros;
    memcpy(head, at, sizeof head);
    CHECK(head[0] == (uintptr_t)unused && head[1] == 4);
    return at + sizeof head + 8;
}

static void check_records(void)
{
    char name[] = "/tmp/hl_fiber_XXXXXX";
    uint8_t bytes[8192];
    uint32_t out[256] = {0}, unused = 0;
    const struct shift a = {out, 9, 1};
    int file = mkstemp(name);
    CHECK(file >= 0);
    setenv("HL_FIBER_RECORD", name, 1);
    for (uint32_t i = 0; i < 2; i++) {
        memset(out, 0, sizeof out);
        hl_fiber_region(out, sizeof out);
        hl_fiber_region(&unused, sizeof unused);
        launch("test_shift", &a, 1, 1, 1, 1);
        hl_fiber_forget_regions();
    }
    unsetenv("HL_FIBER_RECORD");
    launch("test_shift", &a, 1, 1, 1, 1);
    ssize_t n = read(file, bytes, sizeof bytes);
    const uint8_t *end = check_record(check_record(bytes, &a, &unused), &a, &unused);
    CHECK(end - bytes == n);
    close(file);
    unlink(name);
}

int main(void)
{
    unsetenv("HL_FIBER_RECORD"); /* mistakes are not for the interpreter */
    check_mistakes();            /* before there are threads */
    check_poison();
    check_order();
    check_operations();
    check_cores();
    check_threads();
    check_fork();
    check_records();
    return check_summary();
}
