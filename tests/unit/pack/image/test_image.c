/* registry/oci/ and pack/image/image.c: names, images written and read back, what a failure leaves on disk, and
 * strangers' layouts. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/image/image.h"
#include "pack/image/layer.h"
#include "registry/oci/blob.h"
#include "registry/oci/oci_layout.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static void test_names(void)
{
    const char hex[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    CHECK(hl_digest_valid(hex));
    CHECK(!hl_digest_valid("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"));
    CHECK(!hl_digest_valid("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"));
    CHECK(!hl_digest_valid("sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
    CHECK(!hl_digest_valid("sha256:../../../../../../../../../../../../../../../../../../../../etc/x"));
    CHECK(!hl_digest_valid("sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
    CHECK(!hl_digest_valid("") && !hl_digest_valid("sha256:"));
    static const struct {
        const char *text, *directory, *tag; /* directory NULL: refused */
    } cases[] = {
        {"oci:image", "image", ""},
        {"oci:image:v1.2_3-x", "image", "v1.2_3-x"},
        {"oci:/a/b:_", "/a/b", "_"},
        {"oci:a:b:c", "a:b", "c"},
        {"oci:/a:b/c", "/a:b/c", ""},
        {"oci:a:b/", "a:b/", ""},
        {"oci:a:b/:t", "a:b/", "t"},
        {"oci:", NULL, NULL},
        {"oci::tag", NULL, NULL},
        {"oci:image:", NULL, NULL},
        {"oci:image:-x", NULL, NULL},
        {"oci:image:.x", NULL, NULL},
        {"oci:image:a b", NULL, NULL},
        {"oci:image:\xc3\xa4", NULL, NULL},
        {"image", NULL, NULL},
        {"docker://image", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_oci_reference reference;
        struct hl_error err = {0};
        int status = hl_oci_reference_parse(cases[i].text, &reference, &err);
        if (cases[i].directory)
            CHECK(!status && !strcmp(reference.path, cases[i].directory) && !strcmp(reference.tag, cases[i].tag));
        else
            CHECK(status && err.kind == HL_ERROR_USAGE && strstr(err.message, "oci:DIR"));
    }
    char tag[130];
    memset(tag, 'a', sizeof tag);
    CHECK(hl_reference_tag_valid(tag, 128) && !hl_reference_tag_valid(tag, 129) && !hl_reference_tag_valid(tag, 0) &&
          !hl_reference_tag_valid("a\0b", 3));
}

static int write_spec(const struct hl_image_spec *spec, const char *directory, const char *tag, struct hl_image *out,
                      struct hl_error *err)
{
    HL_TARGET *target = NULL;
    *out = (struct hl_image){.bytes = 0};
    return hl_target_open_layout(directory, tag, &target, err) || hl_image_write(spec, target, out, err) ? -1 : 0;
}

static int open_image(const char *directory, const char *tag, struct hl_image *out, struct hl_error *err)
{
    HL_STORE *store = NULL;
    *out = (struct hl_image){.bytes = 0};
    return hl_store_open_layout(directory, &store, err) || hl_image_open(store, tag, out, err) ? -1 : 0;
}

static int verify_image(const char *directory, const char *tag, struct hl_image_verified *out, struct hl_error *err)
{
    HL_STORE *store = NULL;
    return hl_store_open_layout(directory, &store, err) || hl_image_verify(store, tag, NULL, out, err) ? -1 : 0;
}

static int write_image(const char *directory, const char *tag, int64_t created, struct hl_image *out,
                       struct hl_error *err)
{
    const char *const shards[] = {at("m.hot.001"), at("m.hot.002")};
    struct hl_image_spec spec = {
        .name = "tiny-1b",
        .head = at("m.hot"),
        .shards = shards,
        .n_shards = 2,
        .runtime = "/proc/self/exe",
        .created = created,
        .title = "tiny:1b",
        .licenses = "MIT",
    };
    return write_spec(&spec, directory, tag, out, err);
}

