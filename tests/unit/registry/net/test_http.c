/* registry/net/http.c and url.c: correct and wrong answers of servers, redirects, time limits, bodies. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/net/http.h"
#include "registry/net/url.h"
#include "tests/unit/registry/http_server.h"
#include <time.h>

static struct server one, two, secure;
static char scratch[64];

/* ---- the servers ---- */

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool answer_redirect(struct request *r)
{
    if (at_path(r, "/redirect/same"))
        return reply(r, 302, "Location: /ok?x=%2F&y\r\n", "ignored");
    if (at_path(r, "/redirect/loop"))
        return reply(r, 307, "Location: /redirect/loop\r\n", "");
    if (at_path(r, "/redirect/none"))
        return reply(r, 302, "", "");
    if (at_path(r, "/redirect/file"))
        return reply(r, 302, "Location: file:///etc/passwd\r\n", "");
    if (at_path(r, "/redirect/user"))
        return reply(r, 302, "Location: http://a:b@127.0.0.1/\r\n", "");
    if (at_path(r, "/redirect/public"))
        return reply(r, 302, "Location: http://example.com/\r\n", "");
    char to[256];
    unsigned port = at_path(r, "/redirect/there") ? two.port : one.port;
    snprintf(to, sizeof to, "Location: http://127.0.0.1:%u/%s\r\n", port,
             at_path(r, "/redirect/there") ? "redirect/back" : "ok");
    return reply(r, 303, to, "");
}

static bool answer_large(struct request *r, size_t bytes)
{
    char *body = malloc(bytes + 1);
    memset(body, 'x', bytes);
    body[bytes] = 0;
    if (at_path(r, "/large/endless"))
        say(r, "HTTP/1.1 500 Text\r\n\r\n");
    else
        say(r, "HTTP/1.1 %d Text\r\nContent-Length: %zu\r\n\r\n", at_path(r, "/large/error") ? 500 : 200, bytes);
    bool fine = request_write(r, body, bytes);
    while (fine && at_path(r, "/large/endless"))
        fine = request_write(r, body, bytes);
    free(body);
    return fine;
}

static bool answer_flood(struct request *r)
{
    if (at_path(r, "/flood/informational")) {
        while (request_write(r, "HTTP/1.1 102 Wait\r\n\r\n", 21))
            ;
        return false;
    }
    say(r, "HTTP/1.1 200 OK\r\n");
    if (at_path(r, "/flood/line"))
        request_write(r, "X-A: ", 5);
    static char line[1000] = "X-A: ";
    memset(line + 5, 'a', sizeof line - 7);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    bool one_line = at_path(r, "/flood/line");
    for (int i = 0; i < 5000; i++)
        if (!request_write(r, line + (one_line ? 5 : 0), sizeof line - (one_line ? 7 : 0)))
            break;
    return false;
}

static bool drip(struct request *r, const char *drop, size_t n, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        pause_ms(200);
        if (!request_write(r, drop, n))
            return false;
    }
    return true;
}

#define TEN "drip, drop"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define FLOW HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

static bool answer_slow(struct request *r)
{
    if (at_path(r, "/slow/never"))
        return request_hang(r);
    if (at_path(r, "/slow/answer")) {
        pause_ms(2200);
        return reply(r, 201, "", "late");
    }
    if (at_path(r, "/slow/head"))
        return say(r, "HTTP/1.1 200 OK\r\n") && drip(r, "X-Drip: drop\r\n", 14, 40);
    say(r, "HTTP/1.1 200 OK\r\nContent-Length: 7200\r\n\r\n");
    if (at_path(r, "/slow/body"))
        return request_hang(r);
    return at_path(r, "/slow/drops") ? drip(r, "d", 1, 40) : drip(r, FLOW, sizeof FLOW - 1, 12);
}

static bool answer_cut(struct request *r)
{
    if (at_path(r, "/cut/reset"))
        return request_reset(r);
    if (at_path(r, "/cut/chunks"))
        return say(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), false;
    if (at_path(r, "/cut/informational"))
        return say(r, "HTTP/1.1 100 Continue\r\n\r\n"), false;
    if (at_path(r, "/cut/nonsense"))
        return say(r, "SSH-2.0-OpenSSH_9.2\r\n"), false;
    return say(r, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), false;
}

