/* The HTTP server: a thread with an event loop and small handlers, a client of plain sockets. */
#include "base/address.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/server/httpd.h"
#include "runtime/server/reply.h"
#include "tests/unit/check.h"
#include <arpa/inet.h>
#include <errno.h>
#include <event2/thread.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECTIONS 4u

struct host {
    struct event_base *base;
    struct hl_httpd *http;
    struct event *stop;
    int stop_fd;
    uint16_t port;
    pthread_t thread;
    struct event *tick; /* of the one stream */
    struct hl_exchange *streaming;
    unsigned pieces;
    _Atomic unsigned left, handled, body_bytes;
    _Atomic bool finish; /* the stream ends with its next piece */
};

/* ---- handlers ---- */

static void on_echo(void *context, struct hl_exchange *exchange)
{
    struct host *h = context;
    size_t n;
    const char *text = hl_exchange_body(exchange, &n);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, text, n);
    h->handled++;
    h->body_bytes = (unsigned)n;
    hl_reply_send(exchange, 200, "text/plain", body);
    evbuffer_free(body);
}

static void on_text(void *context, struct hl_exchange *exchange)
{
    (void)context;
    hl_reply_text(exchange, "text/plain", "hello");
}

static void on_busy(void *context, struct hl_exchange *exchange)
{
    struct hl_error err;
    (void)context;
    hl_fail_as(&err, HL_ERROR_BUSY, "full \"up\"");
    hl_reply_failure(exchange, &err);
}

static void on_left(void *context)
{
    struct host *h = context;
    h->left++;
    h->streaming = NULL;
    event_del(h->tick);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    static const char filler[65536] = "";
    struct host *h = context;
    struct evbuffer *piece = evbuffer_new();
    (void)fd;
    (void)what;
    if (h->pieces == 0)
        evbuffer_add_printf(piece, "piece;");
    else
        evbuffer_add(piece, filler, sizeof filler);
    if (h->finish) {
        evbuffer_drain(piece, evbuffer_get_length(piece));
        evbuffer_add_printf(piece, "last");
    }
    if (hl_reply_piece(h->streaming, "text/plain", piece) && h->finish) {
        event_del(h->tick);
        hl_reply_end(h->streaming);
        h->streaming = NULL;
    }
    evbuffer_free(piece);
}

static void start_stream(struct host *h, struct hl_exchange *exchange, unsigned pieces)
{
    h->streaming = exchange;
    h->pieces = pieces;
    hl_exchange_defer(exchange, on_left, h);
    event_add(h->tick, &(struct timeval){.tv_usec = 5000});
}

static void on_stream(void *context, struct hl_exchange *exchange)
{
    start_stream(context, exchange, 0);
}

static void on_flood(void *context, struct hl_exchange *exchange)
{
    start_stream(context, exchange, 1);
}

/* Replies to nobody: the client has to leave. */
static void on_never(void *context, struct hl_exchange *exchange)
{
    struct host *h = context;
    h->handled++;
    hl_exchange_defer(exchange, on_left, h);
}

static const struct hl_route routes[] = {
    {"/", HL_GET, on_text},
    {"/echo", HL_POST, on_echo},
    {"/busy", HL_GET, on_busy},
    {"/stream", HL_GET, on_stream},
    {"/flood", HL_GET, on_flood},
    {"/never", HL_POST, on_never},
    {.path = NULL},
};

/* ---- host ---- */

static void on_stop(evutil_socket_t fd, short what, void *context)
{
    struct host *h = context;
    eventfd_t count;
    (void)what;
    eventfd_read((int)fd, &count);
    hl_httpd_stop(h->http);
}

static void *serve(void *context)
{
    struct host *h = context;
    event_base_dispatch(h->base);
    return NULL;
}

static void open_host(struct host *h)
{
    struct hl_address address = {.host = "127.0.0.1"};
    const struct hl_httpd_options options = {.routes = routes, .context = h, .connections = CONNECTIONS, .timeout = 1};
    struct hl_error err;
    int listener;
    *h = (struct host){.base = event_base_new(), .stop_fd = eventfd(0, EFD_CLOEXEC)};
    if (!CHECK_OK(hl_address_listen(&address, &listener, &err), err) ||
        !CHECK_OK(hl_httpd_open(h->base, listener, &options, &h->http, &err), err))
        exit(check_summary());
    h->port = address.port;
    h->tick = event_new(h->base, -1, EV_PERSIST, on_tick, h);
    h->stop = event_new(h->base, h->stop_fd, EV_READ, on_stop, h);
    event_add(h->stop, NULL);
    pthread_create(&h->thread, NULL, serve, h);
}

/* Stops, waits for the last exchange, closes. */
static void close_host(struct host *h)
{
    eventfd_write(h->stop_fd, 1);
    pthread_join(h->thread, NULL);
    hl_httpd_close(h->http);
    event_free(h->tick);
    event_free(h->stop);
    event_base_free(h->base);
    close(h->stop_fd);
}

