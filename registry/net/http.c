/* One HTTP request over libcurl.
 *
 * libcurl does the wire protocol: kept connections, TLS, proxies from the environment, chunks, 100-continue. This file
 * decides what is sent to whom:
 *
 * - This file follows redirects itself, since each hop needs three decisions. May the authorization be sent? Only to
 *   the first request's origin, and never again once a hop has dropped it. Is plain HTTP allowed? Is the host allowed
 *   at all?
 * - It uses HTTP/1.1, because layers are uploaded in parallel. Each connection then has its own congestion window and
 *   fails alone; HTTP/2 would send all layers through one. Nothing else here would gain from its streams.
 * - The whole request has no time limit, since a 2 GiB layer over a slow line would reach it; instead its progress is
 *   watched. libcurl calls the watch about once a second.
 * - The watch has two limits for silence: one while bytes should flow, and one while a registry hashes an upload.
 *   Hashing a large layer on slow storage takes many minutes (other tools give up after 30 s, and retry).
 * - Large bodies are sent with "Expect: 100-continue" (libcurl adds it), so an expired token is noticed before 2 GiB
 *   are sent. A server that does not know the header costs one second.
 * - Bodies are never decompressed: a digest is of the bytes as stored.
 *
 * Threads need CURLOPT_NOSIGNAL, and with it libcurl leaves SIGPIPE to its user. OpenSSL writes to sockets in a way
 * that raises it, so the calling thread blocks it during a request.
 */
#include "registry/net/http.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "hotlayer/version.h"
#include "registry/net/url.h"
#include <curl/curl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define EXPECT_BYTES ((uint64_t)1 << 20) /* larger bodies are sent with "Expect: 100-continue" */
#define ERROR_KEPT ((size_t)64 << 10)    /* bytes kept of an error answer's body */
#define KEPT_LIMIT ((size_t)1 << 20)     /* default limit of a body in memory */
#define SEND_BUFFER (2l << 20)           /* libcurl's maximum; fewer turns of its loop per GB */
#define RECEIVE_BUFFER (512l << 10)
#define CONNECT_SECONDS 30l
#define FLOW_BYTES 1024 /* fewer bytes per `stall_seconds` are a stall, or a server could trickle forever */

struct hl_http {
    CURL *curl;
    char *ca;
    bool plain_http, no_proxy;
    unsigned stall_seconds, answer_seconds;
    bool wary; /* a kept connection broke during a body, which cannot be sent twice: use new connections for bodies */
};

/* One hop of a request: the state of libcurl's callbacks. */
struct exchange {
    struct hl_http *http;
    const struct hl_http_request *request;
    struct hl_http_response *out;
    struct hl_error *err; /* filled by the code that sets `why` to LOCAL or REFUSED */
    enum why { WHY_NONE, WHY_LOCAL, WHY_REFUSED, WHY_STALL, WHY_SILENCE, WHY_CUT } why;
    size_t header_bytes, header_room, header_total; /* of `out->headers`; of all headers, including 1xx answers */
    bool answered;                                  /* a status other than 1xx has arrived */
    size_t body_room;
    uint64_t sent;
    bool sent_all;
    double active;  /* when the last FLOW_BYTES were complete, in seconds of CLOCK_MONOTONIC */
    uint64_t drops; /* bytes since then */
    curl_off_t up, down;
    char shown[256];
    char said[CURL_ERROR_SIZE];
};

static pthread_once_t begun = PTHREAD_ONCE_INIT;

