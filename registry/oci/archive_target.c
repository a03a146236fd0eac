/* An image in one file, to carry on a stick or for `docker load` and `podman load`:
 *
 *   oci-layout | blobs/ | blobs/sha256/ | blobs/sha256/HEX ... | index.json | manifest.json | two blocks of zeros
 *
 * The file is a layout (image-spec, image-layout.md) in a tar, and Docker's older format at the same time: `docker
 * save` writes such a manifest.json, which lists the same blobs. Layers lie in the order in which a start reads them.
 *
 * Every byte is written once, at its final offset, by several threads in parallel. A blob of known size gets its space
 * before its first byte is read. Its header holds the digest as its name, so it is written after the last byte.
 *
 * The size of a compressed layer is known only at its end, so it waits in an unnamed file next to the archive. The
 * archive itself gets its name only when all of it is on the disk.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/oci/blob.h"
#include "registry/oci/oci_layout.h"
#include "registry/oci/target.h"
#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20)
#define SKIP_BYTES ((size_t)1 << 30)
#define FLUSH_BYTES (32ull << 20) /* see blob.c */
#define LAYERS_AT_ONCE 4
#define DOCKER_HUB "docker.io/library/" /* Docker puts this before a name without a host */
#define BLOCK 512ull                    /* of a tar */
#define HEADER_LIMIT 4096ull            /* one block, or three for sizes from 8 GiB on */

/* Where an entry lies in the archive. */
struct place {
    uint64_t header, content; /* offsets */
    uint64_t bytes;
};

/* A blob of known size with reserved space that was not written yet. */
struct reserved {
    struct hl_expected what;
    struct place place;
    bool taken;
};

/* A blob that was stored. */
struct held {
    struct held *next; /* in the order of storing */
    char digest[HL_DIGEST_BYTES];
    uint64_t bytes;
    char *text;                 /* of a document */
    struct hl_temporary *spool; /* of a stream; NULL: it is in the archive */
};

struct archive_target {
    struct hl_target target;
    struct hl_temporary file;
    int directory;
    char tag[HL_TAG_BYTES];
    char loaded_as[HL_NAME_LIMIT + 1]; /* without the tag */
    pthread_mutex_t lock;              /* guards the members below */
    uint64_t end;                      /* where the next entry begins */
    struct reserved *reserved;
    size_t n_reserved;
    struct held *held, **last;
    char path[];
};

static struct archive_target *archive_of(struct hl_target *target)
{
    return (struct archive_target *)target;
}

