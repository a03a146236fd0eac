/* How the weights get to the GPU: slots of pinned memory, which readers fill and the GPU's copy engine empties.
 *
 *   free --room()--> taken --full()--> full --attached--> copied --event done--> free
 *
 * Readers can begin before the driver is there: their slots are full until hl_ring_attach(). The memory is pinned by
 * registering it: several times as fast as memory that the driver allocates, and possible after it was written to. */
#ifndef HL_KERNELS_CUDA_RING_H
#define HL_KERNELS_CUDA_RING_H

#include "kernels/cuda/driver.h"

#define HL_RING_SLOTS 16u /* of HL_PIECE_BYTES */

struct hl_ring;

/* Where the bytes go. The caller owns all of it, and keeps it until hl_ring_detach(). */
struct hl_ring_target {
    struct hl_driver *driver;
    void *context, *stream;
    hl_gpu_pointer memory;
};

/* For `bytes` in all; a small model gets a small ring. Its memory takes space once it is written to. */
int hl_ring_open(uint64_t bytes, struct hl_ring **out, struct hl_error *err);
void hl_ring_close(struct hl_ring *ring);

/* Pins the slots, and copies those that are full already. The target's context is the calling thread's. */
int hl_ring_attach(struct hl_ring *ring, const struct hl_ring_target *target, struct hl_error *err);
/* Ends that, and gives the slots' memory back. The last copy is done, and no thread uses the ring. */
void hl_ring_detach(struct hl_ring *ring);

/* Waits for a free slot. From any thread. */
int hl_ring_room(struct hl_ring *ring, uint8_t **slot, struct hl_error *err);
/* Copies [first, first + bytes) of a slot to `to` in the target's memory, and frees the slot. From any thread. */
int hl_ring_full(struct hl_ring *ring, const uint8_t *slot, uint32_t first, uint32_t bytes, uint64_t to,
                 struct hl_error *err);
/* Ends all waiting for slots, now and later, with this error; the first one counts. */
void hl_ring_stop(struct hl_ring *ring, const struct hl_error *why);

/* Lets work that is put into `stream` from now on wait for all copies so far. */
int hl_ring_follow(struct hl_ring *ring, void *stream, struct hl_error *err);

#endif
