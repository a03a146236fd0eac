/* The folder of an image layout, and index.json, the only file in it that ever changes.
 *
 * Blobs are named by their content, so writers cannot disagree about them. The index is read, changed and replaced by a
 * rename while the folder is locked. So two parallel builds into one layout both end up in it, and a reader sees the
 * old index or the new one.
 */
#include "registry/oci/oci_layout.h"
#include "base/cleanup.h"
#include "base/temporary.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

int hl_oci_read_small(int directory, const char *name, char **text, size_t *bytes, struct hl_error *err)
{
    HL_CLOSE int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        return hl_fail(err, "%s: %s", name, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size > (off_t)HL_DOCUMENT_LIMIT)
        return hl_fail(err, "%s: not a file of at most %zu bytes", name, HL_DOCUMENT_LIMIT);
    HL_FREE char *buffer = malloc((size_t)status.st_size + 1);
    if (!buffer)
        return hl_no_memory(err);
    for (*bytes = 0; *bytes < (size_t)status.st_size;) {
        ssize_t n = read(fd, buffer + *bytes, (size_t)status.st_size - *bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hl_fail(err, "%s: %s", name, n ? strerror(errno) : "became shorter while it was read");
        *bytes += (size_t)n;
    }
    buffer[*bytes] = 0;
    *text = buffer;
    buffer = NULL;
    return 0;
}

static int check_version(const struct hl_oci_layout *layout, struct hl_error *err)
{
    HL_FREE char *text = NULL;
    size_t bytes;
    if (hl_oci_read_small(layout->root, "oci-layout", &text, &bytes, err))
        return hl_error_prefix(err, "%s: not an OCI image layout", layout->directory);
    HL_JSON cJSON *json = NULL;
    struct hl_view view = {(const uint8_t *)text, bytes};
    if (hl_json_parse(view, "oci-layout", &json, err) || !hl_json_is(json, "imageLayoutVersion", "1.0.0"))
        return hl_fail(err, "%s: not an OCI image layout of version 1.0.0", layout->directory);
    return 0;
}

int hl_oci_layout_open(const char *directory, struct hl_oci_layout *out, struct hl_error *err)
{
    *out = (struct hl_oci_layout){directory, open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1, false, false};
    if (out->root < 0)
        return hl_fail(err, "%s: %s", directory, strerror(errno));
    if (check_version(out, err))
        return -1;
    out->blobs = openat(out->root, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->blobs < 0 ? hl_fail(err, "%s/blobs/sha256: %s", directory, strerror(errno)) : 0;
}

static int is_empty(int directory, bool *empty)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream)
        return copy < 0 ? -1 : (close(copy), -1);
    *empty = true;
    for (struct dirent *entry; *empty && (entry = readdir(stream));)
        *empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    closedir(stream);
    return 0;
}

static int start_layout(struct hl_oci_layout *layout, struct hl_error *err)
{
    layout->created = true;
    return hl_temporary_save(layout->root, "oci-layout", HL_OCI_LAYOUT_TEXT, err);
}

static int create_in(struct hl_oci_layout *out, struct hl_error *err)
{
    bool empty = out->made;
    if (!empty && is_empty(out->root, &empty))
        return hl_fail(err, "%s: %s", out->directory, strerror(errno));
    if (empty ? start_layout(out, err) : check_version(out, err))
        return -1;
    if ((mkdirat(out->root, "blobs", 0755) && errno != EEXIST) ||
        (mkdirat(out->root, "blobs/sha256", 0755) && errno != EEXIST))
        return hl_fail(err, "%s/blobs/sha256: %s", out->directory, strerror(errno));
    out->blobs = openat(out->root, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->blobs < 0 ? hl_fail(err, "%s/blobs/sha256: %s", out->directory, strerror(errno)) : 0;
}

int hl_oci_layout_create(const char *directory, struct hl_oci_layout *out, struct hl_error *err)
{
    *out = (struct hl_oci_layout){directory, -1, -1, false, false};
    out->made = !mkdir(directory, 0755);
    if (!out->made && errno != EEXIST)
        return hl_fail(err, "%s: cannot create the folder: %s", directory, strerror(errno));
    out->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->root < 0)
        return hl_fail(err, "%s: %s", directory, strerror(errno));
    return create_in(out, err);
}