/* A change here changes the digest of every image in the world: clients would push and pull all shards again. */
static const char *const golden_layers[] = {
    "sha256:a2a424402f5bfc714374f4fefcea2276ae425278f78f9ad453c4eca71d401d44",
    "sha256:7338a9b9db8bb6ea2098765dd2ca6a91a326e415f9a60f00d9fd29a058bdc11e",
    "sha256:3904d654e8c612b666fcc9a0cb874fd4a87b784c77e34749e5ead37eef106da9",
};

static void test_written_image(void)
{
    struct hl_image image;
    struct hl_error err = {0};
    CHECK(!write_image(at("image"), NULL, -1, &image, &err));
    CHECK(image.n_layers == 4 && hl_digest_valid(image.manifest.digest));
    if (image.n_layers != 4) {
        fprintf(stderr, "%s\n", err.message);
        return;
    }
    CHECK(!strcmp(image.layer[0].what, "hotlayer image: runtime"));
    CHECK(!strcmp(image.layer[1].what, "hotlayer image: model tiny-1b"));
    CHECK(!strcmp(image.layer[3].what, "hotlayer image: weights 2 of 2"));
    for (size_t i = 0; i < 3; i++)
        CHECK(!strcmp(image.layer[i + 1].blob.digest, golden_layers[i]));
    CHECK(image.layer[1].blob.bytes == 3 * 512 + 5120 + 1024 && image.layer[3].blob.bytes == 3 * 512 + 70144 + 1024);
    CHECK(!strcmp(image.platform, "linux/amd64") && !strcmp(image.user, "65532:65532") && !image.created[0]);
    CHECK(!strcmp(image.entrypoint, "/usr/bin/hotlayerd serve"));
    CHECK(strstr(image.manifest_text, "\"org.opencontainers.image.title\":\"tiny:1b\""));
    CHECK(strstr(image.config_text, "\"org.opencontainers.image.licenses\":\"MIT\""));
    CHECK(strstr(image.config_text, "\"ExposedPorts\":{\"8080/tcp\":{}}") &&
          strstr(image.config_text, "\"OLLAMA_HOST=0.0.0.0:8080\""));
    CHECK(!strstr(image.config_text, scratch) && !strstr(image.manifest_text, scratch));
    /* nothing but the blobs: four layers, config, manifest */
    CHECK(count_files(at("image/blobs/sha256")) == 6 && count_files(at("image")) == 3);
    hl_image_free(&image);
}

static void check_entry(struct archive_entry *entry, int64_t mtime)
{
    const char *path = archive_entry_pathname(entry);
    mode_t mode = archive_entry_mode(entry), expected = S_IFDIR | 0755;
    bool model = strstr(path, "model.hot") != NULL, program = strstr(path, ".so") || !strcmp(path, "usr/bin/hotlayerd");
    if (model)
        expected = S_IFREG | 0644;
    else if (program)
        expected = S_IFREG | 0755;
    else if (!strcmp(path, "tmp/"))
        expected = S_IFDIR | 01777;
    CHECK(mode == expected);
    CHECK(archive_entry_uid(entry) == 0 && archive_entry_gid(entry) == 0 && archive_entry_mtime(entry) == mtime);
    CHECK(!archive_entry_uname(entry) || !*archive_entry_uname(entry));
    CHECK(!archive_entry_gname(entry) || !*archive_entry_gname(entry));
    CHECK(archive_entry_xattr_count(entry) == 0 && !archive_entry_atime_is_set(entry) &&
          !archive_entry_ctime_is_set(entry));
}

/* The entry's bytes are those of the model's file with the same suffix. */
static void check_content(struct archive *archive, const char *path)
{
    const char *name = strstr(path, "model.hot");
    HL_FREE char *expected = read_file(at("m%s", name + strlen("model")));
    HL_FREE char *found = calloc(1, 1 << 20);
    struct stat status;
    CHECK(expected && found && !stat(at("m%s", name + strlen("model")), &status));
    CHECK(archive_read_data(archive, found, 1 << 20) == status.st_size &&
          !memcmp(found, expected, (size_t)status.st_size));
}

