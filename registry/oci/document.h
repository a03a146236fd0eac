/* Descriptors, indexes, manifests and configs: the JSON documents of an image, which a stranger may have written.
 *
 * Formats: OCI image-spec 1.1 (descriptor.md, image-index.md, manifest.md, config.md) and Docker's image manifest
 * version 2, schema 2, whose documents have the same shape under other media types.
 */
#ifndef HL_REGISTRY_OCI_DOCUMENT_H
#define HL_REGISTRY_OCI_DOCUMENT_H

#include "base/json.h"
#include "registry/oci/reference.h"

#define HL_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define HL_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define HL_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define HL_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define HL_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define HL_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define HL_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define HL_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define HL_OCI_REF_NAME "org.opencontainers.image.ref.name"
#define HL_DOCUMENT_LIMIT ((size_t)4 << 20) /* registries must accept this size; no image needs more */
#define HL_BLOB_LIMIT (1ull << 53)          /* JSON numbers are exact up to here */
#define HL_IMAGE_LAYERS_MOST 1024           /* no runtime can run more: overlay mounts end at about 127 */
#define HL_INDEX_DEPTH 4                    /* of nested indexes */

enum hl_document_kind {
    HL_KIND_UNKNOWN,
    HL_KIND_INDEX,
    HL_KIND_MANIFEST,
    HL_KIND_CONFIG,
    HL_KIND_TAR, /* layers: plain, gzip, zstd */
    HL_KIND_GZIP,
    HL_KIND_ZSTD,
};

struct hl_descriptor {
    char media_type[96]; /* printable ASCII */
    char digest[HL_DIGEST_BYTES];
    uint64_t bytes;
    enum hl_document_kind kind; /* follows from the media type */
    char tag[HL_TAG_BYTES];     /* from a layout's index.json, fit for a terminal; else "" */
    bool runs_nowhere;          /* the index marks it so: an attestation, an artifact */
};

static inline bool hl_document_is_layer(enum hl_document_kind kind)
{
    return kind == HL_KIND_TAR || kind == HL_KIND_GZIP || kind == HL_KIND_ZSTD;
}

enum hl_document_kind hl_document_kind_of(const char *media_type);
/* Returns the OCI media type of a kind. */
const char *hl_document_media_type(enum hl_document_kind kind);

/* Reads a descriptor's JSON; `where` names the document that holds it. */
int hl_descriptor_read(const cJSON *json, const char *where, struct hl_descriptor *out, struct hl_error *err);

/* Fails unless size and SHA-256 of these bytes are the descriptor's. */
int hl_document_check(const struct hl_descriptor *descriptor, const void *text, size_t bytes, struct hl_error *err);
/* Parses a checked text. If it has a "mediaType", that must be the descriptor's; the "schemaVersion" of manifests and
 * indexes must be 2. The caller frees *out with cJSON_Delete(). */
int hl_document_parse(const struct hl_descriptor *descriptor, const char *text, size_t bytes, cJSON **out,
                      struct hl_error *err);

/* Returns whether an index's entry is for linux/amd64. */
bool hl_document_is_amd64(const cJSON *entry);

struct hl_image_layer {
    struct hl_descriptor blob;
    char diff_id[HL_DIGEST_BYTES]; /* of the tar inside */
    char what[160];                /* "created by" of the image's history */
};

/* An image that was read. Texts for printing hold no control characters. */
struct hl_image {
    char tag[HL_TAG_BYTES]; /* by which it was found, or "" */
    struct hl_descriptor manifest, config;
    char *manifest_text, *config_text; /* the JSON documents as stored, NUL-terminated */
    size_t manifest_bytes, config_bytes;
    uint64_t bytes;    /* of the manifest, the config and all layers */
    char platform[64]; /* "linux/amd64" */
    char created[40];  /* "" if it has no date */
    char user[64];
    char entrypoint[256]; /* joined with spaces */
    struct hl_image_layer *layer;
    size_t n_layers;
};

/* Fills `image` from the texts of its manifest and config, and takes them over when it succeeds. Fails unless they
 * agree about the layers, and the history with both. */
int hl_image_read(struct hl_image *image, const struct hl_descriptor *manifest, char *manifest_text,
                  size_t manifest_bytes, const struct hl_descriptor *config, char *config_text, size_t config_bytes,
                  struct hl_error *err);
void hl_image_free(struct hl_image *image);

#endif
