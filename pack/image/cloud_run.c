/* Checks an image by its documents: one function for each check, one line of result each.
 *
 * A check fails if Cloud Run would refuse the image, or if it could not start or be reached there. What Cloud Run
 * ignores, or what only costs, gives a warning. If hotlayerd is the entry point, its own reading of options and
 * variables decides (base/address.h), so the check cannot drift from the server. Nothing here reads layers or talks to
 * a store; cloud_run_print.c does that.
 */
#include "pack/image/cloud_run.h"
#include "base/address.h"
#include "base/progress.h"
#include "base/text.h"

#define SHOWN 72 /* the most bytes of a text from the image in a message */

struct subject {
    const struct hl_image *image;
    const cJSON *config;  /* the document; its member "config" is `process` */
    const cJSON *process; /* NULL: the document has no such member */
    const cJSON *command; /* the words of Entrypoint and Cmd */
    const cJSON *index;   /* NULL: none */
    struct hl_cloud_run *out;
};

/* An untrusted text, truncated between characters and safe for a terminal. */
struct shown {
    char text[SHOWN + 4];
};

static struct shown show(const char *text)
{
    struct shown shown = {.text = ""};
    hl_text_copy(shown.text, SHOWN, text);
    if (text && strlen(text) >= SHOWN) {
        size_t cut = SHOWN - 1;
        while (cut && ((unsigned char)text[cut] & 0xc0) == 0x80)
            cut--;
        memcpy(shown.text + cut, "...", 4);
    }
    return shown;
}

__attribute__((format(printf, 4, 5))) static void say(const struct subject *subject, const char *name,
                                                      enum hl_verdict verdict, const char *format, ...)
{
    struct hl_cloud_run *out = subject->out;
    struct hl_cloud_run_check *check = &out->check[out->n++];
    va_list args;
    va_start(args, format);
    check->name = name;
    check->verdict = verdict;
    vsnprintf(check->message, sizeof check->message, format, args);
    va_end(args);
    out->warnings += verdict == HL_VERDICT_WARN;
    out->failures += verdict == HL_VERDICT_FAIL;
}

/* Returns the value of a variable that the image sets; NULL: not set. Of equal names the last counts. */
static const char *variable(const struct subject *subject, const char *name)
{
    const char *value = NULL;
    size_t length = strlen(name);
    const cJSON *line;
    cJSON_ArrayForEach(line, hl_json_get(subject->process, "Env"))
    {
        const char *text = cJSON_GetStringValue(line);
        if (text && !strncmp(text, name, length) && text[length] == '=')
            value = text + length + 1;
    }
    return value;
}

/* Returns the words of Entrypoint, then those of Cmd, as one list; NULL if memory ran out. The caller frees it with
 * cJSON_Delete(). */
static cJSON *join_command(const cJSON *process)
{
    cJSON *command = cJSON_CreateArray();
    const cJSON *parts[] = {hl_json_get(process, "Entrypoint"), hl_json_get(process, "Cmd")}, *item;
    for (size_t i = 0; i < 2; i++)
        cJSON_ArrayForEach(item, parts[i])
        {
            const char *text = cJSON_GetStringValue(item);
            if (text && !cJSON_AddItemToArray(command, cJSON_CreateString(text))) {
                cJSON_Delete(command);
                return NULL;
            }
        }
    return command;
}

static const char *program(const struct subject *subject)
{
    return cJSON_GetStringValue(subject->command->child);
}

static bool runs_hotlayerd(const struct subject *subject)
{
    const char *path = program(subject), *slash = path ? strrchr(path, '/') : NULL;
    return path && !strcmp(slash ? slash + 1 : path, "hotlayerd");
}

/* Returns the value of a long option in the command ("--NAME VALUE" or "--NAME=VALUE"); NULL: not given. */
static const char *option(const struct subject *subject, const char *name)
{
    const char *value = NULL;
    size_t length = strlen(name);
    for (const cJSON *word = subject->command->child; word; word = word->next) {
        const char *text = cJSON_GetStringValue(word);
        if (!strncmp(text, name, length) && (!text[length] || text[length] == '='))
            value = text[length] ? text + length + 1 : cJSON_GetStringValue(word->next);
    }
    return value;
}

