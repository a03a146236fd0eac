/* The models in an image: files models/NAME/HEAD.hot and models/NAME/HEAD.hot.NNN of its layers, as whoever runs the
 * image would see them: a higher layer replaces and removes what is in lower ones.
 *
 * Format: OCI image-spec 1.1, layer.md ("Whiteouts").
 */
#ifndef HL_PACK_IMAGE_FIND_MODELS_H
#define HL_PACK_IMAGE_FIND_MODELS_H

#include "registry/oci/oci_image.h"
#include "runtime/model/hot.h"

#define HL_HEAD_LIMIT ((uint64_t)1 << 30) /* of the heads of an image together; they are read into memory */
#define HL_LOOK_LIMIT                                                                                                  \
    ((uint64_t)64                                                                                                      \
     << 20) /* what is passed over in a compressed layer, where it is only looked into                    \
                          */

struct hl_model_file {
    char model[HL_MODEL_NAME_MAX + 1]; /* NAME; it and `name` are what hl_meta_check_name() takes: never a path */
    char name[HL_MODEL_NAME_MAX + 1];
    uint64_t bytes;
    size_t layer;        /* of the image */
    struct hl_hot *head; /* open, where the file is a head; NULL: a shard */
};

struct hl_models {
    struct hl_model_file *file;
    size_t n;
    char **hidden; /* paths that are gone from lower layers; with a slash behind: what is inside of a folder */
    size_t n_hidden;
    uint64_t head_bytes;
    bool partial; /* some compressed layer was not looked through to its end */
};

/* Looks through one more layer of an image, from the highest one down. Heads are read and opened; of a compressed layer
 * no more than `most` bytes are passed over. Refused are links, devices, files with holes, folders and other things in
 * a model's place, and files that no model can have. `index` is what the files' `layer` will be. */
int hl_models_scan(struct hl_models *models, struct hl_store *store, const struct hl_descriptor *layer, size_t index,
                   uint64_t most, struct hl_error *err);

/* One more file, from elsewhere; its head is the models' when this succeeds. */
int hl_models_add(struct hl_models *models, const struct hl_model_file *file, struct hl_error *err);

/* The heads alone, from as few bytes as possible: where `hotlayer image` wrote into the history which layers have them,
 * only these are looked at, else all of them. There may be none. */
int hl_models_find(struct hl_store *store, const struct hl_image *image, struct hl_models *out, struct hl_error *err);

/* Does the history tell of a model that `hotlayer image` put in? */
bool hl_models_ours(const struct hl_image *image);

/* The model whose head is in layer i, as far as the history says it of a layer of ours; NULL: it does not. */
const char *hl_models_named(const struct hl_image *image, size_t i);

/* May layer i have files of a model? Not the runtime's, nor what lies below the first of our layers, where the history
 * tells of a model of ours. */
bool hl_models_may_hold(const struct hl_image *image, size_t i);

/* Does every head have its shards, of the right sizes? */
int hl_models_check(const struct hl_models *models, struct hl_error *err);

/* The file of this name, or NULL. */
const struct hl_model_file *hl_models_file(const struct hl_models *models, const char *model, const char *name);

/* Shard `index` (from 0) of a head, or NULL. */
const struct hl_model_file *hl_models_shard(const struct hl_models *models, const struct hl_model_file *head,
                                            uint32_t index);

void hl_models_free(struct hl_models *models);

#define HL_MODELS __attribute__((cleanup(hl_models_free))) struct hl_models

#endif
