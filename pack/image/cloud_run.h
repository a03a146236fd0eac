/* Would an image start on Cloud Run? Its documents against the container contract.
 *
 * Sources: Cloud Run's "Container runtime contract" (architecture, manifest formats, zstd, PORT, 0.0.0.0, SIGTERM) and
 * image-spec 1.1 (config.md, manifest.md, image-index.md). Limits that no document states but that are met in practice
 * (layers of an overlay mount, layers of 9.9 GB) are warned of, or fail where the image could run nowhere.
 */
#ifndef HL_PACK_IMAGE_CLOUD_RUN_H
#define HL_PACK_IMAGE_CLOUD_RUN_H

#include "pack/image/find_models.h"

#define HL_CLOUD_RUN_LAYERS_MOST 127           /* of an overlay mount, the base's included */
#define HL_CLOUD_RUN_LAYERS_MANY 100           /* some hosts' mount options end before 127 */
#define HL_CLOUD_RUN_LAYER_BYTES 9900000000ull /* what repositories that stand in front of others import at most */
#define HL_CLOUD_RUN_PORT 8080                 /* where requests go unless the service says otherwise */
#define HL_CLOUD_RUN_CHECKS 16

enum hl_verdict { HL_VERDICT_OK, HL_VERDICT_WARN, HL_VERDICT_FAIL };

struct hl_cloud_run_check {
    const char *name;
    enum hl_verdict verdict;
    char message[400]; /* what was found; where that is bad also what would happen and what to do. Fit for a terminal */
};

struct hl_cloud_run {
    struct hl_cloud_run_check check[HL_CLOUD_RUN_CHECKS];
    size_t n, warnings, failures;
};

/* Judges an image by its texts: `image` as hl_image_open() read it, the index that its reference names (NULL where it
 * names the manifest itself), and the heads of models that the caller found in it. Fails only when a text is no JSON or
 * memory runs out. */
int hl_cloud_run_check(const struct hl_image *image, const char *index_text, size_t index_bytes,
                       const struct hl_models *models, struct hl_cloud_run *out, struct hl_error *err);

/* The same for the image `name` of a store, printed on stdout: a line for each check, or one JSON document. *failures
 * is how many checks failed. */
int hl_cloud_run_print(struct hl_store *store, const char *name, const struct hl_image *image,
                       const struct hl_models *models, bool json, size_t *failures, struct hl_error *err);

#endif
