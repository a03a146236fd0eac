/* Reads documents that a stranger wrote. Each is limited in size, compared with its digest before it is parsed, and
 * checked against the documents around it. Only a valid digest ever becomes a path or a part of a URL.
 *
 *   manifest -> config    rootfs.diff_ids[i]  = digest of layer i, if that is a plain tar
 *            -> layers    history             = one entry per layer, besides the empty ones
 */
#include "registry/oci/document.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include <assert.h>
#include <openssl/evp.h>

static const struct {
    const char *media_type;
    enum hl_document_kind kind;
} media_types[] = {
    {HL_OCI_INDEX, HL_KIND_INDEX},    {HL_OCI_MANIFEST, HL_KIND_MANIFEST},     {HL_OCI_CONFIG, HL_KIND_CONFIG},
    {HL_OCI_LAYER, HL_KIND_TAR},      {HL_OCI_LAYER "+gzip", HL_KIND_GZIP},    {HL_OCI_LAYER "+zstd", HL_KIND_ZSTD},
    {HL_DOCKER_INDEX, HL_KIND_INDEX}, {HL_DOCKER_MANIFEST, HL_KIND_MANIFEST},  {HL_DOCKER_CONFIG, HL_KIND_CONFIG},
    {HL_DOCKER_LAYER, HL_KIND_TAR},   {HL_DOCKER_LAYER ".gzip", HL_KIND_GZIP}, {HL_DOCKER_LAYER ".zstd", HL_KIND_ZSTD},
};

enum hl_document_kind hl_document_kind_of(const char *media_type)
{
    for (size_t i = 0; i < HL_COUNT(media_types); i++)
        if (!strcmp(media_type, media_types[i].media_type))
            return media_types[i].kind;
    return HL_KIND_UNKNOWN;
}

const char *hl_document_media_type(enum hl_document_kind kind)
{
    for (size_t i = 0; i < HL_COUNT(media_types); i++)
        if (media_types[i].kind == kind) /* the OCI types come first */
            return media_types[i].media_type;
    return NULL;
}

static bool media_type_valid(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length && length < sizeof((struct hl_descriptor *)0)->media_type;
}

int hl_descriptor_read(const cJSON *json, const char *where, struct hl_descriptor *out, struct hl_error *err)
{
    const char *media_type = hl_json_text(json, "mediaType"), *digest = hl_json_text(json, "digest");
    *out = (struct hl_descriptor){.bytes = 0};
    if (!media_type_valid(media_type) || !digest || !hl_digest_valid(digest))
        return hl_fail(err, "%s: a descriptor without a media type or a valid SHA-256 digest", where);
    if (!hl_json_count(hl_json_get(json, "size"), HL_BLOB_LIMIT, &out->bytes))
        return hl_fail(err, "%s: %s has no valid size", where, digest);
    memcpy(out->digest, digest, HL_DIGEST_BYTES);
    memcpy(out->media_type, media_type, strlen(media_type) + 1);
    out->kind = hl_document_kind_of(media_type);
    hl_text_copy(out->tag, sizeof out->tag, hl_json_text(hl_json_get(json, "annotations"), HL_OCI_REF_NAME));
    out->runs_nowhere = hl_json_is(hl_json_get(json, "platform"), "os", "unknown");
    return 0;
}

