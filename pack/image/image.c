/* Makes an image of a packed model: plans the layers, streams each into a blob, describes them, then updates the index.
 *
 *   index.json -> manifest -> config            layers, in the order in which a start reads them:
 *                          -> the base's layers
 *                          -> layer 1           /usr/bin/hotlayerd, its loader and libraries, /tmp
 *                          -> layer 2           /models/NAME/model.hot
 *                          -> layer 3, 4, ...   /models/NAME/model.hot.001, .002, ...
 *
 * A new runtime leaves the layers of weights as they are, and an unchanged shard keeps its digest. Layers are not
 * compressed unless asked for: quantized weights shrink by 5 to 15 percent, and compression is many times slower than
 * the hash. A plain layer's digest is also its diff_id, so one pass over the bytes yields both.
 *
 * The base's layers are copied in parallel with the making of ours. The target decides whether bytes move at all.
 */
#include "pack/image/image.h"
#include "base/cleanup.h"
#include "base/parallel.h"
#include "base/text.h"
#include "pack/image/elf.h"
#include "pack/image/image_config.h"
#include "pack/image/layer.h"
#include "pack/meta.h"
#include <assert.h>
#include <openssl/evp.h>
#include <time.h>

#define WHAT_BYTES 160
#define ANNOTATIONS 4 /* the config has them as labels too */

struct planned_layer {
    struct hl_layer layer;
    struct hl_content content;
    struct hl_descriptor blob;
    char diff_id[HL_DIGEST_BYTES];
    char what[WHAT_BYTES];
};

struct plan {
    const struct hl_image_spec *spec;
    struct hl_target *target;
    struct planned_layer *layer;
    size_t n;
    char created[24]; /* RFC 3339, or "" */
    char comment[64]; /* how the layers are compressed, or "" */
    struct hl_config_label annotation[ANNOTATIONS];
};

static void plan_free(struct plan *plan)
{
    for (size_t i = 0; plan->layer && i < plan->n; i++)
        hl_layer_free(&plan->layer[i].layer);
    free(plan->layer);
}

static int check_spec(const struct hl_image_spec *spec, struct plan *plan, struct hl_error *err)
{
    plan->spec = spec;
    if (hl_meta_check_name(spec->name, err))
        return -1;
    if (spec->created < -1 || spec->created > HL_LAST_CREATED)
        return hl_fail(err, "the date %lld is not between 0 and %lld seconds since 1970", (long long)spec->created,
                       (long long)HL_LAST_CREATED);
    time_t seconds = (time_t)spec->created;
    struct tm utc;
    if (spec->created >= 0 &&
        (!gmtime_r(&seconds, &utc) || !strftime(plan->created, sizeof plan->created, "%Y-%m-%dT%H:%M:%SZ", &utc)))
        return hl_fail(err, "the date %lld cannot be written", (long long)spec->created);
    if (spec->compress)
        hl_compress_describe(spec->compress, plan->comment, sizeof plan->comment);
    /* image-spec, annotations.md */
    const struct hl_config_label annotations[ANNOTATIONS] = {
        {"org.opencontainers.image.created", plan->created},
        {"org.opencontainers.image.licenses", spec->licenses},
        {"org.opencontainers.image.source", spec->source},
        {"org.opencontainers.image.title", spec->title},
    };
    memcpy(plan->annotation, annotations, sizeof annotations);
    return 0;
}

/* Adds hotlayerd; on a base, with its libraries in a private folder. */
static int add_runtime(struct hl_layer *layer, const struct hl_image_spec *spec, struct hl_elf_files *files,
                       struct hl_error *err)
{
    char *program = NULL;
    size_t bytes = 0;
    if (!spec->base)
        return hl_elf_libraries(spec->runtime, files, err) ||
                       hl_layer_add(layer, "/usr/bin/hotlayerd", spec->runtime, 0755, err)
                   ? -1
                   : 0;
    if (hl_elf_private(spec->runtime, files, &program, &bytes, err)) {
        free(program);
        return -1;
    }
    return hl_layer_add_bytes(layer, "/usr/bin/hotlayerd", program, bytes, 0755, err);
}

