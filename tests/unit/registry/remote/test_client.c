/* registry/remote/client.c and refusal.c: which requests are retried, whether a loopback host speaks TLS, which hosts
 * get credentials, and the messages about refusals. */
#include "base/cleanup.h"
#include "base/parallel.h"
#include "base/sizes.h"
#include "registry/net/http.h"
#include "registry/net/retry.h"
#include "registry/remote/client.h"
#include "tests/unit/registry/http_server.h"
#include <sys/stat.h>
#include <time.h>

static struct server one, two, secure;
static char scratch[64], certificate[128], config[128];
static _Atomic unsigned turn; /* answers since the last server_clear() that follow a script */

/* ---- the servers ---- */

/* The path after /v2/a/b/. */
static bool wants(const struct request *r, const char *path)
{
    return !strncmp(r->target, "/v2/a/b/", 8) && !strncmp(r->target + 8, path, strlen(path));
}

static bool answer_script(struct request *r)
{
    unsigned n = turn++;
    uint64_t sum;
    if (wants(r, "reset"))
        return n < 2 ? request_reset(r) : reply(r, 200, "", "at last");
    if (wants(r, "always"))
        return reply(r, 503, "Retry-After: 0\r\n", "");
    if (wants(r, "wait"))
        return n ? reply(r, 200, "", "") : reply(r, 429, "Retry-After: 1\r\n", "");
    if (wants(r, "upload")) {
        char text[64];
        int64_t bytes = request_body(r, &sum);
        snprintf(text, sizeof text, "%lld %llu", (long long)bytes, (unsigned long long)sum);
        return n < 2 ? reply(r, 500, "Retry-After: 0\r\n", "") : reply(r, 201, "", text);
    }
    static const int statuses[] = {408, 429, 500, 502, 522, 200};
    return reply(r, statuses[n < 5 ? n : 5], "Retry-After: 0\r\n", "");
}

static bool answer_refusal(struct request *r)
{
    if (wants(r, "refused/json"))
        return reply(r, 403, "",
                     "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not \\u001b[31mfor\\nyou\",\"detail\":\"ask\"},"
                     "{\"code\":\"A\"},{\"code\":\"B\"},{\"code\":\"C\"},{\"code\":\"D\"}]}");
    if (wants(r, "refused/google"))
        return reply(r, 404, "", "{\"error\":{\"code\":404,\"message\":\"no such project\",\"status\":\"NOT_FOUND\"}}");
    if (wants(r, "refused/oauth"))
        return reply(r, 400, "", "{\"error\":\"invalid_grant\",\"error_description\":\"Bad Request\"}");
    if (wants(r, "refused/html"))
        return reply(r, 502, "",
                     "<!DOCTYPE html>\n<html><head><style>a{}</style><title>502 Bad\n Gateway</title></head>");
    if (wants(r, "refused/untitled"))
        return reply(r, 413, "", "<html><script>alert(1)</script></html>");
    if (wants(r, "refused/binary"))
        return reply(r, 400, "",
                     "a\xff\x9b"
                     "31mb\x07");
    return reply(r, 400, "",
                 "plain \xc2\x9b"
                 "words\r\n  and more");
}

static bool answer_auth(struct request *r)
{
    char value[512];
    bool known = !strcmp(request_header(r, "Authorization", value), "Basic dXNlcjpzZXNhbWU=");
    uint64_t sum;
    if (wants(r, "auth/never") || !known)
        return reply(r, 401, "WWW-Authenticate: Basic realm=\"r\"\r\n", "");
    char text[64];
    int64_t bytes = request_body(r, &sum);
    snprintf(text, sizeof text, "%lld %llu", (long long)bytes, (unsigned long long)sum);
    return reply(r, 201, "", text);
}

