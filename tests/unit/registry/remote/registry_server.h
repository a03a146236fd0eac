/* A registry of one repository in the memory of a test. It treats uploads as the test tells it to.
 *
 *     struct server server = {.handle = registry_handle};
 *     registry.patch_status = 201; ...
 *
 * The settings hold until registry_clear(). All else is strictly distribution-spec 1.1: a session's Location changes
 * with every answer, and the old one becomes invalid. */
#ifndef HL_TESTS_UNIT_REGISTRY_REMOTE_REGISTRY_SERVER_H
#define HL_TESTS_UNIT_REGISTRY_REMOTE_REGISTRY_SERVER_H

#include "tests/unit/registry/http_server.h"
#include <openssl/evp.h>

#define SESSIONS 256
#define BLOBS 256

struct session {
    unsigned id, turn; /* the turn is in its Location */
    char *bytes;
    size_t n;
    bool open;
};

static struct {
    pthread_mutex_t lock;
    struct session session[SESSIONS];
    unsigned sessions;
    char blob[BLOBS][72]; /* "sha256:..." */
    size_t blob_bytes[BLOBS];
    unsigned blobs;
    uint64_t received; /* bytes of bodies */

    const char *location; /* a format of the session's id and turn, instead of a path */
    const char *opening;  /* more headers of a POST's answer */
    unsigned mount;       /* the answer to a mount; 0: an ordinary session */
    unsigned post;        /* the answer to a POST */
    unsigned patch;       /* the answer to a PATCH, its bytes are kept if it is below 300 */
    unsigned put;         /* the answer to the PUT of a stored blob */
    unsigned put_fails;   /* this many PUTs, their bytes read, get 500, and lose the session */
    unsigned put_lies;    /* this many PUTs get 500 although the blob is stored */
    unsigned breaks;      /* this many bodies are cut by a reset, after `break_at` bytes */
    size_t break_at;
    size_t body_most;        /* longer ones get 413 */
    bool loses;              /* drops the bytes of a broken body, and its session */
    bool stale, mute, bare;  /* Range stays at the first piece; no Range at all; 416 without Location and Range */
    bool garbles;            /* damages the bytes of pieces before storing them */
    size_t lies;             /* GET reports this many bytes more */
    bool wrong_digest;       /* sends Docker-Content-Digest of another blob */
    bool no_lengths;         /* HEAD sends no Content-Length, as some proxies do */
    bool knows_subject;      /* sends OCI-Subject */
    bool no_chunked;         /* 411 to a body of unknown length */
    char manifest[16][4096]; /* "PATH\nTYPE\nTEXT" of each PUT */
    unsigned manifests;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void registry_clear(struct server *server)
{
    pthread_mutex_lock(&registry.lock);
    for (unsigned i = 0; i < registry.sessions; i++)
        free(registry.session[i].bytes);
    pthread_mutex_t lock = registry.lock;
    memset(&registry, 0, sizeof registry);
    registry.lock = lock;
    pthread_mutex_unlock(&registry.lock);
    server_clear(server);
}

static inline void registry_store(const char *digest, size_t bytes)
{
    snprintf(registry.blob[registry.blobs], sizeof *registry.blob, "%.71s", digest);
    registry.blob_bytes[registry.blobs++] = bytes;
}

static inline int registry_find(const char *digest)
{
    for (unsigned i = 0; i < registry.blobs; i++)
        if (!strncmp(registry.blob[i], digest, 71))
            return (int)i;
    return -1;
}

static inline void registry_digest(const void *bytes, size_t n, char out[72])
{
    unsigned char sha256[32];
    EVP_Digest(bytes, n, sha256, NULL, EVP_sha256(), NULL);
    memcpy(out, "sha256:", 7);
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", sha256[i]);
}

/* Sends Location and Range as the settings say. */
static inline void session_headers(struct session *s, size_t more_bytes, char out[8192])
{
    char place[6144];
    s->turn++;
    const char *format = registry.location ? registry.location : "/v2/a/b/blobs/uploads/%u?_state=%%2Fx%%3d%u";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(place, sizeof place, format, s->id, s->turn);
#pragma GCC diagnostic pop
    static size_t first;
    if (s->turn <= 2)
        first = s->n;
    size_t said = (registry.stale && s->n ? first : s->n) + more_bytes;
    int n = snprintf(out, 8192, "Location: %s\r\n", place);
    if (!registry.mute)
        snprintf(out + n, 8192 - (size_t)n, "Range: 0-%zu\r\n", said ? said - 1 : 0);
}

static inline bool session_reply(struct request *r, unsigned status, struct session *s, const char *more)
{
    char headers[8192], all[8192];
    session_headers(s, !strcmp(r->method, "GET") ? registry.lies : 0, headers);
    snprintf(all, sizeof all, "%.8000s%.150s", headers, more);
    return reply(r, (int)status, all, "");
}

/* Reads the body, and appends it to the session; returns false if it broke off. */
static inline bool session_take(struct request *r, struct session *s, size_t *taken)
{
    char value[512], line[64], *block = malloc(1 << 16);
    bool chunked = !strcasecmp(request_header(r, "Transfer-Encoding", value), "chunked"), fine = true;
    size_t left = strtoull(request_header(r, "Content-Length", value), NULL, 10), total = 0;
    if (*request_header(r, "Expect", value))
        say(r, "HTTP/1.1 100 Continue\r\n\r\n");
    do {
        if (chunked)
            fine = take_line(r, line, sizeof line) && ((left = strtoull(line, NULL, 16)), true);
        bool last = !left;
        while (fine && left) {
            size_t n = left < 1 << 16 ? left : 1 << 16;
            fine = request_take(r, block, n);
            if (!fine)
                break;
            if (registry.breaks && total + n > registry.break_at) {
                n = registry.break_at > total ? registry.break_at - total : 0;
                fine = false;
            }
            s->bytes = realloc(s->bytes, s->n + n + 1);
            memcpy(s->bytes + s->n, block, n);
            s->n += n;
            total += n;
            left -= n;
        }
        if (chunked)
            fine = fine && take_line(r, line, sizeof line);
        if (last)
            break;
    } while (chunked && fine);
    free(block);
    *taken = total;
    registry.received += total;
    return fine;
}

static inline bool session_broken(struct request *r, struct session *s, size_t taken)
{
    if (registry.breaks)
        registry.breaks--;
    if (registry.loses) {
        s->n -= taken;
        s->open = false;
    }
    return request_reset(r);
}

static inline bool session_patch(struct request *r, struct session *s)
{
    char value[512], place[8192];
    unsigned long long a = 0, b = 0;
    size_t taken;
    uint64_t ignored;
    bool ranged = sscanf(request_header(r, "Content-Range", value), "%llu-%llu", &a, &b) == 2;
    size_t length = strtoull(request_header(r, "Content-Length", value), NULL, 10);
    if (registry.no_chunked && *request_header(r, "Transfer-Encoding", value))
        return reply(r, 411, "", "length, please"), false;
    if (registry.body_most && length > registry.body_most)
        return reply(r, 413, "", ""), false;
    if (registry.patch >= 300)
        return request_body(r, &ignored), reply(r, (int)registry.patch, "", "no");
    if (ranged && (a != s->n || b + 1 - a != length)) {
        request_body(r, &ignored);
        session_headers(s, 0, place);
        return reply(r, 416, registry.bare ? "" : place, "");
    }
    if (!session_take(r, s, &taken))
        return session_broken(r, s, taken);
    if (registry.garbles && ranged)
        s->bytes[s->n - 1] ^= 1;
    return session_reply(r, registry.patch ? registry.patch : 202, s, "");
}

static inline bool session_put(struct request *r, struct session *s)
{
    char digest[72], value[512], headers[256];
    size_t taken;
    const char *wanted = strstr(r->target, "digest=sha256%3A");
    if (registry.body_most && strtoull(request_header(r, "Content-Length", value), NULL, 10) > registry.body_most)
        return reply(r, 413, "", ""), false;
    if (!session_take(r, s, &taken))
        return session_broken(r, s, taken);
    s->open = false;
    if (registry.put_fails) {
        registry.put_fails--;
        return reply(r, 500, "Retry-After: 0\r\n", "");
    }
    registry_digest(s->bytes ? s->bytes : "", s->n, digest);
    if (!wanted || strncmp(wanted + 16, digest + 7, 64) != 0)
        return reply(r, 400, "", "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"not what was said\"}]}");
    registry_store(digest, s->n);
    if (registry.put_lies) {
        registry.put_lies--;
        return reply(r, 500, "Retry-After: 0\r\n", "");
    }
    if (registry.wrong_digest)
        digest[70] = digest[70] == '0' ? '1' : '0';
    snprintf(headers, sizeof headers, "Location: /v2/a/b/blobs/%s\r\nDocker-Content-Digest: %s\r\n", digest, digest);
    return reply(r, registry.put ? (int)registry.put : 201, headers, "");
}

static inline bool registry_post(struct request *r)
{
    const char *mount = strstr(r->target, "mount=sha256%3A");
    char headers[200];
    if (mount && registry.mount == 201) {
        char digest[72];
        snprintf(digest, sizeof digest, "sha256:%.64s", mount + 15);
        registry_store(digest, 0);
        snprintf(headers, sizeof headers, "Docker-Content-Digest: %s\r\n", digest);
        return reply(r, 201, headers, "");
    }
    if (mount && registry.mount)
        return reply(r, (int)registry.mount, "", "");
    if (registry.post)
        return reply(r, (int)registry.post, "", "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not yours\"}]}");
    struct session *s = &registry.session[registry.sessions];
    *s = (struct session){.id = registry.sessions++, .open = true};
    return session_reply(r, 202, s, registry.opening ? registry.opening : "");
}

static inline bool registry_upload(struct request *r, const char *rest)
{
    unsigned id = (unsigned)strtoul(rest, NULL, 10), turn = 0;
    char *state = strstr(r->target, "_state=%2Fx%3d");
    if (state)
        turn = (unsigned)strtoul(state + 14, NULL, 10);
    struct session *s = id < registry.sessions ? &registry.session[id] : NULL;
    bool get = !strcmp(r->method, "GET");
    uint64_t ignored;
    if (!s || !s->open || (!get && state && turn != s->turn)) {
        request_body(r, &ignored);
        return reply(r, 404, "", "{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\",\"message\":\"gone\"}]}");
    }
    if (get)
        return session_reply(r, 204, s, "");
    if (!strcmp(r->method, "DELETE"))
        return s->open = false, reply(r, 204, "", "");
    return !strcmp(r->method, "PATCH") ? session_patch(r, s) : session_put(r, s);
}

static inline bool registry_blob(struct request *r, const char *digest)
{
    int i = registry_find(digest);
    if (i < 0)
        return reply(r, 404, "", "");
    return registry.no_lengths ? say(r, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
           false               : say(r, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", registry.blob_bytes[i]);
}

static inline bool registry_manifest(struct request *r, const char *name)
{
    char type[512], *text;
    if (!strcmp(r->method, "PUT")) {
        size_t n = strtoull(request_header(r, "Content-Length", type), NULL, 10);
        text = calloc(1, n + 1);
        request_take(r, text, n);
        snprintf(registry.manifest[registry.manifests++], sizeof *registry.manifest, "%.200s\n%.200s\n%.3000s", name,
                 request_header(r, "Content-Type", type), text);
        free(text);
        return reply(r, 201, registry.knows_subject ? "OCI-Subject: sha256:x\r\n" : "", "");
    }
    size_t n = strlen(name);
    for (unsigned i = registry.manifests; i--;) {
        text = registry.manifest[i];
        if (strncmp(text, name, n) != 0 || text[n] != '\n')
            continue;
        char *body = strchr(text + n + 1, '\n');
        snprintf(type, sizeof type, "Content-Type: %.*s\r\n", (int)(body - text - (ptrdiff_t)n - 1), text + n + 1);
        return reply(r, 200, type, body + 1);
    }
    return reply(r, 404, "", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"none\"}]}");
}

static inline bool registry_handle(struct request *r)
{
    bool keep = false;
    pthread_mutex_lock(&registry.lock);
    if (!strncmp(r->target, "/v2/a/b/blobs/uploads/", 22))
        keep = !strcmp(r->method, "POST") ? registry_post(r) : registry_upload(r, r->target + 22);
    else if (!strncmp(r->target, "/v2/a/b/blobs/", 14))
        keep = registry_blob(r, r->target + 14);
    else if (!strncmp(r->target, "/v2/a/b/manifests/", 18))
        keep = registry_manifest(r, r->target + 18);
    else
        keep = reply(r, !strcmp(r->target, "/v2/") ? 200 : 404, "", "");
    pthread_mutex_unlock(&registry.lock);
    return keep;
}

#endif