/* Answers with what was received: size, sum, and whether the client expected a 100. */
static bool answer_body(struct request *r)
{
    char text[2000], expect[512], length[512], type[512];
    uint64_t sum;
    request_header(r, "Expect", expect);
    if (at_path(r, "/body/refuse"))
        return reply(r, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "no"), false;
    if (at_path(r, "/body/417") && expect[0])
        return reply(r, 417, "", "");
    if (expect[0] && !at_path(r, "/body/silent"))
        say(r, "HTTP/1.1 100 Continue\r\n\r\n");
    if (at_path(r, "/body/half")) {
        char half[1000];
        request_take(r, half, sizeof half);
        return request_reset(r);
    }
    int64_t bytes = request_body(r, &sum);
    snprintf(text, sizeof text, "%s %lld %llu expect=%s length=%s type=%s", r->method, (long long)bytes,
             (unsigned long long)sum, expect, request_header(r, "Content-Length", length),
             request_header(r, "Content-Type", type));
    return reply(r, 201, "", text) && !at_path(r, "/body/once");
}

static bool answer_headers(struct request *r)
{
    if (at_path(r, "/headers/nul")) {
        request_write(r, "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n", 48);
        return false;
    }
    if (at_path(r, "/headers/long")) {
        char *location = malloc(60000);
        memset(location, 'q', 59999);
        location[59999] = 0;
        say(r, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: /x?");
        request_write(r, location, 59999);
        free(location);
        return say(r, "\r\n\r\n");
    }
    return reply(r, 200, "X-First:   one  \r\nx-FIRST: two\r\nX-Empty:\r\nX-Folded: a\r\n  b\r\nX-Tab: a\x1b[31mb\r\n",
                 "body");
}

static bool handle(struct request *r)
{
    char a[512], b[512], text[1400];
    if (!strncmp(r->target, "/redirect/", 10))
        return answer_redirect(r);
    if (!strncmp(r->target, "/large", 6))
        return answer_large(r, 3 << 20);
    if (!strncmp(r->target, "/flood/", 7))
        return answer_flood(r);
    if (!strncmp(r->target, "/slow/", 6))
        return answer_slow(r);
    if (!strncmp(r->target, "/cut/", 5))
        return answer_cut(r);
    if (!strncmp(r->target, "/body/", 6))
        return answer_body(r);
    if (!strncmp(r->target, "/headers/", 9))
        return answer_headers(r);
    if (at_path(r, "/chunks"))
        return say(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n "
                      "world\r\n0\r\nX-Late: 1\r\n\r\n");
    if (at_path(r, "/partial"))
        return say(r, "HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nworld");
    if (at_path(r, "/close"))
        return reply(r, 200, "", "closing"), false;
    if (at_path(r, "/plain-redirect")) {
        snprintf(text, sizeof text, "Location: http://127.0.0.1:%u/ok\r\n", one.port);
        return reply(r, 302, text, "");
    }
    snprintf(text, sizeof text, "agent=%s encoding=%s auth=%s", request_header(r, "User-Agent", a),
             request_header(r, "Accept-Encoding", b),
             strstr(r->head, "Authorization: ") ? strstr(r->head, "Authorization: ") : "");
    text[strcspn(text, "\r")] = 0;
    return reply(r, at_path(r, "/echo/error") ? 403 : 200, "", text);
}

/* ---- requests ---- */

static struct hl_http *http, *hasty;
static struct hl_error err;
static enum hl_http_failure failure;

static char *url_at(const struct server *s, const char *path)
{
    static char url[4][512];
    static unsigned next;
    char *out = url[next++ % 4];
    snprintf(out, sizeof url[0], "%s://127.0.0.1:%u%s", s->tls ? "https" : "http", s->port, path);
    return out;
}

static int ask(struct hl_http *with, const char *method, const char *path, struct hl_http_response *out)
{
    struct hl_http_request request = {.method = method, .url = url_at(&one, path)};
    return hl_http_send(with, &request, out, &failure, &err);
}

/* The request must fail in this way, with this word in the message. */
#define FAILS(call, kind, word)                                                                                        \
    do {                                                                                                               \
        CHECK_FAILS(call, err, word);                                                                                  \
        CHECK(failure == (kind));                                                                                      \
        hl_http_response_free(&response);                                                                              \
    } while (0)

struct taken {
    char text[64];
    size_t n;
    int status; /* when the first byte arrived */
    const struct hl_http_response *response;
    bool fail;
};

static int take(void *context, const void *bytes, size_t n, struct hl_error *e)
{
    struct taken *t = context;
    if (t->fail)
        return hl_fail(e, "the disk is full");
    if (!t->n)
        t->status = (int)t->response->status;
    size_t fit = n < sizeof t->text - 1 - t->n ? n : sizeof t->text - 1 - t->n;
    memcpy(t->text + t->n, bytes, fit);
    t->n += fit;
    return 0;
}

/* Makes a body of n bytes with known values. */
struct source {
    uint64_t bytes, at;
    uint64_t fails_at; /* 0: never */
    unsigned reads, rewinds;
    bool endless;
};

static int source_read(void *context, void *buffer, size_t size, size_t *n, struct hl_error *e)
{
    struct source *s = context;
    s->reads++;
    if (s->fails_at && s->at >= s->fails_at)
        return hl_fail(e, "the file is damaged");
    *n = size < s->bytes - s->at ? size : (size_t)(s->bytes - s->at);
    for (size_t i = 0; i < *n; i++)
        ((unsigned char *)buffer)[i] = (unsigned char)((s->at + i) % 251);
    s->at += *n;
    return 0;
}

static int source_rewind(void *context, struct hl_error *e)
{
    struct source *s = context;
    (void)e;
    s->at = 0;
    s->rewinds++;
    return 0;
}

static uint64_t sum_of(uint64_t bytes)
{
    uint64_t sum = bytes / 251 * (250 * 251 / 2);
    for (uint64_t i = 0; i < bytes % 251; i++)
        sum += i;
    return sum;
}

static int send_body(struct hl_http *with, const char *method, const char *path, struct source *source,
                     uint64_t claimed, struct hl_http_response *out)
{
    struct hl_http_body body = {claimed, source_read, source_rewind, source};
    struct hl_http_request request = {.method = method, .url = url_at(&one, path), .body = &body};
    return hl_http_send(with, &request, out, &failure, &err);
}

/* ---- the tests ---- */

static void test_answers(void)
{
    struct hl_http_response response;
    char value[64];
    CHECK_OK(ask(http, "GET", "/ok", &response), err);
    CHECK(response.status == 200 && strstr(response.body, "agent=hotlayer/") &&
          strstr(response.body, "encoding=identity"));
    CHECK(response.body_bytes == strlen(response.body) && strstr(response.url, "/ok"));
    hl_http_response_free(&response);

    CHECK_OK(ask(http, "HEAD", "/ok", &response), err);
    CHECK(response.status == 200 && response.body && !response.body_bytes);
    CHECK(hl_http_header(&response, "content-length", 0, value, sizeof value) && atoi(value) > 10);
    hl_http_response_free(&response);

    CHECK_OK(ask(http, "GET", "/headers/some", &response), err);
    CHECK(hl_http_header(&response, "x-first", 0, value, sizeof value) && !strcmp(value, "one"));
    CHECK(hl_http_header(&response, "x-first", 1, value, sizeof value) && !strcmp(value, "two"));
    CHECK(!hl_http_header(&response, "x-first", 2, value, sizeof value));
    CHECK(!hl_http_header(&response, "x-firs", 0, value, sizeof value) &&
          !hl_http_header(&response, "x-first", 0, value, 3));
    CHECK(hl_http_header(&response, "x-empty", 0, value, sizeof value) && !value[0]);
    CHECK(hl_http_header(&response, "x-folded", 0, value, sizeof value) && !strcmp(value, "a b"));
    CHECK(hl_http_header(&response, "x-tab", 0, value, sizeof value) && !strchr(value, 27));
    hl_http_response_free(&response);

    CHECK_OK(ask(http, "GET", "/headers/long", &response), err);
    char *location = hl_http_header_copy(&response, "location");
    CHECK(location && strlen(location) == 3 + 59999);
    free(location);
    hl_http_response_free(&response);

    CHECK_OK(ask(http, "GET", "/chunks", &response), err);
    CHECK(!strcmp(response.body, "hello world") && !hl_http_header(&response, "x-late", 0, value, sizeof value));
    hl_http_response_free(&response);
}

static void test_sinks(void)
{
    struct hl_http_response response;
    struct taken taken = {.response = &response};
    const char *range[] = {"Range: bytes=5-"};
    struct hl_http_request request = {.method = "GET",
                                      .url = url_at(&one, "/partial"),
                                      .header = range,
                                      .n_headers = 1,
                                      .sink = take,
                                      .context = &taken};
    CHECK_OK(hl_http_send(http, &request, &response, &failure, &err), err);
    CHECK(response.status == 206 && taken.status == 206 && response.received == 5 && !strcmp(taken.text, "world"));
    CHECK(response.body && !response.body_bytes);
    hl_http_response_free(&response);

    /* An error's text does not go into the sink. */
    taken = (struct taken){.response = &response};
    request.url = url_at(&one, "/echo/error");
    CHECK_OK(hl_http_send(http, &request, &response, &failure, &err), err);
    CHECK(response.status == 403 && !taken.n && !response.received && strstr(response.body, "agent="));
    hl_http_response_free(&response);

    request.url = url_at(&one, "/cut/short");
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_TRANSIENT, "GET http://127.0.0.1");
    CHECK(!strcmp(taken.text, "hello"));
    taken.fail = true;
    request.url = url_at(&one, "/ok");
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "the disk is full");
}

