/* The image that ours is put on. */
#ifndef HL_PACK_IMAGE_BASE_H
#define HL_PACK_IMAGE_BASE_H

#include "registry/oci/oci_image.h"

/* As many as overlay mounts take on common kernels and container engines, ours and the base's together. */
#define HL_RUNNABLE_LAYERS 127

struct hl_base {
    struct hl_store *store; /* where its layers are */
    struct hl_image image;
    char name[HL_REFERENCE_BYTES]; /* for an annotation: HOST/REPOSITORY:TAG; "" where it has no name in the world */
};

/* Finds the image `tag` (store.h: "" is the store's own choice) in `store`, which becomes the base's also when this
 * fails; an index leads to linux/amd64. Fails if the image is for another platform or has layers that may not be passed
 * on. `name` may be "". The caller closes `out`, also after a failure. */
int hl_base_open(struct hl_store *store, const char *tag, const char *name, struct hl_base *out, struct hl_error *err);
void hl_base_close(struct hl_base *base);

#define HL_BASE __attribute__((cleanup(hl_base_close))) struct hl_base

#endif
