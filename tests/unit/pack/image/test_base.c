/* pack/image/base.c, pack/image/image_config.c and images on top of strangers' bases: Docker's media types, histories
 * that are missing or lie, users, environments, other spellings of members, and more layers than can be mounted. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/elf.h"
#include "pack/image/image.h"
#include "pack/image/image_config.h"
#include "registry/oci/blob.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DOCKER_GZIP HL_DOCKER_LAYER ".gzip"

static char hotlayerd[PATH_MAX + 16]; /* of this build */

/* --- layouts made by hand --- */

struct hand {
    const char *directory;  /* in the scratch folder */
    const char *media_type; /* of the manifest; NULL: OCI's */
    const char *layer_type; /* of all layers; NULL: plain tar */
    size_t n_layers;        /* "layer 0", "layer 1", ... */
    bool repeated;          /* all layers are "layer 0" */
    const char *config;     /* members of the config, after a comma; rootfs is added */
    const char *platform;   /* NULL: linux, amd64 */
};

static struct hl_blob_name put(const struct hand *hand, const char *text)
{
    struct hl_blob blob;
    struct hl_blob_name name = {.bytes = 0};
    struct hl_error err;
    HL_CLOSE int blobs = open(at("%s/blobs/sha256", hand->directory), O_RDONLY | O_DIRECTORY);
    CHECK(!hl_blob_open(&blob, blobs, &err) && !hl_blob_write(&blob, text, strlen(text), &err) &&
          !hl_blob_publish(&blob, NULL, &name, &err));
    hl_blob_discard(&blob);
    return name;
}

static struct hl_blob_name put_layer(const struct hand *hand, size_t i)
{
    char text[32];
    snprintf(text, sizeof text, "layer %zu", hand->repeated ? 0 : i);
    return put(hand, text);
}

/* Lists the layers for the config and for the manifest. Any digest serves as that of a compressed layer's content. */
static void put_layers(const struct hand *hand, char *ids, char *layers, size_t size)
{
    ids[0] = layers[0] = 0;
    for (size_t i = 0; i < hand->n_layers; i++) {
        struct hl_blob_name name = put_layer(hand, i);
        size_t used = strlen(ids);
        snprintf(ids + used, size - used, "%s\"%s\"", i ? "," : "", name.digest);
        used = strlen(layers);
        snprintf(layers + used, size - used, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", i ? "," : "",
                 hand->layer_type ? hand->layer_type : HL_OCI_LAYER, name.digest, (unsigned long long)name.bytes);
    }
}

/* Makes the layout of one image. */
static void make_base(const struct hand *hand)
{
    static char ids[32 << 10], layers[32 << 10], config[64 << 10], manifest[64 << 10], index[1024];
    const char *type = hand->media_type ? hand->media_type : HL_OCI_MANIFEST;
    CHECK(!mkdir(at("%s", hand->directory), 0755) || errno == EEXIST);
    CHECK(!mkdir(at("%s/blobs", hand->directory), 0755) || errno == EEXIST);
    CHECK(!mkdir(at("%s/blobs/sha256", hand->directory), 0755) || errno == EEXIST);
    CHECK(write_file(at("%s/oci-layout", hand->directory), "{\"imageLayoutVersion\":\"1.0.0\"}", 30));
    put_layers(hand, ids, layers, sizeof ids);
    snprintf(config, sizeof config, "{%s,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}%s}",
             hand->platform ? hand->platform : "\"architecture\":\"amd64\",\"os\":\"linux\"", ids,
             hand->config ? hand->config : "");
    struct hl_blob_name name = put(hand, config);
    snprintf(manifest, sizeof manifest,
             "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\",\"digest\":\"%s\","
             "\"size\":%llu},\"layers\":[%s],\"annotations\":{\"of the base\":\"x\"}}",
             type, strcmp(type, HL_DOCKER_MANIFEST) ? HL_OCI_CONFIG : HL_DOCKER_CONFIG, name.digest,
             (unsigned long long)name.bytes, layers);
    name = put(hand, manifest);
    snprintf(index, sizeof index,
             "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}]}", type,
             name.digest, (unsigned long long)name.bytes);
    CHECK(write_file(at("%s/index.json", hand->directory), index, strlen(index)));
}