static void test_archive(const char *digest, int64_t mtime, const char *first, const char *last, unsigned n)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    char previous[256] = "";
    unsigned count = 0;
    archive_read_support_format_tar(archive);
    CHECK(!archive_read_open_filename(archive, at("image/blobs/sha256/%s", digest + 7), 65536));
    while (!archive_read_next_header(archive, &entry)) {
        const char *path = archive_entry_pathname(entry);
        CHECK(count || !strcmp(path, first));
        CHECK(strcmp(previous, path) < 0);
        snprintf(previous, sizeof previous, "%s", path);
        check_entry(entry, mtime);
        if (strstr(path, "model.hot"))
            check_content(archive, path);
        count++;
    }
    CHECK(!strcmp(previous, last));
    CHECK(n ? count == n : count >= 8);
    archive_read_free(archive);
}

static void test_archives(void)
{
    struct hl_image image;
    struct hl_error err;
    CHECK(!open_image(at("image"), "latest", &image, &err) && image.n_layers == 4);
    if (image.n_layers == 4) {
        test_archive(image.layer[0].blob.digest, 0, "lib/", "usr/bin/hotlayerd", 0);
        test_archive(image.layer[1].blob.digest, 0, "models/", "models/tiny-1b/model.hot", 3);
        test_archive(image.layer[3].blob.digest, 0, "models/", "models/tiny-1b/model.hot.002", 3);
    }
    hl_image_free(&image);
}

/* Another folder, working directory, umask and time zone give the same image. */
static void test_determinism(void)
{
    struct hl_image first, image;
    struct hl_error err;
    char here[PATH_MAX];
    CHECK(!open_image(at("image"), "", &first, &err));
    mode_t before = umask(077);
    CHECK(getcwd(here, sizeof here) && !mkdir(at("elsewhere"), 0755) && !chdir(at("elsewhere")));
    setenv("TZ", "Asia/Kathmandu", 1);
    tzset();
    CHECK(!write_image("again", NULL, -1, &image, &err) && !strcmp(image.manifest.digest, first.manifest.digest));
    hl_image_free(&image);
    CHECK(!write_image("again", NULL, 1700000000, &image, &err) &&
          strcmp(image.manifest.digest, first.manifest.digest) != 0);
    CHECK(!strcmp(image.created, "2023-11-14T22:13:20Z"));
    CHECK(strstr(image.manifest_text, "\"org.opencontainers.image.created\":\"2023-11-14T22:13:20Z\""));
    umask(before);
    unsetenv("TZ");
    tzset();
    CHECK(!chdir(here));
    hl_image_free(&image);
    hl_image_free(&first);
    CHECK(write_image(at("late"), NULL, HL_LAST_CREATED + 1, &image, &err) && strstr(err.message, "date"));
    CHECK(count_files(at("late")) == -1);
}

static void test_tags(void)
{
    struct hl_image image;
    struct hl_image_verified verified;
    struct hl_error err;
    CHECK(!write_image(at("image"), "dated", 1, &image, &err));
    hl_image_free(&image);
    CHECK(!write_image(at("image"), "dated", 2, &image, &err));
    HL_STORE *store = NULL;
    HL_FREE struct hl_descriptor *list = NULL;
    size_t n = 0;
    CHECK(!hl_store_open_layout(at("image"), &store, &err) && !store->class->list(store, &list, &n, &err) && n == 2);
    if (n == 2) {
        CHECK(!strcmp(list[0].tag, "latest") && !strcmp(list[1].tag, "dated"));
        CHECK(!strcmp(list[1].digest, image.manifest.digest));
    }
    hl_image_free(&image);
    CHECK(!open_image(at("image"), "", &image, &err) && !strcmp(image.tag, "latest"));
    hl_image_free(&image);
    hl_store_close(&store);
    CHECK(open_image(at("image"), "none", &image, &err) && strstr(err.message, "latest, dated"));
    hl_image_free(&image);
    CHECK(!verify_image(at("image"), "", &verified, &err) && verified.images == 2 && verified.blobs == 12);
    CHECK(!verify_image(at("image"), "dated", &verified, &err) && verified.images == 1 && verified.blobs == 6);
}