static int write_at(int fd, const void *bytes, size_t n, uint64_t offset, struct hl_error *err)
{
    for (const char *at = bytes; n;) {
        ssize_t done = pwrite(fd, at, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return hl_fail(err, "cannot write: %s", strerror(errno));
        at += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

/* --- headers --- */

struct header {
    char bytes[HEADER_LIMIT];
    size_t n;
    bool complete; /* bytes from now on are content */
};

static ssize_t take_header(struct archive *archive, void *context, const void *bytes, size_t n)
{
    struct header *header = context;
    (void)archive;
    if (header->complete)
        return (ssize_t)n;
    assert(n <= sizeof header->bytes - header->n);
    memcpy(header->bytes + header->n, bytes, n);
    header->n += n;
    return (ssize_t)n;
}

/* Writes the content of an entry: libarchive frees without leaks only if the entry is complete. Nothing reads this
 * content, so it is one mapping of zeros; take_header() gets it in pieces of up to 2 GiB. */
static bool skip_content(struct archive *archive, size_t bytes)
{
    /* libarchive takes less than 2 GiB in one archive_write_data() and returns how much; archive_write_fail() would
     * leak the filters' state. */
    size_t piece = bytes < SKIP_BYTES ? bytes : SKIP_BYTES;
    void *content = mmap(NULL, piece, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (content == MAP_FAILED)
        return false;
    la_ssize_t n = 1;
    for (; bytes && n > 0; bytes -= (size_t)n)
        n = archive_write_data(archive, content, bytes < piece ? bytes : piece);
    munmap(content, piece);
    return n > 0;
}

static bool write_header(struct archive *archive, struct header *header, const char *path, mode_t mode, uint64_t bytes)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return false;
    archive_entry_set_pathname(entry, path);
    archive_entry_set_mode(entry, mode);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_size(entry, (int64_t)bytes);
    archive_entry_set_mtime(entry, 0, 0);
    int status = archive_write_header(archive, entry);
    archive_entry_free(entry);
    header->complete = true;
    return status == ARCHIVE_OK && (!bytes || skip_content(archive, (size_t)bytes));
}

/* Makes the header of one entry. Its length follows from `bytes` alone, for paths of up to 100 characters. */
static int make_header(const char *path, mode_t mode, uint64_t bytes, struct header *out, struct hl_error *err)
{
    struct archive *archive = archive_write_new();
    *out = (struct header){.n = 0};
    bool made = archive && !archive_write_set_format_pax_restricted(archive) &&
                !archive_write_set_bytes_per_block(archive, 0) &&
                !archive_write_open(archive, out, NULL, take_header, NULL) &&
                write_header(archive, out, path, mode, bytes);
    out->complete = true;
    archive_write_free(archive);
    return made ? 0 : hl_fail(err, "cannot describe %s of %llu bytes in a tar", path, (unsigned long long)bytes);
}

/* Reserves space for an entry at the end of the archive. */
static int reserve(struct archive_target *archive, uint64_t bytes, struct place *out, struct hl_error *err)
{
    struct header header;
    if (bytes > HL_BLOB_LIMIT)
        return hl_fail(err, "a blob of %llu bytes is too large", (unsigned long long)bytes);
    if (make_header("blobs/sha256", S_IFREG | 0644, bytes, &header, err))
        return -1;
    pthread_mutex_lock(&archive->lock);
    *out = (struct place){archive->end, archive->end + header.n, bytes};
    archive->end = out->content + hl_round_up(bytes, BLOCK);
    pthread_mutex_unlock(&archive->lock);
    return 0;
}

/* Writes the header of the entry at `place`. The bytes up to the next block stay a hole in the file: zeros. */
static int name_entry(struct archive_target *archive, const struct place *place, const char *path, mode_t mode,
                      struct hl_error *err)
{
    struct header header;
    if (make_header(path, mode, place->bytes, &header, err))
        return -1;
    assert(place->header + header.n == place->content);
    return write_at(archive->file.fd, header.bytes, header.n, place->header, err);
}

static int name_blob(struct archive_target *archive, const struct place *place, const char *digest,
                     struct hl_error *err)
{
    char path[16 + HL_DIGEST_BYTES];
    snprintf(path, sizeof path, "blobs/sha256/%s", hl_digest_file(digest));
    return name_entry(archive, place, path, S_IFREG | 0644, err);
}

/* Appends a whole small entry. */
static int append_text(struct archive_target *archive, const char *path, mode_t mode, const char *text, size_t bytes,
                       struct hl_error *err)
{
    struct place place = {0};
    if (reserve(archive, bytes, &place, err) || write_at(archive->file.fd, text, bytes, place.content, err))
        return -1;
    return name_entry(archive, &place, path, mode, err);
}

/* --- storing blobs --- */

/* Remembers a blob; takes `text` and `spool` over when it succeeds. */
static int hold(struct archive_target *archive, const char *digest, uint64_t bytes, char *text,
                struct hl_temporary *spool, struct hl_error *err)
{
    struct held *held = calloc(1, sizeof *held);
    if (!held)
        return hl_no_memory(err);
    held->bytes = bytes;
    held->text = text;
    held->spool = spool;
    memcpy(held->digest, digest, HL_DIGEST_BYTES);
    pthread_mutex_lock(&archive->lock);
    *archive->last = held;
    archive->last = &held->next;
    pthread_mutex_unlock(&archive->lock);
    return 0;
}

static const struct held *find_held(struct archive_target *archive, const char *digest)
{
    pthread_mutex_lock(&archive->lock);
    const struct held *held = archive->held;
    while (held && strcmp(held->digest, digest) != 0)
        held = held->next;
    pthread_mutex_unlock(&archive->lock);
    return held;
}

static bool is_same(const struct hl_expected *a, const struct hl_expected *b)
{
    if (!a->blob || !b->blob)
        return a->content == b->content && a->blob == b->blob;
    return !strcmp(a->blob->digest, b->blob->digest);
}

/* Finds the space reserved for this blob, or reserves some. */
static int find_place(struct archive_target *archive, const struct hl_expected *what, uint64_t bytes, struct place *out,
                      struct hl_error *err)
{
    bool found = false;
    pthread_mutex_lock(&archive->lock);
    for (size_t i = 0; !found && i < archive->n_reserved; i++) {
        struct reserved *reserved = &archive->reserved[i];
        found = !reserved->taken && reserved->place.bytes == bytes && is_same(&reserved->what, what);
        if (found) {
            reserved->taken = true;
            *out = reserved->place;
        }
    }
    pthread_mutex_unlock(&archive->lock);
    return found ? 0 : reserve(archive, bytes, out, err);
}

/* Writes bytes to the archive or to a spool file, and hashes and counts them. */
struct filling {
    int fd;
    uint64_t offset, begin, limit;
    EVP_MD_CTX *sha256;
    struct hl_progress *progress;
};

static void filling_free(struct filling *filling)
{
    EVP_MD_CTX_free(filling->sha256);
}

#define FILLING __attribute__((cleanup(filling_free))) struct filling

static int begin_filling(struct filling *filling, struct hl_error *err)
{
    filling->offset = filling->begin;
    filling->sha256 = EVP_MD_CTX_new();
    return filling->sha256 && EVP_DigestInit_ex(filling->sha256, EVP_sha256(), NULL)
               ? 0
               : hl_fail(err, "SHA-256 is not available in this libcrypto");
}

static int fill(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct filling *filling = context;
    if (n > filling->limit - (filling->offset - filling->begin))
        return hl_fail(err, "more bytes than announced");
    if (!EVP_DigestUpdate(filling->sha256, bytes, n))
        return hl_fail(err, "SHA-256 failed");
    if (write_at(filling->fd, bytes, n, filling->offset, err))
        return -1;
    uint64_t before = (filling->offset - filling->begin) / FLUSH_BYTES;
    filling->offset += n;
    if ((filling->offset - filling->begin) / FLUSH_BYTES != before)
        sync_file_range(filling->fd, (off_t)(filling->begin + before * FLUSH_BYTES), FLUSH_BYTES,
                        SYNC_FILE_RANGE_WRITE);
    hl_progress_add(filling->progress, n);
    return 0;
}

static int end_filling(struct filling *filling, char digest[HL_DIGEST_BYTES], struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    if (!EVP_DigestFinal_ex(filling->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, digest);
    return 0;
}

static int fill_content(struct filling *filling, const struct hl_content *content, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    for (uint64_t offset = 0; offset < content->bytes;) {
        uint64_t left = content->bytes - offset;
        size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
        if (content->read(content->context, offset, buffer, n, err) || fill(filling, buffer, n, err))
            return -1;
        offset += n;
    }
    return 0;
}

static int store_content(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                         struct hl_descriptor *out, struct hl_error *err)
{
    struct archive_target *archive = archive_of(target);
    struct place place = {0};
    const struct hl_expected what = {.content = content};
    if (find_place(archive, &what, content->bytes, &place, err))
        return -1;
    FILLING filling = {archive->file.fd, 0, place.content, content->bytes, NULL, progress};
    if (begin_filling(&filling, err) || fill_content(&filling, content, err) ||
        end_filling(&filling, out->digest, err) || name_blob(archive, &place, out->digest, err))
        return -1;
    out->bytes = content->bytes;
    return hold(archive, out->digest, out->bytes, NULL, NULL, err);
}

static int fill_stream(struct filling *filling, const struct hl_stream *stream, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    for (size_t n;;) {
        if (stream->read(stream->context, buffer, READ_BYTES, &n, err))
            return -1;
        if (!n)
            return 0;
        if (fill(filling, buffer, n, err))
            return -1;
    }
}

static void spool_free(struct hl_temporary *spool)
{
    if (spool)
        hl_temporary_discard(spool);
    free(spool);
}

static int spool_stream(struct archive_target *archive, const struct hl_stream *stream, struct hl_temporary *spool,
                        struct hl_descriptor *out, struct hl_error *err)
{
    if (hl_temporary_open(spool, archive->directory, err))
        return -1;
    FILLING filling = {spool->fd, 0, 0, HL_BLOB_LIMIT, NULL, NULL};
    if (begin_filling(&filling, err) || fill_stream(&filling, stream, err) || end_filling(&filling, out->digest, err))
        return -1;
    out->bytes = filling.offset;
    return hold(archive, out->digest, out->bytes, NULL, spool, err);
}

static int store_stream(struct hl_target *target, const struct hl_stream *stream, struct hl_descriptor *out,
                        struct hl_error *err)
{
    struct hl_temporary *spool = calloc(1, sizeof *spool);
    if (!spool)
        return hl_no_memory(err);
    spool->fd = -1;
    if (!spool_stream(archive_of(target), stream, spool, out, err))
        return 0;
    spool_free(spool);
    return -1;
}

static int copy_blob(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                     struct hl_progress *progress, struct hl_error *err)
{
    struct archive_target *archive = archive_of(target);
    struct place place = {0};
    char digest[HL_DIGEST_BYTES];
    if (find_held(archive, blob->digest)) {
        hl_progress_add(progress, blob->bytes);
        return 0;
    }
    const struct hl_expected what = {.blob = blob};
    if (find_place(archive, &what, blob->bytes, &place, err))
        return -1;
    FILLING filling = {archive->file.fd, 0, place.content, blob->bytes, NULL, progress};
    if (begin_filling(&filling, err) || from->class->read(from, blob, 0, blob->bytes, fill, &filling, err) ||
        end_filling(&filling, digest, err))
        return -1;
    if (strcmp(digest, blob->digest) != 0)
        return hl_fail(err, "%s: damaged: its content is %s", blob->digest, digest);
    return name_blob(archive, &place, digest, err) || hold(archive, digest, blob->bytes, NULL, NULL, err) ? -1 : 0;
}

static int store_document(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                          struct hl_error *err)
{
    struct archive_target *archive = archive_of(target);
    if (hl_document_check(descriptor, text, (size_t)descriptor->bytes, err))
        return -1;
    if (find_held(archive, descriptor->digest))
        return 0;
    char *copy = strndup(text, (size_t)descriptor->bytes);
    if (!copy || hold(archive, descriptor->digest, descriptor->bytes, copy, NULL, err)) {
        free(copy);
        return copy ? -1 : hl_no_memory(err);
    }
    return 0;
}

/* --- the end of the archive --- */

static int append_spool(struct archive_target *archive, struct held *held, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    struct place place = {0};
    if (!buffer)
        return hl_no_memory(err);
    if (reserve(archive, held->bytes, &place, err))
        return -1;
    for (uint64_t at = 0; at < held->bytes;) {
        ssize_t n = pread(held->spool->fd, buffer, READ_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hl_fail(err, "cannot read a temporary file: %s", n ? strerror(errno) : "it became shorter");
        if (write_at(archive->file.fd, buffer, (size_t)n, place.content + at, err))
            return -1;
        at += (uint64_t)n;
    }
    spool_free(held->spool); /* frees its disk space, which may be needed */
    held->spool = NULL;
    return name_blob(archive, &place, held->digest, err);
}

/* Appends streams in the order of the manifest's layers, whatever the order of their arrival; then documents. */
static int append_held(struct archive_target *archive, const cJSON *layers, struct hl_error *err)
{
    const cJSON *layer;
    cJSON_ArrayForEach(layer, layers)
    {
        for (struct held *held = archive->held; held; held = held->next)
            if (held->spool && hl_json_is(layer, "digest", held->digest) && append_spool(archive, held, err))
                return -1;
    }
    for (const struct held *held = archive->held; held; held = held->next) {
        char path[16 + HL_DIGEST_BYTES];
        snprintf(path, sizeof path, "blobs/sha256/%s", hl_digest_file(held->digest));
        if (held->text && append_text(archive, path, S_IFREG | 0644, held->text, (size_t)held->bytes, err))
            return -1;
    }
    return 0;
}

/* Makes index.json; an annotation holds the name that containerd and podman give the image. */
static cJSON *make_index(const struct archive_target *archive, const struct hl_descriptor *root)
{
    char name[sizeof DOCKER_HUB + HL_NAME_LIMIT + 1 + HL_TAG_BYTES];
    cJSON *index = cJSON_CreateObject(), *entry = hl_oci_index_entry(archive->tag, root);
    cJSON *annotations = cJSON_GetObjectItemCaseSensitive(entry, "annotations");
    snprintf(name, sizeof name, "%s%s:%s", strchr(archive->loaded_as, '/') ? "" : DOCKER_HUB, archive->loaded_as,
             archive->tag);
    bool complete = entry && cJSON_AddStringToObject(annotations, "io.containerd.image.name", name) &&
                    cJSON_AddNumberToObject(index, "schemaVersion", 2) &&
                    cJSON_AddStringToObject(index, "mediaType", HL_OCI_INDEX);
    if (complete && cJSON_AddItemToArray(cJSON_AddArrayToObject(index, "manifests"), entry))
        return index;
    cJSON_Delete(entry);
    cJSON_Delete(index);
    return NULL;
}

/* Returns the path of the blob that a descriptor of our own manifest names. */
static cJSON *blob_path(const cJSON *descriptor)
{
    char path[16 + HL_DIGEST_BYTES];
    const char *digest = hl_json_text(descriptor, "digest");
    if (!digest || !hl_digest_valid(digest))
        return NULL;
    snprintf(path, sizeof path, "blobs/sha256/%s", hl_digest_file(digest));
    return cJSON_CreateString(path);
}

static bool add_item(cJSON *object, const char *key, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

/* Makes manifest.json as `docker save` does: github.com/moby/docker-image-spec, v1.2, "Combined Image JSON". */
static cJSON *make_docker_manifest(const struct archive_target *archive, const cJSON *manifest)
{
    char name[HL_NAME_LIMIT + 1 + HL_TAG_BYTES];
    cJSON *list = cJSON_CreateArray(), *image = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(list, image)) {
        cJSON_Delete(list);
        cJSON_Delete(image);
        return NULL;
    }
    snprintf(name, sizeof name, "%s:%s", archive->loaded_as, archive->tag);
    const char *const names[] = {name};
    const cJSON *layer;
    bool complete = add_item(image, "Config", blob_path(hl_json_get(manifest, "config"))) &&
                    add_item(image, "RepoTags", cJSON_CreateStringArray(names, 1));
    cJSON *layers = cJSON_AddArrayToObject(image, "Layers");
    cJSON_ArrayForEach(layer, hl_json_get(manifest, "layers"))
    {
        complete = complete && cJSON_AddItemToArray(layers, blob_path(layer));
    }
    if (complete && layers)
        return list;
    cJSON_Delete(list);
    return NULL;
}

static int append_json(struct archive_target *archive, const char *path, const cJSON *json, struct hl_error *err)
{
    HL_FREE char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    return text ? append_text(archive, path, S_IFREG | 0644, text, strlen(text), err) : hl_no_memory(err);
}

static int append_indexes(struct archive_target *archive, const struct hl_descriptor *root, const cJSON *document,
                          struct hl_error *err)
{
    HL_JSON cJSON *index = make_index(archive, root);
    if (append_json(archive, "index.json", index, err))
        return -1;
    if (root->kind != HL_KIND_MANIFEST) /* Docker's older format has no indexes */
        return 0;
    HL_JSON cJSON *manifest = make_docker_manifest(archive, document);
    return append_json(archive, "manifest.json", manifest, err);
}

static int publish(struct hl_target *target, const struct hl_descriptor *root, const char *text, struct hl_error *err)
{
    static const char zeros[2 * BLOCK];
    struct archive_target *archive = archive_of(target);
    const char *slash = strrchr(archive->path, '/');
    HL_JSON cJSON *document = NULL;
    for (size_t i = 0; i < archive->n_reserved; i++)
        /* A tar ends at its first block of zeros: an unwritten blob would cut off everything after it. */
        if (!archive->reserved[i].taken)
            return hl_fail(err, "a blob of the image was not stored");
    if (hl_document_parse(root, text, (size_t)root->bytes, &document, err) ||
        append_held(archive, hl_json_get(document, "layers"), err) || append_indexes(archive, root, document, err))
        return -1;
    /* Write the end too: readers take a tar without it for a truncated one. */
    if (write_at(archive->file.fd, zeros, sizeof zeros, archive->end, err))
        return -1;
    return hl_temporary_publish(&archive->file, slash ? slash + 1 : archive->path, err);
}

static void close_target(struct hl_target *target)
{
    struct archive_target *archive = archive_of(target);
    for (struct held *held = archive->held, *next; held; held = next) {
        next = held->next;
        spool_free(held->spool);
        free(held->text);
        free(held);
    }
    hl_temporary_discard(&archive->file);
    if (archive->directory >= 0)
        close(archive->directory);
    pthread_mutex_destroy(&archive->lock);
    free(archive->reserved);
    free(archive);
}

static const struct hl_target_class class = {store_content,  store_stream, copy_blob,
                                             store_document, publish,      close_target};

int hl_target_expect(struct hl_target *target, const struct hl_expected *list, size_t n, struct hl_error *err)
{
    struct archive_target *archive = archive_of(target);
    if (target->class != &class)
        return 0;
    assert(!archive->reserved);
    archive->reserved = calloc(n + 1, sizeof *archive->reserved);
    if (!archive->reserved)
        return hl_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct reserved *reserved = &archive->reserved[archive->n_reserved];
        reserved->what = list[i];
        if (reserve(archive, list[i].content ? list[i].content->bytes : list[i].blob->bytes, &reserved->place, err))
            return -1;
        archive->n_reserved++;
    }
    return 0;
}

/* Opens the folder that will hold the archive, and checks what exists at the archive's path. */
static int open_directory(struct archive_target *archive, struct hl_error *err)
{
    struct stat status;
    const char *slash = strrchr(archive->path, '/');
    HL_FREE char *folder = slash ? strndup(archive->path, (size_t)(slash - archive->path) + 1) : strdup(".");
    if (!folder)
        return hl_no_memory(err);
    if (slash && !slash[1])
        return hl_fail(err, "%s: names a folder, not a file", archive->path);
    archive->directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (archive->directory < 0)
        return hl_fail(err, "%s: %s", folder, strerror(errno));
    if (!stat(archive->path, &status) && !S_ISREG(status.st_mode))
        return hl_fail(err, "%s: exists, and is not a regular file", archive->path);
    return hl_temporary_open(&archive->file, archive->directory, err) ? hl_error_prefix(err, "%s", archive->path) : 0;
}

static int begin_archive(struct archive_target *archive, struct hl_error *err)
{
    if (open_directory(archive, err))
        return -1;
    if (append_text(archive, "oci-layout", S_IFREG | 0644, HL_OCI_LAYOUT_TEXT, strlen(HL_OCI_LAYOUT_TEXT), err) ||
        append_text(archive, "blobs/", S_IFDIR | 0755, "", 0, err) ||
        append_text(archive, "blobs/sha256/", S_IFDIR | 0755, "", 0, err))
        return hl_error_prefix(err, "%s", archive->path);
    return 0;
}

int hl_target_open_archive(const char *path, const char *name, const char *tag, struct hl_target **out,
                           struct hl_error *err)
{
    *out = NULL;
    tag = tag && *tag ? tag : "latest";
    if (!hl_reference_tag_valid(tag, strlen(tag)))
        return hl_fail(err, "'%s' is not a tag", tag);
    if (strlen(name) > HL_NAME_LIMIT)
        return hl_fail(err, "the image's name has more than %d characters", HL_NAME_LIMIT);
    struct archive_target *archive = calloc(1, sizeof *archive + strlen(path) + 1);
    if (!archive)
        return hl_no_memory(err);
    memcpy(archive->path, path, strlen(path) + 1);
    memcpy(archive->tag, tag, strlen(tag) + 1);
    snprintf(archive->loaded_as, sizeof archive->loaded_as, "%s", name);
    snprintf(archive->target.name, sizeof archive->target.name, "%s", path);
    archive->target.class = &class;
    archive->target.jobs = LAYERS_AT_ONCE;
    archive->file.fd = archive->directory = -1;
    archive->last = &archive->held;
    pthread_mutex_init(&archive->lock, NULL);
    if (begin_archive(archive, err)) {
        close_target(&archive->target);
        return -1;
    }
    *out = &archive->target;
    return 0;
}
