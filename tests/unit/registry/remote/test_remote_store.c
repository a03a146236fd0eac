/* registry/remote/remote_store.c: reading from a registry that lies, breaks off and forgets. A sink gets the right
 * bytes or none, and a download resumes. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/oci/download.h"
#include "registry/remote/client.h"
#include "tests/unit/registry/http_server.h"
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define BLOB_BYTES 300000u
#define RANGES_MOST 64

/* How the server treats its one blob. */
enum manner {
    HONEST,
    BREAKS,        /* the connection ends after `amount` bytes of an answer, `times` times */
    DEAF,          /* ignores ranges */
    DEAF_BREAKS,   /* and breaks off, too */
    OTHER_RANGE,   /* another range */
    UNSAID_RANGE,  /* 206, without the range */
    MULTIPART,     /* 206, several ranges */
    LONGER_RANGE,  /* more bytes than requested, and its headers say so */
    PIECES,        /* 206, `amount` bytes at most */
    SHORTER,       /* Content-Length: `amount` */
    OTHER_TOTAL,   /* Content-Range with another total */
    CHUNKED,       /* without a length, `amount` bytes, and a clean end */
    LONG,          /* without a length, endless */
    UNSATISFIABLE, /* 416 */
    GONE,          /* 404 */
    FALSE_BYTE,    /* one byte differs */
};

static struct {
    pthread_mutex_t lock;
    enum manner manner;
    unsigned amount, times;
    const char *type, *text, *said, *encoding; /* of the manifest */
    size_t text_bytes;                         /* 0: strlen */
    char range[RANGES_MOST][64];               /* of the requests for the blob; "" for the whole */
    unsigned n_ranges;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned char blob_bytes[BLOB_BYTES];
static struct hl_descriptor blob = {.media_type = HL_OCI_LAYER, .bytes = BLOB_BYTES, .kind = HL_KIND_TAR};
static struct server server;
static char scratch[256];

static void digest_of(const void *bytes, size_t n, char out[HL_DIGEST_BYTES])
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    EVP_Digest(bytes, n, sha256, NULL, EVP_sha256(), NULL);
    hl_digest_format(sha256, out);
}

static void set(enum manner manner, unsigned amount, unsigned times)
{
    pthread_mutex_lock(&script.lock);
    script.manner = manner;
    script.amount = amount;
    script.times = times;
    script.n_ranges = 0;
    pthread_mutex_unlock(&script.lock);
    server_clear(&server);
}

/* Sends a range of the blob with this head; false breaks the connection after `amount` bytes. */
static bool send_blob(struct request *r, const char *head, size_t from, size_t to, bool breaks)
{
    say(r, "%s\r\n", head);
    size_t n = to - from;
    if (breaks && n > script.amount) {
        request_write(r, blob_bytes + from, script.amount);
        return false;
    }
    return request_write(r, blob_bytes + from, n);
}

static bool send_range(struct request *r, size_t from, size_t to, bool breaks)
{
    char head[256];
    if (script.manner == OTHER_RANGE)
        from += 7;
    if (script.manner == LONGER_RANGE && to < BLOB_BYTES)
        to++;
    if (script.manner == PIECES && to - from > script.amount)
        to = from + script.amount;
    int n = snprintf(head, sizeof head, "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\n", to - from);
    if (script.manner != UNSAID_RANGE)
        snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %zu-%zu/%u\r\n", from, to - 1,
                 script.manner == OTHER_TOTAL ? BLOB_BYTES + 1 : BLOB_BYTES);
    return send_blob(r, head, from, to, breaks);
}