static void test_limits(void)
{
    struct hl_http_response response;
    FAILS(ask(http, "GET", "/large", &response), HL_HTTP_REFUSED, "longer than 1048576 bytes");
    for (int i = 0; i < 2; i++) {
        CHECK_OK(ask(http, "GET", i ? "/large/error" : "/large/endless", &response), err);
        CHECK(response.status == 500 && response.body_bytes == 64 << 10);
        hl_http_response_free(&response);
    }
    struct hl_http_request request = {.method = "GET", .url = url_at(&one, "/large"), .limit = 3 << 20};
    CHECK_OK(hl_http_send(http, &request, &response, &failure, &err), err);
    CHECK(response.body_bytes == 3 << 20);
    hl_http_response_free(&response);
    FAILS(ask(http, "GET", "/flood/headers", &response), HL_HTTP_REFUSED, "/flood/headers");
    FAILS(ask(http, "GET", "/flood/informational", &response), HL_HTTP_REFUSED, "/flood/informational");
    CHECK(ask(http, "GET", "/flood/line", &response) && failure != HL_HTTP_TRANSIENT);
    hl_http_response_free(&response);
    CHECK(ask(http, "GET", "/headers/nul", &response) && failure == HL_HTTP_REFUSED);
    hl_http_response_free(&response);
}

