/* registry/oci/archive_target.c: one file that is both a layout and Docker's archive. Writes the same bytes each time;
 * after a failure, leaves the old file or nothing. */
#include "base/cleanup.h"
#include "pack/image/image.h"
#include "registry/oci/oci_layout.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct wanted {
    const struct hl_base *base;
    int compress;
    const char *name, *tag;
};

static int write_archive(const char *path, const struct wanted *wanted, struct hl_image *out, struct hl_error *err)
{
    const char *const shards[] = {at("m.hot.001"), at("m.hot.002")};
    struct hl_image_spec spec = {.name = "tiny",
                                 .head = at("m.hot"),
                                 .shards = shards,
                                 .n_shards = 2,
                                 .runtime = wanted->base ? NULL : "/proc/self/exe",
                                 .base = wanted->base,
                                 .compress = wanted->compress,
                                 .created = -1,
                                 .title = "tiny"};
    HL_TARGET *target = NULL;
    *out = (struct hl_image){.bytes = 0};
    return hl_target_open_archive(path, wanted->name ? wanted->name : "tiny", wanted->tag, &target, err) ||
                   hl_image_write(&spec, target, out, err)
               ? -1
               : 0;
}

static int write_layout(const char *directory, struct hl_image *out, struct hl_error *err)
{
    const char *const shards[] = {at("m.hot.001"), at("m.hot.002")};
    struct hl_image_spec spec = {.name = "tiny",
                                 .head = at("m.hot"),
                                 .shards = shards,
                                 .n_shards = 2,
                                 .runtime = "/proc/self/exe",
                                 .created = -1,
                                 .title = "tiny"};
    HL_TARGET *target = NULL;
    *out = (struct hl_image){.bytes = 0};
    return hl_target_open_layout(directory, "", &target, err) || hl_image_write(&spec, target, out, err) ? -1 : 0;
}

/* --- reading an archive --- */

struct entry {
    char path[128];
    char digest[HL_DIGEST_BYTES]; /* of its content */
    uint64_t bytes;
    char *text; /* of index.json and manifest.json */
};

struct found {
    struct entry entry[32];
    size_t n;
};

static void read_entry(struct archive *archive, struct archive_entry *header, struct entry *out)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    bool json = strstr(archive_entry_pathname(header), ".json");
    HL_FREE char *bytes = calloc(1, (size_t)archive_entry_size(header) + 1);
    snprintf(out->path, sizeof out->path, "%s", archive_entry_pathname(header));
    out->bytes = (uint64_t)archive_entry_size(header);
    CHECK(bytes && archive_read_data(archive, bytes, (size_t)out->bytes) == (la_ssize_t)out->bytes);
    CHECK(EVP_Digest(bytes, (size_t)out->bytes, sha256, NULL, EVP_sha256(), NULL));
    hl_digest_format(sha256, out->digest);
    out->text = json && bytes ? strdup(bytes) : NULL;
    bool folder = archive_entry_filetype(header) == AE_IFDIR;
    CHECK(archive_entry_mode(header) == (folder ? S_IFDIR | 0755 : S_IFREG | 0644));
    CHECK(archive_entry_uid(header) == 0 && archive_entry_gid(header) == 0 && archive_entry_mtime(header) == 0);
}

static void read_archive(const char *path, struct found *out)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *header;
    int status;
    out->n = 0;
    archive_read_support_format_tar(archive);
    CHECK(!archive_read_open_filename(archive, path, 65536));
    while (!(status = archive_read_next_header(archive, &header)) && out->n < 32)
        read_entry(archive, header, &out->entry[out->n++]);
    CHECK(status == ARCHIVE_EOF);
    archive_read_free(archive);
}

static void free_found(struct found *found)
{
    for (size_t i = 0; i < found->n; i++)
        free(found->entry[i].text);
}

static const struct entry *find(const struct found *found, const char *path)
{
    for (size_t i = 0; i < found->n; i++)
        if (!strcmp(found->entry[i].path, path))
            return &found->entry[i];
    return NULL;
}

static const char *text_of(const struct found *found, const char *path)
{
    const struct entry *entry = find(found, path);
    return entry && entry->text ? entry->text : "";
}