static void check_platform(const struct subject *subject)
{
    const char *os = hl_json_text(subject->config, "os"), *machine = hl_json_text(subject->config, "architecture");
    if (hl_json_is(subject->config, "os", "linux") && hl_json_is(subject->config, "architecture", "amd64"))
        say(subject, "platform", HL_VERDICT_OK, "linux/amd64");
    else
        say(subject, "platform", HL_VERDICT_FAIL,
            "the config says %s/%s: Cloud Run runs linux/amd64 alone, so the program would not start; build the image "
            "for that platform",
            show(os).text, show(machine).text);
}

static bool is_attestation(const cJSON *entry)
{
    return hl_json_is(hl_json_get(entry, "annotations"), "vnd.docker.reference.type", "attestation-manifest") ||
           hl_json_text(entry, "artifactType");
}

static bool is_nowhere(const cJSON *entry)
{
    const cJSON *platform = hl_json_get(entry, "platform");
    return hl_json_is(platform, "os", "unknown") && hl_json_is(platform, "architecture", "unknown");
}

static void check_index(const struct subject *subject)
{
    const cJSON *entries = hl_json_get(subject->index, "manifests"), *entry;
    int fitting = 0, bare = 0, loose = 0;
    if (!subject->index) {
        say(subject, "index", HL_VERDICT_OK, "none: the reference names one image");
        return;
    }
    cJSON_ArrayForEach(entry, entries)
    {
        fitting += hl_document_is_amd64(entry) && !is_attestation(entry);
        loose += is_attestation(entry) && !is_nowhere(entry);
        bare += !is_attestation(entry) && !hl_json_get(entry, "platform");
    }
    if (fitting == 0)
        say(subject, "index", HL_VERDICT_FAIL,
            "no entry of the index is for linux/amd64, and Cloud Run accepts no other: add the platform to the image's "
            "entry, or name the image by its digest");
    else if (loose)
        say(subject, "index", HL_VERDICT_FAIL,
            "%d attestations or artifacts lack the platform unknown/unknown and could be mistaken for the "
            "image: push without them (BuildKit: --provenance=false --sbom=false), or set that platform",
            loose);
    else if (fitting > 1 || bare)
        say(subject, "index", HL_VERDICT_WARN,
            "%d entries for linux/amd64 and %d without a platform: it is undefined which one runs; leave one, or "
            "deploy by digest",
            fitting, bare);
    else
        say(subject, "index", HL_VERDICT_OK, "one of %d entries is for linux/amd64", cJSON_GetArraySize(entries));
}

static bool is_docker(const char *media_type)
{
    return strstr(media_type, "vnd.docker.") != NULL;
}

static void check_formats(const struct subject *subject)
{
    const struct hl_image *image = subject->image;
    bool docker = is_docker(image->manifest.media_type);
    size_t kinds[HL_KIND_ZSTD + 1] = {0};
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct hl_descriptor *blob = &image->layer[i].blob;
        if (!hl_document_is_layer(blob->kind)) {
            say(subject, "formats", HL_VERDICT_FAIL,
                "layer %zu has type %s, which cannot be imported: build the image again with tar, gzip or zstd layers",
                i + 1, show(blob->media_type).text);
            return;
        }
        if (blob->kind == HL_KIND_ZSTD && (docker || is_docker(blob->media_type))) {
            say(subject, "formats", HL_VERDICT_FAIL,
                "layer %zu is compressed with zstd but has a Docker media type: only OCI manifests allow zstd, and "
                "pulling fails; push with OCI media types (BuildKit: oci-mediatypes=true)",
                i + 1);
            return;
        }
        kinds[blob->kind]++;
    }
    if (is_docker(image->config.media_type) != docker)
        say(subject, "formats", HL_VERDICT_WARN,
            "the manifest is %s and the config %s: not every importer accepts that", docker ? "Docker's" : "OCI's",
            docker ? "OCI's" : "Docker's");
    else if (kinds[HL_KIND_GZIP] && image->bytes > (1ull << 30))
        say(subject, "formats", HL_VERDICT_WARN,
            "%s manifest, %zu of %zu layers in gzip: weights hardly shrink, and unpacking slows every import; "
            "`hotlayer image` leaves layers plain",
            docker ? "Docker" : "OCI", kinds[HL_KIND_GZIP], image->n_layers);
    else
        say(subject, "formats", HL_VERDICT_OK, "%s manifest; layers: %zu tar, %zu gzip, %zu zstd",
            docker ? "Docker" : "OCI", kinds[HL_KIND_TAR], kinds[HL_KIND_GZIP], kinds[HL_KIND_ZSTD]);
}

