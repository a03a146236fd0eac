/* The requests to one repository of a registry.
 *
 * A call repeats its request until it gets a meaningful response. The first try has no authorization, since only a
 * challenge tells what the registry wants; the next one has it. Further tries follow with growing pauses, as long as
 * the failure is a temporary one. To send a request twice is harmless: requests of the distribution protocol either
 * read, or store something named by its digest. Uploads have a state; their callers set `once`.
 *
 * Connections are pooled, not shared: a call takes an idle one, or opens one.
 */
#include "registry/remote/client.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "registry/net/retry.h"
#include "registry/net/url.h"
#include "registry/remote/auth.h"
#include "registry/remote/client_inside.h"
#include <curl/curl.h>
#include <errno.h>
#include <sys/random.h>

#define UPLOAD_PACE (8u << 20) /* bytes per second, to estimate how long an authorization must last */
#define UPLOAD_SECONDS_MOST 1800u
#define PROBE_SECONDS 20u
#define LIMIT_SECONDS_MOST 86400u
#define AUTHORIZED_TRIES 3 /* without one, with one from a challenge, with the successor of a token that just expired */

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* Reads *seconds from the environment unless it is set; leaves 0 if it is not there either. */
static int limit_of(const char *variable, unsigned *seconds, struct hl_error *err)
{
    const char *text = getenv(variable);
    if (*seconds || !text || !*text)
        return 0;
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value < 1 || value > LIMIT_SECONDS_MOST)
        return hl_fail(err, "%s is '%.40s', which is not a number of seconds from 1 to %u", variable, text,
                       LIMIT_SECONDS_MOST);
    *seconds = (unsigned)value;
    return 0;
}

static int set_limits(struct hl_http_options *http, struct hl_error *err)
{
    return limit_of("HOTLAYER_STALL_SECONDS", &http->stall_seconds, err) ||
                   limit_of("HOTLAYER_ANSWER_SECONDS", &http->answer_seconds, err)
               ? -1
               : 0;
}

int hl_registry_open(const struct hl_reference *reference, const struct hl_registry_options *options,
                     struct hl_registry **out, struct hl_error *err)
{
    *out = NULL;
    struct hl_registry *registry = calloc(1, sizeof *registry);
    if (!registry)
        return hl_no_memory(err);
    pthread_mutex_init(&registry->lock, NULL);
    pthread_mutex_init(&registry->settling, NULL);
    registry->reference = *reference;
    registry->ca = copy_text(options->ca);
    registry->http = (struct hl_http_options){.ca = registry->ca,
                                              .plain_http = options->plain_http,
                                              .stall_seconds = options->stall_seconds,
                                              .answer_seconds = options->answer_seconds};
    registry->settled = options->plain_http || !hl_reference_is_loopback(reference->host);
    snprintf(registry->origin, sizeof registry->origin, "%s://%s", options->plain_http ? "http" : "https",
             reference->host);
    if (options->ca && !registry->ca) {
        hl_registry_close(registry);
        return hl_no_memory(err);
    }
    if (set_limits(&registry->http, err) ||
        hl_auth_open(reference->host, reference->repository, &registry->auth, err)) {
        hl_registry_close(registry);
        return -1;
    }
    *out = registry;
    return 0;
}

void hl_registry_close(struct hl_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->n_idle; i++)
        hl_http_close(registry->idle[i]);
    for (size_t i = 0; i < registry->n_warnings; i++)
        free(registry->warning[i]);
    hl_auth_close(registry->auth);
    pthread_mutex_destroy(&registry->lock);
    pthread_mutex_destroy(&registry->settling);
    free(registry->ca);
    free(registry);
}

const struct hl_reference *hl_registry_reference(const struct hl_registry *registry)
{
    return &registry->reference;
}

static int take(struct hl_registry *registry, struct hl_http **out, struct hl_error *err)
{
    pthread_mutex_lock(&registry->lock);
    *out = registry->n_idle ? registry->idle[--registry->n_idle] : NULL;
    pthread_mutex_unlock(&registry->lock);
    return *out ? 0 : hl_http_open(&registry->http, out, err);
}

static void give_back(struct hl_registry *registry, struct hl_http *http)
{
    pthread_mutex_lock(&registry->lock);
    bool room = registry->n_idle < IDLE_MOST;
    if (room)
        registry->idle[registry->n_idle++] = http;
    pthread_mutex_unlock(&registry->lock);
    if (!room)
        hl_http_close(http);
}

