/* Finds the models in an image: the files models/NAME/HEAD.hot and models/NAME/HEAD.hot.NNN of its layers. Finds them
 * as a running container would see them: a higher layer replaces and removes files of lower ones.
 *
 * Format: OCI image-spec 1.1, layer.md ("Whiteouts").
 */
#ifndef HL_PACK_IMAGE_FIND_MODELS_H
#define HL_PACK_IMAGE_FIND_MODELS_H

#include "registry/oci/oci_image.h"
#include "runtime/model/hot.h"

#define HL_HEAD_LIMIT ((uint64_t)1 << 30)  /* for all heads of an image together; they are read into memory */
#define HL_LOOK_LIMIT ((uint64_t)64 << 20) /* for the bytes skipped in a compressed layer, when only looking */

struct hl_model_file {
    char model[HL_MODEL_NAME_MAX + 1]; /* NAME; it and `name` satisfy hl_meta_check_name(), so neither is a path */
    char name[HL_MODEL_NAME_MAX + 1];
    uint64_t bytes;
    size_t layer;        /* index in the image */
    struct hl_hot *head; /* open, if the file is a head; NULL: a shard */
};

struct hl_models {
    struct hl_model_file *file;
    size_t n;
    char **hidden; /* paths removed from lower layers; with a trailing slash: only the folder's contents */
    size_t n_hidden;
    uint64_t head_bytes;
    bool partial; /* some compressed layer was not read to its end */
};

/* Scans one more layer of an image; call it from the highest layer down. Reads and opens heads; skips at most `most`
 * bytes of a compressed layer. Fails if a model's file is a link, a device, a folder or a sparse file, or if it is
 * larger than any model's file can be. `index` becomes the `layer` of the files. */
int hl_models_scan(struct hl_models *models, struct hl_store *store, const struct hl_descriptor *layer, size_t index,
                   uint64_t most, struct hl_error *err);

/* Adds a file from elsewhere; on success `models` owns its head. */
int hl_models_add(struct hl_models *models, const struct hl_model_file *file, struct hl_error *err);

/* Finds the heads alone, from as few bytes as possible. If the history of `hotlayer image` names the layers that
 * contain them, only these are read; else all. The result may be empty. */
int hl_models_find(struct hl_store *store, const struct hl_image *image, struct hl_models *out, struct hl_error *err);

/* Returns whether the history mentions a model that `hotlayer image` put in. */
bool hl_models_ours(const struct hl_image *image);

/* Returns the name of the model whose head is in layer i, if the history says that the layer is ours; else NULL. */
const char *hl_models_named(const struct hl_image *image, size_t i);

/* Returns whether layer i may contain files of a model. If the history mentions a model of ours, the runtime's layer
 * and the layers below the first of ours may not. */
bool hl_models_may_hold(const struct hl_image *image, size_t i);

/* Fails if a head lacks a shard, or a shard has the wrong size. */
int hl_models_check(const struct hl_models *models, struct hl_error *err);

/* Returns the file with this name, or NULL. */
const struct hl_model_file *hl_models_file(const struct hl_models *models, const char *model, const char *name);

/* Returns shard `index` (from 0) of a head, or NULL. */
const struct hl_model_file *hl_models_shard(const struct hl_models *models, const struct hl_model_file *head,
                                            uint32_t index);

void hl_models_free(struct hl_models *models);

#define HL_MODELS __attribute__((cleanup(hl_models_free))) struct hl_models

#endif