static void test_refusals(void)
{
    struct hl_image image;
    struct hl_error err;
    CHECK(!mkdir(at("occupied"), 0755) && write_file(at("occupied/letter"), "x", 1));
    CHECK(write_image(at("occupied"), NULL, -1, &image, &err) && strstr(err.message, "not an OCI image layout"));
    CHECK(count_files(at("occupied")) == 1);
    CHECK(write_image(at("m.hot"), NULL, -1, &image, &err) && strstr(err.message, "m.hot"));
    CHECK(write_image(at("none/below"), NULL, -1, &image, &err) && strstr(err.message, "No such file"));
    CHECK(write_image(at("new"), "a b", -1, &image, &err) && count_files(at("new")) == -1);
    struct hl_image_spec spec = {.name = "../up", .head = at("m.hot"), .runtime = "/proc/self/exe", .created = -1};
    CHECK(write_spec(&spec, at("new"), "", &image, &err) && strstr(err.message, "'../up'"));
    spec.name = "fine";
    spec.runtime = at("m.hot");
    CHECK(write_spec(&spec, at("new"), "", &image, &err) && strstr(err.message, "m.hot: not a 64-bit x86-64"));
    spec.runtime = "/proc/self/exe";
    spec.head = at("missing.hot");
    CHECK(write_spec(&spec, at("new"), "", &image, &err) && strstr(err.message, "missing.hot"));
    CHECK(count_files(at("new")) == -1);
}

/* Writing stops in the middle of the second shard: the limit on the size of a file stands for a full disk. */
static void test_full_disk(void)
{
    struct hl_image image;
    struct hl_error err;
    struct stat runtime;
    struct rlimit limit;
    CHECK(!stat("/proc/self/exe", &runtime) && !getrlimit(RLIMIT_FSIZE, &limit));
    HL_FREE char *index = read_file(at("image/index.json"));
    int blobs = count_files(at("image/blobs/sha256"));
    CHECK(truncate(at("m.hot.002"), 64 << 20) == 0);
    struct rlimit low = {32 << 20, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!setrlimit(RLIMIT_FSIZE, &low));
    CHECK(write_image(at("image"), "dated", 7, &image, &err) && strstr(err.message, "cannot write: File too large"));
    CHECK(write_image(at("full"), NULL, -1, &image, &err));
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    HL_FREE char *after = read_file(at("image/index.json"));
    CHECK(index && after && !strcmp(index, after) && count_files(at("image/blobs/sha256")) == blobs);
    CHECK(count_files(at("image")) == 3);
    CHECK(count_files(at("full")) == -1);
    CHECK(make_model());
}

/* --- layouts made by hand --- */

static char hand_digest[HL_DIGEST_BYTES];
static size_t hand_bytes;

/* Stores a correct blob; leaves its descriptor's digest and size in hand_digest and hand_bytes. */
__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    char text[8192];
    struct hl_blob blob;
    struct hl_blob_name name;
    struct hl_error err;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    HL_CLOSE int directory = open(at("hand/blobs/sha256"), O_RDONLY | O_DIRECTORY);
    CHECK(!hl_blob_open(&blob, directory, &err) && !hl_blob_write(&blob, text, (size_t)n, &err) &&
          !hl_blob_publish(&blob, NULL, &name, &err));
    hl_blob_discard(&blob);
    memcpy(hand_digest, name.digest, sizeof hand_digest);
    hand_bytes = (size_t)n;
}

/* Writes index.json with one entry, the last stored blob, with the given media type. */
static void point_at(const char *media_type)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,"
                     "\"annotations\":{\"" HL_OCI_REF_NAME "\":\"x\"}}]}",
                     media_type, hand_digest, hand_bytes);
    CHECK(write_file(at("hand/index.json"), text, (size_t)n));
}

/* Stores one layer, "layer", and a config and manifest around it; the caller passes the faults that it wants. */
static void hand_image(const char *layer_type, const char *diff_id, const char *history, const char *media_type)
{
    char layer[HL_DIGEST_BYTES], config[HL_DIGEST_BYTES];
    put("layer");
    memcpy(layer, hand_digest, sizeof layer);
    put("{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s%s%s]}%s}",
        *diff_id ? "\"" : "", *diff_id == '=' ? layer : diff_id, *diff_id ? "\"" : "", history);
    memcpy(config, hand_digest, sizeof config);
    put("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"" HL_OCI_CONFIG
        "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":5}]}",
        media_type, config, hand_bytes, layer_type, layer);
    point_at(HL_OCI_MANIFEST);
}

