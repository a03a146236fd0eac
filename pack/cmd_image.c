/* hotlayer image: a packed model and the runtime become an OCI image layout. */
#include "hotlayer/cleanup.h"
#include "pack/commands.h"
#include "pack/image.h"
#include "pack/json.h"
#include "runtime/hot.h"
#include <getopt.h>
#include <sys/auxv.h>
#include <sys/stat.h>

static const char help[] =
    "usage: hotlayer image MODEL.hot -o oci:DIR[:TAG] [--runtime PATH] [--json]\n"
    "\n"
    "Makes an image of a packed model: hotlayerd with the libraries that it needs, and the model's files in\n"
    "layers of their own. The same inputs give the same digest on any machine.\n"
    "\n"
    "  -o, --output oci:DIR[:TAG]  the image layout to write to; TAG is \"latest\" by default. Other tags of it stay\n"
    "      --runtime PATH          the hotlayerd to put in; by default the one that came with this hotlayer\n"
    "      --json                  describe the image as JSON on stdout\n"
    "  -h, --help\n"
    "\n"
    "SOURCE_DATE_EPOCH, in seconds since 1970, becomes the image's date; without it the image has none.\n"
    "The last line on stdout is the digest of the image's manifest.\n"
    "\n"
    "examples:\n"
    "  hotlayer image gemma3-1b.hot -o oci:image\n"
    "  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) hotlayer image gemma3-1b.hot -o oci:image:v2\n"
    "  skopeo copy --preserve-digests oci:image:latest docker://REGION-docker.pkg.dev/PROJECT/REPO/gemma:latest\n";

struct options {
    const char *model;
    const char *runtime;
    struct hl_oci_reference output;
    int64_t created;
    bool json, help;
};

static int parse_date(const char *text, int64_t *out, struct hl_error *err)
{
    size_t digits = strspn(text, "0123456789");
    if (!digits || text[digits] || digits > 12)
        return hl_fail_as(err, HL_ERROR_USAGE, "SOURCE_DATE_EPOCH is '%.40s', not a number of seconds since 1970",
                          text);
    *out = strtoll(text, NULL, 10);
    if (*out > HL_LAST_CREATED)
        return hl_fail_as(err, HL_ERROR_USAGE, "SOURCE_DATE_EPOCH is %s; the last date an image can hold is %lld", text,
                          (long long)HL_LAST_CREATED);
    return 0;
}

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    enum { RUNTIME = 256, JSON };
    static const struct option known[] = {{"output", required_argument, NULL, 'o'},
                                          {"runtime", required_argument, NULL, RUNTIME},
                                          {"json", no_argument, NULL, JSON},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const char *output = NULL, *date = getenv("SOURCE_DATE_EPOCH");
    *out = (struct options){.created = -1};
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":o:h", known, NULL)) != -1;) {
        if (option == 'o')
            output = optarg;
        else if (option == RUNTIME)
            out->runtime = optarg;
        else if (option == JSON)
            out->json = true;
        else if (option == 'h')
            out->help = true;
        else
            return hl_fail_as(err, HL_ERROR_USAGE, option == ':' ? "%.100s wants a value" : "%.100s is not an option",
                              argv[optind - 1]);
    }
    if (out->help)
        return 0;
    if (argc - optind != 1)
        return hl_fail_as(err, HL_ERROR_USAGE, optind == argc ? "which MODEL.hot?" : "one MODEL.hot at a time");
    if (!output)
        return hl_fail_as(err, HL_ERROR_USAGE, "where to? -o oci:DIR[:TAG]");
    out->model = argv[optind];
    return hl_oci_reference_parse(output, &out->output, err) || (date && *date && parse_date(date, &out->created, err))
               ? -1
               : 0;
}

static bool is_program(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISREG(status.st_mode) && !access(path, X_OK);
}

/* hotlayerd in `folder` of `length` bytes, behind `middle`. */
static bool runtime_in(const char *folder, size_t length, const char *middle, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%.*s%s/hotlayerd", (int)length, folder, middle);
    return n < PATH_MAX && is_program(out);
}

