/* Slots of pinned memory between the readers and the GPU. One mutex guards the states. Nobody holds it while waiting for
 * the GPU: a reader that waits for a copy owns the slot of that copy. */
#include "kernels/cuda/ring.h"
#include "base/sizes.h"
#include "kernels/device.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum slot_state { SLOT_FREE, SLOT_TAKEN, SLOT_FULL, SLOT_COPIED };

struct slot {
    enum slot_state state;
    uint32_t first, bytes; /* what is copied of it */
    uint64_t to;
    uint64_t turn; /* of the copies */
    void *event;   /* after the copy */
};

struct hl_ring {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint8_t *memory;
    size_t slot_bytes;
    uint32_t n_slots;
    struct slot slots[HL_RING_SLOTS];
    uint64_t turns;
    struct hl_ring_target target;
    bool registered, attached, stopped;
    struct hl_error why;
    void *event; /* after all copies so far */
};

int hl_ring_open(uint64_t bytes, struct hl_ring **out, struct hl_error *err)
{
    struct hl_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return hl_no_memory(err);
    uint64_t pieces = (bytes + HL_PIECE_BYTES - 1) / HL_PIECE_BYTES;
    ring->n_slots = pieces < HL_RING_SLOTS ? (uint32_t)pieces + (pieces == 0) : HL_RING_SLOTS;
    ring->slot_bytes = HL_PIECE_BYTES;
    size_t size = ring->n_slots * ring->slot_bytes;
    ring->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring->memory == MAP_FAILED) {
        free(ring);
        return hl_fail(err, "out of memory for %zu MiB that the weights pass through", size >> 20);
    }
    madvise(ring->memory, size, MADV_HUGEPAGE); /* only advice: fewer pages to fault in, and to pin */
    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->changed, NULL);
    *out = ring;
    return 0;
}

void hl_ring_close(struct hl_ring *ring)
{
    if (!ring)
        return;
    hl_ring_detach(ring);
    pthread_cond_destroy(&ring->changed);
    pthread_mutex_destroy(&ring->mutex);
    free(ring);
}

/* ---- with the mutex held ---- */

static int stop(struct hl_ring *ring, const struct hl_error *why)
{
    if (!ring->stopped)
        ring->why = *why;
    ring->stopped = true;
    pthread_cond_broadcast(&ring->changed);
    return -1;
}

/* Puts the copy of a full slot into the stream. The calling thread has the context. */
static int copy_slot(struct hl_ring *ring, struct slot *slot, struct hl_error *err)
{
    const struct hl_ring_target *t = &ring->target;
    const uint8_t *from = ring->memory + (size_t)(slot - ring->slots) * ring->slot_bytes + slot->first;
    slot->state = SLOT_COPIED;
    slot->turn = ring->turns++;
    if (HL_DRIVER(t->driver, err, cuMemcpyHtoDAsync_v2, t->memory + slot->to, from, slot->bytes, t->stream) < 0 ||
        HL_DRIVER(t->driver, err, cuEventRecord, slot->event, t->stream) < 0)
        return stop(ring, err);
    pthread_cond_broadcast(&ring->changed);
    return 0;
}

/* Returns a slot in the state, the one that came to it first; or NULL. */
static struct slot *find(struct hl_ring *ring, enum slot_state state)
{
    struct slot *found = NULL;
    for (struct slot *slot = ring->slots; slot < ring->slots + ring->n_slots; slot++)
        if (slot->state == state && (!found || slot->turn < found->turn))
            found = slot;
    return found;
}

/* Waits for the copy of a slot, which becomes the caller's. Releases the mutex meanwhile. */
static int wait_for_copy(struct hl_ring *ring, struct slot *slot, struct hl_error *err)
{
    struct hl_driver *driver = ring->target.driver;
    slot->state = SLOT_TAKEN;
    pthread_mutex_unlock(&ring->mutex);
    int result = HL_DRIVER(driver, err, cuCtxSetCurrent, ring->target.context);
    if (result == 0)
        result = HL_DRIVER(driver, err, cuEventSynchronize, slot->event);
    pthread_mutex_lock(&ring->mutex);
    return result < 0 ? stop(ring, err) : 0;
}

