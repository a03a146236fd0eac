/* One HTTP request after another over a connection that stays open: libcurl, with what talking to registries needs.
 *
 * - An authorization goes to the host and port of the request's own URL, and with no redirect to another.
 * - A redirect is followed for GET and HEAD alone, at most HL_HTTP_REDIRECTS times; never from https to http, and never
 *   to a loopback or link-local address from a host that is none.
 * - Plain HTTP is for loopback hosts, which no proxy is used for, and for others where the options say so.
 * - A stall ends the request: `stall_seconds` in which not even 1 KiB moves. But between the last byte sent and the
 *   first byte of the answer to anything other than GET and HEAD `answer_seconds` may pass, since a registry then
 *   hashes what it got.
 *
 * RFC 9110 (semantics), RFC 7230 (chunked bodies).
 */
#ifndef HL_REGISTRY_NET_HTTP_H
#define HL_REGISTRY_NET_HTTP_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL_HTTP_REDIRECTS 10
#define HL_HTTP_URL_LIMIT ((size_t)64 << 10)      /* Locations of some registries carry a state of several KB */
#define HL_HTTP_HEADERS_LIMIT ((size_t)256 << 10) /* of one response */
#define HL_HTTP_UNKNOWN UINT64_MAX                /* a body of a size that only its end tells: chunked */

/* Takes bytes piece by piece, in order; -1 ends the transfer. */
typedef int hl_sink(void *context, const void *bytes, size_t n, struct hl_error *err);

struct hl_http_options {
    const char *ca;          /* a file of PEM certificates to trust instead of the system's; NULL: the system's */
    bool plain_http;         /* http:// is allowed to any host */
    bool no_proxy;           /* never through one that the environment names */
    unsigned stall_seconds;  /* 0: 60 */
    unsigned answer_seconds; /* 0: 900 */
};

/* A body to send, from where it stands. read() fills at most `size` bytes; *n = 0 ends a body of unknown size. rewind()
 * goes back to the first byte: hl_http_send() calls it when a kept connection turns out to be closed, a caller before
 * it sends a body again. NULL: there is no way back. */
struct hl_http_body {
    uint64_t bytes;
    int (*read)(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err);
    int (*rewind)(void *context, struct hl_error *err);
    void *context;
};

struct hl_http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" */
    const char *url;
    const char *from;          /* the URL whose answer's Location led here: held to the rules of redirects; or NULL */
    const char *authorization; /* the header's value, or NULL */
    const char *const *header; /* "Name: value"; no secrets, since they go along with redirects */
    size_t n_headers;          /* of `header` */
    const struct hl_http_body *body; /* NULL: none; POST, PUT and PATCH then say Content-Length: 0 */
    hl_sink *sink;                   /* gets the body of a 200 or 206; NULL: it is kept in the response. When it is
                                        first called, the response's status and headers are there to be looked at */
    void *context;                   /* of the sink */
    size_t limit;                    /* of a body that is kept; 0: 1 MiB. What is longer fails the request; an error's
                                        text is cut at 64 KiB instead */
    const char *user, *password;     /* Basic authentication instead of `authorization`, or NULL */
    bool public_hosts;               /* refuse what hl_http_is_local() says yes to, behind redirects too */
    unsigned seconds;                /* the most that all of it may take; 0: as long as bytes flow */
};

struct hl_http_response {
    long status;
    char *url;     /* where the answer came from, behind redirects */
    char *headers; /* "name: value\n" lines of the final response, names in lower case */
    char *body;    /* NUL-terminated; what a sink did not take; none of these three is NULL after a success */
    size_t body_bytes;
    uint64_t received; /* bytes that the sink took */
};

/* What went wrong, when hl_http_send() fails. */
enum hl_http_failure {
    HL_HTTP_LOCAL,     /* here: a sink or a body failed, memory, a URL that is none; err holds the sink's own error */
    HL_HTTP_REFUSED,   /* will fail again: certificates, a redirect to where none may lead, too large an answer */
    HL_HTTP_TRANSIENT, /* may work the next time: resets, stalls, no connection, an answer cut short */
};

struct hl_http;

/* The options' texts are copied. Used by one thread at a time. */
int hl_http_open(const struct hl_http_options *options, struct hl_http **out, struct hl_error *err);
void hl_http_close(struct hl_http *http);

/* Any status is a success here; -1 means that there was no complete answer, and *failure says of what kind. Errors name
 * method and URL without its query. The caller frees `out` with hl_http_response_free(), also after a failure. */
int hl_http_send(struct hl_http *http, const struct hl_http_request *request, struct hl_http_response *out,
                 enum hl_http_failure *failure, struct hl_error *err);
void hl_http_response_free(struct hl_http_response *response);

/* The value of the first header of this lower-case name, copied into `out` and NUL-terminated; false when there is
 * none, or it does not fit. `from` skips that many of the same name. */
bool hl_http_header(const struct hl_http_response *response, const char *name, size_t from, char *out, size_t size);
/* The same without a bound; the caller frees it. NULL: there is none. */
char *hl_http_header_copy(const struct hl_http_response *response, const char *name);

/* `reference` (absolute, "//host/...", "host/..." after a registry's fashion, "/path" or relative) seen from `base`;
 * the query stays byte by byte. Only http and https pass. The caller frees *out. RFC 3986, 5.2. */
int hl_http_resolve(const char *base, const char *reference, char **out, struct hl_error *err);

/* Do scheme, host and port agree? */
bool hl_http_same_origin(const char *a, const char *b);

/* Is the URL's host a literal loopback, link-local or private address in any notation, or "localhost"? Names are not
 * looked up: a company's own registry may well have a name and a private address. */
bool hl_http_is_local(const char *url);

/* The URL without user, query and fragment, for messages; cut to fit. */
const char *hl_http_shown(const char *url, char out[256]);

#endif
