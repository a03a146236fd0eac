/* The driver of tests/cuda: work is late, memory is apart, failures come when they are asked for, and mistakes are told.
 * Every case runs in a process of its own. */
#include "base/sizes.h"
#include "kernels/cuda/code/add.h"
#include "tests/unit/check.h"
#include "tests/unit/kernels/cuda/apart.h"
#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUNCTIONS(F)                                                                                                   \
    F(cuInit, (unsigned))                                                                                              \
    F(cuDeviceGetCount, (int *))                                                                                       \
    F(cuDeviceGetAttribute, (int *, int, int))                                                                         \
    F(cuDevicePrimaryCtxRetain, (void **, int))                                                                        \
    F(cuDevicePrimaryCtxRelease_v2, (int))                                                                             \
    F(cuCtxSetCurrent, (void *))                                                                                       \
    F(cuModuleLoadData, (void **, const void *))                                                                       \
    F(cuModuleUnload, (void *))                                                                                        \
    F(cuModuleGetFunction, (void **, void *, const char *))                                                            \
    F(cuMemGetInfo_v2, (size_t *, size_t *))                                                                           \
    F(cuMemAlloc_v2, (uint64_t *, size_t))                                                                             \
    F(cuMemFree_v2, (uint64_t))                                                                                        \
    F(cuMemHostRegister_v2, (void *, size_t, unsigned))                                                                \
    F(cuMemHostUnregister, (void *))                                                                                   \
    F(cuMemHostAlloc, (void **, size_t, unsigned))                                                                     \
    F(cuMemFreeHost, (void *))                                                                                         \
    F(cuStreamCreate, (void **, unsigned))                                                                             \
    F(cuStreamDestroy_v2, (void *))                                                                                    \
    F(cuStreamSynchronize, (void *))                                                                                   \
    F(cuStreamQuery, (void *))                                                                                         \
    F(cuStreamWaitEvent, (void *, void *, unsigned))                                                                   \
    F(cuEventCreate, (void **, unsigned))                                                                              \
    F(cuEventDestroy_v2, (void *))                                                                                     \
    F(cuEventRecord, (void *, void *))                                                                                 \
    F(cuEventQuery, (void *))                                                                                          \
    F(cuEventSynchronize, (void *))                                                                                    \
    F(cuEventElapsedTime, (float *, void *, void *))                                                                   \
    F(cuMemcpyHtoDAsync_v2, (uint64_t, const void *, size_t, void *))                                                  \
    F(cuMemcpyDtoHAsync_v2, (void *, uint64_t, size_t, void *))                                                        \
    F(cuMemcpyDtoDAsync_v2, (uint64_t, uint64_t, size_t, void *))                                                      \
    F(cuMemsetD8Async, (uint64_t, unsigned char, size_t, void *))                                                      \
    F(cuLaunchKernel,                                                                                                  \
      (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))        \
    F(cuGetErrorName, (int, const char **))

#define DECLARE(name, parameters) static int(*name) parameters;
FUNCTIONS(DECLARE)
static const void *all_kernels; /* the module of the library itself */