static void begin(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int hl_http_open(const struct hl_http_options *options, struct hl_http **out, struct hl_error *err)
{
    *out = NULL;
    if (options->ca && access(options->ca, R_OK))
        return hl_fail(err, "cannot read the certificates in '%.300s' (--ca)", options->ca);
    pthread_once(&begun, begin);
    struct hl_http *http = calloc(1, sizeof *http);
    if (!http)
        return hl_no_memory(err);
    http->curl = curl_easy_init();
    http->ca = options->ca ? strdup(options->ca) : NULL;
    http->plain_http = options->plain_http;
    http->no_proxy = options->no_proxy;
    http->stall_seconds = options->stall_seconds ? options->stall_seconds : 60;
    http->answer_seconds = options->answer_seconds ? options->answer_seconds : 900;
    if (!http->curl || (options->ca && !http->ca)) {
        hl_http_close(http);
        return hl_no_memory(err);
    }
    *out = http;
    return 0;
}

void hl_http_close(struct hl_http *http)
{
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    free(http->ca);
    free(http);
}

void hl_http_response_free(struct hl_http_response *response)
{
    if (response->body) /* may hold a token */
        explicit_bzero(response->body, response->body_bytes);
    free(response->url);
    free(response->headers);
    free(response->body);
    *response = (struct hl_http_response){0};
}

/* Appends to a text that doubles as it grows and stays NUL-terminated. Wipes the old memory: it may hold a token. */
static int append(char **text, size_t *bytes, size_t *room, const char *more, size_t n)
{
    if (*room - *bytes <= n) {
        size_t wanted = *bytes + n + 1, larger = *room * 2;
        larger = larger > wanted ? larger : wanted;
        char *moved = malloc(larger);
        if (!moved)
            return -1;
        if (*text) {
            memcpy(moved, *text, *bytes);
            explicit_bzero(*text, *bytes);
        }
        free(*text);
        *text = moved;
        *room = larger;
    }
    memcpy(*text + *bytes, more, n);
    *bytes += n;
    (*text)[*bytes] = 0;
    return 0;
}

/* Ends the transfer from within a callback. */
static size_t stop(struct exchange *x, enum why why)
{
    x->why = why;
    return 0;
}

static size_t out_of_memory(struct exchange *x)
{
    hl_no_memory(x->err);
    return stop(x, WHY_LOCAL);
}

static void moved(struct exchange *x, uint64_t bytes)
{
    x->drops += bytes;
    if (x->drops < FLOW_BYTES)
        return;
    x->drops = 0;
    x->active = seconds();
}

/* Handles a status line. Anything collected before belongs to a 1xx answer, or to a try that libcurl itself repeats. */
static size_t begin_answer(struct exchange *x, size_t n)
{
    if (x->out->received) {
        hl_fail(x->err, "%s %s: a second response within the first", x->request->method, x->shown);
        return stop(x, WHY_REFUSED);
    }
    long status = 0;
    curl_easy_getinfo(x->http->curl, CURLINFO_RESPONSE_CODE, &status);
    x->header_bytes = 0;
    x->out->body_bytes = 0;
    x->out->status = status;
    x->answered = status >= 200;
    if (x->answered)
        x->active = seconds();
    if (x->out->headers)
        x->out->headers[0] = 0;
    return n;
}

/* Handles one line of the response's head, with its line end. A line that begins with a space continues the previous.
 * */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    size_t n = size * count, all = n;
    moved(x, n);
    x->header_total += n;
    if (x->header_total > HL_HTTP_HEADERS_LIMIT || memchr(line, 0, n)) {
        hl_fail(x->err, "%s %s: the answer's headers are %s", x->request->method, x->shown,
                x->header_total > HL_HTTP_HEADERS_LIMIT ? "longer than 256 KiB" : "binary");
        return stop(x, WHY_REFUSED);
    }
    if (n >= 5 && hl_text_begins(line, "HTTP/"))
        return begin_answer(x, all);
    while (n && strchr(" \t\r\n", line[n - 1]))
        n--;
    const char *colon = memchr(line, ':', n);
    bool folded = line[0] == ' ' || line[0] == '\t', trailer = x->out->received || x->out->body_bytes;
    if (!n || trailer || (folded ? !x->header_bytes : !colon))
        return all;
    char **headers = &x->out->headers;
    size_t name = folded ? 0 : (size_t)(colon - line);
    for (size_t i = 0; i < name; i++)
        if (line[i] >= 'A' && line[i] <= 'Z')
            line[i] = (char)(line[i] + 32);
    size_t value = name + !folded;
    while (value < n && (line[value] == ' ' || line[value] == '\t'))
        value++;
    for (size_t i = value; i < n; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = ' ';
    x->header_bytes -= folded; /* the newline */
    if ((!folded && append(headers, &x->header_bytes, &x->header_room, line, name + 1)) ||
        append(headers, &x->header_bytes, &x->header_room, " ", 1) ||
        append(headers, &x->header_bytes, &x->header_room, line + value, n - value) ||
        append(headers, &x->header_bytes, &x->header_room, "\n", 1))
        return out_of_memory(x);
    return all;
}

static size_t keep(struct exchange *x, const char *bytes, size_t n)
{
    struct hl_http_response *out = x->out;
    bool success = out->status / 100 == 2;
    size_t limit = x->request->limit ? x->request->limit : KEPT_LIMIT;
    if (!success && limit > ERROR_KEPT)
        limit = ERROR_KEPT;
    size_t room = limit - out->body_bytes, fit = n < room ? n : room;
    if (fit < n && success) {
        hl_fail(x->err, "%s %s: the answer is longer than %zu bytes", x->request->method, x->shown, limit);
        return stop(x, WHY_REFUSED);
    }
    if (append(&out->body, &out->body_bytes, &x->body_room, bytes, fit))
        return out_of_memory(x);
    return fit < n ? stop(x, WHY_CUT) : n;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    size_t n = size * count;
    if (!x->request->sink || (x->out->status != 200 && x->out->status != 206))
        return keep(x, bytes, n);
    double before = seconds();
    if (x->request->sink(x->request->context, bytes, n, x->err))
        return stop(x, WHY_LOCAL);
    x->out->received += n;
    x->active += seconds() - before; /* time spent in the sink is not a stall */
    return n;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    const struct hl_http_body *body = x->request->body;
    size_t n = size * count, got = 0;
    double before = seconds();
    bool known = body->bytes != HL_HTTP_UNKNOWN;
    if (known && n > body->bytes - x->sent)
        n = (size_t)(body->bytes - x->sent);
    if (n && body->read(body->context, buffer, n, &got, x->err)) {
        stop(x, WHY_LOCAL);
        return CURL_READFUNC_ABORT;
    }
    if (got > n || (known && n && !got)) {
        hl_fail(x->err, "%s %s: the body ended after %llu of %llu bytes", x->request->method, x->shown,
                (unsigned long long)x->sent, (unsigned long long)body->bytes);
        stop(x, WHY_LOCAL);
        return CURL_READFUNC_ABORT;
    }
    x->sent += got;
    /* libcurl never asks for the end of a body whose length it knows: it ends with its last byte. */
    x->sent_all = known ? x->sent == body->bytes : !got;
    x->active += seconds() - before;
    return got;
}

/* libcurl resends a request when a kept connection turns out to be closed. Refuses that if part of the body was sent:
 * the part may have arrived, and the upload session would receive it twice. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    struct exchange *x = context;
    const struct hl_http_body *body = x->request->body;
    if (offset || origin != SEEK_SET || !body || !body->rewind || x->sent)
        return CURL_SEEKFUNC_CANTSEEK;
    if (body->rewind(body->context, x->err)) {
        stop(x, WHY_LOCAL);
        return CURL_SEEKFUNC_FAIL;
    }
    x->sent = 0;
    x->sent_all = false;
    return CURL_SEEKFUNC_OK;
}

static bool only_reads(const struct hl_http_request *request)
{
    return !strcmp(request->method, "GET") || !strcmp(request->method, "HEAD");
}

/* Checks for a stall. libcurl calls it about once a second and whenever bytes moved; 1 ends the transfer. */
static int on_progress(void *context, curl_off_t total_down, curl_off_t down, curl_off_t total_up, curl_off_t up)
{
    struct exchange *x = context;
    (void)total_down, (void)total_up;
    moved(x, (uint64_t)(down > x->down ? down - x->down : 0) + (uint64_t)(up > x->up ? up - x->up : 0));
    double now = seconds();
    x->down = down;
    x->up = up;
    const struct hl_http_body *body = x->request->body;
    bool gone = !body || (x->sent_all && (body->bytes == HL_HTTP_UNKNOWN || (uint64_t)up >= body->bytes));
    bool thinking = gone && !x->answered && !only_reads(x->request);
    if (now - x->active <= (thinking ? x->http->answer_seconds : x->http->stall_seconds))
        return 0;
    x->why = thinking ? WHY_SILENCE : WHY_STALL;
    return 1;
}

static bool header_fits(const char *line)
{
    const char *colon = strchr(line, ':');
    return colon && colon > line && colon[1] == ' ' && colon[2] && !strpbrk(line, "\r\n");
}

static int add_header(struct curl_slist **list, const char *line, struct hl_error *err)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return hl_no_memory(err);
    *list = longer;
    return 0;
}