/* Every blob has the digest of its name, and occurs once; the documents name all blobs. */
static void check_blobs(const struct found *found, const struct hl_image *image)
{
    char expected[4096], path[128];
    for (size_t i = 0; i < found->n; i++) {
        const struct entry *entry = &found->entry[i];
        if (!strncmp(entry->path, "blobs/sha256/", 13) && entry->path[13])
            CHECK(!strcmp(entry->path + 13, entry->digest + 7));
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(found->entry[k].path, entry->path) != 0);
    }
    int used = snprintf(expected, sizeof expected,
                        "[{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"tiny:latest\"],"
                        "\"Layers\":[",
                        image->config.digest + 7);
    for (size_t i = 0; i < image->n_layers; i++) {
        snprintf(path, sizeof path, "blobs/sha256/%s", image->layer[i].blob.digest + 7);
        const struct entry *entry = find(found, path);
        CHECK(entry && entry->bytes == image->layer[i].blob.bytes);
        used += snprintf(expected + used, sizeof expected - (size_t)used, "%s\"%s\"", i ? "," : "", path);
    }
    snprintf(expected + used, sizeof expected - (size_t)used, "]}]");
    CHECK(!strcmp(text_of(found, "manifest.json"), expected));
    snprintf(path, sizeof path, "blobs/sha256/%s", image->manifest.digest + 7);
    CHECK(find(found, path) != NULL);
    snprintf(expected, sizeof expected,
             "{\"schemaVersion\":2,\"mediaType\":\"" HL_OCI_INDEX "\",\"manifests\":[{\"mediaType\":\"" HL_OCI_MANIFEST
             "\",\"digest\":\"%s\",\"size\":%llu,\"annotations\":{\"" HL_OCI_REF_NAME "\":\"latest\","
             "\"io.containerd.image.name\":\"docker.io/library/tiny:latest\"}}]}",
             image->manifest.digest, (unsigned long long)image->manifest.bytes);
    CHECK(!strcmp(text_of(found, "index.json"), expected));
}

static bool same_files(const char *a, const char *b)
{
    char command[2200];
    snprintf(command, sizeof command, "cmp '%s' '%s'", a, b);
    return system(command) == 0;
}

/* The same image as in a layout; layers in the order in which a start reads them. The bytes are the same every time,
 * although several layers are compressed at once. */
static void test_archive(void)
{
    struct hl_image layout, image;
    struct hl_error err = {.message = ""};
    struct found found;
    const struct wanted wanted = {.base = NULL};
    CHECK_OK(write_layout(at("layout"), &layout, &err), err);
    CHECK_OK(write_archive(at("a.tar"), &wanted, &image, &err), err);
    CHECK(!strcmp(layout.manifest.digest, image.manifest.digest) && image.n_layers == 4);
    read_archive(at("a.tar"), &found);
    CHECK(found.n == 3 + 4 + 2 + 2);
    if (found.n != 11 || image.n_layers != 4)
        return;
    CHECK(!strcmp(found.entry[0].path, "oci-layout") && !strcmp(found.entry[1].path, "blobs/") &&
          !strcmp(found.entry[2].path, "blobs/sha256/"));
    CHECK(found.entry[0].bytes == strlen(HL_OCI_LAYOUT_TEXT));
    for (size_t i = 0; i < 4; i++)
        CHECK(!strcmp(found.entry[3 + i].digest, image.layer[i].blob.digest));
    CHECK(!strcmp(found.entry[7].digest, image.config.digest) && !strcmp(found.entry[8].digest, image.manifest.digest));
    check_blobs(&found, &image);
    free_found(&found);
    hl_image_free(&image);
    for (unsigned i = 0; i < 8; i++) {
        CHECK_OK(write_archive(at("again.tar"), &wanted, &image, &err), err);
        CHECK(same_files(at("a.tar"), at("again.tar")));
        hl_image_free(&image);
    }
    hl_image_free(&layout);
}