static void open_library(const char *program)
{
    char path[4096];
    const char *slash = strrchr(program, '/');
    snprintf(path, sizeof path, "%.*s/../../../libfakecuda.so", slash ? (int)(slash - program) : 1,
             slash ? program : ".");
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define FIND(name, parameters)                                                                                         \
    do {                                                                                                               \
        void *symbol = dlsym(library, #name);                                                                          \
        CHECK(symbol);                                                                                                 \
        memcpy(&name, &symbol, sizeof symbol);                                                                         \
    } while (0);
    FUNCTIONS(FIND)
    all_kernels = dlsym(library, "hotlayer_module");
}

/* ---- a session that does it right ---- */

struct session {
    void *context, *module, *add, *stream, *other, *event;
    uint64_t memory;
    float *host; /* registered */
};

#define N 1000u
#define BYTES (N * sizeof(float))

/* Returns the first error. What has been opened by then is left. */
static int open_session(struct session *s)
{
    int code;
    *s = (struct session){0};
    if ((code = cuInit(0)) || (code = cuDevicePrimaryCtxRetain(&s->context, 0)) ||
        (code = cuCtxSetCurrent(s->context)) || (code = cuModuleLoadData(&s->module, all_kernels)) ||
        (code = cuModuleGetFunction(&s->add, s->module, "hl_cuda_add")) || (code = cuStreamCreate(&s->stream, 1)) ||
        (code = cuStreamCreate(&s->other, 1)) || (code = cuEventCreate(&s->event, 2)) ||
        (code = cuMemAlloc_v2(&s->memory, 2 * BYTES)) || (code = cuMemHostAlloc((void **)&s->host, BYTES, 0)))
        return code;
    return 0;
}

static void close_session(const struct session *s)
{
    CHECK(!cuMemFreeHost(s->host) && !cuMemFree_v2(s->memory) && !cuEventDestroy_v2(s->event));
    CHECK(!cuStreamDestroy_v2(s->other) && !cuStreamDestroy_v2(s->stream) && !cuModuleUnload(s->module));
    CHECK(!cuDevicePrimaryCtxRelease_v2(0));
}

static int launch_add(const struct session *s, uint32_t grid, uint32_t threads)
{
    union {
        uint64_t address;
        float *pointer;
    } out = {.address = s->memory}, in = {.address = s->memory + BYTES};
    struct hl_cuda_add a = {out.pointer, in.pointer, N, N, N};
    void *arguments[1] = {&a};
    return cuLaunchKernel(s->add, grid, grid, grid, threads, 1, 1, 0, s->stream, arguments, NULL);
}

static void fill(float *to, float value)
{
    for (uint32_t i = 0; i < N; i++)
        to[i] = value;
}

/* Adds 2 to 1 on the device. Returns the first error. */
static int use(const struct session *s)
{
    float pageable[N];
    int code;
    fill(s->host, 1);
    fill(pageable, 2);
    if ((code = cuMemcpyHtoDAsync_v2(s->memory, s->host, BYTES, s->stream)) ||
        (code = cuMemcpyHtoDAsync_v2(s->memory + BYTES, pageable, BYTES, s->other)) ||
        (code = cuEventRecord(s->event, s->other)) || (code = cuStreamWaitEvent(s->stream, s->event, 0)))
        return code;
    if ((code = launch_add(s, 1, 256)) || (code = cuStreamSynchronize(s->stream)))
        return code;
    return cuMemcpyDtoHAsync_v2(s->host, s->memory, BYTES, s->stream);
}

static void case_right(void)
{
    struct session s;
    CHECK(!open_session(&s) && !use(&s) && !cuStreamSynchronize(s.stream));
    for (uint32_t i = 0; i < N; i++)
        CHECK(s.host[i] == (i < 256 ? 3.0f : 1.0f));
    close_session(&s);
}

/* ---- late, and apart ---- */

static void case_late(void)
{
    struct session s;
    float pageable[N];
    CHECK(!open_session(&s));
    fill(pageable, 2);
    fill(s.host, 1);
    CHECK(!cuMemcpyHtoDAsync_v2(s.memory, s.host, BYTES, s.stream));
    CHECK(!cuMemcpyHtoDAsync_v2(s.memory + BYTES, pageable, BYTES, s.stream));
    fill(pageable, 5); /* too late to matter: the driver has taken it */
    fill(s.host, 7);   /* too early: the copy has not run */
    CHECK(!cuStreamSynchronize(s.stream));
    CHECK(!cuMemcpyDtoHAsync_v2(pageable, s.memory, BYTES, s.stream) && pageable[0] == 7 && pageable[N - 1] == 7);
    CHECK(!cuMemcpyDtoHAsync_v2(s.host, s.memory + BYTES, BYTES, s.stream) && s.host[0] == 7);
    CHECK(!cuStreamSynchronize(s.stream) && s.host[0] == 2);
    close_session(&s);
}

/* Reads on `other` what `stream` writes, with or without waiting for the event. */
static unsigned char read_other(const struct session *s, bool waits)
{
    unsigned char got;
    CHECK(!cuMemsetD8Async(s->memory, 1, BYTES, s->stream) && !cuStreamSynchronize(s->stream));
    CHECK(!cuMemsetD8Async(s->memory, 9, BYTES, s->stream) && !cuEventRecord(s->event, s->stream));
    CHECK(!cuMemsetD8Async(s->memory, 4, BYTES, s->stream)); /* after the event */
    if (waits)
        CHECK(!cuStreamWaitEvent(s->other, s->event, 0));
    CHECK(!cuMemcpyDtoDAsync_v2(s->memory + BYTES, s->memory, BYTES, s->other));
    CHECK(!cuMemcpyDtoHAsync_v2(&got, s->memory + BYTES, 1, s->other));
    return got;
}

static void case_events(void)
{
    struct session s;
    CHECK(!open_session(&s));
    CHECK(read_other(&s, false) == 1);
    CHECK(read_other(&s, true) == 9);
    CHECK(cuEventQuery(s.event) == 0 && cuStreamQuery(s.stream) == 600);
    uint32_t asked = 0;
    while (cuStreamQuery(s.stream) == 600)
        asked++;
    CHECK(asked > 0 && asked < 100);
    void *from = NULL, *to = NULL;
    float milliseconds = -1;
    CHECK(!cuEventCreate(&from, 0) && !cuEventCreate(&to, 1));
    CHECK(!cuEventRecord(from, s.stream) && !cuEventRecord(to, s.stream));
    CHECK(cuEventElapsedTime(&milliseconds, from, to) == 600 && !cuEventSynchronize(to));
    CHECK(!cuEventElapsedTime(&milliseconds, from, to) && milliseconds >= 0);
    CHECK(!cuEventDestroy_v2(from) && !cuEventDestroy_v2(to));
    close_session(&s);
}

static void case_memory(void)
{
    struct session s;
    size_t left = 0, total = 0, left_then = 0;
    uint64_t more;
    setenv("FAKE_CUDA_MEMORY", "1000000", 1);
    CHECK(!open_session(&s) && !cuMemGetInfo_v2(&left, &total) && total == 1000000 && left <= total - 2 * BYTES);
    CHECK(cuMemAlloc_v2(&more, left + 1) == 2);
    CHECK(!cuMemAlloc_v2(&more, left / 2) && more % 256 == 0);
    CHECK(!cuMemGetInfo_v2(&left_then, &total) && left_then <= left - left / 2);
    CHECK(!cuMemFree_v2(more) && !cuMemGetInfo_v2(&left_then, &total) && left_then == left);
    static _Alignas(4096) char registered[8192];
    CHECK(!cuMemHostRegister_v2(registered, sizeof registered, 0));
    CHECK(cuMemHostRegister_v2(registered + 4096, 4096, 0) == 712);
    CHECK(!cuMemHostUnregister(registered));
    close_session(&s);
}

static void case_image(void)
{
    struct session s;
    void *module;
    int part = 0;
    Elf64_Ehdr cubin = {.e_machine = 190, .e_flags = 0x590559};
    memcpy(cubin.e_ident, ELFMAG, SELFMAG);
    cubin.e_ident[EI_ABIVERSION] = 7;
    CHECK(!open_session(&s));
    CHECK(!cuDeviceGetAttribute(&part, 75, 0) && part == 8 && !cuDeviceGetAttribute(&part, 76, 0) && part == 9);
    CHECK(!cuModuleLoadData(&module, &cubin) && cuModuleGetFunction(&s.add, module, "hl_cuda_add") == 500);
    CHECK(!cuModuleUnload(module));
    cubin.e_flags = 0x560556; /* sm_86 */
    CHECK(!cuModuleLoadData(&module, &cubin) && !cuModuleUnload(module));
    cubin.e_flags = 0x5a055a; /* sm_90 */
    CHECK(cuModuleLoadData(&module, &cubin) == 209);
    cubin.e_ident[EI_ABIVERSION] = 8; /* a toolkit that the driver does not know */
    CHECK(cuModuleLoadData(&module, &cubin) == 200 && cuModuleLoadData(&module, "no image at all") == 200);
    CHECK(cuModuleGetFunction(&s.add, s.module, "hl_cuda_nothing") == 500);
    close_session(&s);
}

static void case_no_device(void)
{
    int n = -1;
    setenv("FAKE_CUDA_DEVICES", "0", 1);
    CHECK(cuInit(0) == 100);
    setenv("FAKE_CUDA_DEVICES", "2", 1);
    CHECK(cuInit(0) == 0 && cuDeviceGetCount(&n) == 0 && n == 2);
}

/* An error that stays comes again from every call. */
static void case_stays(void)
{
    struct session s;
    const char *name = NULL;
    setenv("FAKE_CUDA_FAIL", "15", 1);
    setenv("FAKE_CUDA_FAIL_CODE", "700", 1);
    CHECK(!open_session(&s) && use(&s) == 700 && cuStreamSynchronize(s.stream) == 700 && cuMemFree_v2(s.memory) == 700);
    CHECK(!cuGetErrorName(700, &name) && strcmp(name, "CUDA_ERROR_ILLEGAL_ADDRESS") == 0);
    CHECK(!cuDevicePrimaryCtxRelease_v2(0)); /* nothing is missed */
}

static int failing_call; /* the number that this process lets fail */

/* Exactly one call fails, whichever is asked for. */
static void case_fails(void)
{
    struct session s;
    char number[16];
    snprintf(number, sizeof number, "%d", failing_call);
    setenv("FAKE_CUDA_FAIL", number, 1);
    int code = open_session(&s);
    if (!code)
        code = use(&s);
    CHECK_SAY(code == 2, "call %d: %d", failing_call, code);
}

/* ---- mistakes ---- */

static void case_touch(void)
{
    struct session s;
    union {
        uint64_t address;
        volatile float *pointer;
    } at;
    CHECK(!open_session(&s));
    at.address = s.memory;
    s.host[0] = at.pointer[0]; /* a signal ends the process here */
}

static void case_leak(void)
{
    struct session s;
    uint64_t lost;
    CHECK(!open_session(&s) && !cuMemAlloc_v2(&lost, 16));
    close_session(&s);
}

static void case_open(void)
{
    struct session s;
    CHECK(!open_session(&s));
}

static void case_twice(void)
{
    struct session s;
    CHECK(!open_session(&s));
    close_session(&s);
    CHECK(!open_session(&s) && !cuMemFree_v2(s.memory));
    CHECK(cuMemFree_v2(s.memory) == 1);
}

static void case_freed(void)
{
    struct session s;
    CHECK(!open_session(&s) && !cuMemFree_v2(s.memory));
    CHECK(cuMemsetD8Async(s.memory, 1, 4, s.stream) == 1);
}

static void case_beyond(void)
{
    struct session s;
    CHECK(!open_session(&s));
    CHECK(cuMemsetD8Async(s.memory + BYTES, 1, BYTES + 1, s.stream) == 1);
}

static void case_destroyed(void)
{
    struct session s;
    CHECK(!open_session(&s) && !cuStreamDestroy_v2(s.other));
    CHECK(cuStreamSynchronize(s.other) == 400);
}

static void case_kinds(void)
{
    struct session s;
    CHECK(!open_session(&s));
    CHECK(cuEventSynchronize(s.stream) == 400);
}

static void case_grid(void)
{
    struct session s;
    CHECK(!open_session(&s) && launch_add(&s, 0, 256) == 1);
}

static void case_block(void)
{
    struct session s;
    CHECK(!open_session(&s) && launch_add(&s, 1, 128) == 1);
}

static void case_arguments(void)
{
    struct session s;
    float *host = mmap((void *)0x7e0052345000, BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(host != MAP_FAILED && !open_session(&s));
    struct hl_cuda_add a = {host, host, N, N, N};
    void *arguments[1] = {&a};
    CHECK(cuLaunchKernel(s.add, 1, 1, 1, 256, 1, 1, 0, s.stream, arguments, NULL) == 1);
}

static void *without_context(void *session)
{
    const struct session *s = session;
    CHECK(cuStreamSynchronize(s->stream) == 201);
    return NULL;
}

static void case_thread(void)
{
    struct session s;
    pthread_t thread;
    CHECK(!open_session(&s));
    CHECK(!pthread_create(&thread, NULL, without_context, &s));
    pthread_join(thread, NULL);
}

static void case_early(void)
{
    void *context;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0) == 3);
}