static bool handle(struct request *r)
{
    char text[128];
    if (at_path(r, "/v2/"))
        return reply(r, 200, "", "{}");
    if (wants(r, "script/") || wants(r, "reset") || wants(r, "always") || wants(r, "wait") || wants(r, "upload"))
        return answer_script(r);
    if (wants(r, "refused/"))
        return answer_refusal(r);
    if (wants(r, "auth/"))
        return answer_auth(r);
    if (wants(r, "away")) {
        snprintf(text, sizeof text, "Location: http://127.0.0.1:%u/v2/a/b/auth/x\r\n", two.port);
        return reply(r, 307, text, "");
    }
    if (wants(r, "cut")) {
        turn++;
        return say(r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), false;
    }
    if (wants(r, "head")) /* a HEAD is refused without a message; a GET gives the reason, unless it serves the blob */
        return !strcmp(r->method, "HEAD") || !strchr(r->target, '?')
                   ? reply(r, 403, "", "{\"errors\":[{\"code\":\"X\",\"message\":\"why\"}]}")
                   : reply(r, 200, "", "the blob");
    if (wants(r, "warned"))
        return reply(r, 200,
                     "Warning: 299 - \"the first \\\"word\\\"\"\r\nWarning: 299 - \"the first \\\"word\\\"\"\r\n"
                     "Warning: 214 - \"not this\"\r\nWarning: 299 - \"second\x1b[1m\" \"date\"\r\n",
                     "");
    return reply(r, 404, "", "");
}

/* A server that answers in clear text that it wants TLS, as Go's and nginx's servers do. */
static bool handle_stubborn(struct request *r)
{
    return reply(r, 400, "", "Client sent an HTTP request to an HTTPS server.\n");
}

/* ---- requests to them ---- */

static struct hl_error err;
static enum hl_http_failure failure;

static struct hl_registry *open_at(const struct server *s, const struct hl_registry_options *options)
{
    static const struct hl_registry_options none = {.ca = NULL};
    char text[64];
    struct hl_reference reference;
    struct hl_registry *out = NULL;
    snprintf(text, sizeof text, "127.0.0.1:%u/a/b", s->port);
    CHECK_OK(hl_reference_parse(text, &reference, &err), err);
    CHECK_OK(hl_registry_open(&reference, options ? options : &none, &out, &err), err);
    return out;
}

static int get(struct hl_registry *registry, const char *path, struct hl_http_response *out)
{
    struct hl_call call = {.method = "GET", .path = path};
    return hl_registry_call(registry, &call, out, &failure, &err);
}