static bool send_chunked(struct request *r)
{
    say(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    bool endless = script.manner == LONG;
    for (size_t at = 0; endless ? at < 8 * BLOB_BYTES : at < script.amount; at += 1000) {
        say(r, "3e8\r\n");
        if (!request_write(r, blob_bytes + at % (BLOB_BYTES - 1000), 1000) || !request_write(r, "\r\n", 2))
            return false;
    }
    return say(r, "0\r\n\r\n");
}

static bool serve_blob(struct request *r)
{
    char value[512], head[128];
    size_t from = 0, to = BLOB_BYTES;
    pthread_mutex_lock(&script.lock);
    request_header(r, "Range", value);
    if (script.n_ranges < RANGES_MOST)
        snprintf(script.range[script.n_ranges++], sizeof script.range[0], "%.60s", value);
    bool breaking = script.manner == BREAKS || script.manner == DEAF_BREAKS, breaks = breaking && script.times;
    script.times -= breaks;
    pthread_mutex_unlock(&script.lock);
    switch (script.manner) {
    case GONE:
        return reply(r, 404, "Content-Type: application/json\r\n", "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}");
    case UNSATISFIABLE:
        return reply(r, 416, "", "");
    case CHUNKED:
    case LONG:
        return send_chunked(r);
    case MULTIPART:
        return reply(r, 206, "Content-Type: multipart/byteranges; boundary=x\r\n", "--x--");
    default:
        break;
    }
    bool deaf = script.manner == DEAF || script.manner == DEAF_BREAKS;
    if (!deaf && sscanf(value, "bytes=%zu-%zu", &from, &to) == 2)
        return send_range(r, from, to + 1, breaks);
    if (script.manner == FALSE_BYTE) {
        unsigned char other = blob_bytes[5] ^ 1;
        say(r, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", BLOB_BYTES);
        return request_write(r, blob_bytes, 5) && request_write(r, &other, 1) &&
               request_write(r, blob_bytes + 6, BLOB_BYTES - 6);
    }
    to = script.manner == SHORTER ? script.amount : BLOB_BYTES;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n", to);
    return send_blob(r, head, 0, to, breaks);
}

static bool serve_manifest(struct request *r)
{
    size_t n = script.text_bytes ? script.text_bytes : strlen(script.text);
    say(r, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n", n);
    if (script.type)
        say(r, "Content-Type: %s\r\n", script.type);
    if (script.said)
        say(r, "Docker-Content-Digest: %s\r\n", script.said);
    if (script.encoding)
        say(r, "Content-Encoding: %s\r\n", script.encoding);
    say(r, "\r\n");
    return request_write(r, script.text, n);
}

static bool handle(struct request *r)
{
    if (at_path(r, "/v2/"))
        return reply(r, 200, "", "{}");
    if (!strncmp(r->target, "/v2/some/model/manifests/", 25))
        return serve_manifest(r);
    if (!strncmp(r->target, "/v2/some/model/blobs/", 21) && !strcmp(r->target + 21, blob.digest))
        return serve_blob(r);
    if (!strncmp(r->target, "/v2/some/model/blobs/", 21))
        return serve_manifest(r);
    return reply(r, 404, "", "");
}

static struct hl_store *open_store(const char *suffix)
{
    char text[256];
    struct hl_reference reference;
    struct hl_store *store = NULL;
    struct hl_error err = {0};
    const struct hl_registry_options options = {.plain_http = true};
    snprintf(text, sizeof text, "127.0.0.1:%u/some/model%s", server.port, suffix);
    CHECK_OK(hl_reference_parse(text, &reference, &err), err);
    CHECK_OK(hl_store_open_registry(&reference, &options, &store, &err), err);
    return store;
}

/* --- documents --- */

static void test_resolve(void)
{
    HL_STORE *store = open_store(":tag");
    struct hl_descriptor found;
    struct hl_error err = {0};
    HL_FREE char *text = NULL;
    size_t bytes = 0;
    char digest[HL_DIGEST_BYTES];
    script.type = HL_OCI_MANIFEST "; charset=utf-8";
    script.text = "{\"schemaVersion\":2}";
    digest_of(script.text, strlen(script.text), digest);
    script.said = digest;
    server_clear(&server);
    CHECK_OK(store->class->resolve(store, "", &found, &err), err);
    CHECK(!strcmp(found.media_type, HL_OCI_MANIFEST) && found.kind == HL_KIND_MANIFEST && !strcmp(found.tag, "tag"));
    CHECK(!strcmp(found.digest, digest) && found.bytes == strlen(script.text));
    CHECK_OK(store->class->document(store, &found, &text, &bytes, &err), err);
    CHECK(text && !strcmp(text, script.text) && bytes == strlen(script.text));
    CHECK(server.requests == 1 && strstr(server.log, "manifests/tag "));
    CHECK_OK(store->class->resolve(store, digest, &found, &err), err);
    CHECK(!*found.tag && strstr(server.log, digest));
    CHECK_FAILS(store->class->resolve(store, "../../secret", &found, &err), err, "neither a tag nor a digest");
    CHECK(server.requests == 2);
}

/* Of a digest and a tag, the digest counts. */
static void test_resolve_digest(void)
{
    char digest[HL_DIGEST_BYTES], suffix[128];
    struct hl_descriptor found;
    struct hl_error err = {0};
    script.type = HL_DOCKER_INDEX;
    script.said = NULL;
    digest_of(script.text, strlen(script.text), digest);
    snprintf(suffix, sizeof suffix, ":tag@%s", digest);
    HL_STORE *store = open_store(suffix);
    server_clear(&server);
    CHECK_OK(store->class->resolve(store, "", &found, &err), err);
    CHECK(found.kind == HL_KIND_INDEX && !strstr(server.log, "/tag"));
    script.text = "{\"schemaVersion\":2 }";
    CHECK_FAILS(store->class->resolve(store, "", &found, &err), err, "damaged");
}

static void test_false_manifests(void)
{
    static const struct {
        const char *type, *said, *encoding, *word;
    } cases[] = {
        {NULL, NULL, NULL, "does not give the type"},
        {"", NULL, NULL, "does not give the type"},
        {"text/html", NULL, NULL, "text/html"},
        {"application/json", NULL, NULL, "application/json"},
        {HL_OCI_CONFIG, NULL, NULL, "neither"},
        {HL_OCI_LAYER, NULL, NULL, "neither"},
        {"application/vnd.docker.distribution.manifest.v1+prettyjws", NULL, NULL, "schema 1"},
        {"application/vnd.docker.distribution.manifest.v1+json; charset=utf-8", NULL, NULL, "schema 1"},
        {HL_OCI_MANIFEST, "sha256:0000000000000000000000000000000000000000000000000000000000000000", NULL, "damaged"},
        {HL_OCI_MANIFEST, NULL, "gzip", "encoding"},
    };
    HL_STORE *store = open_store(":tag");
    script.text = "{\"schemaVersion\":2}";
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_descriptor found;
        struct hl_error err = {0};
        script.type = cases[i].type;
        script.said = cases[i].said;
        script.encoding = cases[i].encoding;
        CHECK_FAILS(store->class->resolve(store, "", &found, &err), err, cases[i].word);
    }
    script.said = "sha512:something else"; /* nothing to compare with */
    script.encoding = "identity";
    struct hl_descriptor found;
    struct hl_error err = {0};
    script.type = HL_OCI_MANIFEST;
    CHECK_OK(store->class->resolve(store, "", &found, &err), err);
    static char long_text[HL_DOCUMENT_LIMIT + 1];
    memset(long_text, ' ', sizeof long_text);
    script.text = long_text;
    script.text_bytes = HL_DOCUMENT_LIMIT + 1;
    CHECK_FAILS(store->class->resolve(store, "", &found, &err), err, "longer");
    script.text = "{}";
    script.text_bytes = 0;
    script.said = script.encoding = NULL;
}

static void test_documents(void)
{
    HL_STORE *store = open_store("");
    struct hl_error err = {0};
    HL_FREE char *text = NULL;
    size_t bytes;
    struct hl_descriptor config = {.media_type = HL_OCI_CONFIG, .kind = HL_KIND_CONFIG};
    script.text = "{\"os\":\"linux\"}";
    script.type = "application/octet-stream";
    config.bytes = strlen(script.text);
    digest_of(script.text, strlen(script.text), config.digest);
    server_clear(&server);
    CHECK_OK(store->class->document(store, &config, &text, &bytes, &err), err);
    CHECK(text && !strcmp(text, script.text) && strstr(server.log, "/blobs/"));
    struct hl_descriptor other = config;
    other.bytes++;
    char *none = NULL;
    CHECK_FAILS(store->class->document(store, &other, &none, &bytes, &err), err, "instead of");
    script.text = "{\"os\":\"minix\"}";
    CHECK_FAILS(store->class->document(store, &config, &none, &bytes, &err), err, "damaged");
    server_clear(&server);
    other.bytes = HL_DOCUMENT_LIMIT + 1;
    CHECK_FAILS(store->class->document(store, &other, &none, &bytes, &err), err, "more than");
    CHECK(!none && server.requests == 0);
}

/* --- ranges of a blob --- */

struct taken {
    unsigned char bytes[BLOB_BYTES + 1];
    size_t n, most; /* fails after this many bytes */
};

static int take(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct taken *taken = context;
    if (n > BLOB_BYTES - taken->n)
        return hl_fail(err, "the sink is full");
    memcpy(taken->bytes + taken->n, bytes, n);
    taken->n += n;
    return taken->most && taken->n >= taken->most ? hl_fail(err, "the sink has had enough of it") : 0;
}

static int read_part(struct hl_store *store, size_t offset, size_t n, struct taken *taken, struct hl_error *err)
{
    taken->n = 0;
    taken->most = 0;
    return store->class->read(store, &blob, offset, n, take, taken, err);
}

static bool is_part(const struct taken *taken, size_t offset, size_t n)
{
    return taken->n == n && !memcmp(taken->bytes, blob_bytes + offset, n);
}

static void test_reads(struct hl_store *store, struct taken *taken)
{
    struct hl_error err = {0};
    set(HONEST, 0, 0);
    CHECK_OK(read_part(store, 0, BLOB_BYTES, taken, &err), err);
    CHECK(is_part(taken, 0, BLOB_BYTES) && script.n_ranges == 1 && !*script.range[0]);
    CHECK_OK(read_part(store, 1000, 1, taken, &err), err);
    CHECK(is_part(taken, 1000, 1) && !strcmp(script.range[1], "bytes=1000-1000"));
    CHECK_OK(read_part(store, BLOB_BYTES - 10, 10, taken, &err), err);
    CHECK(is_part(taken, BLOB_BYTES - 10, 10));
    CHECK_OK(read_part(store, 5, 0, taken, &err), err);
    CHECK(script.n_ranges == 3);
    CHECK_FAILS(read_part(store, BLOB_BYTES - 10, 11, taken, &err), err, "has no byte");
    CHECK_FAILS(store->class->read(store, &blob, UINT64_MAX - 1, 2, take, taken, &err), err, "has no byte");
    set(PIECES, 100000, 0);
    CHECK_OK(read_part(store, 1, BLOB_BYTES - 1, taken, &err), err);
    CHECK(is_part(taken, 1, BLOB_BYTES - 1) && script.n_ranges == 3 && !strcmp(script.range[2], "bytes=200001-299999"));
}

static void test_breaks(struct hl_store *store, struct taken *taken)
{
    struct hl_error err = {0};
    set(BREAKS, 50000, 2);
    CHECK_OK(read_part(store, 0, BLOB_BYTES, taken, &err), err);
    CHECK(is_part(taken, 0, BLOB_BYTES) && script.n_ranges == 3);
    CHECK(!*script.range[0] && !strcmp(script.range[1], "bytes=50000-299999") &&
          !strcmp(script.range[2], "bytes=100000-299999"));
    set(BREAKS, 50000, 1);
    CHECK_OK(read_part(store, 100000, 100000, taken, &err), err);
    CHECK(is_part(taken, 100000, 100000) && !strcmp(script.range[1], "bytes=150000-199999"));
    set(DEAF_BREAKS, 120000, 1);
    CHECK_OK(read_part(store, 0, BLOB_BYTES, taken, &err), err);
    CHECK(is_part(taken, 0, BLOB_BYTES) && script.n_ranges == 2);
    set(DEAF, 0, 0);
    CHECK_OK(read_part(store, 100000, 1000, taken, &err), err);
    CHECK(is_part(taken, 100000, 1000));
    /* the client closed the connection in the middle; the next request works */
    CHECK_OK(read_part(store, 0, 1, taken, &err), err);
    CHECK(is_part(taken, 0, 1));
}

static void test_lies(struct hl_store *store, struct taken *taken)
{
    struct hl_error err = {0};
    static const struct {
        enum manner manner;
        unsigned amount;
        const char *word;
    } cases[] = {
        {OTHER_RANGE, 0, "others arrived"}, {LONGER_RANGE, 0, "others arrived"},
        {UNSAID_RANGE, 0, "which"},         {MULTIPART, 0, "which"},
        {OTHER_TOTAL, 0, "damaged"},        {UNSATISFIABLE, 0, "damaged"},
        {GONE, 0, "BLOB_UNKNOWN"},          {CHUNKED, 1000, "ends at byte 2000"},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        set(cases[i].manner, cases[i].amount, 0);
        CHECK_FAILS(read_part(store, 2000, 5000, taken, &err), err, cases[i].word);
        CHECK_SAY(taken->n == 0, "case %zu gave %zu bytes", i, taken->n);
        CHECK_SAY(script.n_ranges == 1, "case %zu: %u requests", i, script.n_ranges);
    }
    set(SHORTER, 1000, 0);
    CHECK_FAILS(read_part(store, 0, BLOB_BYTES, taken, &err), err, "1000 bytes of it instead of");
    CHECK(taken->n == 0);
    set(LONG, 0, 0);
    CHECK_FAILS(read_part(store, 0, BLOB_BYTES, taken, &err), err, "more than");
    CHECK(taken->n <= BLOB_BYTES);
    set(HONEST, 0, 0);
    taken->n = 0;
    taken->most = 10;
    CHECK_FAILS(store->class->read(store, &blob, 0, BLOB_BYTES, take, taken, &err), err, "had enough of it");
    CHECK(script.n_ranges == 1);
}

/* --- downloads --- */

static const char *at(const char *name)
{
    static char path[4][512];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", scratch, name);
    return out;
}

static const char *partial(void)
{
    static char name[256];
    snprintf(name, sizeof name, HL_PARTIAL_PREFIX "%s", hl_digest_file(blob.digest));
    return at(name);
}

static bool put(const char *path, const void *bytes, size_t n)
{
    HL_FCLOSE FILE *file = fopen(path, "wb");
    return file && fwrite(bytes, 1, n, file) == n;
}

static long size_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) ? -1 : (long)status.st_size;
}

