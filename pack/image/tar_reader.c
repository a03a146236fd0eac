/* libarchive reads the tar through a window on the layer:
 *
 *   layer   | header | contents ............................ | header | ...
 *   window  [ 32 KiB ]      skipped: not requested           [ 32 KiB ]
 *   window  [ 32 KiB ][  64 KiB  ][   128 KiB   ] ... 4 MiB  read: twice as large with every step
 *
 * So the headers of a layer of gigabytes cost a few dozen KiB from a registry, and the contents of a file few requests.
 */
#include "pack/image/tar_reader.h"
#include "base/cleanup.h"
#include "base/text.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

#define WINDOW_LEAST ((size_t)32 << 10)
#define WINDOW_MOST ((size_t)4 << 20)

struct hl_tar {
    struct hl_store *store;
    const struct hl_descriptor *layer;
    struct archive *archive;
    uint64_t at;   /* the first byte of the layer after the window */
    size_t next;   /* the size of the next window */
    size_t filled; /* bytes of the current window received so far */
    char *window;
    bool failed; /* a read of the layer failed; `err` says why */
    struct hl_error err;
    char path[PATH_MAX];
};

static int fill(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct hl_tar *tar = context;
    if (n > WINDOW_MOST - tar->filled)
        return hl_fail(err, "%s: received more bytes than requested", tar->layer->digest);
    memcpy(tar->window + tar->filled, bytes, n);
    tar->filled += n;
    return 0;
}

static la_ssize_t read_window(struct archive *archive, void *context, const void **out)
{
    struct hl_tar *tar = context;
    uint64_t left = tar->layer->bytes - tar->at;
    size_t n = left < tar->next ? (size_t)left : tar->next;
    tar->filled = 0;
    *out = tar->window;
    if (!n)
        return 0;
    if (tar->store->class->read(tar->store, tar->layer, tar->at, n, fill, tar, &tar->err)) {
        tar->failed = true;
        archive_set_error(archive, EIO, "the layer cannot be read");
        return ARCHIVE_FATAL;
    }
    tar->at += n;
    tar->next = tar->next * 2 < WINDOW_MOST ? tar->next * 2 : WINDOW_MOST;
    return (la_ssize_t)n;
}

static la_int64_t skip(struct archive *archive, void *context, la_int64_t wanted)
{
    struct hl_tar *tar = context;
    uint64_t left = tar->layer->bytes - tar->at, n = wanted < 0 ? 0 : (uint64_t)wanted;
    (void)archive;
    n = n < left ? n : left;
    if (n)
        tar->next = WINDOW_LEAST;
    tar->at += n;
    return (la_int64_t)n;
}

static int explain(struct hl_tar *tar, struct hl_error *err)
{
    const char *why = archive_error_string(tar->archive);
    if (!tar->failed)
        return hl_fail(err, "not a readable tar: %s", why ? why : "damaged");
    *err = tar->err;
    return -1;
}

static int start(struct hl_tar *tar, struct hl_error *err)
{
    struct archive *archive = tar->archive;
    bool plain = tar->layer->kind == HL_KIND_TAR;
    int filter = tar->layer->kind == HL_KIND_GZIP   ? archive_read_support_filter_gzip(archive)
                 : tar->layer->kind == HL_KIND_ZSTD ? archive_read_support_filter_zstd(archive)
                                                    : ARCHIVE_OK;
    if (filter != ARCHIVE_OK)
        return hl_fail(err, "this libarchive does not read %s", tar->layer->media_type);
    if (archive_read_support_format_tar(archive) || archive_read_set_callback_data(archive, tar) ||
        archive_read_set_read_callback(archive, read_window) ||
        (plain && archive_read_set_skip_callback(archive, skip)) || archive_read_open1(archive))
        return explain(tar, err);
    return 0;
}

int hl_tar_open(struct hl_store *store, const struct hl_descriptor *layer, struct hl_tar **out, struct hl_error *err)
{
    HL_TAR *tar = calloc(1, sizeof *tar);
    *out = NULL;
    if (!hl_document_is_layer(layer->kind))
        return hl_fail(err, "%s is %s, not a layer", layer->digest, layer->media_type);
    if (!tar || !(tar->window = malloc(WINDOW_MOST)) || !(tar->archive = archive_read_new()))
        return hl_no_memory(err);
    tar->store = store;
    tar->layer = layer;
    tar->next = WINDOW_LEAST;
    if (start(tar, err))
        return -1;
    *out = tar;
    tar = NULL;
    return 0;
}

void hl_tar_close(struct hl_tar **tar)
{
    if (!*tar)
        return;
    archive_read_free((*tar)->archive);
    free((*tar)->window);
    free(*tar);
    *tar = NULL;
}

/* Normalizes the entry's name into tar->path. Returns false if that is not possible, or if the path would leave the
 * root (*unsafe). */
static bool make_path(struct hl_tar *tar, const char *name, bool *unsafe)
{
    size_t used = 0;
    *unsafe = name[0] == '/';
    tar->path[0] = 0;
    for (const char *part = name; *part && !*unsafe;) {
        size_t length = strcspn(part, "/");
        *unsafe = length == 2 && hl_text_begins(part, "..");
        if (length && !(length == 1 && *part == '.')) {
            if (used + length + 2 > sizeof tar->path)
                return false;
            if (used)
                tar->path[used++] = '/';
            memcpy(tar->path + used, part, length);
            used += length;
            tar->path[used] = 0;
        }
        part += length + (part[length] == '/');
    }
    return !*unsafe;
}

static enum hl_tar_kind kind_of(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry))
        return HL_TAR_HARDLINK;
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return HL_TAR_FILE;
    case AE_IFDIR:
        return HL_TAR_FOLDER;
    case AE_IFLNK:
        return HL_TAR_SYMLINK;
    default:
        return HL_TAR_OTHER;
    }
}

/* Returns 1 for an entry, 0 for one to skip. */
static int read_entry(struct hl_tar *tar, struct archive_entry *entry, struct hl_tar_entry *out, struct hl_error *err)
{
    const char *name = archive_entry_pathname(entry);
    bool unsafe = false;
    bool named = name && make_path(tar, name, &unsafe);
    if (unsafe)
        return hl_fail(err, "its entry '%.300s' would leave the image's root: refused", name);
    if (!named)
        return 0;
    int64_t bytes = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    *out = (struct hl_tar_entry){.path = tar->path,
                                 .kind = kind_of(entry),
                                 .bytes = bytes < 0 ? 0 : (uint64_t)bytes,
                                 .sparse = archive_entry_sparse_count(entry) > 0};
    bool plain = tar->layer->kind == HL_KIND_TAR && !out->sparse;
    if (bytes < 0 || (out->kind == HL_TAR_FILE && plain && out->bytes > tar->layer->bytes))
        return hl_fail(err, "'%.300s' claims to have %lld bytes, more than the layer", out->path, (long long)bytes);
    return 1;
}

int hl_tar_next(struct hl_tar *tar, struct hl_tar_entry *out, struct hl_error *err)
{
    for (;;) {
        struct archive_entry *entry;
        int status = archive_read_next_header(tar->archive, &entry);
        if (status == ARCHIVE_EOF)
            return 0;
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
            return explain(tar, err);
        int found = read_entry(tar, entry, out, err);
        if (found)
            return found;
    }
}

int hl_tar_read(struct hl_tar *tar, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    la_ssize_t got = archive_read_data(tar->archive, buffer, size);
    if (got < 0)
        return explain(tar, err);
    *n = (size_t)got;
    return 0;
}
