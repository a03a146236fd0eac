/* Loading takes pieces of the weights in the order in which a step uses them.
 *
 *   weights   0 ................................................................ weight_bytes
 *   pieces    [ 4 MiB ][ 4 MiB ][ 4 MiB ][ ...      ][ end of a shard ][gap][ 4 MiB ] ...
 *                       ^ n_here: all pieces before it are resident
 *                                  ^ next: readers take the pieces from here on, one after another
 *
 * READERS threads take piece after piece, so that even a distant disk has several reads in flight.
 *
 * In place: a reader faults in a piece, which waits for the disk. The mapping asks for huge pages: then the kernel reads
 * 2 MiB at a time and keeps them in one piece if the file system can (ext4 since Linux 6.16, xfs). Every later start
 * maps such a piece with one entry instead of 512. With the file in memory faulting in costs next to nothing, and what
 * the readers have not faulted in, the kernels fault in by touching it. So the readers have the lowest priority: they
 * run while kernels wait for the disk, or before the first request. On a permanently busy machine they would hardly run
 * and the server would not become ready. So one more thread, of normal priority, faults in the rest after a second.
 *
 * Tried and dropped: MADV_WILLNEED ahead of the readers. It keeps the disk as busy, but fills the page cache with 4 KiB
 * pages, which slows later starts and reads for as long as the file stays cached. Also dropped: faulting in each
 * kernel's own share before it computes; it is as slow as the faults that it saves. The figures are in
 * docs/performance.md, "Loading".
 *
 * Brought to a device: large reads into its memory. */
#include "runtime/engine/load.h"
#include "base/sizes.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE_BYTES ((uint64_t)HL_PIECE_BYTES)
#define READERS 4u
#define PATIENCE_MS 1000u

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif

struct piece {
    uint64_t offset; /* in the weights' space */
    uint32_t shard, bytes;
};

enum state { PENDING, RESIDENT, LOST };

struct hl_load {
    const struct hl_hot *hot;
    struct hl_load_options options;
    struct hl_load_target target;
    int *shards; /* [n_shards] descriptors; NULL: the bytes come from the mapping */
    struct piece *pieces;
    uint8_t *state; /* [n_pieces], enum state, guarded */
    uint32_t n_pieces;
    _Atomic uint32_t next;
    atomic_bool stop;
    pthread_t reader[READERS + 1];
    uint32_t n_readers;

    pthread_mutex_t mutex;
    pthread_cond_t progress;
    uint32_t n_here;
    bool failed;
    struct hl_error err;
};

static int cut_pieces(struct hl_load *load, struct hl_error *err)
{
    const struct hl_header *header = load->hot->header;
    uint64_t n = 0;
    for (uint32_t s = 0; s < header->n_shards; s++)
        n += (header->shard[s].bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    if (n < UINT32_MAX) {
        load->pieces = calloc(n + 1, sizeof *load->pieces);
        load->state = calloc(n + 1, sizeof *load->state);
    }
    if (!load->pieces || !load->state)
        return hl_no_memory(err);
    for (uint32_t s = 0; s < header->n_shards; s++)
        for (uint64_t at = 0; at < header->shard[s].bytes; at += PIECE_BYTES) {
            uint64_t left = header->shard[s].bytes - at;
            load->pieces[load->n_pieces++] =
                (struct piece){header->shard[s].offset + at, s, (uint32_t)(left < PIECE_BYTES ? left : PIECE_BYTES)};
        }
    return 0;
}

/* ---- readers ---- */

/* Gives a reader of the mapping the lowest priority. On failure it runs like any other thread. */
static void become_idle(void)
{
    const struct sched_param parameters = {.sched_priority = 0};
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &parameters);
    syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4); /* for the disk keep the default: this thread, best effort */
}