void hl_oci_layout_undo(struct hl_oci_layout *layout)
{
    struct stat status;
    if (!layout->created || layout->root < 0 || !fstatat(layout->root, "index.json", &status, 0))
        return;
    if (unlinkat(layout->root, "blobs/sha256", AT_REMOVEDIR) && errno != ENOENT)
        return;
    unlinkat(layout->root, "blobs", AT_REMOVEDIR);
    unlinkat(layout->root, "oci-layout", 0);
    if (layout->made)
        rmdir(layout->directory);
}

void hl_oci_layout_close(struct hl_oci_layout *layout)
{
    if (layout->blobs >= 0)
        close(layout->blobs);
    if (layout->root >= 0)
        close(layout->root);
    layout->root = layout->blobs = -1;
}

int hl_oci_layout_index(const struct hl_oci_layout *layout, cJSON **out, struct hl_error *err)
{
    HL_FREE char *text = NULL;
    size_t bytes = 0;
    if (hl_oci_read_small(layout->root, "index.json", &text, &bytes, err))
        return hl_error_prefix(err, "%s", layout->directory);
    struct hl_view view = {(const uint8_t *)text, bytes};
    if (hl_json_parse(view, "index.json", out, err))
        return hl_error_prefix(err, "%s", layout->directory);
    uint64_t version;
    if (!hl_json_count(hl_json_get(*out, "schemaVersion"), 2, &version) || version != 2 ||
        !cJSON_IsArray(hl_json_get(*out, "manifests")))
        return hl_fail(err, "%s/index.json: not an image index", layout->directory);
    return 0;
}

static cJSON *empty_index(void)
{
    cJSON *index = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(index, "schemaVersion", 2) &&
        cJSON_AddStringToObject(index, "mediaType", HL_OCI_INDEX) && cJSON_AddArrayToObject(index, "manifests"))
        return index;
    cJSON_Delete(index);
    return NULL;
}

cJSON *hl_oci_index_entry(const char *tag, const struct hl_descriptor *root)
{
    cJSON *entry = cJSON_CreateObject();
    if (cJSON_AddStringToObject(entry, "mediaType", root->media_type) &&
        cJSON_AddStringToObject(entry, "digest", root->digest) &&
        cJSON_AddNumberToObject(entry, "size", (double)root->bytes) &&
        cJSON_AddStringToObject(cJSON_AddObjectToObject(entry, "annotations"), HL_OCI_REF_NAME, tag))
        return entry;
    cJSON_Delete(entry);
    return NULL;
}

/* Removes the entries that carry `tag`. */
static void untag(cJSON *manifests, const char *tag)
{
    for (cJSON *entry = manifests->child, *next; entry; entry = next) {
        next = entry->next;
        const char *name = hl_json_text(hl_json_get(entry, "annotations"), HL_OCI_REF_NAME);
        if (name && !strcmp(name, tag))
            cJSON_Delete(cJSON_DetachItemViaPointer(manifests, entry));
    }
}

static int replace_index(const struct hl_oci_layout *layout, const cJSON *index, struct hl_error *err)
{
    HL_FREE char *text = cJSON_PrintUnformatted(index);
    return text ? hl_temporary_save(layout->root, "index.json", text, err) : hl_no_memory(err);
}

static int tag_locked(struct hl_oci_layout *layout, const char *tag, const struct hl_descriptor *root,
                      struct hl_error *err)
{
    struct stat status;
    HL_JSON cJSON *index = NULL;
    if (fstatat(layout->root, "index.json", &status, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
        index = empty_index();
    else if (hl_oci_layout_index(layout, &index, err))
        return -1;
    cJSON *manifests = cJSON_GetObjectItemCaseSensitive(index, "manifests");
    cJSON *entry = hl_oci_index_entry(tag, root);
    if (!manifests || !entry) {
        cJSON_Delete(entry);
        return hl_no_memory(err);
    }
    untag(manifests, tag);
    cJSON_AddItemToArray(manifests, entry);
    /* The blobs' names must be on the disk before the index refers to them. */
    if (fsync(layout->blobs))
        return hl_fail(err, "%s/blobs/sha256: %s", layout->directory, strerror(errno));
    return replace_index(layout, index, err) ? hl_error_prefix(err, "%s/index.json", layout->directory) : 0;
}

int hl_oci_layout_tag(struct hl_oci_layout *layout, const char *tag, const struct hl_descriptor *root,
                      struct hl_error *err)
{
    if (flock(layout->root, LOCK_EX))
        return hl_fail(err, "%s: cannot lock it: %s", layout->directory, strerror(errno));
    int status = tag_locked(layout, tag, root, err);
    flock(layout->root, LOCK_UN);
    return status;
}
