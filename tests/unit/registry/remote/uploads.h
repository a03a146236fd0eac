/* A registry, blobs of random bytes, and one upload after another, for the tests of uploads. */
#ifndef HL_TESTS_UNIT_REGISTRY_REMOTE_UPLOADS_H
#define HL_TESTS_UNIT_REGISTRY_REMOTE_UPLOADS_H

#include "base/cleanup.h"
#include "registry/remote/upload.h"
#include "tests/unit/registry/remote/registry_server.h"

#define BYTES ((size_t)300000)

static struct server server = {.handle = registry_handle};
static char scratch[64], journal[96], host[64];

/* ---- a blob of random bytes ---- */

struct bytes {
    unsigned char *data;
    struct hl_content content;
    uint64_t fails_at; /* reading beyond this fails; 0: nowhere */
};

static inline int read_bytes(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    struct bytes *bytes = context;
    if (bytes->fails_at && offset + n > bytes->fails_at)
        return hl_fail(err, "the disk is on fire");
    memcpy(buffer, bytes->data + offset, n);
    return 0;
}

static inline struct bytes *make_bytes(size_t n, uint64_t seed)
{
    struct bytes *bytes = calloc(1, sizeof *bytes);
    struct dice dice = {seed};
    bytes->data = malloc(n + 8);
    for (size_t i = 0; i < n; i += 8)
        memcpy(bytes->data + i, &(uint64_t){dice_bits(&dice)}, 8);
    bytes->content = (struct hl_content){.bytes = n, .read = read_bytes, .context = bytes};
    registry_digest(bytes->data, n, bytes->content.digest);
    return bytes;
}

static inline void free_bytes(struct bytes *bytes)
{
    free(bytes->data);
    free(bytes);
}

/* ---- one upload of it ---- */

struct result {
    int status;
    enum hl_upload_way way;
    uint64_t sent, shown;
    struct hl_error err;
};

static inline struct hl_registry *open_registry(void)
{
    struct hl_reference reference = {.repository = "a/b", .tag = "latest"};
    struct hl_registry_options options = {.plain_http = true, .journal = ""};
    struct hl_registry *client = NULL;
    struct hl_error err;
    memcpy(reference.host, host, sizeof host);
    CHECK_OK(hl_registry_open(&reference, &options, &client, &err), err);
    return client;
}

static inline struct result upload_with(struct hl_uploads *uploads, const struct bytes *bytes, const char *from)
{
    struct result result = {.err.message = ""};
    char digest[HL_DIGEST_BYTES];
    struct hl_progress progress = {.out = fopen("/dev/null", "w")};
    uint64_t before = hl_uploads_bytes(uploads);
    hl_progress_begin(&progress, "test", bytes->content.bytes);
    result.status = hl_upload_content(uploads, &bytes->content, from, &progress, digest, &result.way, &result.err);
    result.sent = hl_uploads_bytes(uploads) - before;
    result.shown = progress.done;
    fclose(progress.out);
    return result;
}

static inline struct result upload(const struct bytes *bytes, const char *from, const char *folder)
{
    struct hl_registry *client = open_registry();
    struct hl_uploads *uploads;
    struct hl_error err;
    struct result result = {.status = -1};
    if (CHECK_OK(hl_uploads_open(client, folder, &uploads, &err), err)) {
        result = upload_with(uploads, bytes, from);
        hl_uploads_close(uploads);
    }
    hl_registry_close(client);
    return result;
}

static inline unsigned asked(const char *what)
{
    unsigned n = 0;
    pthread_mutex_lock(&server.lock);
    for (const char *at = server.log; (at = strstr(at, what)); at++)
        n++;
    pthread_mutex_unlock(&server.lock);
    return n;
}

/* Checks that the blob is there, whole, and that progress ended at its size. */
static inline void check_there(const struct result *result, const struct bytes *bytes, const char *what)
{
    CHECK_SAY(!result->status, "%s: %s", what, result->err.message);
    int i = registry_find(bytes->content.digest);
    CHECK_SAY(i >= 0 && registry.blob_bytes[i] == bytes->content.bytes, "%s: it is not there", what);
    CHECK_SAY(result->shown == bytes->content.bytes, "%s: progress ended at %llu", what,
              (unsigned long long)result->shown);
}

static inline void begin_tests(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/hotlayer-upload-XXXXXX");
    if (!mkdtemp(scratch))
        exit(1);
    snprintf(journal, sizeof journal, "%s/journal", scratch);
    setenv("HOME", scratch, 1);
    unsetenv("DOCKER_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("XDG_RUNTIME_DIR");
    server_start(&server);
    snprintf(host, sizeof host, "127.0.0.1:%u", server.port);
}

static inline void end_tests(void)
{
    registry_clear(&server);
    server_stop(&server);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", scratch);
}

#endif
