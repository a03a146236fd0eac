/* hotlayer image: makes an OCI image of a packed model and the runtime, in a folder, a file or a registry. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "pack/image/image.h"
#include "registry/remote/upload.h"
#include "runtime/model/hot.h"
#include <sys/auxv.h>
#include <sys/stat.h>

static const char about[] =
    "usage: hotlayer image MODEL.hot (-o oci:DIR[:TAG] | -o oci-archive:FILE[:TAG] | --push REF) [OPTIONS]\n"
    "\n"
    "Makes an image of a packed model: hotlayerd with the libraries that it needs, and the model's files in layers of\n"
    "their own. The same inputs give the same digest on any machine. REF is HOST/REPOSITORY[:TAG].\n";

static const char examples[] =
    "SOURCE_DATE_EPOCH, in seconds since 1970, becomes the image's date; without it the image has no date.\n"
    "The last line on stdout is the digest of the image's manifest.\n"
    "\n"
    "examples:\n"
    "  hotlayer image gemma3-1b.hot --push europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma:v1\n"
    "  hotlayer image gemma3-1b.hot --push ghcr.io/OWNER/gemma --base ghcr.io/OWNER/runtime:12\n"
    "  hotlayer image gemma3-1b.hot -o oci-archive:gemma.tar && docker load -i gemma.tar\n"
    "  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) hotlayer image gemma3-1b.hot -o oci:image:v2\n";

struct options {
    const char *model;
    const char *runtime;
    struct hl_place to;   /* a layout, an archive or a registry */
    struct hl_place base; /* HL_PLACE_FILE: no base */
    struct hl_registry_options registry;
    int64_t created;
    int compress; /* level; 0: layers stay plain tar */
    bool model_only, json;
};

static int parse_date(const char *text, int64_t *out, struct hl_error *err)
{
    size_t digits = strspn(text, "0123456789");
    if (!digits || text[digits] || digits > 12)
        return hl_fail_as(err, HL_ERROR_USAGE, "SOURCE_DATE_EPOCH must be a number of seconds since 1970, not '%.40s'",
                          text);
    *out = strtoll(text, NULL, 10);
    if (*out > HL_LAST_CREATED)
        return hl_fail_as(err, HL_ERROR_USAGE, "SOURCE_DATE_EPOCH is %s; the last date an image can hold is %lld", text,
                          (long long)HL_LAST_CREATED);
    return 0;
}

static int parse_compress(const char *text, void *where, struct hl_error *err)
{
    static const char zstd[] = "zstd";
    size_t length = strlen(zstd);
    uint32_t number = HL_COMPRESS_LEVEL;
    int *level = where;
    *level = 0;
    if (!strcmp(text, "none"))
        return 0;
    if (strncmp(text, zstd, length) != 0 || (text[length] && text[length] != ':'))
        return hl_fail_as(err, HL_ERROR_USAGE, "--compress must be none, zstd or zstd:LEVEL, not '%.40s'%s", text,
                          hl_text_begins(text, "gzip") ? " (gzip would take many times as long and save nothing)" : "");
    if (text[length] &&
        hl_cli_count("the LEVEL of --compress", text + length + 1, 1, HL_COMPRESS_LEVEL_MOST, &number, err))
        return -1;
    *level = (int)number;
    return 0;
}

static bool is_layout(const char *text)
{
    return (hl_text_begins(text, "oci:") && !hl_text_begins(text, "oci://")) || hl_text_begins(text, "oci-archive:");
}

static int parse_base(const char *text, void *where, struct hl_error *err)
{
    struct hl_place *out = where;
    *out = (struct hl_place){.kind = HL_PLACE_FILE, .text = text};
    if (!strcmp(text, "scratch"))
        return 0;
    out->kind = is_layout(text) ? HL_PLACE_LAYOUT : HL_PLACE_REGISTRY;
    if (out->kind == HL_PLACE_REGISTRY && !strchr(text, '/'))
        return hl_fail_as(
            err, HL_ERROR_USAGE,
            "--base %.200s has no registry; write docker.io/library/%.200s for Docker Hub, or oci:DIR[:TAG] "
            "for a layout",
            text, text);
    if (out->kind == HL_PLACE_REGISTRY)
        return hl_reference_parse(text, &out->reference, err) ? hl_error_prefix(err, "--base") : 0;
    if (hl_oci_reference_parse(text, &out->layout, err))
        return hl_error_prefix(err, "--base");
    if (out->layout.archive)
        return hl_fail_as(err, HL_ERROR_USAGE,
                          "--base %.200s: archives can be written but not read; unpack it with tar", text);
    return 0;
}

