/* Blobs are hashed while they are written, so the name is known after the last byte, and the file gets it then
 * (base/temporary.h). */
#include "registry/oci/blob.h"
#include <fcntl.h>
#include <sys/stat.h>

/* Start writing to the disk this often, so that the final fsync() finds little to do. */
#define FLUSH_BYTES (32ull << 20)

int hl_blob_open(struct hl_blob *blob, int directory, struct hl_error *err)
{
    *blob = (struct hl_blob){.file = {.fd = -1}, .sha256 = EVP_MD_CTX_new()};
    if (!blob->sha256 || !EVP_DigestInit_ex(blob->sha256, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 is not available in this libcrypto");
    return hl_temporary_open(&blob->file, directory, err);
}

int hl_blob_write(struct hl_blob *blob, const void *bytes, size_t n, struct hl_error *err)
{
    if (!EVP_DigestUpdate(blob->sha256, bytes, n))
        return hl_fail(err, "SHA-256 failed");
    if (hl_temporary_write(&blob->file, bytes, n, err))
        return -1;
    uint64_t before = blob->bytes / FLUSH_BYTES;
    blob->bytes += n;
    if (blob->bytes / FLUSH_BYTES != before) /* a hint: where it is not supported, fsync() does all the work */
        sync_file_range(blob->file.fd, (off_t)(before * FLUSH_BYTES), FLUSH_BYTES, SYNC_FILE_RANGE_WRITE);
    return 0;
}

int hl_blob_publish(struct hl_blob *blob, const char *expected, struct hl_blob_name *out, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    struct stat status;
    if (!EVP_DigestFinal_ex(blob->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, out->digest);
    if (expected && strcmp(out->digest, expected))
        return hl_fail(err, "%s: damaged: its content is %s", expected, out->digest);
    out->bytes = blob->bytes;
    out->fresh = fstatat(blob->file.directory, hl_digest_file(out->digest), &status, AT_SYMLINK_NOFOLLOW) != 0;
    return hl_temporary_publish(&blob->file, hl_digest_file(out->digest), err);
}

void hl_blob_discard(struct hl_blob *blob)
{
    hl_temporary_discard(&blob->file);
    EVP_MD_CTX_free(blob->sha256);
    blob->sha256 = NULL;
}