static void test_compressed_archive(void)
{
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct found found;
    const struct wanted wanted = {.compress = 1};
    CHECK_OK(write_archive(at("zstd.tar"), &wanted, &image, &err), err);
    read_archive(at("zstd.tar"), &found);
    CHECK(found.n == 11 && image.n_layers == 4);
    check_blobs(&found, &image);
    for (size_t i = 0; i < 4 && found.n == 11 && image.n_layers == 4; i++)
        CHECK(!strcmp(found.entry[3 + i].digest, image.layer[i].blob.digest));
    free_found(&found);
    hl_image_free(&image);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_OK(write_archive(at("zstd-again.tar"), &wanted, &image, &err), err);
        CHECK(same_files(at("zstd.tar"), at("zstd-again.tar")));
        hl_image_free(&image);
    }
}

static int open_base(const char *directory, struct hl_base *out, struct hl_error *err)
{
    struct hl_store *store;
    *out = (struct hl_base){.store = NULL};
    return hl_store_open_layout(directory, &store, err) || hl_base_open(store, "", "", out, err) ? -1 : 0;
}

/* On a base: its layers come first; a damaged one stops the writing. */
static void test_base_in_archive(void)
{
    struct hl_base base;
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct found found;
    CHECK_OK(open_base(at("layout"), &base, &err), err);
    const struct wanted wanted = {.base = &base};
    /* The base has the same layers as come on top of it: an image with a layer twice. */
    CHECK_OK(write_archive(at("based.tar"), &wanted, &image, &err), err);
    CHECK(image.n_layers == 7);
    read_archive(at("based.tar"), &found);
    CHECK(found.n == 3 + 7 + 4 && !strcmp(found.entry[3].digest, base.image.layer[0].blob.digest));
    free_found(&found);
    hl_image_free(&image);
    char path[1024];
    snprintf(path, sizeof path, "%s", at("layout/blobs/sha256/%s", base.image.layer[2].blob.digest + 7));
    FILE *file = fopen(path, "r+b");
    CHECK(file && !fseek(file, 1000, SEEK_SET) && fputc('!', file) == '!' && !fclose(file));
    CHECK_FAILS(write_archive(at("damaged.tar"), &wanted, &image, &err), err, "damaged: its content is");
    CHECK(access(at("damaged.tar"), F_OK) && errno == ENOENT);
    hl_image_free(&image);
    hl_base_close(&base);
}