/* The answer of a loopback host to a scheme. */
enum probe {
    PROBE_SILENT, /* no answer */
    PROBE_OTHER,  /* an answer to http that says that https is expected */
    PROBE_SPEAKS, /* an answer, or an untrusted certificate, which also proves TLS */
};

static enum probe probe(struct hl_registry *registry, struct hl_http *http, const char *scheme)
{
    char url[HL_NAME_LIMIT + 32];
    snprintf(url, sizeof url, "%s://%s/v2/", scheme, registry->reference.host);
    struct hl_http_request request = {.method = "GET", .url = url, .seconds = PROBE_SECONDS};
    struct hl_http_response response;
    enum hl_http_failure failure;
    struct hl_error ignored;
    int failed = hl_http_send(http, &request, &response, &failure, &ignored);
    bool wants_tls = !failed && response.status == 400 && url[4] == ':' && strcasestr(response.body, "https");
    hl_http_response_free(&response);
    if (failed && failure != HL_HTTP_REFUSED)
        return PROBE_SILENT;
    return wants_tls ? PROBE_OTHER : PROBE_SPEAKS;
}

/* Finds out whether a loopback host speaks http or https; see the header. */
static void settle(struct hl_registry *registry, struct hl_http *http)
{
    pthread_mutex_lock(&registry->settling);
    if (!registry->settled) {
        const char *first = registry->ca ? "https" : "http", *second = registry->ca ? "http" : "https";
        bool other = probe(registry, http, first) != PROBE_SPEAKS && probe(registry, http, second) == PROBE_SPEAKS;
        snprintf(registry->origin, sizeof registry->origin, "%s://%s", other ? second : first,
                 registry->reference.host);
        registry->settled = true;
    }
    pthread_mutex_unlock(&registry->settling);
}

/* Returns the call's absolute URL; the caller frees it. */
static char *url_of(const struct hl_registry *registry, const struct hl_call *call)
{
    char *url = NULL;
    if (!call->path)
        return copy_text(call->url);
    if (asprintf(&url, "%s/v2/%s/%s", registry->origin, registry->reference.repository, call->path) < 0)
        return NULL;
    return url;
}

/* Returns how long the request may take, which is how long its authorization must last. */
static unsigned expected_seconds(const struct hl_call *call)
{
    uint64_t s = call->body ? call->body->bytes / UPLOAD_PACE : 0;
    return s < UPLOAD_SECONDS_MOST ? (unsigned)s : UPLOAD_SECONDS_MOST;
}

static int rewind_body(const struct hl_call *call, struct hl_error *err)
{
    if (!call->body || !call->body->rewind)
        return call->body ? hl_fail(err, "%s: the body cannot be sent again", call->method) : 0;
    return call->body->rewind(call->body->context, err);
}

/* The state of one call. */
struct talk {
    struct hl_registry *registry;
    struct hl_http *http;
    const struct hl_call *call;
    struct hl_http_request request;
    char scope[2 * HL_NAME_LIMIT + 64];
    bool own; /* the URL is on the registry's own origin, so its challenges are answered */
};

/* Returns whether the registry itself answered the request, or redirected it. Error statuses may come from a proxy. */
static bool was_let_in(const struct hl_http_request *request, const struct hl_http_response *response)
{
    return response->status < 400 || response->status == 404 || !hl_url_same_origin(response->url, request->url);
}

/* Sends the request with the known authorization, and again if the registry demands another. */
static int authorized(struct talk *talk, struct hl_http_response *out, enum hl_http_failure *failure,
                      struct hl_error *err)
{
    struct hl_auth *auth = talk->registry->auth;
    for (unsigned i = 0;; i++) {
        HL_SECRET char *value = NULL;
        *failure = HL_HTTP_REFUSED;
        *out = (struct hl_http_response){0};
        if (talk->own && hl_auth_header(auth, talk->http, talk->scope, expected_seconds(talk->call), &value, err))
            return -1;
        talk->request.authorization = value;
        if (hl_http_send(talk->http, &talk->request, out, failure, err))
            return -1;
        if (value && was_let_in(&talk->request, out))
            hl_auth_accepted(auth, value);
        if (out->status != 401 || !talk->own || !hl_url_same_origin(out->url, talk->request.url) ||
            i + 1 == AUTHORIZED_TRIES)
            return 0;
        bool again = false;
        *failure = HL_HTTP_REFUSED;
        if (hl_auth_challenged(auth, talk->http, out->url, talk->scope, value, out, &again, err) || !again)
            return -1;
        *failure = HL_HTTP_LOCAL;
        if (rewind_body(talk->call, err))
            return -1;
        hl_http_response_free(out);
    }
}

