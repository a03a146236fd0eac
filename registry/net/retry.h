/* When a failed request is tried again, and after how long. */
#ifndef HL_REGISTRY_NET_RETRY_H
#define HL_REGISTRY_NET_RETRY_H

#include "registry/net/http.h"
#include <time.h>

#define HL_RETRY_AFTER_MOST 300

/* Is it one of the statuses of troubles that may be over later? */
bool hl_retry_passing(long status);

/* Waits before the try that follows try number `attempt` (from 0), as `response` (may be NULL) asks or by backoff with
 * jitter. */
void hl_retry_wait(unsigned attempt, const struct hl_http_response *response);

/* How long that is, in seconds; `now` counts where the response has no date, `jitter` is in [0, 1). */
double hl_retry_delay(unsigned attempt, const struct hl_http_response *response, time_t now, double jitter);

#endif
