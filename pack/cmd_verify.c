/* hotlayer verify: every checksum of a .hot file, or of an image. */
#include "pack/commands.h"
#include "registry/image.h"
#include "runtime/model.h"
#include <getopt.h>

static const char help[] =
    "usage: hotlayer verify MODEL.hot | oci:DIR[:TAG]\n"
    "\n"
    "Reads everything and compares every checksum; checks all else as the runtime does at start.\n"
    "Prints what was verified, or what is wrong and exits with 1.\n"
    "\n"
    "  -h, --help\n"
    "\n"
    "examples:\n"
    "  hotlayer verify llama.hot\n"
    "  hotlayer verify oci:image:v2\n";

static void add_bytes(void *progress, uint64_t bytes)
{
    hl_progress_add(progress, bytes);
}

static int verify_hot(const char *path, struct hl_error *err)
{
    struct hl_model *model;
    struct hl_progress progress = {.out = stderr};
    if (hl_model_open(path, &model, err) < 0)
        return -1;
    const struct hl_hot *hot = model->hot;
    int result = 0;
    hl_progress_begin(&progress, "verifying", hot->header->weight_bytes);
    for (uint32_t i = 0; i < hot->header->n_shards && result == 0; i++)
        result = hl_hot_verify_shard(hot, i, add_bytes, &progress, err);
    if (result < 0) {
        hl_progress_clear(&progress);
    } else {
        hl_progress_end(&progress);
        printf("%s: good; %u tensors, %u shard%s\n", hot->path, hot->header->n_tensors, hot->header->n_shards,
               hot->header->n_shards == 1 ? "" : "s");
    }
    hl_model_close(model);
    return result;
}

static int verify_image(const char *text, struct hl_error *err)
{
    struct hl_oci_reference reference;
    struct hl_image_verified verified;
    HL_STORE *store = NULL;
    struct hl_progress progress = {.out = stderr};
    char bytes[24];
    if (hl_oci_reference_parse(text, &reference, err) < 0)
        return -1;
    if (hl_store_open_layout(reference.path, &store, err) < 0 ||
        hl_image_verify(store, reference.tag, &progress, &verified, err) < 0) {
        hl_progress_clear(&progress);
        return -1;
    }
    printf("%s: good; %zu image%s, %zu blobs, %s\n", text, verified.images, verified.images == 1 ? "" : "s",
           verified.blobs, hl_format_bytes(verified.bytes, bytes));
    return 0;
}

int hl_cmd_verify(int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct hl_error err;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        hl_fail_as(&err, HL_ERROR_USAGE, "'%s' is not understood", argv[optind - 1]);
        return hl_report("verify", &err);
    }
    if (optind + 1 != argc) {
        hl_fail_as(&err, HL_ERROR_USAGE, "name one MODEL.hot or oci:DIR[:TAG]");
        return hl_report("verify", &err);
    }
    const char *what = argv[optind];
    int result = strncmp(what, "oci:", 4) == 0 ? verify_image(what, &err) : verify_hot(what, &err);
    return result < 0 ? hl_report("verify", &err) : 0;
}