/* Collects "Warning: 299 - "text"": RFC 7234, 5.5, as distribution-spec restricts it. */
static void note_warnings(struct hl_registry *registry, const struct hl_http_response *response)
{
    char value[512], text[WARNING_BYTES];
    for (size_t i = 0; hl_http_header(response, "warning", i, value, sizeof value); i++) {
        size_t n = 0;
        if (!hl_text_begins(value, "299 - \""))
            continue;
        for (const char *c = value + 7; *c && *c != '"' && n + 1 < sizeof text; c++) {
            c += *c == '\\' && c[1];
            text[n++] = *c;
        }
        text[n] = 0;
        hl_registry_clean(text);
        pthread_mutex_lock(&registry->lock);
        bool known = !text[0] || registry->n_warnings == WARNINGS_MOST;
        for (size_t k = 0; k < registry->n_warnings; k++)
            known |= !strcmp(registry->warning[k], text);
        if (!known && (registry->warning[registry->n_warnings] = strdup(text)))
            registry->n_warnings++;
        pthread_mutex_unlock(&registry->lock);
    }
}

const char *hl_registry_warning(struct hl_registry *registry, size_t i)
{
    pthread_mutex_lock(&registry->lock);
    const char *text = i < registry->n_warnings ? registry->warning[i] : NULL;
    pthread_mutex_unlock(&registry->lock);
    return text;
}

static void add_tries(struct hl_error *err, unsigned tries)
{
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, " (tried %u times)", tries);
}

/* Makes the tries of a call, with waits between them. */
static int repeat(struct talk *talk, struct hl_http_response *out, enum hl_http_failure *failure, struct hl_error *err)
{
    struct hl_registry *registry = talk->registry;
    for (unsigned attempt = 0;; attempt++) {
        int failed = authorized(talk, out, failure, err);
        if (out->status)
            registry->answered = true;
        if (!failed && talk->own)
            note_warnings(registry, out);
        bool can = !talk->call->once && !out->received && (!talk->call->body || talk->call->body->rewind);
        unsigned most = failed && !registry->answered ? HL_RETRY_TIMES_FIRST : HL_RETRY_TIMES;
        if (!can || attempt >= most || !(failed ? *failure == HL_HTTP_TRANSIENT : hl_retry_passing(out->status))) {
            if (failed && attempt)
                add_tries(err, attempt + 1);
            return failed;
        }
        hl_retry_wait(attempt, failed ? NULL : out);
        hl_http_response_free(out);
        *failure = HL_HTTP_LOCAL;
        if (talk->call->body && rewind_body(talk->call, err))
            return -1;
    }
}

static void begin_talk(struct talk *talk, struct hl_registry *registry, const struct hl_call *call, const char *url)
{
    *talk = (struct talk){.registry = registry, .call = call, .own = hl_url_same_origin(url, registry->origin)};
    talk->request = (struct hl_http_request){.method = call->method,
                                             .url = url,
                                             .from = call->path ? NULL : registry->origin,
                                             .header = call->header,
                                             .n_headers = call->n_headers,
                                             .body = call->body,
                                             .sink = call->sink,
                                             .context = call->context,
                                             .limit = call->limit};
    int n = snprintf(talk->scope, sizeof talk->scope, "repository:%s:%s", registry->reference.repository,
                     call->push ? "pull,push" : "pull");
    if (call->from && strlen(call->from) <= HL_NAME_LIMIT)
        snprintf(talk->scope + n, sizeof talk->scope - (size_t)n, " repository:%s:pull", call->from);
}

int hl_registry_call(struct hl_registry *registry, const struct hl_call *call, struct hl_http_response *out,
                     enum hl_http_failure *failure, struct hl_error *err)
{
    struct hl_http *http;
    *out = (struct hl_http_response){0};
    *failure = HL_HTTP_LOCAL;
    if (take(registry, &http, err))
        return -1;
    settle(registry, http);
    HL_FREE char *url = url_of(registry, call);
    int failed = -1;
    if (url) {
        struct talk talk;
        begin_talk(&talk, registry, call, url);
        talk.http = http;
        failed = repeat(&talk, out, failure, err);
    } else {
        hl_no_memory(err);
    }
    give_back(registry, http);
    return failed;
}

const char *hl_registry_origin(struct hl_registry *registry)
{
    struct hl_http *http;
    struct hl_error ignored;
    if (!take(registry, &http, &ignored)) {
        settle(registry, http);
        give_back(registry, http);
    }
    return registry->origin;
}
