/* A place that images are read from: the folder of an image layout, or a repository of a registry.
 *
 * The two differ in how bytes get here, and in nothing else: what a descriptor leads to is checked by the callers
 * (image.c, verify.c, copy.c), the same way for both.
 */
#ifndef HL_REGISTRY_OCI_STORE_H
#define HL_REGISTRY_OCI_STORE_H

#include "registry/net/http.h"
#include "registry/oci/document.h"

struct hl_store;

struct hl_store_class {
    /* What `name` means: a tag, a digest, or "" for the store's own choice (the only image, or "latest"). */
    int (*resolve)(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err);
    /* Everything that the store holds; the caller frees *out. NULL where a store cannot tell. */
    int (*list)(struct hl_store *store, struct hl_descriptor **out, size_t *n, struct hl_error *err);
    /* The whole text of a manifest, an index or a config, NUL-terminated, checked against size and digest. */
    int (*document)(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                    struct hl_error *err);
    /* `bytes` bytes of a blob from `offset`, in order, into the sink. They are not checked: a part has no digest. From
     * several threads at once. */
    int (*read)(struct hl_store *store, const struct hl_descriptor *descriptor, uint64_t offset, uint64_t bytes,
                hl_sink *sink, void *context, struct hl_error *err);
    void (*close)(struct hl_store *store);
};

/* The head of every store; what a class adds follows it. */
struct hl_store {
    const struct hl_store_class *class;
    char name[HL_REFERENCE_BYTES]; /* for messages: the folder, or HOST/REPOSITORY */
    unsigned jobs;                 /* blobs that are read side by side; 0: 4 */
    bool remote;                   /* behind a network: a transfer that breaks off can be resumed */
};

static inline void hl_store_close(struct hl_store **store)
{
    if (*store)
        (*store)->class->close(*store);
    *store = NULL;
}

#define HL_STORE __attribute__((cleanup(hl_store_close))) struct hl_store

/* The layout in `directory`. */
int hl_store_open_layout(const char *directory, struct hl_store **out, struct hl_error *err);

/* A folder (open; not kept) of blobs alone, each named by the digits of its digest: read() works, there are no names.
 */
int hl_store_open_folder(int directory, const char *name, struct hl_store **out, struct hl_error *err);

#endif
