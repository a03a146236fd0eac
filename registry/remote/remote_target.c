/* Writes images to a repository of a registry. Blobs go through upload.c. A manifest is one PUT, which can be repeated,
 * since it is stored under its digest or tag.
 *
 * Bytes from another store flow through a buffer, never through a file. A store pushes into a sink and an upload pulls
 * from a content, so reading the content reads that range from the store. From a folder it goes straight into the
 * request's buffer; from a registry it goes in large ranges, each of them one request.
 */
#include "base/cleanup.h"
#include "registry/remote/client.h"
#include "registry/remote/referrers.h"
#include "registry/remote/session.h"
#include "registry/remote/upload.h"
#include <pthread.h>
#include <strings.h>

#define RANGE_BYTES ((size_t)16 << 20) /* of one request to another registry: 128 requests for a layer of 2 GiB */
#define JOBS 4
#define RESPONSE __attribute__((cleanup(hl_http_response_free))) struct hl_http_response

struct remote {
    struct hl_target target;
    struct hl_registry *registry;
    struct hl_uploads *uploads;
    pthread_mutex_t lock; /* of `counts` */
    struct hl_upload_counts counts;
};

static struct remote *remote_of(struct hl_target *target)
{
    return (struct remote *)target;
}

static void count_layer(struct remote *remote, enum hl_upload_way way)
{
    pthread_mutex_lock(&remote->lock);
    remote->counts.sent += way == HL_UPLOAD_SENT;
    remote->counts.present += way == HL_UPLOAD_PRESENT;
    remote->counts.mounted += way == HL_UPLOAD_MOUNTED;
    pthread_mutex_unlock(&remote->lock);
}

static int store_content(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                         struct hl_descriptor *out, struct hl_error *err)
{
    struct remote *remote = remote_of(target);
    enum hl_upload_way way;
    if (hl_upload_content(remote->uploads, content, NULL, progress, out->digest, &way, err))
        return -1;
    out->bytes = content->bytes;
    count_layer(remote, way);
    return 0;
}

static int store_stream(struct hl_target *target, const struct hl_stream *stream, struct hl_descriptor *out,
                        struct hl_error *err)
{
    struct remote *remote = remote_of(target);
    if (hl_upload_stream(remote->uploads, stream, out, err))
        return -1;
    count_layer(remote, HL_UPLOAD_SENT);
    return 0;
}

/* Reads a blob of another store in order. */
struct reader {
    struct hl_store *store;
    const struct hl_descriptor *blob;
    char *buffer; /* RANGE_BYTES; NULL: ranges are read as requested */
    uint64_t at;  /* the buffer's offset in the blob */
    size_t held;
};

struct place {
    char *at;
    size_t left;
};

static int fill(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct place *place = context;
    if (n > place->left)
        return hl_fail(err, "more bytes than requested");
    memcpy(place->at, bytes, n);
    place->at += n;
    place->left -= n;
    return 0;
}

static int read_range(const struct reader *reader, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    struct place place = {buffer, n};
    if (reader->store->class->read(reader->store, reader->blob, offset, n, fill, &place, err))
        return hl_error_prefix(err, "%s", reader->store->name);
    return place.left
               ? hl_fail(err, "%s: %s: %zu bytes are missing", reader->store->name, reader->blob->digest, place.left)
               : 0;
}

static int read_store(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    struct reader *reader = context;
    if (!reader->buffer)
        return read_range(reader, offset, buffer, n, err);
    for (char *to = buffer; n;) {
        bool held = offset >= reader->at && offset - reader->at < reader->held;
        if (!held) {
            uint64_t left = reader->blob->bytes - offset;
            reader->at = offset;
            reader->held = 0;
            size_t wanted = left < RANGE_BYTES ? (size_t)left : RANGE_BYTES;
            if (read_range(reader, offset, reader->buffer, wanted, err))
                return -1;
            reader->held = wanted;
        }
        size_t skip = (size_t)(offset - reader->at), have = reader->held - skip, part = have < n ? have : n;
        memcpy(to, reader->buffer + skip, part);
        to += part;
        offset += part;
        n -= part;
    }
    return 0;
}