static bool is_complete(void)
{
    HL_FREE unsigned char *found = malloc(BLOB_BYTES);
    HL_FCLOSE FILE *file = fopen(at(hl_digest_file(blob.digest)), "rb");
    return file && fread(found, 1, BLOB_BYTES, file) == BLOB_BYTES && !memcmp(found, blob_bytes, BLOB_BYTES) &&
           size_of(at(hl_digest_file(blob.digest))) == BLOB_BYTES && size_of(partial()) == -1;
}

static int download(struct hl_store *store, struct hl_error *err)
{
    HL_CLOSE int directory = open(scratch, O_RDONLY | O_DIRECTORY);
    return hl_download(store, &blob, directory, NULL, err);
}

static void test_downloads(struct hl_store *store)
{
    struct hl_error err = {0};
    set(HONEST, 0, 0);
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 1);
    CHECK_OK(download(store, &err), err);
    CHECK(script.n_ranges == 1);
    CHECK(put(at(hl_digest_file(blob.digest)), "short", 5)); /* not one of our blobs */
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete());
    unlink(at(hl_digest_file(blob.digest)));

    set(HONEST, 0, 0);
    CHECK(put(partial(), blob_bytes, 123456));
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 1 && !strcmp(script.range[0], "bytes=123456-299999"));
    unlink(at(hl_digest_file(blob.digest)));

    set(HONEST, 0, 0);
    CHECK(put(partial(), blob_bytes, BLOB_BYTES)); /* killed before it was renamed */
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 0);
    unlink(at(hl_digest_file(blob.digest)));
}

