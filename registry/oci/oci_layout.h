/* A layout's folder and its index. Internal to registry/.
 *
 *   DIR/oci-layout                 {"imageLayoutVersion":"1.0.0"}
 *   DIR/index.json                 tag -> manifest
 *   DIR/blobs/sha256/HEX           manifests, configs and layers, each named by its own SHA-256
 *
 * Format: OCI image-spec 1.1, image-layout.md. */
#ifndef HL_REGISTRY_OCI_OCI_LAYOUT_H
#define HL_REGISTRY_OCI_OCI_LAYOUT_H

#include "registry/oci/document.h"

#define HL_OCI_LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"

struct hl_oci_layout {
    const char *directory; /* as the caller wrote it, for messages */
    int root;              /* -1: not open */
    int blobs;             /* blobs/sha256 */
    bool made, created;    /* the folder and the layout in it are this call's work */
};

/* Opens a layout, or makes one where nothing or an empty folder is. Anything else at that place is refused. */
int hl_oci_layout_create(const char *directory, struct hl_oci_layout *out, struct hl_error *err);
int hl_oci_layout_open(const char *directory, struct hl_oci_layout *out, struct hl_error *err);
void hl_oci_layout_close(struct hl_oci_layout *layout);
/* Takes back what hl_oci_layout_create() made, as far as it is empty. */
void hl_oci_layout_undo(struct hl_oci_layout *layout);

/* Makes `tag` mean this manifest or index, in one step; all other entries stay as they are. */
int hl_oci_layout_tag(struct hl_oci_layout *layout, const char *tag, const struct hl_descriptor *root,
                      struct hl_error *err);
/* One entry of an index.json; NULL when memory runs out. */
cJSON *hl_oci_index_entry(const char *tag, const struct hl_descriptor *root);

/* Parses index.json; the caller frees *out with cJSON_Delete(). Its "manifests" is an array. */
int hl_oci_layout_index(const struct hl_oci_layout *layout, cJSON **out, struct hl_error *err);

/* Reads a whole regular file of at most HL_DOCUMENT_LIMIT bytes and puts a NUL behind it; the caller frees *text. */
int hl_oci_read_small(int directory, const char *name, char **text, size_t *bytes, struct hl_error *err);

#endif
