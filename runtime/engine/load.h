/* Brings a model's weights to where they are computed with, in the one order, while the first step already runs.
 *
 *   map    they are used where they are mapped. Readers go ahead of the kernels, so that the disk is never idle while
 *          they compute; what these have not reached yet, kernels fetch by touching it.
 *   stage  the readers copy them into memory of our own, in large pieces; whoever wants to compute with them waits
 *          for the first bytes that he needs, not for all. For file systems whose mappings are slow.
 *
 * docs/performance.md has what both were measured to take; auto is map by that. */
#ifndef HL_RUNTIME_ENGINE_LOAD_H
#define HL_RUNTIME_ENGINE_LOAD_H

#include "base/error.h"
#include "runtime/model/hot.h"

enum hl_load_way { HL_LOAD_AUTO, HL_LOAD_MAP, HL_LOAD_STAGE };

struct hl_load;

struct hl_load_options {
    enum hl_load_way way;
    /* map: from so many milliseconds on, a thread of the usual priority enters what the readers have not; 0 is 1000. */
    uint32_t patience_ms;
    /* From a thread of the load's, once: every weight is resident (err is NULL), or never will be. May be NULL. It is
     * not called when the load is closed before. */
    void (*done)(void *context, const struct hl_error *err);
    void *context;
};

/* Starts the readers. The file's weights must be mapped, and stay so until the load is closed. */
int hl_load_open(const struct hl_hot *hot, const struct hl_load_options *options, struct hl_load **out,
                 struct hl_error *err);
/* Ends the readers where they are, and releases what was staged. */
void hl_load_close(struct hl_load *load);

/* Where the weights are, or will be. */
const uint8_t *hl_load_weights(const struct hl_load *load);

/* Must they be waited for before they are used? */
bool hl_load_must_wait(const struct hl_load *load);

/* Returns when the first `end` bytes of the weights' space are resident; with an error when some of them never will be,
 * whatever has become of those behind. From any thread. */
int hl_load_wait(struct hl_load *load, uint64_t end, struct hl_error *err);

#endif
