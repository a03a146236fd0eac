/* Opens, verifies and copies images, wherever they are. */
#ifndef HL_REGISTRY_OCI_OCI_IMAGE_H
#define HL_REGISTRY_OCI_OCI_IMAGE_H

#include "registry/oci/target.h"

/* Reads an image's documents and checks them against their digests and each other, but reads no layers. `name` is a
 * tag, a digest or "" (store.h). Indexes are followed to linux/amd64. The caller frees `out` with hl_image_free(), also
 * after a failure. */
int hl_image_open(struct hl_store *store, const char *name, struct hl_image *out, struct hl_error *err);

struct hl_image_verified {
    size_t images;
    size_t blobs;
    uint64_t bytes;
};

/* Reads everything that `name` leads to and checks sizes, digests, media types, and that configs and layers agree. With
 * name "": everything that the store can list, else its default. Compressed layers are checked as stored. */
int hl_image_verify(struct hl_store *store, const char *name, struct hl_progress *progress,
                    struct hl_image_verified *out, struct hl_error *err);

/* Reads a blob and compares it with its digest. */
int hl_blob_check(struct hl_store *store, const struct hl_descriptor *blob, struct hl_progress *progress,
                  struct hl_error *err);

/* Copies everything that `name` leads to, byte by byte, and publishes it; `out` gets its root. */
int hl_image_copy(struct hl_store *from, const char *name, struct hl_target *to, struct hl_progress *progress,
                  struct hl_descriptor *out, struct hl_error *err);

#endif
