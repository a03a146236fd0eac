/* A layer: a tar archive of a few files, the same bytes wherever and whenever it is made.
 *
 * It is planned, not written: its headers are in memory, its files stay where they are, and any range of the archive
 * can be read. So its size is known before its first byte is, and an upload can go on in the middle.
 */
#ifndef HL_PACK_IMAGE_LAYER_H
#define HL_PACK_IMAGE_LAYER_H

#include "base/bytes.h"
#include "registry/oci/target.h"
#include <sys/types.h>

struct hl_layer_entry {
    char *path;    /* in the image, without the slash in front */
    char *source;  /* the file to read; NULL: a folder, or `content` */
    char *content; /* the file's bytes, where they are no file of this machine */
    mode_t mode;
    uint64_t bytes;
};

/* A piece of the archive. */
struct hl_layer_part {
    uint64_t offset; /* in the archive */
    uint64_t bytes;
    size_t text;  /* of a header or padding: where it begins in `text` */
    size_t entry; /* of a file: whose bytes they are, from `source_offset`; SIZE_MAX: not of a file */
    uint64_t source_offset;
};

struct hl_layer {
    struct hl_layer_entry *entry;
    size_t n;
    struct hl_layer_part *part; /* in order, without gaps */
    size_t n_parts;
    struct hl_bytes text; /* headers and padding */
    uint64_t bytes;       /* of the archive */
    int fd;               /* the file that was read last, and whose it is */
    size_t fd_entry;
};

/* Adds a file (`source`), or a folder (NULL), at the absolute path `path`; folders on the way to it come with it, 0755.
 */
int hl_layer_add(struct hl_layer *layer, const char *path, const char *source, mode_t mode, struct hl_error *err);

/* Adds a file whose bytes are these; they are the layer's from here on, to be freed with free(), also after a failure.
 */
int hl_layer_add_bytes(struct hl_layer *layer, const char *path, char *content, uint64_t bytes, mode_t mode,
                       struct hl_error *err);

/* Lays the archive out, sorted by path; all files carry `mtime`. Nothing can be added after that. */
int hl_layer_plan(struct hl_layer *layer, int64_t mtime, struct hl_error *err);

/* The archive's bytes; valid as long as the layer. Reading fails if a file is no longer what was added. */
void hl_layer_content(struct hl_layer *layer, struct hl_content *out);

/* Begin with {.fd = -1}. */
void hl_layer_free(struct hl_layer *layer);

#endif
