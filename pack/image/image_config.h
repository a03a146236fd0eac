/* The config of an image: how its process is started and which layers it has, based on a base's config.
 *
 * Format: OCI image-spec 1.1, config.md; Healthcheck, OnBuild and Shell are Docker's (Docker image spec v1.2).
 */
#ifndef HL_PACK_IMAGE_IMAGE_CONFIG_H
#define HL_PACK_IMAGE_IMAGE_CONFIG_H

#include "registry/oci/document.h"

#define HL_CONFIG_USER "65532:65532" /* unless the base has a numeric user other than root */

/* A label or an annotation. */
struct hl_config_label {
    const char *key;
    const char *value; /* NULL or "": not written */
};

struct hl_config_layer {
    const char *diff_id;
    const char *what;    /* "created_by" in the history */
    const char *comment; /* NULL: none */
};

struct hl_config_spec {
    const struct hl_image *base; /* NULL: none */
    const char *created;         /* RFC 3339; "": no date, not the base's either */
    bool process;                /* the image starts hotlayerd; else it starts what the base starts, or nothing */
    const struct hl_config_label *label;
    size_t n_labels;
    const struct hl_config_layer *layer; /* ours, above the base's */
    size_t n_layers;
};

/* Fails if a member of the base's config that hl_image_config_make() changes does not have the specified type. */
int hl_image_config_check(const struct hl_image *base, struct hl_error *err);

/* Makes the config. Every other member of the base's config stays as it is, also an unknown one:
 *
 *   Env            the base's, and ours override equal names; but the base's PATH stays, and its LD_LIBRARY_PATH is
 *                  appended to ours
 *   User           the base's if it is a number other than 0, else HL_CONFIG_USER
 *   Entrypoint     ours; Cmd and OnBuild are removed
 *   StopSignal     ours
 *   WorkingDir     the base's, else /
 *   ExposedPorts, Labels    the base's and ours; ours win
 *   history        the base's and ours; if the base has layers but no history, its layers get entries
 *
 * Fails as hl_image_config_check() does. The caller frees *out with cJSON_Delete(). */
int hl_image_config_make(const struct hl_config_spec *spec, cJSON **out, struct hl_error *err);

#endif
