/* A layer: a tar archive of a few files, the same bytes wherever and whenever it is written. Internal to pack/oci_*.c.
 */
#ifndef HL_PACK_OCI_LAYER_H
#define HL_PACK_OCI_LAYER_H

#include "hotlayer/error.h"
#include "pack/progress.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hl_layer_entry {
    char *path;   /* in the image, without the slash in front */
    char *source; /* the file to read; NULL: a folder */
    mode_t mode;
    uint64_t bytes;
};

struct hl_layer {
    struct hl_layer_entry *entry;
    size_t n;
    uint64_t bytes; /* of all files */
};

/* Adds a file (`source`), or a folder (NULL), at the absolute path `path`; folders on the way to it come with it, 0755.
 */
int hl_layer_add(struct hl_layer *layer, const char *path, const char *source, mode_t mode, struct hl_error *err);
void hl_layer_free(struct hl_layer *layer);

/* Takes the archive piece by piece. */
typedef int hl_layer_sink(void *context, const void *bytes, size_t n, struct hl_error *err);

/* Streams the archive into `sink`, sorted by path; all files carry `mtime`. Fails if a file is no longer what was
 * added. */
int hl_layer_write(struct hl_layer *layer, int64_t mtime, hl_layer_sink *sink, void *context,
                   struct hl_progress *progress, struct hl_error *err);

#endif