/* ---- client ---- */

static int dial(const struct host *h)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(h->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval wait = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    CHECK(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static bool send_all(int fd, const char *text, size_t n)
{
    for (ssize_t done; n; text += done, n -= (size_t)done)
        if ((done = send(fd, text, n, MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

/* Reads until `word` has come, the connection ends, or `out` is full. */
static size_t read_until(int fd, const char *word, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    while (n + 1 < size && (!word || !memmem(out, n, word, strlen(word)))) {
        ssize_t got = recv(fd, out + n, size - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        out[n] = 0;
    }
    return n;
}

/* True when the server has closed. */
static bool is_closed(int fd)
{
    char byte[256];
    ssize_t n;
    while ((n = recv(fd, byte, sizeof byte, 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

/* One request on a connection of its own. */
static void ask(const struct host *h, const char *request, char *out, size_t size)
{
    int fd = dial(h);
    send_text(fd, request);
    read_until(fd, NULL, out, size);
    close(fd);
}

static void check_answer(const struct host *h, const char *request, const char *status, const char *word)
{
    char answer[4096];
    ask(h, request, answer, sizeof answer);
    CHECK_SAY(!strncmp(answer, "HTTP/1.", 7) && !strncmp(answer + 9, status, 3) && strstr(answer, word),
              "%.40s: no %s or '%s' in:\n%s", request, status, word, answer);
}

static bool eventually(const _Atomic unsigned *count, unsigned want)
{
    for (int i = 0; i < 1000 && *count != want; i++)
        usleep(10000);
    return *count == want;
}

/* ---- tests ---- */

static void test_routes(const struct host *h)
{
    check_answer(h, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", "\r\n\r\nhello");
    check_answer(h, "GET /?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", "hello");
    check_answer(h, "GET / HTTP/1.0\r\n\r\n", "200", "hello");
    check_answer(h, "GET http://x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", "hello");
    check_answer(h, "GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404", "{\"error\":");
    check_answer(h, "GET //  HTTP/1.0\r\n\r\n", "400", "");
    check_answer(h, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405", "Allow: POST\r\n");
    check_answer(h, "DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405", "Allow: GET, HEAD\r\n");
    check_answer(h, "GET /busy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "503", "Retry-After: 1\r\n");
    check_answer(h, "GET /busy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "503",
                 "{\"error\":\"full \\\"up\\\"\"}");
    char answer[4096];
    ask(h, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer, sizeof answer);
    CHECK_SAY(strstr(answer, "200 OK") && !strstr(answer, "hello"), "HEAD: %s", answer);
}

static void test_bodies(struct host *h)
{
    check_answer(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", "200",
                 "\r\n\r\nabc");
    check_answer(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "200", "");
    check_answer(h,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                 "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                 "200", "\r\n\r\nabc");
    check_answer(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\nConnection: close\r\n\r\n", "400", "");
    check_answer(h, "nonsense\r\n\r\n", "400", "");
    /* A body as large as the limit arrives whole; one byte more is a 413. */
    for (size_t more = 0; more < 2; more++) {
        size_t n = HL_HTTP_BODY_LIMIT + more;
        char head[200], *body = calloc(n, 1), answer[1024];
        int fd = dial(h);
        memset(body, 'x', n);
        snprintf(head, sizeof head,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", n);
        h->body_bytes = 0;
        send_text(fd, head);
        send_all(fd, body, n);
        read_until(fd, "\r\n\r\n", answer, sizeof answer);
        CHECK_SAY(strstr(answer, more ? " 413 " : " 200 "), "%zu bytes: %.60s", n, answer);
        CHECK(h->body_bytes == (more ? 0 : HL_HTTP_BODY_LIMIT));
        close(fd);
        free(body);
    }
}

static void test_headers(const struct host *h)
{
    size_t n = HL_HTTP_HEADER_LIMIT + 1000;
    char *head = malloc(n + 200), answer[1024];
    int at = sprintf(head, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(head + at, 'y', n);
    memcpy(head + (size_t)at + n, "\r\n\r\n", 5);
    int fd = dial(h);
    send_text(fd, head);
    read_until(fd, NULL, answer, sizeof answer);
    CHECK_SAY(!strstr(answer, " 200 ") && !strstr(answer, "hello"), "too many headers: %.60s", answer);
    close(fd);
    free(head);
}

/* Several requests on a connection, also when the next one comes before the answer to the first. */
static void test_keep_alive(const struct host *h)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[4096];
    int fd = dial(h);
    for (int i = 0; i < 3; i++) {
        send_text(fd, get);
        read_until(fd, "hello", answer, sizeof answer);
        CHECK(strstr(answer, "200 OK") && strstr(answer, "hello"));
    }
    for (int i = 0; i < 2; i++)
        send_text(fd, get);
    size_t n = 0, hellos = 0;
    while (hellos < 2 && (n = read_until(fd, "hello", answer, sizeof answer)) > 0)
        for (const char *from = answer; (from = strstr(from, "hello")); from++)
            hellos++;
    CHECK(hellos == 2);
    CHECK(is_closed(fd)); /* after a second without a request */
    close(fd);
}

/* One deadline for the whole request, however its bytes drip. */
static void test_slow_request(const struct host *h)
{
    int fd = dial(h);
    uint64_t begin = hl_clock_ns();
    const char *text = "GET / HTTP/1.1\r\nHost: very-very-slow\r\n\r\n";
    while (*text && send_all(fd, text++, 1) && hl_clock_ns() - begin < 8000000000u)
        usleep(200000);
    CHECK(is_closed(fd));
    uint64_t took = (hl_clock_ns() - begin) / 1000000;
    CHECK_SAY(took >= 900 && took < 6000, "closed after %llu ms", (unsigned long long)took);
    close(fd);
}

/* More connections than the limit wait, and are served when others end. */
static void test_limit(const struct host *h)
{
    char answer[1024];
    int held[CONNECTIONS];
    for (unsigned i = 0; i < CONNECTIONS; i++)
        held[i] = dial(h);
    usleep(100000);
    int late = dial(h);
    const struct timeval brief = {.tv_usec = 200000}, wait = {.tv_sec = 10};
    send_text(late, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    setsockopt(late, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    CHECK(read_until(late, "hello", answer, sizeof answer) == 0);
    setsockopt(late, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        close(held[i]);
    read_until(late, "hello", answer, sizeof answer);
    CHECK(strstr(answer, "hello"));
    close(late);
}

static void test_streams(struct host *h)
{
    char answer[1 << 16];
    int fd = dial(h);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "piece;", answer, sizeof answer);
    CHECK(strstr(answer, "Transfer-Encoding: chunked") && strstr(answer, "piece;"));
    h->finish = true;
    read_until(fd, "last\r\n0\r\n\r\n", answer, sizeof answer);
    CHECK(strstr(answer, "last\r\n0\r\n\r\n"));
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); /* and the connection is good for more */
    read_until(fd, "hello", answer, sizeof answer);
    CHECK(strstr(answer, "hello"));
    close(fd);
    /* HTTP/1.0 has no chunks, even if the client would keep the connection: its end is the reply's. */
    fd = dial(h);
    send_text(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    size_t n = read_until(fd, NULL, answer, sizeof answer);
    CHECK(n > 4 && !strstr(answer, "chunked") && !memcmp(answer + n - 4, "last", 4));
    close(fd);
    h->finish = false;
    CHECK(h->left == 0);
}

/* A client that leaves in the middle of a stream, or before its reply, is noticed; so is one that does not read. */
static void test_leaving(struct host *h)
{
    char answer[1024];
    int fd = dial(h);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "piece;", answer, sizeof answer);
    close(fd);
    CHECK(eventually(&h->left, 1));
    fd = dial(h);
    h->handled = 0;
    send_text(fd, "POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    CHECK(eventually(&h->handled, 1));
    send_text(fd, "GET / HTTP/1.1\r\n"); /* of the next request, which nobody reads */
    close(fd);
    CHECK(eventually(&h->left, 2));
    fd = dial(h);
    send_text(fd, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(eventually(&h->left, 3));
    CHECK(is_closed(fd));
    close(fd);
}

/* Stopping refuses new connections, and lets an exchange end; closing in the middle of a stream drops it. */
static void test_stop(void)
{
    char answer[1024];
    struct host h;
    open_host(&h);
    int fd = dial(&h);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "piece;", answer, sizeof answer);
    eventfd_write(h.stop_fd, 1);
    usleep(100000);
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(h.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(refused, (const struct sockaddr *)&to, sizeof to) < 0);
    close(refused);
    h.finish = true;
    read_until(fd, "last", answer, sizeof answer);
    CHECK(strstr(answer, "last"));
    close_host(&h);
    close(fd);
    CHECK(h.left == 0);

    open_host(&h);
    fd = dial(&h);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(fd, "piece;", answer, sizeof answer);
    event_base_loopbreak(h.base);
    pthread_join(h.thread, NULL);
    hl_httpd_close(h.http);
    CHECK(h.left == 1 && is_closed(fd));
    close(fd);
    event_free(h.tick);
    event_free(h.stop);
    event_base_free(h.base);
    close(h.stop_fd);
}

int main(void)
{
    struct host h;
    signal(SIGPIPE, SIG_IGN);
    evthread_use_pthreads(); /* for event_base_loopbreak() from another thread */
    open_host(&h);
    test_routes(&h);
    test_bodies(&h);
    test_headers(&h);
    test_keep_alive(&h);
    test_slow_request(&h);
    test_limit(&h);
    test_streams(&h);
    test_leaving(&h);
    close_host(&h);
    test_stop();
    return check_summary();
}
