/* Turns a packed model into an image: layers of the runtime and of the model's files, on top of a base or of nothing.
 *
 * Formats: OCI image-spec 1.1, manifest.md, config.md, layer.md.
 */
#ifndef HL_PACK_IMAGE_IMAGE_H
#define HL_PACK_IMAGE_IMAGE_H

#include "hotlayer/layout.h"
#include "pack/image/base.h"
#include "pack/image/compress.h"

#define HL_LAST_CREATED 8589934591 /* the last second that a tar header can hold: the year 2242 */

/* Describes the image to make. The caller owns everything it points to. */
struct hl_image_spec {
    const char *name; /* the model's folder is /models/NAME: letters, digits, . _ - :, at most HL_MODEL_NAME_MAX */
    const char *head; /* MODEL.hot */
    const char *const *shards; /* MODEL.hot.001 and so on, in load order */
    size_t n_shards;
    const char *runtime;        /* the hotlayerd to put in; NULL: none, the image contains the model alone */
    const struct hl_base *base; /* NULL: none */
    int compress;               /* zstd level for our layers, up to HL_COMPRESS_LEVEL_MOST; 0: plain tar */
    int64_t created;   /* seconds since 1970, for the image's dates and all files in it; -1: no date, files at 0 */
    const char *title; /* annotations; NULL: none */
    const char *licenses;
    const char *source;
    struct hl_progress *progress; /* NULL: none */
};

/* Writes the image to the target and publishes it. The same files give the same digest on any machine; if compressed,
 * on any machine with the same version of libzstd. Each input is read once and written once. A few MiB are held in
 * memory (compressed: about 40 MiB for each layer in progress). An image without a runtime starts what its base starts.
 * The caller frees `out` with hl_image_free(), also after a failure. */
int hl_image_write(const struct hl_image_spec *spec, struct hl_target *target, struct hl_image *out,
                   struct hl_error *err);

#endif
