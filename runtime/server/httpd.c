/* The glue to evhttp, and what evhttp leaves open.
 *
 *   bytes arrive --> request complete --> handler --> reply --> (keep-alive) bytes arrive --> ...
 *   `---- one deadline for all ----'      `- deferred: watched for the client's leaving
 *
 * evhttp's timeout counts from byte to byte, so a client that sends a byte a minute would hold its connection for ever;
 * a deadline of our own starts with a request's first byte. evhttp tells nobody about new connections, so we meet each
 * one through its bufferevent, right after it was accepted; evhttp's connection is the argument of the bufferevent's
 * callbacks then (so it is in libevent 2.1.12, which is linked statically and is what every supported distribution
 * has). From there until its close callback a connection stands in a table by file descriptor.
 *
 * While a reply is deferred evhttp does not read, and would not notice that the client left; and what a client sends
 * behind its request must not pile up in memory. So a deferred exchange reads on, up to a watermark, with a callback of
 * its own; evhttp puts its callbacks back with the first byte of the reply. */
#include "runtime/server/httpd.h"
#include "hotlayer/version.h"
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#define BEHIND_REQUEST_LIMIT 65536u /* bytes of a next request that are read while one is in progress */

struct connection {
    struct hl_httpd *http;
    struct evhttp_connection *peer;
    struct bufferevent *stream;
    struct event *deadline; /* pending while a request arrives */
    struct hl_exchange *exchange;
    size_t fd;
};

struct hl_exchange {
    struct connection *connection;
    struct evhttp_request *request;
    void (*left)(void *context);
    void *context;
    bool streaming;
};

struct hl_httpd {
    struct event_base *base;
    struct evhttp *server;
    struct evhttp_bound_socket *socket; /* NULL once it is closed */
    struct hl_httpd_options options;
    struct connection **connections; /* by file descriptor */
    size_t n_connections;
    uint32_t open;   /* connections, met or not */
    uint32_t active; /* exchanges */
    bool stopping;
};

/* ---- connections ---- */

static void end_exchange(struct hl_exchange *exchange)
{
    struct hl_httpd *http = exchange->connection->http;
    exchange->connection->exchange = NULL;
    free(exchange);
    if (--http->active == 0 && http->stopping)
        event_base_loopexit(http->base, NULL);
}

/* Accepts as long as there is room; more connections wait in the kernel's queue. */
static void count_open(struct hl_httpd *http, int change)
{
    http->open += (uint32_t)change;
    if (!http->socket)
        return;
    if (http->open < http->options.connections)
        evconnlistener_enable(evhttp_bound_socket_get_listener(http->socket));
    else
        evconnlistener_disable(evhttp_bound_socket_get_listener(http->socket));
}