static int parse_target(const char *output, const char *push, struct hl_place *out, struct hl_error *err)
{
    if (!output == !push)
        return hl_fail_as(err, HL_ERROR_USAGE, "%s -o oci:DIR[:TAG], -o oci-archive:FILE[:TAG] or --push REF",
                          output ? "only one target is possible:" : "the target is missing:");
    *out = (struct hl_place){.kind = output ? HL_PLACE_LAYOUT : HL_PLACE_REGISTRY, .text = output ? output : push};
    if (output)
        return hl_oci_reference_parse(output, &out->layout, err);
    if (hl_reference_parse(push, &out->reference, err))
        return hl_error_prefix(err, "--push");
    if (*out->reference.digest)
        return hl_fail_as(err, HL_ERROR_USAGE,
                          "--push %.200s: leave out the digest; it is known only when the image is complete", push);
    return 0;
}

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    const char *output = NULL, *push = NULL, *date = getenv("SOURCE_DATE_EPOCH");
    *out = (struct options){.created = -1};
    const struct hl_option table[] = {
        hl_option_text("-o, --output oci:DIR[:TAG]", &output,
                       "the image layout to write to; TAG is by default \"latest\". Other tags of the layout stay.\n"
                       "oci-archive:FILE[:TAG]: one file, for podman load and docker load"),
        hl_option_text("--push REF", &push, "send the image to a registry while it is made"),
        hl_option_custom("--base REF", parse_base, &out->base,
                         "the image to build on, from a registry or a layout (oci:DIR[:TAG]); default: scratch"),
        hl_option_custom("--compress HOW", parse_compress, &out->compress,
                         "none (default): quantized weights hardly shrink; zstd[:LEVEL]: layers as tar+zstd, LEVEL 1 "
                         "to 19, by default 3"),
        hl_option_text("--runtime PATH", &out->runtime,
                       "the hotlayerd to put in; default: the one next to this hotlayer, in ../bin or in PATH"),
        hl_option_flag("--model-only", &out->model_only,
                       "put in the model's files alone, for a mount or for a base that has hotlayerd"),
        hl_option_flag("--json", &out->json, "describe the image on stdout as JSON"),
        HL_REGISTRY_OPTIONS(&out->registry),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, "one MODEL.hot", 1, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0)
        return -1;
    if (out->model_only && out->runtime)
        return hl_fail_as(err, HL_ERROR_USAGE, "--model-only and --runtime exclude each other");
    out->model = argv[first];
    return parse_target(output, push, &out->to, err) || (date && *date && parse_date(date, &out->created, err)) ? -1
                                                                                                                : 0;
}

static bool is_program(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISREG(status.st_mode) && !access(path, X_OK);
}

/* Returns true if there is a hotlayerd in `folder` (its first `length` bytes) followed by `middle`. */
static bool runtime_in(const char *folder, size_t length, const char *middle, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%.*s%s/hotlayerd", (int)length, folder, middle);
    return n < PATH_MAX && is_program(out);
}

/* Finds the hotlayerd of this installation, else the one in PATH. */
static int find_runtime(char out[PATH_MAX], struct hl_error *err)
{
    char self[PATH_MAX];
    const char *executed = (const char *)getauxval(AT_EXECFN);
    if (executed && realpath(executed, self)) {
        size_t folder = (size_t)(strrchr(self, '/') - self);
        if (runtime_in(self, folder, "", out) || runtime_in(self, folder, "/../bin", out))
            return 0;
    }
    for (const char *path = getenv("PATH"); path && *path; path += *path == ':') {
        size_t length = strcspn(path, ":");
        if (length && runtime_in(path, length, "", out))
            return 0;
        path += length;
    }
    return hl_fail(err, "no hotlayerd next to this program, in ../bin or in PATH; name it with --runtime PATH");
}

/* Returns the model's source if it is a URL, as the annotation must be; else NULL. */
static const char *source_url(const cJSON *meta)
{
    const char *source = hl_json_text(meta, "source");
    return source && strstr(source, "://") ? source : NULL;
}

/* Makes the name under which an archive's image is loaded: the model's name, changed where a repository's name allows
 * less. A separator may stand only between letters or digits, and only one at a time: distribution-spec, "Pulling
 * manifests". */
