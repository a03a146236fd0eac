/* Every core has a worker, which runs blocks one after another. The threads of a block are coroutines. Those of a warp
 * run until each has come to a meeting; then the worker does what they have met for, and they go on.
 *
 *   worker       run_block -> run_warp --.                                  .-- all are there -> hl_fiber_operate -> ...
 *   coroutines                           `-> lane -> lane -> ... -> lane --´
 *
 * A coroutine runs a thread to its end and then takes the next one that has not begun. So a warp without meetings needs
 * one stack and no switches, and a block needs as many stacks as it has threads under way. */
#include "kernels/cuda/machine/fiber.h"
#include "base/sizes.h"
#include "base/team.h"
#include "kernels/cuda/machine/coroutine.h"
#include "kernels/cuda/machine/fiber_lanes.h"
#include "kernels/cuda/machine/record.h"
#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_THREADS 1024u
#define MOST_ARRAYS 512u /* in all kernels together */
#define MOST_CORES 16u   /* the stacks of more would be too many mappings for Linux */
#define FEW 512u         /* so few threads are done before another core wakes up */

struct hl_fiber_runner {
    struct hl_coroutine coroutine;
    struct hl_fiber_runner *next_free, *next; /* in the worker's lists */
};

/* A SHARED array of the block that a worker runs. */
struct shared {
    void *memory;   /* NULL at first */
    uint64_t block; /* that last came to it */
};

/* A kernel over all blocks. */
struct launch {
    const struct hl_fiber_kernel *kernel;
    const void *arguments;
    struct hl_cuda_grid grid;
    uint64_t blocks, number; /* number: of the launch, from 1 */
    uint32_t seed;
    _Atomic uint64_t taken; /* blocks so far */
};

struct worker {
    struct launch *launch;
    struct hl_coroutine own; /* the stack that it was called on */
    struct hl_fiber_runner *free, *all;
    uint32_t n_runners;
    uint64_t block_number, dice; /* the number is unlike that of any other block of this process */
    struct hl_fiber fibers[MOST_THREADS];
    struct shared shared[MOST_ARRAYS];
    /* The warp under way. */
    struct hl_fiber *lanes;
    uint32_t n_lanes, left, step;      /* left: to come to the meeting; step: from lane to lane */
    enum hl_fiber_operation operation; /* that the first one has come to */
};

_Thread_local struct hl_fiber *hl_fiber_current HL_FIBER_TLS;
static _Thread_local struct worker *worker HL_FIBER_TLS;

void hl_fiber_fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const struct hl_fiber *self = hl_fiber_current;
    fflush(stdout);
    flockfile(stderr);
    fprintf(stderr, "%s, block %u,%u,%u, thread %u: ", worker->launch->kernel->name, self->block[0], self->block[1],
            self->block[2], self->thread);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    abort();
}

/* Arrays are numbered in the order in which threads come to them first. */
static uint32_t array_number(struct hl_fiber_array *array)
{
    static pthread_mutex_t numbers = PTHREAD_MUTEX_INITIALIZER;
    static uint32_t last;
    pthread_mutex_lock(&numbers);
    if (!array->number)
        array->number = ++last;
    pthread_mutex_unlock(&numbers);
    if (array->number > MOST_ARRAYS)
        hl_fiber_fail("the emulation knows %u arrays of shared memory", MOST_ARRAYS);
    return array->number;
}

void *hl_fiber_share(struct hl_fiber_array *array, size_t bytes)
{
    uint32_t number = array->number;
    if (!number)
        number = array_number(array);
    struct shared *shared = &worker->shared[number - 1];
    if (shared->block == worker->block_number)
        return shared->memory;
    if (!shared->memory && !(shared->memory = malloc(bytes)))
        hl_fiber_fail("no memory for %zu bytes of shared memory", bytes);
    shared->block = worker->block_number;
    return memset(shared->memory, 0xff, bytes);
}

static uint32_t roll(struct worker *w)
{
    w->dice ^= w->dice << 13;
    w->dice ^= w->dice >> 7;
    w->dice ^= w->dice << 17;
    return (uint32_t)(w->dice >> 32);
}

/* Lane after lane, in steps of an odd number, which come to each of 32. Returns NULL after the last. */
static struct hl_fiber *next_lane(struct worker *w, uint32_t lane)
{
    if (w->left == 0)
        return NULL;
    do
        lane = (lane + w->step) % 32;
    while (lane >= w->n_lanes);
    return &w->lanes[lane];
}