static int plan_runtime(struct planned_layer *planned, const struct hl_image_spec *spec, struct hl_error *err)
{
    struct hl_elf_files files;
    snprintf(planned->what, WHAT_BYTES, "hotlayer image: runtime");
    int status =
        add_runtime(&planned->layer, spec, &files, err) || hl_layer_add(&planned->layer, "/tmp", NULL, 01777, err) ? -1
                                                                                                                   : 0;
    for (size_t i = 0; !status && i < files.n; i++) {
        /* A folder lib/ of ours would replace a base's link /lib and break all of its programs. */
        assert(!spec->base || hl_text_begins(files.file[i].target, HL_ELF_PRIVATE "/"));
        status = hl_layer_add(&planned->layer, files.file[i].target, files.file[i].source, 0755, err);
    }
    hl_elf_files_free(&files);
    return status;
}

static int plan_file(struct planned_layer *planned, const char *name, const char *suffix, const char *source,
                     struct hl_error *err)
{
    char path[2 * HL_MODEL_NAME_MAX];
    snprintf(path, sizeof path, "/models/%s/model.hot%s", name, suffix);
    return hl_layer_add(&planned->layer, path, source, 0644, err);
}

static int check_count(const struct hl_image_spec *spec, size_t ours, struct hl_error *err)
{
    size_t base = spec->base ? spec->base->image.n_layers : 0;
    if (ours + base <= HL_RUNNABLE_LAYERS)
        return 0;
    return hl_fail(err,
                   "the image would have %zu layers, %zu of them the base's; more than %d cannot be mounted. Pack the "
                   "model again with larger shards (hotlayer pack --shard-size)%s",
                   ours + base, base, HL_RUNNABLE_LAYERS, base ? ", or choose a base with fewer layers" : "");
}

/* Returns the number of the base's layers; an image may list a layer twice. */
static size_t base_layers(const struct plan *plan)
{
    return plan->spec->base ? plan->spec->base->image.n_layers : 0;
}

static bool is_repeated(const struct hl_image *image, size_t layer)
{
    assert(image->layer);
    for (size_t i = 0; i < layer; i++)
        if (!strcmp(image->layer[i].blob.digest, image->layer[layer].blob.digest))
            return true;
    return false;
}

/* Returns the blob of the base's layer i, or NULL if an earlier layer has the same blob, which is copied once. */
static const struct hl_descriptor *base_blob(const struct plan *plan, size_t i)
{
    const struct hl_image *image = &plan->spec->base->image;
    return is_repeated(image, i) ? NULL : &image->layer[i].blob;
}

static int plan_layers(struct plan *plan, struct hl_error *err)
{
    const struct hl_image_spec *spec = plan->spec;
    size_t head = spec->runtime ? 1 : 0;
    if (check_count(spec, head + 1 + spec->n_shards, err))
        return -1;
    plan->layer = calloc(head + 1 + spec->n_shards, sizeof *plan->layer);
    if (!plan->layer)
        return hl_no_memory(err);
    plan->n = head + 1 + spec->n_shards;
    for (size_t i = 0; i < plan->n; i++)
        plan->layer[i].layer.fd = -1;
    snprintf(plan->layer[head].what, WHAT_BYTES, "hotlayer image: model %s", spec->name);
    if ((spec->runtime && plan_runtime(&plan->layer[0], spec, err)) ||
        plan_file(&plan->layer[head], spec->name, "", spec->head, err))
        return -1;
    for (size_t i = 0; i < spec->n_shards; i++) {
        struct planned_layer *planned = &plan->layer[head + 1 + i];
        char suffix[8];
        snprintf(suffix, sizeof suffix, ".%03u", (unsigned)(i + 1) % 1000);
        snprintf(planned->what, WHAT_BYTES, "hotlayer image: weights %zu of %zu", i + 1, spec->n_shards);
        if (plan_file(planned, spec->name, suffix, spec->shards[i], err))
            return -1;
    }
    return 0;
}

