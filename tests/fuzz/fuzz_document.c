/* index.json, manifest and config, with a NUL between them -> an image. Follows a stranger's documents through indexes
 * to an image, and walks through it as `verify` does. Digests and sizes are not compared, because random ones never
 * match. The texts read from it, and Cloud Run's verdict about it, have no control characters and can be printed. */
#include "base/cleanup.h"
#include "pack/image/cloud_run.h"
#include "registry/oci/walk.h"
#include "tests/fuzz/guard.h"

#define PARTS 3

struct documents {
    struct hl_store store;
    const uint8_t *part[PARTS];
    size_t bytes[PARTS];
    unsigned indexes; /* documents read; after a few, the manifest answers */
};

static int resolve(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err)
{
    struct documents *documents = (struct documents *)store;
    HL_JSON cJSON *json = NULL;
    struct hl_view view = {documents->part[0], documents->bytes[0]};
    (void)name;
    if (hl_json_parse(view, "index.json", &json, err))
        return -1;
    const cJSON *manifests = hl_json_get(json, "manifests");
    return cJSON_IsArray(manifests) && manifests->child ? hl_descriptor_read(manifests->child, "index.json", out, err)
                                                        : hl_fail(err, "no image");
}

static int document(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                    struct hl_error *err)
{
    struct documents *documents = (struct documents *)store;
    size_t part = descriptor->kind == HL_KIND_INDEX ? 0 : descriptor->kind == HL_KIND_MANIFEST ? 1 : 2;
    *text = NULL;
    if (!part && documents->indexes++ > 20)
        return hl_fail(err, "enough");
    *text = malloc(documents->bytes[part] + 1);
    if (!*text)
        return hl_no_memory(err);
    *bytes = documents->bytes[part];
    memcpy(*text, documents->part[part], *bytes);
    (*text)[*bytes] = 0;
    return 0;
}

static const struct hl_store_class class = {.resolve = resolve, .document = document};

static void check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == size)
        abort();
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            abort();
}

static void check_image(const struct hl_image *image)
{
    check_text(image->tag, sizeof image->tag);
    check_text(image->platform, sizeof image->platform);
    check_text(image->created, sizeof image->created);
    check_text(image->user, sizeof image->user);
    check_text(image->entrypoint, sizeof image->entrypoint);
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct hl_image_layer *layer = &image->layer[i];
        check_text(layer->what, sizeof layer->what);
        check_text(layer->blob.media_type, sizeof layer->blob.media_type);
        if (!hl_digest_valid(layer->blob.digest) || !hl_digest_valid(layer->diff_id) ||
            !hl_document_is_layer(layer->blob.kind) || layer->blob.bytes > HL_BLOB_LIMIT)
            abort();
    }
}

static void check_cloud_run(const struct hl_image *image, const struct documents *documents)
{
    static const struct hl_models none;
    struct hl_cloud_run result;
    struct hl_error err;
    if (hl_cloud_run_check(image, (const char *)documents->part[0], documents->bytes[0], &none, &result, &err))
        return;
    if (!result.n || result.n > HL_CLOUD_RUN_CHECKS)
        abort();
    for (size_t i = 0; i < result.n; i++) {
        HL_JSON cJSON *object = cJSON_CreateObject();
        HL_JSON cJSON *again = NULL;
        check_text(result.check[i].message, sizeof result.check[i].message);
        HL_FREE char *text =
            cJSON_AddStringToObject(object, "m", result.check[i].message) ? cJSON_PrintUnformatted(object) : NULL;
        struct hl_view view = {(const uint8_t *)text, text ? strlen(text) : 0};
        if (text && hl_json_parse(view, "message", &again, &err)) /* UTF-8 */
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct documents documents = {.store = {.class = &class, .name = "fuzz"}};
    struct hl_image image;
    struct hl_descriptor root;
    struct hl_error err;
    data = guarded(data, size);
    if (!data)
        return 0;
    for (size_t i = 0; i < PARTS; i++) {
        const uint8_t *end = i + 1 < PARTS ? memchr(data, 0, size) : NULL;
        documents.part[i] = data;
        documents.bytes[i] = end ? (size_t)(end - data) : size;
        data += documents.bytes[i] + (end != NULL);
        size -= documents.bytes[i] + (end != NULL);
    }
    if (!hl_image_open(&documents.store, "", &image, &err)) {
        check_image(&image);
        check_cloud_run(&image, &documents);
    }
    hl_image_free(&image);
    documents.indexes = 0;
    HL_WALK walk = {.store = &documents.store};
    if (!resolve(&documents.store, "", &root, &err))
        (void)hl_walk_add(&walk, &root, &err);
    return 0;
}
