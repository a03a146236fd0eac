/* kernels/cuda/ring.c on a driver of a few functions: a copy is done when somebody waits for its event. */
#include "kernels/cuda/ring.h"
#include "kernels/device.h"
#include "tests/unit/check.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECES 50u
#define PIECE 4096u /* bytes of a piece that are used; the slots are larger */

/* The one stream: copies that wait, in order. */
struct copy {
    void *to;
    const void *from;
    size_t bytes;
};
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct copy copies[4 * PIECES];
static size_t n_copies, n_done;
static size_t events[HL_RING_SLOTS + 1]; /* how many copies each comes after */
static unsigned n_events, n_registered, n_synchronized;
static int fail_after = -1; /* copies until one fails */

static int set_current(void *context)
{
    return context ? 0 : 201;
}
static int host_register(void *memory, size_t bytes, unsigned flags)
{
    return n_registered++, memory && bytes && !flags ? 0 : 1;
}
static int host_unregister(void *memory)
{
    return n_registered--, memory ? 0 : 1;
}
static int event_create(void **event, unsigned flags)
{
    *event = &events[n_events++];
    return flags == HL_DRIVER_EVENT ? 0 : 1;
}
static int event_destroy(void *event)
{
    return n_events--, event ? 0 : 1;
}
static int copy_up(hl_gpu_pointer to, const void *from, size_t bytes, void *stream)
{
    pthread_mutex_lock(&guard);
    bool fails = fail_after >= 0 && fail_after-- == 0;
    copies[n_copies++] = (struct copy){(void *)(uintptr_t)to, from, bytes};
    pthread_mutex_unlock(&guard);
    return fails || !stream ? 700 : 0;
}
static int event_record(void *event, void *stream)
{
    pthread_mutex_lock(&guard);
    *(size_t *)event = n_copies;
    pthread_mutex_unlock(&guard);
    return stream ? 0 : 1;
}
static int event_synchronize(void *event)
{
    pthread_mutex_lock(&guard);
    n_synchronized++;
    for (; n_done < *(size_t *)event; n_done++)
        memcpy(copies[n_done].to, copies[n_done].from, copies[n_done].bytes);
    pthread_mutex_unlock(&guard);
    return 0;
}
static int stream_wait(void *stream, void *event, unsigned flags)
{
    return event_synchronize(event), stream && !flags ? 0 : 1;
}
static int error_text(int code, const char **text)
{
    *text = "a text";
    return code == 0;
}

static struct hl_driver a_driver(void)
{
    n_copies = n_done = n_synchronized = 0;
    return (struct hl_driver){.cuCtxSetCurrent = set_current,
                              .cuMemHostRegister_v2 = host_register,
                              .cuMemHostUnregister = host_unregister,
                              .cuEventCreate = event_create,
                              .cuEventDestroy_v2 = event_destroy,
                              .cuEventRecord = event_record,
                              .cuEventSynchronize = event_synchronize,
                              .cuMemcpyHtoDAsync_v2 = copy_up,
                              .cuStreamWaitEvent = stream_wait,
                              .cuGetErrorName = error_text,
                              .cuGetErrorString = error_text};
}

/* Readers that bring pieces, each its bytes 8 to PIECE - 8. */
struct job {
    struct hl_ring *ring;
    _Atomic uint32_t next, failed;
};

static void *bring(void *argument)
{
    struct job *job = argument;
    for (uint32_t piece; (piece = job->next++) < PIECES;) {
        struct hl_error err;
        uint8_t *slot;
        if (hl_ring_room(job->ring, &slot, &err) < 0) {
            job->failed++;
            return NULL;
        }
        memset(slot, (int)piece + 1, PIECE);
        if (hl_ring_full(job->ring, slot, 8, PIECE - 16, piece * PIECE + 8, &err) < 0)
            job->failed++;
    }
    return NULL;
}

static void start(struct job *job, pthread_t readers[4])
{
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&readers[i], NULL, bring, job);
}

static void join(pthread_t readers[4])
{
    for (unsigned i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
}

/* All pieces arrive, whether the readers or the driver are first. */
static void test_bring(bool driver_first)
{
    static uint8_t memory[PIECES * PIECE];
    struct hl_driver driver = a_driver();
    struct hl_error err;
    struct job job = {.next = 0};
    pthread_t readers[4];
    int stream;
    const struct hl_ring_target target = {&driver, &driver, &stream, (uintptr_t)memory};
    memset(memory, 0, sizeof memory);
    CHECK_OK(hl_ring_open((uint64_t)PIECES * HL_PIECE_BYTES, &job.ring, &err), err);
    if (driver_first)
        CHECK_OK(hl_ring_attach(job.ring, &target, &err), err);
    start(&job, readers);
    if (!driver_first) {
        usleep(50000); /* all slots are full */
        CHECK(n_copies == 0);
        CHECK_OK(hl_ring_attach(job.ring, &target, &err), err);
    }
    join(readers);
    CHECK(job.failed == 0 && n_synchronized >= PIECES - HL_RING_SLOTS);
    CHECK_OK(hl_ring_follow(job.ring, &stream, &err), err);
    for (uint32_t i = 0; i < sizeof memory; i++) {
        const bool outside = i % PIECE < 8 || i % PIECE >= PIECE - 8;
        CHECK(memory[i] == (outside ? 0 : i / PIECE + 1));
    }
    hl_ring_close(job.ring);
    CHECK(n_events == 0 && n_registered == 0);
}

/* Readers that wait for slots are woken, with the reason. */
static void test_stop(void)
{
    struct hl_error err, why;
    struct job job = {.next = 0};
    pthread_t readers[4];
    uint8_t *slot;
    CHECK_OK(hl_ring_open((uint64_t)PIECES * HL_PIECE_BYTES, &job.ring, &err), err);
    start(&job, readers);
    usleep(20000);
    hl_fail(&why, "the first reason");
    hl_ring_stop(job.ring, &why);
    join(readers);
    CHECK(job.failed == 4);
    hl_fail(&why, "another reason");
    hl_ring_stop(job.ring, &why);
    CHECK_FAILS(hl_ring_room(job.ring, &slot, &err), err, "the first reason");
    hl_ring_close(job.ring);
}

/* A failing copy ends everything. */
static void test_failure(void)
{
    static uint8_t memory[PIECES * PIECE];
    struct hl_driver driver = a_driver();
    struct hl_error err;
    struct job job = {.next = 0};
    pthread_t readers[4];
    int stream;
    uint8_t *slot;
    const struct hl_ring_target target = {&driver, &driver, &stream, (uintptr_t)memory};
    fail_after = 20;
    CHECK_OK(hl_ring_open((uint64_t)PIECES * HL_PIECE_BYTES, &job.ring, &err), err);
    CHECK_OK(hl_ring_attach(job.ring, &target, &err), err);
    start(&job, readers);
    join(readers);
    CHECK(job.failed > 0 && hl_driver_is_lost(&driver));
    CHECK_FAILS(hl_ring_room(job.ring, &slot, &err), err, "cuMemcpyHtoDAsync: a text (700)");
    hl_ring_close(job.ring);
    CHECK(n_events == 0 && n_registered == 0);
}

int main(void)
{
    test_bring(true);
    test_bring(false);
    test_stop();
    test_failure();
    return check_summary();
}