/* Adds "Authorization: ..." and wipes its own copy of it. */
static int add_authorization(const char *value, struct curl_slist **list, struct hl_error *err)
{
    size_t size = strlen(value) + sizeof "Authorization: ";
    char *line = malloc(size);
    if (!line)
        return hl_no_memory(err);
    snprintf(line, size, "Authorization: %s", value);
    int failed = header_fits(line)
                     ? add_header(list, line, err)
                     : hl_fail(err, "the credentials are empty or hold a line break, which no header can");
    explicit_bzero(line, size);
    free(line);
    return failed;
}

static void free_list(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next)
        explicit_bzero(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

static int make_headers(const struct hl_http_request *request, const char *authorization, struct curl_slist **list,
                        struct hl_error *err)
{
    bool encoding = false;
    for (size_t i = 0; i < request->n_headers; i++) {
        encoding |= !strncasecmp(request->header[i], "Accept-Encoding:", 16);
        if (!header_fits(request->header[i]))
            return hl_fail(err, "'%.100s' is not a header", request->header[i]);
        if (add_header(list, request->header[i], err))
            return -1;
    }
    if (!encoding && add_header(list, "Accept-Encoding: identity", err))
        return -1;
    /* The size from which on libcurl sends "Expect" depends on its version, and a handle that met a 417 never sends it
     * again. So small bodies are sent without it always. */
    if ((!request->body || request->body->bytes <= EXPECT_BYTES) && add_header(list, "Expect:", err))
        return -1;
    return authorization ? add_authorization(authorization, list, err) : 0;
}

/* Makes the value "Basic ..." of user and password; the caller wipes and frees it. */
static int basic(const char *user, const char *password, char **out, struct hl_error *err)
{
    size_t n = strlen(user) + 1 + strlen(password), size = 6 + (n + 2) / 3 * 4 + 1;
    if (strchr(user, ':') || n > HL_URL_LIMIT)
        return hl_fail(err, "the user name for Basic authentication holds a colon, or the password is too long");
    char *both = malloc(n + 1), *value = malloc(size);
    if (both && value) {
        snprintf(both, n + 1, "%s:%s", user, password);
        memcpy(value, "Basic ", 6);
        EVP_EncodeBlock((unsigned char *)value + 6, (const unsigned char *)both, (int)n);
        explicit_bzero(both, n);
    }
    free(both);
    *out = value;
    return value ? 0 : hl_no_memory(err);
}

static void set_method(CURL *curl, const struct hl_http_request *request)
{
    if (!strcmp(request->method, "HEAD")) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1l);
        return;
    }
    bool bare = !strcmp(request->method, "GET") || (!strcmp(request->method, "DELETE") && !request->body);
    if (!bare) {
        uint64_t bytes = request->body ? request->body->bytes : 0;
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1l);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, bytes == HL_HTTP_UNKNOWN ? (curl_off_t)-1 : (curl_off_t)bytes);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_protocols(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_connection(const struct hl_http *http, enum hl_reach reach)
{
    CURL *curl = http->curl;
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "hotlayer/" HL_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0l);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0l);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1l);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1l);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1l);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2l);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1l);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 30l);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 30l);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 1000l);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1l);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Without this libcurl waits after a timeout for its resolver thread, which a silent name server holds longer. */
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1l);
#endif
    set_protocols(curl);
    if (http->ca) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    /* Loopback requests may be plain HTTP, so they must not leave the machine through a proxy. */
    if (http->no_proxy || reach >= HL_REACH_LINK)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

