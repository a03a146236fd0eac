/* A download that survives the end of the process.
 *
 *   .partial-HEX    grows only at its end; locked by the process that downloads
 *        |
 *        |  complete, and its digest is right
 *        v
 *   HEX
 *
 * Never trust a partial file: hash it before resuming. If it lost its end in a power cut, or was changed, the digest of
 * the complete blob is wrong; the blob is then downloaded again, once.
 */
#include "registry/oci/download.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20)
/* Start writing to the disk this often, so that the final fsync() finds little to do. */
#define FLUSH_BYTES (32ull << 20)
#define PARTIAL_BYTES (sizeof HL_PARTIAL_PREFIX + HL_DIGEST_HEX)

struct download {
    int directory;
    int fd;
    char name[PARTIAL_BYTES];
    const struct hl_descriptor *blob;
    struct hl_progress *progress;
    EVP_MD_CTX *sha256;
    uint64_t bytes; /* in the file, hashed and counted */
};

bool hl_download_is_done(int directory, const struct hl_descriptor *blob)
{
    struct stat status;
    return !fstatat(directory, hl_digest_file(blob->digest), &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode) &&
           (uint64_t)status.st_size == blob->bytes;
}

/* Returns whether the name still leads to the locked file. The previous owner of the lock may have finished it. */
static bool is_current(const struct download *download)
{
    struct stat named, opened;
    return !fstatat(download->directory, download->name, &named, AT_SYMLINK_NOFOLLOW) &&
           !fstat(download->fd, &opened) && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

/* Opens or creates the partial file, and locks it. */
static int open_partial(struct download *download, struct hl_error *err)
{
    struct stat status;
    for (;;) {
        download->fd =
            openat(download->directory, download->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        if (download->fd < 0 || fstat(download->fd, &status))
            return hl_fail(err, "%s: %s", download->name, strerror(errno));
        if (!S_ISREG(status.st_mode) || status.st_nlink > 1)
            return hl_fail(err, "%s: not one of our files; remove it", download->name);
        while (flock(download->fd, LOCK_EX))
            if (errno != EINTR)
                return hl_fail(err, "%s: cannot lock it: %s", download->name, strerror(errno));
        if (is_current(download))
            return 0;
        close(download->fd);
        download->fd = -1;
    }
}

static int start_hash(struct download *download, struct hl_error *err)
{
    hl_progress_add(download->progress, 0 - download->bytes); /* takes back the bytes counted before */
    download->bytes = 0;
    return EVP_DigestInit_ex(download->sha256, EVP_sha256(), NULL)
               ? 0
               : hl_fail(err, "SHA-256 is not available in this libcrypto");
}

static int empty_partial(struct download *download, struct hl_error *err)
{
    if (ftruncate(download->fd, 0) || lseek(download->fd, 0, SEEK_SET) < 0)
        return hl_fail(err, "%s: %s", download->name, strerror(errno));
    return start_hash(download, err);
}

static int count(struct download *download, const void *bytes, size_t n, struct hl_error *err)
{
    download->bytes += n;
    hl_progress_add(download->progress, n);
    return EVP_DigestUpdate(download->sha256, bytes, n) ? 0 : hl_fail(err, "SHA-256 failed");
}

/* Hashes the bytes that an earlier run left. A file longer than the blob is not a part of it. */
static int hash_partial(struct download *download, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    struct stat status;
    if (!buffer)
        return hl_no_memory(err);
    if (fstat(download->fd, &status))
        return hl_fail(err, "%s: %s", download->name, strerror(errno));
    if ((uint64_t)status.st_size > download->blob->bytes)
        return empty_partial(download, err);
    while (download->bytes < (uint64_t)status.st_size) {
        uint64_t left = (uint64_t)status.st_size - download->bytes;
        ssize_t n = pread(download->fd, buffer, left < READ_BYTES ? (size_t)left : READ_BYTES, (off_t)download->bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* a disk error, or the file was truncated: download it again */
            return empty_partial(download, err);
        if (count(download, buffer, (size_t)n, err))
            return -1;
    }
    return lseek(download->fd, (off_t)download->bytes, SEEK_SET) < 0
               ? hl_fail(err, "%s: %s", download->name, strerror(errno))
               : 0;
}

static int write_on(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct download *download = context;
    if (hl_file_write(download->fd, bytes, n) < 0)
        return hl_fail(err, "cannot write: %s", strerror(errno));
    uint64_t before = download->bytes / FLUSH_BYTES;
    if (count(download, bytes, n, err))
        return -1;
    if (download->bytes / FLUSH_BYTES != before)
        sync_file_range(download->fd, (off_t)(before * FLUSH_BYTES), FLUSH_BYTES, SYNC_FILE_RANGE_WRITE);
    return 0;
}

/* Downloads the missing bytes. Sets *good if the whole has the right digest. */
static int complete(struct download *download, struct hl_store *from, bool *good, char found[HL_DIGEST_BYTES],
                    struct hl_error *err)
{
    const struct hl_descriptor *blob = download->blob;
    unsigned char sha256[EVP_MAX_MD_SIZE];
    if (from->class->read(from, blob, download->bytes, blob->bytes - download->bytes, write_on, download, err))
        return -1;
    if (!EVP_DigestFinal_ex(download->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, found);
    *good = !strcmp(found, blob->digest);
    return 0;
}

static int fetch(struct download *download, struct hl_store *from, struct hl_error *err)
{
    char found[HL_DIGEST_BYTES];
    bool good = false;
    if (start_hash(download, err) || hash_partial(download, err))
        return -1;
    bool resumed = download->bytes > 0;
    if (complete(download, from, &good, found, err))
        return -1;
    if (!good && resumed && (empty_partial(download, err) || complete(download, from, &good, found, err)))
        return -1;
    if (!good) {
        unlinkat(download->directory, download->name, 0);
        return hl_fail(err, "%s: damaged: its content is %s", download->blob->digest, found);
    }
    if (fsync(download->fd))
        return hl_fail(err, "cannot write: %s", strerror(errno));
    const char *name = hl_digest_file(download->blob->digest);
    return renameat(download->directory, download->name, download->directory, name)
               ? hl_fail(err, "cannot name the file %s: %s", name, strerror(errno))
               : 0;
}

/* Removes a partial file that is still empty. */
static void forget_empty(const struct download *download)
{
    struct stat status;
    if (!fstat(download->fd, &status) && !status.st_size && is_current(download))
        unlinkat(download->directory, download->name, 0);
}

int hl_download(struct hl_store *from, const struct hl_descriptor *blob, int directory, struct hl_progress *progress,
                struct hl_error *err)
{
    struct download download = {.directory = directory, .fd = -1, .blob = blob, .progress = progress};
    snprintf(download.name, sizeof download.name, HL_PARTIAL_PREFIX "%s", hl_digest_file(blob->digest));
    int status = 0;
    if (!hl_download_is_done(directory, blob))
        status = open_partial(&download, err);
    if (!status && download.fd < 0) {
        hl_progress_add(progress, blob->bytes);
    } else if (!status && hl_download_is_done(directory, blob)) { /* another process finished it during the wait */
        unlinkat(directory, download.name, 0);
        hl_progress_add(progress, blob->bytes);
    } else if (!status) {
        download.sha256 = EVP_MD_CTX_new();
        status = download.sha256 ? fetch(&download, from, err) : hl_no_memory(err);
        EVP_MD_CTX_free(download.sha256);
    }
    if (status && download.fd >= 0)
        forget_empty(&download);
    if (download.fd >= 0)
        close(download.fd);
    return status;
}
