/* Copies an image unchanged from one place to another: blobs in parallel, then documents from the leaves up, then the
 * tag. A reader who sees the tag can read everything that it leads to. */
#include "base/cleanup.h"
#include "base/parallel.h"
#include "registry/oci/oci_image.h"
#include "registry/oci/walk.h"

struct copying {
    const struct hl_walk *walk;
    struct hl_target *to;
    struct hl_progress *progress;
};

static int copy_blob(void *context, size_t i, struct hl_error *err)
{
    const struct copying *copying = context;
    const struct hl_walk *walk = copying->walk;
    return copying->to->class->copy(copying->to, walk->store, &walk->blob[i], copying->progress, err);
}

int hl_image_copy(struct hl_store *from, const char *name, struct hl_target *to, struct hl_progress *progress,
                  struct hl_descriptor *out, struct hl_error *err)
{
    HL_WALK walk = {.store = from};
    struct copying copying = {&walk, to, progress};
    uint64_t total = 0;
    if (from->class->resolve(from, name, out, err) || hl_walk_add(&walk, out, err))
        return hl_error_prefix(err, "%s", from->name);
    for (size_t i = 0; i < walk.n_blobs; i++)
        total += walk.blob[i].bytes;
    hl_progress_begin(progress, "copying", total);
    if (hl_parallel(walk.n_blobs, to->jobs, copy_blob, &copying, err))
        return hl_error_prefix(err, "%s", to->name);
    hl_progress_end(progress);
    const struct hl_walk_document *root = &walk.document[walk.n_documents - 1];
    for (size_t i = 0; i + 1 < walk.n_documents; i++)
        if (to->class->document(to, &walk.document[i].descriptor, walk.document[i].text, err))
            return hl_error_prefix(err, "%s", to->name);
    if (to->class->document(to, &root->descriptor, root->text, err) ||
        to->class->publish(to, &root->descriptor, root->text, err))
        return hl_error_prefix(err, "%s", to->name);
    return 0;
}