static void set_callbacks(CURL *curl, struct exchange *x)
{
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, x->said);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, x);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, x);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0l);
}

/* Runs curl_easy_perform() with SIGPIPE blocked, and discards the SIGPIPE that it may have raised. */
static CURLcode perform(CURL *curl)
{
    sigset_t pipe_set, pending, old;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    CURLcode code = curl_easy_perform(curl);
    const struct timespec now = {0};
    if (!sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_set, NULL, &now) == SIGPIPE)
            ;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

static enum hl_http_failure failure_of(CURLcode code)
{
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_URL_MALFORMAT:
        return HL_HTTP_LOCAL;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return HL_HTTP_REFUSED;
    default:
        return HL_HTTP_TRANSIENT;
    }
}

/* Turns the outcome into 0, or an error and its kind. */
static int conclude(struct exchange *x, CURLcode code, enum hl_http_failure *failure)
{
    const char *method = x->request->method;
    *failure = HL_HTTP_TRANSIENT;
    if (x->why == WHY_CUT || (code == CURLE_OK && x->why == WHY_NONE && x->answered))
        return 0;
    if (x->why == WHY_LOCAL || x->why == WHY_REFUSED) {
        *failure = x->why == WHY_LOCAL ? HL_HTTP_LOCAL : HL_HTTP_REFUSED;
        return -1;
    }
    if (x->why == WHY_STALL)
        return hl_fail(x->err, "%s %s: %s moved for %u s", method, x->shown, x->drops ? "almost nothing" : "nothing",
                       x->http->stall_seconds);
    if (x->why == WHY_SILENCE)
        return hl_fail(x->err, "%s %s: no answer in %u s after the last byte was sent", method, x->shown,
                       x->http->answer_seconds);
    if (code == CURLE_OK)
        return hl_fail(x->err, "%s %s: no answer", method, x->shown);
    *failure = failure_of(code);
    const char *hint = "";
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        hint = "; give a private authority's certificate with --ca FILE";
    else if (code == CURLE_SSL_CACERT_BADFILE)
        hint = "; it must hold certificates in PEM";
    for (char *c = x->said; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = ' ';
    return hl_fail(x->err, "%s %s: %s%s", method, x->shown, x->said[0] ? x->said : curl_easy_strerror(code), hint);
}

/* Masks the authorization in the response: some servers echo the request in their error pages. */
static void redact(char *text, size_t n, const char *authorization)
{
    const char *secret = authorization ? strchr(authorization, ' ') : NULL;
    size_t length = secret ? strlen(++secret) : 0;
    if (!text || length < 8)
        return;
    for (char *at; (at = memmem(text, n, secret, length)); text = at + length)
        n -= (size_t)(at + length - text), memset(at, '*', length);
}

/* Sends one request and receives its response. */
static int exchange(struct exchange *x, const char *url, const char *authorization, enum hl_reach reach, long ms,
                    enum hl_http_failure *failure)
{
    CURL *curl = x->http->curl;
    struct curl_slist *list = NULL;
    *failure = HL_HTTP_LOCAL;
    if (make_headers(x->request, authorization, &list, x->err)) {
        free_list(list);
        return -1;
    }
    curl_easy_reset(curl);
    set_connection(x->http, reach);
    set_callbacks(curl, x);
    set_method(curl, x->request);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, (long)(x->http->wary && x->request->body));
    x->active = seconds();
    CURLcode code = perform(curl);
    long connects = 1;
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
    if (code != CURLE_OK && x->why == WHY_NONE && x->request->body && connects == 0)
        x->http->wary = true;
    int failed = conclude(x, code, failure);
    curl_easy_reset(curl); /* the list and `x` are about to be freed */
    free_list(list);
    redact(x->out->body, x->out->body_bytes, authorization);
    redact(x->out->headers, x->header_bytes, authorization);
    if (!failed && ((!x->out->headers && !(x->out->headers = calloc(1, 1))) ||
                    (!x->out->body && !(x->out->body = calloc(1, 1))))) {
        *failure = HL_HTTP_LOCAL;
        return hl_no_memory(x->err);
    }
    return failed;
}

