/* HTTP: routes in front, libevent's evhttp behind, and between them what a public server owes to strangers - limits on
 * sizes, times and buffers. Everything runs on the thread of the event loop.
 *
 * An exchange is one request and its reply. Its handler replies at once, or calls hl_exchange_defer() and replies
 * later, whole (hl_reply*) or in pieces (hl_stream*). With the end of its reply an exchange is gone. */
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
    const char *path;
    enum hl_method method;
    void (*handle)(void *context, struct hl_exchange *exchange);
};

struct hl_httpd_options {
    const struct hl_route *routes; /* the last one has no path */
    void *context;                 /* the handlers' */
    uint32_t connections;          /* open at once; more of them wait */
    uint32_t timeout;              /* seconds for a request to arrive whole, and for a stalled reader to read on */
};

#define HL_HTTP_JSON "application/json; charset=utf-8"

#define HL_HTTP_BODY_LIMIT (16u << 20)   /* a larger request is read, thrown away and answered with 413 */
#define HL_HTTP_HEADER_LIMIT (64u << 10) /* of the request line and headers */
#define HL_HTTP_BEHIND_LIMIT (1u << 20)  /* bytes of a stream that its reader may be behind */

/* Serves what connects to the listening socket, which it takes over in any case. */
int hl_httpd_open(struct event_base *base, int listener, const struct hl_httpd_options *options, struct hl_httpd **out,
                  struct hl_error *err);
/* No new connections; ends the event loop when the last exchange under way is over. */
void hl_httpd_stop(struct hl_httpd *http);
/* Drops what is under way. */
void hl_httpd_close(struct hl_httpd *http);

/* The request's body; valid until the reply is made or deferred. */
const char *hl_exchange_body(struct hl_exchange *exchange, size_t *n);

/* The reply comes later. `left` is called when the client goes away first, or does not read; the exchange is gone then.
 */
void hl_exchange_defer(struct hl_exchange *exchange, void (*left)(void *context), void *context);

/* A whole reply; takes what is in `body`, not the buffer. */
void hl_reply(struct hl_exchange *exchange, int status, const char *type, struct evbuffer *body);
/* {"error": message}, with Retry-After where the status is 503. */
void hl_reply_error(struct hl_exchange *exchange, int status, const char *message);
/* The status follows the kind: 400, 503 or 500. */
void hl_reply_failure(struct hl_exchange *exchange, const struct hl_error *err);

/* A piece of a reply; the first one sends the headers. False: the client was too far behind, and the exchange is gone.
 */
bool hl_stream(struct hl_exchange *exchange, const char *type, struct evbuffer *piece);
void hl_stream_end(struct hl_exchange *exchange);

/* Appends text as a JSON string, with its quotes; whatever the bytes, the result is UTF-8. */
void hl_json_string(struct evbuffer *out, const char *text, size_t n);

#endif
