/* A layout's folder and its index. For registry/ only.
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
    bool made, created;    /* this call made the folder; it made the layout in it */
};

/* Opens a layout, or creates one in a missing or empty folder. Fails if anything else is at that path. */
int hl_oci_layout_create(const char *directory, struct hl_oci_layout *out, struct hl_error *err);
int hl_oci_layout_open(const char *directory, struct hl_oci_layout *out, struct hl_error *err);
void hl_oci_layout_close(struct hl_oci_layout *layout);
/* Removes what hl_oci_layout_create() made, if it is still empty. */
void hl_oci_layout_undo(struct hl_oci_layout *layout);

/* Points `tag` to this manifest or index, atomically; all other entries stay. */
int hl_oci_layout_tag(struct hl_oci_layout *layout, const char *tag, const struct hl_descriptor *root,
                      struct hl_error *err);
/* Makes one entry of an index.json; NULL: out of memory. */
cJSON *hl_oci_index_entry(const char *tag, const struct hl_descriptor *root);

/* Parses index.json; the caller frees *out with cJSON_Delete(). Its "manifests" is an array. */
int hl_oci_layout_index(const struct hl_oci_layout *layout, cJSON **out, struct hl_error *err);

/* Reads a whole regular file of at most HL_DOCUMENT_LIMIT bytes and adds a NUL; the caller frees *text. */
int hl_oci_read_small(int directory, const char *name, char **text, size_t *bytes, struct hl_error *err);

#endif
