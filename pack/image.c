/* From a packed model to an image: plan the layers, stream each into a blob, describe them, then let the index know.
 *
 *   index.json -> manifest -> config            layers, in the order in which a start reads them:
 *                          -> layer 1           /usr/bin/hotlayerd, its loader and libraries, /tmp
 *                          -> layer 2           /models/NAME/model.hot
 *                          -> layer 3, 4, ...   /models/NAME/model.hot.001, .002, ...
 *
 * A new runtime leaves every gigabyte of weights where it is, and a shard that did not change keeps its digest. Layers
 * are not compressed: quantized weights shrink by 5 to 15 percent and would cost the hash's speed many times over, and
 * a layer's digest is then also its diff_id, so one pass over the bytes yields both.
 */
#include "pack/image.h"
#include "hotlayer/cleanup.h"
#include "pack/elf.h"
#include "pack/layer.h"
#include "pack/meta.h"
#include "registry/parallel.h"
#include <openssl/evp.h>
#include <time.h>

#define WHAT_BYTES 160

struct planned_layer {
    struct hl_layer layer;
    struct hl_descriptor blob;
    char what[WHAT_BYTES];
};

struct plan {
    const struct hl_image_spec *spec;
    struct hl_target *target;
    struct planned_layer *layer;
    size_t n;
    char created[24]; /* RFC 3339, or "" */
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
    if (hl_name_check(spec->name, err))
        return -1;
    if (spec->created < -1 || spec->created > HL_LAST_CREATED)
        return hl_fail(err, "the date %lld is not between 0 and %lld seconds since 1970", (long long)spec->created,
                       (long long)HL_LAST_CREATED);
    time_t seconds = (time_t)spec->created;
    struct tm utc;
    if (spec->created >= 0 &&
        (!gmtime_r(&seconds, &utc) || !strftime(plan->created, sizeof plan->created, "%Y-%m-%dT%H:%M:%SZ", &utc)))
        return hl_fail(err, "the date %lld cannot be written", (long long)spec->created);
    return 0;
}

static int plan_runtime(struct planned_layer *planned, const char *runtime, struct hl_error *err)
{
    struct hl_elf_files files;
    snprintf(planned->what, WHAT_BYTES, "hotlayer image: runtime");
    int status = hl_elf_libraries(runtime, &files, err) ||
                         hl_layer_add(&planned->layer, "/usr/bin/hotlayerd", runtime, 0755, err) ||
                         hl_layer_add(&planned->layer, "/tmp", NULL, 01777, err)
                     ? -1
                     : 0;
    for (size_t i = 0; !status && i < files.n; i++)
        status = hl_layer_add(&planned->layer, files.file[i].target, files.file[i].source, 0755, err);
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

static int plan_layers(struct plan *plan, struct hl_error *err)
{
    const struct hl_image_spec *spec = plan->spec;
    if (spec->n_shards > 999)
        return hl_fail(err, "%zu shards are more than an image can hold", spec->n_shards);
    plan->layer = calloc(2 + spec->n_shards, sizeof *plan->layer);
    if (!plan->layer)
        return hl_fail(err, "out of memory");
    plan->n = 2 + spec->n_shards;
    for (size_t i = 0; i < plan->n; i++)
        plan->layer[i].layer.fd = -1;
    snprintf(plan->layer[1].what, WHAT_BYTES, "hotlayer image: model %s", spec->name);
    if (plan_runtime(&plan->layer[0], spec->runtime, err) ||
        plan_file(&plan->layer[1], spec->name, "", spec->head, err))
        return -1;
    for (size_t i = 0; i < spec->n_shards; i++) {
        struct planned_layer *planned = &plan->layer[2 + i];
        char suffix[8];
        snprintf(suffix, sizeof suffix, ".%03u", (unsigned)(i + 1) % 1000);
        snprintf(planned->what, WHAT_BYTES, "hotlayer image: weights %zu of %zu", i + 1, spec->n_shards);
        if (plan_file(planned, spec->name, suffix, spec->shards[i], err))
            return -1;
    }
    return 0;
}

/* Stores a document that we made; `out` says what it is called. */
static int store_json(const cJSON *json, enum hl_document_kind kind, struct hl_target *target, char **text,
                      struct hl_descriptor *out, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    *text = json ? cJSON_PrintUnformatted(json) : NULL;
    if (!*text)
        return hl_fail(err, "out of memory");
    *out = (struct hl_descriptor){.bytes = strlen(*text), .kind = kind};
    snprintf(out->media_type, sizeof out->media_type, "%s", hl_kind_media_type(kind));
    if (!EVP_Digest(*text, out->bytes, sha256, NULL, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, out->digest);
    return target->class->document(target, out, *text, err);
}

/* The builders below return false when memory ran out; what they built up to then hangs on the root, which is freed. */
static bool add_text(cJSON *object, const char *key, const char *text)
{
    return !text || !*text || cJSON_AddStringToObject(object, key, text);
}

static bool add_texts(cJSON *object, const char *key, const char *const *texts, size_t n)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);
    for (size_t i = 0; i < n; i++)
        if (!cJSON_AddItemToArray(array, cJSON_CreateString(texts[i])))
            return false;
    return array;
}

/* Annotations of the manifest and labels of the config: image-spec, annotations.md. */
static bool add_annotations(cJSON *object, const char *key, const struct plan *plan)
{
    const struct hl_image_spec *spec = plan->spec;
    cJSON *annotations = cJSON_AddObjectToObject(object, key);
    return annotations && add_text(annotations, "org.opencontainers.image.created", plan->created) &&
           add_text(annotations, "org.opencontainers.image.licenses", spec->licenses) &&
           add_text(annotations, "org.opencontainers.image.source", spec->source) &&
           add_text(annotations, "org.opencontainers.image.title", spec->title);
}

