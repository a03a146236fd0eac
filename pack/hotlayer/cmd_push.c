/* hotlayer push: copies an image into a registry, unchanged. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "registry/oci/oci_image.h"
#include "registry/remote/upload.h"

static const char about[] =
    "usage: hotlayer push oci:DIR[:TAG] HOST/REPOSITORY[:TAG] [OPTIONS]\n"
    "       hotlayer push oci://HOST/REPOSITORY[:TAG][@DIGEST] HOST/REPOSITORY[:TAG] [OPTIONS]\n"
    "\n"
    "Copies an image into a registry, byte for byte, from a layout or another registry. Blobs that the repository has\n"
    "are not sent. Layers that another repository of the registry has are mounted from there. An interrupted upload "
    "or\n"
    "push resumes at the offset that the registry reports. The tag is written last, so it never names an incomplete\n"
    "image. Without a TAG in the target the image is tagged \"latest\", whatever its own tag is.\n";

static const char examples[] =
    "Credentials are those of docker, podman and gcloud. Finished and unfinished uploads are recorded in\n"
    "$XDG_STATE_HOME/hotlayer or ~/.local/state/hotlayer.\n"
    "The last line on stdout is the digest of the image.\n"
    "\n"
    "examples:\n"
    "  hotlayer push oci:image europe-docker.pkg.dev/PROJECT/REPOSITORY/gemma\n"
    "  hotlayer push oci:image:v2 ghcr.io/OWNER/gemma:v2 --jobs 8\n"
    "  hotlayer push oci://127.0.0.1:5000/test/gemma:v2 registry.example.org/gemma:v2 --ca ca.pem\n";

struct options {
    struct hl_place from;
    struct hl_reference to;
    struct hl_registry_options registry;
    bool json;
};

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    *out = (struct options){.json = false};
    const struct hl_option table[] = {
        hl_option_flag("--json", &out->json, "describe the result on stdout as JSON"),
        HL_REGISTRY_OPTIONS(&out->registry),
    };
    const struct hl_options options = {
        about, table, HL_COUNT(table), examples, "an image and a target: oci:DIR[:TAG] HOST/REPOSITORY[:TAG]", 2, 2};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0 || hl_place_parse(argv[first], &out->from, err))
        return -1;
    if (out->from.kind == HL_PLACE_FILE)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' is not an image; write oci:DIR[:TAG], see hotlayer-image(1)",
                          argv[first]);
    return hl_reference_parse(argv[first + 1], &out->to, err);
}

struct pushed {
    struct hl_descriptor root;
    struct hl_upload_counts counts;
    uint64_t bytes; /* of configs and layers */
};

/* "4 layers, 1 sent (1.07 GB), 3 already there" */
static void print_summary(const struct pushed *pushed)
{
    const struct hl_upload_counts *counts = &pushed->counts;
    size_t layers = counts->sent + counts->mounted + counts->present;
    char size[24];
    fprintf(stderr, "%zu layer%s, %zu sent (%s)", layers, layers == 1 ? "" : "s", counts->sent,
            hl_text_bytes(counts->bytes, size));
    if (counts->mounted)
        fprintf(stderr, ", %zu mounted from another repository", counts->mounted);
    fprintf(stderr, ", %zu already there\n", counts->present);
}

static int print_json(const struct hl_reference *reference, const struct pushed *pushed, struct hl_error *err)
{
    HL_JSON cJSON *root = cJSON_CreateObject();
    cJSON *layers = NULL;
    char name[HL_REFERENCE_BYTES];
    const struct hl_upload_counts *counts = &pushed->counts;
    bool complete = cJSON_AddStringToObject(root, "reference", hl_reference_text(reference, name)) &&
                    cJSON_AddStringToObject(root, "digest", pushed->root.digest) &&
                    cJSON_AddNumberToObject(root, "bytes", (double)pushed->bytes) &&
                    cJSON_AddNumberToObject(root, "sent", (double)counts->bytes) &&
                    (layers = cJSON_AddObjectToObject(root, "layers")) &&
                    cJSON_AddNumberToObject(layers, "sent", (double)counts->sent) &&
                    cJSON_AddNumberToObject(layers, "mounted", (double)counts->mounted) &&
                    cJSON_AddNumberToObject(layers, "present", (double)counts->present);
    HL_FREE char *text = complete ? cJSON_PrintUnformatted(root) : NULL;
    if (!text)
        return hl_no_memory(err);
    puts(text);
    return 0;
}

static int push(const struct options *options, struct hl_progress *progress, struct pushed *out, struct hl_error *err)
{
    HL_STORE *from = NULL;
    HL_TARGET *to = NULL;
    const char *name;
    if (hl_place_open_store(&options->from, &options->registry, &from, &name, err) ||
        from->class->resolve(from, name, &out->root, err))
        return from ? hl_error_prefix(err, "%s", from->name) : -1;
    if (*options->to.digest && strcmp(options->to.digest, out->root.digest) != 0)
        return hl_fail(err, "%s is %s, not %s; to push it, leave out the digest", options->from.text, out->root.digest,
                       options->to.digest);
    if (hl_target_open_registry(&options->to, &options->registry, &to, err))
        return -1;
    int status = hl_image_copy(from, name, to, progress, &out->root, err);
    out->bytes = progress->total;
    hl_target_uploads(to, &out->counts);
    hl_store_warn(from);
    hl_target_warn(to);
    return status;
}

int hl_cmd_push(int argc, char **argv)
{
    struct hl_error err;
    struct options options;
    struct pushed pushed = {.bytes = 0};
    struct hl_progress progress = {.out = stderr};
    if (parse_options(argc, argv, &options, &err))
        return hl_cli_report("push", &err);
    int status = push(&options, &progress, &pushed, &err);
    hl_progress_clear(&progress);
    if (status)
        return hl_cli_report("push", &err);
    print_summary(&pushed);
    if (!options.json)
        puts(pushed.root.digest);
    else if (print_json(&options.to, &pushed, &err))
        return hl_cli_report("push", &err);
    return 0;
}
