/* pack/image/cloud_run.c: a good image passes every check, and each way to spoil it fails the right check. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/cloud_run.h"
#include "tests/unit/check.h"

static const char digest_a[] = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/* The documents of an image, in pieces; a case that leaves one NULL gets that of the good image. */
struct documents {
    const char *platform;     /* members of the config document */
    const char *process;      /* members of its "config" */
    const char *manifest;     /* media types */
    const char *config;       /* of the config */
    const char *layer;        /* of every layer */
    const char *index;        /* NULL: no index */
    int layers;               /* 0: three */
    unsigned long long bytes; /* of a layer; 0: one MiB */
    int heads;                /* number of models in it beside the first; -1: none at all */
    bool partial;             /* the search ended early */
};

static const char good_process[] =
    "\"User\":\"65532:65532\",\"ExposedPorts\":{\"8080/tcp\":{}},"
    "\"Env\":[\"PATH=/usr/bin\",\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib\","
    "\"OLLAMA_HOST=0.0.0.0:8080\"],\"Entrypoint\":[\"/usr/bin/hotlayerd\",\"serve\"],\"StopSignal\":\"SIGTERM\"";

/* All members of the good image but its entry point or environment. */
#define WITH_ENV(env)                                                                                                  \
    "\"User\":\"65532\",\"Entrypoint\":[\"/usr/bin/hotlayerd\",\"serve\"],"                                            \
    "\"Env\":[\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64\"," env "]"
#define WITH_COMMAND(command)                                                                                          \
    "\"User\":\"65532\",\"Env\":[\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64\",\"OLLAMA_HOST=0.0.0.0\"]," command
#define WITH(more) WITH_COMMAND("\"Entrypoint\":[\"/usr/bin/hotlayerd\",\"serve\"]," more)

static char *layers_json(const struct documents *d, int n, bool diff_ids)
{
    char *text = calloc((size_t)n + 1, 400);
    size_t used = 0;
    for (int i = 0; text && i < n; i++)
        if (diff_ids)
            used += (size_t)sprintf(text + used, "%s\"%s\"", i ? "," : "", digest_a);
        else
            used +=
                (size_t)sprintf(text + used, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", i ? "," : "",
                                d->layer ? d->layer : HL_OCI_LAYER, digest_a, d->bytes ? d->bytes : 1ull << 20);
    return text;
}

/* The caller frees *image with hl_image_free(). */
static int make_image(const struct documents *d, struct hl_image *image, struct hl_error *err)
{
    int n = d->layers ? d->layers : 3;
    HL_FREE char *layers = layers_json(d, n < 0 ? 0 : n, false), *diff_ids = layers_json(d, n < 0 ? 0 : n, true);
    char *manifest_text = NULL, *config_text = NULL;
    struct hl_descriptor manifest = {.kind = HL_KIND_MANIFEST}, config = {.kind = HL_KIND_CONFIG};
    snprintf(manifest.media_type, sizeof manifest.media_type, "%s", d->manifest ? d->manifest : HL_OCI_MANIFEST);
    snprintf(config.media_type, sizeof config.media_type, "%s", d->config ? d->config : HL_OCI_CONFIG);
    memcpy(manifest.digest, digest_a, sizeof digest_a);
    int m = asprintf(&manifest_text, "{\"schemaVersion\":2,\"layers\":[%s]}", layers);
    int c = asprintf(&config_text, "{%s,\"config\":{%s},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
                     d->platform ? d->platform : "\"os\":\"linux\",\"architecture\":\"amd64\"",
                     d->process ? d->process : good_process, diff_ids);
    int status = m < 0 || c < 0
                     ? hl_no_memory(err)
                     : hl_image_read(image, &manifest, manifest_text, (size_t)m, &config, config_text, (size_t)c, err);
    if (status) {
        free(manifest_text);
        free(config_text);
    }
    return status;
}

