/* Decides whether a failed request is retried, and after how long. */
#ifndef HL_REGISTRY_NET_RETRY_H
#define HL_REGISTRY_NET_RETRY_H

#include "registry/net/http.h"
#include <time.h>

#define HL_RETRY_AFTER_MOST 300

/* Returns whether the status tells of a temporary problem. */
bool hl_retry_passing(long status);

/* Waits after try number `attempt` (from 0) before the next one: as `response` (may be NULL) asks, or with exponential
 * backoff and jitter. */
void hl_retry_wait(unsigned attempt, const struct hl_http_response *response);

/* Returns that wait in seconds. `now` replaces a missing Date of the response; `jitter` is in [0, 1). */
double hl_retry_delay(unsigned attempt, const struct hl_http_response *response, time_t now, double jitter);

#endif
