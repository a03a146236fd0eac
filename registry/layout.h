/* A layout's folder and its index. Internal to pack/oci_*.c. */
#ifndef HL_PACK_OCI_LAYOUT_H
#define HL_PACK_OCI_LAYOUT_H

#include "pack/json.h"
#include "pack/oci.h"

#define HL_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define HL_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define HL_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define HL_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define HL_OCI_REF_NAME "org.opencontainers.image.ref.name"
#define HL_DOCUMENT_LIMIT ((size_t)4 << 20) /* what registries must take, and more than any image needs */

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

/* Makes `tag` mean the linux/amd64 manifest `digest`, in one step; all other entries stay as they are. */
int hl_oci_layout_tag(struct hl_oci_layout *layout, const char *tag, const char *digest, uint64_t bytes,
                      struct hl_error *err);

/* Parses index.json; the caller frees *out with cJSON_Delete(). Its "manifests" is an array. */
int hl_oci_layout_index(const struct hl_oci_layout *layout, cJSON **out, struct hl_error *err);

/* Reads a whole regular file of at most HL_DOCUMENT_LIMIT bytes and puts a NUL behind it; the caller frees *text. */
int hl_oci_read_small(int directory, const char *name, char **text, size_t *bytes, struct hl_error *err);

#endif