/* Notes that the current thread is at a meeting. Returns who runs next, or NULL for the worker. */
static struct hl_fiber *arrive(struct worker *w, enum hl_fiber_operation operation)
{
    struct hl_fiber *self = hl_fiber_current;
    if (w->left == w->n_lanes)
        w->operation = operation;
    else if (w->operation != operation)
        hl_fiber_fail("it is at %s, another lane of its warp at %s", hl_fiber_operation_name(operation),
                      hl_fiber_operation_name(w->operation));
    w->left--;
    return next_lane(w, self->thread % 32);
}

static void run_threads(void);

static struct hl_fiber_runner *take_runner(struct worker *w)
{
    struct hl_fiber_runner *runner = w->free;
    if (runner) {
        w->free = runner->next_free;
        return runner;
    }
    runner = calloc(1, sizeof *runner);
    if (!runner) {
        perror("no memory for an emulated thread");
        abort();
    }
    hl_coroutine_open(&runner->coroutine, run_threads, w->n_runners++);
    runner->next = w->all;
    w->all = runner;
    return runner;
}

/* Makes `next` the current thread and returns the coroutine that has it, or the worker's for NULL. */
static struct hl_coroutine *make_current(struct worker *w, struct hl_fiber *next)
{
    if (!next)
        return &w->own;
    if (!next->runner)
        next->runner = take_runner(w);
    hl_fiber_current = next;
    return &next->runner->coroutine;
}

void hl_fiber_meet(enum hl_fiber_operation operation)
{
    struct worker *w = worker;
    struct hl_coroutine *own = &hl_fiber_current->runner->coroutine;
    struct hl_coroutine *to = make_current(w, arrive(w, operation));
    if (to != own)
        hl_coroutine_switch(own, to);
}

uint32_t hl_fiber_exchange(uint32_t value, uint32_t mask)
{
    struct hl_fiber *self = hl_fiber_self();
    self->value = value;
    self->mask = mask;
    hl_fiber_meet(HL_FIBER_EXCHANGE);
    return self->value;
}

/* The body of every coroutine: runs the current thread, then the next one that has not begun. */
static void run_threads(void)
{
    struct worker *w = worker;
    for (;;) {
        w->launch->kernel->call(w->launch->arguments);
        struct hl_fiber_runner *runner = hl_fiber_current->runner;
        struct hl_fiber *next = arrive(w, HL_FIBER_ENDED);
        if (next && !next->runner) {
            next->runner = runner;
            hl_fiber_current = next;
            continue;
        }
        runner->next_free = w->free;
        w->free = runner;
        hl_coroutine_switch(&runner->coroutine, make_current(w, next));
    }
}

/* Runs a warp until it stands at the barrier or has ended. */
static enum hl_fiber_operation run_warp(struct worker *w, uint32_t first, uint32_t threads)
{
    w->lanes = &w->fibers[first];
    w->n_lanes = hl_min_u32(threads - first, 32);
    for (;;) {
        uint32_t dice = roll(w);
        w->step = dice | 1;
        w->left = w->n_lanes;
        hl_coroutine_switch(&w->own, make_current(w, next_lane(w, dice >> 8)));
        if (w->operation == HL_FIBER_BARRIER || w->operation == HL_FIBER_ENDED)
            return w->operation;
        if (w->n_lanes != 32)
            hl_fiber_fail("%s in a warp of %u lanes", hl_fiber_operation_name(w->operation), w->n_lanes);
        hl_fiber_operate(w->operation, w->lanes);
    }
}

/* Runs all warps, from any of them on, up or down. Returns true once they have ended. */
static bool run_to_barrier(struct worker *w, uint32_t threads)
{
    assert(threads > 0);
    uint32_t warps = (threads + 31) / 32, first = roll(w) % warps, step = roll(w) % 2 ? 1 : warps - 1, ended = 0;
    for (uint32_t i = 0; i < warps; i++)
        ended += run_warp(w, (first + i * step) % warps * 32, threads) == HL_FIBER_ENDED;
    if (ended && ended != warps)
        hl_fiber_fail("%u warps have ended, others wait at a barrier", ended);
    return ended;
}

