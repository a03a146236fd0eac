/* hotlayer push: an image goes into a registry, as it is. */
#include "base/cleanup.h"
#include "base/text.h"
#include "pack/hotlayer/place.h"
#include "pack/hotlayer/verbs.h"
#include "registry/oci/oci_image.h"
#include "registry/remote/upload.h"

static const char help[] =
    "usage: hotlayer push oci:DIR[:TAG] HOST/REPOSITORY[:TAG] [--json]\n"
    "\n"
    "Carries an image into a registry, byte by byte. What is there already is not sent; layers that another\n"
    "repository of the registry has are mounted from there; an upload that broke, or a push that was killed, goes on\n"
    "where the registry says that it stopped. The tag comes last: it never leads to a part of an image.\n"
    "\n"
    "An image may also come from a registry: write oci://HOST/REPOSITORY[:TAG] for oci:DIR[:TAG]. Without a TAG\n"
    "behind REPOSITORY the image is tagged \"latest\", whatever its tag was.\n"
    "\n"
    "      --json         say what was done as JSON on stdout\n" HL_REGISTRY_OPTIONS_HELP "  -h, --help\n"
    "\n"
    "Credentials are those of docker, podman and gcloud. What was pushed, and what is not finished, is remembered in\n"
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
    bool json, help;
};

static int parse_options(int argc, char **argv, struct options *out, struct hl_error *err)
{
    enum { JSON = 256 };
    static const struct option known[] = {
        {"json", no_argument, NULL, JSON}, {"help", no_argument, NULL, 'h'}, HL_REGISTRY_OPTIONS, {NULL, 0, NULL, 0}};
    *out = (struct options){.help = false};
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        int common = hl_registry_option(option, optarg, &out->registry, err);
        if (common < 0)
            return -1;
        if (option == 'h')
            out->help = true;
        else if (option == JSON)
            out->json = true;
        else if (!common)
            return hl_fail_as(err, HL_ERROR_USAGE, option == ':' ? "%.100s wants a value" : "%.100s is not an option",
                              argv[optind - 1]);
    }
    if (out->help)
        return 0;
    if (argc - optind != 2)
        return hl_fail_as(err, HL_ERROR_USAGE, "name an image and where it goes: oci:DIR[:TAG] HOST/REPOSITORY[:TAG]");
    if (hl_place_parse(argv[optind], &out->from, err))
        return -1;
    if (out->from.kind == HL_PLACE_FILE)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' is no image; write oci:DIR[:TAG], and see hotlayer-image(1)",
                          argv[optind]);
    return hl_reference_parse(argv[optind + 1], &out->to, err);
}

struct pushed {
    struct hl_descriptor root;
    struct hl_upload_counts counts;
    uint64_t bytes; /* of configs and layers */
};

/* "4 layers, 1 sent (1.07 GB), 3 there already" */
static void print_summary(const struct pushed *pushed)
{
    const struct hl_upload_counts *counts = &pushed->counts;
    size_t layers = counts->sent + counts->mounted + counts->present;
    char size[24];
    fprintf(stderr, "%zu layer%s, %zu sent (%s)", layers, layers == 1 ? "" : "s", counts->sent,
            hl_text_bytes(counts->bytes, size));
    if (counts->mounted)
        fprintf(stderr, ", %zu mounted from another repository", counts->mounted);
    fprintf(stderr, ", %zu there already\n", counts->present);
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
        return hl_fail(err, "%s is %s, not %s; leave the digest out to push it", options->from.text, out->root.digest,
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
    if (options.help) {
        fputs(help, stdout);
        return 0;
    }
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