static void test_broken(void)
{
    struct hl_http_response response;
    FAILS(ask(http, "GET", "/cut/reset", &response), HL_HTTP_TRANSIENT, "/cut/reset");
    FAILS(ask(http, "GET", "/cut/chunks", &response), HL_HTTP_TRANSIENT, "/cut/chunks");
    FAILS(ask(http, "GET", "/cut/short", &response), HL_HTTP_TRANSIENT, "/cut/short");
    FAILS(ask(http, "GET", "/cut/informational", &response), HL_HTTP_TRANSIENT, "/cut/informational");
    FAILS(ask(http, "GET", "/cut/nonsense", &response), HL_HTTP_REFUSED, "/cut/nonsense");
    struct hl_http_request request = {.method = "GET", .url = "http://127.0.0.1:1/x?secret=1"};
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_TRANSIENT, "http://127.0.0.1:1/x:");
    CHECK(!strstr(err.message, "secret"));
}

static void test_time(void)
{
    struct hl_http_response response;
    FAILS(ask(hasty, "GET", "/slow/never", &response), HL_HTTP_TRANSIENT, "nothing moved for 1 s");
    FAILS(ask(hasty, "GET", "/slow/body", &response), HL_HTTP_TRANSIENT, "nothing moved for 1 s");
    FAILS(ask(hasty, "POST", "/slow/never", &response), HL_HTTP_TRANSIENT, "no answer in 4 s after the last byte");
    /* A registry that hashes may take its time, and so may one that sends slowly. */
    CHECK_OK(ask(hasty, "PUT", "/slow/answer", &response), err);
    CHECK(response.status == 201 && !strcmp(response.body, "late"));
    hl_http_response_free(&response);
    CHECK_OK(ask(hasty, "GET", "/slow/drip", &response), err);
    CHECK(response.body_bytes == 12 * (sizeof FLOW - 1));
    hl_http_response_free(&response);
    /* Single bytes do not extend the time limit. */
    FAILS(ask(hasty, "GET", "/slow/drops", &response), HL_HTTP_TRANSIENT, "almost nothing moved for 1 s");
    FAILS(ask(hasty, "GET", "/slow/head", &response), HL_HTTP_TRANSIENT, "almost nothing moved for 1 s");
    struct hl_http_request request = {.method = "GET", .url = url_at(&one, "/slow/drip"), .seconds = 1};
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_TRANSIENT, "/slow/drip");
}

/* Follows a redirect with an authorization; returns what the servers saw of it. */
static int redirected(const char *path, struct hl_http_response *out)
{
    server_clear(&one);
    server_clear(&two);
    struct hl_http_request request = {
        .method = "GET", .url = url_at(&one, path), .authorization = "Bearer secret-token"};
    return hl_http_send(http, &request, out, &failure, &err);
}

