/* The config of a base -> the config of our image. Any accepted base gives a config that is JSON, lists the same layers
 * as its manifest, and starts hotlayerd as a user other than root. No member that we set occurs in another spelling. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/image_config.h"
#include "tests/fuzz/guard.h"
#include <stdio.h>
#include <strings.h>

#define OURS 2
#define DIGEST "sha256:%064x"

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* Writes a manifest of `n` compressed layers. */
static char *make_manifest(size_t n)
{
    size_t room = 400 * (n + 1);
    char *text = malloc(room);
    must(text, "memory");
    int used = snprintf(text, room, "{\"schemaVersion\":2,\"layers\":[");
    for (size_t i = 0; i < n; i++)
        used += snprintf(text + used, room - (size_t)used,
                         "%s{\"mediaType\":\"" HL_OCI_LAYER "+gzip\",\"digest\":\"" DIGEST "\",\"size\":%zu}",
                         i ? "," : "", (unsigned)i, i);
    snprintf(text + used, room - (size_t)used, "]}");
    return text;
}

/* Copies `config`. */
static int read_image(struct hl_image *image, char *config, size_t n, struct hl_error *err)
{
    const struct hl_descriptor manifest = {.media_type = HL_OCI_MANIFEST, .digest = "manifest"};
    const struct hl_descriptor described = {.media_type = HL_OCI_CONFIG, .digest = "config"};
    char *text = make_manifest(n);
    *image = (struct hl_image){.bytes = 0};
    int status = hl_image_read(image, &manifest, text, strlen(text), &described, config, strlen(config), err);
    if (status) {
        free(text);
        free(config);
        hl_image_free(image);
    }
    return status;
}

/* Returns the number of layers in a config. */
static size_t count_layers(const char *config, size_t bytes)
{
    struct hl_error err;
    struct hl_view view = {(const uint8_t *)config, bytes};
    HL_JSON cJSON *json = NULL;
    if (hl_json_parse(view, "config", &json, &err))
        return 0;
    int n = cJSON_GetArraySize(hl_json_get(hl_json_get(json, "rootfs"), "diff_ids"));
    return n > HL_IMAGE_LAYERS_MOST ? 0 : (size_t)n;
}

static void check_single(const cJSON *object, const char *key)
{
    const cJSON *item;
    unsigned n = 0;
    cJSON_ArrayForEach(item, object)
    {
        n += !strcasecmp(item->string, key);
    }
    must(n == 1 && hl_json_get(object, key), key);
}

static void check_config(const char *text)
{
    static const char *const members[] = {"architecture", "os", "config", "rootfs", "history"};
    static const char *const inner[] = {"User",       "Env",    "Entrypoint",  "WorkingDir",
                                        "StopSignal", "Labels", "ExposedPorts"};
    struct hl_error err;
    struct hl_view view = {(const uint8_t *)text, strlen(text)};
    HL_JSON cJSON *json = NULL;
    must(!hl_json_parse(view, "our config", &json, &err), "our config is not JSON");
    const cJSON *config = hl_json_get(json, "config");
    for (size_t i = 0; i < HL_COUNT(members); i++)
        check_single(json, members[i]);
    for (size_t i = 0; i < HL_COUNT(inner); i++)
        check_single(config, inner[i]);
    must(!cJSON_HasObjectItem(config, "Cmd") && !cJSON_HasObjectItem(json, "created"), "Cmd or created");
    must(strtol(hl_json_text(config, "User"), NULL, 10) > 0, "root");
}

static void put_on(const struct hl_image *base)
{
    static const struct hl_config_layer layers[OURS] = {
        {"sha256:00000000000000000000000000000000000000000000000000000000000000aa", "ours", "comment"},
        {"sha256:00000000000000000000000000000000000000000000000000000000000000bb", "ours", NULL}};
    static const struct hl_config_label label = {"org.opencontainers.image.title", "t"};
    const struct hl_config_spec spec = {base, "", true, &label, 1, layers, OURS};
    struct hl_image image;
    struct hl_error err;
    HL_JSON cJSON *json = NULL;
    if (hl_image_config_check(base, &err))
        return;
    must(!hl_image_config_make(&spec, &json, &err), "a config that was checked cannot be changed");
    char *text = cJSON_PrintUnformatted(json);
    must(text, "memory");
    check_config(text);
    if (read_image(&image, text, base->n_layers + OURS, &err))
        must(false, err.message);
    must(!strcmp(image.platform, "linux/amd64") && !strcmp(image.entrypoint, "/usr/bin/hotlayerd serve"), "process");
    for (size_t i = 0; i < base->n_layers; i++)
        must(!strcmp(image.layer[i].diff_id, base->layer[i].diff_id), "diff_id");
    hl_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_image base;
    struct hl_error err;
    char *config = size < GUARD_MOST ? malloc(size + 1) : NULL;
    if (!config)
        return 0;
    memcpy(config, data, size);
    config[size] = 0;
    if (memchr(config, 0, size)) { /* the texts of documents end there */
        free(config);
        return 0;
    }
    if (read_image(&base, config, count_layers(config, size), &err))
        return 0;
    put_on(&base);
    hl_image_free(&base);
    return 0;
}