/* Fails unless this URL may be requested. `from` is the URL whose response led here, or NULL. */
static int permitted(const struct hl_http *http, const struct hl_http_request *request, const char *url,
                     const char *from, enum hl_reach *reach, struct hl_error *err)
{
    struct hl_url to, source;
    char shown[256];
    hl_url_shown(url, shown);
    if (!hl_url_parse(url, &to))
        return hl_fail(err, "'%s' is not an http or https URL", shown);
    *reach = hl_url_reach(to.host);
    if (from && hl_url_parse(from, &source)) {
        if (source.tls && !to.tls)
            return hl_fail(err, "an answer over https leads to %s: refused", shown);
        if (*reach >= HL_REACH_LINK && *reach > hl_url_reach(source.host))
            return hl_fail(err, "an answer of '%s' leads to %s, an address of this machine or its link: refused",
                           source.host, shown);
    }
    if (request->public_hosts && *reach != HL_REACH_PUBLIC)
        return hl_fail(err, "%s is a local address: refused", shown);
    if (!to.tls && !http->plain_http && *reach != HL_REACH_LOOPBACK)
        return hl_fail(err, "%s is plain HTTP; --plain-http allows that", shown);
    return 0;
}

static bool is_redirect(const struct hl_http_request *request, const struct hl_http_response *response)
{
    long s = response->status;
    return only_reads(request) && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308);
}

