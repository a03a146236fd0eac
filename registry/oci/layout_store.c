/* Reads images from the folder of a layout, or blobs from a folder that holds only blobs. Nothing in it is trusted:
 * index.json is limited in size and parsed strictly. A blob is opened only by its checked digest, never through a link.
 * */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "registry/oci/oci_layout.h"
#include "registry/oci/store.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20)

struct layout_store {
    struct hl_store store;
    struct hl_oci_layout layout;
    cJSON *index;
    char directory[];
};

static struct layout_store *layout_of(struct hl_store *store)
{
    return (struct layout_store *)store;
}

static const char *entry_tag(const cJSON *entry)
{
    const char *tag = hl_json_text(hl_json_get(entry, "annotations"), HL_OCI_REF_NAME);
    return tag ? tag : "";
}

static int no_such_image(const cJSON *manifests, const char *tag, struct hl_error *err)
{
    char tags[512] = "";
    const cJSON *entry;
    cJSON_ArrayForEach(entry, manifests)
    {
        size_t used = strlen(tags);
        char text[HL_TAG_BYTES];
        hl_text_copy(text, sizeof text, entry_tag(entry));
        if (*text)
            snprintf(tags + used, sizeof tags - used, "%s%s", used ? ", " : "", text);
    }
    return hl_fail(err, "no image has the tag '%s'; existing tags: %s", tag, *tags ? tags : "none");
}

/* Resolves a tag, a digest, or "": the only image, or "latest" of several. */
static int resolve(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err)
{
    const cJSON *manifests = hl_json_get(layout_of(store)->index, "manifests"), *entry, *found = NULL;
    if (!*name && cJSON_GetArraySize(manifests) == 1)
        found = manifests->child;
    name = *name ? name : "latest";
    cJSON_ArrayForEach(entry, manifests)
    {
        bool same = hl_digest_valid(name) ? hl_json_is(entry, "digest", name) : !strcmp(entry_tag(entry), name);
        if (!found && same)
            found = entry;
    }
    return found ? hl_descriptor_read(found, "index.json", out, err) : no_such_image(manifests, name, err);
}

static int list(struct hl_store *store, struct hl_descriptor **out, size_t *n, struct hl_error *err)
{
    const cJSON *manifests = hl_json_get(layout_of(store)->index, "manifests"), *entry;
    HL_FREE struct hl_descriptor *all = calloc((size_t)cJSON_GetArraySize(manifests) + 1, sizeof *all);
    if (!all)
        return hl_no_memory(err);
    *n = 0;
    cJSON_ArrayForEach(entry, manifests)
    {
        if (hl_descriptor_read(entry, "index.json", &all[(*n)++], err))
            return -1;
    }
    *out = all;
    all = NULL;
    return 0;
}

static int document(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                    struct hl_error *err)
{
    HL_FREE char *found = NULL;
    if (hl_oci_read_small(layout_of(store)->layout.blobs, hl_digest_file(descriptor->digest), &found, bytes, err))
        return hl_error_prefix(err, "blobs/sha256");
    if (hl_document_check(descriptor, found, *bytes, err))
        return -1;
    *text = found;
    found = NULL;
    return 0;
}

static int read_range(int fd, uint64_t offset, uint64_t bytes, hl_http_sink *sink, void *context, struct hl_error *err)
{
    HL_FREE char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    while (bytes) {
        ssize_t n = pread(fd, buffer, bytes < READ_BYTES ? (size_t)bytes : READ_BYTES, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hl_fail(err, "cannot be read: %s", n < 0 ? strerror(errno) : "it became shorter");
        if (sink(context, buffer, (size_t)n, err))
            return -1;
        offset += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return 0;
}

static int read_blob(struct hl_store *store, const struct hl_descriptor *blob, uint64_t offset, uint64_t bytes,
                     hl_http_sink *sink, void *context, struct hl_error *err)
{
    HL_CLOSE int fd = openat(layout_of(store)->layout.blobs, hl_digest_file(blob->digest),
                             O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        return hl_fail(err, "%s: %s", blob->digest, strerror(errno));
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != blob->bytes)
        return hl_fail(err, "%s: damaged: holds %lld bytes instead of %llu", blob->digest, (long long)status.st_size,
                       (unsigned long long)blob->bytes);
    if (!hl_in_range(offset, bytes, blob->bytes))
        return hl_fail(err, "%s: has no byte %llu", blob->digest, (unsigned long long)(offset + bytes));
    posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_SEQUENTIAL);
    return read_range(fd, offset, bytes, sink, context, err) ? hl_error_prefix(err, "%s", blob->digest) : 0;
}

static void close_store(struct hl_store *store)
{
    struct layout_store *layout = layout_of(store);
    cJSON_Delete(layout->index);
    hl_oci_layout_close(&layout->layout);
    free(layout);
}

static const struct hl_store_class class = {resolve, list, document, read_blob, close_store};

int hl_store_open_layout(const char *directory, struct hl_store **out, struct hl_error *err)
{
    *out = NULL;
    struct layout_store *layout = calloc(1, sizeof *layout + strlen(directory) + 1);
    if (!layout)
        return hl_no_memory(err);
    memcpy(layout->directory, directory, strlen(directory) + 1);
    layout->store.class = &class;
    snprintf(layout->store.name, sizeof layout->store.name, "%s", directory);
    if (hl_oci_layout_open(layout->directory, &layout->layout, err) ||
        hl_oci_layout_index(&layout->layout, &layout->index, err)) {
        close_store(&layout->store);
        return -1;
    }
    *out = &layout->store;
    return 0;
}

int hl_store_open_folder(int directory, const char *name, struct hl_store **out, struct hl_error *err)
{
    *out = NULL;
    struct layout_store *folder = calloc(1, sizeof *folder + 1);
    if (!folder)
        return hl_no_memory(err);
    folder->store.class = &class;
    snprintf(folder->store.name, sizeof folder->store.name, "%s", name);
    folder->layout.root = -1;
    folder->layout.blobs = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->layout.blobs < 0) {
        free(folder);
        return hl_fail(err, "%s: %s", name, strerror(errno));
    }
    *out = &folder->store;
    return 0;
}