static void test_names(void)
{
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct found found;
    struct wanted wanted = {.name = "ghcr.io/me/tiny", .tag = "v2"};
    CHECK_OK(write_archive(at("named.tar"), &wanted, &image, &err), err);
    read_archive(at("named.tar"), &found);
    CHECK(strstr(text_of(&found, "manifest.json"), "\"RepoTags\":[\"ghcr.io/me/tiny:v2\"]"));
    CHECK(strstr(text_of(&found, "index.json"), "\"" HL_OCI_REF_NAME "\":\"v2\","
                                                "\"io.containerd.image.name\":\"ghcr.io/me/tiny:v2\""));
    free_found(&found);
    hl_image_free(&image);
    char long_name[HL_NAME_LIMIT + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[HL_NAME_LIMIT + 1] = 0;
    wanted = (struct wanted){.name = long_name};
    CHECK_FAILS(write_archive(at("x.tar"), &wanted, &image, &err), err, "more than 255 characters");
    wanted = (struct wanted){.tag = "a b"};
    CHECK_FAILS(write_archive(at("x.tar"), &wanted, &image, &err), err, "not a tag");
    CHECK(access(at("x.tar"), F_OK));
}

/* The folder holds only its earlier files, and the old file is unchanged. */
static void test_failures(void)
{
    struct hl_image image;
    struct hl_error err = {.message = ""};
    struct rlimit limit;
    const struct wanted plain = {.base = NULL}, compressed = {.compress = 1};
    CHECK(!mkdir(at("there"), 0755) && !mkdir(at("there/folder"), 0755));
    CHECK_FAILS(write_archive(at("there/folder"), &plain, &image, &err), err, "not a regular file");
    CHECK_FAILS(write_archive(at("there/folder/"), &plain, &image, &err), err, "names a folder");
    CHECK_FAILS(write_archive(at("none/x.tar"), &plain, &image, &err), err, "No such file");
    CHECK_FAILS(write_archive(at("m.hot/x.tar"), &plain, &image, &err), err, "Not a directory");
    CHECK(write_file(at("there/old.tar"), "old", 3) && !getrlimit(RLIMIT_FSIZE, &limit));
    struct rlimit low = {100 << 10, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!setrlimit(RLIMIT_FSIZE, &low));
    CHECK_FAILS(write_archive(at("there/old.tar"), &plain, &image, &err), err, "there/old.tar: cannot write: File too");
    CHECK_FAILS(write_archive(at("there/old.tar"), &compressed, &image, &err), err, "cannot write: File too large");
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    HL_FREE char *old = read_file(at("there/old.tar"));
    CHECK(old && !strcmp(old, "old") && count_files(at("there")) == 2);
    CHECK_OK(write_archive(at("there/old.tar"), &plain, &image, &err), err);
    CHECK(same_files(at("there/old.tar"), at("a.tar")) && count_files(at("there")) == 2);
    hl_image_free(&image);
}

static int read_text(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    (void)err;
    memcpy(buffer, (const char *)context + offset, n);
    return 0;
}

/* Blobs that arrive out of order are stored in the reserved order; others follow them. */
static void test_order(void)
{
    static char text[3][8] = {"first", "second", "other"};
    struct hl_error err = {.message = ""};
    struct hl_descriptor blob[3];
    struct hl_content content[3];
    struct found found;
    HL_TARGET *target = NULL;
    for (size_t i = 0; i < 3; i++)
        content[i] = (struct hl_content){.bytes = strlen(text[i]), .read = read_text, .context = text[i]};
    const struct hl_expected expected[] = {{.content = &content[0]}, {.content = &content[1]}};
    CHECK_OK(hl_target_open_archive(at("order.tar"), "x", NULL, &target, &err), err);
    CHECK_OK(hl_target_expect(target, expected, 2, &err), err);
    for (size_t i = 3; i-- > 0;)
        CHECK_OK(target->class->content(target, &content[i], NULL, &blob[i], &err), err);
    static const char text_of_index[] = "{\"schemaVersion\":2,\"manifests\":[]}";
    const struct hl_descriptor index = {.bytes = strlen(text_of_index), .kind = HL_KIND_INDEX};
    CHECK_OK(target->class->publish(target, &index, text_of_index, &err), err);
    read_archive(at("order.tar"), &found);
    for (size_t i = 0; i < 3 && found.n == 7; i++)
        CHECK(!strcmp(found.entry[3 + i].digest, blob[i].digest) && found.entry[3 + i].bytes == strlen(text[i]));
    CHECK(found.n == 7 && !strcmp(found.entry[6].path, "index.json"));
    free_found(&found);
}

/* If an expected blob does not arrive, its space stays zeros, and readers take that for the tar's end. */
static void test_missing_blob(void)
{
    struct hl_error err = {.message = ""};
    HL_TARGET *target = NULL;
    const struct hl_content content = {.bytes = 10};
    const struct hl_expected expected = {.content = &content};
    const char *const text = "{}";
    struct hl_descriptor root = {.bytes = 2, .kind = HL_KIND_MANIFEST};
    CHECK_OK(hl_target_open_archive(at("hole.tar"), "x", NULL, &target, &err), err);
    CHECK_OK(hl_target_expect(target, &expected, 1, &err), err);
    CHECK_FAILS(target->class->publish(target, &root, text, &err), err, "was not stored");
    hl_target_close(&target);
    CHECK(access(at("hole.tar"), F_OK));
    /* Other targets keep no order. */
    CHECK_OK(hl_target_open_layout(at("layout"), NULL, &target, &err), err);
    CHECK_OK(hl_target_expect(target, &expected, 1, &err), err);
}

int main(void)
{
    if (!scratch_open("archive") || !make_model())
        return 1;
    test_archive();
    test_compressed_archive();
    test_base_in_archive();
    test_names();
    test_failures();
    test_order();
    test_missing_blob();
    CHECK(scratch_close());
    return check_summary();
}
