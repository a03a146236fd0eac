/* Finds an image in a store: a name leads to a manifest, perhaps through indexes, and the manifest to a config. */
#include "registry/oci/oci_image.h"
#include "base/cleanup.h"

static int open_document(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                         struct hl_error *err)
{
    return store->class->document(store, descriptor, text, bytes, err);
}

/* Follows indexes to the first manifest for linux/amd64. */
static int find_manifest(struct hl_store *store, struct hl_descriptor *descriptor, struct hl_error *err)
{
    for (unsigned depth = 0; descriptor->kind == HL_KIND_INDEX && depth < HL_INDEX_DEPTH; depth++) {
        HL_FREE char *text = NULL;
        HL_JSON cJSON *index = NULL;
        size_t bytes;
        if (open_document(store, descriptor, &text, &bytes, err) ||
            hl_document_parse(descriptor, text, bytes, &index, err))
            return -1;
        const cJSON *child, *found = NULL;
        cJSON_ArrayForEach(child, hl_json_get(index, "manifests"))
        {
            if (!found && hl_document_is_amd64(child))
                found = child;
        }
        char digest[HL_DIGEST_BYTES];
        memcpy(digest, descriptor->digest, sizeof digest);
        if (!found)
            return hl_fail(err, "%s has no image for linux/amd64", digest);
        if (hl_descriptor_read(found, digest, descriptor, err))
            return -1;
    }
    return descriptor->kind == HL_KIND_MANIFEST
               ? 0
               : hl_fail(err, "%s is %s, not an image", descriptor->digest, descriptor->media_type);
}

static int open_manifest(struct hl_store *store, const struct hl_descriptor *manifest, struct hl_image *out,
                         struct hl_error *err)
{
    HL_FREE char *text = NULL;
    HL_FREE char *config_text = NULL;
    HL_JSON cJSON *json = NULL;
    struct hl_descriptor config;
    size_t bytes, config_bytes;
    if (open_document(store, manifest, &text, &bytes, err) || hl_document_parse(manifest, text, bytes, &json, err) ||
        hl_descriptor_read(hl_json_get(json, "config"), manifest->digest, &config, err))
        return -1;
    if (config.kind != HL_KIND_CONFIG)
        return hl_fail(err, "%s: its config is %s: an artifact, not an image", manifest->digest, config.media_type);
    if (open_document(store, &config, &config_text, &config_bytes, err) ||
        hl_image_read(out, manifest, text, bytes, &config, config_text, config_bytes, err))
        return -1;
    text = config_text = NULL; /* the image owns them now */
    return 0;
}

int hl_image_open(struct hl_store *store, const char *name, struct hl_image *out, struct hl_error *err)
{
    struct hl_descriptor descriptor;
    *out = (struct hl_image){.bytes = 0};
    if (store->class->resolve(store, name, &descriptor, err))
        return hl_error_prefix(err, "%s", store->name);
    memcpy(out->tag, descriptor.tag, sizeof out->tag);
    return find_manifest(store, &descriptor, err) || open_manifest(store, &descriptor, out, err)
               ? hl_error_prefix(err, "%s", store->name)
               : 0;
}
