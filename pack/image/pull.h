/* Models out of an image onto the disk, as the files that they were before `hotlayer image`. */
#ifndef HL_PACK_IMAGE_PULL_H
#define HL_PACK_IMAGE_PULL_H

#include "registry/oci/oci_image.h"

struct hl_pull_options {
    const char *directory; /* NULL: a folder named after the model, here */
    unsigned jobs;         /* layers at once; 0: 4 */
    struct hl_progress *progress;
};

struct hl_pulled {
    char digest[HL_DIGEST_BYTES]; /* of the image's manifest */
    uint64_t bytes;               /* of all files */
    uint64_t fetched;             /* of the layers that were not all there */
    size_t n;
    struct hl_pulled_model {
        char *name;
        char *path; /* of its head: what hotlayerd is given */
    } * model;
};

/* Brings the models of the image that `name` means in `store` into a folder. Layers that hold none are not read, as far
 * as the image's history tells. Every layer is complete and has its digest before anything is taken out of it; only
 * files of models are, by names that hl_meta_check_name() takes, and of the sizes that their heads say. A model's head
 * gets its name when all of its shards have theirs. What is there of the same image is not fetched again, and an
 * interrupted pull goes on where it was. The caller frees `out` with hl_pulled_free(), also after a failure. */
int hl_pull(struct hl_store *store, const char *name, const struct hl_pull_options *options, struct hl_pulled *out,
            struct hl_error *err);
void hl_pulled_free(struct hl_pulled *pulled);

#endif