static void test_bad_partials(struct hl_store *store)
{
    struct hl_error err = {0};
    HL_FREE unsigned char *wrong = malloc(BLOB_BYTES + 10);
    memcpy(wrong, blob_bytes, BLOB_BYTES);
    wrong[77] ^= 1;
    set(HONEST, 0, 0);
    CHECK(put(partial(), wrong, 100000));
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 2 && !*script.range[1]);
    unlink(at(hl_digest_file(blob.digest)));

    set(HONEST, 0, 0);
    CHECK(put(partial(), wrong, BLOB_BYTES + 10));
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 1 && !*script.range[0]);
    unlink(at(hl_digest_file(blob.digest)));

    CHECK(put(at("precious"), "precious", 8) && !symlink("precious", partial()));
    CHECK(download(store, &err) != 0);
    CHECK(size_of(at("precious")) == 8);
    unlink(partial());
    CHECK(!link(at("precious"), partial()));
    CHECK_FAILS(download(store, &err), err, "not one of our files");
    CHECK(size_of(at("precious")) == 8);
    unlink(partial());

    set(FALSE_BYTE, 0, 0);
    CHECK_FAILS(download(store, &err), err, "damaged");
    CHECK(size_of(partial()) == -1 && size_of(at(hl_digest_file(blob.digest))) == -1 && script.n_ranges == 1);
    set(GONE, 0, 0);
    CHECK_FAILS(download(store, &err), err, "BLOB_UNKNOWN");
    CHECK(size_of(partial()) == -1);
}