static bool add_process(cJSON *root, const struct plan *plan)
{
    static const char *const entrypoint[] = {"/usr/bin/hotlayerd", "serve"};
    /* The NVIDIA names are for hosts whose container toolkit reads them; LD_LIBRARY_PATH is where Cloud Run mounts the
     * driver. OLLAMA_HOST makes a plain "docker run -p" reachable; PORT, where set, is stronger. */
    static const char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib",
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        "OLLAMA_HOST=0.0.0.0:8080",
    };
    cJSON *config = cJSON_AddObjectToObject(root, "config");
    cJSON *ports = cJSON_AddObjectToObject(config, "ExposedPorts");
    return config && ports && cJSON_AddObjectToObject(ports, "8080/tcp") &&
           cJSON_AddStringToObject(config, "User", "65532:65532") &&
           add_texts(config, "Env", environment, sizeof environment / sizeof *environment) &&
           add_texts(config, "Entrypoint", entrypoint, sizeof entrypoint / sizeof *entrypoint) &&
           cJSON_AddStringToObject(config, "WorkingDir", "/") &&
           cJSON_AddStringToObject(config, "StopSignal", "SIGTERM") && add_annotations(config, "Labels", plan);
}

static bool add_history(cJSON *root, const struct plan *plan)
{
    cJSON *rootfs = cJSON_AddObjectToObject(root, "rootfs");
    if (!cJSON_AddStringToObject(rootfs, "type", "layers"))
        return false;
    cJSON *diff_ids = cJSON_AddArrayToObject(rootfs, "diff_ids");
    cJSON *history = cJSON_AddArrayToObject(root, "history");
    for (size_t i = 0; i < plan->n; i++) {
        cJSON *entry = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(diff_ids, cJSON_CreateString(plan->layer[i].blob.digest)) ||
            !cJSON_AddItemToArray(history, entry) || !add_text(entry, "created", plan->created) ||
            !add_text(entry, "created_by", plan->layer[i].what))
            return false;
    }
    return true;
}

static cJSON *make_config(const struct plan *plan)
{
    cJSON *root = cJSON_CreateObject();
    if (add_text(root, "created", plan->created) && cJSON_AddStringToObject(root, "architecture", "amd64") &&
        cJSON_AddStringToObject(root, "os", "linux") && add_process(root, plan) && add_history(root, plan))
        return root;
    cJSON_Delete(root);
    return NULL;
}

static bool add_descriptor(cJSON *descriptor, const struct hl_descriptor *blob)
{
    return cJSON_AddStringToObject(descriptor, "mediaType", blob->media_type) &&
           cJSON_AddStringToObject(descriptor, "digest", blob->digest) &&
           cJSON_AddNumberToObject(descriptor, "size", (double)blob->bytes);
}

static cJSON *make_manifest(const struct plan *plan, const struct hl_descriptor *config)
{
    cJSON *root = cJSON_CreateObject();
    bool complete = cJSON_AddNumberToObject(root, "schemaVersion", 2) &&
                    cJSON_AddStringToObject(root, "mediaType", HL_OCI_MANIFEST) &&
                    add_descriptor(cJSON_AddObjectToObject(root, "config"), config);
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; complete && i < plan->n; i++) {
        cJSON *descriptor = cJSON_CreateObject();
        complete = cJSON_AddItemToArray(layers, descriptor) && add_descriptor(descriptor, &plan->layer[i].blob);
    }
    if (complete && add_annotations(root, "annotations", plan))
        return root;
    cJSON_Delete(root);
    return NULL;
}

static int write_layer(void *context, size_t i, struct hl_error *err)
{
    const struct plan *plan = context;
    struct planned_layer *planned = &plan->layer[i];
    struct hl_content content;
    hl_layer_content(&planned->layer, &content);
    if (plan->target->class->content(plan->target, &content, plan->spec->progress, &planned->blob, err))
        return -1;
    planned->blob.kind = HL_KIND_TAR;
    snprintf(planned->blob.media_type, sizeof planned->blob.media_type, "%s", HL_OCI_LAYER);
    return 0;
}

static int write_layers(struct plan *plan, struct hl_error *err)
{
    uint64_t total = 0;
    int64_t mtime = plan->spec->created < 0 ? 0 : plan->spec->created;
    for (size_t i = 0; i < plan->n; i++) {
        if (hl_layer_plan(&plan->layer[i].layer, mtime, err))
            return -1;
        total += plan->layer[i].layer.bytes;
    }
    hl_progress_begin(plan->spec->progress, "writing layers", total);
    if (hl_parallel(plan->n, plan->target->jobs, write_layer, plan, err))
        return -1;
    hl_progress_end(plan->spec->progress);
    return 0;
}

static int write_image(struct plan *plan, struct hl_image *out, struct hl_error *err)
{
    HL_FREE char *config_text = NULL;
    HL_FREE char *manifest_text = NULL;
    struct hl_descriptor config, manifest;
    if (write_layers(plan, err))
        return -1;
    HL_JSON cJSON *config_json = make_config(plan);
    if (store_json(config_json, HL_KIND_CONFIG, plan->target, &config_text, &config, err))
        return -1;
    HL_JSON cJSON *manifest_json = make_manifest(plan, &config);
    if (store_json(manifest_json, HL_KIND_MANIFEST, plan->target, &manifest_text, &manifest, err) ||
        plan->target->class->publish(plan->target, &manifest, manifest_text, err) ||
        hl_image_read(out, &manifest, manifest_text, (size_t)manifest.bytes, &config, config_text, (size_t)config.bytes,
                      err))
        return -1;
    manifest_text = config_text = NULL; /* the image's own */
    return 0;
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