/* Forgets the servers' requests, and restarts their scripts. */
static void restart(void)
{
    server_clear(&one);
    server_clear(&two);
    turn = 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct source {
    uint64_t bytes, at;
};

static int source_read(void *context, void *buffer, size_t size, size_t *n, struct hl_error *e)
{
    struct source *s = context;
    (void)e;
    *n = size < s->bytes - s->at ? size : (size_t)(s->bytes - s->at);
    memset(buffer, 1, *n);
    s->at += *n;
    return 0;
}

static int source_rewind(void *context, struct hl_error *e)
{
    struct source *s = context;
    (void)e;
    s->at = 0;
    return 0;
}

static int take(void *context, const void *bytes, size_t n, struct hl_error *e)
{
    (void)bytes, (void)e;
    *(size_t *)context += n;
    return 0;
}

/* ---- the tests ---- */

static void test_retries(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    struct hl_http_response response;
    restart();
    CHECK_OK(get(registry, "script/statuses", &response), err);
    CHECK(response.status == 200 && one.requests == 7); /* with the request that finds out whether the host speaks
                                                         * TLS */
    hl_http_response_free(&response);
    restart();
    CHECK_OK(get(registry, "reset", &response), err);
    CHECK(response.status == 200 && !strcmp(response.body, "at last") && one.requests == 3);
    hl_http_response_free(&response);
    restart();
    CHECK_OK(get(registry, "always", &response), err);
    CHECK(response.status == 503 && one.requests == 1 + HL_RETRY_TIMES);
    hl_http_response_free(&response);
    restart();
    double start = now();
    CHECK_OK(get(registry, "wait", &response), err);
    CHECK_SAY(response.status == 200 && one.requests == 2 && now() - start >= 1 && now() - start < 3, "%.2f s",
              now() - start);
    hl_http_response_free(&response);
    restart();
    CHECK_OK(get(registry, "missing", &response), err);
    CHECK(response.status == 404 && one.requests == 1);
    hl_http_response_free(&response);
    restart();
    struct hl_call once = {.method = "GET", .path = "always", .once = true};
    CHECK_OK(hl_registry_call(registry, &once, &response, &failure, &err), err);
    CHECK(response.status == 503 && one.requests == 1);
    hl_http_response_free(&response);
    hl_registry_close(registry);
}

static void test_down(void)
{
    struct hl_reference reference;
    struct hl_registry *registry;
    struct hl_registry_options options = {.ca = NULL};
    struct hl_http_response response;
    double start = now();
    CHECK_OK(hl_reference_parse("127.0.0.1:1/a", &reference, &err), err);
    CHECK_OK(hl_registry_open(&reference, &options, &registry, &err), err);
    CHECK_FAILS(get(registry, "x", &response), err, "(tried 3 times)");
    CHECK(failure == HL_HTTP_TRANSIENT && strstr(err.message, "GET http://127.0.0.1:1/v2/a/x: ") && now() - start < 4);
    hl_http_response_free(&response);
    hl_registry_close(registry);
}

static void test_bodies(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    struct hl_http_response response;
    struct source source = {.bytes = 3 << 20};
    struct hl_http_body body = {source.bytes, source_read, source_rewind, &source};
    struct hl_call call = {.method = "PUT", .path = "upload", .body = &body, .push = true};
    restart();
    CHECK_OK(hl_registry_call(registry, &call, &response, &failure, &err), err);
    CHECK(response.status == 201 && !strcmp(response.body, "3145728 3145728"));
    hl_http_response_free(&response);
    restart();
    source.at = 0;
    body.rewind = NULL;
    CHECK_OK(hl_registry_call(registry, &call, &response, &failure, &err), err);
    CHECK(response.status == 500 && turn == 1);
    hl_http_response_free(&response);
    /* Bytes in a sink cannot be taken back. */
    size_t taken = 0;
    struct hl_call into = {.method = "GET", .path = "cut", .sink = take, .context = &taken};
    restart();
    CHECK(hl_registry_call(registry, &into, &response, &failure, &err) && failure == HL_HTTP_TRANSIENT);
    CHECK(taken == 5 && response.received == 5 && turn == 1);
    hl_http_response_free(&response);
    hl_registry_close(registry);
}

static void test_authorization(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    struct hl_http_response response;
    struct source source = {.bytes = 5 << 20};
    struct hl_http_body body = {source.bytes, source_read, source_rewind, &source};
    struct hl_call call = {.method = "PUT", .path = "auth/put", .body = &body, .push = true};
    CHECK_OK(get(registry, "missing", &response), err);
    hl_http_response_free(&response);
    restart();
    CHECK_OK(hl_registry_call(registry, &call, &response, &failure, &err), err);
    CHECK(response.status == 201 && !strcmp(response.body, "5242880 5242880"));
    CHECK(!strcmp(one.log, "PUT /v2/a/b/auth/put \nPUT /v2/a/b/auth/put Basic dXNlcjpzZXNhbWU=\n"));
    hl_http_response_free(&response);
    /* Known credentials are sent at once, but only to this host: not after a redirect, and not to a Location
     * elsewhere. */
    restart();
    CHECK_OK(get(registry, "away", &response), err);
    CHECK(response.status == 401 && !strcmp(one.log, "GET /v2/a/b/away Basic dXNlcjpzZXNhbWU=\n"));
    CHECK(!strcmp(two.log, "GET /v2/a/b/auth/x \n"));
    hl_http_response_free(&response);
    restart();
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v2/a/b/auth/x", two.port);
    call.path = NULL;
    call.url = url;
    source.at = 0;
    CHECK_OK(hl_registry_call(registry, &call, &response, &failure, &err), err);
    CHECK(response.status == 401 && !one.requests && !strcmp(two.log, "PUT /v2/a/b/auth/x \n"));
    hl_http_response_free(&response);
    restart();
    CHECK(get(registry, "auth/never", &response) && failure == HL_HTTP_REFUSED && response.status == 401);
    CHECK_SAY(!strstr(err.message, "sesame") && one.requests <= 3, "%s (%u requests)", err.message, one.requests);
    hl_http_response_free(&response);
    hl_registry_close(registry);
}

static void refused(struct hl_registry *registry, const char *method, const char *path, const char *message)
{
    struct hl_http_response response;
    struct hl_call call = {.method = method, .path = path, .once = true};
    CHECK_OK(hl_registry_call(registry, &call, &response, &failure, &err), err);
    char expected[1400];
    snprintf(expected, sizeof expected, "%s http://127.0.0.1:%u/v2/a/b/%.*s: the answer is %s", method, one.port,
             (int)strcspn(path, "?"), path, message);
    CHECK(hl_registry_refused(registry, &call, &response, &err) == -1);
    CHECK_SAY(!strncmp(err.message, expected, strlen(expected)), "'%s' is not '%s'", err.message, expected);
    hl_http_response_free(&response);
}

static void test_refusals(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    refused(registry, "GET", "refused/json", "403 (forbidden): DENIED: not [31mfor you (ask); A; B; and 2 more");
    refused(registry, "GET", "refused/google", "404 (not found): no such project");
    refused(registry, "GET", "refused/oauth", "400 (bad request): invalid_grant: Bad Request");
    refused(registry, "GET", "refused/html", "502 (bad gateway): 502 Bad Gateway; try again later");
    refused(registry, "GET", "refused/untitled", "413 (too large); the registry does not accept blobs of this size");
    refused(registry, "GET", "refused/binary", "400 (bad request): a31mb");
    refused(registry, "GET", "refused/plain", "400 (bad request): plain words and more");
    refused(registry, "GET", "missing?digest=secret", "404 (not found)");
    restart();
    refused(registry, "HEAD", "head", "403 (forbidden): X: why");
    CHECK(one.requests == 2 && strstr(one.log, "GET /v2/a/b/head "));
    refused(registry, "HEAD", "head?blob", "403 (forbidden)");
    CHECK(!strstr(err.message, "the blob") && !strstr(err.message, "not needed"));
    hl_registry_close(registry);
}

static void test_warnings(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    struct hl_http_response response;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(get(registry, "warned", &response), err);
        hl_http_response_free(&response);
    }
    CHECK(hl_registry_warning(registry, 1) && !strcmp(hl_registry_warning(registry, 0), "the first \"word\""));
    CHECK(!strcmp(hl_registry_warning(registry, 1), "second [1m") && !hl_registry_warning(registry, 2));
    hl_registry_close(registry);
}