static int fault_in_piece(const struct hl_load *load, const struct piece *piece, struct hl_error *err)
{
    const volatile uint8_t *begin = load->hot->weights + piece->offset;
    if (madvise((void *)(uintptr_t)begin, piece->bytes, MADV_POPULATE_READ) == 0 || errno == ENOMEM)
        return 0;
    if (errno == EFAULT || errno == EHWPOISON)
        return hl_fail(err, "%s: weights at offset %llu cannot be read from shard %u", load->hot->path,
                       (unsigned long long)piece->offset, piece->shard + 1);
    for (uint32_t at = 0; at < piece->bytes; at += 4096) /* before Linux 5.14 */
        (void)begin[at];
    return 0;
}

static int read_piece(const struct hl_load *load, const struct piece *piece, uint8_t *to, struct hl_error *err)
{
    uint64_t first = piece->offset - load->hot->header->shard[piece->shard].offset;
    for (uint32_t done = 0; done < piece->bytes;) {
        ssize_t n = pread(load->shards[piece->shard], to + done, piece->bytes - done, (off_t)(first + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hl_fail(err, "%s: shard %u cannot be read at offset %llu: %s", load->hot->path, piece->shard + 1,
                           (unsigned long long)(first + done), n ? strerror(errno) : "it ends early");
        done += (uint32_t)n;
    }
    return 0;
}

/* Copies a piece to the device's memory, if the device needs it. */
static int bring_piece(const struct hl_load *load, const struct piece *piece, struct hl_error *err)
{
    const struct hl_load_target *target = &load->target;
    uint8_t *to;
    if (target->interface->room(target->device, piece->offset, piece->bytes, &to, err) < 0)
        return -1;
    if (!to)
        return 0;
    if (load->shards && read_piece(load, piece, to, err) < 0)
        return -1;
    if (!load->shards) {
        if (fault_in_piece(load, piece, err) < 0)
            return -1;
        memcpy(to, load->hot->weights + piece->offset, piece->bytes);
    }
    return target->interface->full(target->device, piece->offset, piece->bytes, to, err);
}

/* Notes that a piece is resident or, with an error, lost. */
static void report(struct hl_load *load, uint32_t piece, const struct hl_error *err)
{
    bool ends = false;
    pthread_mutex_lock(&load->mutex);
    if (load->state[piece] != PENDING) { /* another thread was faster */
        pthread_mutex_unlock(&load->mutex);
        return;
    }
    if (err && !load->failed) {
        ends = load->failed = true;
        load->err = *err;
        atomic_store(&load->stop, true);
    }
    load->state[piece] = err ? LOST : RESIDENT;
    uint32_t before = load->n_here;
    while (load->n_here < load->n_pieces && load->state[load->n_here] == RESIDENT)
        load->n_here++;
    if (before < load->n_pieces && load->n_here == load->n_pieces)
        ends = true;
    pthread_cond_broadcast(&load->progress);
    pthread_mutex_unlock(&load->mutex);
    if (ends && load->options.done)
        load->options.done(load->options.context, err);
}

static void load_piece(struct hl_load *load, uint32_t piece)
{
    struct hl_error err;
    int result = load->target.device ? bring_piece(load, &load->pieces[piece], &err)
                                     : fault_in_piece(load, &load->pieces[piece], &err);
    report(load, piece, result < 0 ? &err : NULL);
}

static void *read_pieces(void *argument)
{
    struct hl_load *load = argument;
    if (!load->target.device)
        become_idle();
    while (!atomic_load(&load->stop)) {
        uint32_t piece = atomic_fetch_add(&load->next, 1);
        if (piece >= load->n_pieces)
            break;
        load_piece(load, piece);
    }
    return NULL;
}

/* Includes the pieces that readers are working on: faulting in a piece twice is harmless. */
static void *fault_in_rest(void *argument)
{
    struct hl_load *load = argument;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint32_t ms = load->options.patience_ms ? load->options.patience_ms : PATIENCE_MS;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&load->mutex);
    while (!atomic_load(&load->stop) && load->n_here < load->n_pieces &&
           pthread_cond_timedwait(&load->progress, &load->mutex, &until) != ETIMEDOUT)
        ;
    while (!atomic_load(&load->stop) && load->n_here < load->n_pieces) {
        uint32_t piece = load->n_here;
        pthread_mutex_unlock(&load->mutex);
        load_piece(load, piece);
        pthread_mutex_lock(&load->mutex);
    }
    pthread_mutex_unlock(&load->mutex);
    return NULL;
}

/* ---- open and close ---- */

static int open_shards(struct hl_load *load, struct hl_error *err)
{
    const struct hl_header *header = load->hot->header;
    char path[HL_PATH_BYTES];
    load->shards = malloc((header->n_shards + 1) * sizeof *load->shards);
    if (!load->shards)
        return hl_no_memory(err);
    for (uint32_t s = 0; s < header->n_shards; s++)
        load->shards[s] = -1;
    for (uint32_t s = 0; s < header->n_shards; s++)
        if ((load->shards[s] = hl_hot_open_shard(load->hot, s, path, err)) < 0)
            return -1;
    return 0;
}

static int start_readers(struct hl_load *load, struct hl_error *err)
{
    uint32_t n = load->n_pieces < READERS ? load->n_pieces : READERS;
    if (!load->target.device && n)
        n++;
    for (; load->n_readers < n; load->n_readers++) {
        bool last = !load->target.device && load->n_readers == n - 1;
        int code = pthread_create(&load->reader[load->n_readers], NULL, last ? fault_in_rest : read_pieces, load);
        if (code && load->n_readers == 0)
            return hl_fail(err, "the thread that reads the weights cannot be started: %s", strerror(code));
        if (code)
            break; /* fewer readers suffice */
    }
    return 0;
}

bool hl_load_in_place(const struct hl_device_interface *interface, enum hl_load_way way)
{
    return interface->in_place && way != HL_LOAD_STAGE;
}

int hl_load_open(const struct hl_hot *hot, const struct hl_load_options *options, struct hl_load_target target,
                 struct hl_load **out, struct hl_error *err)
{
    struct hl_load *load = calloc(1, sizeof *load);
    if (!load)
        return hl_no_memory(err);
    load->hot = hot;
    load->options = *options;
    load->target = target;
    pthread_mutex_init(&load->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&load->progress, &attributes);
    pthread_condattr_destroy(&attributes);
    bool from_file = target.device && options->way != HL_LOAD_MAP;
    if (!from_file) /* only advice */
        madvise((void *)(uintptr_t)hot->weights, (size_t)hot->header->weight_bytes, MADV_HUGEPAGE);
    if (cut_pieces(load, err) < 0 || (from_file && open_shards(load, err) < 0) || start_readers(load, err) < 0) {
        hl_load_close(load);
        return -1;
    }
    *out = load;
    return 0;
}

void hl_load_close(struct hl_load *load)
{
    if (!load)
        return;
    pthread_mutex_lock(&load->mutex);
    atomic_store(&load->stop, true);
    pthread_cond_broadcast(&load->progress);
    pthread_mutex_unlock(&load->mutex);
    if (load->target.device)
        load->target.interface->cancel(load->target.device);
    for (uint32_t i = 0; i < load->n_readers; i++)
        pthread_join(load->reader[i], NULL);
    for (uint32_t s = 0; load->shards && s < load->hot->header->n_shards; s++)
        if (load->shards[s] >= 0)
            close(load->shards[s]);
    pthread_cond_destroy(&load->progress);
    pthread_mutex_destroy(&load->mutex);
    free(load->shards);
    free(load->pieces);
    free(load->state);
    free(load);
}

static bool lacks(const struct hl_load *load, uint64_t end)
{
    return load->n_here < load->n_pieces && load->pieces[load->n_here].offset < end;
}

/* Readers take pieces in order: those before a lost one are resident, or a reader has them and will report. */
int hl_load_wait(struct hl_load *load, uint64_t end, struct hl_error *err)
{
    int result = 0;
    pthread_mutex_lock(&load->mutex);
    while (lacks(load, end) && load->state[load->n_here] != LOST)
        pthread_cond_wait(&load->progress, &load->mutex);
    if (lacks(load, end)) {
        *err = load->err;
        result = -1;
    }
    pthread_mutex_unlock(&load->mutex);
    return result;
}