static int open_base(const char *directory, struct hl_base *out, struct hl_error *err)
{
    struct hl_store *store;
    *out = (struct hl_base){.store = NULL};
    return hl_store_open_layout(directory, &store, err) || hl_base_open(store, "", "", out, err) ? -1 : 0;
}

/* --- images on these bases --- */

struct wanted {
    const struct hl_base *base;
    bool model_only;
    int compress;
};

static int write_image(const char *directory, const struct wanted *wanted, struct hl_image *out, struct hl_error *err)
{
    const char *const shards[] = {at("m.hot.001"), at("m.hot.002")};
    struct hl_image_spec spec = {.name = "tiny",
                                 .head = at("m.hot"),
                                 .shards = shards,
                                 .n_shards = 2,
                                 .runtime = wanted->model_only ? NULL : hotlayerd,
                                 .base = wanted->base,
                                 .compress = wanted->compress,
                                 .created = -1,
                                 .title = "tiny"};
    HL_TARGET *target = NULL;
    *out = (struct hl_image){.bytes = 0};
    return hl_target_open_layout(directory, "", &target, err) || hl_image_write(&spec, target, out, err) ? -1 : 0;
}

static bool verifies(const char *directory)
{
    struct hl_image_verified verified;
    struct hl_error err = {.message = ""};
    HL_STORE *store = NULL;
    if (!hl_store_open_layout(directory, &store, &err) && !hl_image_verify(store, "", NULL, &verified, &err))
        return true;
    fprintf(stderr, "%s\n", err.message);
    return false;
}

/* Docker's manifest, compressed layers, and a config as `docker build` leaves it. */
static void test_docker_base(void)
{
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    const struct hand hand = {
        .directory = "docker",
        .media_type = HL_DOCKER_MANIFEST,
        .layer_type = DOCKER_GZIP,
        .n_layers = 2,
        .config = ",\"variant\":\"v2\",\"docker_version\":\"20.10\",\"created\":\"2020-01-01T00:00:00Z\","
                  "\"config\":{\"User\":\"\",\"Env\":[\"PATH=/opt/bin:/bin\",\"A=b=c\"],\"Cmd\":[\"bash\"],"
                  "\"WorkingDir\":\"/srv\",\"Labels\":{\"version\":\"12\",\"org.opencontainers.image.title\":\"base\"},"
                  "\"Healthcheck\":{\"Test\":[\"CMD\",\"/check\"],\"Interval\":30000000000},"
                  "\"ExposedPorts\":{\"80/tcp\":{}},\"Volumes\":{\"/data\":{}},\"OnBuild\":[\"RUN x\"]},"
                  "\"history\":[{\"created_by\":\"ADD a\"},{\"created_by\":\"ENV\",\"empty_layer\":true},"
                  "{\"created_by\":\"ADD b\"}]"};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    const struct wanted wanted = {.base = &base};
    CHECK_OK(write_image(at("on-docker"), &wanted, &image, &err), err);
    CHECK(verifies(at("on-docker")));
    CHECK(image.n_layers == 6 && base.image.n_layers == 2);
    for (size_t i = 0; i < 2 && image.n_layers == 6; i++) {
        CHECK(!strcmp(image.layer[i].blob.digest, base.image.layer[i].blob.digest));
        CHECK(!strcmp(image.layer[i].diff_id, base.image.layer[i].diff_id));
        CHECK(!strcmp(image.layer[i].blob.media_type, HL_OCI_LAYER "+gzip"));
    }
    if (image.n_layers == 6)
        CHECK(!strcmp(image.layer[1].what, "ADD b") && !strcmp(image.layer[2].what, "hotlayer image: runtime") &&
              !strcmp(image.layer[5].what, "hotlayer image: weights 2 of 2"));
    CHECK(!strcmp(image.config.media_type, HL_OCI_CONFIG) && !strcmp(image.manifest.media_type, HL_OCI_MANIFEST));
    CHECK(image.manifest_text && !strstr(image.manifest_text, "docker") && !strstr(image.manifest_text, "of the base"));
    char text[200];
    snprintf(text, sizeof text, "\"org.opencontainers.image.base.digest\":\"%s\"", base.image.manifest.digest);
    CHECK(image.manifest_text && strstr(image.manifest_text, text) && !strstr(image.manifest_text, "base.name"));
    static const char *const there[] = {
        "\"variant\":\"v2\"",
        "\"docker_version\":\"20.10\"",
        "\"PATH=/opt/bin:/bin\",\"A=b=c\",\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib\"",
        "\"WorkingDir\":\"/srv\"",
        "\"User\":\"65532:65532\"",
        "\"Labels\":{\"version\":\"12\",\"org.opencontainers.image.title\":\"tiny\"}",
        "\"Healthcheck\":{\"Test\":[\"CMD\",\"/check\"],\"Interval\":30000000000}",
        "\"ExposedPorts\":{\"80/tcp\":{},\"8080/tcp\":{}}",
        "\"Volumes\":{\"/data\":{}}",
        "\"Entrypoint\":[\"/usr/bin/hotlayerd\",\"serve\"]",
        "{\"created_by\":\"ENV\",\"empty_layer\":true}",
        "\"StopSignal\":\"SIGTERM\"",
    };
    for (size_t i = 0; i < HL_COUNT(there); i++)
        CHECK_SAY(image.config_text && strstr(image.config_text, there[i]), "no %s", there[i]);
    CHECK(image.config_text && !strstr(image.config_text, "Cmd") && !strstr(image.config_text, "OnBuild") &&
          !strstr(image.config_text, "2020-01-01"));
    hl_image_free(&image);
    hl_base_close(&base);
}

