/* A place that images are written to: the folder of an image layout, an archive of one, or a repository of a registry.
 *
 * The order of calls is the order in which an image becomes visible: blobs (from several threads at once), then
 * documents, children before parents, then publish() once. Until publish() no reader sees a part of it.
 *
 * After a failure at any point hl_target_close() leaves the place as it was, except for network transfers. A registry
 * removes unreferenced blobs itself, and a layout keeps downloaded blobs for the next try.
 */
#ifndef HL_REGISTRY_OCI_TARGET_H
#define HL_REGISTRY_OCI_TARGET_H

#include "base/progress.h"
#include "registry/oci/store.h"

/* Bytes that can be read from any offset, repeatedly, from one thread at a time. `digest` may be "" if it is not known
 * yet. */
struct hl_content {
    uint64_t bytes;
    char digest[HL_DIGEST_BYTES];
    /* Reads exactly n bytes at offset; never beyond `bytes`. */
    int (*read)(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err);
    void *context;
};

/* Bytes that are made while they are read; only the end tells their number. rewind() starts over with the same bytes.
 * */
struct hl_stream {
    int (*read)(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err); /* *n = 0: the end */
    int (*rewind)(void *context, struct hl_error *err);
    void *context;
};

struct hl_target;

struct hl_target_class {
    /* Stores a blob and sets digest and size of `out`; the caller sets media type and kind. Progress counts all bytes
     * of the content, also those that were there already. */
    int (*content)(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                   struct hl_descriptor *out, struct hl_error *err);
    int (*stream)(struct hl_target *target, const struct hl_stream *stream, struct hl_descriptor *out,
                  struct hl_error *err);
    /* Copies a blob from another place, if possible without moving bytes (a mount, or the blob is there already). */
    int (*copy)(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                struct hl_progress *progress, struct hl_error *err);
    /* Stores a manifest, an index or a config by its digest. */
    int (*document)(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                    struct hl_error *err);
    /* Points the target's tag to this manifest or index. */
    int (*publish)(struct hl_target *target, const struct hl_descriptor *root, const char *text, struct hl_error *err);
    void (*close)(struct hl_target *target);
};

struct hl_target {
    const struct hl_target_class *class;
    char name[HL_REFERENCE_BYTES + 16]; /* for messages */
    unsigned jobs;                      /* blobs that may be transferred at once */
};

static inline void hl_target_close(struct hl_target **target)
{
    if (*target)
        (*target)->class->close(*target);
    *target = NULL;
}

#define HL_TARGET __attribute__((cleanup(hl_target_close))) struct hl_target

/* Opens a layout in `directory`, created if it does not exist (its parent must). Its other images stay. `tag` NULL or
 * "": "latest". */
int hl_target_open_layout(const char *directory, const char *tag, struct hl_target **out, struct hl_error *err);

/* Opens an archive: a tar of a layout that also holds the files that `docker load` needs. `name` is the repository part
 * of the name that it is loaded under; `tag` NULL or "": "latest". An existing file of this path stays until publish().
 * */
int hl_target_open_archive(const char *path, const char *name, const char *tag, struct hl_target **out,
                           struct hl_error *err);

/* A blob that will be stored: from this content, or as a copy of this descriptor. */
struct hl_expected {
    const struct hl_content *content; /* NULL: a copy */
    const struct hl_descriptor *blob;
};

/* Announces the blobs of known size, so that they lie in this order even if they are stored in parallel: an archive is
 * then the same, byte by byte. Call it once, before the first blob. The list's pointers must stay valid, and every blob
 * must be stored, or a gap would end the archive. Targets that keep no order do nothing. */
int hl_target_expect(struct hl_target *target, const struct hl_expected *list, size_t n, struct hl_error *err);

#endif
