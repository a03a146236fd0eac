/* OCI image layouts on disk: writing a packed model as an image, reading one back, checking every byte of it.
 *
 *   DIR/oci-layout                 {"imageLayoutVersion":"1.0.0"}
 *   DIR/index.json                 tag -> manifest
 *   DIR/blobs/sha256/HEX           manifests, configs and layers, each named by its own SHA-256
 *
 * Formats: OCI image-spec 1.1, image-layout.md, image-index.md, manifest.md, config.md, layer.md.
 */
#ifndef HL_PACK_OCI_H
#define HL_PACK_OCI_H

#include "hotlayer/error.h"
#include "hotlayer/layout.h"
#include "pack/progress.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL_DIGEST_HEX 64
#define HL_DIGEST_BYTES (7 + HL_DIGEST_HEX + 1) /* "sha256:", the digits and a NUL */
#define HL_TAG_BYTES 129
#define HL_LAST_CREATED 8589934591 /* the last second that a tar header can hold: the year 2242 */

/* Is it "sha256:" and 64 lowercase hexadecimal digits, and nothing else? Only such a text may become a path. */
bool hl_digest_valid(const char *text);
/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}, of `length` bytes. */
bool hl_tag_valid(const char *tag, size_t length);

/* The argument oci:DIR[:TAG]. What follows the last colon is the tag, unless it holds a slash: "oci:a:b/" is a folder.
 */
struct hl_oci_reference {
    char directory[PATH_MAX];
    char tag[HL_TAG_BYTES]; /* "" when none was given */
};

/* A failure is HL_ERROR_USAGE. */
int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err);

struct hl_oci_layer {
    char digest[HL_DIGEST_BYTES];
    uint64_t bytes;
    char media_type[96];
    char what[160]; /* "created by" of the image's history */
};

/* An image as it stands in a layout. Texts from the files that are meant to be printed hold no control characters. */
struct hl_oci_image {
    char tag[256];
    char digest[HL_DIGEST_BYTES]; /* of the manifest */
    uint64_t bytes;               /* of the manifest, the config and all layers */
    char *manifest, *config;      /* the JSON documents as stored */
    size_t manifest_bytes, config_bytes;
    char platform[64]; /* "linux/amd64" */
    char created[40];  /* "" if it carries no date */
    char user[64];
    char entrypoint[256]; /* joined with spaces */
    struct hl_oci_layer *layer;
    size_t n_layers;
};

/* What becomes an image. The caller keeps everything it points to. */
struct hl_image_spec {
    const char *name; /* the model's folder is /models/NAME: letters, digits, . _ - :, at most HL_MODEL_NAME_MAX */
    const char *head; /* MODEL.hot */
    const char *const *shards; /* MODEL.hot.001 and so on, in load order */
    size_t n_shards;
    const char *runtime;   /* the hotlayerd to put in */
    const char *directory; /* of the layout; created if it does not exist, its parent must */
    const char *tag;       /* NULL: "latest" */
    int64_t created;       /* seconds since 1970, for the image's dates and all files in it; -1: no date, files at 0 */
    const char *title;     /* annotations; NULL: none */
    const char *licenses;
    const char *source;
    struct hl_progress *progress; /* NULL: none */
};

/* Writes the image and gives it `tag`; other images of the layout stay. The same files give the same digest on any
 * machine. Reads every input once, holds a few MiB of it, and writes it once. After a failure the layout is as it was.
 * The caller frees `out` with hl_oci_image_free(), also after a failure. */
int hl_image_write(const struct hl_image_spec *spec, struct hl_oci_image *out, struct hl_error *err);

struct hl_oci_entry {
    char tag[256]; /* "" if it has none */
    char digest[HL_DIGEST_BYTES];
};

struct hl_oci_list {
    struct hl_oci_entry *entry; /* in the order of index.json */
    size_t n;
};

/* The images of a layout. The caller frees `out` with free(out->entry). */
int hl_oci_list(const char *directory, struct hl_oci_list *out, struct hl_error *err);

/* Reads one image's documents and checks them against their digests and each other; layers are not read. `tag` NULL or
 * "" means the only image, or "latest" of several. A nested index is followed to linux/amd64. The caller frees `out`
 * with hl_oci_image_free(), also after a failure. */
int hl_oci_open(const char *directory, const char *tag, struct hl_oci_image *out, struct hl_error *err);
void hl_oci_image_free(struct hl_oci_image *image);

struct hl_oci_verified {
    size_t images;
    size_t blobs;
    uint64_t bytes;
};

/* Reads everything that `tag` (NULL or "": any entry of the index) leads to and checks sizes, digests, media types, and
 * that configs and layers agree. Compressed layers are checked as they are stored. */
int hl_oci_verify(const char *directory, const char *tag, struct hl_progress *progress, struct hl_oci_verified *out,
                  struct hl_error *err);

#endif