/* Reads a program's bytes from the runtime layer. */
static bool read_entry(const char *layer, const char *path, char *out, size_t size)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    bool found = false;
    archive_read_support_format_tar(archive);
    CHECK(!archive_read_open_filename(archive, layer, 65536));
    while (!found && !archive_read_next_header(archive, &entry))
        found = !strcmp(archive_entry_pathname(entry), path);
    if (found && out)
        CHECK(archive_read_data(archive, out, size) == (la_ssize_t)size);
    archive_read_free(archive);
    return found;
}

/* On a base, the runtime layer has only /usr/bin/hotlayerd, its own folder and /tmp. */
static void test_runtime_on_base(void)
{
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct stat status = {0};
    const struct hand hand = {.directory = "plain", .n_layers = 1};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    struct wanted wanted = {.base = &base};
    CHECK_OK(write_image(at("on-plain"), &wanted, &image, &err), err);
    CHECK(image.n_layers == 5 && !stat(hotlayerd, &status));
    const char *layer = at("on-plain/blobs/sha256/%s", image.n_layers == 5 ? image.layer[1].blob.digest + 7 : "");
    CHECK(read_entry(layer, "usr/lib/hotlayer/libc.so.6", NULL, 0));
    CHECK(read_entry(layer, "usr/lib/hotlayer/ld.so", NULL, 0));
    CHECK(!read_entry(layer, "lib/", NULL, 0) && !read_entry(layer, "lib64/", NULL, 0));
    CHECK(read_entry(layer, "tmp/", NULL, 0));
    HL_FREE char *program = malloc((size_t)status.st_size);
    CHECK(read_entry(layer, "usr/bin/hotlayerd", program, (size_t)status.st_size));
    HL_CLOSE int fd = open(at("program"), O_WRONLY | O_CREAT, 0755);
    CHECK(write(fd, program, (size_t)status.st_size) == status.st_size);
    struct hl_elf_files files;
    /* Its loader is not on this machine, so its libraries cannot be listed, and the message names the loader. */
    CHECK_FAILS(hl_elf_libraries(at("program"), &files, &err), err, HL_ELF_PRIVATE_LOADER);
    hl_elf_files_free(&files);
    hl_image_free(&image);
    /* A program that would use the base's libraries is refused. */
    char own[sizeof hotlayerd];
    memcpy(own, hotlayerd, sizeof own);
    snprintf(hotlayerd, sizeof hotlayerd, "/proc/self/exe");
    CHECK_FAILS(write_image(at("foreign"), &wanted, &image, &err), err, "not linked to search for its libraries in");
    CHECK(count_files(at("foreign")) == -1);
    memcpy(hotlayerd, own, sizeof own);
    hl_image_free(&image);
    hl_base_close(&base);
}