static int copy_blob(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                     struct hl_progress *progress, struct hl_error *err)
{
    struct remote *remote = remote_of(target);
    struct hl_registry *registry = hl_store_registry(from);
    const struct hl_reference *to = hl_registry_reference(remote->registry);
    const struct hl_reference *source = registry ? hl_registry_reference(registry) : NULL;
    bool neighbour = source && !strcasecmp(source->host, to->host) && strcmp(source->repository, to->repository) != 0;
    char digest[HL_DIGEST_BYTES];
    enum hl_upload_way way;
    HL_FREE char *buffer = source ? malloc(RANGE_BYTES) : NULL;
    if (source && !buffer)
        return hl_no_memory(err);
    struct reader reader = {.store = from, .blob = blob, .buffer = buffer};
    struct hl_content content = {.bytes = blob->bytes, .read = read_store, .context = &reader};
    memcpy(content.digest, blob->digest, HL_DIGEST_BYTES);
    if (hl_upload_content(remote->uploads, &content, neighbour ? source->repository : NULL, progress, digest, &way,
                          err))
        return -1;
    if (hl_document_is_layer(blob->kind))
        count_layer(remote, way);
    return 0;
}

static int put_manifest(struct remote *remote, const char *name, const struct hl_descriptor *descriptor,
                        const char *text, struct hl_error *err)
{
    RESPONSE response = {0};
    HL_JSON cJSON *json = NULL;
    char said[HL_DIGEST_BYTES];
    if (hl_referrers_put_manifest(remote->registry, name, descriptor->media_type, text, (size_t)descriptor->bytes,
                                  &response, err) ||
        hl_session_confirms(&response, descriptor->digest, err) ||
        hl_document_parse(descriptor, text, (size_t)descriptor->bytes, &json, err))
        return -1;
    if (!hl_json_get(json, "subject") || hl_http_header(&response, "oci-subject", 0, said, sizeof said))
        return 0;
    return hl_referrers_add(remote->registry, descriptor, json, err);
}

static int read_text(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    (void)err;
    memcpy(buffer, (const char *)context + offset, n);
    return 0;
}

static int store_document(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                          struct hl_error *err)
{
    struct remote *remote = remote_of(target);
    if (descriptor->kind == HL_KIND_MANIFEST || descriptor->kind == HL_KIND_INDEX)
        return put_manifest(remote, descriptor->digest, descriptor, text, err);
    struct hl_content content = {.bytes = descriptor->bytes, .read = read_text, .context = (void *)(uintptr_t)text};
    char digest[HL_DIGEST_BYTES];
    enum hl_upload_way way;
    memcpy(content.digest, descriptor->digest, HL_DIGEST_BYTES);
    return hl_upload_content(remote->uploads, &content, NULL, NULL, digest, &way, err);
}

static int publish(struct hl_target *target, const struct hl_descriptor *root, const char *text, struct hl_error *err)
{
    struct remote *remote = remote_of(target);
    const struct hl_reference *reference = hl_registry_reference(remote->registry);
    if (*reference->digest && strcmp(reference->digest, root->digest) != 0)
        return hl_fail(err, "the image is %s, not the one that the reference names", root->digest);
    return put_manifest(remote, *reference->tag ? reference->tag : root->digest, root, text, err);
}

static void close_target(struct hl_target *target)
{
    struct remote *remote = remote_of(target);
    hl_uploads_close(remote->uploads);
    hl_registry_close(remote->registry);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

static const struct hl_target_class class = {store_content,  store_stream, copy_blob,
                                             store_document, publish,      close_target};

int hl_target_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                            struct hl_target **out, struct hl_error *err)
{
    *out = NULL;
    struct remote *remote = calloc(1, sizeof *remote);
    if (!remote)
        return hl_no_memory(err);
    remote->target.class = &class;
    remote->target.jobs = options->jobs ? options->jobs : JOBS;
    pthread_mutex_init(&remote->lock, NULL);
    char name[HL_REFERENCE_BYTES];
    snprintf(remote->target.name, sizeof remote->target.name, "%s", hl_reference_text(reference, name));
    if (hl_registry_open(reference, options, &remote->registry, err) ||
        hl_uploads_open(remote->registry, options->journal, &remote->uploads, err)) {
        if (remote->registry)
            hl_registry_close(remote->registry);
        pthread_mutex_destroy(&remote->lock);
        free(remote);
        return -1;
    }
    *out = &remote->target;
    return 0;
}

struct hl_registry *hl_target_registry(struct hl_target *target)
{
    return target->class == &class ? remote_of(target)->registry : NULL;
}

void hl_target_uploads(struct hl_target *target, struct hl_upload_counts *out)
{
    *out = (struct hl_upload_counts){0};
    if (target->class != &class)
        return;
    struct remote *remote = remote_of(target);
    pthread_mutex_lock(&remote->lock);
    *out = remote->counts;
    pthread_mutex_unlock(&remote->lock);
    out->bytes = hl_uploads_bytes(remote->uploads);
}