static void on_close(struct evhttp_connection *peer, void *argument)
{
    struct connection *c = argument;
    struct hl_exchange *exchange = c->exchange;
    (void)peer;
    if (exchange) {
        void (*left)(void *) = exchange->left;
        void *context = exchange->context;
        /* evhttp leaves us the request whose reply we have not completed, except where we close the connection. */
        if (!evhttp_request_get_connection(exchange->request))
            evhttp_request_free(exchange->request);
        end_exchange(exchange);
        if (left)
            left(context);
    }
    c->http->connections[c->fd] = NULL;
    count_open(c->http, -1);
    event_free(c->deadline);
    free(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    const struct connection *c = argument;
    (void)fd;
    (void)what;
    evhttp_connection_free(c->peer); /* calls on_close() */
}

static void start_deadline(struct connection *c)
{
    const struct timeval wait = {.tv_sec = c->http->options.timeout};
    if (!c->exchange && !evtimer_pending(c->deadline, NULL))
        evtimer_add(c->deadline, &wait);
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *argument)
{
    (void)input;
    if (info->n_added)
        start_deadline(argument);
}

static bool enter_table(struct connection *c)
{
    struct hl_httpd *http = c->http;
    if (c->fd >= http->n_connections) {
        size_t n = 2 * c->fd + 64;
        struct connection **grown = realloc(http->connections, n * sizeof(struct connection *));
        if (!grown)
            return false;
        memset(grown + http->n_connections, 0, (n - http->n_connections) * sizeof(struct connection *));
        http->connections = grown;
        http->n_connections = n;
    }
    http->connections[c->fd] = c;
    return true;
}

static void meet(evutil_socket_t fd, short what, void *argument)
{
    struct connection *c = argument;
    struct bufferevent *stream = c->stream;
    void *peer;
    (void)fd;
    (void)what;
    bufferevent_getcb(stream, NULL, NULL, NULL, &peer);
    c->fd = (size_t)bufferevent_getfd(stream);
    c->peer = peer;
    setsockopt((int)c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* a token goes out when it is there */
    c->deadline = evtimer_new(c->http->base, on_deadline, c);
    if (peer && c->deadline && enter_table(c)) {
        evhttp_connection_set_closecb(c->peer, on_close, c);
        evbuffer_add_cb(bufferevent_get_input(stream), on_input, c);
    } else {
        count_open(c->http, -1);
        if (c->deadline)
            event_free(c->deadline);
        free(c);
        if (peer)
            evhttp_connection_free(peer);
    }
    bufferevent_decref(stream);
}

static struct bufferevent *new_stream(struct event_base *base, void *argument)
{
    struct bufferevent *stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct connection *c = calloc(1, sizeof *c);
    if (!stream || !c || event_base_once(base, -1, EV_TIMEOUT, meet, c, NULL) < 0) {
        free(c);
        if (stream)
            bufferevent_free(stream);
        return NULL; /* evhttp makes one of its own; its requests are turned away below */
    }
    c->http = argument;
    c->stream = stream;
    count_open(c->http, 1);
    bufferevent_incref(stream); /* until we have met: evhttp may close it before */
    return stream;
}

/* ---- requests ---- */

/* Back to waiting for requests. */
static void on_complete(struct evhttp_request *request, void *argument)
{
    struct hl_exchange *exchange = argument;
    struct connection *c = exchange->connection;
    const struct timeval wait = {.tv_sec = c->http->options.timeout};
    (void)request;
    end_exchange(exchange);
    bufferevent_set_timeouts(c->stream, &wait, &wait);
    bufferevent_setwatermark(c->stream, EV_READ, 0, 0);
    if (evbuffer_get_length(bufferevent_get_input(c->stream)))
        start_deadline(c);
}

static struct hl_exchange *new_exchange(struct hl_httpd *http, struct evhttp_request *request)
{
    struct bufferevent *stream = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    size_t fd = (size_t)bufferevent_getfd(stream);
    struct connection *c = fd < http->n_connections ? http->connections[fd] : NULL;
    struct hl_exchange *exchange = c ? calloc(1, sizeof *exchange) : NULL;
    if (!exchange)
        return NULL;
    const struct timeval wait = {.tv_sec = http->options.timeout};
    exchange->connection = c;
    exchange->request = request;
    c->exchange = exchange;
    http->active++;
    evtimer_del(c->deadline);
    bufferevent_set_timeouts(stream, NULL, &wait); /* a client may wait for its reply as long as it takes */
    bufferevent_setwatermark(stream, EV_READ, 0, BEHIND_REQUEST_LIMIT);
    evhttp_request_set_on_complete_cb(request, on_complete, exchange);
    return exchange;
}

static void refuse_method(struct hl_exchange *exchange, enum hl_method method)
{
    evhttp_add_header(evhttp_request_get_output_headers(exchange->request), "Allow",
                      method == HL_GET ? "GET, HEAD" : "POST");
    hl_reply_error(exchange, 405, method == HL_GET ? "this path answers GET" : "this path answers POST");
}

static void on_request(struct evhttp_request *request, void *argument)
{
    struct hl_httpd *http = argument;
    struct hl_exchange *exchange = new_exchange(http, request);
    if (!exchange) {
        evhttp_send_error(request, 503, NULL);
        return;
    }
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    enum evhttp_cmd_type command = evhttp_request_get_command(request);
    path = path && *path ? path : "/";
    for (const struct hl_route *route = http->options.routes; route->path; route++) {
        if (strcmp(route->path, path) != 0)
            continue;
        if (route->method == HL_GET ? command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD
                                    : command != EVHTTP_REQ_POST)
            refuse_method(exchange, route->method);
        else
            route->handle(http->options.context, exchange);
        return;
    }
    hl_reply_error(exchange, 404, "there is nothing at this path");
}

/* ---- the server ---- */

int hl_httpd_open(struct event_base *base, int listener, const struct hl_httpd_options *options, struct hl_httpd **out,
                  struct hl_error *err)
{
    struct hl_httpd *http = calloc(1, sizeof *http);
    if (http) {
        http->base = base;
        http->options = *options;
        http->server = evhttp_new(base);
        http->socket = http->server ? evhttp_accept_socket_with_handle(http->server, listener) : NULL;
    }
    if (!http || !http->socket) {
        close(listener);
        hl_httpd_close(http);
        return hl_no_memory(err);
    }
    evhttp_set_bevcb(http->server, new_stream, http);
    evhttp_set_gencb(http->server, on_request, http);
    evhttp_set_timeout(http->server, (int)options->timeout);
    evhttp_set_max_body_size(http->server, HL_HTTP_BODY_LIMIT);
    evhttp_set_max_headers_size(http->server, HL_HTTP_HEADER_LIMIT);
    evhttp_set_flags(http->server, EVHTTP_SERVER_LINGERING_CLOSE); /* so that 413 reaches who is still sending */
    evhttp_set_default_content_type(http->server, NULL);
    evhttp_set_allowed_methods(http->server, UINT16_MAX); /* ours to refuse, in JSON */
    *out = http;
    return 0;
}

static void stop_accepting(struct hl_httpd *http)
{
    if (http->socket)
        evhttp_del_accept_socket(http->server, http->socket);
    http->socket = NULL;
}

void hl_httpd_stop(struct hl_httpd *http)
{
    stop_accepting(http);
    http->stopping = true;
    if (http->active == 0)
        event_base_loopexit(http->base, NULL);
}

void hl_httpd_close(struct hl_httpd *http)
{
    if (!http)
        return;
    if (http->server) {
        stop_accepting(http); /* before connections end and make room for others */
        evhttp_free(http->server);
    }
    free(http->connections);
    free(http);
}

/* ---- exchanges ---- */

const char *hl_exchange_body(struct hl_exchange *exchange, size_t *n)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(exchange->request);
    *n = evbuffer_get_length(body);
    return *n ? (const char *)evbuffer_pullup(body, -1) : "";
}

static void on_gone(struct bufferevent *stream, short what, void *argument)
{
    const struct connection *c = argument;
    (void)stream;
    (void)what;
    evhttp_connection_free(c->peer); /* calls on_close() */
}

void hl_exchange_defer(struct hl_exchange *exchange, void (*left)(void *context), void *context)
{
    struct connection *c = exchange->connection;
    struct evbuffer *body = evhttp_request_get_input_buffer(exchange->request);
    evbuffer_drain(body, evbuffer_get_length(body)); /* many may be deferred, for long */
    exchange->left = left;
    exchange->context = context;
    bufferevent_setcb(c->stream, NULL, NULL, on_gone, c);
    bufferevent_enable(c->stream, EV_READ);
}

static void add_headers(struct hl_exchange *exchange, const char *type)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->request);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Server", "hotlayer/" HL_VERSION);
    if (exchange->connection->http->stopping)
        evhttp_add_header(headers, "Connection", "close");
}

