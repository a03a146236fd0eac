/* The glue to evhttp, and the limits that evhttp lacks.
 *
 *   bytes arrive --> request complete --> handler --> reply --> (keep-alive) bytes arrive --> ...
 *   `---- one deadline for all ----'      `- deferred: watched for the client's leaving
 *
 * evhttp's timeout counts from byte to byte: a client that sends a byte a minute would hold its connection for ever. So
 * httpd sets a deadline of its own at a request's first byte. evhttp does not report new connections. httpd finds each
 * one through its bufferevent, right after the accept; at that moment the argument of the bufferevent's callbacks is
 * evhttp's connection. This holds in libevent 2.1.12, the version that every supported distribution has; it is linked
 * statically. From there until its close callback a connection stands in a table, indexed by file descriptor.
 *
 * While a reply is deferred evhttp does not read, and would not notice that the client left. Bytes that a client sends
 * after its request must not pile up in memory either. So a deferred exchange reads on, up to a watermark, with a
 * callback of its own; evhttp restores its callbacks with the first byte of the reply. */
#include "runtime/server/httpd.h"
#include "runtime/server/exchange.h"
#include "runtime/server/reply.h"
#include <event2/bufferevent.h>
#include <event2/http_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEXT_REQUEST_LIMIT 65536u /* bytes of the next request that are read during an exchange */

struct hl_httpd {
    struct event_base *base;
    struct evhttp *server;
    struct evhttp_bound_socket *socket; /* NULL once it is closed */
    struct hl_httpd_options options;
    struct hl_connection **connections; /* by file descriptor */
    size_t n_connections;
    uint32_t open;   /* connections, in the table or not yet */
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

/* Stops accepting at the limit: further connections wait in the kernel's queue. */
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
    struct hl_connection *c = argument;
    struct hl_exchange *exchange = c->exchange;
    (void)peer;
    if (exchange) {
        void (*left)(void *) = exchange->left;
        void *context = exchange->context;
        /* evhttp does not free a request with an incomplete reply, except when httpd closes the connection. */
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
    const struct hl_connection *c = argument;
    (void)fd;
    (void)what;
    evhttp_connection_free(c->peer); /* calls on_close() */
}

static void start_deadline(struct hl_connection *c)
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

static bool add_to_table(struct hl_connection *c)
{
    struct hl_httpd *http = c->http;
    if (c->fd >= http->n_connections) {
        size_t n = 2 * c->fd + 64;
        struct hl_connection **grown = realloc(http->connections, n * sizeof(struct hl_connection *));
        if (!grown)
            return false;
        memset(grown + http->n_connections, 0, (n - http->n_connections) * sizeof(struct hl_connection *));
        http->connections = grown;
        http->n_connections = n;
    }
    http->connections[c->fd] = c;
    return true;
}

static void register_connection(evutil_socket_t fd, short what, void *argument)
{
    struct hl_connection *c = argument;
    struct bufferevent *stream = c->stream;
    void *peer;
    (void)fd;
    (void)what;
    bufferevent_getcb(stream, NULL, NULL, NULL, &peer);
    c->fd = (size_t)bufferevent_getfd(stream);
    c->peer = peer;
    setsockopt((int)c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* each token leaves at once */
    c->deadline = evtimer_new(c->http->base, on_deadline, c);
    if (peer && c->deadline && add_to_table(c)) {
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
    struct hl_connection *c = calloc(1, sizeof *c);
    if (!stream || !c || event_base_once(base, -1, EV_TIMEOUT, register_connection, c, NULL) < 0) {
        free(c);
        if (stream)
            bufferevent_free(stream);
        return NULL; /* evhttp then creates one itself, and on_request() refuses its requests */
    }
    c->http = argument;
    c->stream = stream;
    count_open(c->http, 1);
    bufferevent_incref(stream); /* until register_connection(): evhttp may close it earlier */
    return stream;
}

/* ---- requests ---- */

/* Waits for the next request again. */
static void on_complete(struct evhttp_request *request, void *argument)
{
    struct hl_exchange *exchange = argument;
    struct hl_connection *c = exchange->connection;
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
    struct hl_connection *c = fd < http->n_connections ? http->connections[fd] : NULL;
    struct hl_exchange *exchange = c ? calloc(1, sizeof *exchange) : NULL;
    if (!exchange)
        return NULL;
    const struct timeval wait = {.tv_sec = http->options.timeout};
    exchange->connection = c;
    exchange->request = request;
    c->exchange = exchange;
    http->active++;
    evtimer_del(c->deadline);
    bufferevent_set_timeouts(stream, NULL, &wait); /* a reply may take any time */
    bufferevent_setwatermark(stream, EV_READ, 0, NEXT_REQUEST_LIMIT);
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
    hl_reply_error(exchange, 404, "unknown path");
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
    evhttp_set_flags(http->server, EVHTTP_SERVER_LINGERING_CLOSE); /* a client that still sends can read the 413 */
    evhttp_set_default_content_type(http->server, NULL);
    evhttp_set_allowed_methods(http->server, UINT16_MAX); /* on_request() refuses, in JSON */
    *out = http;
    return 0;
}

static void stop_accepting(struct hl_httpd *http)
{
    if (http->socket)
        evhttp_del_accept_socket(http->server, http->socket);
    http->socket = NULL;
}

bool hl_httpd_stopping(const struct hl_httpd *http)
{
    return http->stopping;
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
        stop_accepting(http); /* first: each connection that ends makes room for another */
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
    const struct hl_connection *c = argument;
    (void)stream;
    (void)what;
    evhttp_connection_free(c->peer); /* calls on_close() */
}

void hl_exchange_defer(struct hl_exchange *exchange, void (*left)(void *context), void *context)
{
    struct hl_connection *c = exchange->connection;
    struct evbuffer *body = evhttp_request_get_input_buffer(exchange->request);
    evbuffer_drain(body, evbuffer_get_length(body)); /* hundreds of exchanges may be deferred for long */
    exchange->left = left;
    exchange->context = context;
    bufferevent_setcb(c->stream, NULL, NULL, on_gone, c);
    bufferevent_enable(c->stream, EV_READ);
}