static bool rejected(const char *why)
{
    struct hl_image image;
    struct hl_image_verified verified;
    struct hl_error open_err = {.message = ""}, verify_err = {.message = ""};
    int opened = open_image(at("hand"), "", &image, &open_err);
    hl_image_free(&image);
    int checked = verify_image(at("hand"), "", &verified, &verify_err);
    if (opened && checked && strstr(open_err.message, why) && strstr(verify_err.message, why))
        return true;
    fprintf(stderr, "open %d: %s\nverify %d: %s\n", opened, open_err.message, checked, verify_err.message);
    return false;
}

static bool accepted(void)
{
    struct hl_image image;
    struct hl_image_verified verified;
    struct hl_error err = {.message = ""};
    int opened = open_image(at("hand"), "x", &image, &err);
    hl_image_free(&image);
    if (!opened && !verify_image(at("hand"), "x", &verified, &err) && verified.images == 1)
        return true;
    fprintf(stderr, "%s\n", err.message);
    return false;
}

static void test_foreign_documents(void)
{
    const char *const one = ",\"history\":[{\"empty_layer\":true},{\"created_by\":\"x\"},{\"empty_layer\":true}]";
    const char *const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    CHECK(!mkdir(at("hand"), 0755) && !mkdir(at("hand/blobs"), 0755) && !mkdir(at("hand/blobs/sha256"), 0755));
    CHECK(write_file(at("hand/oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}\n", 32));
    hand_image(HL_OCI_LAYER, "=", one, HL_OCI_MANIFEST);
    CHECK(accepted());
    hand_image(HL_OCI_LAYER, "=", "", HL_OCI_MANIFEST);
    CHECK(accepted());
    hand_image(HL_OCI_LAYER "+gzip", zeros, one, HL_OCI_MANIFEST);
    CHECK(accepted());
    hand_image(HL_OCI_LAYER, zeros, one, HL_OCI_MANIFEST);
    CHECK(rejected("its config says otherwise"));
    hand_image(HL_OCI_LAYER "+gzip", "../../etc", one, HL_OCI_MANIFEST);
    CHECK(rejected("its config says otherwise"));
    hand_image(HL_OCI_LAYER, "", one, HL_OCI_MANIFEST);
    CHECK(rejected("has 1 layers, its config 0"));
    hand_image(HL_OCI_LAYER, "=", ",\"history\":[]", HL_OCI_MANIFEST);
    CHECK(rejected("fewer layers"));
    hand_image(HL_OCI_LAYER, "=", ",\"history\":[{},{}]", HL_OCI_MANIFEST);
    CHECK(rejected("more layers"));
    hand_image("application/x-unknown", "=", one, HL_OCI_MANIFEST);
    CHECK(rejected("application/x-unknown"));
    hand_image(HL_OCI_LAYER, "=", one, HL_OCI_INDEX);
    CHECK(rejected("not the " HL_OCI_MANIFEST));
    point_at("text/plain");
    CHECK(rejected("text/plain"));
    point_at("text/\\u001b[31m");
    CHECK(rejected("media type"));
    put("[]");
    point_at(HL_OCI_MANIFEST);
    CHECK(rejected("not a JSON object"));
    put("{}");
    point_at(HL_OCI_MANIFEST);
    CHECK(rejected("schema version"));
    put("{\"schemaVersion\":3}");
    point_at(HL_OCI_INDEX);
    CHECK(rejected("schema version"));
    put("{\"schemaVersion\":2}");
    point_at(HL_OCI_MANIFEST);
    CHECK(rejected("media type"));
}

static void test_foreign_indexes(void)
{
    hand_image(HL_OCI_LAYER, "=", "", HL_OCI_MANIFEST);
    for (unsigned depth = 1; depth <= 5; depth++) {
        put("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,"
            "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
            depth == 1 ? HL_OCI_MANIFEST : HL_OCI_INDEX, hand_digest, hand_bytes);
        point_at(HL_OCI_INDEX);
        if (depth <= 4)
            CHECK(accepted());
        else
            CHECK(rejected(HL_OCI_INDEX));
    }
    static const char *const bad_entries[] = {
        "{\"mediaType\":\"" HL_OCI_MANIFEST "\",\"digest\":\"sha256:../../../../etc/passwd\",\"size\":5}",
        "{\"mediaType\":\"" HL_OCI_MANIFEST "\",\"size\":5}",
        "{\"mediaType\":7,\"digest\":\"sha256:0\",\"size\":5}",
        "7",
        "null",
    };
    for (size_t i = 0; i < HL_COUNT(bad_entries); i++) {
        char text[512];
        int n = snprintf(text, sizeof text, "{\"schemaVersion\":2,\"manifests\":[%s]}", bad_entries[i]);
        CHECK(write_file(at("hand/index.json"), text, (size_t)n));
        CHECK(rejected("descriptor"));
    }
    static const char *const bad_sizes[] = {"-1", "1e99", "\"5\"", "null"};
    for (size_t i = 0; i < HL_COUNT(bad_sizes); i++) {
        char text[512];
        int n = snprintf(text, sizeof text,
                         "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" HL_OCI_MANIFEST
                         "\",\"digest\":\"%s\",\"size\":%s}]}",
                         hand_digest, bad_sizes[i]);
        CHECK(write_file(at("hand/index.json"), text, (size_t)n));
        CHECK(rejected("valid size"));
    }
    static const char *const no_index[] = {"", "{", "[]", "{\"schemaVersion\":1,\"manifests\":[]}",
                                           "{\"schemaVersion\":2,\"manifests\":{}}"};
    for (size_t i = 0; i < HL_COUNT(no_index); i++) {
        CHECK(write_file(at("hand/index.json"), no_index[i], strlen(no_index[i])));
        CHECK(rejected("/hand"));
    }
    CHECK(truncate(at("hand/index.json"), (4 << 20) + 1) == 0 && rejected("not a file of at most"));
}

/* Each blob of a good image, with one bit flipped, one byte cut off, and missing. */
static void test_damaged_blobs(void)
{
    struct hl_image image;
    struct hl_image_verified verified;
    struct hl_error err;
    CHECK(!open_image(at("image"), "latest", &image, &err));
    for (size_t i = 0; i <= image.n_layers; i++) {
        const char *digest = i < image.n_layers ? image.layer[i].blob.digest : image.manifest.digest;
        const char *path = at("image/blobs/sha256/%s", digest + 7);
        HL_CLOSE int fd = open(path, O_RDWR);
        char byte = 0, bad;
        CHECK(pread(fd, &byte, 1, 300) == 1);
        bad = byte ^ 4;
        CHECK(pwrite(fd, &bad, 1, 300) == 1);
        CHECK(verify_image(at("image"), "latest", &verified, &err) && strstr(err.message, digest) &&
              strstr(err.message, "damaged"));
        CHECK(pwrite(fd, &byte, 1, 300) == 1);
        CHECK(!verify_image(at("image"), "latest", &verified, &err));
        off_t size = lseek(fd, 0, SEEK_END);
        CHECK(pread(fd, &byte, 1, size - 1) == 1 && !ftruncate(fd, size - 1));
        CHECK(verify_image(at("image"), "latest", &verified, &err) && strstr(err.message, "instead of"));
        CHECK(pwrite(fd, &byte, 1, size - 1) == 1);
        CHECK(!rename(path, at("gone")));
        CHECK(verify_image(at("image"), "latest", &verified, &err) && strstr(err.message, strerror(ENOENT)));
        CHECK(!rename(at("gone"), path));
    }
    hl_image_free(&image);
    /* Writing the image again repairs a damaged blob. */
    CHECK(!open_image(at("image"), "latest", &image, &err) && image.n_layers == 4);
    CHECK(image.n_layers == 4 && !truncate(at("image/blobs/sha256/%s", image.layer[2].blob.digest + 7), 10));
    hl_image_free(&image);
    CHECK(!write_image(at("image"), NULL, -1, &image, &err));
    hl_image_free(&image);
    CHECK(!verify_image(at("image"), "", &verified, &err));
}

/* The longest name does not fit into the tar header. */
static void test_long_name(void)
{
    char name[HL_MODEL_NAME_MAX + 2], first[HL_DIGEST_BYTES] = "";
    struct hl_image image;
    struct hl_error err;
    const char *const shards[] = {at("m.hot.001")};
    struct hl_image_spec spec = {
        .name = name, .head = at("m.hot"), .shards = shards, .n_shards = 1, .runtime = "/proc/self/exe", .created = -1};
    memset(name, 'n', sizeof name);
    name[HL_MODEL_NAME_MAX + 1] = 0;
    CHECK(write_spec(&spec, at("long"), "", &image, &err) && count_files(at("long")) == -1);
    name[HL_MODEL_NAME_MAX] = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(!write_spec(&spec, at("long"), "", &image, &err) && (i == 0 || !strcmp(first, image.manifest.digest)));
        memcpy(first, image.manifest.digest, sizeof first);
        CHECK(image.n_layers == 3 && strstr(image.layer[1].what, name));
        hl_image_free(&image);
    }
}

