/* A loop whose rounds run side by side. */
#ifndef HL_BASE_PARALLEL_H
#define HL_BASE_PARALLEL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

/* Calls round(context, i, err) for every i below n, up to `jobs` at once, in order of i as far as that goes. After the
 * first failure no round is begun; its error is the result. */
int hl_parallel(size_t n, unsigned jobs, int (*round)(void *context, size_t i, struct hl_error *err), void *context,
                struct hl_error *err);

#endif