static void test_model_only(void)
{
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct wanted wanted = {.model_only = true};
    CHECK_OK(write_image(at("model"), &wanted, &image, &err), err);
    CHECK(image.n_layers == 3 && verifies(at("model")));
    CHECK(image.config_text && !strstr(image.config_text, "Entrypoint") && !strstr(image.config_text, "Env") &&
          strstr(image.config_text, "\"config\":{\"Labels\":"));
    hl_image_free(&image);
    const struct hand hand = {.directory = "server",
                              .n_layers = 1,
                              .config = ",\"config\":{\"Entrypoint\":[\"/serve\"],\"Cmd\":[\"-x\"],\"User\":\"root\"}"};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    wanted.base = &base;
    CHECK_OK(write_image(at("served"), &wanted, &image, &err), err);
    CHECK(image.n_layers == 4 && verifies(at("served")));
    CHECK(image.config_text && strstr(image.config_text, "\"config\":{\"Entrypoint\":[\"/serve\"],\"Cmd\":[\"-x\"],"
                                                         "\"User\":\"root\",\"Labels\":"));
    hl_image_free(&image);
    hl_base_close(&base);
}

/* A second model on top of the first one's image, in the same layout. */
static void test_base_of_our_own(void)
{
    struct hl_base base;
    struct hl_image first, second;
    struct hl_error err = {.message = ""};
    struct wanted wanted = {.base = NULL};
    CHECK_OK(write_image(at("own"), &wanted, &first, &err), err);
    CHECK_OK(open_base(at("own"), &base, &err), err);
    wanted = (struct wanted){.base = &base};
    CHECK_OK(write_image(at("own"), &wanted, &second, &err), err);
    CHECK(second.n_layers == 8 && verifies(at("own")));
    CHECK(second.config_text && strstr(second.config_text, "\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                                                           "/usr/bin:/sbin:/bin\",\"LD_LIBRARY_PATH=/usr/local/nvidia/"
                                                           "lib64:/usr/local/nvidia/lib\",\"NVIDIA_VISIBLE_DEVICES="));
    hl_image_free(&first);
    hl_image_free(&second);
    hl_base_close(&base);
}

/* --- the config alone --- */

/* Returns the config on top of this one; NULL with `err` if it is refused. The caller frees it. */
static char *config_over(const char *config, struct hl_error *err)
{
    static const struct hl_config_layer ours = {
        "sha256:00000000000000000000000000000000000000000000000000000000000000aa", "ours", NULL};
    static const struct hl_config_label label = {"title", "t"};
    struct hl_image base = {.config_text = (char *)(uintptr_t)config, .config_bytes = strlen(config)};
    const struct hl_config_spec spec = {&base, "", true, &label, 1, &ours, 1};
    HL_JSON cJSON *json = NULL;
    return hl_image_config_make(&spec, &json, err) ? NULL : cJSON_PrintUnformatted(json);
}

static bool config_has(const char *config, const char *expected)
{
    struct hl_error err = {.message = ""};
    HL_FREE char *text = config_over(config, &err);
    if (text && strstr(text, expected))
        return true;
    fprintf(stderr, "%s\n  over %s\n  gives %s, without %s\n", err.message, config, text ? text : "nothing", expected);
    return false;
}

static bool config_lacks(const char *config, const char *word)
{
    struct hl_error err = {.message = ""};
    HL_FREE char *text = config_over(config, &err);
    return text && !strstr(text, word);
}

