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
#include "hotlayer/cleanup.h"
#include "kernels/cpu/team.h"
#include "pack/elf.h"
#include "pack/meta.h"
#include "pack/oci_blob.h"
#include "pack/oci_layer.h"
#include "pack/oci_layout.h"
#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#define WHAT_BYTES 160
#define LAYERS_AT_ONCE 4u

struct planned_layer {
    struct hl_layer layer;
    struct hl_blob_name blob;
    char what[WHAT_BYTES];
};

struct plan {
    const struct hl_image_spec *spec;
    const char *tag;
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
    plan->tag = spec->tag && *spec->tag ? spec->tag : "latest";
    if (hl_name_check(spec->name, err))
        return -1;
    if (!hl_tag_valid(plan->tag, strlen(plan->tag)))
        return hl_fail(err, "'%s' is not a tag", plan->tag);
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

static int sink_blob(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    return hl_blob_write(context, bytes, n, err);
}

static int write_layer(struct planned_layer *planned, const struct plan *plan, int directory, struct hl_error *err)
{
    struct hl_blob blob;
    int64_t mtime = plan->spec->created < 0 ? 0 : plan->spec->created;
    int status = hl_blob_open(&blob, directory, err) ||
                         hl_layer_write(&planned->layer, mtime, sink_blob, &blob, plan->spec->progress, err) ||
                         hl_blob_publish(&blob, &planned->blob, err)
                     ? -1
                     : 0;
    hl_blob_discard(&blob);
    return status;
}

static int write_json(const cJSON *json, int directory, struct hl_blob_name *out, struct hl_error *err)
{
    HL_FREE char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    struct hl_blob blob;
    if (!text)
        return hl_fail(err, "out of memory");
    int status = hl_blob_open(&blob, directory, err) || hl_blob_write(&blob, text, strlen(text), err) ||
                         hl_blob_publish(&blob, out, err)
                     ? -1
                     : 0;
    hl_blob_discard(&blob);
    return status;
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

static int write_config(const struct plan *plan, int directory, struct hl_blob_name *out, struct hl_error *err)
{
    HL_JSON cJSON *root = cJSON_CreateObject();
    bool complete = add_text(root, "created", plan->created) &&
                    cJSON_AddStringToObject(root, "architecture", "amd64") &&
                    cJSON_AddStringToObject(root, "os", "linux") && add_process(root, plan) && add_history(root, plan);
    return write_json(complete ? root : NULL, directory, out, err);
}

static bool add_descriptor(cJSON *descriptor, const char *media_type, const struct hl_blob_name *blob)
{
    return cJSON_AddStringToObject(descriptor, "mediaType", media_type) &&
           cJSON_AddStringToObject(descriptor, "digest", blob->digest) &&
           cJSON_AddNumberToObject(descriptor, "size", (double)blob->bytes);
}

static int write_manifest(const struct plan *plan, const struct hl_blob_name *config, int directory,
                          struct hl_blob_name *out, struct hl_error *err)
{
    HL_JSON cJSON *root = cJSON_CreateObject();
    bool complete = cJSON_AddNumberToObject(root, "schemaVersion", 2) &&
                    cJSON_AddStringToObject(root, "mediaType", HL_OCI_MANIFEST) &&
                    add_descriptor(cJSON_AddObjectToObject(root, "config"), HL_OCI_CONFIG, config);
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; complete && i < plan->n; i++) {
        cJSON *descriptor = cJSON_CreateObject();
        complete =
            cJSON_AddItemToArray(layers, descriptor) && add_descriptor(descriptor, HL_OCI_LAYER, &plan->layer[i].blob);
    }
    complete = complete && add_annotations(root, "annotations", plan);
    return write_json(complete ? root : NULL, directory, out, err);
}

struct written {
    struct hl_blob_name config, manifest;
};

/* Layers are written side by side: the hash keeps one core busy for each. */
struct writing {
    struct plan *plan;
    int directory;
    _Atomic size_t next; /* the layer to write next */
    _Atomic bool failed;
    struct hl_error *err;
};

static void write_share(void *context, struct hl_team *team, struct hl_share share)
{
    struct writing *writing = context;
    struct hl_error err;
    (void)team;
    (void)share;
    for (size_t i; !writing->failed && (i = writing->next++) < writing->plan->n;)
        if (write_layer(&writing->plan->layer[i], writing->plan, writing->directory, &err) &&
            !atomic_exchange(&writing->failed, true))
            *writing->err = err;
}

static int write_layers(struct plan *plan, int directory, struct hl_error *err)
{
    struct writing writing = {.plan = plan, .directory = directory, .err = err};
    uint32_t threads = hl_min_u32(hl_team_cores(), hl_min_u32((uint32_t)plan->n, LAYERS_AT_ONCE));
    struct hl_team *team;
    if (hl_team_open(threads, &team, err))
        return -1;
    hl_team_run(team, write_share, &writing);
    hl_team_close(team);
    return writing.failed ? -1 : 0;
}

static int write_blobs(struct plan *plan, int directory, struct written *written, struct hl_error *err)
{
    struct hl_progress *progress = plan->spec->progress;
    uint64_t total = 0;
    for (size_t i = 0; i < plan->n; i++)
        total += plan->layer[i].layer.bytes;
    hl_progress_begin(progress, "writing layers", total);
    if (write_layers(plan, directory, err))
        return -1;
    hl_progress_end(progress);
    return write_config(plan, directory, &written->config, err) ||
                   write_manifest(plan, &written->config, directory, &written->manifest, err)
               ? -1
               : 0;
}

static void forget_blob(const struct hl_blob_name *blob, int directory)
{
    if (blob->fresh)
        unlinkat(directory, hl_digest_file(blob->digest), 0);
}

/* The disk may be full: nothing that this call added and nobody refers to stays on it. */
static void forget_blobs(const struct plan *plan, const struct written *written, int directory)
{
    for (size_t i = 0; i < plan->n; i++)
        forget_blob(&plan->layer[i].blob, directory);
    forget_blob(&written->config, directory);
    forget_blob(&written->manifest, directory);
}

static int write_image(struct plan *plan, struct hl_oci_layout *layout, struct hl_error *err)
{
    struct written written = {0};
    if (hl_oci_layout_create(plan->spec->directory, layout, err))
        return -1;
    if (write_blobs(plan, layout->blobs, &written, err)) {
        hl_error_prefix(err, "%s", plan->spec->directory);
    } else if (!hl_oci_layout_tag(layout, plan->tag, written.manifest.digest, written.manifest.bytes, err)) {
        return 0;
    }
    forget_blobs(plan, &written, layout->blobs);
    return -1;
}

int hl_image_write(const struct hl_image_spec *spec, struct hl_oci_image *out, struct hl_error *err)
{
    *out = (struct hl_oci_image){0};
    __attribute__((cleanup(plan_free))) struct plan plan = {0};
    if (check_spec(spec, &plan, err) || plan_layers(&plan, err))
        return -1;
    struct hl_oci_layout layout;
    int status = write_image(&plan, &layout, err);
    if (status)
        hl_oci_layout_undo(&layout);
    hl_oci_layout_close(&layout);
    return status ? -1 : hl_oci_open(spec->directory, plan.tag, out, err);
}
