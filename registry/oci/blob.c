/* Blobs are hashed while they are written, so the name is known after the last byte, and the file gets it then. Until
 * then the file has no name at all (O_TMPFILE): however the process ends, nothing is left over. On file systems without
 * O_TMPFILE the file has a hidden name instead.
 */
#include "registry/oci/blob.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

/* Start writing to the disk this often, so that the final fsync() finds little to do. */
#define FLUSH_BYTES (32ull << 20)

static int random_name(char name[32], struct hl_error *err)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return hl_fail(err, "cannot get a random number: %s", strerror(errno));
    snprintf(name, 32, ".hotlayer-%016llx", (unsigned long long)number);
    return 0;
}

int hl_temporary_open(struct hl_temporary *file, int directory, struct hl_error *err)
{
    *file = (struct hl_temporary){.directory = directory};
    /* An unnamed file gets its name through /proc, which a bare chroot lacks. */
    errno = EOPNOTSUPP;
    file->fd = access("/proc/self/fd", X_OK) ? -1 : openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)) {
        if (random_name(file->name, err))
            return -1;
        file->fd = openat(directory, file->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    }
    return file->fd < 0 ? hl_fail(err, "cannot create a file there: %s", strerror(errno)) : 0;
}

int hl_temporary_write(struct hl_temporary *file, const void *bytes, size_t n, struct hl_error *err)
{
    return hl_file_write(file->fd, bytes, n) < 0 ? hl_fail(err, "cannot write: %s", strerror(errno)) : 0;
}

int hl_temporary_publish(struct hl_temporary *file, const char *name, struct hl_error *err)
{
    if (fsync(file->fd))
        return hl_fail(err, "cannot write: %s", strerror(errno));
    if (!file->name[0]) {
        char path[40];
        if (random_name(file->name, err))
            return -1;
        snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
        if (linkat(AT_FDCWD, path, file->directory, file->name, AT_SYMLINK_FOLLOW)) {
            file->name[0] = 0;
            return hl_fail(err, "cannot name the file %s: %s", name, strerror(errno));
        }
    }
    if (renameat(file->directory, file->name, file->directory, name))
        return hl_fail(err, "cannot name the file %s: %s", name, strerror(errno));
    file->name[0] = 0;
    hl_temporary_discard(file);
    return 0;
}

void hl_temporary_discard(struct hl_temporary *file)
{
    if (file->name[0])
        unlinkat(file->directory, file->name, 0);
    if (file->fd >= 0)
        close(file->fd);
    file->name[0] = 0;
    file->fd = -1;
}

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