#define OURS                                                                                                           \
    "\"NVIDIA_VISIBLE_DEVICES=all\",\"NVIDIA_DRIVER_CAPABILITIES=compute,utility\",\"OLLAMA_HOST=0.0.0.0:8080\"]"
#define LIBRARY "\"LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib"

static void test_environment(void)
{
    static const struct {
        const char *base, *expected; /* Env */
    } cases[] = {
        {"[]", "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"," LIBRARY "\"," OURS},
        {"[\"X=1\",\"PATH=/x\",\"Y\"]", "[\"X=1\",\"PATH=/x\",\"Y\"," LIBRARY "\"," OURS},
        {"[\"LD_LIBRARY_PATH=/lib:/x\"]", "[" LIBRARY ":/lib:/x\",\"PATH="},
        {"[\"LD_LIBRARY_PATH=\"]", "[" LIBRARY "\",\"PATH="},
        {"[\"LD_LIBRARY_PATH\"]", "[" LIBRARY "\",\"PATH="},
        {"[" LIBRARY ":/x\"]", "[" LIBRARY ":/x\",\"PATH="},
        {"[" LIBRARY "64\"]", "[" LIBRARY ":/usr/local/nvidia/lib64:/usr/local/nvidia/lib64\",\"PATH="},
        {"[\"PATH=/x\",\"OLLAMA_HOST=127.0.0.1:9\",\"OLLAMA_HOST=evil\"]",
         "[\"PATH=/x\",\"OLLAMA_HOST=0.0.0.0:8080\",\"LD_LIBRARY_PATH="},
        {"[\"NVIDIA_VISIBLE_DEVICES=void\",\"PATH=\"]", "[\"NVIDIA_VISIBLE_DEVICES=all\",\"PATH=\","},
        {"[\"PATHS=/x\",\"PAT=/y\",\"=z\",\"\"]", "[\"PATHS=/x\",\"PAT=/y\",\"=z\",\"\",\"PATH="},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        char config[512], expected[768];
        snprintf(config, sizeof config, "{\"config\":{\"Env\":%s}}", cases[i].base);
        snprintf(expected, sizeof expected, "\"Env\":%s", cases[i].expected);
        CHECK(config_has(config, expected));
    }
    CHECK(config_lacks("{\"config\":{\"Env\":[\"OLLAMA_HOST=a\",\"OLLAMA_HOST=evil\"]}}", "evil"));
    CHECK(config_has("{\"config\":{\"Env\":null}}", "\"Env\":[\"PATH="));
}

static void test_user(void)
{
    static const char *const kept[] = {"1", "1000", "65534", "1000:0", "101:101", "999999999", "07"};
    static const char *const replaced[] = {"",           "0",     "root",   "0:1000", "nobody", "1000:staff",
                                           "000",        "1000:", "1000:x", "-1",     "+1",     " 1",
                                           "4294967296", "1:2:3", "root:1", "1 ",     "1e3",    "0x10"};
    char config[128], expected[64];
    for (size_t i = 0; i < HL_COUNT(kept); i++) {
        snprintf(config, sizeof config, "{\"config\":{\"User\":\"%s\"}}", kept[i]);
        snprintf(expected, sizeof expected, "\"User\":\"%s\"", kept[i]);
        CHECK(config_has(config, expected));
    }
    for (size_t i = 0; i < HL_COUNT(replaced); i++) {
        snprintf(config, sizeof config, "{\"config\":{\"User\":\"%s\"}}", replaced[i]);
        CHECK(config_has(config, "\"User\":\"65532:65532\""));
    }
}