static void test_statuses(void)
{
    static const long pass[] = {408, 429, 500, 502, 503, 504, 520, 599},
                      stay[] = {0, 200, 202, 301, 400, 401, 403, 404, 416, 501, 505, 507};
    for (size_t i = 0; i < HL_COUNT(pass); i++)
        CHECK(hl_retry_passing(pass[i]));
    for (size_t i = 0; i < HL_COUNT(stay); i++)
        CHECK(!hl_retry_passing(stay[i]));
}

static void test_delays(void)
{
    struct hl_http_response response = {.headers = NULL};
    static const struct {
        const char *headers;
        double least, most;
    } cases[] = {
        {"retry-after: 0\n", 0, 0.25},
        {"retry-after: 7\n", 7, 7.25},
        {"retry-after: 99999\n", 300, 300.25},
        {"retry-after: 99999999999999999999\n", 300, 300.25},
        {"retry-after: Thu, 01 Jan 1970 00:16:50 GMT\n", 10, 10.25}, /* 1010 */
        {"retry-after: Thu, 01 Jan 1970 00:16:30 GMT\n", 0, 0.25},
        {"retry-after: Thu, 01 Jan 2099 00:16:30 GMT\n", 300, 300.25},
        {"date: Thu, 01 Jan 2026 00:00:00 GMT\nretry-after: Thu, 01 Jan 2026 00:00:05 GMT\n", 5,
         5.25}, /* their clock */
        {"retry-after: soon\n", 1, 2},
        {"retry-after: -5\n", 1, 2},
        {"retry-after: \n", 1, 2},
        {"x: y\n", 1, 2},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++)
        for (double jitter = 0; jitter < 1; jitter += 0.33) {
            char headers[128];
            snprintf(headers, sizeof headers, "%s", cases[i].headers);
            response.headers = headers;
            double wait = hl_retry_delay(2, &response, 1000, jitter);
            CHECK_SAY(wait >= cases[i].least && wait <= cases[i].most, "%s: %.2f", headers, wait);
        }
    static const double backoff[] = {0.5, 1, 2, 4, 8, 16, 30, 30, 30};
    for (unsigned i = 0; i < HL_COUNT(backoff); i++)
        CHECK(hl_retry_delay(i, NULL, 0, 0) == backoff[i] / 2 && hl_retry_delay(i, NULL, 0, 1) == backoff[i]);
    CHECK(hl_retry_delay(4000000000u, NULL, 0, 1) == 30);
}

