/* The requests of an upload, and the meaning of the registry's responses.
 *
 * A Location is opaque: relative or not, on this host or another, with some kilobytes of state in its query. It is
 * resolved against the URL of the response. The digest is appended as text, since some registries sign the query as it
 * is. Each response may move the session, so the newest Location counts; a response without one does not change it.
 *
 * Redirects of PATCH and PUT (307, 308) are followed here, because the Location of a redirect must be kept apart from
 * that of the session.
 */
#include "registry/remote/session.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "registry/net/url.h"
#include <strings.h>

#define REDIRECTS 3
#define RESPONSE __attribute__((cleanup(hl_http_response_free))) struct hl_http_response

static const char content_type[] = "Content-Type: application/octet-stream";

static bool is_success(long status)
{
    return status >= 200 && status < 300;
}

int hl_session_confirms(const struct hl_http_response *response, const char *digest, struct hl_error *err)
{
    char said[256], shown[HL_DIGEST_BYTES];
    if (!hl_http_header(response, "docker-content-digest", 0, said, sizeof said) || !strcmp(said, digest) ||
        !hl_text_begins(said, "sha256:")) /* another algorithm: it cannot be compared */
        return 0;
    hl_text_copy(shown, sizeof shown, said);
    return hl_fail(err, "the registry says that it stored %s, but it was given %s", shown, digest);
}

static bool read_number(const char *text, const char **end, uint64_t *out)
{
    const char *digit = text;
    *out = 0;
    for (; *digit >= '0' && *digit <= '9' && digit - text < 16; digit++)
        *out = *out * 10 + (uint64_t)(*digit - '0');
    *end = digit;
    return digit > text && *out < HL_BLOB_LIMIT;
}

bool hl_session_range(const struct hl_http_response *response, uint64_t *bytes)
{
    char text[64];
    const char *at = text, *end;
    uint64_t first, last;
    if (!hl_http_header(response, "range", 0, text, sizeof text))
        return false;
    if (hl_text_begins(at, "bytes")) /* against the specification, but it can mean nothing else */
        at += 5 + (at[5] == '=' || at[5] == ' ');
    if (!read_number(at, &end, &first) || first || *end != '-' || !read_number(end + 1, &end, &last) ||
        (*end && *end != '/'))
        return false;
    *bytes = last ? last + 1 : 0;
    return true;
}

static uint64_t chunk_length(const struct hl_http_response *response, const char *name)
{
    char text[32];
    const char *end;
    uint64_t length;
    bool good = hl_http_header(response, name, 0, text, sizeof text) && read_number(text, &end, &length) && !*end;
    return good ? length : 0;
}

char *hl_session_commit_url(const char *location, const char *digest)
{
    const char *query = strchr(location, '?');
    size_t size = strlen(location) + sizeof "?digest=sha256%3A" + HL_DIGEST_HEX;
    char *url = malloc(size);
    if (url)
        snprintf(url, size, "%s%sdigest=sha256%%3A%s", location, query ? "&" : "?", hl_digest_file(digest));
    return url;
}

bool hl_session_whole_only(const char *host)
{
    static const char *const hosts[] = {"gcr.io", "ghcr.io", ".gcr.io", ".pkg.dev", ".amazonaws.com"};
    size_t length = strcspn(host, ":");
    for (size_t i = 0; i < HL_COUNT(hosts); i++) {
        size_t n = strlen(hosts[i]);
        bool suffix = hosts[i][0] == '.';
        if ((suffix ? length > n : length == n) && !strncasecmp(host + length - n, hosts[i], n))
            return true;
    }
    return false;
}

void hl_session_close(struct hl_session *session)
{
    free(session->location);
    *session = (struct hl_session){0};
}

/* Takes over the Location of a response; false if it has none. */
static bool moved(struct hl_session *session, const struct hl_http_response *response, struct hl_error *err)
{
    HL_FREE char *said = hl_http_header_copy(response, "location");
    char *location = NULL;
    if (!said || hl_url_resolve(response->url, said, &location, err))
        return false;
    free(session->location);
    session->location = location;
    session->own = session->own && hl_url_same_origin(response->url, location);
    return true;
}

/* Calls hl_registry_call(), and again at the target of a 307 or 308. */
static int call(struct hl_registry *registry, struct hl_call *request, struct hl_http_response *response,
                enum hl_http_failure *failure, struct hl_error *err)
{
    HL_FREE char *place = NULL;
    for (unsigned hop = 0;; hop++) {
        if (hl_registry_call(registry, request, response, failure, err))
            return -1;
        if (response->status != 307 && response->status != 308)
            return 0;
        HL_FREE char *said = hl_http_header_copy(response, "location");
        char *next = NULL;
        *failure = HL_HTTP_REFUSED;
        if (hop == REDIRECTS)
            return hl_fail(err, "%s: more than %d redirects", request->method, REDIRECTS);
        if (hl_url_resolve(response->url, said ? said : "", &next, err))
            return -1;
        hl_http_response_free(response);
        free(place);
        place = next;
        request->path = NULL;
        request->url = place;
        if (request->body && request->body->rewind && request->body->rewind(request->body->context, err)) {
            *failure = HL_HTTP_LOCAL;
            return -1;
        }
    }
}

