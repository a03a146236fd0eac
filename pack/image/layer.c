/* One layer of an image, as an uncompressed tar.
 *
 *   ustar header (512) | the file, zeros up to 512 | header | ... | 1024 zeros
 *
 * Nothing of the building machine is in it. Paths are sorted, owners are 0 and have no names, and the caller sets the
 * times. The archive is not padded to a tape's block. A path that is too long for the ustar header gets a pax header
 * before it ("restricted pax"). libarchive lays the archive out once, without reading the files. It gets a mapping of
 * each file and passes the pointers on untouched. A pointer into a mapping is recorded as a part of that file.
 */
#include "pack/image/layer.h"
#include "base/cleanup.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TEXT_LIMIT ((size_t)1 << 20) /* of all headers: a layer has a few dozen files */

static bool is_file(const struct hl_layer_entry *entry)
{
    return entry->source || entry->content;
}

static bool has_entry(const struct hl_layer *layer, const char *path, size_t length)
{
    for (size_t i = 0; i < layer->n; i++)
        if (!strncmp(layer->entry[i].path, path, length) && !layer->entry[i].path[length])
            return true;
    return false;
}

/* Appends a folder; the caller may turn it into a file. */
static struct hl_layer_entry *append(struct hl_layer *layer, const char *path, size_t length, mode_t mode,
                                     struct hl_error *err)
{
    struct hl_layer_entry *grown = realloc(layer->entry, (layer->n + 1) * sizeof *grown);
    char *copy = grown ? strndup(path, length) : NULL;
    if (grown)
        layer->entry = grown;
    if (!copy) {
        hl_no_memory(err);
        return NULL;
    }
    grown[layer->n] = (struct hl_layer_entry){.path = copy, .mode = mode};
    return &grown[layer->n++];
}

/* Appends the missing parent folders of `path`, then an entry for `path`. */
static struct hl_layer_entry *append_path(struct hl_layer *layer, const char *path, mode_t mode, struct hl_error *err)
{
    if (has_entry(layer, path + 1, strlen(path + 1))) {
        hl_fail(err, "the image would contain two files named %s", path);
        return NULL;
    }
    path++;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - path);
        if (!has_entry(layer, path, length) && !append(layer, path, length, 0755, err))
            return NULL;
    }
    return append(layer, path, strlen(path), mode, err);
}

int hl_layer_add(struct hl_layer *layer, const char *path, const char *source, mode_t mode, struct hl_error *err)
{
    struct stat status = {0};
    if (source && stat(source, &status))
        return hl_fail(err, "%s: %s", source, strerror(errno));
    if (source && !S_ISREG(status.st_mode))
        return hl_fail(err, "%s: not a regular file", source);
    struct hl_layer_entry *entry = append_path(layer, path, mode, err);
    if (!entry || !source)
        return entry ? 0 : -1;
    entry->bytes = (uint64_t)status.st_size;
    entry->source = strdup(source);
    return entry->source ? 0 : hl_no_memory(err);
}

int hl_layer_add_bytes(struct hl_layer *layer, const char *path, char *content, uint64_t bytes, mode_t mode,
                       struct hl_error *err)
{
    struct hl_layer_entry *entry = append_path(layer, path, mode, err);
    if (!entry) {
        free(content);
        return -1;
    }
    entry->content = content;
    entry->bytes = bytes;
    return 0;
}

void hl_layer_free(struct hl_layer *layer)
{
    for (size_t i = 0; i < layer->n; i++) {
        free(layer->entry[i].path);
        free(layer->entry[i].source);
        free(layer->entry[i].content);
    }
    free(layer->entry);
    free(layer->part);
    free(layer->text.data);
    if (layer->fd >= 0)
        close(layer->fd);
    *layer = (struct hl_layer){.fd = -1};
}

struct planning {
    struct archive *archive;
    struct hl_layer *layer;
    size_t entry;             /* the file that is being written, if `mapped` */
    const unsigned char *map; /* its mapping */
    struct hl_error *err;
    bool failed; /* `err` says why; later parts are discarded */
};