/* The client finds out whether a host on loopback speaks TLS. */
static void test_schemes(void)
{
    struct hl_registry_options trusting = {.ca = certificate}, plain = {.plain_http = true};
    struct hl_http_response response;
    struct hl_registry *registry = open_at(&secure, &trusting);
    CHECK_OK(get(registry, "warned", &response), err);
    CHECK(response.status == 200 && !strncmp(hl_registry_origin(registry), "https://", 8));
    hl_http_response_free(&response);
    hl_registry_close(registry);
    registry = open_at(&one, &trusting);
    CHECK_OK(get(registry, "warned", &response), err);
    CHECK(response.status == 200 && !strncmp(hl_registry_origin(registry), "http://", 7));
    hl_http_response_free(&response);
    hl_registry_close(registry);
    /* An untrusted certificate is TLS too, and never a reason to speak without TLS. */
    for (int i = 0; i < 2; i++) {
        secure.rude = i;
        registry = open_at(&secure, NULL);
        CHECK_FAILS(get(registry, "warned", &response), err, "--ca FILE");
        CHECK(failure == HL_HTTP_REFUSED && strstr(err.message, "GET https://"));
        hl_http_response_free(&response);
        hl_registry_close(registry);
    }
    registry = open_at(&one, &plain);
    restart();
    CHECK_OK(get(registry, "warned", &response), err);
    CHECK(one.requests == 1);
    hl_http_response_free(&response);
    hl_registry_close(registry);
    /* The client never speaks without TLS to other hosts, and never tries it. */
    struct hl_reference reference = {.host = "registry.example.com", .repository = "a", .tag = "b"};
    CHECK_OK(hl_registry_open(&reference, &trusting, &registry, &err), err);
    CHECK(!strcmp(hl_registry_origin(registry), "https://registry.example.com"));
    hl_registry_close(registry);
    struct server stubborn = {.handle = handle_stubborn};
    server_start(&stubborn);
    registry = open_at(&stubborn, NULL);
    CHECK_OK(get(registry, "x", &response), err); /* it speaks neither: the message shows its answer */
    CHECK(response.status == 400);
    hl_http_response_free(&response);
    hl_registry_close(registry);
    server_stop(&stubborn);
}

static int call_once(void *context, size_t i, struct hl_error *e)
{
    struct hl_http_response response;
    enum hl_http_failure kind;
    (void)i;
    struct hl_call call = {.method = "GET", .path = i % 2 ? "warned" : "auth/x"};
    int failed = hl_registry_call(context, &call, &response, &kind, e);
    if (!failed && response.status / 100 != 2)
        failed = hl_fail(e, "status %ld", response.status);
    hl_http_response_free(&response);
    return failed;
}

static void test_threads(void)
{
    struct hl_registry *registry = open_at(&one, NULL);
    unsigned before = one.connections;
    CHECK_OK(hl_parallel(200, 8, call_once, registry, &err), err);
    CHECK_SAY(one.connections - before <= 8, "%u connections", one.connections - before);
    hl_registry_close(registry);
}

/* Sends our own credentials, and no others. */
static bool make_home(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/hotlayer-client.XXXXXX");
    if (!mkdtemp(scratch))
        return false;
    snprintf(certificate, sizeof certificate, "%s/ca.pem", scratch);
    snprintf(config, sizeof config, "%s/config.json", scratch);
    setenv("HOME", scratch, 1);
    setenv("DOCKER_CONFIG", scratch, 1);
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("XDG_CONFIG_HOME");
    FILE *file = fopen(config, "wb");
    if (!file)
        return false;
    fprintf(file, "{\"auths\": {\"127.0.0.1:%u\": {\"auth\": \"dXNlcjpzZXNhbWU=\"}}}", one.port);
    return fclose(file) == 0;
}

int main(void)
{
    one.handle = two.handle = secure.handle = handle;
    server_start(&one);
    server_start(&two);
    if (CHECK(make_home()) && CHECK(server_tls(&secure, certificate))) {
        server_start(&secure);
        test_statuses();
        test_delays();
        test_retries();
        test_down();
        test_bodies();
        test_authorization();
        test_refusals();
        test_warnings();
        test_schemes();
        test_threads();
        server_stop(&secure);
    }
    server_stop(&one);
    server_stop(&two);
    CHECK(!unlink(certificate) && !unlink(config) && !rmdir(scratch));
    return check_summary();
}
