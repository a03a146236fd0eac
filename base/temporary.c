/* Until it is complete, the file has no name at all (O_TMPFILE): however the process ends, it leaves nothing. On file
 * systems without O_TMPFILE the file has a hidden name, ".hotlayer-" and 16 digits.
 *
 * linkat() cannot replace a file. So a complete file first gets a hidden name, and rename() replaces the old file.
 */
#include "base/temporary.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

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
    /* Naming such a file needs /proc, which a bare chroot does not have. */
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

int hl_temporary_save(int directory, const char *name, const char *text, struct hl_error *err)
{
    HL_TEMPORARY struct hl_temporary file;
    if (hl_temporary_open(&file, directory, err) || hl_temporary_write(&file, text, strlen(text), err) ||
        hl_temporary_publish(&file, name, err))
        return -1;
    return fsync(directory) && errno != EINVAL ? hl_fail(err, "cannot sync the folder: %s", strerror(errno)) : 0;
}