static struct hl_layer_part *add_part(struct hl_layer *layer, uint64_t bytes, struct hl_error *err)
{
    struct hl_layer_part *grown = realloc(layer->part, (layer->n_parts + 1) * sizeof *grown);
    if (!grown) {
        hl_no_memory(err);
        return NULL;
    }
    layer->part = grown;
    grown[layer->n_parts] = (struct hl_layer_part){.offset = layer->bytes, .bytes = bytes, .entry = SIZE_MAX};
    layer->bytes += bytes;
    return &grown[layer->n_parts++];
}

static int add_text(struct hl_layer *layer, const void *bytes, size_t n, struct hl_error *err)
{
    if (hl_bytes_append(&layer->text, bytes, n, TEXT_LIMIT) < 0)
        return errno == EFBIG ? hl_fail(err, "the headers of a layer need more than %zu bytes", TEXT_LIMIT)
                              : hl_no_memory(err);
    struct hl_layer_part *part = add_part(layer, n, err);
    if (!part)
        return -1;
    part->text = layer->text.size - n;
    return 0;
}

static int add_range(struct planning *planning, uint64_t source_offset, size_t n, struct hl_error *err)
{
    struct hl_layer_part *part = add_part(planning->layer, n, err);
    if (!part)
        return -1;
    part->entry = planning->entry;
    part->source_offset = source_offset;
    return 0;
}

static ssize_t take(struct archive *archive, void *context, const void *bytes, size_t n)
{
    (void)archive;
    struct planning *planning = context;
    uintptr_t at = (uintptr_t)bytes, map = (uintptr_t)planning->map;
    bool mapped = map && at >= map && at - map < planning->layer->entry[planning->entry].bytes;
    if (!planning->failed &&
        (mapped ? add_range(planning, at - map, n, planning->err) : add_text(planning->layer, bytes, n, planning->err)))
        planning->failed = true;
    /* Report success always: libarchive 3.6 never frees the filters' buffers of an archive whose write callback failed,
     * or on which archive_write_fail() was called. */
    return (ssize_t)n;
}

/* Fails if an archive function returned an error or take() failed. */
static int check(struct planning *planning, int status, const char *path)
{
    if (planning->failed || status == ARCHIVE_OK)
        return planning->failed ? -1 : 0;
    const char *why = archive_error_string(planning->archive);
    return hl_fail(planning->err, "%s: cannot add it to the layer: %s", path, why ? why : "unknown reason");
}

static int plan_header(struct planning *planning, const struct hl_layer_entry *entry, int64_t mtime)
{
    struct archive_entry *header = archive_entry_new();
    if (!header)
        return hl_no_memory(planning->err);
    archive_entry_set_pathname(header, entry->path);
    archive_entry_set_filetype(header, is_file(entry) ? AE_IFREG : AE_IFDIR);
    archive_entry_set_perm(header, entry->mode);
    archive_entry_set_uid(header, 0);
    archive_entry_set_gid(header, 0);
    archive_entry_set_size(header, (int64_t)entry->bytes);
    archive_entry_set_mtime(header, mtime, 0);
    int status = archive_write_header(planning->archive, header);
    archive_entry_free(header);
    return check(planning, status, entry->path);
}

/* Opens an entry's file; fails if its size or kind changed since it was added. */
static int open_entry(const struct hl_layer_entry *entry, int *out, struct hl_error *err)
{
    struct stat status;
    int fd = open(entry->source, O_RDONLY | O_CLOEXEC);
    *out = fd;
    if (fd < 0 || fstat(fd, &status))
        return hl_fail(err, "%s: %s", entry->source, strerror(errno));
    return S_ISREG(status.st_mode) && (uint64_t)status.st_size == entry->bytes
               ? 0
               : hl_fail(err, "%s: changed while the image was being made", entry->source);
}