/* ---- the processes ---- */

struct case_apart {
    void (*run)(void);
    bool strict;
};

/* The library looks for leaks when the process exits. */
static void exit_case(const void *context)
{
    const struct case_apart *it = context;
    setenv("FAKE_CUDA_STRICT", it->strict ? "1" : "0", 1);
    check_failed = 0;
    it->run();
    exit(check_failed != 0);
}

/* Runs a case. Returns how its process ended, and what it said. */
static int run_case_apart(void (*run)(void), bool strict, char *said, size_t room)
{
    return run_apart(exit_case, &(struct case_apart){run, strict}, said, room);
}

static void check_right(void)
{
    static void (*const cases[])(void) = {case_right, case_late, case_events, case_memory, case_image, case_no_device};
    char said[4096];
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        int status = run_case_apart(cases[i], true, said, sizeof said);
        CHECK_SAY(status == 0 && !*said, "case %zu: status %d, '%s'", i, status, said);
    }
}

static void check_failures(void)
{
    char said[4096], file[] = "/tmp/hl_fakecuda_XXXXXX", text[16] = "";
    int count = mkstemp(file);
    CHECK(count >= 0);
    setenv("FAKE_CUDA_COUNT", file, 1);
    CHECK(run_case_apart(case_right, true, said, sizeof said) == 0);
    unsetenv("FAKE_CUDA_COUNT");
    CHECK(read(count, text, sizeof text - 1) > 0);
    close(count);
    unlink(file);
    int calls = atoi(text);
    CHECK_SAY(calls == 18, "%d calls", calls);
    for (failing_call = 1; failing_call < calls; failing_call++) {
        int status = run_case_apart(case_fails, false, said, sizeof said);
        CHECK_SAY(status == 0, "call %d: status %d, '%s'", failing_call, status, said);
    }
    int status = run_case_apart(case_stays, false, said, sizeof said);
    CHECK_SAY(status == 0, "status %d, '%s'", status, said);
}