/* A run's partial files are used by the next run. */
static void test_interrupted(struct hl_store *store)
{
    struct hl_error err = {0};
    set(CHUNKED, 40000, 0);
    CHECK(download(store, &err) != 0);
    CHECK(size_of(partial()) == 40000);
    set(HONEST, 0, 0);
    CHECK_OK(download(store, &err), err);
    CHECK(is_complete() && script.n_ranges == 1 && !strcmp(script.range[0], "bytes=40000-299999"));
    unlink(at(hl_digest_file(blob.digest)));
}

static void *download_beside(void *context)
{
    struct hl_error err = {0};
    return download(context, &err) ? context : NULL;
}

static void test_two_at_once(struct hl_store *store)
{
    pthread_t thread[4];
    void *failed;
    set(HONEST, 0, 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(!pthread_create(&thread[i], NULL, download_beside, store));
    for (size_t i = 0; i < 4; i++)
        CHECK(!pthread_join(thread[i], &failed) && !failed);
    CHECK(is_complete() && script.n_ranges == 1);
    unlink(at(hl_digest_file(blob.digest)));
}

int main(void)
{
    HL_FREE struct taken *taken = malloc(sizeof *taken);
    const char *folder = getenv("TMPDIR");
    for (size_t i = 0; i < BLOB_BYTES; i++)
        blob_bytes[i] = (unsigned char)(i * i >> 9);
    digest_of(blob_bytes, BLOB_BYTES, blob.digest);
    snprintf(scratch, sizeof scratch, "%s/remote-XXXXXX", folder ? folder : "/tmp");
    if (!taken || !mkdtemp(scratch))
        return 1;
    server.handle = handle;
    server_start(&server);
    test_resolve();
    test_resolve_digest();
    test_false_manifests();
    test_documents();
    struct hl_store *store = open_store(":tag");
    CHECK(store && hl_store_registry(store));
    test_reads(store, taken);
    test_breaks(store, taken);
    test_lies(store, taken);
    test_downloads(store);
    test_bad_partials(store);
    test_interrupted(store);
    test_two_at_once(store);
    hl_store_close(&store);
    server_stop(&server);
    unlink(at("precious"));
    CHECK(!rmdir(scratch));
    return check_summary();
}
