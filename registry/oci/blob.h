/* Files that appear whole or not at all, and blobs: such files, named by the SHA-256 of their bytes. Only registry/
 * uses blobs; pack/image/pull*.c uses the files too. */
#ifndef HL_REGISTRY_OCI_BLOB_H
#define HL_REGISTRY_OCI_BLOB_H

#include "base/error.h"
#include "registry/oci/digest.h"
#include <openssl/evp.h>
#include <stdint.h>

/* A file without a name in `directory` (an open folder that must stay open longer). */
struct hl_temporary {
    int directory;
    int fd;        /* -1: not open */
    char name[32]; /* "" while the file has no name at all */
};

int hl_temporary_open(struct hl_temporary *file, int directory, struct hl_error *err);
int hl_temporary_write(struct hl_temporary *file, const void *bytes, size_t n, struct hl_error *err);
/* Makes the bytes durable, names the file `name`, replacing an existing file, and closes it. */
int hl_temporary_publish(struct hl_temporary *file, const char *name, struct hl_error *err);
/* Closes the file and removes it, whatever its state; harmless after publish. */
void hl_temporary_discard(struct hl_temporary *file);

struct hl_blob {
    struct hl_temporary file;
    EVP_MD_CTX *sha256;
    uint64_t bytes;
};

/* The result of storing a blob: digest and size, and whether the layout lacked it before. */
struct hl_blob_name {
    char digest[HL_DIGEST_BYTES];
    uint64_t bytes;
    bool fresh;
};

/* Opens a blob in `directory`, which is blobs/sha256. */
int hl_blob_open(struct hl_blob *blob, int directory, struct hl_error *err);
int hl_blob_write(struct hl_blob *blob, const void *bytes, size_t n, struct hl_error *err);
/* Gives the blob its name. `expected` is the digest that it must have, or NULL. */
int hl_blob_publish(struct hl_blob *blob, const char *expected, struct hl_blob_name *out, struct hl_error *err);
void hl_blob_discard(struct hl_blob *blob);

#endif
