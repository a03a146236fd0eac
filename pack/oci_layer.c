/* One layer of an image, as an uncompressed tar.
 *
 *   ustar header (512) | the file, zeros up to 512 | header | ... | 1024 zeros
 *
 * Nothing of the building machine is in it: paths are sorted, owners are 0 without a name, times are the caller's, and
 * the archive is not padded to a tape's block. A path that is too long for the ustar header gets a pax header in front
 * ("restricted pax"). libarchive hands large writes through without a copy: a shard's bytes go from the read buffer to
 * the sink.
 */
#include "pack/oci_layer.h"
#include "hotlayer/cleanup.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20) /* larger ones fall out of the cache between read, hash and write */

static bool has_entry(const struct hl_layer *layer, const char *path, size_t length)
{
    for (size_t i = 0; i < layer->n; i++)
        if (!strncmp(layer->entry[i].path, path, length) && !layer->entry[i].path[length])
            return true;
    return false;
}

static int append(struct hl_layer *layer, const char *path, size_t length, const char *source, mode_t mode,
                  uint64_t bytes, struct hl_error *err)
{
    struct hl_layer_entry *grown = realloc(layer->entry, (layer->n + 1) * sizeof *grown);
    if (!grown)
        return hl_fail(err, "out of memory");
    layer->entry = grown;
    struct hl_layer_entry *entry = &layer->entry[layer->n++];
    *entry = (struct hl_layer_entry){
        .path = strndup(path, length), .source = source ? strdup(source) : NULL, .mode = mode, .bytes = bytes};
    layer->bytes += bytes;
    return !entry->path || (source && !entry->source) ? hl_fail(err, "out of memory") : 0;
}

int hl_layer_add(struct hl_layer *layer, const char *path, const char *source, mode_t mode, struct hl_error *err)
{
    struct stat status = {0};
    if (source && stat(source, &status))
        return hl_fail(err, "%s: %s", source, strerror(errno));
    if (source && !S_ISREG(status.st_mode))
        return hl_fail(err, "%s: not a regular file", source);
    if (has_entry(layer, path + 1, strlen(path + 1)))
        return hl_fail(err, "two files of the image would be %s", path);
    path++;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - path);
        if (!has_entry(layer, path, length) && append(layer, path, length, NULL, 0755, 0, err))
            return -1;
    }
    return append(layer, path, strlen(path), source, mode, source ? (uint64_t)status.st_size : 0, err);
}

void hl_layer_free(struct hl_layer *layer)
{
    for (size_t i = 0; i < layer->n; i++) {
        free(layer->entry[i].path);
        free(layer->entry[i].source);
    }
    free(layer->entry);
    *layer = (struct hl_layer){0};
}

struct stream {
    struct archive *archive;
    hl_layer_sink *sink;
    void *context;
    struct hl_progress *progress;
    struct hl_error *err;
    bool failed; /* err holds why; what comes now is thrown away */
};

static ssize_t pass_on(struct archive *archive, void *context, const void *bytes, size_t n)
{
    (void)archive;
    struct stream *stream = context;
    if (!stream->failed && stream->sink(stream->context, bytes, n, stream->err))
        stream->failed = true;
    /* An archive that is told of a failure never frees what it holds (libarchive 3.6), so it hears of none. */
    return (ssize_t)n;
}

/* What an archive function returned, and whether the sink took what it wrote. */
static int check(struct stream *stream, int status, const char *path)
{
    if (stream->failed || status == ARCHIVE_OK)
        return stream->failed ? -1 : 0;
    const char *why = archive_error_string(stream->archive);
    return hl_fail(stream->err, "%s: cannot archive it: %s", path, why ? why : "unknown reason");
}

static int copy_file(struct stream *stream, const struct hl_layer_entry *entry, int fd, unsigned char *buffer)
{
    for (uint64_t left = entry->bytes; left;) {
        size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
        ssize_t n = read(fd, buffer, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return hl_fail(stream->err, "%s: %s", entry->source, strerror(errno));
        if (n == 0)
            return hl_fail(stream->err, "%s: became shorter while it was read", entry->source);
        int status = archive_write_data(stream->archive, buffer, (size_t)n) == n ? ARCHIVE_OK : ARCHIVE_FATAL;
        if (check(stream, status, entry->source))
            return -1;
        hl_progress_add(stream->progress, (uint64_t)n);
        left -= (uint64_t)n;
    }
    return 0;
}

static int write_header(struct stream *stream, const struct hl_layer_entry *entry, int64_t mtime)
{
    struct archive_entry *header = archive_entry_new();
    if (!header)
        return hl_fail(stream->err, "out of memory");
    archive_entry_set_pathname(header, entry->path);
    archive_entry_set_filetype(header, entry->source ? AE_IFREG : AE_IFDIR);
    archive_entry_set_perm(header, entry->mode);
    archive_entry_set_uid(header, 0);
    archive_entry_set_gid(header, 0);
    archive_entry_set_size(header, (int64_t)entry->bytes);
    archive_entry_set_mtime(header, mtime, 0);
    int status = archive_write_header(stream->archive, header);
    archive_entry_free(header);
    return check(stream, status, entry->path);
}

static int write_entry(struct stream *stream, const struct hl_layer_entry *entry, int64_t mtime, unsigned char *buffer)
{
    HL_CLOSE int fd = entry->source ? open(entry->source, O_RDONLY | O_CLOEXEC) : -1;
    struct stat status;
    if (entry->source && (fd < 0 || fstat(fd, &status)))
        return hl_fail(stream->err, "%s: %s", entry->source, strerror(errno));
    if (entry->source && (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != entry->bytes))
        return hl_fail(stream->err, "%s: changed while the image was made", entry->source);
    if (write_header(stream, entry, mtime))
        return -1;
    if (!entry->source)
        return 0;
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return copy_file(stream, entry, fd, buffer);
}

static int write_all(struct stream *stream, const struct hl_layer *layer, int64_t mtime)
{
    HL_FREE unsigned char *buffer = malloc(READ_BYTES);
    struct archive *archive = stream->archive;
    if (!buffer)
        return hl_fail(stream->err, "out of memory");
    if (archive_write_set_format_pax_restricted(archive) || archive_write_set_bytes_per_block(archive, 0) ||
        archive_write_set_bytes_in_last_block(archive, 1) || archive_write_open(archive, stream, NULL, pass_on, NULL))
        return check(stream, ARCHIVE_FATAL, "the layer");
    for (size_t i = 0; i < layer->n; i++)
        if (write_entry(stream, &layer->entry[i], mtime, buffer))
            return -1;
    return check(stream, archive_write_close(archive), "the layer");
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct hl_layer_entry *)a)->path, ((const struct hl_layer_entry *)b)->path);
}

int hl_layer_write(struct hl_layer *layer, int64_t mtime, hl_layer_sink *sink, void *context,
                   struct hl_progress *progress, struct hl_error *err)
{
    struct stream stream = {archive_write_new(), sink, context, progress, err, false};
    if (!stream.archive)
        return hl_fail(err, "out of memory");
    qsort(layer->entry, layer->n, sizeof *layer->entry, by_path);
    int status = write_all(&stream, layer, mtime);
    stream.failed = status != 0; /* freeing an archive that is still open writes its end */
    archive_write_free(stream.archive);
    return status;
}
