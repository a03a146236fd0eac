/* Makes layers and images, in a layout, as strangers' tools may make them. For tests and the fuzz target of layers.
 *
 *     struct hand hand;
 *     hand_begin(&hand, "folder");
 *     hand_entry(&hand, 'f', "models/m/model.hot", bytes, n);
 *     hand_layer(&hand, 0, "hotlayer image: model m");
 *     hand_end(&hand, "tag");
 */
#ifndef HL_TESTS_UNIT_PACK_IMAGE_IMAGE_BY_HAND_H
#define HL_TESTS_UNIT_PACK_IMAGE_IMAGE_BY_HAND_H

#include "base/cleanup.h"
#include "registry/oci/blob.h"
#include "registry/oci/document.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zstd.h>

#define HAND_TAR_MOST ((size_t)32 << 20)
#define HAND_TEXT 65536

struct hand {
    char folder[512];
    int blobs;
    struct archive *archive;
    int filter; /* compression of the current layer: 0, 'g'zip, 'z'std */
    char *tar;
    size_t bytes;
    char layers[HAND_TEXT], diff_ids[HAND_TEXT], history[HAND_TEXT]; /* lists in JSON */
    char digest[HL_DIGEST_BYTES];                                    /* of the last blob */
};

static inline void hand_blob(struct hand *hand, const void *bytes, size_t n)
{
    struct hl_blob blob;
    struct hl_blob_name name = {.digest = ""};
    struct hl_error err;
    if (hl_blob_open(&blob, hand->blobs, &err) || hl_blob_write(&blob, bytes, n, &err) ||
        hl_blob_publish(&blob, NULL, &name, &err))
        abort();
    hl_blob_discard(&blob);
    memcpy(hand->digest, name.digest, sizeof hand->digest);
}

static inline void hand_begin(struct hand *hand, const char *folder)
{
    char path[600];
    *hand = (struct hand){.tar = malloc(HAND_TAR_MOST)};
    snprintf(hand->folder, sizeof hand->folder, "%s", folder);
    static const char *const below[] = {"", "/blobs", "/blobs/sha256"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", hand->folder, below[i]);
        mkdir(path, 0755);
    }
    hand->blobs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/oci-layout", hand->folder);
    FILE *file = fopen(path, "w");
    if (!hand->tar || hand->blobs < 0 || !file)
        abort();
    fputs("{\"imageLayoutVersion\":\"1.0.0\"}", file);
    fclose(file);
}

/* Compresses the layer that follows: 'g' or 'z'. Call it before the layer's first entry. */
static inline void hand_compress(struct hand *hand, int filter)
{
    hand->filter = filter;
}

static inline struct archive *hand_archive(struct hand *hand)
{
    if (hand->archive)
        return hand->archive;
    struct archive *archive = hand->archive = archive_write_new();
    if (hand->filter == 'g')
        archive_write_add_filter_gzip(archive);
    if (hand->filter == 'z')
        archive_write_add_filter_zstd(archive);
    archive_write_set_format_pax_restricted(archive);
    archive_write_set_bytes_per_block(archive, 512); /* so that the next header begins at `bytes` */
    if (archive_write_open_memory(archive, hand->tar, HAND_TAR_MOST, &hand->bytes))
        abort();
    return archive;
}

/* Adds an entry: 'f'ile with `bytes` of `n`, 'd'irectory, sym'l'ink or 'h'ard link to `bytes`, 'c'haracter device,
 * 'p'ipe, or a 's'parse file that claims to have `n` bytes. Returns where its header begins in hand->tar of an
 * uncompressed layer. */
static inline size_t hand_entry(struct hand *hand, char kind, const char *path, const void *bytes, size_t n)
{
    struct archive *archive = hand_archive(hand);
    struct archive_entry *entry = archive_entry_new();
    size_t at = hand->bytes;
    archive_entry_set_pathname(entry, path);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, kind == 'd'   ? AE_IFDIR
                                      : kind == 'l' ? AE_IFLNK
                                      : kind == 'c' ? AE_IFCHR
                                      : kind == 'p' ? AE_IFIFO
                                                    : AE_IFREG);
    archive_entry_set_size(entry, kind == 'f' || kind == 's' ? (int64_t)n : 0);
    if (kind == 'l')
        archive_entry_set_symlink(entry, bytes);
    if (kind == 'h')
        archive_entry_set_hardlink(entry, bytes);
    if (kind == 's')
        archive_entry_sparse_add_entry(entry, 0, 512);
    if (archive_write_header(archive, entry) < ARCHIVE_WARN)
        abort();
    static const char zeros[512];
    if ((kind == 'f' && archive_write_data(archive, bytes, n) != (la_ssize_t)n) ||
        (kind == 's' && archive_write_data(archive, zeros, sizeof zeros) != (la_ssize_t)sizeof zeros))
        abort();
    archive_write_finish_entry(archive);
    archive_entry_free(entry);
    return at;
}

