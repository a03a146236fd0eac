/* hotlayer inspect: shows the content of a .hot file, or of an image in a layout or a registry. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "pack/image/cloud_run.h"
#include "pack/image/find_models.h"
#include "pack/image/listing.h"

static const char about[] =
    "usage: hotlayer inspect MODEL.hot | oci:DIR[:TAG] | REF [OPTIONS]\n"
    "\n"
    "Shows a model's metadata, sections, shards, program and tensors. Of an image, shows the layers and the models in\n"
    "them. From a registry (REF is HOST/REPOSITORY[:TAG][@DIGEST]) only the manifest, the config and the small heads\n"
    "of the models are read, not the weights.\n";

static const char examples[] = "examples:\n"
                               "  hotlayer inspect llama.hot\n"
                               "  hotlayer inspect oci:image:v2 --json | jq .layers\n"
                               "  hotlayer inspect europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma:v1 --brief\n"
                               "  hotlayer inspect europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma:v1 --cloud-run\n";

struct options {
    struct hl_place place;
    struct hl_registry_options registry;
    bool json, brief, cloud_run;
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

/* Finds the models of an image. If another tool made the image, an unreadable layer is a warning, and the rest is still
 * shown. */
static int find_models(const struct hl_place *place, struct hl_store *store, const struct hl_image *image,
                       struct hl_models *out, struct hl_error *err)
{
    int result = hl_models_find(store, image, out, err);
    if (result && hl_models_ours(image))
        return -1;
    if (!result && out->partial)
        result = hl_fail(err, "some compressed layers were read only in part");
    if (result) {
        out->partial = true;
        hl_error_prefix(err, "%s: the image may hold more models", place->text);
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
    *out = (struct options){.json = false};
    const struct hl_option table[] = {
        hl_option_flag("--json", &out->json, "print everything as one JSON document"),
        hl_option_flag("--brief", &out->brief, "leave out the lists of operations and tensors"),
        hl_option_flag("--cloud-run", &out->cloud_run,
                       "check whether an image would run on Cloud Run; exit with 1 if something would fail"),
        HL_REGISTRY_OPTIONS(&out->registry),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, HL_PLACE_EXPECTED, 1, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0 || hl_place_parse(argv[first], &out->place, err))
        return -1;
    return out->cloud_run && out->place.kind == HL_PLACE_FILE
               ? hl_fail_as(err, HL_ERROR_USAGE, "--cloud-run needs an image, and '%s' is a file", out->place.text)
               : 0;
}

int hl_cmd_inspect(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("inspect", &err);
    int result = options.place.kind == HL_PLACE_FILE
                     ? inspect_hot(options.place.text, options.json, options.brief, &err)
                     : inspect_image(&options.place, &options, &err);
    return result < 0 ? hl_cli_report("inspect", &err) : result;
}
