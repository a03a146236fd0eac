/* Walks down from a root and remembers everything that it finds. Nothing is read twice. No document can send it in
 * circles, since a digest cannot contain itself and the depth is limited. */
#include "registry/oci/walk.h"
#include "base/cleanup.h"

/* Remembers a blob. */
static int meet_blob(struct hl_walk *walk, const struct hl_descriptor *blob, struct hl_error *err)
{
    for (size_t i = 0; i < walk->n_blobs; i++)
        if (!strcmp(walk->blob[i].digest, blob->digest))
            return walk->blob[i].bytes == blob->bytes ? 0 : hl_fail(err, "two sizes are given for %s", blob->digest);
    if (walk->n_blobs == HL_WALK_MOST)
        return hl_fail(err, "more than %u blobs", HL_WALK_MOST);
    if (!walk->blob && !(walk->blob = calloc(HL_WALK_MOST, sizeof *walk->blob)))
        return hl_no_memory(err);
    walk->blob[walk->n_blobs++] = *blob;
    walk->bytes += blob->bytes;
    return 0;
}

static bool met_document(const struct hl_walk *walk, const char *digest)
{
    for (size_t i = 0; i < walk->n_documents; i++)
        if (!strcmp(walk->document[i].descriptor.digest, digest))
            return true;
    return false;
}

static int keep_document(struct hl_walk *walk, const struct hl_descriptor *descriptor, char **text,
                         struct hl_error *err)
{
    if (walk->n_documents == HL_WALK_MOST)
        return hl_fail(err, "more than %u manifests", HL_WALK_MOST);
    if (!walk->document && !(walk->document = calloc(HL_WALK_MOST, sizeof *walk->document)))
        return hl_no_memory(err);
    walk->document[walk->n_documents++] = (struct hl_walk_document){*descriptor, *text};
    walk->bytes += descriptor->bytes;
    *text = NULL;
    return 0;
}

/* Fails unless config and manifest of an image agree. */
static int check_image(struct hl_walk *walk, const struct hl_descriptor *manifest, char *text, size_t bytes,
                       const struct hl_descriptor *config, struct hl_error *err)
{
    HL_FREE char *config_text = NULL;
    size_t config_bytes;
    struct hl_image image = {.bytes = 0};
    if (walk->store->class->document(walk->store, config, &config_text, &config_bytes, err))
        return -1;
    int status = hl_image_read(&image, manifest, text, bytes, config, config_text, config_bytes, err);
    image.manifest_text = image.config_text = NULL; /* the callers own them */
    hl_image_free(&image);
    walk->images++;
    return status;
}

/* Adds a manifest. Attestations and artifacts are marked to run nowhere, or have another kind of config: their layers
 * are not checked against it. */
static int add_manifest(struct hl_walk *walk, const struct hl_descriptor *manifest, char *text, size_t bytes,
                        const cJSON *json, struct hl_error *err)
{
    struct hl_descriptor config, layer;
    const cJSON *item;
    if (hl_descriptor_read(hl_json_get(json, "config"), manifest->digest, &config, err) ||
        meet_blob(walk, &config, err))
        return -1;
    cJSON_ArrayForEach(item, hl_json_get(json, "layers"))
    {
        if (hl_descriptor_read(item, manifest->digest, &layer, err) || meet_blob(walk, &layer, err))
            return -1;
    }
    bool runnable = config.kind == HL_KIND_CONFIG && !manifest->runs_nowhere && !hl_json_text(json, "artifactType");
    return runnable ? check_image(walk, manifest, text, bytes, &config, err) : 0;
}

static int add(struct hl_walk *walk, const struct hl_descriptor *descriptor, unsigned depth, struct hl_error *err);

static int add_children(struct hl_walk *walk, const struct hl_descriptor *index, const cJSON *json, unsigned depth,
                        struct hl_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, hl_json_get(json, "manifests"))
    {
        struct hl_descriptor child;
        if (hl_descriptor_read(item, index->digest, &child, err) || add(walk, &child, depth + 1, err))
            return -1;
    }
    return 0;
}

static int add(struct hl_walk *walk, const struct hl_descriptor *descriptor, unsigned depth, struct hl_error *err)
{
    HL_FREE char *text = NULL;
    HL_JSON cJSON *json = NULL;
    size_t bytes = 0;
    if (met_document(walk, descriptor->digest))
        return 0;
    bool index = descriptor->kind == HL_KIND_INDEX && depth < HL_INDEX_DEPTH;
    if (!index && descriptor->kind != HL_KIND_MANIFEST)
        return hl_fail(err, "%s is of an unknown kind, %s", descriptor->digest, descriptor->media_type);
    if (walk->store->class->document(walk->store, descriptor, &text, &bytes, err) ||
        hl_document_parse(descriptor, text, bytes, &json, err))
        return -1;
    int status = index ? add_children(walk, descriptor, json, depth, err)
                       : add_manifest(walk, descriptor, text, bytes, json, err);
    return status ? -1 : keep_document(walk, descriptor, &text, err);
}

int hl_walk_add(struct hl_walk *walk, const struct hl_descriptor *root, struct hl_error *err)
{
    return add(walk, root, 0, err);
}

void hl_walk_free(struct hl_walk *walk)
{
    for (size_t i = 0; i < walk->n_documents; i++)
        free(walk->document[i].text);
    free(walk->document);
    free(walk->blob);
    *walk = (struct hl_walk){.store = NULL};
}