int hl_document_check(const struct hl_descriptor *descriptor, const void *text, size_t bytes, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char found[HL_DIGEST_BYTES];
    if (bytes != descriptor->bytes)
        return hl_fail(err, "%s holds %zu bytes instead of %llu", descriptor->digest, bytes,
                       (unsigned long long)descriptor->bytes);
    if (!EVP_Digest(text, bytes, sha256, NULL, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, found);
    return strcmp(found, descriptor->digest) ? hl_fail(err, "%s: damaged: its content is %s", descriptor->digest, found)
                                             : 0;
}

int hl_document_parse(const struct hl_descriptor *descriptor, const char *text, size_t bytes, cJSON **out,
                      struct hl_error *err)
{
    struct hl_view view = {(const uint8_t *)text, bytes};
    char what[sizeof descriptor->digest + sizeof descriptor->media_type + 3];
    bool versioned = descriptor->kind == HL_KIND_INDEX || descriptor->kind == HL_KIND_MANIFEST;
    uint64_t version = 0;
    snprintf(what, sizeof what, "%s (%s)", descriptor->digest, descriptor->media_type);
    if (hl_json_parse(view, what, out, err))
        return -1;
    const char *media_type = hl_json_text(*out, "mediaType");
    int status = 0;
    if (media_type && strcmp(media_type, descriptor->media_type) != 0)
        status = hl_fail(err, "%s is not the %s that it is said to be", descriptor->digest, descriptor->media_type);
    else if (versioned && (!hl_json_count(hl_json_get(*out, "schemaVersion"), 2, &version) || version != 2))
        status = hl_fail(err, "%s: its schema version is not 2, the only supported one", what);
    if (!status)
        return 0;
    cJSON_Delete(*out);
    *out = NULL;
    return status;
}

bool hl_document_is_amd64(const cJSON *entry)
{
    const cJSON *platform = hl_json_get(entry, "platform");
    return hl_json_is(platform, "architecture", "amd64") && hl_json_is(platform, "os", "linux");
}

static const cJSON *next_layer_history(const cJSON *entry)
{
    while (entry && hl_json_true(entry, "empty_layer"))
        entry = entry->next;
    return entry;
}

/* Returns whether a layer's owner forbids passing it on: Windows layers, in old images. */
static bool is_foreign(const char *media_type)
{
    return strstr(media_type, ".foreign.") || strstr(media_type, ".nondistributable.");
}

static int read_layer(struct hl_image *image, const cJSON *json, const char *diff_id, const cJSON *line,
                      struct hl_error *err)
{
    struct hl_image_layer *layer = &image->layer[image->n_layers++];
    const char *manifest = image->manifest.digest;
    if (hl_descriptor_read(json, manifest, &layer->blob, err))
        return -1;
    if (is_foreign(layer->blob.media_type))
        return hl_fail(err, "%s: layer %zu is %s: it may not be distributed, so no registry has it", manifest,
                       image->n_layers, layer->blob.media_type);
    if (!hl_document_is_layer(layer->blob.kind))
        return hl_fail(err, "%s: layer %zu is of an unknown kind, %s", manifest, image->n_layers,
                       layer->blob.media_type);
    if (!diff_id || !hl_digest_valid(diff_id) ||
        (layer->blob.kind == HL_KIND_TAR && strcmp(diff_id, layer->blob.digest)))
        return hl_fail(err, "%s: layer %zu is %s, but its config says otherwise", manifest, image->n_layers,
                       layer->blob.digest);
    memcpy(layer->diff_id, diff_id, HL_DIGEST_BYTES);
    hl_text_copy(layer->what, sizeof layer->what, hl_json_text(line, "created_by"));
    image->bytes += layer->blob.bytes;
    return 0;
}

/* Fills image->layer from the manifest and the config, which must agree about the layers. */
static int read_layers(struct hl_image *image, const cJSON *manifest, const cJSON *config, struct hl_error *err)
{
    const cJSON *layers = hl_json_get(manifest, "layers"), *json;
    const cJSON *diff_ids = hl_json_get(hl_json_get(config, "rootfs"), "diff_ids"),
                *history = hl_json_get(config, "history");
    const char *digest = image->manifest.digest;
    int n = cJSON_GetArraySize(layers);
    if ((diff_ids && !cJSON_IsArray(diff_ids)) || (history && !cJSON_IsArray(history)))
        return hl_fail(err, "%s: \"diff_ids\" or \"history\" of its config is not a list", digest);
    if (!cJSON_IsArray(layers) || n > HL_IMAGE_LAYERS_MOST || n != cJSON_GetArraySize(diff_ids))
        return hl_fail(err, "%s: the manifest has %d layers, its config %d", digest, n, cJSON_GetArraySize(diff_ids));
    image->layer = calloc((size_t)n + 1, sizeof *image->layer);
    if (!image->layer)
        return hl_no_memory(err);
    const cJSON *diff_id = diff_ids ? diff_ids->child : NULL;
    const cJSON *line = next_layer_history(history ? history->child : NULL);
    cJSON_ArrayForEach(json, layers)
    {
        if (read_layer(image, json, cJSON_GetStringValue(diff_id), line, err))
            return -1;
        if (history && !line)
            return hl_fail(err, "%s: the history has fewer layers than the image", digest);
        assert(diff_id); /* as many as layers */
        diff_id = diff_id->next;
        line = next_layer_history(line ? line->next : NULL);
    }
    return line ? hl_fail(err, "%s: the history has more layers than the image", digest) : 0;
}

static void read_summary(struct hl_image *image, const cJSON *root)
{
    const cJSON *config = hl_json_get(root, "config"), *word;
    char os[24], architecture[24];
    hl_text_copy(os, sizeof os, hl_json_text(root, "os"));
    hl_text_copy(architecture, sizeof architecture, hl_json_text(root, "architecture"));
    snprintf(image->platform, sizeof image->platform, "%s/%s", os, architecture);
    hl_text_copy(image->created, sizeof image->created, hl_json_text(root, "created"));
    hl_text_copy(image->user, sizeof image->user, hl_json_text(config, "User"));
    cJSON_ArrayForEach(word, hl_json_get(config, "Entrypoint"))
    {
        size_t used = strlen(image->entrypoint);
        if (used + 2 < sizeof image->entrypoint && used)
            image->entrypoint[used++] = ' ';
        hl_text_copy(image->entrypoint + used, sizeof image->entrypoint - used, cJSON_GetStringValue(word));
    }
}

int hl_image_read(struct hl_image *image, const struct hl_descriptor *manifest, char *manifest_text,
                  size_t manifest_bytes, const struct hl_descriptor *config, char *config_text, size_t config_bytes,
                  struct hl_error *err)
{
    HL_JSON cJSON *manifest_json = NULL;
    HL_JSON cJSON *config_json = NULL;
    image->manifest = *manifest;
    image->config = *config;
    image->bytes = manifest_bytes + config_bytes;
    if (hl_document_parse(manifest, manifest_text, manifest_bytes, &manifest_json, err) ||
        hl_document_parse(config, config_text, config_bytes, &config_json, err) ||
        read_layers(image, manifest_json, config_json, err))
        return -1;
    read_summary(image, config_json);
    image->manifest_text = manifest_text;
    image->manifest_bytes = manifest_bytes;
    image->config_text = config_text;
    image->config_bytes = config_bytes;
    return 0;
}

void hl_image_free(struct hl_image *image)
{
    free(image->manifest_text);
    free(image->config_text);
    free(image->layer);
    *image = (struct hl_image){.bytes = 0};
}