void hl_reply(struct hl_exchange *exchange, int status, const char *type, struct evbuffer *body)
{
    if (evhttp_request_get_command(exchange->request) == EVHTTP_REQ_HEAD)
        evbuffer_drain(body, evbuffer_get_length(body));
    exchange->left = NULL;
    add_headers(exchange, type);
    evhttp_send_reply(exchange->request, status, NULL, body);
}

void hl_reply_error(struct hl_exchange *exchange, int status, const char *message)
{
    struct evbuffer *body = evbuffer_new();
    if (!body) {
        evhttp_connection_free(exchange->connection->peer);
        return;
    }
    evbuffer_add_printf(body, "{\"error\":");
    hl_json_string(body, message, strlen(message));
    evbuffer_add_printf(body, "}");
    if (status == 503)
        evhttp_add_header(evhttp_request_get_output_headers(exchange->request), "Retry-After", "1");
    hl_reply(exchange, status, HL_HTTP_JSON, body);
    evbuffer_free(body);
}

void hl_reply_failure(struct hl_exchange *exchange, const struct hl_error *err)
{
    hl_reply_error(exchange,
                   err->kind == HL_ERROR_REQUEST ? 400
                   : err->kind == HL_ERROR_BUSY  ? 503
                                                 : 500,
                   err->message);
}

/* HTTP/1.0 has no chunks: the end of the connection is the end of the reply. evhttp would keep the connection where the
 * client asks for that, and announce an empty reply. */
static void start_stream(struct hl_exchange *exchange, const char *type)
{
    struct evkeyvalq *asked = evhttp_request_get_input_headers(exchange->request);
    exchange->streaming = true;
    add_headers(exchange, type);
    if (exchange->request->major < 1 || exchange->request->minor < 1)
        while (evhttp_find_header(asked, "Connection"))
            evhttp_remove_header(asked, "Connection");
    evhttp_send_reply_start(exchange->request, 200, NULL);
}

bool hl_stream(struct hl_exchange *exchange, const char *type, struct evbuffer *piece)
{
    struct connection *c = exchange->connection;
    if (!exchange->streaming)
        start_stream(exchange, type);
    evhttp_send_reply_chunk(exchange->request, piece);
    if (evbuffer_get_length(bufferevent_get_output(c->stream)) <= HL_HTTP_BEHIND_LIMIT)
        return true;
    evhttp_connection_free(c->peer); /* calls on_close() */
    return false;
}

void hl_stream_end(struct hl_exchange *exchange)
{
    exchange->left = NULL;
    evhttp_send_reply_end(exchange->request);
}

void hl_json_string(struct evbuffer *out, const char *text, size_t n)
{
    evbuffer_add(out, "\"", 1);
    for (const char *at = text, *end = text + n; at < end;) {
        utf8proc_int32_t code;
        const char *plain = at;
        while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
            at++;
        evbuffer_add(out, plain, (size_t)(at - plain));
        if (at == end)
            break;
        if ((unsigned char)*at < 0x80) {
            evbuffer_add_printf(out, *at == '"' || *at == '\\' ? "\\%c" : "\\u%04x", *at);
            at++;
            continue;
        }
        utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &code);
        evbuffer_add(out, bytes > 0 ? at : "\xef\xbf\xbd", bytes > 0 ? (size_t)bytes : 3); /* U+FFFD */
        at += bytes > 0 ? bytes : 1;
    }
    evbuffer_add(out, "\"", 1);
}
