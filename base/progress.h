/* How far a long command has come, for whoever waits: a bar on a terminal, a plain line now and then elsewhere.
 *
 * Libraries take a `struct hl_progress *` and only report bytes; a command decides whether and where they are shown.
 * Every function accepts NULL, which shows nothing.
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
    atomic_flag showing; /* by one thread at a time */
    double start, shown; /* seconds of CLOCK_MONOTONIC */
    bool terminal;
    bool begun; /* a begun progress that fails is ended by the command, with hl_progress_clear() */
};

/* Starts a piece of work of `total` bytes. */
void hl_progress_begin(struct hl_progress *progress, const char *label, uint64_t total);
/* From any thread. */
void hl_progress_add(struct hl_progress *progress, uint64_t bytes);
/* The work is done: the bar goes; elsewhere a last line says how much it was and how long it took. */
void hl_progress_end(struct hl_progress *progress);
/* The work is not done: the bar goes, and nothing is claimed. */
void hl_progress_clear(struct hl_progress *progress);

#endif
