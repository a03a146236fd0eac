/* The base: the image on top of which ours is put. */
#ifndef HL_PACK_IMAGE_BASE_H
#define HL_PACK_IMAGE_BASE_H

#include "registry/oci/oci_image.h"

/* The most layers, the base's included, that overlay mounts accept on common kernels and container engines. */
#define HL_RUNNABLE_LAYERS 127

struct hl_base {
    struct hl_store *store; /* where its layers are */
    struct hl_image image;
    char name[HL_REFERENCE_BYTES]; /* for an annotation: HOST/REPOSITORY:TAG; "" if it has no public name */
};

/* Opens the image `tag` of `store` (store.h: "" is the store's own choice); of an index it takes linux/amd64. The base
 * takes `store` over, also after a failure. Fails if the image is for another platform or has layers that may not be
 * redistributed. `name` may be "". The caller closes `out`, also after a failure. */
int hl_base_open(struct hl_store *store, const char *tag, const char *name, struct hl_base *out, struct hl_error *err);
void hl_base_close(struct hl_base *base);

#define HL_BASE __attribute__((cleanup(hl_base_close))) struct hl_base

#endif
