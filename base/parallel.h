/* A loop whose iterations run in parallel. */
#ifndef HL_BASE_PARALLEL_H
#define HL_BASE_PARALLEL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

/* Calls round(context, i, err) for every i below n, at most `jobs` calls at a time, starting them in order of i. After
 * the first failure it starts no more calls, waits for those that run, and returns that failure's error. */
int hl_parallel(size_t n, unsigned jobs, int (*round)(void *context, size_t i, struct hl_error *err), void *context,
                struct hl_error *err);

#endif