static inline void hand_file(struct hand *hand, const char *path, const char *source)
{
    HL_FCLOSE FILE *file = fopen(source, "rb");
    HL_FREE char *bytes = malloc(HAND_TAR_MOST);
    if (!file || !bytes)
        abort();
    hand_entry(hand, 'f', path, bytes, fread(bytes, 1, HAND_TAR_MOST, file));
}

/* Ends the tar; the caller may then change hand->tar and hand->bytes. */
static inline void hand_close_tar(struct hand *hand)
{
    archive_write_close(hand_archive(hand));
    archive_write_free(hand->archive);
    hand->archive = NULL;
}

/* Makes the header at `at` claim another size. */
static inline void hand_claim(struct hand *hand, size_t at, uint64_t size)
{
    char *header = hand->tar + at;
    unsigned sum = 0;
    snprintf(header + 124, 12, "%011llo", (unsigned long long)size);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
}

/* Compresses a closed tar. */
static inline void hand_zstd(struct hand *hand)
{
    char *out = malloc(HAND_TAR_MOST);
    size_t n = out ? ZSTD_compress(out, HAND_TAR_MOST, hand->tar, hand->bytes, 1) : 0;
    if (!n || ZSTD_isError(n))
        abort();
    free(hand->tar);
    hand->tar = out;
    hand->bytes = n;
    hand->filter = 'z';
}

/* Adds hand->tar as a layer. `what` goes into the history. The diff_id of a compressed layer is made up. */
static inline void hand_layer(struct hand *hand, const char *what)
{
    static const char made_up[] = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const char *suffix = hand->filter == 'g' ? "+gzip" : hand->filter == 'z' ? "+zstd" : "";
    const char *comma = *hand->layers ? "," : "";
    if (hand->archive)
        hand_close_tar(hand);
    hand_blob(hand, hand->tar, hand->bytes);
    size_t used = strlen(hand->layers);
    snprintf(hand->layers + used, HAND_TEXT - used,
             "%s{\"mediaType\":\"" HL_OCI_LAYER "%s\",\"digest\":\"%s\",\"size\":%zu}", comma, suffix, hand->digest,
             hand->bytes);
    used = strlen(hand->diff_ids);
    snprintf(hand->diff_ids + used, HAND_TEXT - used, "%s\"%s\"", comma, *suffix ? made_up : hand->digest);
    used = strlen(hand->history);
    snprintf(hand->history + used, HAND_TEXT - used, "%s{\"created_by\":\"%s\"}", comma, what);
    hand->bytes = 0;
    hand->filter = 0;
}

/* Writes config, manifest and an index.json with this image alone; leaves the manifest's digest in hand->digest. */
static inline void hand_end(struct hand *hand, const char *tag)
{
    HL_FREE char *text = malloc(4 * HAND_TEXT);
    char path[600];
    int n = snprintf(text, 4 * HAND_TEXT,
                     "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]},"
                     "\"history\":[%s]}",
                     hand->diff_ids, hand->history);
    hand_blob(hand, text, (size_t)n);
    char config[HL_DIGEST_BYTES];
    memcpy(config, hand->digest, sizeof config);
    n = snprintf(text, 4 * HAND_TEXT,
                 "{\"schemaVersion\":2,\"mediaType\":\"" HL_OCI_MANIFEST "\",\"config\":{\"mediaType\":\"" HL_OCI_CONFIG
                 "\",\"digest\":\"%s\",\"size\":%d},\"layers\":[%s]}",
                 config, n, hand->layers);
    hand_blob(hand, text, (size_t)n);
    snprintf(path, sizeof path, "%s/index.json", hand->folder);
    HL_FCLOSE FILE *file = fopen(path, "w");
    if (!file)
        abort();
    fprintf(file,
            "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" HL_OCI_MANIFEST
            "\",\"digest\":\"%s\",\"size\":%d,\"annotations\":{\"" HL_OCI_REF_NAME "\":\"%s\"}}]}",
            hand->digest, n, tag);
    close(hand->blobs);
    free(hand->tar);
}

#endif