static int plan_bytes(struct planning *planning, const struct hl_layer_entry *entry, const void *at)
{
    size_t done = 0, bytes = (size_t)entry->bytes;
    la_ssize_t n = 1;
    planning->map = at;
    for (; done < bytes && n > 0; done += (size_t)n) /* one call writes less than 2 GiB */
        n = archive_write_data(planning->archive, planning->map + done, bytes - done);
    planning->map = NULL;
    return check(planning, n > 0 ? ARCHIVE_OK : ARCHIVE_FATAL, entry->path);
}

static int plan_file(struct planning *planning, const struct hl_layer_entry *entry)
{
    HL_CLOSE int fd = -1;
    if (entry->source && open_entry(entry, &fd, planning->err))
        return -1;
    if (entry->content || !entry->bytes)
        return entry->bytes ? plan_bytes(planning, entry, entry->content) : 0;
    void *map = mmap(NULL, (size_t)entry->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return hl_fail(planning->err, "%s: cannot map it: %s", entry->source, strerror(errno));
    int status = plan_bytes(planning, entry, map);
    munmap(map, (size_t)entry->bytes);
    return status;
}

static int plan_all(struct planning *planning, int64_t mtime)
{
    struct archive *archive = planning->archive;
    struct hl_layer *layer = planning->layer;
    if (archive_write_set_format_pax_restricted(archive) || archive_write_set_bytes_per_block(archive, 0) ||
        archive_write_set_bytes_in_last_block(archive, 1) || archive_write_open(archive, planning, NULL, take, NULL))
        return check(planning, ARCHIVE_FATAL, "the layer");
    for (planning->entry = 0; planning->entry < layer->n; planning->entry++) {
        const struct hl_layer_entry *entry = &layer->entry[planning->entry];
        if (plan_header(planning, entry, mtime) || (is_file(entry) && plan_file(planning, entry)))
            return -1;
    }
    return check(planning, archive_write_close(archive), "the layer");
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct hl_layer_entry *)a)->path, ((const struct hl_layer_entry *)b)->path);
}

int hl_layer_plan(struct hl_layer *layer, int64_t mtime, struct hl_error *err)
{
    struct planning planning = {.archive = archive_write_new(), .layer = layer, .err = err};
    if (!planning.archive)
        return hl_no_memory(err);
    qsort(layer->entry, layer->n, sizeof *layer->entry, by_path);
    int status = plan_all(&planning, mtime);
    planning.failed = status != 0; /* freeing an open archive writes its trailer: ignore it after a failure */
    archive_write_free(planning.archive);
    return status;
}

/* Returns the part that contains this offset. */
static const struct hl_layer_part *find_part(const struct hl_layer *layer, uint64_t offset)
{
    size_t low = 0, high = layer->n_parts;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (layer->part[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return &layer->part[low];
}

static int read_file(struct hl_layer *layer, size_t entry, uint64_t offset, char *out, size_t n, struct hl_error *err)
{
    const struct hl_layer_entry *file = &layer->entry[entry];
    if (file->content) {
        memcpy(out, file->content + offset, n);
        return 0;
    }
    if (layer->fd < 0 || layer->fd_entry != entry) {
        if (layer->fd >= 0)
            close(layer->fd);
        layer->fd = -1;
        layer->fd_entry = entry;
        if (open_entry(file, &layer->fd, err))
            return -1;
        posix_fadvise(layer->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    while (n) {
        ssize_t done = pread(layer->fd, out, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return hl_fail(err, "%s: %s", file->source, done ? strerror(errno) : "shrank while it was being read");
        out += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

static int read_archive(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    struct hl_layer *layer = context;
    for (char *out = buffer; n;) {
        const struct hl_layer_part *part = find_part(layer, offset);
        uint64_t inside = offset - part->offset, left = part->bytes - inside;
        size_t take = left < n ? (size_t)left : n;
        if (part->entry == SIZE_MAX)
            memcpy(out, layer->text.data + part->text + inside, take);
        else if (read_file(layer, part->entry, part->source_offset + inside, out, take, err))
            return -1;
        out += take;
        offset += take;
        n -= take;
    }
    return 0;
}

void hl_layer_content(struct hl_layer *layer, struct hl_content *out)
{
    *out = (struct hl_content){.bytes = layer->bytes, .read = read_archive, .context = layer};
}