static void repository_name(const char *model, char out[HL_NAME_LIMIT + 1])
{
    size_t used = 0;
    for (char gap = 0; *model && used + 2 < HL_NAME_LIMIT; model++) {
        char c = *model >= 'A' && *model <= 'Z' ? (char)(*model - 'A' + 'a') : *model;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain) {
            gap = gap || !strchr("._", c) ? '-' : c;
            continue;
        }
        if (gap && used)
            out[used++] = gap;
        out[used++] = c;
        gap = 0;
    }
    out[used] = 0;
    if (!used)
        snprintf(out, HL_NAME_LIMIT + 1, "model");
}

static const char *tag_of(const struct hl_place *place)
{
    const char *tag = place->kind == HL_PLACE_REGISTRY ? place->reference.tag : place->layout.tag;
    return *tag ? tag : "latest";
}

static int open_target(const struct options *options, const char *model, struct hl_target **out, struct hl_error *err)
{
    const struct hl_place *to = &options->to;
    char name[HL_NAME_LIMIT + 1];
    repository_name(model, name);
    int status = to->kind == HL_PLACE_REGISTRY ? hl_target_open_registry(&to->reference, &options->registry, out, err)
                 : to->layout.archive          ? hl_target_open_archive(to->layout.path, name, tag_of(to), out, err)
                                               : hl_target_open_layout(to->layout.path, tag_of(to), out, err);
    if (!status && options->registry.jobs)
        (*out)->jobs = options->registry.jobs;
    return status;
}

static int open_base(const struct options *options, struct hl_base *out, struct hl_error *err)
{
    struct hl_store *store;
    struct hl_reference reference = options->base.reference;
    char text[HL_REFERENCE_BYTES] = "";
    const char *name;
    if (options->base.kind == HL_PLACE_FILE)
        return 0;
    if (hl_place_open_store(&options->base, &options->registry, &store, &name, err))
        return hl_error_prefix(err, "the base");
    if (*reference.tag)
        reference.digest[0] = 0;
    if (options->base.kind == HL_PLACE_REGISTRY)
        hl_reference_text(&reference, text);
    return hl_base_open(store, name, text, out, err);
}

struct shard_paths {
    char path[HL_MAX_SHARDS][HL_PATH_BYTES];
    const char *list[HL_MAX_SHARDS];
};

static int list_shards(const struct hl_hot *hot, struct shard_paths *out, struct hl_error *err)
{
    for (uint32_t i = 0; i < hot->header->n_shards; i++) {
        out->list[i] = out->path[i];
        if (hl_hot_shard_path(hot->path, i, out->path[i], err))
            return -1;
    }
    return 0;
}

/* Prints what was sent to a registry and what it already had. */
static void print_uploads(struct hl_target *target)
{
    struct hl_upload_counts counts;
    char size[24];
    hl_target_uploads(target, &counts);
    fprintf(stderr, "%zu layer%s sent (%s), %zu mounted from another repository, %zu already there\n", counts.sent,
            counts.sent == 1 ? "" : "s", hl_text_bytes(counts.bytes, size), counts.mounted, counts.present);
}

/* Opens the base and the target and writes the image. */
static int write_image(const struct options *options, const struct hl_image_spec *model, struct hl_image *out,
                       struct hl_error *err)
{
    HL_BASE base = {.store = NULL};
    HL_TARGET *target = NULL;
    char runtime[PATH_MAX];
    if (!options->model_only && !options->runtime && find_runtime(runtime, err))
        return -1;
    if (open_base(options, &base, err) || open_target(options, model->name, &target, err))
        return -1;
    struct hl_image_spec spec = *model;
    spec.runtime = options->model_only ? NULL : options->runtime ? options->runtime : runtime;
    spec.base = base.store ? &base : NULL;
    spec.compress = options->compress;
    spec.created = options->created;
    int status = hl_image_write(&spec, target, out, err);
    if (!status && options->to.kind == HL_PLACE_REGISTRY)
        print_uploads(target);
    hl_store_warn(base.store);
    hl_target_warn(target);
    return status;
}