static void check_layers(const struct subject *subject)
{
    size_t n = subject->image->n_layers;
    if (n == 0)
        say(subject, "layers", HL_VERDICT_FAIL, "none: the image contains nothing to start");
    else if (n > HL_CLOUD_RUN_LAYERS_MOST)
        say(subject, "layers", HL_VERDICT_FAIL,
            "%zu layers: a container can have %d, the base's included, and would not start; pack with a larger "
            "--shard-size, or squash the base",
            n, HL_CLOUD_RUN_LAYERS_MOST);
    else if (n > HL_CLOUD_RUN_LAYERS_MANY)
        say(subject, "layers", HL_VERDICT_WARN,
            "%zu layers: the limit is %d, on some hosts less; pack with a larger --shard-size", n,
            HL_CLOUD_RUN_LAYERS_MOST);
    else
        say(subject, "layers", HL_VERDICT_OK, "%zu, the same in config and history", n);
}

static void check_sizes(const struct subject *subject)
{
    const struct hl_image *image = subject->image;
    size_t large = 0, largest = 0;
    char size[24], total[24];
    for (size_t i = 0; i < image->n_layers; i++) {
        large += image->layer[i].blob.bytes > HL_CLOUD_RUN_LAYER_BYTES;
        if (image->layer[i].blob.bytes > image->layer[largest].blob.bytes)
            largest = i;
    }
    uint64_t most = image->n_layers ? image->layer[largest].blob.bytes : 0;
    hl_text_bytes(most, size);
    hl_text_bytes(image->bytes, total);
    if (large)
        say(subject, "sizes", HL_VERDICT_WARN,
            "%zu layers are larger than 9.9 GB (layer %zu has %s): remote repositories do not import them; "
            "one layer for each shard stays below",
            large, largest + 1, size);
    else
        say(subject, "sizes", HL_VERDICT_OK, "%s in all, the largest layer %s", total, size);
}

static bool is_shell(const char *path)
{
    size_t length = strlen(path);
    return length >= 2 && !strcmp(path + length - 2, "sh");
}

static void check_entry(const struct subject *subject)
{
    const cJSON *first = subject->command->child;
    const char *path = program(subject), *verb = first ? cJSON_GetStringValue(first->next) : NULL;
    if (!path || !*path)
        say(subject, "entry point", HL_VERDICT_FAIL,
            "neither ENTRYPOINT nor CMD: nothing to start; use ENTRYPOINT [\"/usr/bin/hotlayerd\", \"serve\"]");
    else if (runs_hotlayerd(subject) && (!verb || strcmp(verb, "serve") != 0))
        say(subject, "entry point", HL_VERDICT_FAIL,
            "hotlayerd is not told to serve, so it would not listen; use ENTRYPOINT [\"/usr/bin/hotlayerd\", "
            "\"serve\"]");
    else if (verb && !strcmp(verb, "-c") && is_shell(path))
        say(subject, "entry point", HL_VERDICT_WARN,
            "%s -c: SIGTERM may reach the shell alone, and requests would be cut off; write ENTRYPOINT as a JSON "
            "list",
            show(path).text);
    else if (path[0] != '/')
        say(subject, "entry point", HL_VERDICT_WARN,
            "'%s' is searched in PATH or the working folder; write the absolute path", show(path).text);
    else if (!runs_hotlayerd(subject))
        say(subject, "entry point", HL_VERDICT_WARN, "%s is not hotlayerd: its handling of PORT is unknown",
            show(path).text);
    else
        say(subject, "entry point", HL_VERDICT_OK, "%s serve", show(path).text);
}