static int take_slot(struct hl_ring *ring, struct slot **out, struct hl_error *err)
{
    while (!ring->stopped) {
        struct slot *slot = find(ring, SLOT_FREE);
        if (slot)
            slot->state = SLOT_TAKEN;
        else if ((slot = find(ring, SLOT_COPIED)) && wait_for_copy(ring, slot, err) < 0)
            return -1;
        if (slot) {
            *out = slot;
            return 0;
        }
        pthread_cond_wait(&ring->changed, &ring->mutex);
    }
    *err = ring->why;
    return -1;
}

static int fill_slot(struct hl_ring *ring, struct slot *slot, struct hl_error *err)
{
    slot->state = SLOT_FULL;
    if (ring->stopped) {
        *err = ring->why;
        return -1;
    }
    if (!ring->attached)
        return 0;
    if (HL_DRIVER(ring->target.driver, err, cuCtxSetCurrent, ring->target.context) < 0)
        return stop(ring, err);
    return copy_slot(ring, slot, err);
}

static int create_events(struct hl_ring *ring, struct hl_error *err)
{
    struct hl_driver *driver = ring->target.driver;
    for (uint32_t i = 0; i < ring->n_slots; i++)
        if (HL_DRIVER(driver, err, cuEventCreate, &ring->slots[i].event, HL_DRIVER_EVENT) < 0)
            return -1;
    return HL_DRIVER(driver, err, cuEventCreate, &ring->event, HL_DRIVER_EVENT);
}

/* ---- without it ---- */

int hl_ring_attach(struct hl_ring *ring, const struct hl_ring_target *target, struct hl_error *err)
{
    ring->target = *target;
    /* Takes milliseconds, while readers fill slots. */
    if (HL_DRIVER(target->driver, err, cuMemHostRegister_v2, ring->memory, ring->n_slots * ring->slot_bytes, 0) < 0)
        return -1;
    ring->registered = true;
    if (create_events(ring, err) < 0)
        return -1;
    int result = 0;
    pthread_mutex_lock(&ring->mutex);
    ring->attached = true;
    for (struct slot *slot; result == 0 && (slot = find(ring, SLOT_FULL));)
        result = copy_slot(ring, slot, err);
    pthread_mutex_unlock(&ring->mutex);
    return result;
}

static void destroy_event(const struct hl_ring *ring, void **event)
{
    if (*event)
        ring->target.driver->cuEventDestroy_v2(*event);
    *event = NULL;
}

void hl_ring_detach(struct hl_ring *ring)
{
    for (uint32_t i = 0; i < ring->n_slots; i++)
        destroy_event(ring, &ring->slots[i].event);
    destroy_event(ring, &ring->event);
    if (ring->registered)
        ring->target.driver->cuMemHostUnregister(ring->memory);
    ring->registered = ring->attached = false;
    if (ring->memory)
        munmap(ring->memory, ring->n_slots * ring->slot_bytes);
    ring->memory = NULL;
}

int hl_ring_room(struct hl_ring *ring, uint8_t **out, struct hl_error *err)
{
    struct slot *slot = NULL;
    pthread_mutex_lock(&ring->mutex);
    int result = take_slot(ring, &slot, err);
    pthread_mutex_unlock(&ring->mutex);
    if (result == 0)
        *out = ring->memory + (size_t)(slot - ring->slots) * ring->slot_bytes;
    return result;
}

int hl_ring_full(struct hl_ring *ring, const uint8_t *memory, uint32_t first, uint32_t bytes, uint64_t to,
                 struct hl_error *err)
{
    struct slot *slot = &ring->slots[(size_t)(memory - ring->memory) / ring->slot_bytes];
    pthread_mutex_lock(&ring->mutex);
    slot->first = first;
    slot->bytes = bytes;
    slot->to = to;
    int result = fill_slot(ring, slot, err);
    pthread_mutex_unlock(&ring->mutex);
    return result;
}

void hl_ring_stop(struct hl_ring *ring, const struct hl_error *why)
{
    pthread_mutex_lock(&ring->mutex);
    stop(ring, why);
    pthread_mutex_unlock(&ring->mutex);
}

int hl_ring_follow(struct hl_ring *ring, void *stream, struct hl_error *err)
{
    struct hl_driver *driver = ring->target.driver;
    pthread_mutex_lock(&ring->mutex);
    int result = HL_DRIVER(driver, err, cuEventRecord, ring->event, ring->target.stream);
    if (result == 0)
        result = HL_DRIVER(driver, err, cuStreamWaitEvent, stream, ring->event, 0);
    pthread_mutex_unlock(&ring->mutex);
    return result;
}
