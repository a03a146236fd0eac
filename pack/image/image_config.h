/* The config of an image: how the process in it is started, and which layers it has, on top of what a base says.
 *
 * Format: OCI image-spec 1.1, config.md; Healthcheck, OnBuild and Shell are Docker's (Docker image spec v1.2).
 */
#ifndef HL_PACK_IMAGE_IMAGE_CONFIG_H
#define HL_PACK_IMAGE_IMAGE_CONFIG_H

#include "registry/oci/document.h"

#define HL_CONFIG_USER "65532:65532" /* unless a base has a numeric user that is not root */

/* A label or an annotation. */
struct hl_config_label {
    const char *key;
    const char *value; /* NULL or "": it is left out */
};

struct hl_config_layer {
    const char *diff_id;
    const char *what;    /* "created by" of the history */
    const char *comment; /* NULL: none */
};

struct hl_config_spec {
    const struct hl_image *base; /* NULL: there is none */
    const char *created;         /* RFC 3339; "": no date, also none of the base's */
    bool process;                /* the image starts hotlayerd; else it starts what the base starts, or nothing */
    const struct hl_config_label *label;
    size_t n_labels;
    const struct hl_config_layer *layer; /* ours, above the base's */
    size_t n_layers;
};

/* Is what will be changed in the base's config what the specification says? */
int hl_image_config_check(const struct hl_image *base, struct hl_error *err);

/* Makes the config. What a base says about anything else stays as it is, unknown members included:
 *
 *   Env            the base's, and ours over equal names; but a base's PATH stays, and its LD_LIBRARY_PATH follows ours
 *   User           the base's if it is a number and not 0, else HL_CONFIG_USER
 *   Entrypoint     ours; Cmd and OnBuild go
 *   StopSignal     ours
 *   WorkingDir     the base's, else /
 *   ExposedPorts, Labels    the base's and ours; ours win
 *   history        the base's and ours; where a base of layers has none, its layers get entries
 *
 * Fails like hl_image_config_check(). The caller frees *out with cJSON_Delete(). */
int hl_image_config_make(const struct hl_config_spec *spec, cJSON **out, struct hl_error *err);

#endif
