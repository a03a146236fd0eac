#include "base/file.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int hl_file_map(const char *folder, const char *name, bool optional, struct hl_view *out, struct hl_error *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    *out = (struct hl_view){NULL, 0};
    if (n < 0 || n >= (int)sizeof path)
        return hl_fail(err, "%s/%s: the path is too long", folder, name);
    HL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return optional && errno == ENOENT ? 0 : hl_fail(err, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return hl_fail(err, "%s: not a regular file", path);
    if (st.st_size == 0)
        return hl_fail(err, "%s: the file is empty", path);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return hl_fail(err, "%s: cannot be mapped: %s", path, strerror(errno));
    *out = (struct hl_view){map, (size_t)st.st_size};
    return 0;
}

void hl_file_unmap(struct hl_view *view)
{
    if (view->data)
        munmap((void *)(uintptr_t)view->data, view->size);
    *view = (struct hl_view){NULL, 0};
}

int hl_file_write(int fd, const void *bytes, size_t n)
{
    for (const char *next = bytes; n;) {
        ssize_t done = write(fd, next, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            errno = done < 0 ? errno : ENOSPC;
            return -1;
        }
        next += done;
        n -= (size_t)done;
    }
    return 0;
}
