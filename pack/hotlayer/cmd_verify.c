/* hotlayer verify: checks every checksum of a .hot file or of an image. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "pack/image/find_models.h"
#include "runtime/model/model.h"

static const char about[] =
    "usage: hotlayer verify MODEL.hot | oci:DIR[:TAG] | REF [OPTIONS]\n"
    "\n"
    "Reads the whole file or image, compares every checksum, and makes all checks of the runtime's start.\n"
    "Prints what was verified, or prints what is wrong and exits with 1. REF is HOST/REPOSITORY[:TAG][@DIGEST];\n"
    "the layers of an image in a registry are read and not stored.\n";

static const char examples[] = "examples:\n"
                               "  hotlayer verify llama.hot\n"
                               "  hotlayer verify oci:image:v2\n"
                               "  hotlayer verify europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma:v1\n";

struct options {
    struct hl_place place;
    struct hl_registry_options registry;
};

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

/* Returns true if `name` means one image, which must then run on linux/amd64. "" means every image of a layout, which may
 * be one or several. */
static bool means_one(struct hl_store *store, const char *name)
{
    HL_FREE struct hl_descriptor *roots = NULL;
    struct hl_error ignored;
    size_t n = 0;
    return *name || !store->class->list || (!store->class->list(store, &roots, &n, &ignored) && n == 1);
}

/* Checks, beyond the digests of the blobs, the models that `hotlayer image` put in: the heads open, and their shards are
 * present. Of a compressed layer only the beginning is read. */
static int verify_models(struct hl_store *store, const struct hl_image *image, struct hl_error *err)
{
    HL_MODELS models = {.n = 0};
    for (size_t i = hl_models_ours(image) ? image->n_layers : 0; i--;)
        if (hl_models_may_hold(image, i) &&
            hl_models_scan(&models, store, &image->layer[i].blob, i, HL_LOOK_LIMIT, err))
            return hl_error_prefix(err, "%s", store->name);
    return models.partial ? 0 : hl_models_check(&models, err);
}

static int verify_blobs(struct hl_store *store, const char *name, struct hl_image_verified *out, struct hl_error *err)
{
    struct hl_image image = {.bytes = 0};
    struct hl_progress progress = {.out = stderr};
    bool one = means_one(store, name);
    int result = (one && hl_image_open(store, name, &image, err)) ||
                         hl_image_verify(store, name, &progress, out, err) || (one && verify_models(store, &image, err))
                     ? -1
                     : 0;
    hl_progress_clear(&progress);
    hl_image_free(&image);
    return result;
}

static int verify_image(const struct hl_place *place, const struct hl_registry_options *options, struct hl_error *err)
{
    struct hl_image_verified verified;
    HL_STORE *store = NULL;
    const char *name;
    char bytes[24];
    int result =
        hl_place_open_store(place, options, &store, &name, err) || verify_blobs(store, name, &verified, err) ? -1 : 0;
    hl_store_warn(store);
    if (result)
        return -1;
    printf("%s: good; %zu image%s, %zu blobs, %s\n", place->text, verified.images, verified.images == 1 ? "" : "s",
           verified.blobs, hl_text_bytes(verified.bytes, bytes));
    return 0;
}

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    *out = (struct options){.registry = {.jobs = 0}};
    const struct hl_option table[] = {HL_REGISTRY_OPTIONS(&out->registry)};
    const struct hl_options options = {about, table, HL_COUNT(table), examples, HL_PLACE_EXPECTED, 1, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    return first < 0 ? -1 : hl_place_parse(argv[first], &out->place, err);
}

int hl_cmd_verify(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("verify", &err);
    int result = options.place.kind == HL_PLACE_FILE ? verify_hot(options.place.text, &err)
                                                     : verify_image(&options.place, &options.registry, &err);
    return result < 0 ? hl_cli_report("verify", &err) : 0;
}
