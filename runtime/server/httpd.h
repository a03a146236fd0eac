/* HTTP: routes over libevent's evhttp, with the limits that a public server needs: on sizes, times and buffers.
 * Everything runs on the event loop's thread.
 *
 * An exchange is one request and its reply. Its handler replies at once, or calls hl_exchange_defer() and replies
 * later, whole or in pieces (reply.h). The end of its reply is the end of an exchange. */
#ifndef HL_RUNTIME_SERVER_HTTPD_H
#define HL_RUNTIME_SERVER_HTTPD_H

#include "base/error.h"
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl_httpd;
struct hl_exchange;

enum hl_method { HL_GET = 1, HL_POST = 2 }; /* GET answers HEAD too */

struct hl_route {
    const char *path; /* compared exactly, without the query */
    enum hl_method method;
    void (*handle)(void *context, struct hl_exchange *exchange);
};

struct hl_httpd_options {
    const struct hl_route *routes; /* a route without a path ends the list */
    void *context;                 /* for the handlers */
    uint32_t connections;          /* open at once; further ones wait */
    uint32_t timeout;              /* seconds for a request to arrive whole, and for a client that stopped reading */
};

#define HL_HTTP_BODY_LIMIT (16u << 20)   /* a larger request is read, dropped and answered with 413 */
#define HL_HTTP_HEADER_LIMIT (64u << 10) /* of the request line and headers */

/* Serves connections to the listening socket. Takes the socket over, also on failure. */
int hl_httpd_open(struct event_base *base, int listener, const struct hl_httpd_options *options, struct hl_httpd **out,
                  struct hl_error *err);
/* Accepts no more connections; ends the event loop after the last exchange. */
void hl_httpd_stop(struct hl_httpd *http);
/* Drops the exchanges in progress. */
void hl_httpd_close(struct hl_httpd *http);

/* Returns the request's body; it is valid until the reply is made or deferred. */
const char *hl_exchange_body(struct hl_exchange *exchange, size_t *n);

/* Announces that the reply comes later; drops the body. `left` is called if the client leaves or stops reading before
 * the end of the reply; the exchange is gone then. */
void hl_exchange_defer(struct hl_exchange *exchange, void (*left)(void *context), void *context);

#endif
