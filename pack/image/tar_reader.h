/* Reads the tar of a layer of an image, wherever the layer is stored; writes nothing.
 *
 * Of a plain tar only the needed parts are read: one small range for each header, larger ones for the contents of a
 * file. A compressed layer is read from its beginning.
 *
 * Format: OCI image-spec 1.1, layer.md.
 */
#ifndef HL_PACK_IMAGE_TAR_READER_H
#define HL_PACK_IMAGE_TAR_READER_H

#include "registry/oci/store.h"

enum hl_tar_kind { HL_TAR_FILE, HL_TAR_FOLDER, HL_TAR_SYMLINK, HL_TAR_HARDLINK, HL_TAR_OTHER };

struct hl_tar_entry {
    const char *path; /* relative, without "." and empty components; "" is the root. Valid until the next entry */
    enum hl_tar_kind kind;
    uint64_t bytes; /* of a file's contents */
    bool sparse;    /* the file has holes: it is larger than its bytes in the archive */
};

struct hl_tar;

/* Opens a layer. `store` and `layer` must outlive it. */
int hl_tar_open(struct hl_store *store, const struct hl_descriptor *layer, struct hl_tar **out, struct hl_error *err);

/* Returns 1 and the next entry, or 0 after the last. Fails if a name is absolute or contains "..", or if a file claims
 * to be larger than the plain tar around it. Skips an entry whose name cannot be converted to any character set or is
 * longer than a path: no model's file has such a name, but Debian's certificates do. */
int hl_tar_next(struct hl_tar *tar, struct hl_tar_entry *out, struct hl_error *err);

/* Reads the next bytes of the entry's contents; *n = 0 at their end. */
int hl_tar_read(struct hl_tar *tar, void *buffer, size_t size, size_t *n, struct hl_error *err);

void hl_tar_close(struct hl_tar **tar);

#define HL_TAR __attribute__((cleanup(hl_tar_close))) struct hl_tar

#endif
