/* A place that images are written to: the folder of an image layout, an archive of one, or a repository of a registry.
 *
 * The order of calls is the order in which an image becomes visible: blobs (from several threads at once), then
 * documents, children before parents, then publish() once. Until publish() nobody can see a part of it; after a failure
 * at any point, hl_target_close() leaves the place as it was, but for what came over a network: a registry forgets
 * unreferenced blobs by itself, and a layout keeps what was downloaded, for the next try.
 */
#ifndef HL_REGISTRY_OCI_TARGET_H
#define HL_REGISTRY_OCI_TARGET_H

#include "base/progress.h"
#include "registry/oci/store.h"

/* Bytes that can be read from any offset, again and again, from one thread at a time. `digest` may be "" where it is
 * not known yet. */
struct hl_content {
    uint64_t bytes;
    char digest[HL_DIGEST_BYTES];
    /* exactly n bytes at offset; never beyond `bytes` */
    int (*read)(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err);
    void *context;
};

/* Bytes that are made while they are read, and whose number is known only at their end. rewind() makes them anew, the
 * same. */
struct hl_stream {
    int (*read)(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err); /* *n = 0: the end */
    int (*rewind)(void *context, struct hl_error *err);
    void *context;
};

struct hl_target;

struct hl_target_class {
    /* Stores a blob; `out` gets digest and size, its media type and kind are the caller's. Progress counts bytes of
     * the content, also of those that were there already. */
    int (*content)(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                   struct hl_descriptor *out, struct hl_error *err);
    int (*stream)(struct hl_target *target, const struct hl_stream *stream, struct hl_descriptor *out,
                  struct hl_error *err);
    /* Takes a blob over from another place, where it can without moving bytes (mount, or it is there already). */
    int (*copy)(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                struct hl_progress *progress, struct hl_error *err);
    /* Stores a manifest or an index by its digest, or a config. */
    int (*document)(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                    struct hl_error *err);
    /* Makes the target's tag mean this manifest or index. */
    int (*publish)(struct hl_target *target, const struct hl_descriptor *root, const char *text, struct hl_error *err);
    void (*close)(struct hl_target *target);
};

struct hl_target {
    const struct hl_target_class *class;
    char name[HL_REFERENCE_BYTES + 16]; /* for messages */
    unsigned jobs;                      /* blobs that may be under way at once */
};

static inline void hl_target_close(struct hl_target **target)
{
    if (*target)
        (*target)->class->close(*target);
    *target = NULL;
}

#define HL_TARGET __attribute__((cleanup(hl_target_close))) struct hl_target

/* A layout in `directory`, created if it does not exist (its parent must); other images of it stay. `tag` NULL or "":
 * "latest". */
int hl_target_open_layout(const char *directory, const char *tag, struct hl_target **out, struct hl_error *err);

/* One file, a tar of a layout which also holds what `docker load` looks for. `name` is the repository part of the name
 * that it is loaded under; `tag` NULL or "": "latest". What had this path stays until publish(). */
int hl_target_open_archive(const char *path, const char *name, const char *tag, struct hl_target **out,
                           struct hl_error *err);

/* A blob that will come: as this content, or as a copy of this descriptor. */
struct hl_expected {
    const struct hl_content *content; /* NULL: a copy */
    const struct hl_descriptor *blob;
};

/* Tells a target which blobs of known size it will get, so that they lie in this order even if they come side by side:
 * an archive is then the same, byte by byte. To be called once, before the first of them; what the list points to must
 * stay, and all must come. Targets that keep no order do nothing. */
int hl_target_expect(struct hl_target *target, const struct hl_expected *list, size_t n, struct hl_error *err);

#endif
