/* hotlayer inspect: what is in a .hot file, or in an image. */
#include "hotlayer/cleanup.h"
#include "pack/cloud_run.h"
#include "pack/commands.h"
#include "pack/listing.h"
#include "registry/image.h"
#include <getopt.h>

static const char help[] =
    "usage: hotlayer inspect MODEL.hot | oci:DIR[:TAG] [--json] [--brief]\n"
    "\n"
    "Shows a model's meta data, sections, shards, program and tensors; or an image's layers and what they hold.\n"
    "\n"
    "      --json    everything, as one JSON document\n"
    "      --brief   leave out the listing of operations and tensors\n"
    "  -h, --help\n"
    "\n"
    "examples:\n"
    "  hotlayer inspect llama.hot\n"
    "  hotlayer inspect oci:image:v2 --json | jq .layers\n";

static int print_json(cJSON *json, struct hl_error *err)
{
    HL_FREE char *text = json ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return hl_fail(err, "out of memory");
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
        result = print_json(hl_list_json(hot), err);
    else
        hl_list_text(hot, !brief, stdout);
    hl_hot_close(hot);
    return result;
}

static cJSON *image_json(const struct hl_image *image)
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
    return json;
}

static void image_text(const struct hl_image *image)
{
    char size[24];
    printf("image %s, %s, %s\n  digest      %s\n", image->tag, image->platform, hl_format_bytes(image->bytes, size),
           image->manifest.digest);
    if (*image->created)
        printf("  created     %s\n", image->created);
    printf("  user        %s\n  entrypoint  %s\n\nlayers\n", image->user, image->entrypoint);
    for (size_t i = 0; i < image->n_layers; i++)
        printf("  %-10s %s  %s\n", hl_format_bytes(image->layer[i].blob.bytes, size), image->layer[i].blob.digest,
               image->layer[i].what);
}

static int inspect_image(const char *text, bool json, bool cloud_run, struct hl_error *err)
{
    struct hl_oci_reference reference;
    struct hl_image image = {.bytes = 0};
    HL_STORE *store = NULL;
    if (hl_oci_reference_parse(text, &reference, err) < 0)
        return -1;
    int result =
        hl_store_open_layout(reference.path, &store, err) < 0 || hl_image_open(store, reference.tag, &image, err) < 0
            ? -1
            : 0;
    size_t failures = 0;
    if (result == 0 && cloud_run) {
        result = hl_cloud_run_print(store, reference.tag, &image, HL_MODEL_UNKNOWN, json, &failures, err);
        if (result == 0 && failures)
            result = 1;
    } else if (result == 0 && json)
        result = print_json(image_json(&image), err);
    else if (result == 0)
        image_text(&image);
    hl_image_free(&image);
    return result;
}

int hl_cmd_inspect(int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
                                          {"brief", no_argument, NULL, 'b'},
                                          {"cloud-run", no_argument, NULL, 'c'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct hl_error err;
    bool json = false, brief = false, cloud_run = false;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
        switch (option) {
        case 'j':
            json = true;
            break;
        case 'b':
            brief = true;
            break;
        case 'c':
            cloud_run = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            hl_fail_as(&err, HL_ERROR_USAGE, "'%s' is not understood", argv[optind - 1]);
            return hl_report("inspect", &err);
        }
    if (optind + 1 != argc) {
        hl_fail_as(&err, HL_ERROR_USAGE, "name one MODEL.hot or oci:DIR[:TAG]");
        return hl_report("inspect", &err);
    }
    const char *what = argv[optind];
    int result = strncmp(what, "oci:", 4) == 0 ? inspect_image(what, json, cloud_run, &err)
                                               : inspect_hot(what, json, brief, &err);
    return result < 0 ? hl_report("inspect", &err) : result;
}
