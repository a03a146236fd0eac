/* Reading a layout as something that a stranger made: every document is bounded, matched against its digest before it
 * is parsed, and checked against the documents around it; only a valid digest ever becomes a path.
 *
 *   index.json -> [index ->] manifest -> config    rootfs.diff_ids[i]  = digest of layer i, where that is a plain tar
 *                                     -> layers    history             = one entry per layer, beside the empty ones
 */
#include "hotlayer/cleanup.h"
#include "pack/oci_blob.h"
#include "pack/oci_layout.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define MAX_DEPTH 4     /* of indexes in indexes */
#define MAX_BLOBS 4096u /* that one verification follows */
#define MAX_BYTES (1ull << 53)
#define MAX_LAYERS 1024
#define READ_BYTES ((size_t)1 << 20)

enum kind { KIND_UNKNOWN, KIND_INDEX, KIND_MANIFEST, KIND_CONFIG, KIND_TAR, KIND_COMPRESSED };

static const struct {
    const char *media_type;
    enum kind kind;
} media_types[] = {
    {HL_OCI_INDEX, KIND_INDEX},
    {HL_OCI_MANIFEST, KIND_MANIFEST},
    {HL_OCI_CONFIG, KIND_CONFIG},
    {HL_OCI_LAYER, KIND_TAR},
    {HL_OCI_LAYER "+gzip", KIND_COMPRESSED},
    {HL_OCI_LAYER "+zstd", KIND_COMPRESSED},
    {"application/vnd.docker.distribution.manifest.list.v2+json", KIND_INDEX},
    {"application/vnd.docker.distribution.manifest.v2+json", KIND_MANIFEST},
    {"application/vnd.docker.container.image.v1+json", KIND_CONFIG},
    {"application/vnd.docker.image.rootfs.diff.tar", KIND_TAR},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", KIND_COMPRESSED},
};

/* A descriptor of image-spec; the texts belong to the JSON that it was read from. */
struct descriptor {
    const char *media_type;
    const char *digest;
    uint64_t bytes;
    enum kind kind;
};

/* A parsed document and the text it came from. */
struct document {
    char *text;
    size_t bytes;
    cJSON *json;
};

static void document_free(struct document *document)
{
    free(document->text);
    cJSON_Delete(document->json);
}

#define DOCUMENT __attribute__((cleanup(document_free))) struct document
#define LAYOUT __attribute__((cleanup(hl_oci_layout_close))) struct hl_oci_layout

static bool media_type_valid(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length && length < sizeof((struct hl_oci_layer *)0)->media_type;
}

/* `text`, cut to `size` and fit for a terminal. */
static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static int read_descriptor(const cJSON *json, const char *where, struct descriptor *out, struct hl_error *err)
{
    *out = (struct descriptor){.media_type = hl_json_text(json, "mediaType"), .digest = hl_json_text(json, "digest")};
    if (!media_type_valid(out->media_type) || !out->digest || !hl_digest_valid(out->digest))
        return hl_fail(err, "%s: a descriptor without a media type or a valid SHA-256 digest", where);
    if (!hl_json_count(hl_json_get(json, "size"), MAX_BYTES, &out->bytes))
        return hl_fail(err, "%s: %s has no valid size", where, out->digest);
    for (size_t i = 0; i < sizeof media_types / sizeof *media_types; i++)
        if (!strcmp(out->media_type, media_types[i].media_type))
            out->kind = media_types[i].kind;
    return 0;
}