static void test_redirects(void)
{
    struct hl_http_response response;
    CHECK_OK(redirected("/redirect/same", &response), err);
    CHECK(response.status == 200 && strstr(response.url, "/ok?x=%2F&y"));
    CHECK(!strcmp(one.log, "GET /redirect/same Bearer secret-token\nGET /ok?x=%2F&y Bearer secret-token\n"));
    hl_http_response_free(&response);

    /* To another port, and back: the redirecting server chose the URL, so it gets no credential. */
    CHECK_OK(redirected("/redirect/there", &response), err);
    CHECK(response.status == 200 && !strcmp(two.log, "GET /redirect/back \n"));
    CHECK(!strcmp(one.log, "GET /redirect/there Bearer secret-token\nGET /ok \n"));
    CHECK(!strstr(response.body, "secret"));
    hl_http_response_free(&response);

    FAILS(redirected("/redirect/loop", &response), HL_HTTP_REFUSED, "more than 10 redirects");
    CHECK(one.requests == 11);
    FAILS(redirected("/redirect/none", &response), HL_HTTP_REFUSED, "leads nowhere");
    FAILS(redirected("/redirect/file", &response), HL_HTTP_REFUSED, "not a URL that can be followed");
    FAILS(redirected("/redirect/user", &response), HL_HTTP_REFUSED, "not a URL that can be followed");
    FAILS(redirected("/redirect/public", &response), HL_HTTP_REFUSED, "plain HTTP");

    CHECK_OK(ask(http, "HEAD", "/redirect/same", &response), err);
    CHECK(response.status == 200);
    hl_http_response_free(&response);
    CHECK_OK(ask(http, "POST", "/redirect/same", &response), err);
    CHECK(response.status == 302);
    hl_http_response_free(&response);
}

static void test_bodies(void)
{
    struct hl_http_response response;
    char expected[256];
    static const uint64_t sizes[] = {0, 1, 1000, 1 << 20, (1 << 20) + 1, (5 << 20) + 17};
    for (size_t i = 0; i < HL_COUNT(sizes); i++)
        for (int known = 0; known < 2; known++) {
            struct source source = {.bytes = sizes[i]};
            CHECK_OK(send_body(http, "PATCH", "/body/any", &source, known ? sizes[i] : HL_HTTP_UNKNOWN, &response),
                     err);
            snprintf(expected, sizeof expected, "PATCH %llu %llu expect=%s length=", (unsigned long long)sizes[i],
                     (unsigned long long)sum_of(sizes[i]), !known || sizes[i] > 1 << 20 ? "100-continue" : "");
            CHECK_SAY(response.body && !strncmp(response.body, expected, strlen(expected)), "'%s' is not '%s'",
                      response.body ? response.body : "", expected);
            hl_http_response_free(&response);
        }
    CHECK_OK(ask(http, "POST", "/body/any", &response), err);
    CHECK(!strcmp(response.body, "POST 0 0 expect= length=0 type="));
    hl_http_response_free(&response);
    CHECK_OK(ask(http, "DELETE", "/body/any", &response), err);
    CHECK(!strcmp(response.body, "DELETE 0 0 expect= length= type="));
    hl_http_response_free(&response);

    struct source source = {.bytes = 10};
    FAILS(send_body(http, "PUT", "/body/any", &source, 20, &response), HL_HTTP_LOCAL, "ended after 10 of 20 bytes");
    source = (struct source){.bytes = 4 << 20, .fails_at = 2 << 20};
    FAILS(send_body(http, "PUT", "/body/any", &source, 4 << 20, &response), HL_HTTP_LOCAL, "the file is damaged");
    source = (struct source){.bytes = 32 << 20};
    FAILS(send_body(http, "PUT", "/body/half", &source, 32 << 20, &response), HL_HTTP_TRANSIENT, "/body/half");
}

static void test_asking_first(void)
{
    struct hl_http_response response;
    struct source source = {.bytes = 8 << 20};
    CHECK_OK(send_body(http, "PUT", "/body/refuse", &source, 8 << 20, &response), err);
    CHECK(response.status == 401 && source.reads == 0);
    hl_http_response_free(&response);
    CHECK_OK(send_body(http, "PUT", "/body/417", &source, 8 << 20, &response), err);
    CHECK(response.status == 201 && strstr(response.body, "PUT 8388608 ") && strstr(response.body, "expect= "));
    hl_http_response_free(&response);
    struct hl_http_options options = {0};
    struct hl_http *fresh; /* libcurl does not ask again after a 417 */
    CHECK_OK(hl_http_open(&options, &fresh, &err), err);
    source = (struct source){.bytes = 2 << 20};
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    CHECK_OK(send_body(fresh, "PUT", "/body/silent", &source, 2 << 20, &response), err);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    CHECK(response.status == 201);
    CHECK_SAY(took > 0.9 && took < 3, "%.1f s for a server that never says 100", took);
    hl_http_response_free(&response);
    hl_http_close(fresh);
}

