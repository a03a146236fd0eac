/* A place that images are read from: the folder of an image layout, or a repository of a registry.
 *
 * The two differ only in how bytes are read. The callers (oci_image.c, verify.c, copy.c) check the same for both:
 * whether the bytes match their descriptor.
 */
#ifndef HL_REGISTRY_OCI_STORE_H
#define HL_REGISTRY_OCI_STORE_H

#include "registry/net/http.h"
#include "registry/oci/document.h"

struct hl_store;

struct hl_store_class {
    /* Resolves `name`: a tag, a digest, or "" for the store's default (the only image, or "latest"). */
    int (*resolve)(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err);
    /* Lists everything that the store holds; the caller frees *out. NULL if a store cannot list. */
    int (*list)(struct hl_store *store, struct hl_descriptor **out, size_t *n, struct hl_error *err);
    /* Reads a manifest, an index or a config as a whole, NUL-terminated, checked against size and digest. */
    int (*document)(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                    struct hl_error *err);
    /* Sends `bytes` bytes of a blob from `offset` into the sink, in order, unchecked: a part has no digest. May be
     * called from several threads at once. */
    int (*read)(struct hl_store *store, const struct hl_descriptor *descriptor, uint64_t offset, uint64_t bytes,
                hl_http_sink *sink, void *context, struct hl_error *err);
    void (*close)(struct hl_store *store);
};

/* The first member of every store; a class adds its own after it. */
struct hl_store {
    const struct hl_store_class *class;
    char name[HL_REFERENCE_BYTES]; /* for messages: the folder, or HOST/REPOSITORY */
    unsigned jobs;                 /* blobs that are read in parallel; 0: 4 */
    bool remote;                   /* over a network: a broken transfer can be resumed */
};

static inline void hl_store_close(struct hl_store **store)
{
    if (*store)
        (*store)->class->close(*store);
    *store = NULL;
}

#define HL_STORE __attribute__((cleanup(hl_store_close))) struct hl_store

/* Opens the layout in `directory`. */
int hl_store_open_layout(const char *directory, struct hl_store **out, struct hl_error *err);

/* Opens a folder (an open descriptor, which is not kept) that holds only blobs, each named by the digits of its digest.
 * Only read() works, since the folder has no tags. */
int hl_store_open_folder(int directory, const char *name, struct hl_store **out, struct hl_error *err);

#endif