/* Stores a document that we made and returns its descriptor in `out`. */
static int store_json(const cJSON *json, enum hl_document_kind kind, struct hl_target *target, char **text,
                      struct hl_descriptor *out, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    *text = json ? cJSON_PrintUnformatted(json) : NULL;
    if (!*text)
        return hl_no_memory(err);
    *out = (struct hl_descriptor){.bytes = strlen(*text), .kind = kind};
    if (out->bytes > HL_DOCUMENT_LIMIT)
        return hl_fail(err, "the image's config would be larger than the %zu bytes that registries take",
                       HL_DOCUMENT_LIMIT);
    snprintf(out->media_type, sizeof out->media_type, "%s", hl_document_media_type(kind));
    if (!EVP_Digest(*text, out->bytes, sha256, NULL, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, out->digest);
    return target->class->document(target, out, *text, err);
}

/* The builders below return false if memory ran out; what they built so far is attached to the root, which is freed. */
static bool add_text(cJSON *object, const char *key, const char *text)
{
    return !text || !*text || cJSON_AddStringToObject(object, key, text);
}

static bool add_annotations(cJSON *root, const struct plan *plan)
{
    const struct hl_base *base = plan->spec->base;
    cJSON *annotations = cJSON_AddObjectToObject(root, "annotations");
    for (size_t i = 0; i < ANNOTATIONS; i++)
        if (!add_text(annotations, plan->annotation[i].key, plan->annotation[i].value))
            return false;
    return annotations &&
           (!base || (add_text(annotations, "org.opencontainers.image.base.digest", base->image.manifest.digest) &&
                      add_text(annotations, "org.opencontainers.image.base.name", base->name)));
}

static bool add_descriptor(cJSON *descriptor, const char *media_type, const struct hl_descriptor *blob)
{
    return cJSON_AddStringToObject(descriptor, "mediaType", media_type) &&
           cJSON_AddStringToObject(descriptor, "digest", blob->digest) &&
           cJSON_AddNumberToObject(descriptor, "size", (double)blob->bytes);
}

/* Adds a layer. A base's layers may have Docker's media types; in our manifest all have OCI's. */
static bool add_layer(cJSON *layers, const struct hl_descriptor *blob)
{
    cJSON *descriptor = cJSON_CreateObject();
    return cJSON_AddItemToArray(layers, descriptor) &&
           add_descriptor(descriptor, hl_document_media_type(blob->kind), blob);
}

static cJSON *make_manifest(const struct plan *plan, const struct hl_descriptor *config)
{
    const struct hl_base *base = plan->spec->base;
    cJSON *root = cJSON_CreateObject();
    bool complete = cJSON_AddNumberToObject(root, "schemaVersion", 2) &&
                    cJSON_AddStringToObject(root, "mediaType", HL_OCI_MANIFEST) &&
                    add_descriptor(cJSON_AddObjectToObject(root, "config"), config->media_type, config);
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; complete && base && i < base->image.n_layers; i++)
        complete = add_layer(layers, &base->image.layer[i].blob);
    for (size_t i = 0; complete && i < plan->n; i++)
        complete = add_layer(layers, &plan->layer[i].blob);
    if (complete && add_annotations(root, plan))
        return root;
    cJSON_Delete(root);
    return NULL;
}

static int make_config(const struct plan *plan, cJSON **out, struct hl_error *err)
{
    HL_FREE struct hl_config_layer *layers = calloc(plan->n + 1, sizeof *layers);
    if (!layers)
        return hl_no_memory(err);
    for (size_t i = 0; i < plan->n; i++)
        layers[i] = (struct hl_config_layer){plan->layer[i].diff_id, plan->layer[i].what,
                                             *plan->comment ? plan->comment : NULL};
    const struct hl_config_spec spec = {.base = plan->spec->base ? &plan->spec->base->image : NULL,
                                        .created = plan->created,
                                        .process = plan->spec->runtime != NULL,
                                        .label = plan->annotation,
                                        .n_labels = ANNOTATIONS,
                                        .layer = layers,
                                        .n_layers = plan->n};
    return hl_image_config_make(&spec, out, err);
}

static int compress_layer(const struct plan *plan, struct planned_layer *planned, struct hl_error *err)
{
    struct hl_compress *compress;
    struct hl_stream stream;
    if (hl_compress_open(&planned->content, plan->spec->compress, plan->spec->progress, &compress, err))
        return -1;
    hl_compress_stream(compress, &stream);
    int status = plan->target->class->stream(plan->target, &stream, &planned->blob, err);
    memcpy(planned->diff_id, hl_compress_diff_id(compress), HL_DIGEST_BYTES);
    hl_compress_close(compress);
    planned->blob.kind = HL_KIND_ZSTD;
    return status;
}