static int describe_model(const struct hl_hot *hot, const struct options *options, struct hl_progress *progress,
                          struct hl_image *out, struct hl_error *err)
{
    HL_JSON cJSON *meta = NULL;
    HL_FREE struct shard_paths *shards = calloc(1, sizeof *shards);
    struct hl_view text = {(const uint8_t *)hot->meta, hot->meta_bytes};
    if (!shards)
        return hl_no_memory(err);
    if (hl_json_parse(text, "meta", &meta, err))
        return hl_error_prefix(err, "%s", hot->path);
    if (list_shards(hot, shards, err))
        return -1;
    struct hl_image_spec spec = {
        .name = hl_json_text(meta, "name"),
        .head = hot->path,
        .shards = shards->list,
        .n_shards = hot->header->n_shards,
        .title = hl_json_text(meta, "name"),
        .licenses = hl_json_text(meta, "license"),
        .source = source_url(meta),
        .progress = progress,
    };
    if (!spec.name)
        return hl_fail(err, "%s: the model has no name", hot->path);
    return write_image(options, &spec, out, err);
}

/* Formats the image's place as users write it: "oci:DIR:TAG", "oci-archive:FILE:TAG", "HOST/REPOSITORY:TAG@DIGEST". */
static void format_place(const struct hl_place *place, const char *digest, char *out, size_t size)
{
    if (place->kind == HL_PLACE_REGISTRY)
        snprintf(out, size, "%s/%s:%s@%s", place->reference.host, place->reference.repository, tag_of(place), digest);
    else
        snprintf(out, size, "%s:%s:%s", place->layout.archive ? "oci-archive" : "oci", place->layout.path,
                 tag_of(place));
}

static int print_json(const struct hl_image *image, const struct hl_place *to, struct hl_error *err)
{
    char reference[PATH_MAX + HL_REFERENCE_BYTES];
    format_place(to, image->manifest.digest, reference, sizeof reference);
    HL_JSON cJSON *root = cJSON_CreateObject();
    cJSON *layers = NULL;
    bool complete = cJSON_AddStringToObject(root, "tag", tag_of(to)) &&
                    cJSON_AddStringToObject(root, "reference", reference) &&
                    cJSON_AddStringToObject(root, "digest", image->manifest.digest) &&
                    cJSON_AddNumberToObject(root, "bytes", (double)image->bytes) &&
                    (layers = cJSON_AddArrayToObject(root, "layers"));
    for (size_t i = 0; complete && i < image->n_layers; i++) {
        cJSON *layer = cJSON_CreateObject();
        complete = cJSON_AddItemToArray(layers, layer) &&
                   cJSON_AddStringToObject(layer, "digest", image->layer[i].blob.digest) &&
                   cJSON_AddNumberToObject(layer, "bytes", (double)image->layer[i].blob.bytes) &&
                   cJSON_AddStringToObject(layer, "media_type", image->layer[i].blob.media_type) &&
                   cJSON_AddStringToObject(layer, "what", image->layer[i].what);
    }
    HL_FREE char *text = complete ? cJSON_PrintUnformatted(root) : NULL;
    if (!text)
        return hl_no_memory(err);
    puts(text);
    return 0;
}

static void print_table(const struct hl_image *image, const struct hl_place *to)
{
    char size[24], reference[PATH_MAX + HL_REFERENCE_BYTES];
    format_place(to, "", reference, sizeof reference);
    for (size_t i = 0; i < image->n_layers; i++)
        fprintf(stderr, "%.19s  %8s  %.80s\n", image->layer[i].blob.digest,
                hl_text_bytes(image->layer[i].blob.bytes, size), image->layer[i].what);
    fprintf(stderr, "%.19s  %8s  image %.*s\n", image->manifest.digest, hl_text_bytes(image->bytes, size),
            (int)strcspn(reference, "@"), reference);
}

static int make_image(const struct options *options, struct hl_progress *progress, struct hl_error *err)
{
    struct hl_image image = {.bytes = 0};
    struct hl_hot *hot = NULL;
    if (hl_hot_open(options->model, &hot, err))
        return -1;
    int status = hl_hot_map_weights(hot, err) || describe_model(hot, options, progress, &image, err) ? -1 : 0;
    hl_hot_close(hot);
    if (!status) {
        print_table(&image, &options->to);
        status = options->json ? print_json(&image, &options->to, err) : (puts(image.manifest.digest), 0);
    }
    hl_image_free(&image);
    return status;
}

int hl_cmd_image(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    struct hl_progress progress = {.out = stderr};
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("image", &err);
    if (make_image(&options, &progress, &err)) {
        hl_progress_clear(&progress);
        return hl_cli_report("image", &err);
    }
    return 0;
}