static void run_block(struct worker *w, uint64_t index)
{
    const struct launch *launch = w->launch;
    const uint64_t x = launch->grid.x, y = launch->grid.y;
    w->block_number = launch->number << 40 | (index + 1);
    w->dice = (index + 1) * 0x9e3779b97f4a7c15u ^ launch->seed;
    w->dice += !w->dice;
    roll(w);
    for (uint32_t i = 0; i < launch->kernel->threads; i++) {
        struct hl_fiber *fiber = &w->fibers[i];
        fiber->thread = i;
        fiber->block[0] = (uint32_t)(index % x);
        fiber->block[1] = (uint32_t)(index / x % y);
        fiber->block[2] = (uint32_t)(index / x / y);
        fiber->runner = NULL;
    }
    while (!run_to_barrier(w, launch->kernel->threads))
        ;
}

static pthread_key_t worker_key;

static void close_worker(void *context)
{
    struct worker *w = context;
    while (w->all) {
        struct hl_fiber_runner *runner = w->all;
        w->all = runner->next;
        hl_coroutine_close(&runner->coroutine);
        free(runner);
    }
    for (uint32_t i = 0; i < MOST_ARRAYS; i++)
        free(w->shared[i].memory);
    free(w);
}

static void make_key(void)
{
    pthread_key_create(&worker_key, close_worker);
}

/* Every thread that runs blocks has a worker of its own. Its coroutines never move to another thread, which a compiler
 * that keeps addresses of thread-local variables would not notice. */
static struct worker *open_worker(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    struct worker *w = pthread_getspecific(worker_key);
    if (w)
        return w;
    w = calloc(1, sizeof *w);
    if (!w || pthread_setspecific(worker_key, w)) {
        perror("no memory for an emulated block");
        abort();
    }
    return w;
}

static void run_share(void *context, struct hl_team *team, struct hl_share share)
{
    (void)team;
    (void)share;
    struct launch *launch = context;
    worker = open_worker();
    worker->launch = launch;
    for (uint64_t i; (i = atomic_fetch_add(&launch->taken, 1)) < launch->blocks;)
        run_block(worker, launch->seed % 2 ? launch->blocks - 1 - i : i);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hl_team *cores; /* NULL before the first launch */
static uint32_t wanted_cores;

/* After fork() the threads are missing in the child. */
static void forget_team(void)
{
    pthread_mutex_init(&mutex, NULL);
    cores = NULL;
}

static void open_team(void)
{
    static bool watches;
    struct hl_error err;
    uint32_t n = wanted_cores ? wanted_cores : hl_team_cores();
    if (!watches && pthread_atfork(NULL, NULL, forget_team) == 0)
        watches = true;
    if (hl_team_open(hl_min_u32(n, MOST_CORES), &cores, &err)) {
        fprintf(stderr, "the emulation cannot start: %s\n", err.message);
        abort();
    }
}

void hl_fiber_cores(uint32_t n)
{
    pthread_mutex_lock(&mutex);
    hl_team_close(cores);
    cores = NULL;
    wanted_cores = n;
    pthread_mutex_unlock(&mutex);
}

void hl_fiber_region(void *memory, size_t bytes)
{
    hl_record_region(memory, bytes);
}

void hl_fiber_forget_regions(void)
{
    hl_record_forget();
}

extern const struct hl_fiber_kernel __start_hl_fiber_kernels[] __attribute__((visibility("hidden"))),
    __stop_hl_fiber_kernels[] __attribute__((visibility("hidden")));

const struct hl_fiber_kernel *hl_fiber_find(const char *name)
{
    for (const struct hl_fiber_kernel *kernel = __start_hl_fiber_kernels; kernel != __stop_hl_fiber_kernels; kernel++)
        if (strcmp(kernel->name, name) == 0)
            return kernel;
    return NULL;
}

void hl_fiber_launch(const struct hl_fiber_kernel *kernel, const void *arguments, struct hl_cuda_grid grid,
                     uint32_t seed)
{
    static uint64_t number;
    pthread_mutex_lock(&mutex);
    number++;
    struct launch launch = {.kernel = kernel,
                            .arguments = arguments,
                            .grid = grid,
                            .blocks = (uint64_t)grid.x * grid.y * grid.z,
                            .number = number,
                            .seed = seed};
    if (!cores)
        open_team();
    hl_record_begin();
    if (launch.blocks == 1 || launch.blocks * kernel->threads <= FEW)
        run_share(&launch, NULL, (struct hl_share){0, 1});
    else
        hl_team_run(cores, run_share, &launch);
    hl_record_end(kernel->name, arguments, kernel->bytes, grid, kernel->threads);
    pthread_mutex_unlock(&mutex);
}
