/* Checks whether an image would start on Cloud Run: compares its documents with the container contract.
 *
 * Sources: Cloud Run's "Container runtime contract" (architecture, manifest formats, zstd, PORT, 0.0.0.0, SIGTERM) and
 * image-spec 1.1 (config.md, manifest.md, image-index.md). Some limits are not documented but met in practice (layers
 * of an overlay mount, layers of 9.9 GB); these give a warning, or a failure if the image could not run anywhere.
 */
#ifndef HL_PACK_IMAGE_CLOUD_RUN_H
#define HL_PACK_IMAGE_CLOUD_RUN_H

#include "pack/image/find_models.h"

#define HL_CLOUD_RUN_LAYERS_MOST 127           /* of an overlay mount, the base's included */
#define HL_CLOUD_RUN_LAYERS_MANY 100           /* on some hosts the mount options are full before 127 */
#define HL_CLOUD_RUN_LAYER_BYTES 9900000000ull /* the largest layer that a remote repository (a proxy) imports */
#define HL_CLOUD_RUN_PORT 8080                 /* requests go here unless the service says otherwise */
#define HL_CLOUD_RUN_CHECKS 16

enum hl_verdict { HL_VERDICT_OK, HL_VERDICT_WARN, HL_VERDICT_FAIL };

struct hl_cloud_run_check {
    const char *name;
    enum hl_verdict verdict;
    char message[400]; /* the finding; if it is bad, also the consequence and the remedy. Safe for a terminal */
};

struct hl_cloud_run {
    struct hl_cloud_run_check check[HL_CLOUD_RUN_CHECKS];
    size_t n, warnings, failures;
};

/* Checks an image by its documents: `image` as hl_image_open() read it, the index that its reference names (NULL if it
 * names the manifest itself), and the heads of models found in it. Fails only if a document is not JSON
 * or memory runs out. */
int hl_cloud_run_check(const struct hl_image *image, const char *index_text, size_t index_bytes,
                       const struct hl_models *models, struct hl_cloud_run *out, struct hl_error *err);

/* Checks the image `name` of a store and prints the result on stdout: a line for each check, or one JSON document.
 * *failures is the number of failed checks. */
int hl_cloud_run_print(struct hl_store *store, const char *name, const struct hl_image *image,
                       const struct hl_models *models, bool json, size_t *failures, struct hl_error *err);

#endif
