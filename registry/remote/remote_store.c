/* Reading images out of a repository of a registry.
 *
 *   resolve    GET manifests/NAME     the digest and size of the body itself, and the media type of the response
 *   document   GET manifests/DIGEST   indexes and manifests; the last resolved one is still in memory
 *              GET blobs/DIGEST       configs
 *   read       GET blobs/DIGEST       layers; with a Range for a part, or after a connection broke
 *
 * A registry is not trusted. The digest of a manifest is computed from its bytes, not taken from a header. A blob may
 * have another size than requested, come from another offset, or be truncated. A sink gets each byte exactly once and
 * in order, whatever happens between two responses.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/net/retry.h"
#include "registry/remote/client.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <strings.h>

#define MANIFEST_TYPES HL_OCI_INDEX ", " HL_OCI_MANIFEST ", " HL_DOCKER_INDEX ", " HL_DOCKER_MANIFEST
#define DOCKER_SCHEMA_1 "application/vnd.docker.distribution.manifest.v1+" /* "json", "prettyjws" */
#define PROGRESS_BYTES ((uint64_t)1 << 20) /* a connection that delivered this much did not fail */

struct remote_store {
    struct hl_store store;
    struct hl_registry *registry;
    struct hl_descriptor kept; /* the last resolved document; no digest: none */
    char *kept_text;
};

static struct remote_store *remote_of(struct hl_store *store)
{
    return (struct remote_store *)store;
}