static void test_other_members(void)
{
    CHECK(config_has("{}", "\"WorkingDir\":\"/\""));
    CHECK(config_has("{\"config\":null}", "\"WorkingDir\":\"/\""));
    CHECK(config_has("{\"config\":{\"WorkingDir\":\"\"}}", "\"WorkingDir\":\"/\""));
    CHECK(config_has("{\"config\":{\"StopSignal\":\"SIGQUIT\"}}", "\"StopSignal\":\"SIGTERM\""));
    CHECK(config_lacks("{\"config\":{\"StopSignal\":\"SIGQUIT\"}}", "SIGQUIT"));
    CHECK(config_has("{\"config\":{\"Shell\":[\"/bin/bash\"]},\"later\":{\"a\":[1,2.5,true,null]}}",
                     "\"later\":{\"a\":[1,2.5,true,null]}"));
    CHECK(config_has("{\"config\":{\"Labels\":{\"Title\":\"T\",\"title\":\"x\"}}}",
                     "\"Labels\":{\"Title\":\"T\",\"title\":\"t\"}"));
    /* Other spellings of the members that we set would be read in their place. */
    static const char *const spellings[] = {
        "{\"config\":{\"ENTRYPOINT\":[\"/evil\"]}}",
        "{\"config\":{\"Entrypoint\":[\"/evil\"],\"entrypoint\":[\"/evil\"]}}",
        "{\"config\":{\"Entrypoint\":null,\"Entrypoint\":[\"/evil\"]}}",
        "{\"config\":{\"cmd\":[\"/evil\"],\"CMD\":[\"/evil\"]}}",
        "{\"config\":{\"USER\":\"evil\"}}",
        "{\"config\":{\"env\":[\"LD_PRELOAD=/evil\"]}}",
        "{\"Config\":{\"User\":\"evil\"}}",
        "{\"config\":{},\"config\":{\"User\":\"evil\"}}",
        "{\"config\":null,\"CONFIG\":{\"User\":\"evil\"}}",
        "{\"HISTORY\":[{\"created_by\":\"evil\"}],\"RootFS\":{\"diff_ids\":[\"evil\"]}}",
        "{\"Architecture\":\"evil\",\"OS\":\"evil\",\"CREATED\":\"evil\",\"created\":\"evil\"}",
        "{\"config\":{\"onbuild\":[\"evil\"]}}",
    };
    for (size_t i = 0; i < HL_COUNT(spellings); i++)
        CHECK_SAY(config_lacks(spellings[i], "evil"), "%s", spellings[i]);
    static const char *const damaged[] = {
        "[]",
        "{\"config\":[]}",
        "{\"config\":7}",
        "{\"config\":{\"Env\":\"PATH=/x\"}}",
        "{\"config\":{\"Env\":[7]}}",
        "{\"config\":{\"Env\":{\"a\":\"b\"}}}",
        "{\"config\":{\"Env\":[null]}}",
        "{\"config\":{\"Labels\":[]}}",
        "{\"config\":{\"Labels\":{\"a\":1}}}",
        "{\"config\":{\"ExposedPorts\":[\"80/tcp\"]}}",
        "{\"config\":{\"User\":1000}}",
        "{\"config\":{\"WorkingDir\":[]}}",
        "{\"history\":{}}",
        "{\"history\":[\"x\"]}",
    };
    for (size_t i = 0; i < HL_COUNT(damaged); i++) {
        struct hl_error err = {.message = ""};
        HL_FREE char *text = config_over(damaged[i], &err);
        CHECK_SAY(!text && *err.message, "%s", damaged[i]);
    }
}

/* --- refused bases --- */

/* Opening this base, or writing onto it, fails with `why`, and leaves nothing. */
static bool refused(const struct hand *hand, const char *why)
{
    struct hl_base base;
    struct hl_image image = {.bytes = 0};
    struct hl_error err = {.message = ""};
    make_base(hand);
    int status = open_base(at("%s", hand->directory), &base, &err);
    const struct wanted wanted = {.base = &base};
    if (!status)
        status = write_image(at("refused"), &wanted, &image, &err);
    hl_image_free(&image);
    hl_base_close(&base);
    if (status && strstr(err.message, why) && count_files(at("refused")) == -1)
        return true;
    fprintf(stderr, "status %d: %s\n", status, err.message);
    return false;
}