static int check_digest(const void *bytes, size_t n, const char *digest, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char found[HL_DIGEST_BYTES];
    if (!EVP_Digest(bytes, n, sha256, NULL, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, found);
    return strcmp(found, digest) ? hl_fail(err, "%s: damaged: its content is %s", digest, found) : 0;
}

static int read_document(const struct hl_oci_layout *layout, const struct descriptor *descriptor, struct document *out,
                         struct hl_error *err)
{
    if (hl_oci_read_small(layout->blobs, hl_digest_file(descriptor->digest), &out->text, &out->bytes, err))
        return hl_error_prefix(err, "%s/blobs/sha256", layout->directory);
    if (out->bytes != descriptor->bytes)
        return hl_fail(err, "%s: %s holds %zu bytes instead of %llu", layout->directory, descriptor->digest, out->bytes,
                       (unsigned long long)descriptor->bytes);
    if (check_digest(out->text, out->bytes, descriptor->digest, err))
        return hl_error_prefix(err, "%s", layout->directory);
    struct hl_view view = {(const uint8_t *)out->text, out->bytes};
    if (hl_json_parse(view, descriptor->digest, &out->json, err))
        return hl_error_prefix(err, "%s", layout->directory);
    const char *media_type = hl_json_text(out->json, "mediaType");
    if (media_type && strcmp(media_type, descriptor->media_type))
        return hl_fail(err, "%s: %s is not the %s that it is said to be", layout->directory, descriptor->digest,
                       descriptor->media_type);
    return 0;
}

static const char *entry_tag(const cJSON *entry)
{
    const char *tag = hl_json_text(hl_json_get(entry, "annotations"), HL_OCI_REF_NAME);
    return tag ? tag : "";
}

int hl_oci_list(const char *directory, struct hl_oci_list *out, struct hl_error *err)
{
    *out = (struct hl_oci_list){0};
    LAYOUT layout;
    HL_JSON cJSON *index = NULL;
    if (hl_oci_layout_open(directory, &layout, err) || hl_oci_layout_index(&layout, &index, err))
        return -1;
    const cJSON *manifests = hl_json_get(index, "manifests"), *json;
    HL_FREE struct hl_oci_entry *entries = calloc((size_t)cJSON_GetArraySize(manifests) + 1, sizeof *entries);
    if (!entries)
        return hl_fail(err, "out of memory");
    cJSON_ArrayForEach(json, manifests)
    {
        struct descriptor descriptor;
        if (read_descriptor(json, directory, &descriptor, err))
            return -1;
        memcpy(entries[out->n].digest, descriptor.digest, HL_DIGEST_BYTES);
        copy_text(entries[out->n++].tag, sizeof entries->tag, entry_tag(json));
    }
    out->entry = entries;
    entries = NULL;
    return 0;
}

static int no_such_image(const struct hl_oci_layout *layout, const cJSON *manifests, const char *tag,
                         struct hl_error *err)
{
    char tags[512] = "";
    const cJSON *entry;
    cJSON_ArrayForEach(entry, manifests)
    {
        size_t used = strlen(tags);
        char text[256];
        copy_text(text, sizeof text, entry_tag(entry));
        if (*text)
            snprintf(tags + used, sizeof tags - used, "%s%s", used ? ", " : "", text);
    }
    return hl_fail(err, "%s: no image has the tag '%s'; it has %s", layout->directory, tag, *tags ? tags : "none");
}

/* The entry that `tag` means; "" means the only one, or "latest". */
static int find_entry(const struct hl_oci_layout *layout, const cJSON *index, const char *tag, const cJSON **out,
                      struct hl_error *err)
{
    const cJSON *manifests = hl_json_get(index, "manifests"), *entry;
    *out = NULL;
    if (!*tag && cJSON_GetArraySize(manifests) == 1)
        *out = cJSON_GetArrayItem(manifests, 0);
    tag = *tag ? tag : "latest";
    if (!*out)
        cJSON_ArrayForEach(entry, manifests) if (!strcmp(entry_tag(entry), tag)) *out = entry;
    return *out ? 0 : no_such_image(layout, manifests, tag, err);
}

static bool is_amd64(const cJSON *entry)
{
    const cJSON *platform = hl_json_get(entry, "platform");
    const char *architecture = hl_json_text(platform, "architecture"), *os = hl_json_text(platform, "os");
    return architecture && os && !strcmp(architecture, "amd64") && !strcmp(os, "linux");
}

/* Reads the manifest that `entry` leads to, through indexes; `digest` is its own. */
static int open_manifest(const struct hl_oci_layout *layout, const cJSON *entry, unsigned depth, struct document *out,
                         char digest[HL_DIGEST_BYTES], struct hl_error *err)
{
    struct descriptor descriptor;
    if (read_descriptor(entry, layout->directory, &descriptor, err))
        return -1;
    memcpy(digest, descriptor.digest, HL_DIGEST_BYTES);
    if (descriptor.kind == KIND_MANIFEST)
        return read_document(layout, &descriptor, out, err);
    if (descriptor.kind != KIND_INDEX || depth == MAX_DEPTH)
        return hl_fail(err, "%s: %s is %s, not an image", layout->directory, digest, descriptor.media_type);
    DOCUMENT index = {0};
    if (read_document(layout, &descriptor, &index, err))
        return -1;
    const cJSON *child;
    cJSON_ArrayForEach(child, hl_json_get(index.json, "manifests"))
    {
        if (is_amd64(child))
            return open_manifest(layout, child, depth + 1, out, digest, err);
    }
    return hl_fail(err, "%s: %s has no image for linux/amd64", layout->directory, digest);
}

static const cJSON *next_layer_history(const cJSON *entry)
{
    while (entry && hl_json_true(entry, "empty_layer"))
        entry = entry->next;
    return entry;
}

/* Fills image->layer from the manifest and the config, which must agree about them. */
static int read_layers(struct hl_oci_image *image, const cJSON *manifest, const cJSON *config, struct hl_error *err)
{
    const cJSON *layers = hl_json_get(manifest, "layers"), *json;
    const cJSON *diff_ids = hl_json_get(hl_json_get(config, "rootfs"), "diff_ids"),
                *history = hl_json_get(config, "history");
    int n = cJSON_GetArraySize(layers);
    if (!cJSON_IsArray(layers) || n > MAX_LAYERS || n != cJSON_GetArraySize(diff_ids))
        return hl_fail(err, "%s: the manifest has %d layers, its config %d", image->digest, n,
                       cJSON_GetArraySize(diff_ids));
    image->layer = calloc((size_t)n + 1, sizeof *image->layer);
    if (!image->layer)
        return hl_fail(err, "out of memory");
    const cJSON *diff_id = n ? diff_ids->child : NULL;
    const cJSON *line = next_layer_history(cJSON_IsArray(history) ? history->child : NULL);
    cJSON_ArrayForEach(json, layers)
    {
        struct hl_oci_layer *layer = &image->layer[image->n_layers++];
        struct descriptor descriptor;
        if (read_descriptor(json, image->digest, &descriptor, err))
            return -1;
        const char *expected = cJSON_GetStringValue(diff_id);
        if (descriptor.kind != KIND_TAR && descriptor.kind != KIND_COMPRESSED)
            return hl_fail(err, "%s: layer %zu is of an unknown kind, %s", image->digest, image->n_layers,
                           descriptor.media_type);
        if (!expected || !hl_digest_valid(expected) ||
            (descriptor.kind == KIND_TAR && strcmp(expected, descriptor.digest)))
            return hl_fail(err, "%s: layer %zu is %s, but its config says otherwise", image->digest, image->n_layers,
                           descriptor.digest);
        if (history && !line)
            return hl_fail(err, "%s: the history tells of fewer layers than there are", image->digest);
        assert(diff_id); /* `expected` is its text */
        memcpy(layer->digest, descriptor.digest, HL_DIGEST_BYTES);
        layer->bytes = descriptor.bytes;
        copy_text(layer->media_type, sizeof layer->media_type, descriptor.media_type);
        copy_text(layer->what, sizeof layer->what, hl_json_text(line, "created_by"));
        image->bytes += descriptor.bytes;
        diff_id = diff_id->next;
        line = next_layer_history(line ? line->next : NULL);
    }
    return line ? hl_fail(err, "%s: the history tells of more layers than there are", image->digest) : 0;
}

static void read_summary(struct hl_oci_image *image, const cJSON *root)
{
    const cJSON *config = hl_json_get(root, "config"), *word;
    char os[24], architecture[24];
    copy_text(os, sizeof os, hl_json_text(root, "os"));
    copy_text(architecture, sizeof architecture, hl_json_text(root, "architecture"));
    snprintf(image->platform, sizeof image->platform, "%s/%s", os, architecture);
    copy_text(image->created, sizeof image->created, hl_json_text(root, "created"));
    copy_text(image->user, sizeof image->user, hl_json_text(config, "User"));
    cJSON_ArrayForEach(word, hl_json_get(config, "Entrypoint"))
    {
        size_t used = strlen(image->entrypoint);
        if (used + 2 < sizeof image->entrypoint && used)
            image->entrypoint[used++] = ' ';
        copy_text(image->entrypoint + used, sizeof image->entrypoint - used, cJSON_GetStringValue(word));
    }
}

/* Fills all of `image` but its tag from the manifest in `manifest`, whose texts it takes. */
static int read_image(const struct hl_oci_layout *layout, struct document *manifest, struct hl_oci_image *image,
                      struct hl_error *err)
{
    DOCUMENT config = {0};
    struct descriptor descriptor;
    if (read_descriptor(hl_json_get(manifest->json, "config"), image->digest, &descriptor, err))
        return -1;
    if (descriptor.kind != KIND_CONFIG)
        return hl_fail(err, "%s: its config is %s: an artifact, not an image", image->digest, descriptor.media_type);
    if (read_document(layout, &descriptor, &config, err))
        return -1;
    image->bytes = manifest->bytes + config.bytes;
    read_summary(image, config.json);
    if (read_layers(image, manifest->json, config.json, err))
        return -1;
    image->manifest = manifest->text;
    image->manifest_bytes = manifest->bytes;
    image->config = config.text;
    image->config_bytes = config.bytes;
    manifest->text = config.text = NULL;
    return 0;
}

int hl_oci_open(const char *directory, const char *tag, struct hl_oci_image *out, struct hl_error *err)
{
    *out = (struct hl_oci_image){0};
    LAYOUT layout;
    HL_JSON cJSON *index = NULL;
    DOCUMENT manifest = {0};
    const cJSON *entry;
    if (hl_oci_layout_open(directory, &layout, err) || hl_oci_layout_index(&layout, &index, err) ||
        find_entry(&layout, index, tag ? tag : "", &entry, err))
        return -1;
    copy_text(out->tag, sizeof out->tag, entry_tag(entry));
    return open_manifest(&layout, entry, 0, &manifest, out->digest, err) || read_image(&layout, &manifest, out, err)
               ? -1
               : 0;
}

void hl_oci_image_free(struct hl_oci_image *image)
{
    free(image->manifest);
    free(image->config);
    free(image->layer);
    *image = (struct hl_oci_image){0};
}

/* Everything that a verification has met; its content is read when all of it is known. */
struct walk {
    const struct hl_oci_layout *layout;
    struct found {
        char digest[HL_DIGEST_BYTES];
        uint64_t bytes;
    } * found;
    size_t n;
    size_t images;
};

/* Remembers a blob; *known tells whether it had been met before. */
static int meet(struct walk *walk, const struct descriptor *descriptor, bool *known, struct hl_error *err)
{
    *known = false;
    for (size_t i = 0; i < walk->n; i++) {
        if (strcmp(walk->found[i].digest, descriptor->digest))
            continue;
        *known = true;
        return walk->found[i].bytes == descriptor->bytes
                   ? 0
                   : hl_fail(err, "%s: two sizes are given for %s", walk->layout->directory, descriptor->digest);
    }
    if (walk->n == MAX_BLOBS)
        return hl_fail(err, "%s: more than %u blobs", walk->layout->directory, MAX_BLOBS);
    memcpy(walk->found[walk->n].digest, descriptor->digest, HL_DIGEST_BYTES);
    walk->found[walk->n++].bytes = descriptor->bytes;
    return 0;
}

static int meet_json(struct walk *walk, const cJSON *json, const char *where, struct hl_error *err)
{
    struct descriptor descriptor;
    bool known;
    return read_descriptor(json, where, &descriptor, err) || meet(walk, &descriptor, &known, err) ? -1 : 0;
}

/* Attestations and artifacts say that they run nowhere, or have a config of their own kind; their layers are theirs. */
static bool is_runnable(const cJSON *entry, const cJSON *manifest)
{
    struct descriptor config;
    struct hl_error ignored;
    const char *os = hl_json_text(hl_json_get(entry, "platform"), "os");
    return !(os && !strcmp(os, "unknown")) && !hl_json_text(manifest, "artifactType") &&
           !read_descriptor(hl_json_get(manifest, "config"), "", &config, &ignored) && config.kind == KIND_CONFIG;
}

static int visit_manifest(struct walk *walk, const cJSON *entry, const struct descriptor *descriptor,
                          struct hl_error *err)
{
    DOCUMENT manifest = {0};
    const cJSON *layer;
    if (read_document(walk->layout, descriptor, &manifest, err) ||
        meet_json(walk, hl_json_get(manifest.json, "config"), descriptor->digest, err))
        return -1;
    cJSON_ArrayForEach(layer, hl_json_get(manifest.json, "layers"))
    {
        if (meet_json(walk, layer, descriptor->digest, err))
            return -1;
    }
    if (!is_runnable(entry, manifest.json))
        return 0;
    struct hl_oci_image image = {0};
    memcpy(image.digest, descriptor->digest, HL_DIGEST_BYTES);
    int status = read_image(walk->layout, &manifest, &image, err);
    hl_oci_image_free(&image);
    walk->images++;
    return status;
}

static int visit(struct walk *walk, const cJSON *entry, unsigned depth, struct hl_error *err)
{
    struct descriptor descriptor;
    bool known;
    if (read_descriptor(entry, walk->layout->directory, &descriptor, err) || meet(walk, &descriptor, &known, err))
        return -1;
    if (known)
        return 0;
    if (descriptor.kind == KIND_MANIFEST)
        return visit_manifest(walk, entry, &descriptor, err);
    if (descriptor.kind != KIND_INDEX || depth == MAX_DEPTH)
        return hl_fail(err, "%s: %s is of an unknown kind, %s", walk->layout->directory, descriptor.digest,
                       descriptor.media_type);
    DOCUMENT index = {0};
    const cJSON *child;
    if (read_document(walk->layout, &descriptor, &index, err))
        return -1;
    cJSON_ArrayForEach(child, hl_json_get(index.json, "manifests"))
    {
        if (visit(walk, child, depth + 1, err))
            return -1;
    }
    return 0;
}

static int hash_file(int fd, uint64_t bytes, EVP_MD_CTX *sha256, unsigned char *buffer, struct hl_progress *progress,
                     struct hl_error *err)
{
    for (uint64_t left = bytes; left;) {
        ssize_t n = read(fd, buffer, left < READ_BYTES ? (size_t)left : READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !EVP_DigestUpdate(sha256, buffer, (size_t)n))
            return hl_fail(err, "cannot be read: %s", n < 0 ? strerror(errno) : "it became shorter");
        hl_progress_add(progress, (uint64_t)n);
        left -= (uint64_t)n;
    }
    return 0;
}

static int verify_blob(const struct walk *walk, const struct found *blob, EVP_MD_CTX *sha256, unsigned char *buffer,
                       struct hl_progress *progress, struct hl_error *err)
{
    HL_CLOSE int fd =
        openat(walk->layout->blobs, hl_digest_file(blob->digest), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        return hl_fail(err, "%s: %s", blob->digest, strerror(errno));
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != blob->bytes)
        return hl_fail(err, "%s: damaged: holds %lld bytes instead of %llu", blob->digest, (long long)status.st_size,
                       (unsigned long long)blob->bytes);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    unsigned char hash[EVP_MAX_MD_SIZE];
    char digest[HL_DIGEST_BYTES];
    if (!EVP_DigestInit_ex(sha256, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 is not available in this libcrypto");
    if (hash_file(fd, blob->bytes, sha256, buffer, progress, err))
        return hl_error_prefix(err, "%s", blob->digest);
    if (!EVP_DigestFinal_ex(sha256, hash, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(hash, digest);
    return strcmp(digest, blob->digest) ? hl_fail(err, "%s: damaged: its content is %s", blob->digest, digest) : 0;
}

static int verify_blobs(const struct walk *walk, struct hl_progress *progress, uint64_t *total, struct hl_error *err)
{
    HL_FREE unsigned char *buffer = malloc(READ_BYTES);
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new();
    int status = buffer && sha256 ? 0 : hl_fail(err, "out of memory");
    *total = 0;
    for (size_t i = 0; i < walk->n; i++)
        *total += walk->found[i].bytes;
    hl_progress_begin(progress, "verifying", *total);
    for (size_t i = 0; !status && i < walk->n; i++)
        status = verify_blob(walk, &walk->found[i], sha256, buffer, progress, err);
    EVP_MD_CTX_free(sha256);
    if (status)
        return hl_error_prefix(err, "%s/blobs", walk->layout->directory);
    hl_progress_end(progress);
    return 0;
}

int hl_oci_verify(const char *directory, const char *tag, struct hl_progress *progress, struct hl_oci_verified *out,
                  struct hl_error *err)
{
    LAYOUT layout;
    HL_JSON cJSON *index = NULL;
    HL_FREE struct found *found = calloc(MAX_BLOBS, sizeof *found);
    struct walk walk = {.layout = &layout, .found = found};
    const cJSON *entry = NULL;
    *out = (struct hl_oci_verified){0};
    if (hl_oci_layout_open(directory, &layout, err) || hl_oci_layout_index(&layout, &index, err))
        return -1;
    if (!found)
        return hl_fail(err, "out of memory");
    if (tag && *tag) {
        if (find_entry(&layout, index, tag, &entry, err) || visit(&walk, entry, 0, err))
            return -1;
    } else {
        cJSON_ArrayForEach(entry, hl_json_get(index, "manifests"))
        {
            if (visit(&walk, entry, 0, err))
                return -1;
        }
    }
    if (verify_blobs(&walk, progress, &out->bytes, err))
        return -1;
    out->images = walk.images;
    out->blobs = walk.n;
    return 0;
}
