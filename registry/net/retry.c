#include "registry/net/retry.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* 501, 505 and 507 are permanent. Statuses above 511 come from proxies, and concern the registry that they hide. */
bool hl_retry_passing(long status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505 && status != 507);
}

/* Returns the seconds that the response asks to wait; -1: it does not say. Its own Date counts, since clocks differ. */
static double retry_after(const struct hl_http_response *response, time_t now)
{
    char value[64], date[64];
    if (!response || !hl_http_header(response, "retry-after", 0, value, sizeof value) || !value[0])
        return -1;
    size_t digits = strspn(value, "0123456789");
    if (!value[digits])
        return digits < 10 ? strtod(value, NULL) : (double)HL_RETRY_AFTER_MOST;
    time_t then = curl_getdate(value, NULL), sent = -1;
    if (hl_http_header(response, "date", 0, date, sizeof date))
        sent = curl_getdate(date, NULL);
    if (then == -1)
        return -1;
    double wait = difftime(then, sent == -1 ? now : sent);
    return wait > 0 ? wait : 0;
}

double hl_retry_delay(unsigned attempt, const struct hl_http_response *response, time_t now, double jitter)
{
    double said = retry_after(response, now), backoff = attempt < 6 ? 0.5 * (double)(1u << attempt) : 30;
    if (said >= 0)
        return (said < HL_RETRY_AFTER_MOST ? said : HL_RETRY_AFTER_MOST) + jitter * 0.25;
    return backoff * (0.5 + 0.5 * jitter);
}

void hl_retry_wait(unsigned attempt, const struct hl_http_response *response)
{
    uint32_t dice = 0;
    if (getrandom(&dice, sizeof dice, 0) != sizeof dice)
        dice = (uint32_t)getpid() * 2654435761u;
    double wait = hl_retry_delay(attempt, response, time(NULL), (double)dice / 4294967296.0);
    struct timespec left = {.tv_sec = (time_t)wait};
    left.tv_nsec = (long)((wait - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}
