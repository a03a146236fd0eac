/* Extracts models from an image to the disk, as the files that `hotlayer image` was given. */
#ifndef HL_PACK_IMAGE_PULL_H
#define HL_PACK_IMAGE_PULL_H

#include "registry/oci/oci_image.h"

struct hl_pull_options {
    const char *directory; /* NULL: a folder named after the model, in the working directory */
    unsigned jobs;         /* layers at a time; 0: 4 */
    struct hl_progress *progress;
};

struct hl_pulled {
    char digest[HL_DIGEST_BYTES]; /* of the image's manifest */
    uint64_t bytes;               /* of all files */
    uint64_t fetched;             /* of the layers that were downloaded at least in part */
    size_t n;
    struct hl_pulled_model {
        char *name;
        char *path; /* of its head; hotlayerd takes it as --model */
    } * model;
};

/* Pulls the models of the image `name` of `store` into a folder. Layers that contain no model according to the image's
 * history are not read. Each layer is complete and its digest checked before anything is extracted. Only files of
 * models are extracted: their names satisfy hl_meta_check_name(), and their sizes are those that the heads say. A
 * model's head gets its name after all of its shards. Files already present from the same image are not fetched again,
 * and an interrupted pull resumes. The caller frees `out` with hl_pulled_free(), also after a failure. */
int hl_pull(struct hl_store *store, const char *name, const struct hl_pull_options *options, struct hl_pulled *out,
            struct hl_error *err);
void hl_pulled_free(struct hl_pulled *pulled);

#endif
