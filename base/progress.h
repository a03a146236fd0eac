/* The progress of a long command: a bar on a terminal; elsewhere a plain line every few seconds.
 *
 * Libraries take a `struct hl_progress *` and report bytes. The command decides whether and where to show them. Every
 * function accepts NULL and then shows nothing.
 */
#ifndef HL_BASE_PROGRESS_H
#define HL_BASE_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct hl_progress {
    FILE *out; /* set by the caller, the rest by hl_progress_begin() */
    char label[64];
    uint64_t total; /* bytes; 0: unknown */
    _Atomic uint64_t done;
    atomic_flag showing; /* held by the thread that draws */
    double start, shown; /* seconds of CLOCK_MONOTONIC */
    bool terminal;
    bool begun; /* and not ended; if the work fails, the command calls hl_progress_clear() */
};

/* Begins a piece of work of `total` bytes. */
void hl_progress_begin(struct hl_progress *progress, const char *label, uint64_t total);
/* Reports `bytes` more. Any thread may call it. */
void hl_progress_add(struct hl_progress *progress, uint64_t bytes);
/* Ends work that succeeded: removes the bar, or prints a last line with the bytes, the time and the speed. */
void hl_progress_end(struct hl_progress *progress);
/* Ends work that failed: removes the bar and prints nothing. */
void hl_progress_clear(struct hl_progress *progress);

#endif