static void test_connections(void)
{
    struct hl_http_response response;
    struct hl_http_options options = {0};
    struct hl_http *fresh;
    CHECK_OK(hl_http_open(&options, &fresh, &err), err);
    unsigned before = one.connections;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(ask(fresh, i % 2 ? "HEAD" : "GET", "/ok", &response), err);
        hl_http_response_free(&response);
    }
    CHECK(one.connections == before + 1);
    /* If a server closes a kept connection, the request is repeated, also with a body. */
    struct source source = {.bytes = 100000};
    for (int i = 0; i < 4; i++) {
        unsigned closed = one.closed;
        source.at = 0;
        CHECK_OK(i ? send_body(fresh, "PUT", "/body/once", &source, 100000, &response)
                   : ask(fresh, "GET", "/close", &response),
                 err);
        CHECK(response.status == (i ? 201 : 200));
        hl_http_response_free(&response);
        while (one.closed == closed)
            pause_ms(1);
    }
    hl_http_close(fresh);
}

static void test_refusals(void)
{
    struct hl_http_response response;
    struct hl_http_request request = {.method = "GET", .url = "http://example.com/"};
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "--plain-http");
    request.url = "http://user:password@127.0.0.1/";
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "is not an http or https URL");
    CHECK(!strstr(err.message, "password"));
    request.url = "ftp://127.0.0.1/";
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "is not an http or https URL");
    request.url = url_at(&one, "/ok");
    request.public_hosts = true;
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "local address");
    request.public_hosts = false;
    request.from = "https://example.com/";
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_REFUSED, "over https");
    request.from = "http://example.com/";
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_REFUSED, "address of this machine");
    request.from = NULL;
    const char *bad[] = {"X-A: b\r\nX-C: d"}, *nameless[] = {": b"};
    request.header = bad;
    request.n_headers = 1;
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "is not a header");
    request.header = nameless;
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "is not a header");
    request.n_headers = 0;
    request.authorization = "Bearer a\nb";
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_LOCAL, "line break");
    struct hl_http_options options = {.ca = "/does/not/exist"};
    struct hl_http *none;
    CHECK_FAILS(hl_http_open(&options, &none, &err), err, "--ca");
}

static void test_secrets(void)
{
    struct hl_http_response response;
    struct hl_http_request request = {
        .method = "GET", .url = url_at(&one, "/ok"), .user = "me", .password = "sesame:1"};
    server_clear(&one);
    CHECK_OK(hl_http_send(http, &request, &response, &failure, &err), err);
    CHECK(!strcmp(one.log, "GET /ok Basic bWU6c2VzYW1lOjE=\n"));
    hl_http_response_free(&response);
    /* A server that repeats the request in its error page. */
    request = (struct hl_http_request){
        .method = "GET", .url = url_at(&one, "/echo/error"), .authorization = "Bearer abcdefgh1234"};
    CHECK_OK(hl_http_send(http, &request, &response, &failure, &err), err);
    CHECK(response.status == 403 && strstr(response.body, "Bearer ****") && !strstr(response.body, "abcdefgh"));
    hl_http_response_free(&response);
}

