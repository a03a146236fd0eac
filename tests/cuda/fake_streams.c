/* Nothing runs before somebody waits for it, and then only what that needs: who reads a result without waiting, or
 * reuses memory that a copy still needs, or forgets that another stream must wait for an event, gets wrong numbers. */
#include "tests/cuda/fake_streams.h"
#include "tests/cuda/fake_memory.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE 8u /* queries that are told "not ready" */

enum what { COPY, FILL, LAUNCH, RECORD, WAIT };

struct work {
    struct work *next;
    enum what what;
    uint8_t *to, value;
    const uint8_t *from;
    size_t bytes;
    const struct hl_fiber_kernel *kernel;
    struct hl_cuda_grid grid;
    struct thing *other; /* RECORD: the event; WAIT: the stream to wait for, up to `number` */
    uint64_t number;
    uint8_t kept[]; /* a launch's arguments, or the bytes of a copy */
};

static struct work *put(struct thing *stream, size_t kept, enum what what)
{
    struct work *work = calloc(1, sizeof *work + kept);
    if (!work)
        abort();
    work->what = what;
    *stream->last = work;
    stream->last = &work->next;
    stream->put++;
    return work;
}

void put_copy(struct thing *stream, void *to, const void *from, size_t bytes, bool now)
{
    struct work *work = put(stream, now ? bytes : 0, COPY);
    if (now)
        memcpy(work->kept, from, bytes);
    work->to = to;
    work->from = now ? work->kept : from;
    work->bytes = bytes;
}

void put_fill(struct thing *stream, void *to, uint8_t value, size_t bytes)
{
    struct work *work = put(stream, 0, FILL);
    work->to = to;
    work->value = value;
    work->bytes = bytes;
}

void put_launch(struct thing *stream, const struct hl_fiber_kernel *kernel, const void *arguments,
                struct hl_cuda_grid grid)
{
    struct work *work = put(stream, kernel->bytes, LAUNCH);
    memcpy(work->kept, arguments, kernel->bytes);
    work->kernel = kernel;
    work->grid = grid;
}

void put_record(struct thing *stream, struct thing *event)
{
    struct work *work = put(stream, 0, RECORD);
    work->other = event;
    event->stream = stream;
    event->number = work->number = stream->put;
    event->queries = 0;
}

void put_wait(struct thing *stream, const struct thing *event)
{
    struct work *work = put(stream, 0, WAIT);
    work->other = event->stream;
    work->number = event->number;
}

static void record(const struct work *work)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (work->other->number == work->number) /* it was not recorded again since */
        work->other->when = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void run(const struct work *work)
{
    static uint32_t seed;
    switch (work->what) {
    case COPY:
        memcpy(work->to, work->from, work->bytes);
        break;
    case FILL:
        memset(work->to, work->value, work->bytes);
        break;
    case LAUNCH:
        hl_fiber_launch(work->kernel, work->kept, work->grid, ++seed);
        break;
    case RECORD:
        record(work);
        break;
    case WAIT:
        run_to(work->other, work->number);
        break;
    }
}

static void take_off(struct thing *stream)
{
    struct work *work = stream->first;
    stream->first = work->next;
    if (!stream->first)
        stream->last = &stream->first;
    stream->done++;
    free(work);
}

void run_to(struct thing *stream, uint64_t number)
{
    static unsigned depth; /* streams wait for each other */
    if (stream->done >= number)
        return;
    if (depth++ == 0)
        memory_open();
    while (stream->done < number) {
        run(stream->first);
        take_off(stream);
    }
    if (--depth == 0)
        memory_close();
}

void forget_work(struct thing *stream)
{
    while (stream->first)
        take_off(stream);
}

static void run_stream(struct thing *stream)
{
    run_to(stream, stream->put);
}

void run_all(void)
{
    each_thing(STREAM, run_stream);
}

bool query(struct thing *asked, struct thing *stream, uint64_t number)
{
    if (stream->done >= number)
        return true;
    if (++asked->queries <= PATIENCE)
        return false;
    asked->queries = 0;
    run_to(stream, number);
    return true;
}