/* Checks where the server would listen when Cloud Run sets PORT. Another program is judged by the variables alone. */
static void check_address(const struct subject *subject)
{
    struct hl_address address;
    struct hl_error why;
    char port[8], host[256];
    bool ours = runs_hotlayerd(subject);
    const char *set = variable(subject, "OLLAMA_HOST");
    snprintf(port, sizeof port, "%d", HL_CLOUD_RUN_PORT);
    const struct hl_address_sources sources = {ours ? option(subject, "--host") : NULL,
                                               ours ? option(subject, "--port") : NULL, port, host};
    if (hl_address_environment_value("OLLAMA_HOST", set ? set : "", host, &why) ||
        hl_address_choose(&sources, &address, &why)) {
        say(subject, "address", HL_VERDICT_FAIL, "the server would not start: %s", show(why.message).text);
        return;
    }
    if (strcmp(address.host, "0.0.0.0") != 0 && strcmp(address.host, "::") != 0)
        say(subject, "address", HL_VERDICT_FAIL,
            "the server would listen on %s alone, where Cloud Run cannot reach it: %s must be 0.0.0.0",
            show(address.host).text, sources.host ? "--host" : "OLLAMA_HOST");
    else if (address.port != HL_CLOUD_RUN_PORT)
        say(subject, "address", HL_VERDICT_WARN,
            "--port %u overrides the PORT that Cloud Run sets: remove it, or deploy with --port %u", address.port,
            address.port);
    else
        say(subject, "address", HL_VERDICT_OK, "%s, on the port that PORT names", address.host);
}

/* Checks the port in EXPOSE and ENV. It has no effect on Cloud Run, but suggests that somebody expects one. */
static void check_port(const struct subject *subject)
{
    const char *set = variable(subject, "PORT");
    const cJSON *exposed = hl_json_get(subject->process, "ExposedPorts");
    if (set && strcmp(set, "8080") != 0)
        say(subject, "port", HL_VERDICT_WARN,
            "the image sets PORT=%s, but Cloud Run sets its own (8080): remove it, or deploy with --port",
            show(set).text);
    else if (cJSON_GetArraySize(exposed) && !hl_json_get(exposed, "8080/tcp"))
        say(subject, "port", HL_VERDICT_WARN,
            "EXPOSE %s has no effect on Cloud Run: requests go to 8080 unless the service is deployed with --port",
            show(exposed->child->string).text);
    else
        say(subject, "port", HL_VERDICT_OK, "8080");
}

static void check_user(const struct subject *subject)
{
    const char *user = hl_json_text(subject->process, "User");
    size_t digits = user ? strspn(user, "0123456789") : 0;
    if (!user || !*user || !strcmp(user, "root") || (digits && strtoull(user, NULL, 10) == 0))
        say(subject, "user", HL_VERDICT_WARN,
            "root: Cloud Run allows it, but nothing here needs it; use USER 65532:65532");
    else if (!digits || (user[digits] && user[digits] != ':'))
        say(subject, "user", HL_VERDICT_WARN,
            "'%s' is a name: the container starts only if the image's /etc/passwd has it, and policies that require "
            "a number other than 0 refuse it; use USER 65532:65532",
            show(user).text);
    else
        say(subject, "user", HL_VERDICT_OK, "%s", show(user).text);
}

