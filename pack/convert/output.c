/* Output files: locked while they are written, synced, and renamed when all are complete. Shards are renamed first and
 * the head last, since a model exists when its head does. */
#include "pack/convert/output.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Takes the lock of a file that we have opened. The previous holder may have renamed or removed the file meanwhile;
 * then it is not ours to write. */
static bool lock_output(const struct hl_output *out)
{
    struct stat held, named;
    return flock(out->fd, LOCK_EX | LOCK_NB) == 0 && fstat(out->fd, &held) == 0 && stat(out->part, &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* Fails if `path` is a file other than a head or an empty file: a mistyped name must not destroy a published model. */
static int check_replaceable(const char *path, struct hl_error *err)
{
    char magic[sizeof HL_HEADER_MAGIC - 1];
    HL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof magic);
    if (n == 0 || (n == (ssize_t)sizeof magic && memcmp(magic, HL_HEADER_MAGIC, sizeof magic) == 0))
        return 0;
    return hl_fail(err, "%s: exists and is not a .hot file; remove it or choose another name", path);
}

int hl_output_open(const char *path, uint32_t index, struct hl_output *out, struct hl_error *err)
{
    if (index != HL_NONE && hl_hot_shard_path(path, index, out->path, err) < 0)
        return -1;
    if (index == HL_NONE && snprintf(out->path, sizeof out->path, "%s", path) >= (int)sizeof out->path)
        return hl_fail(err, "%s: the path is too long", path);
    if (snprintf(out->part, sizeof out->part, "%s.part", out->path) >= (int)sizeof out->part)
        return hl_fail(err, "%s: the path is too long", path);
    struct stat st;
    if (stat(out->path, &st) == 0 && !S_ISREG(st.st_mode)) /* otherwise only the last rename would fail */
        return hl_fail(err, "%s: exists and is not a regular file", out->path);
    if (index == HL_NONE && check_replaceable(out->path, err) < 0)
        return -1;
    out->fd = open(out->part, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (out->fd < 0)
        return hl_fail(err, "%s: cannot be created: %s", out->part, strerror(errno));
    if (!lock_output(out)) {
        int result = hl_fail(err, "%s: another process is writing it", out->part);
        close(out->fd);
        out->fd = -1;
        return result;
    }
    if (ftruncate(out->fd, 0) < 0)
        return hl_fail(err, "%s: cannot be truncated: %s", out->part, strerror(errno));
    return 0;
}

int hl_output_write(const struct hl_output *out, uint64_t at, const void *data, size_t n, struct hl_error *err)
{
    for (const char *next = data; n;) {
        ssize_t done = pwrite(out->fd, next, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return hl_fail(err, "%s: cannot be written: %s", out->part, strerror(done < 0 ? errno : ENOSPC));
        next += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

void hl_output_flush(const struct hl_output *out, uint64_t at, uint64_t n)
{
    sync_file_range(out->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE); /* only advice */
}

static int sync_folder_of(const char *path, struct hl_error *err)
{
    HL_FREE char *copy = strdup(path);
    if (!copy)
        return hl_no_memory(err);
    HL_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        return hl_fail(err, "%s: its folder cannot be synced: %s", path, strerror(errno));
    return 0;
}

static void remove_stale_shards(const char *path, uint32_t n_shards)
{
    char name[HL_PATH_BYTES];
    struct hl_error ignored;
    for (uint32_t i = n_shards; i < HL_MAX_SHARDS && hl_hot_shard_path(path, i, name, &ignored) == 0; i++)
        if (unlink(name) < 0)
            break;
}

/* Removes stale shards before the head is renamed: after that, the next writer may begin. */
int hl_output_finish(struct hl_output *outputs, uint32_t n_shards, struct hl_error *err)
{
    for (uint32_t i = 0; i <= n_shards; i++)
        if (fsync(outputs[i].fd) < 0)
            return hl_fail(err, "%s: cannot be synced: %s", outputs[i].part, strerror(errno));
    for (uint32_t i = 0; i <= n_shards; i++) {
        if (i == n_shards)
            remove_stale_shards(outputs[i].path, n_shards);
        if (rename(outputs[i].part, outputs[i].path) < 0)
            return hl_fail(err, "%s: cannot be renamed: %s", outputs[i].part, strerror(errno));
    }
    return sync_folder_of(outputs[0].path, err);
}

void hl_output_close(struct hl_output *outputs, uint32_t n, bool discard)
{
    for (uint32_t i = 0; i < n; i++) {
        if (outputs[i].fd < 0)
            continue;
        if (discard)
            unlink(outputs[i].part);
        close(outputs[i].fd);
        outputs[i].fd = -1;
    }
}