static void check_mistakes(void)
{
    static const struct {
        void (*run)(void);
        const char *said;
    } cases[] = {
        {case_leak, "cuDevicePrimaryCtxRelease: memory of the device was never given back"},
        {case_open, "the context of device 0 was never released"},
        {case_twice, "cuMemFree: no such memory begins at"},
        {case_freed, "cuMemsetD8Async: 4 bytes at"},
        {case_beyond, "not all in one piece"},
        {case_destroyed, "cuStreamSynchronize: the stream was given back before"},
        {case_kinds, "is not of the kind 'event'"},
        {case_grid, "cuLaunchKernel: hl_cuda_add: a grid of 0 x 0 x 0"},
        {case_block, "hl_cuda_add: 128 threads, it is written for 256"},
        {case_arguments, "byte 0 of the arguments has an address of the host"},
        {case_thread, "cuStreamSynchronize: this thread has no context"},
        {case_early, "cuDevicePrimaryCtxRetain: before cuInit"},
    };
    char said[4096];
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        int status = run_case_apart(cases[i].run, true, said, sizeof said);
        CHECK_SAY(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(said, cases[i].said),
                  "case %zu: status %d, '%s'", i, status, said);
        CHECK_SAY(!strstr(said, "FAIL"), "case %zu: '%s'", i, said);
    }
    int status = run_case_apart(case_touch, false, said, sizeof said);
    CHECK_SAY(WIFSIGNALED(status) ? WTERMSIG(status) == SIGSEGV : strstr(said, "SEGV") != NULL, "status %d", status);
}

int main(int argc, char **argv)
{
    (void)argc;
    open_library(argv[0]);
    check_right();
    check_failures();
    check_mistakes();
    return check_summary();
}
