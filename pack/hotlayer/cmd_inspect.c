/* hotlayer inspect: what is in a .hot file, or in an image, wherever it is. */
#include "base/cleanup.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "pack/image/cloud_run.h"
#include "pack/image/find_models.h"
#include "pack/image/listing.h"

static const char help[] =
    "usage: hotlayer inspect MODEL.hot | oci:DIR[:TAG] | REF [OPTIONS]\n"
    "\n"
    "Shows a model's meta data, sections, shards, program and tensors; of an image its layers and the same of the\n"
    "models in it. Of an image in a registry (REF: HOST/REPOSITORY[:TAG][@DIGEST]) only the manifest, the config and\n"
    "the small heads of the models are read, not the weights.\n"
    "\n"
    "      --json         everything, as one JSON document\n"
    "      --brief        leave out the listing of operations and tensors\n"
    "      --cloud-run    of an image: would it run on Cloud Run, and what would fail? Exit 1 if something "
    "would\n" HL_REGISTRY_OPTIONS_HELP "  -h, --help\n"
    "\n"
    "examples:\n"
    "  hotlayer inspect llama.hot\n"
    "  hotlayer inspect oci:image:v2 --json | jq .layers\n"
    "  hotlayer inspect europe-docker.pkg.dev/project/models/gemma:v1 --brief\n"
    "  hotlayer inspect europe-docker.pkg.dev/project/models/gemma:v1 --cloud-run\n";

struct options {
    struct hl_place place;
    struct hl_registry_options registry;
    bool json, brief, cloud_run, help;
};

static int print_json(cJSON *json, struct hl_error *err)
{
    HL_FREE char *text = json ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return hl_no_memory(err);
    puts(text);
    return 0;
}

static int inspect_hot(const char *path, bool json, bool brief, struct hl_error *err)
{
    struct hl_hot *hot;
    int result = 0;
    if (hl_hot_open(path, &hot, err) < 0)
        return -1;
    if (json)
        result = print_json(hl_listing_json(hot), err);
    else
        hl_listing_text(hot, !brief, stdout);
    hl_hot_close(hot);
    return result;
}

static cJSON *image_json(const struct hl_image *image, const struct hl_models *models)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "tag", image->tag);
    cJSON_AddStringToObject(json, "digest", image->manifest.digest);
    cJSON_AddNumberToObject(json, "bytes", (double)image->bytes);
    cJSON_AddItemToObject(json, "manifest", cJSON_ParseWithLength(image->manifest_text, image->manifest_bytes));
    cJSON_AddItemToObject(json, "config", cJSON_ParseWithLength(image->config_text, image->config_bytes));
    cJSON *layers = cJSON_AddArrayToObject(json, "layers");
    for (size_t i = 0; i < image->n_layers; i++) {
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "digest", image->layer[i].blob.digest);
        cJSON_AddNumberToObject(layer, "bytes", (double)image->layer[i].blob.bytes);
        cJSON_AddStringToObject(layer, "media_type", image->layer[i].blob.media_type);
        cJSON_AddStringToObject(layer, "what", image->layer[i].what);
        cJSON_AddItemToArray(layers, layer);
    }
    cJSON *list = cJSON_AddArrayToObject(json, "models");
    for (size_t i = 0; list && i < models->n; i++)
        if (models->file[i].head)
            cJSON_AddItemToArray(list, hl_listing_json(models->file[i].head));
    return json;
}

static void image_text(const struct hl_image *image, const struct hl_models *models, bool all)
{
    char size[24];
    printf("image %s%s%s, %s\n  digest      %s\n", image->tag, *image->tag ? ", " : "", image->platform,
           hl_text_bytes(image->bytes, size), image->manifest.digest);
    if (*image->created)
        printf("  created     %s\n", image->created);
    printf("  user        %s\n  entrypoint  %s\n\nlayers\n", image->user, image->entrypoint);
    for (size_t i = 0; i < image->n_layers; i++)
        printf("  %-10s %s  %s\n", hl_text_bytes(image->layer[i].blob.bytes, size), image->layer[i].blob.digest,
               image->layer[i].what);
    for (size_t i = 0; i < models->n; i++)
        if (models->file[i].head) {
            putchar('\n');
            hl_listing_text(models->file[i].head, all, stdout);
        }
}

/* What the layers of an image from elsewhere hold need not be readable for the rest to be shown. */
static int find_models(const struct hl_place *place, struct hl_store *store, const struct hl_image *image,
                       struct hl_models *out, struct hl_error *err)
{
    int result = hl_models_find(store, image, out, err);
    if (result && hl_models_ours(image))
        return -1;
    if (!result && out->partial)
        result = hl_fail(err, "not every compressed layer was looked through to its end");
    if (result) {
        out->partial = true;
        hl_error_prefix(err, "%s: there may be more models in it", place->text);
        hl_cli_report("inspect", err);
    }
    return 0;
}

static int inspect_image(const struct hl_place *place, const struct options *options, struct hl_error *err)
{
    HL_MODELS models = {.n = 0};
    struct hl_image image = {.bytes = 0};
    HL_STORE *store = NULL;
    const char *name;
    int result = hl_place_open_store(place, &options->registry, &store, &name, err) ||
                         hl_image_open(store, name, &image, err) || find_models(place, store, &image, &models, err)
                     ? -1
                     : 0;
    hl_store_warn(store);
    size_t failures = 0;
    if (!result && options->cloud_run)
        result = hl_cloud_run_print(store, name, &image, &models, options->json, &failures, err);
    else if (!result && options->json)
        result = print_json(image_json(&image, &models), err);
    else if (!result)
        image_text(&image, &models, !options->brief);
    hl_image_free(&image);
    return result ? result : failures != 0;
}

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
                                          {"brief", no_argument, NULL, 'b'},
                                          {"cloud-run", no_argument, NULL, 'c'},
                                          {"help", no_argument, NULL, 'h'},
                                          HL_REGISTRY_OPTIONS,
                                          {NULL, 0, NULL, 0}};
    *out = (struct options){.json = false};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", longs, NULL)) != -1;) {
        int common = hl_registry_option(option, optarg, &out->registry, err);
        if (common < 0)
            return -1;
        if (option == 'j')
            out->json = true;
        else if (option == 'b')
            out->brief = true;
        else if (option == 'c')
            out->cloud_run = true;
        else if (option == 'h')
            out->help = true;
        else if (!common)
            return hl_fail_as(err, HL_ERROR_USAGE, option == ':' ? "'%s' wants a value" : "'%s' is not understood",
                              argv[optind - 1]);
    }
    if (!out->help && optind + 1 != argc)
        return hl_fail_as(err, HL_ERROR_USAGE, "name one MODEL.hot, oci:DIR[:TAG] or HOST/REPOSITORY[:TAG]");
    if (out->help)
        return 0;
    if (hl_place_parse(argv[optind], &out->place, err))
        return -1;
    return out->cloud_run && out->place.kind == HL_PLACE_FILE
               ? hl_fail_as(err, HL_ERROR_USAGE, "--cloud-run is about an image, and '%s' is a file", out->place.text)
               : 0;
}

int hl_cmd_inspect(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("inspect", &err);
    if (options.help) {
        fputs(help, stdout);
        return 0;
    }
    int result = options.place.kind == HL_PLACE_FILE
                     ? inspect_hot(options.place.text, options.json, options.brief, &err)
                     : inspect_image(&options.place, &options, &err);
    return result < 0 ? hl_cli_report("inspect", &err) : result;
}
