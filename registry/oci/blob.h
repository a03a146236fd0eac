/* Blobs: files that appear whole or not at all, named by the SHA-256 of their bytes. Only registry/
 * uses them. */
#ifndef HL_REGISTRY_OCI_BLOB_H
#define HL_REGISTRY_OCI_BLOB_H

#include "base/temporary.h"
#include "registry/oci/digest.h"
#include <openssl/evp.h>
#include <stdint.h>

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
