/* Sends HTTP requests one after another over a connection that stays open: libcurl, plus the rules for registries.
 *
 * - An authorization is sent only to the host and port of the request's own URL, never along with a redirect to
 *   another.
 * - Only GET and HEAD follow redirects, at most HL_HTTP_REDIRECTS of them. A redirect never leads from https to http,
 *   nor to a loopback or link-local address unless the host that sent it has one too.
 * - Plain HTTP is allowed to loopback hosts, for which no proxy is used, and to others if the options allow it.
 * - A stall ends the request: less than 1 KiB in `stall_seconds`. After the last byte of a request other than GET and
 *   HEAD, the first byte of the response may take `answer_seconds`, since the registry hashes the upload first.
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
#define HL_HTTP_HEADERS_LIMIT ((size_t)256 << 10) /* of one response */
#define HL_HTTP_UNKNOWN UINT64_MAX                /* size of a body that only its end tells: sent chunked */

/* Receives bytes piece by piece, in order. Returns -1 to end the transfer. */
typedef int hl_http_sink(void *context, const void *bytes, size_t n, struct hl_error *err);

struct hl_http_options {
    const char *ca;          /* a file of PEM certificates to trust instead of the system's; NULL: the system's */
    bool plain_http;         /* http:// is allowed to any host */
    bool no_proxy;           /* ignore the proxies that the environment names */
    unsigned stall_seconds;  /* 0: 60 */
    unsigned answer_seconds; /* 0: 900 */
};

/* A body to send, from its current position. read() fills at most `size` bytes; *n = 0 ends a body of unknown size.
 * rewind() returns to the first byte. hl_http_send() calls it when a kept connection turns out to be closed, and a
 * caller before it sends a body again. NULL: the body cannot be rewound. */
struct hl_http_body {
    uint64_t bytes;
    int (*read)(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err);
    int (*rewind)(void *context, struct hl_error *err);
    void *context;
};

struct hl_http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" */
    const char *url;
    const char *from;                /* the URL whose Location led here, so the rules of redirects apply; or NULL */
    const char *authorization;       /* the header's value, or NULL */
    const char *const *header;       /* "Name: value"; no secrets, since redirects keep them */
    size_t n_headers;                /* of `header` */
    const struct hl_http_body *body; /* NULL: none; POST, PUT and PATCH then send Content-Length: 0 */
    hl_http_sink *sink;              /* gets the body of a 200 or 206; NULL: it is kept in the response. The response's
                                        status and headers are valid from the first call on */
    void *context;                   /* of the sink */
    size_t limit;                    /* of a body that is kept; 0: 1 MiB. A longer one fails the request, but an
                                        error's text is truncated at 64 KiB instead */
    const char *user, *password;     /* Basic authentication instead of `authorization`, or NULL */
    bool public_hosts;               /* refuse the hosts of hl_url_is_local(), also after redirects */
    unsigned seconds;                /* limit of the whole request; 0: as long as bytes flow */
};

struct hl_http_response {
    long status;
    char *url;     /* of the final response, after redirects */
    char *headers; /* "name: value\n" lines of the final response, names in lower case */
    char *body;    /* NUL-terminated; bytes that no sink took. After a success none of these three is NULL */
    size_t body_bytes;
    uint64_t received; /* bytes that the sink took */
};

/* The kind of failure of hl_http_send(). */
enum hl_http_failure {
    HL_HTTP_LOCAL,     /* on this side: a sink, a body, memory, an invalid URL; err holds the sink's own error */
    HL_HTTP_REFUSED,   /* permanent: a certificate, a forbidden redirect, too large a response */
    HL_HTTP_TRANSIENT, /* may succeed next time: a reset, a stall, no connection, a truncated response */
};

struct hl_http;

/* Copies the options' texts. One thread at a time may use the result. */
int hl_http_open(const struct hl_http_options *options, struct hl_http **out, struct hl_error *err);
void hl_http_close(struct hl_http *http);

/* Succeeds with any status; -1 means that no complete response arrived, and *failure tells the kind. Errors name the
 * method and the URL without its query. The caller frees `out` with hl_http_response_free(), also after a failure. */
int hl_http_send(struct hl_http *http, const struct hl_http_request *request, struct hl_http_response *out,
                 enum hl_http_failure *failure, struct hl_error *err);
void hl_http_response_free(struct hl_http_response *response);

/* Copies the value of the first header of this lower-case name into `out`, NUL-terminated. Returns false if the header
 * is absent or does not fit. `from` skips that many headers of the same name. */
bool hl_http_header(const struct hl_http_response *response, const char *name, size_t from, char *out, size_t size);
/* Returns the same without a limit; the caller frees it. NULL: the header is absent. */
char *hl_http_header_copy(const struct hl_http_response *response, const char *name);

#endif