/* The hotlayerd of this installation, else the one in PATH. */
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
    return hl_fail(err, "no hotlayerd beside this program, in ../bin or in PATH; name it with --runtime PATH");
}

/* Where the model came from, if it is a place: the annotation is meant to be a URL. */
static const char *source_url(const cJSON *meta)
{
    const char *source = hl_json_text(meta, "source");
    return source && strstr(source, "://") ? source : NULL;
}

struct shard_paths {
    char path[HL_MAX_SHARDS][HL_PATH_BYTES];
    const char *list[HL_MAX_SHARDS];
};

static int write_image(const struct hl_hot *hot, const struct options *options, struct hl_progress *progress,
                       struct hl_image *out, struct hl_error *err)
{
    HL_TARGET *target = NULL;
    HL_JSON cJSON *meta = NULL;
    HL_FREE struct shard_paths *shards = calloc(1, sizeof *shards);
    struct hl_view text = {(const uint8_t *)hot->meta, hot->meta_bytes};
    char runtime[PATH_MAX];
    if (!shards)
        return hl_fail(err, "out of memory");
    if (hl_json_parse(text, "meta", &meta, err))
        return hl_error_prefix(err, "%s", hot->path);
    for (uint32_t i = 0; i < hot->header->n_shards; i++) {
        shards->list[i] = shards->path[i];
        if (hl_hot_shard_path(hot->path, i, shards->path[i], err))
            return -1;
    }
    if (!options->runtime && find_runtime(runtime, err))
        return -1;
    struct hl_image_spec spec = {
        .name = hl_json_text(meta, "name"),
        .head = hot->path,
        .shards = shards->list,
        .n_shards = hot->header->n_shards,
        .runtime = options->runtime ? options->runtime : runtime,
        .created = options->created,
        .title = hl_json_text(meta, "name"),
        .licenses = hl_json_text(meta, "license"),
        .source = source_url(meta),
        .progress = progress,
    };
    if (!spec.name)
        return hl_fail(err, "%s: the model has no name", hot->path);
    return hl_target_open_layout(options->output.path, options->output.tag, &target, err) ||
                   hl_image_write(&spec, target, out, err)
               ? -1
               : 0;
}

static int print_json(const struct hl_image *image, const char *tag, struct hl_error *err)
{
    HL_JSON cJSON *root = cJSON_CreateObject();
    cJSON *layers = NULL;
    bool complete = cJSON_AddStringToObject(root, "tag", tag) &&
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
        return hl_fail(err, "out of memory");
    puts(text);
    return 0;
}

static void print_table(const struct hl_image *image, const char *tag)
{
    char size[24];
    for (size_t i = 0; i < image->n_layers; i++)
        fprintf(stderr, "%.19s  %8s  %s\n", image->layer[i].blob.digest,
                hl_format_bytes(image->layer[i].blob.bytes, size), image->layer[i].what);
    fprintf(stderr, "%.19s  %8s  image \"%s\"\n", image->manifest.digest, hl_format_bytes(image->bytes, size), tag);
}

static int make_image(const struct options *options, struct hl_progress *progress, struct hl_error *err)
{
    struct hl_image image = {.bytes = 0};
    const char *tag = *options->output.tag ? options->output.tag : "latest";
    struct hl_hot *hot = NULL;
    if (hl_hot_open(options->model, &hot, err))
        return -1;
    int status = hl_hot_map_weights(hot, err) || write_image(hot, options, progress, &image, err) ? -1 : 0;
    hl_hot_close(hot);
    if (!status) {
        print_table(&image, tag);
        status = options->json ? print_json(&image, tag, err) : (puts(image.manifest.digest), 0);
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
        return hl_report("image", &err);
    if (options.help) {
        fputs(help, stdout);
        return 0;
    }
    if (make_image(&options, &progress, &err)) {
        hl_progress_clear(&progress);
        return hl_report("image", &err);
    }
    return 0;
}
