/* Writes images into the folder of a layout. A blob gets its name when it is complete and on the disk; the tag comes
 * last. If the image never got its tag, closing the target removes the blobs that were added, since the disk may be
 * full. It keeps blobs downloaded from a registry: the next run resumes after them. */
#include "base/cleanup.h"
#include "registry/oci/blob.h"
#include "registry/oci/download.h"
#include "registry/oci/oci_layout.h"
#include "registry/oci/target.h"
#include <fcntl.h>
#include <pthread.h>

#define READ_BYTES ((size_t)1 << 20) /* larger buffers fall out of the cache between read, hash and write */
#define LAYERS_AT_ONCE 4             /* hashing keeps one core busy for each */

struct layout_target {
    struct hl_target target;
    struct hl_oci_layout layout;
    char tag[HL_TAG_BYTES];
    bool published;
    pthread_mutex_t lock;
    struct added {
        struct added *next;
        char digest[HL_DIGEST_BYTES];
    } * added; /* blobs that the layout lacked before */
    char directory[];
};

static struct layout_target *layout_of(struct hl_target *target)
{
    return (struct layout_target *)target;
}

/* Gives the blob its name and remembers it. */
static int publish_blob(struct layout_target *layout, struct hl_blob *blob, const char *expected,
                        struct hl_descriptor *out, struct hl_error *err)
{
    struct hl_blob_name name;
    struct added *added = calloc(1, sizeof *added);
    if (!added)
        return hl_no_memory(err);
    if (hl_blob_publish(blob, expected, &name, err)) {
        free(added);
        return -1;
    }
    memcpy(out->digest, name.digest, HL_DIGEST_BYTES);
    out->bytes = name.bytes;
    memcpy(added->digest, name.digest, HL_DIGEST_BYTES);
    if (!name.fresh) {
        free(added);
        return 0;
    }
    pthread_mutex_lock(&layout->lock);
    added->next = layout->added;
    layout->added = added;
    pthread_mutex_unlock(&layout->lock);
    return 0;
}

static int write_content(struct hl_blob *blob, const struct hl_content *content, struct hl_progress *progress,
                         struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    for (uint64_t offset = 0; offset < content->bytes;) {
        uint64_t left = content->bytes - offset;
        size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
        if (content->read(content->context, offset, buffer, n, err) || hl_blob_write(blob, buffer, n, err))
            return -1;
        hl_progress_add(progress, n);
        offset += n;
    }
    return 0;
}

static int store_content(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                         struct hl_descriptor *out, struct hl_error *err)
{
    struct layout_target *layout = layout_of(target);
    struct hl_blob blob;
    int status = hl_blob_open(&blob, layout->layout.blobs, err) || write_content(&blob, content, progress, err) ||
                         publish_blob(layout, &blob, NULL, out, err)
                     ? -1
                     : 0;
    hl_blob_discard(&blob);
    return status;
}

static int write_stream(struct hl_blob *blob, const struct hl_stream *stream, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    for (size_t n;;) {
        if (stream->read(stream->context, buffer, READ_BYTES, &n, err))
            return -1;
        if (!n)
            return 0;
        if (hl_blob_write(blob, buffer, n, err))
            return -1;
    }
}

static int store_stream(struct hl_target *target, const struct hl_stream *stream, struct hl_descriptor *out,
                        struct hl_error *err)
{
    struct layout_target *layout = layout_of(target);
    struct hl_blob blob;
    int status = hl_blob_open(&blob, layout->layout.blobs, err) || write_stream(&blob, stream, err) ||
                         publish_blob(layout, &blob, NULL, out, err)
                     ? -1
                     : 0;
    hl_blob_discard(&blob);
    return status;
}

struct copying {
    struct hl_blob blob;
    struct hl_progress *progress;
};

static int sink_blob(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct copying *copying = context;
    hl_progress_add(copying->progress, n);
    return hl_blob_write(&copying->blob, bytes, n, err);
}

static int copy_blob(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                     struct hl_progress *progress, struct hl_error *err)
{
    struct layout_target *layout = layout_of(target);
    struct copying copying = {.progress = progress};
    struct hl_descriptor found;
    if (from->remote)
        return hl_download(from, blob, layout->layout.blobs, progress, err);
    if (hl_download_is_done(layout->layout.blobs, blob)) {
        hl_progress_add(progress, blob->bytes);
        return 0;
    }
    int status = hl_blob_open(&copying.blob, layout->layout.blobs, err) ||
                         from->class->read(from, blob, 0, blob->bytes, sink_blob, &copying, err) ||
                         publish_blob(layout, &copying.blob, blob->digest, &found, err)
                     ? -1
                     : 0;
    hl_blob_discard(&copying.blob);
    return status;
}

static int store_document(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                          struct hl_error *err)
{
    struct layout_target *layout = layout_of(target);
    struct hl_blob blob;
    struct hl_descriptor found;
    int status = hl_blob_open(&blob, layout->layout.blobs, err) ||
                         hl_blob_write(&blob, text, (size_t)descriptor->bytes, err) ||
                         publish_blob(layout, &blob, descriptor->digest, &found, err)
                     ? -1
                     : 0;
    hl_blob_discard(&blob);
    return status;
}

static int publish(struct hl_target *target, const struct hl_descriptor *root, const char *text, struct hl_error *err)
{
    struct layout_target *layout = layout_of(target);
    (void)text;
    if (hl_oci_layout_tag(&layout->layout, layout->tag, root, err))
        return -1;
    layout->published = true;
    return 0;
}

static void close_target(struct hl_target *target)
{
    struct layout_target *layout = layout_of(target);
    for (struct added *added = layout->added, *next; added; added = next) {
        next = added->next;
        if (!layout->published)
            unlinkat(layout->layout.blobs, hl_digest_file(added->digest), 0);
        free(added);
    }
    if (!layout->published)
        hl_oci_layout_undo(&layout->layout);
    hl_oci_layout_close(&layout->layout);
    pthread_mutex_destroy(&layout->lock);
    free(layout);
}

static const struct hl_target_class class = {store_content,  store_stream, copy_blob,
                                             store_document, publish,      close_target};

int hl_target_open_layout(const char *directory, const char *tag, struct hl_target **out, struct hl_error *err)
{
    *out = NULL;
    tag = tag && *tag ? tag : "latest";
    if (!hl_reference_tag_valid(tag, strlen(tag)))
        return hl_fail(err, "'%s' is not a tag", tag);
    struct layout_target *layout = calloc(1, sizeof *layout + strlen(directory) + 1);
    if (!layout)
        return hl_no_memory(err);
    memcpy(layout->directory, directory, strlen(directory) + 1);
    memcpy(layout->tag, tag, strlen(tag) + 1);
    snprintf(layout->target.name, sizeof layout->target.name, "%s", directory);
    layout->target.class = &class;
    layout->target.jobs = LAYERS_AT_ONCE;
    pthread_mutex_init(&layout->lock, NULL);
    if (hl_oci_layout_create(layout->directory, &layout->layout, err)) {
        close_target(&layout->target);
        return -1;
    }
    *out = &layout->target;
    return 0;
}