/* The client speaks to loopback hosts without TLS because nothing leaves the machine; a proxy would change that. */
static void test_proxy(void)
{
    struct hl_http_response response;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    CHECK_OK(ask(http, "GET", "/ok", &response), err);
    hl_http_response_free(&response);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

static void test_tls(void)
{
    struct hl_http_response response;
    struct hl_http_options options = {.ca = scratch};
    struct hl_http *trusting;
    struct hl_http_request request = {
        .method = "GET", .url = url_at(&secure, "/ok"), .authorization = "Bearer 12345678"};
    FAILS(hl_http_send(http, &request, &response, &failure, &err), HL_HTTP_REFUSED, "--ca FILE");
    CHECK_OK(hl_http_open(&options, &trusting, &err), err);
    CHECK_OK(hl_http_send(trusting, &request, &response, &failure, &err), err);
    CHECK(response.status == 200 && !strcmp(secure.log, "GET /ok Bearer 12345678\n"));
    hl_http_response_free(&response);
    server_clear(&one);
    request.url = url_at(&secure, "/plain-redirect");
    FAILS(hl_http_send(trusting, &request, &response, &failure, &err), HL_HTTP_REFUSED, "over https leads to http://");
    CHECK(!one.requests);
    /* The other end closes during an upload: an error, not SIGPIPE. */
    for (int i = 0; i < 3; i++) {
        struct source source = {.bytes = 64 << 20};
        struct hl_http_body body = {source.bytes, source_read, source_rewind, &source};
        struct hl_http_request put = {.method = "PUT", .url = url_at(&secure, "/body/half"), .body = &body};
        FAILS(hl_http_send(trusting, &put, &response, &failure, &err), HL_HTTP_TRANSIENT, "/body/half");
    }
    request.url = url_at(&one, "/ok");
    char swapped[64];
    snprintf(swapped, sizeof swapped, "https://127.0.0.1:%u/ok", one.port);
    request.url = swapped;
    FAILS(hl_http_send(trusting, &request, &response, &failure, &err), HL_HTTP_TRANSIENT, "https://");
    hl_http_close(trusting);
}

static void test_resolve(void)
{
    static const struct {
        const char *base, *reference, *result; /* NULL: refused */
    } cases[] = {
        {"https://r.io/v2/a/blobs/uploads/", "https://r.io/u?s=%3D&b", "https://r.io/u?s=%3D&b"},
        {"https://r.io/v2/a/blobs/uploads/", "/u/1?_state=a%2Fb==&x=y z", NULL},
        {"https://r.io/v2/a/blobs/uploads/", "/u/1?_state=a%2Fb==&x=../y", "https://r.io/u/1?_state=a%2Fb==&x=../y"},
        {"https://r.io/v2/a/blobs/uploads/?x=1", "1?y=2", "https://r.io/v2/a/blobs/uploads/1?y=2"},
        {"https://r.io/v2/a/b?x=1/2", "c", "https://r.io/v2/a/c"},
        {"https://r.io/v2/a/b?x=1", "?y=2", "https://r.io/v2/a/b?y=2"},
        {"https://r.io", "c?", "https://r.io/c?"},
        {"https://r.io?q", "c", "https://r.io/c"},
        {"https://r.io/a/b/c", "../d", "https://r.io/a/d"},
        {"https://r.io/a/b/c", "./d/../../e", "https://r.io/a/e"},
        {"https://r.io/a", "../../../d", "https://r.io/d"},
        {"https://r.io/a", "/b/..", "https://r.io/"},
        {"https://r.io/a", "/..//evil.io/x", "https://r.io//evil.io/x"},
        {"https://r.io/a", "//other.io:8443/b", "https://other.io:8443/b"},
        {"http://r.io:5000/a", "//r.io/b", "http://r.io/b"},
        {"https://r.io/a", "other.io/v2/b?c", "https://other.io/v2/b?c"},
        {"https://r.io/a", "other.io:444/v2/b", "https://other.io:444/v2/b"},
        {"http://localhost:5000/v2/", "LOCALHOST:5000/upload/1", "http://LOCALHOST:5000/upload/1"},
        {"http://[::1]:5000/v2/", "[::1]:5000/upload/1", "http://[::1]:5000/upload/1"},
        {"https://r.io/v2/a/", "v2.0/b", "https://r.io/v2/a/v2.0/b"},
        {"https://r.io/a", "/b#fragment", "https://r.io/b"},
        {"https://r.io/a", "http://r.io/b?c", "https://r.io/b?c"},
        {"https://r.io:8443/a", "http://r.io/b", "https://r.io:8443/b"},
        {"https://r.io:8443/a", "http://r.io:8443/b", "https://r.io:8443/b"},
        {"https://r.io/a", "http://r.io:80/b", "http://r.io:80/b"},
        {"https://r.io/a", "http://other.io/b", "http://other.io/b"},
        {"https://r.io/a", "", NULL},
        {"https://r.io/a", "   ", NULL},
        {"https://r.io/a", "#x", NULL},
        {"https://r.io/a", "ftp://r.io/b", NULL},
        {"https://r.io/a", "file:/etc/passwd", NULL},
        {"https://r.io/a", "javascript:x", NULL},
        {"https://r.io/a", "https:/r.io/b", NULL},
        {"https://r.io/a", "https:///b", NULL},
        {"https://r.io/a", "https://u@r.io/b", NULL},
        {"https://r.io/a", "https://r.io\\@evil.io/b", NULL},
        {"https://r.io/a", "https://r.io:/b", NULL},
        {"https://r.io/a", "https://r.io:0/b", NULL},
        {"https://r.io/a", "https://r.io:65536/b", NULL},
        {"https://r.io/a", "https://r%2eio/b", NULL},
        {"https://r.io/a", "https://[::1/b", NULL},
        {"https://r.io/a", "https://[fe80::1%25eth0]/b", NULL},
        {"https://r.io/a", "https://r.io/b\rc", NULL},
        {"https://r.io/a", "https://r.io/\xC3\xA9", NULL},
        {"https://r.io/a", "///b", NULL},
        {"r.io/a", "/b", NULL},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        char *out;
        int failed = hl_url_resolve(cases[i].base, cases[i].reference, &out, &err);
        CHECK_SAY(failed ? !cases[i].result : cases[i].result && !strcmp(out, cases[i].result), "%s + '%s': %s",
                  cases[i].base, cases[i].reference, failed ? err.message : out);
        free(out);
    }
    char *out, *longer = malloc(HL_URL_LIMIT + 2);
    memset(longer, 'a', HL_URL_LIMIT + 1);
    longer[HL_URL_LIMIT + 1] = 0;
    longer[0] = '/';
    CHECK_FAILS(hl_url_resolve("https://r.io/", longer, &out, &err), err, "64 KiB");
    longer[5000] = 0;
    CHECK_OK(hl_url_resolve("https://r.io/", longer, &out, &err), err);
    CHECK(out && strlen(out) == 5000 + strlen("https://r.io"));
    free(out);
    free(longer);
}

static void test_urls(void)
{
    CHECK(hl_url_same_origin("https://r.io/a", "HTTPS://R.io:443/b?c"));
    CHECK(hl_url_same_origin("http://[::1]:80/", "http://[::1]"));
    CHECK(!hl_url_same_origin("https://r.io/a", "http://r.io/a"));
    CHECK(!hl_url_same_origin("https://r.io/a", "https://r.io:8443/a"));
    CHECK(!hl_url_same_origin("https://r.io/a", "https://r.io.evil.io/a"));
    CHECK(!hl_url_same_origin("https://r.io/a", "https://r.io@evil.io/a"));
    CHECK(!hl_url_same_origin("nonsense", "nonsense"));
    static const char *local[] = {"127.0.0.1",       "127.9.9.9",
                                  "localhost",       "LOCALHOST",
                                  "x.localhost",     "localhost.",
                                  "[::1]",           "[::]",
                                  "0.0.0.0",         "127.1",
                                  "0x7f.1",          "2130706433",
                                  "017700000001",    "10.1.2.3",
                                  "172.16.0.1",      "172.31.255.255",
                                  "192.168.1.1",     "100.64.0.1",
                                  "169.254.169.254", "[fe80::1]",
                                  "[fd00::1]",       "[::ffff:10.0.0.1]",
                                  "[::ffff:7f00:1]", "[64:ff9b::169.254.169.254]"};
    static const char *public[] = {"example.com",           "8.8.8.8",         "172.32.0.1",
                                   "100.128.0.1",           "[2001:db8::1]",   "10.example.com",
                                   "localhost.example.com", "[::ffff:8.8.8.8]"};
    char url[128], shown[256], longer[600];
    for (size_t i = 0; i < HL_COUNT(local); i++) {
        snprintf(url, sizeof url, "https://%s:1/", local[i]);
        CHECK_SAY(hl_url_is_local(url), "%s is local", url);
    }
    for (size_t i = 0; i < HL_COUNT(public); i++) {
        snprintf(url, sizeof url, "https://%s/", public[i]);
        CHECK_SAY(!hl_url_is_local(url), "%s is not local", url);
    }
    CHECK(!strcmp(hl_url_shown("https://u:p@r.io/a/b?token=x#y", shown), "https://r.io/a/b"));
    CHECK(!strcmp(hl_url_shown("https://u:p@q@r.io", shown), "https://r.io"));
    CHECK(!strcmp(hl_url_shown("r.io/a\x1b[0m?x", shown), "r.io/a?[0m"));
    memset(longer, 'a', 599);
    longer[599] = 0;
    CHECK(strlen(hl_url_shown(longer, shown)) == 255 && !strcmp(shown + 252, "..."));
}

int main(void)
{
    struct hl_http_options options = {0}, impatient = {.stall_seconds = 1, .answer_seconds = 4};
    snprintf(scratch, sizeof scratch, "/tmp/hotlayer-http-%d.pem", (int)getpid());
    one.handle = two.handle = secure.handle = handle;
    if (!CHECK(server_tls(&secure, scratch)))
        return check_summary();
    server_start(&one);
    server_start(&two);
    server_start(&secure);
    CHECK_OK(hl_http_open(&options, &http, &err), err);
    CHECK_OK(hl_http_open(&impatient, &hasty, &err), err);
    test_resolve();
    test_urls();
    test_answers();
    test_sinks();
    test_limits();
    test_broken();
    test_time();
    test_redirects();
    test_bodies();
    test_asking_first();
    test_connections();
    test_refusals();
    test_secrets();
    test_proxy();
    test_tls();
    hl_http_close(http);
    hl_http_close(hasty);
    server_stop(&one);
    server_stop(&two);
    server_stop(&secure);
    unlink(scratch);
    return check_summary();
}