/* Files of 2 GiB, and larger than a plain tar header can state; planning reads none of their bytes. */
static void test_large_files(void)
{
    static const uint64_t sizes[] = {1ull << 31, 9ull << 30};
    static const uint64_t headers[] = {512, 3 * 512}; /* after a pax header */
    for (size_t i = 0; i < 2; i++) {
        struct hl_layer layer = {.fd = -1};
        struct hl_content content;
        struct hl_error err = {.message = ""};
        char bytes[512 + 8 + 1024];
        CHECK(write_file(at("large"), "", 0) && !truncate(at("large"), (off_t)sizes[i] - 8));
        FILE *file = fopen(at("large"), "ab");
        CHECK(file && fwrite("the end.", 1, 8, file) == 8 && !fclose(file));
        CHECK_OK(hl_layer_add(&layer, "/large", at("large"), 0644, &err), err);
        CHECK_OK(hl_layer_plan(&layer, 0, &err), err);
        CHECK(layer.bytes == headers[i] + sizes[i] + 1024);
        hl_layer_content(&layer, &content);
        CHECK_OK(content.read(content.context, content.bytes - sizeof bytes, bytes, sizeof bytes, &err), err);
        CHECK(!memcmp(bytes + 512, "the end.", 8) && !bytes[511] && !bytes[520] && !bytes[sizeof bytes - 1]);
        hl_layer_free(&layer);
        unlink(at("large"));
    }
}