/* Clears the response to a redirect and sets its URL to the redirect's target. */
static int follow(const char *from, struct hl_http_response *response, struct hl_error *err)
{
    HL_FREE char *location = hl_http_header_copy(response, "location");
    hl_http_response_free(response);
    return hl_url_resolve(from, location ? location : "", &response->url, err);
}

static int send_hops(struct hl_http *http, const struct hl_http_request *request, const char *authorization,
                     struct hl_http_response *out, enum hl_http_failure *failure, struct hl_error *err)
{
    HL_FREE char *from = NULL;
    double end = seconds() + request->seconds;
    for (unsigned hop = 0;; hop++) {
        enum hl_reach reach = HL_REACH_PUBLIC;
        const char *source = from ? from : request->from;
        *failure = source ? HL_HTTP_REFUSED : HL_HTTP_LOCAL;
        if (permitted(http, request, out->url, source, &reach, err))
            return -1;
        if (from && !hl_url_same_origin(from, out->url))
            authorization = NULL; /* also if a later hop returns here: another host has chosen that URL */
        struct exchange x = {.http = http, .request = request, .out = out, .err = err};
        hl_url_shown(out->url, x.shown);
        double left = (end - seconds()) * 1000;
        long ms = !request->seconds ? 0 : left < 1 ? 1 : (long)left;
        if (exchange(&x, out->url, authorization, reach, ms, failure))
            return -1;
        if (!is_redirect(request, out))
            return 0;
        *failure = HL_HTTP_REFUSED;
        if (hop == HL_HTTP_REDIRECTS)
            return hl_fail(err, "%s %s: more than %d redirects", request->method, x.shown, HL_HTTP_REDIRECTS);
        free(from);
        from = out->url;
        out->url = NULL;
        if (follow(from, out, err))
            return -1;
    }
}

int hl_http_send(struct hl_http *http, const struct hl_http_request *request, struct hl_http_response *out,
                 enum hl_http_failure *failure, struct hl_error *err)
{
    *out = (struct hl_http_response){0};
    *failure = HL_HTTP_LOCAL;
    char *value = NULL;
    if (request->user && basic(request->user, request->password ? request->password : "", &value, err))
        return -1;
    out->url = strdup(request->url);
    int failed = out->url ? send_hops(http, request, value ? value : request->authorization, out, failure, err)
                          : hl_no_memory(err);
    if (value)
        explicit_bzero(value, strlen(value));
    free(value);
    return failed;
}

/* Returns the value of a header inside the response's text, and its length; NULL if the header is absent. */
static const char *find_header(const struct hl_http_response *response, const char *name, size_t from, size_t *bytes)
{
    size_t n = strlen(name);
    for (const char *line = response->headers; line && *line;) {
        size_t length = strcspn(line, "\n");
        if (length > n + 1 && !strncmp(line, name, n) && line[n] == ':' && from-- == 0) {
            *bytes = length - n - 2;
            return line + n + 2;
        }
        line += length + (line[length] == '\n');
    }
    return NULL;
}

bool hl_http_header(const struct hl_http_response *response, const char *name, size_t from, char *out, size_t size)
{
    size_t bytes;
    const char *value = find_header(response, name, from, &bytes);
    if (!value || bytes >= size)
        return false;
    memcpy(out, value, bytes);
    out[bytes] = 0;
    return true;
}

char *hl_http_header_copy(const struct hl_http_response *response, const char *name)
{
    size_t bytes;
    const char *value = find_header(response, name, 0, &bytes);
    return value ? strndup(value, bytes) : NULL;
}