static const struct hl_cloud_run_check *find(const struct hl_cloud_run *result, const char *name)
{
    for (size_t i = 0; i < result->n; i++)
        if (!strcmp(result->check[i].name, name))
            return &result->check[i];
    return NULL;
}

static bool judge(const struct documents *d, struct hl_cloud_run *result)
{
    struct hl_image image = {.bytes = 0};
    struct hl_error err = {.message = ""};
    struct hl_hot hot = {.path = ""};
    struct hl_model_file file[] = {
        {.model = "a", .name = "model.hot.001"},
        {.model = "a", .name = "model.hot", .head = &hot},
        {.model = "b", .name = "model.hot", .head = &hot},
    };
    const struct hl_models models = {.file = file, .n = d->heads < 0 ? 1 : 2 + (size_t)d->heads, .partial = d->partial};
    bool good =
        CHECK_OK(make_image(d, &image, &err), err) &&
        CHECK_OK(hl_cloud_run_check(&image, d->index, d->index ? strlen(d->index) : 0, &models, result, &err), err);
    hl_image_free(&image);
    return good;
}

static void test_good(void)
{
    struct hl_cloud_run result;
    const struct documents good = {.heads = 0};
    if (!judge(&good, &result))
        return;
    CHECK(result.n >= 12 && result.n <= HL_CLOUD_RUN_CHECKS);
    CHECK(!result.failures && !result.warnings);
    for (size_t i = 0; i < result.n; i++)
        CHECK_SAY(result.check[i].verdict == HL_VERDICT_OK && *result.check[i].message, "%s: %s", result.check[i].name,
                  result.check[i].message);
}

#define ENTRY(platform, more) "{\"platform\":{" platform "}" more "}"
#define AMD64 "\"os\":\"linux\",\"architecture\":\"amd64\""
#define ARM64 "\"os\":\"linux\",\"architecture\":\"arm64\""
#define NOWHERE "\"os\":\"unknown\",\"architecture\":\"unknown\""
#define ATTESTATION ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}"
#define INDEX(entries) "{\"manifests\":[" entries "]}"

