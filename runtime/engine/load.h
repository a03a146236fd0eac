/* Makes a model's weights resident, in the order of computation, while the first step already runs.
 *
 *   in place   The weights are used where they are mapped. Reader threads run ahead of the kernels, so that the disk
 *              never idles; kernels fault in what the readers have not reached.
 *   brought    The readers copy the weights, in large pieces, to memory that the device gives. A kernel waits only for
 *              the bytes that it needs next. The bytes come from the file (stage) or from the mapping (map).
 *
 * A device that can use weights in place does so, except with --load stage: for file systems whose mappings are slow.
 * docs/performance.md, "Loading", has the measurements. */
#ifndef HL_RUNTIME_ENGINE_LOAD_H
#define HL_RUNTIME_ENGINE_LOAD_H

#include "base/error.h"
#include "kernels/device.h"
#include "runtime/model/hot.h"

enum hl_load_way { HL_LOAD_AUTO, HL_LOAD_MAP, HL_LOAD_STAGE };

struct hl_load;

struct hl_load_options {
    enum hl_load_way way;
    /* map: after so many milliseconds a thread of normal priority faults in what the readers have left; 0 means
     * 1000. */
    uint32_t patience_ms;
    /* Called once, from one of the load's threads: every weight is resident (err is NULL), or loading failed. Not
     * called if the load is closed first. May be NULL. */
    void (*done)(void *context, const struct hl_error *err);
    void *context;
};

/* Where the weights are brought. */
struct hl_load_target {
    const struct hl_device_interface *interface;
    struct hl_device *device; /* NULL: nowhere, they are used in place */
};

/* Returns whether weights are used in place. */
bool hl_load_in_place(const struct hl_device_interface *interface, enum hl_load_way way);

/* Starts the readers. The file's weights must be mapped, and must stay mapped until the load is closed. Close it before
 * the target's device. */
int hl_load_open(const struct hl_hot *hot, const struct hl_load_options *options, struct hl_load_target target,
                 struct hl_load **out, struct hl_error *err);
/* Stops the readers. */
void hl_load_close(struct hl_load *load);

/* Waits until the first `end` bytes of the weights are resident or, with a device as target, until they are the device's.
 * Fails if one of them cannot be read, regardless of later bytes. Call it from any thread. */
int hl_load_wait(struct hl_load *load, uint64_t end, struct hl_error *err);

#endif
