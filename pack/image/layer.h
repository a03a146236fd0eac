/* A layer: a tar archive of a few files whose bytes are the same on every machine and at any time.
 *
 * It is planned, not written: its headers are in memory, its files stay where they are, and any range of the archive
 * can be read. So its size is known before its first byte is produced, and an upload can resume in the middle.
 */
#ifndef HL_PACK_IMAGE_LAYER_H
#define HL_PACK_IMAGE_LAYER_H

#include "base/bytes.h"
#include "registry/oci/target.h"
#include <sys/types.h>

struct hl_layer_entry {
    char *path;    /* in the image, without the leading slash */
    char *source;  /* the file to read; NULL: a folder, or `content` */
    char *content; /* the file's bytes, if they are not in a file of this machine */
    mode_t mode;
    uint64_t bytes;
};

/* A piece of the archive. */
struct hl_layer_part {
    uint64_t offset; /* in the archive */
    uint64_t bytes;
    size_t text;  /* for a header or padding: where it begins in `text` */
    size_t entry; /* for a file's bytes: the entry, read from `source_offset`; SIZE_MAX: not a file */
    uint64_t source_offset;
};

struct hl_layer {
    struct hl_layer_entry *entry;
    size_t n;
    struct hl_layer_part *part; /* in order, without gaps */
    size_t n_parts;
    struct hl_bytes text; /* headers and padding */
    uint64_t bytes;       /* of the archive */
    int fd;               /* the file that was read last, kept open */
    size_t fd_entry;      /* the entry that `fd` belongs to */
};

/* Adds a file (`source`) or a folder (NULL) at the absolute path `path`, and every missing parent folder with mode
 * 0755. */
int hl_layer_add(struct hl_layer *layer, const char *path, const char *source, mode_t mode, struct hl_error *err);

/* Adds a file with these bytes. The layer takes `content` over, also after a failure, and frees it with free(). */
int hl_layer_add_bytes(struct hl_layer *layer, const char *path, char *content, uint64_t bytes, mode_t mode,
                       struct hl_error *err);

/* Lays the archive out, sorted by path; all files get the time `mtime`. Nothing can be added afterwards. */
int hl_layer_plan(struct hl_layer *layer, int64_t mtime, struct hl_error *err);

/* Returns the archive's bytes in `out`; valid as long as the layer. Reading fails if a file changed since it was
 * added. */
void hl_layer_content(struct hl_layer *layer, struct hl_content *out);

/* Frees the layer's memory and closes its file. A layer begins as {.fd = -1}. */
void hl_layer_free(struct hl_layer *layer);

#endif