static const struct {
    struct documents documents;
    const char *check;
    enum hl_verdict verdict;
    const char *word;
} cases[] = {
    {{.platform = "\"os\":\"linux\",\"architecture\":\"arm64\""}, "platform", HL_VERDICT_FAIL, "linux/arm64"},
    {{.platform = "\"os\":\"windows\",\"architecture\":\"amd64\""}, "platform", HL_VERDICT_FAIL, "windows/amd64"},
    {{.platform = "\"architecture\":\"amd64\""}, "platform", HL_VERDICT_FAIL, "/amd64"},
    {{.platform = "\"os\":3,\"architecture\":[]"}, "platform", HL_VERDICT_FAIL, "linux/amd64 alone"},

    {{.index = INDEX(ENTRY(AMD64, ""))}, "index", HL_VERDICT_OK, "one of 1"},
    {{.index = INDEX(ENTRY(ARM64, "") "," ENTRY(AMD64, "") "," ENTRY(NOWHERE, ATTESTATION))},
     "index",
     HL_VERDICT_OK,
     "one of 3"},
    {{.index = INDEX("{}")}, "index", HL_VERDICT_FAIL, "no entry"},
    {{.index = INDEX(ENTRY(ARM64, ""))}, "index", HL_VERDICT_FAIL, "no entry"},
    {{.index = INDEX(ENTRY(AMD64, ATTESTATION))}, "index", HL_VERDICT_FAIL, "no entry"},
    {{.index = INDEX(ENTRY(AMD64, "") "," ENTRY(AMD64, ATTESTATION))}, "index", HL_VERDICT_FAIL, "unknown/unknown"},
    {{.index = INDEX(ENTRY(AMD64, "") ",{\"artifactType\":\"application/x\"}")}, "index", HL_VERDICT_FAIL, "1 att"},
    {{.index = INDEX(ENTRY(AMD64, "") "," ENTRY(AMD64, ""))}, "index", HL_VERDICT_WARN, "2 entries"},
    {{.index = INDEX(ENTRY(AMD64, "") ",{}")}, "index", HL_VERDICT_WARN, "without a platform"},
    {{.index = "{}"}, "index", HL_VERDICT_FAIL, "no entry"},
    {{.index = "{\"manifests\":7}"}, "index", HL_VERDICT_FAIL, "no entry"},

    {{.layer = HL_OCI_LAYER "+zstd"}, "formats", HL_VERDICT_OK, "3 zstd"},
    {{.layer = HL_OCI_LAYER "+gzip"}, "formats", HL_VERDICT_OK, "3 gzip"},
    {{.layer = HL_OCI_LAYER "+gzip", .bytes = 1ull << 30}, "formats", HL_VERDICT_WARN, "3 of 3 layers in gzip"},
    {{.layer = HL_DOCKER_LAYER ".gzip", .manifest = HL_DOCKER_MANIFEST, .config = HL_DOCKER_CONFIG},
     "formats",
     HL_VERDICT_OK,
     "Docker manifest"},
    {{.layer = HL_DOCKER_LAYER ".zstd", .manifest = HL_DOCKER_MANIFEST, .config = HL_DOCKER_CONFIG},
     "formats",
     HL_VERDICT_FAIL,
     "zstd"},
    {{.layer = HL_OCI_LAYER "+zstd", .manifest = HL_DOCKER_MANIFEST, .config = HL_DOCKER_CONFIG},
     "formats",
     HL_VERDICT_FAIL,
     "zstd"},
    {{.layer = HL_DOCKER_LAYER ".zstd"}, "formats", HL_VERDICT_FAIL, "zstd"},
    {{.config = HL_DOCKER_CONFIG}, "formats", HL_VERDICT_WARN, "OCI's and the config Docker's"},

    {{.layers = -1}, "layers", HL_VERDICT_FAIL, "none"},
    {{.layers = 100}, "layers", HL_VERDICT_OK, "100"},
    {{.layers = 101}, "layers", HL_VERDICT_WARN, "--shard-size"},
    {{.layers = 127}, "layers", HL_VERDICT_WARN, "127"},
    {{.layers = 128}, "layers", HL_VERDICT_FAIL, "128 layers"},
    {{.bytes = HL_CLOUD_RUN_LAYER_BYTES}, "sizes", HL_VERDICT_OK, "9.9"},
    {{.bytes = HL_CLOUD_RUN_LAYER_BYTES + 1}, "sizes", HL_VERDICT_WARN, "3 layers"},

    {{.process = "\"User\":\"1\""}, "entry point", HL_VERDICT_FAIL, "nothing to start"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[]")}, "entry point", HL_VERDICT_FAIL, "nothing to start"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[7,{}]")}, "entry point", HL_VERDICT_FAIL, "nothing to start"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"\"]")}, "entry point", HL_VERDICT_FAIL, "nothing to start"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/usr/bin/hotlayerd\"]")}, "entry point", HL_VERDICT_FAIL, "serve"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/usr/bin/hotlayerd\",\"bench\"]")},
     "entry point",
     HL_VERDICT_FAIL,
     "serve"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/usr/bin/hotlayerd\"],\"Cmd\":[\"serve\"]")},
     "entry point",
     HL_VERDICT_OK,
     "serve"},
    {{.process = WITH_COMMAND("\"Cmd\":[\"/usr/bin/hotlayerd\",\"serve\"]")}, "entry point", HL_VERDICT_OK, "serve"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"hotlayerd\",\"serve\"]")}, "entry point", HL_VERDICT_WARN, "absolute"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/bin/sh\",\"-c\",\"hotlayerd serve\"]")},
     "entry point",
     HL_VERDICT_WARN,
     "JSON list"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/app/server\"]")}, "entry point", HL_VERDICT_WARN, "not hotlayerd"},
    {{.process = WITH_COMMAND("\"Entrypoint\":[\"/a\\u001b[2J\"]")}, "entry point", HL_VERDICT_WARN, "/a?[2J"},

    {{.process = WITH_ENV("\"OLLAMA_HOST=127.0.0.1:8080\"")}, "address", HL_VERDICT_FAIL, "127.0.0.1 alone"},
    {{.process = WITH_ENV("\"OLLAMA_HOST=0.0.0.0\",\"OLLAMA_HOST= 'http://localhost' \"")},
     "address",
     HL_VERDICT_FAIL,
     "localhost alone"},
    {{.process = WITH_ENV("\"OLLAMA_HOST=[::1]:80\"")}, "address", HL_VERDICT_FAIL, "::1 alone"},
    {{.process = WITH_ENV("\"OLLAMA_HOST=[::]\"")}, "address", HL_VERDICT_OK, "::"},
    {{.process = WITH_ENV("\"OLLAMA_HOST=:11434\"")}, "address", HL_VERDICT_OK, "0.0.0.0"},
    {{.process = WITH_ENV("\"OLLAMA_HOST=h:x\"")}, "address", HL_VERDICT_FAIL, "would not start"},
    {{.process = WITH_ENV("\"OLLAMA_HOSTS=127.0.0.1\"")}, "address", HL_VERDICT_OK, "0.0.0.0"},
    {{.process = WITH_ENV("7,\"OLLAMA_HOST\"")}, "address", HL_VERDICT_OK, "0.0.0.0"},
    {{.process = WITH("\"Cmd\":[\"--host\",\"127.0.0.1\"]")}, "address", HL_VERDICT_FAIL, "--host must be"},
    {{.process = WITH("\"Cmd\":[\"--host=127.0.0.1\"]")}, "address", HL_VERDICT_FAIL, "--host must be"},
    {{.process = WITH("\"Cmd\":[\"--port\",\"9000\"]")}, "address", HL_VERDICT_WARN, "--port 9000"},
    {{.process = WITH("\"Cmd\":[\"--port=x\"]")}, "address", HL_VERDICT_FAIL, "would not start"},
    {{.process = WITH("\"Cmd\":[\"--port\"]")}, "address", HL_VERDICT_OK, "0.0.0.0"},

    {{.process = WITH_ENV("\"PORT=8080\"")}, "port", HL_VERDICT_OK, "8080"},
    {{.process = WITH_ENV("\"PORT=11434\"")}, "port", HL_VERDICT_WARN, "PORT=11434"},
    {{.process = WITH("\"ExposedPorts\":{\"11434/tcp\":{}}")}, "port", HL_VERDICT_WARN, "EXPOSE 11434/tcp"},
    {{.process = WITH("\"ExposedPorts\":{\"11434/tcp\":{},\"8080/tcp\":{}}")}, "port", HL_VERDICT_OK, "8080"},

    {{.process = WITH("\"User\":\"0\"")}, "user", HL_VERDICT_OK, "65532"}, /* the first of a name counts */
    {{.process = "\"User\":\"\""}, "user", HL_VERDICT_WARN, "root"},
    {{.process = "\"User\":\"0:0\""}, "user", HL_VERDICT_WARN, "root"},
    {{.process = "\"User\":\"root\""}, "user", HL_VERDICT_WARN, "root"},
    {{.process = "\"User\":\"ollama\""}, "user", HL_VERDICT_WARN, "'ollama' is a name"},
    {{.process = "\"User\":\"12a\""}, "user", HL_VERDICT_WARN, "'12a' is a name"},
    {{.process = "\"User\":\"1000\""}, "user", HL_VERDICT_OK, "1000"},

    {{.process = WITH("\"Volumes\":{\"/root/.ollama\":{}}")}, "ignored", HL_VERDICT_WARN, "VOLUME /root/.ollama"},
    {{.process = WITH("\"OnBuild\":[\"RUN true\"]")}, "ignored", HL_VERDICT_WARN, "ONBUILD"},
    {{.process = WITH("\"OnBuild\":null,\"Volumes\":null")}, "ignored", HL_VERDICT_OK, "no VOLUME"},
    {{.process = WITH("\"Healthcheck\":{\"Test\":[\"NONE\"]}")}, "ignored", HL_VERDICT_WARN, "HEALTHCHECK"},
    {{.process = WITH("\"StopSignal\":\"SIGINT\"")}, "ignored", HL_VERDICT_WARN, "STOPSIGNAL SIGINT"},

    {{.process = "\"Env\":[\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64x:/lib\"]"}, "driver", HL_VERDICT_WARN, "driver"},
    {{.process = "\"Env\":[\"LD_LIBRARY_PATH=/lib:/usr/local/nvidia/lib64/\"]"}, "driver", HL_VERDICT_OK, "has"},
    {{.process = "\"Env\":{}"}, "driver", HL_VERDICT_WARN, "driver"},

    {{.heads = 0}, "model", HL_VERDICT_OK, "/models/a/model.hot"},
    {{.heads = 0, .partial = true}, "model", HL_VERDICT_OK, "/models/a/model.hot"},
    {{.heads = -1}, "model", HL_VERDICT_FAIL, "there is no model"},
    {{.heads = -1, .partial = true}, "model", HL_VERDICT_WARN, "none was found"},
    {{.heads = 1}, "model", HL_VERDICT_FAIL, "there are 2"},
    {{.heads = 1, .process = WITH("\"Cmd\":[\"--model\",\"/models/b\"]")}, "model", HL_VERDICT_WARN, "/models/b"},
};