static int opened(struct hl_registry *registry, const struct hl_call *request, const struct hl_http_response *response,
                  struct hl_session *out, struct hl_error *err)
{
    if (!is_success(response->status))
        return hl_registry_refused(registry, request, response, err);
    *out = (struct hl_session){.own = true};
    hl_fail(err, "no Location in its answer"); /* unless moved() says more */
    if (!moved(out, response, err))
        return hl_error_prefix(err, "the registry did not open an upload");
    out->least = chunk_length(response, "oci-chunk-min-length");
    out->most = chunk_length(response, "oci-chunk-max-length");
    return 0;
}

/* Makes the path of a mount. A repository's name holds only letters, digits, ". _ - /". */
static void mount_path(char *out, size_t size, const char *digest, const char *from)
{
    int n = snprintf(out, size, "blobs/uploads/?mount=sha256%%3A%s&from=", hl_digest_file(digest));
    for (size_t used = (size_t)n; *from && used + 4 < size; from++)
        used += (size_t)snprintf(out + used, size - used, *from == '/' ? "%%2F" : "%c", *from);
}

/* Returns 0 if the mount made a blob or a session; 1 if an ordinary POST must follow. */
static int mount(struct hl_registry *registry, const char *digest, const char *from, struct hl_session *out,
                 enum hl_session_made *made, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    char path[128 + 3 * HL_NAME_LIMIT];
    mount_path(path, sizeof path, digest, from);
    struct hl_call request = {.method = "POST", .path = path, .push = true, .from = from};
    if (call(registry, &request, &response, &failure, err))
        return failure == HL_HTTP_LOCAL ? -1 : 1;
    if (response.status == 201) {
        *made = HL_SESSION_MOUNTED;
        return hl_session_confirms(&response, digest, err);
    }
    return is_success(response.status) && !opened(registry, &request, &response, out, err) ? 0 : 1;
}

int hl_session_open(struct hl_registry *registry, const char *digest, const char *from, struct hl_session *out,
                    enum hl_session_made *made, struct hl_error *err)
{
    *out = (struct hl_session){0};
    *made = HL_SESSION_OPEN;
    int status = from ? mount(registry, digest, from, out, made, err) : 1;
    if (status <= 0)
        return status;
    RESPONSE response = {0};
    enum hl_http_failure failure;
    struct hl_call request = {.method = "POST", .path = "blobs/uploads/", .push = true};
    if (call(registry, &request, &response, &failure, err))
        return -1;
    return opened(registry, &request, &response, out, err);
}

static int send_body(struct hl_registry *registry, struct hl_session *session, struct hl_call *request,
                     struct hl_http_response *response, enum hl_http_failure *failure, struct hl_error *err)
{
    request->push = true;
    request->once = true;
    if (call(registry, request, response, failure, err))
        return -1;
    if (is_success(response->status) || response->status == 416)
        moved(session, response, err);
    if (!is_success(response->status))
        hl_registry_refused(registry, request, response, err);
    return 0;
}

int hl_session_patch(struct hl_registry *registry, struct hl_session *session, const char *range,
                     const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                     struct hl_error *err)
{
    const char *header[] = {content_type, range};
    HL_FREE char *url = strdup(session->location);
    *failure = HL_HTTP_LOCAL;
    if (!url)
        return hl_no_memory(err);
    struct hl_call request = {
        .method = "PATCH", .url = url, .header = header, .n_headers = range ? 2 : 1, .body = body};
    return send_body(registry, session, &request, response, failure, err);
}

int hl_session_put(struct hl_registry *registry, struct hl_session *session, const char *digest,
                   const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                   struct hl_error *err)
{
    const char *header[] = {content_type};
    HL_FREE char *url = hl_session_commit_url(session->location, digest);
    struct hl_session place = {0}; /* the Location of a PUT is that of the blob */
    *failure = HL_HTTP_LOCAL;
    if (!url)
        return hl_no_memory(err);
    struct hl_call request = {.method = "PUT", .url = url, .header = header, .n_headers = 1, .body = body};
    int status = send_body(registry, &place, &request, response, failure, err);
    hl_session_close(&place);
    return status;
}

int hl_session_ask(struct hl_registry *registry, struct hl_session *session, bool *alive, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    HL_FREE char *url = strdup(session->location);
    uint64_t bytes;
    *alive = false;
    if (!url)
        return hl_no_memory(err);
    struct hl_call request = {.method = "GET", .url = url, .push = true};
    if (hl_registry_call(registry, &request, &response, &failure, err))
        return -1;
    /* 416 with a Range: the offset in the old Location was wrong, and the new one is right. */
    if ((is_success(response.status) || response.status == 416) && hl_session_range(&response, &bytes)) {
        moved(session, &response, err);
        session->offset = bytes;
        *alive = true;
        return 0;
    }
    hl_registry_refused(registry, &request, &response, err);
    return 0;
}

void hl_session_cancel(struct hl_registry *registry, struct hl_session *session)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    struct hl_error err;
    struct hl_call request = {.method = "DELETE", .url = session->location, .push = true, .once = true};
    if (session->location)
        hl_registry_call(registry, &request, &response, &failure, &err);
    hl_session_close(session);
}