static void check_ignored(const struct subject *subject)
{
    const cJSON *onbuild = hl_json_get(subject->process, "OnBuild");
    const char *stop = hl_json_text(subject->process, "StopSignal");
    if (stop && strcmp(stop, "SIGTERM") != 0 && strcmp(stop, "15") != 0)
        say(subject, "ignored", HL_VERDICT_WARN,
            "STOPSIGNAL %s: Cloud Run still sends SIGTERM, and SIGKILL 10 seconds later", show(stop).text);
    else if (cJSON_GetArraySize(hl_json_get(subject->process, "Volumes")))
        say(subject, "ignored", HL_VERDICT_WARN,
            "VOLUME %s: Cloud Run does not create a volume; files written there use memory",
            show(hl_json_get(subject->process, "Volumes")->child->string).text);
    else if (cJSON_GetArraySize(onbuild))
        say(subject, "ignored", HL_VERDICT_WARN,
            "ONBUILD: has no effect here, and surprises people who build FROM this image");
    else if (hl_json_get(subject->process, "Healthcheck"))
        say(subject, "ignored", HL_VERDICT_WARN,
            "HEALTHCHECK: Cloud Run has its own probes; set startupProbe and livenessProbe in the service");
    else
        say(subject, "ignored", HL_VERDICT_OK, "no VOLUME, ONBUILD, HEALTHCHECK or other STOPSIGNAL");
}

static bool lists(const char *paths, const char *folder)
{
    size_t length = strlen(folder);
    for (const char *at = paths; at && *at; at += strcspn(at, ":"), at += *at == ':')
        if (!strncmp(at, folder, length) && (at[length] == ':' || !at[length] || !strcmp(at + length, "/")))
            return true;
    return false;
}

static void check_driver(const struct subject *subject)
{
    if (lists(variable(subject, "LD_LIBRARY_PATH"), "/usr/local/nvidia/lib64"))
        say(subject, "driver", HL_VERDICT_OK, "LD_LIBRARY_PATH has /usr/local/nvidia/lib64");
    else
        say(subject, "driver", HL_VERDICT_WARN,
            "LD_LIBRARY_PATH does not name /usr/local/nvidia/lib64, where Cloud Run mounts the GPU's driver, so the "
            "driver may not be found; use ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64");
}

static void check_model(const struct subject *subject, const struct hl_models *models)
{
    const char *path = runs_hotlayerd(subject) ? option(subject, "--model") : NULL;
    const struct hl_model_file *head = NULL;
    size_t heads = 0;
    for (size_t i = 0; i < models->n; i++)
        if (models->file[i].head) {
            head = &models->file[i];
            heads++;
        }
    if (path)
        say(subject, "model", HL_VERDICT_WARN, "--model %s: not checked; it must exist when the container starts",
            show(path).text);
    else if (heads > 1)
        say(subject, "model", HL_VERDICT_FAIL,
            "there are %zu, but the server serves one and would exit: name it, CMD [\"--model\", \"/models/%s\"]",
            heads, head->model);
    else if (heads == 1)
        say(subject, "model", HL_VERDICT_OK, "/models/%s/%s", head->model, head->name);
    else if (models->partial)
        say(subject, "model", HL_VERDICT_WARN,
            "none was found, but not every layer was read to its end: the server needs one under /models");
    else
        say(subject, "model", HL_VERDICT_FAIL,
            "no layer contains /models/NAME/model.hot: the server would exit, since there is no model; put one in with "
            "`hotlayer image MODEL.hot --base`");
}

int hl_cloud_run_check(const struct hl_image *image, const char *index_text, size_t index_bytes,
                       const struct hl_models *models, struct hl_cloud_run *out, struct hl_error *err)
{
    HL_JSON cJSON *config = NULL;
    HL_JSON cJSON *index = NULL;
    HL_JSON cJSON *command = NULL;
    struct hl_view view = {(const uint8_t *)image->config_text, image->config_bytes};
    struct hl_view index_view = {(const uint8_t *)index_text, index_bytes};
    *out = (struct hl_cloud_run){.n = 0};
    if (hl_json_parse(view, "the config", &config, err) ||
        (index_text && hl_json_parse(index_view, "the index", &index, err)))
        return -1;
    const cJSON *process = hl_json_get(config, "config");
    command = join_command(process);
    if (!command)
        return hl_no_memory(err);
    const struct subject subject = {image, config, process, command, index, out};
    check_platform(&subject);
    check_index(&subject);
    check_formats(&subject);
    check_layers(&subject);
    check_sizes(&subject);
    check_entry(&subject);
    check_address(&subject);
    check_port(&subject);
    check_user(&subject);
    check_ignored(&subject);
    check_driver(&subject);
    check_model(&subject, models);
    return 0;
}
