/* Everything that a manifest or an index leads to. For registry/ only. */
#ifndef HL_REGISTRY_OCI_WALK_H
#define HL_REGISTRY_OCI_WALK_H

#include "registry/oci/store.h"

#define HL_WALK_MOST 4096u /* limit of documents, and of blobs */

struct hl_walk_document {
    struct hl_descriptor descriptor; /* of a manifest or an index */
    char *text;
};

struct hl_walk {
    struct hl_store *store;
    struct hl_walk_document *document; /* children before their parents, the root last; each digest once */
    size_t n_documents;
    struct hl_descriptor *blob; /* configs and layers, in the order in which they were found; each digest once */
    size_t n_blobs;
    size_t images;  /* runnable manifests */
    uint64_t bytes; /* of all documents and blobs */
};

/* Reads and checks all documents below `root`: an image's config must agree with its manifest about the layers. Start
 * with {.store = ...}; may be called for several roots. The caller frees with hl_walk_free(), also after a failure. */
int hl_walk_add(struct hl_walk *walk, const struct hl_descriptor *root, struct hl_error *err);
void hl_walk_free(struct hl_walk *walk);

#define HL_WALK __attribute__((cleanup(hl_walk_free))) struct hl_walk

#endif