static void test_refused_bases(void)
{
    const char *const here = "bad";
    const struct hand arm = {.directory = here, .platform = "\"architecture\":\"arm64\",\"os\":\"linux\""};
    CHECK(refused(&arm, "is for linux/arm64; hotlayerd runs on linux/amd64"));
    const struct hand windows = {.directory = here, .platform = "\"architecture\":\"amd64\",\"os\":\"windows\""};
    CHECK(refused(&windows, "windows/amd64"));
    const struct hand nowhere = {.directory = here, .platform = "\"author\":\"x\""};
    CHECK(refused(&nowhere, "the base"));
    const struct hand foreign = {
        .directory = here, .n_layers = 2, .layer_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"};
    CHECK(refused(&foreign, "layer 1 is application/vnd.docker.image.rootfs.foreign.diff.tar.gzip: it may not be"));
    const struct hand kept = {
        .directory = here, .n_layers = 1, .layer_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"};
    CHECK(refused(&kept, "may not be distributed"));
    const struct hand unknown = {.directory = here, .n_layers = 1, .layer_type = HL_OCI_LAYER "+encrypted"};
    CHECK(refused(&unknown, "unknown kind, " HL_OCI_LAYER "+encrypted"));
    const struct hand few = {.directory = here, .n_layers = 2, .config = ",\"history\":[{}]"};
    CHECK(refused(&few, "fewer layers"));
    const struct hand many = {.directory = here, .n_layers = 1, .config = ",\"history\":[{},{}]"};
    CHECK(refused(&many, "more layers"));
    const struct hand object = {.directory = here, .config = ",\"history\":{}"};
    CHECK(refused(&object, "is not a list"));
    const struct hand damaged = {.directory = here, .n_layers = 1, .config = ",\"config\":{\"Env\":7}"};
    CHECK(refused(&damaged, "its config is damaged: \"Env\""));
    const struct hand artifact = {.directory = here, .media_type = "text/plain", .n_layers = 1};
    CHECK(refused(&artifact, "text/plain"));
}

static void test_layer_count(void)
{
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct hand hand = {.directory = "tall", .n_layers = HL_RUNNABLE_LAYERS - 4, .layer_type = DOCKER_GZIP};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    const struct wanted wanted = {.base = &base};
    CHECK_OK(write_image(at("on-tall"), &wanted, &image, &err), err);
    CHECK(image.n_layers == HL_RUNNABLE_LAYERS && verifies(at("on-tall")));
    /* There was no history: each layer has an entry. */
    CHECK(image.n_layers && !strcmp(image.layer[0].what, "layer 1 of 123 of the base"));
    hl_image_free(&image);
    hl_base_close(&base);
    hand.n_layers++;
    CHECK(refused(&hand, "would have 128 layers, 124 of them the base's; more than 127 cannot be mounted"));
}

/* A target that only counts the blobs that it is asked to copy. */
struct counting {
    struct hl_target target;
    struct hl_target *layout;
    _Atomic unsigned copies;
};

static int count_copy(struct hl_target *target, struct hl_store *from, const struct hl_descriptor *blob,
                      struct hl_progress *progress, struct hl_error *err)
{
    struct counting *counting = (struct counting *)target;
    counting->copies++;
    return counting->layout->class->copy(counting->layout, from, blob, progress, err);
}

static int pass_content(struct hl_target *target, const struct hl_content *content, struct hl_progress *progress,
                        struct hl_descriptor *out, struct hl_error *err)
{
    struct hl_target *layout = ((struct counting *)target)->layout;
    return layout->class->content(layout, content, progress, out, err);
}

static int pass_document(struct hl_target *target, const struct hl_descriptor *descriptor, const char *text,
                         struct hl_error *err)
{
    struct hl_target *layout = ((struct counting *)target)->layout;
    return layout->class->document(layout, descriptor, text, err);
}

static int pass_publish(struct hl_target *target, const struct hl_descriptor *root, const char *text,
                        struct hl_error *err)
{
    struct hl_target *layout = ((struct counting *)target)->layout;
    return layout->class->publish(layout, root, text, err);
}

/* The same layer five times is copied once. */
static void test_repeated_layer(void)
{
    static const struct hl_target_class class = {
        .content = pass_content, .copy = count_copy, .document = pass_document, .publish = pass_publish};
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    const struct hand hand = {.directory = "echo", .n_layers = 5, .repeated = true};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    struct hl_image_spec spec = {.name = "tiny", .head = at("m.hot"), .base = &base, .created = -1};
    HL_TARGET *layout = NULL;
    CHECK_OK(hl_target_open_layout(at("on-echo"), "", &layout, &err), err);
    struct counting counting = {.target = {.class = &class, .jobs = 4}, .layout = layout};
    CHECK_OK(hl_image_write(&spec, &counting.target, &image, &err), err);
    CHECK(counting.copies == 1 && image.n_layers == 6 && verifies(at("on-echo")));
    CHECK(count_files(at("on-echo/blobs/sha256")) == 1 + 1 + 2);
    hl_image_free(&image);
    hl_base_close(&base);
}

/* A layer of the base has another digest, is truncated, or is missing. */
static void test_damaged_base(void)
{
    struct hl_error err = {.message = ""};
    struct hl_base base;
    struct hl_image image;
    const struct hand hand = {.directory = "broken", .n_layers = 3};
    make_base(&hand);
    CHECK_OK(open_base(at("%s", hand.directory), &base, &err), err);
    const struct wanted wanted = {.base = &base};
    const char *digest = base.image.n_layers == 3 ? base.image.layer[1].blob.digest : "sha256:";
    char path[1024];
    snprintf(path, sizeof path, "%s", at("broken/blobs/sha256/%s", digest + 7));
    static const char *const contents[] = {"layer X", "layer", NULL};
    for (size_t i = 0; i < 3; i++) {
        CHECK(contents[i] ? write_file(path, contents[i], strlen(contents[i])) : !unlink(path));
        CHECK_FAILS(write_image(at("refused"), &wanted, &image, &err), err, digest);
        hl_image_free(&image);
        CHECK(count_files(at("refused")) == -1);
    }
    hl_base_close(&base);
}

/* With compressed layers, the base's layers stay as they are, and our tars inside are the same as without
 * compression. */
static void test_compressed(void)
{
    struct hl_base base;
    struct hl_image plain, image;
    struct hl_error err = {.message = ""};
    CHECK_OK(open_base(at("docker"), &base, &err), err);
    struct wanted wanted = {.base = &base};
    CHECK_OK(write_image(at("plain-layers"), &wanted, &plain, &err), err);
    wanted.compress = 1;
    CHECK_OK(write_image(at("zstd-layers"), &wanted, &image, &err), err);
    CHECK(image.n_layers == 6 && plain.n_layers == 6 && verifies(at("zstd-layers")));
    for (size_t i = 0; i < 6 && image.n_layers == 6 && plain.n_layers == 6; i++) {
        CHECK(!strcmp(image.layer[i].diff_id, plain.layer[i].diff_id));
        CHECK(!strcmp(image.layer[i].blob.media_type, i < 2 ? HL_OCI_LAYER "+gzip" : HL_OCI_LAYER "+zstd"));
        CHECK(i < 2 || image.layer[i].blob.bytes < plain.layer[i].blob.bytes);
    }
    CHECK(image.config_text && strstr(image.config_text, ", level 1, frames of 16 MiB\"}"));
    CHECK(plain.config_text && !strstr(plain.config_text, "zstd"));
    hl_image_free(&plain);
    hl_image_free(&image);
    hl_base_close(&base);
}

int main(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *tests = strstr(self, "/tests/unit/");
    if (!tests || !scratch_open("base") || !make_model())
        return 1;
    *tests = 0;
    snprintf(hotlayerd, sizeof hotlayerd, "%s/hotlayerd", self);
    test_docker_base();
    test_runtime_on_base();
    test_model_only();
    test_base_of_our_own();
    test_environment();
    test_user();
    test_other_members();
    test_refused_bases();
    test_layer_count();
    test_repeated_layer();
    test_damaged_base();
    test_compressed();
    CHECK(scratch_close());
    return check_summary();
}