/* The output to a log; people see a terminal's bar. */
static void test_progress(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0 B"},        {999, "999 B"},     {1000, "1.00 kB"},   {9994, "9.99 kB"},       {9996, "10.0 kB"},
        {99960, "100 kB"}, {999499, "999 kB"}, {999500, "1.00 MB"}, {1ull << 31, "2.15 GB"}, {UINT64_MAX, "18.4 EB"}};
    char text[24];
    for (size_t i = 0; i < HL_COUNT(sizes); i++)
        CHECK(!strcmp(hl_text_bytes(sizes[i].bytes, text), sizes[i].text));
    struct hl_progress progress = {.out = fopen(at("log"), "w")};
    hl_progress_begin(&progress, "work", 4000);
    for (int i = 0; i < 1000; i++)
        hl_progress_add(&progress, 4);
    hl_progress_end(&progress);
    hl_progress_end(&progress);
    hl_progress_begin(&progress, "more", 0);
    hl_progress_clear(&progress);
    fclose(progress.out);
    HL_FREE char *log = read_file(at("log"));
    CHECK(log && !strncmp(log, "work: 4.00 kB\nwork: done, 4.00 kB in 0.0 s, ", 44));
    CHECK(log && strlen(log) > 5 && !strcmp(log + strlen(log) - 5, "more\n"));
    hl_progress_begin(NULL, "nothing", 1);
    hl_progress_add(NULL, 1);
    hl_progress_end(NULL);
    hl_progress_clear(NULL);
}

int main(void)
{
    if (!scratch_open("oci") || !make_model())
        return 1;
    test_names();
    test_written_image();
    test_archives();
    test_determinism();
    test_tags();
    test_refusals();
    test_full_disk();
    test_foreign_documents();
    test_foreign_indexes();
    test_damaged_blobs();
    test_long_name();
    test_large_files();
    test_progress();
    CHECK(scratch_close());
    return check_summary();
}