/* Copies the media type of a response, without its parameters ("; charset=utf-8"). */
static bool content_type(const struct hl_http_response *response, char out[96])
{
    char value[256];
    if (!hl_http_header(response, "content-type", 0, value, sizeof value))
        return false;
    size_t length = strcspn(value, "; \t");
    if (!length || length >= 96)
        return false;
    memcpy(out, value, length);
    out[length] = 0;
    for (char *c = out; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return true;
}

/* Checks the media type of a response to manifests/NAME: it decides how the body is parsed. */
static int check_manifest_type(const struct hl_http_response *response, const char *name, struct hl_descriptor *out,
                               struct hl_error *err)
{
    if (!content_type(response, out->media_type))
        return hl_fail(err, "%s: the registry does not give the type of the manifest", name);
    out->kind = hl_document_kind_of(out->media_type);
    if (!strncasecmp(out->media_type, DOCKER_SCHEMA_1, strlen(DOCKER_SCHEMA_1)))
        return hl_fail(err, "%s is an image of Docker's old schema 1; push it again with a current tool", name);
    if (out->kind != HL_KIND_INDEX && out->kind != HL_KIND_MANIFEST)
        return hl_fail(err, "%s is of type %s: neither an image's manifest nor an index of them", name,
                       out->media_type);
    return 0;
}

/* Computes size and digest of the body. Fails unless they are those requested, and those that the registry claims. */
static int check_manifest_digest(const struct hl_http_response *response, const char *name, struct hl_descriptor *out,
                                 struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char said[256];
    if (!EVP_Digest(response->body, response->body_bytes, sha256, NULL, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, out->digest);
    out->bytes = response->body_bytes;
    if (hl_digest_valid(name) && strcmp(name, out->digest))
        return hl_fail(err, "%s: damaged: the content that the registry sends is %s", name, out->digest);
    if (hl_http_header(response, "docker-content-digest", 0, said, sizeof said) && hl_digest_valid(said) &&
        strcmp(said, out->digest))
        return hl_fail(err, "%s: damaged: the registry says that it is %s, but sends %s", name, said, out->digest);
    return 0;
}

/* Fails on "Content-Encoding: gzip" and the like: only the bytes as stored were requested. */
static int check_encoding(const struct hl_http_response *response, const char *folder, const char *name,
                          struct hl_error *err)
{
    char value[64];
    bool encoded = hl_http_header(response, "content-encoding", 0, value, sizeof value) && *value &&
                   strcasecmp(value, "identity") != 0;
    return encoded ? hl_fail(err, "%s/%s arrived in an encoding that was not requested (%s)", folder, name, value) : 0;
}

/* Gets a small document; fails with any status but 200. */
static int get(struct remote_store *remote, const char *folder, const char *name, const char *accept, size_t limit,
               struct hl_http_response *out, struct hl_error *err)
{
    char path[sizeof "manifests/" + HL_TAG_BYTES + HL_DIGEST_BYTES], header[512];
    const char *headers[] = {header};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(header, sizeof header, "Accept: %s", accept);
    const struct hl_call call = {.method = "GET", .path = path, .header = headers, .n_headers = 1, .limit = limit};
    enum hl_http_failure failure;
    if (hl_registry_call(remote->registry, &call, out, &failure, err))
        return -1;
    return out->status == 200 ? check_encoding(out, folder, name, err)
                              : hl_registry_refused(remote->registry, &call, out, err);
}

static int keep_resolved(struct remote_store *remote, const char *name, struct hl_http_response *response,
                         struct hl_descriptor *out, struct hl_error *err)
{
    if (check_manifest_type(response, name, out, err) || check_manifest_digest(response, name, out, err))
        return -1;
    free(remote->kept_text);
    remote->kept_text = response->body;
    remote->kept = *out;
    response->body = NULL;
    return 0;
}

static int resolve(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err)
{
    struct remote_store *remote = remote_of(store);
    const struct hl_reference *reference = hl_registry_reference(remote->registry);
    struct hl_http_response response = {0};
    *out = (struct hl_descriptor){.bytes = 0};
    if (!*name)
        name = *reference->digest ? reference->digest : *reference->tag ? reference->tag : "latest";
    if (!hl_digest_valid(name) && !hl_reference_tag_valid(name, strlen(name)))
        return hl_fail(err, "'%.200s' is neither a tag nor a digest", name);
    int status = get(remote, "manifests", name, MANIFEST_TYPES, HL_DOCUMENT_LIMIT, &response, err) ||
                         keep_resolved(remote, name, &response, out, err)
                     ? -1
                     : 0;
    hl_http_response_free(&response);
    if (!status && !hl_digest_valid(name))
        memcpy(out->tag, name, strlen(name) + 1);
    return status;
}

static int document(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                    struct hl_error *err)
{
    struct remote_store *remote = remote_of(store);
    bool manifest = descriptor->kind == HL_KIND_INDEX || descriptor->kind == HL_KIND_MANIFEST;
    struct hl_http_response response = {0};
    if (descriptor->bytes > HL_DOCUMENT_LIMIT)
        return hl_fail(err, "%s: %" PRIu64 " bytes are more than the limit of %zu for a document", descriptor->digest,
                       descriptor->bytes, HL_DOCUMENT_LIMIT);
    if (remote->kept_text && !strcmp(descriptor->digest, remote->kept.digest)) {
        *bytes = (size_t)remote->kept.bytes;
        response.body = malloc(*bytes + 1);
        if (!response.body)
            return hl_no_memory(err);
        memcpy(response.body, remote->kept_text, *bytes + 1);
    } else if (get(remote, manifest ? "manifests" : "blobs", descriptor->digest, descriptor->media_type,
                   HL_DOCUMENT_LIMIT, &response, err)) {
        hl_http_response_free(&response);
        return -1;
    } else {
        *bytes = response.body_bytes;
    }
    int status = hl_document_check(descriptor, response.body, *bytes, err);
    if (!status) {
        *text = response.body;
        response.body = NULL;
    }
    hl_http_response_free(&response);
    return status;
}

/* The transfer of a range of a blob into a sink, over as many responses as that takes. */
struct reading {
    const struct hl_descriptor *blob;
    uint64_t at, end; /* the next byte for the sink, and the end of the range */
    hl_http_sink *sink;
    void *context;
    /* of the current response */
    const struct hl_http_response *response;
    uint64_t from, to; /* the bytes of the blob that it still has to deliver */
    bool begun;
    bool enough; /* the rest is not needed: the response is a whole blob instead of a part */
};

/* Parses "bytes A-B/TOTAL"; TOTAL may be "*". */
static bool parse_content_range(const char *text, uint64_t *from, uint64_t *to, uint64_t *total)
{
    int used = 0;
    *total = UINT64_MAX;
    if (strspn(text, "bytes 0123456789-/*") != strlen(text) || strlen(text) > 80 ||
        sscanf(text, "bytes %" SCNu64 "-%" SCNu64 "/%n", from, to, &used) != 2 || !used || *to < *from ||
        *to == UINT64_MAX)
        return false;
    int digits = 0;
    if (strcmp(text + used, "*") && (sscanf(text + used, "%" SCNu64 "%n", total, &digits) != 1 || text[used + digits]))
        return false;
    return ++*to <= *total;
}

/* Finds out which bytes of the blob the response holds. Only Content-Range counts: a registry may answer a Range with
 * the whole blob, less than requested, another part, or a 206 that does not say which. */
static int begin_answer(struct reading *reading, struct hl_error *err)
{
    const struct hl_descriptor *blob = reading->blob;
    uint64_t total = blob->bytes;
    char value[128];
    reading->begun = true;
    if (reading->response->status == 206) {
        if (!hl_http_header(reading->response, "content-range", 0, value, sizeof value) ||
            !parse_content_range(value, &reading->from, &reading->to, &total))
            return hl_fail(err, "%s: the registry sent a part of it without saying which", blob->digest);
        if (reading->from != reading->at || reading->to > reading->end)
            return hl_fail(err, "%s: bytes %" PRIu64 " to %" PRIu64 " were requested, others arrived (%s)",
                           blob->digest, reading->at, reading->end - 1, value);
        total = total == UINT64_MAX ? blob->bytes : total;
    } else {
        reading->from = 0;
        reading->to = blob->bytes;
        if (hl_http_header(reading->response, "content-length", 0, value, sizeof value) &&
            sscanf(value, "%" SCNu64, &total) != 1)
            total = blob->bytes;
    }
    return total == blob->bytes
               ? 0
               : hl_fail(err, "%s: damaged: the registry has %" PRIu64 " bytes of it instead of %" PRIu64, blob->digest,
                         total, blob->bytes);
}

static int take(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct reading *reading = context;
    const char *piece = bytes;
    if (!reading->begun && begin_answer(reading, err))
        return -1;
    if (n > reading->to - reading->from)
        return hl_fail(err, "%s: damaged: the registry sends more than its %" PRIu64 " bytes", reading->blob->digest,
                       reading->blob->bytes);
    uint64_t skip = reading->at > reading->from ? reading->at - reading->from : 0;
    reading->from += n;
    if (skip >= n)
        return 0;
    piece += skip;
    n -= (size_t)skip;
    if (n > reading->end - reading->at) {
        n = (size_t)(reading->end - reading->at);
        reading->enough = true;
    }
    reading->at += n;
    if (n && reading->sink(reading->context, piece, n, err))
        return -1;
    return reading->enough ? hl_fail(err, "enough") : 0;
}

/* Reads one response, or as much of it as arrives. Sets *again if the connection broke in the middle. */
static int read_once(struct remote_store *remote, struct reading *reading, struct hl_http_response *response,
                     bool *again, struct hl_error *err)
{
    char path[sizeof "blobs/" + HL_DIGEST_BYTES], range[64];
    const char *headers[] = {range};
    bool part = reading->at > 0 || reading->end < reading->blob->bytes;
    uint64_t before = reading->at;
    enum hl_http_failure failure;
    snprintf(path, sizeof path, "blobs/%s", reading->blob->digest);
    snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-%" PRIu64, reading->at, reading->end - 1);
    const struct hl_call call = {
        .method = "GET", .path = path, .header = headers, .n_headers = part, .sink = take, .context = reading};
    reading->response = response;
    reading->begun = reading->enough = *again = false;
    if (hl_registry_call(remote->registry, &call, response, &failure, err)) {
        *again = failure == HL_HTTP_TRANSIENT && reading->begun;
        return reading->enough && reading->at == reading->end ? 0 : -1;
    }
    if (response->status == 416)
        return hl_fail(err, "%s: damaged: the registry has fewer than its %" PRIu64 " bytes", reading->blob->digest,
                       reading->blob->bytes);
    if (response->status != 200 && response->status != 206)
        return hl_registry_refused(remote->registry, &call, response, err);
    if (reading->at == reading->end)
        return 0;
    *again = reading->at > before; /* a server may send less than was requested, but not nothing */
    return hl_fail(err, "%s: the registry's response ends at byte %" PRIu64, reading->blob->digest, reading->at);
}

static int read_blob(struct hl_store *store, const struct hl_descriptor *blob, uint64_t offset, uint64_t bytes,
                     hl_http_sink *sink, void *context, struct hl_error *err)
{
    struct reading reading = {.blob = blob, .at = offset, .end = offset + bytes, .sink = sink, .context = context};
    if (!hl_in_range(offset, bytes, blob->bytes))
        return hl_fail(err, "%s: has no byte %" PRIu64, blob->digest, offset + bytes);
    for (unsigned attempt = 0; reading.at < reading.end; attempt++) {
        struct hl_http_response response = {0};
        uint64_t before = reading.at;
        bool again;
        int status = read_once(remote_of(store), &reading, &response, &again, err);
        if (reading.at - before >= PROGRESS_BYTES)
            attempt = 0;
        again = again && attempt < HL_RETRY_TIMES;
        if (status && again)
            hl_retry_wait(attempt, NULL);
        hl_http_response_free(&response);
        if (status && !again)
            return -1;
    }
    return 0;
}

static void close_store(struct hl_store *store)
{
    struct remote_store *remote = remote_of(store);
    hl_registry_close(remote->registry);
    free(remote->kept_text);
    free(remote);
}

static const struct hl_store_class class = {resolve, NULL, document, read_blob, close_store};

int hl_store_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                           struct hl_store **out, struct hl_error *err)
{
    *out = NULL;
    struct remote_store *remote = calloc(1, sizeof *remote);
    if (!remote)
        return hl_no_memory(err);
    remote->store.class = &class;
    remote->store.remote = true;
    snprintf(remote->store.name, sizeof remote->store.name, "%.200s/%s", reference->host, reference->repository);
    if (hl_registry_open(reference, options, &remote->registry, err)) {
        free(remote);
        return -1;
    }
    *out = &remote->store;
    return 0;
}

struct hl_registry *hl_store_registry(struct hl_store *store)
{
    return store->class == &class ? remote_of(store)->registry : NULL;
}
