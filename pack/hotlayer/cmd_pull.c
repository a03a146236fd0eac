/* hotlayer pull: extracts the model of an image into a folder, or copies an image into a layout. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "pack/image/pull.h"

static const char about[] =
    "usage: hotlayer pull SOURCE [-o DIR | -o oci:DIR[:TAG] | -o oci-archive:FILE[:TAG]] [OPTIONS]\n"
    "\n"
    "Fetches the model of an image: MODEL.hot and its shards, ready for hotlayerd. SOURCE is\n"
    "oci://HOST/REPOSITORY[:TAG][@DIGEST] (oci:// may be left out) or oci:DIR[:TAG]. Layers are fetched in parallel, "
    "and\n"
    "each is verified before it is extracted. An interrupted pull resumes; a repeated one fetches nothing.\n";

static const char examples[] =
    "The last line on stdout is the path of the model's head, or the digest of the image in a layout.\n"
    "\n"
    "examples:\n"
    "  hotlayer pull oci://europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma:v1\n"
    "  hotlayer pull localhost:5000/gemma -o /srv/models/gemma\n"
    "  hotlayer pull localhost:5000/gemma:v1 -o oci:image\n";

struct options {
    struct hl_place source;
    struct hl_registry_options registry;
    const char *output;
    bool json;
};

/* Refuses the sources that are planned but not supported yet. */
static int check_source(const char *text, const struct hl_place *place, struct hl_error *err)
{
    static const char *const later[] = {"hf://", "ollama://", "gs://", "https://", "http://"};
    for (size_t i = 0; i < HL_COUNT(later); i++)
        if (hl_text_begins(text, later[i]))
            return hl_fail_as(
                err, HL_ERROR_USAGE,
                "'%.200s': %s is not supported yet; this version pulls images, oci://HOST/REPOSITORY[:TAG]", text,
                later[i]);
    if (place->kind == HL_PLACE_FILE)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' is not an image; write oci://HOST/REPOSITORY[:TAG]", text);
    return 0;
}

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    *out = (struct options){.json = false};
    const struct hl_option table[] = {
        hl_option_text("-o, --output DIR", &out->output,
                       "the folder for the files; default: one with the model's name, in the current folder. Several "
                       "models get a folder each in it. It must be empty or hold an earlier pull.\n"
                       "oci:DIR[:TAG]: copy the whole image into a layout; TAG is by default the image's own.\n"
                       "oci-archive:FILE[:TAG]: the same as one file, for podman load and docker load"),
        hl_option_flag("--json", &out->json, "describe the result on stdout as JSON"),
        HL_REGISTRY_OPTIONS(&out->registry),
    };
    const struct hl_options options = {
        about, table, HL_COUNT(table), examples, "one SOURCE: oci://HOST/REPOSITORY[:TAG]", 1, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0)
        return -1;
    if (out->output && !*out->output)
        return hl_fail_as(err, HL_ERROR_USAGE, "--output must not be empty");
    return hl_place_parse(argv[first], &out->source, err) || check_source(argv[first], &out->source, err) ? -1 : 0;
}

static int print_json(cJSON *json, struct hl_error *err)
{
    HL_FREE char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return hl_no_memory(err);
    puts(text);
    return 0;
}

static int report_models(const struct hl_pulled *pulled, const struct options *options, struct hl_error *err)
{
    char bytes[24], fetched[24];
    if (!options->json) {
        fprintf(stderr, "%.19s: %s, %s of it fetched\n", pulled->digest, hl_text_bytes(pulled->bytes, bytes),
                hl_text_bytes(pulled->fetched, fetched));
        for (size_t i = 0; i < pulled->n; i++)
            puts(pulled->model[i].path);
        return 0;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "digest", pulled->digest);
    cJSON_AddNumberToObject(json, "bytes", (double)pulled->bytes);
    cJSON_AddNumberToObject(json, "fetched", (double)pulled->fetched);
    cJSON *models = cJSON_AddArrayToObject(json, "models");
    for (size_t i = 0; i < pulled->n; i++) {
        cJSON *model = cJSON_CreateObject();
        cJSON_AddStringToObject(model, "name", pulled->model[i].name);
        cJSON_AddStringToObject(model, "path", pulled->model[i].path);
        cJSON_AddItemToArray(models, model);
    }
    return print_json(json, err);
}

static int pull_models(struct hl_store *store, const char *name, const struct options *options,
                       struct hl_progress *progress, struct hl_error *err)
{
    const struct hl_pull_options how = {options->output, options->registry.jobs, progress};
    struct hl_pulled pulled;
    int status = hl_pull(store, name, &how, &pulled, err);
    hl_progress_clear(progress);
    if (!status)
        status = report_models(&pulled, options, err);
    hl_pulled_free(&pulled);
    return status;
}

/* Returns the tag of the image at its source, or "". */
static int own_tag(struct hl_store *store, const struct options *options, char out[HL_TAG_BYTES], struct hl_error *err)
{
    struct hl_descriptor found;
    const struct hl_place *source = &options->source;
    if (source->kind == HL_PLACE_REGISTRY) {
        memcpy(out, source->reference.tag, HL_TAG_BYTES);
        return 0;
    }
    if (store->class->resolve(store, source->layout.tag, &found, err))
        return hl_error_prefix(err, "%s", store->name);
    snprintf(out, HL_TAG_BYTES, "%s", hl_reference_tag_valid(found.tag, strlen(found.tag)) ? found.tag : "");
    return 0;
}

static int report_image(const struct hl_descriptor *root, const char *tag, const struct options *options,
                        struct hl_error *err)
{
    if (!options->json) {
        puts(root->digest);
        return 0;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "digest", root->digest);
    cJSON_AddStringToObject(json, "tag", *tag ? tag : "latest");
    return print_json(json, err);
}

static int pull_layout(struct hl_store *store, const char *name, const struct options *options,
                       struct hl_progress *progress, struct hl_error *err)
{
    struct hl_oci_reference output;
    struct hl_descriptor root;
    char own[HL_TAG_BYTES] = "";
    HL_TARGET *target = NULL;
    if (hl_oci_reference_parse(options->output, &output, err) || own_tag(store, options, own, err))
        return -1;
    const char *tag = *output.tag ? output.tag : own;
    const char *repository = options->source.kind == HL_PLACE_REGISTRY ? options->source.reference.repository : "image";
    if (output.archive ? hl_target_open_archive(output.path, repository, tag, &target, err)
                       : hl_target_open_layout(output.path, tag, &target, err))
        return -1;
    if (options->registry.jobs)
        target->jobs = options->registry.jobs;
    return hl_image_copy(store, name, target, progress, &root, err) ? -1 : report_image(&root, tag, options, err);
}

int hl_cmd_pull(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    struct hl_progress progress = {.out = stderr};
    HL_STORE *store = NULL;
    const char *name;
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("pull", &err);
    if (hl_place_open_store(&options.source, &options.registry, &store, &name, &err))
        return hl_cli_report("pull", &err);
    bool layout =
        options.output && (hl_text_begins(options.output, "oci:") || hl_text_begins(options.output, "oci-archive:"));
    int status = layout ? pull_layout(store, name, &options, &progress, &err)
                        : pull_models(store, name, &options, &progress, &err);
    hl_progress_clear(&progress);
    hl_store_warn(store);
    return status ? hl_cli_report("pull", &err) : 0;
}