static void test_cases(void)
{
    struct hl_cloud_run result;
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        if (!judge(&cases[i].documents, &result))
            continue;
        const struct hl_cloud_run_check *check = find(&result, cases[i].check);
        CHECK_SAY(check && check->verdict == cases[i].verdict && strstr(check->message, cases[i].word),
                  "case %zu: %s is %d, '%s', not %d with '%s'", i, cases[i].check, check ? (int)check->verdict : -1,
                  check ? check->message : "", (int)cases[i].verdict, cases[i].word);
        size_t failures = 0, warnings = 0;
        for (size_t j = 0; j < result.n; j++) {
            failures += result.check[j].verdict == HL_VERDICT_FAIL;
            warnings += result.check[j].verdict == HL_VERDICT_WARN;
        }
        CHECK(failures == result.failures && warnings == result.warnings);
    }
}

/* A text may have any length, and is cut between characters: the output is UTF-8, for --json. */
static void test_long_texts(void)
{
    struct hl_cloud_run result;
    for (size_t shift = 0; shift < 4; shift++) {
        char process[2000] = "\"Entrypoint\":[\"/";
        memset(process + strlen(process), 'x', shift);
        for (int i = 0; i < 200; i++)
            strcat(process, "\xe2\x82\xac");
        strcat(process, "\"]");
        const struct documents d = {.process = process};
        if (!judge(&d, &result))
            continue;
        const struct hl_cloud_run_check *check = find(&result, "entry point");
        const char *end = strstr(check->message, "... is not hotlayerd");
        CHECK(end && end - check->message <= 72 && (size_t)(end - check->message - 1) % 3 == shift % 3);
    }
}

static void test_bad_documents(void)
{
    struct hl_image image = {.bytes = 0};
    struct hl_cloud_run result;
    struct hl_error err;
    const struct documents good = {.heads = 0};
    const struct hl_models none = {.n = 0};
    if (!CHECK_OK(make_image(&good, &image, &err), err))
        return;
    CHECK_FAILS(hl_cloud_run_check(&image, "[]", 2, &none, &result, &err), err, "the index");
    CHECK_FAILS(hl_cloud_run_check(&image, "{", 1, &none, &result, &err), err, "the index");
    hl_image_free(&image);
}

int main(void)
{
    test_good();
    test_cases();
    test_long_texts();
    test_bad_documents();
    return check_summary();
}