static int write_layer(struct plan *plan, struct planned_layer *planned, struct hl_error *err)
{
    if (plan->spec->compress)
        return compress_layer(plan, planned, err);
    if (plan->target->class->content(plan->target, &planned->content, plan->spec->progress, &planned->blob, err))
        return -1;
    planned->blob.kind = HL_KIND_TAR;
    memcpy(planned->diff_id, planned->blob.digest, HL_DIGEST_BYTES);
    return 0;
}

/* Writes blob i: the base's layers first, then ours. */
static int write_blob(void *context, size_t i, struct hl_error *err)
{
    struct plan *plan = context;
    size_t n_base = base_layers(plan);
    if (i >= n_base)
        return write_layer(plan, &plan->layer[i - n_base], err);
    const struct hl_descriptor *blob = base_blob(plan, i);
    struct hl_store *store = plan->spec->base->store;
    return blob ? plan->target->class->copy(plan->target, store, blob, plan->spec->progress, err) : 0;
}

/* Tells the target which blobs will come, as far as they are known in advance; compressed layers are not. */
static int expect_blobs(const struct plan *plan, struct hl_error *err)
{
    size_t n = 0, n_base = base_layers(plan);
    HL_FREE struct hl_expected *list = calloc(n_base + plan->n + 1, sizeof *list);
    if (!list)
        return hl_no_memory(err);
    for (size_t i = 0; i < n_base; i++) {
        list[n].blob = base_blob(plan, i);
        n += list[n].blob != NULL;
    }
    for (size_t i = 0; i < plan->n && !plan->spec->compress; i++)
        list[n++].content = &plan->layer[i].content;
    return hl_target_expect(plan->target, list, n, err);
}

static int write_layers(struct plan *plan, struct hl_error *err)
{
    uint64_t total = 0;
    size_t n_base = base_layers(plan);
    int64_t mtime = plan->spec->created < 0 ? 0 : plan->spec->created;
    for (size_t i = 0; i < plan->n; i++) {
        struct planned_layer *planned = &plan->layer[i];
        if (hl_layer_plan(&planned->layer, mtime, err))
            return -1;
        hl_layer_content(&planned->layer, &planned->content);
        total += planned->layer.bytes;
    }
    for (size_t i = 0; i < n_base; i++) {
        const struct hl_descriptor *blob = base_blob(plan, i);
        total += blob ? blob->bytes : 0;
    }
    if (expect_blobs(plan, err))
        return -1;
    hl_progress_begin(plan->spec->progress, "writing layers", total);
    if (hl_parallel(n_base + plan->n, plan->target->jobs, write_blob, plan, err))
        return -1;
    hl_progress_end(plan->spec->progress);
    return 0;
}

/* Writes the image. Before it gets its name, its documents are read back as any reader would read them. */
static int write_image(struct plan *plan, struct hl_image *out, struct hl_error *err)
{
    HL_FREE char *config_text = NULL;
    HL_FREE char *manifest_text = NULL;
    HL_JSON cJSON *config_json = NULL;
    struct hl_descriptor config = {.bytes = 0}, manifest = {.bytes = 0};
    if (write_layers(plan, err) || make_config(plan, &config_json, err) ||
        store_json(config_json, HL_KIND_CONFIG, plan->target, &config_text, &config, err))
        return -1;
    HL_JSON cJSON *manifest_json = make_manifest(plan, &config);
    if (store_json(manifest_json, HL_KIND_MANIFEST, plan->target, &manifest_text, &manifest, err) ||
        hl_image_read(out, &manifest, manifest_text, (size_t)manifest.bytes, &config, config_text, (size_t)config.bytes,
                      err))
        return -1;
    manifest_text = config_text = NULL; /* the image owns them now */
    return plan->target->class->publish(plan->target, &manifest, out->manifest_text, err);
}

int hl_image_write(const struct hl_image_spec *spec, struct hl_target *target, struct hl_image *out,
                   struct hl_error *err)
{
    *out = (struct hl_image){.bytes = 0};
    __attribute__((cleanup(plan_free))) struct plan plan = {.target = target};
    if (check_spec(spec, &plan, err) || plan_layers(&plan, err))
        return -1;
    return write_image(&plan, out, err) ? hl_error_prefix(err, "%s", target->name) : 0;
}
