/* registry/remote/upload.c, session.c and remote_target.c against a registry that behaves as the test tells it to. */
#include "base/sizes.h"
#include "registry/oci/document.h"
#include "registry/remote/session.h"
#include "tests/unit/registry/remote/uploads.h"

#define IN_PIECES "OCI-Chunk-Max-Length: 65536\r\n" /* the shortest pieces that the client sends */

/* ---- good registries ---- */

static void test_whole(void)
{
    struct bytes *bytes = make_bytes(BYTES, 1), *nothing = make_bytes(0, 1);
    registry_clear(&server);
    struct result result = upload(bytes, NULL, "");
    check_there(&result, bytes, "whole");
    CHECK(result.way == HL_UPLOAD_SENT && result.sent == BYTES);
    CHECK(asked("HEAD ") == 1 && asked("POST ") == 1 && asked("PUT ") == 1 && asked("\n") == 3);
    CHECK(asked("?_state=%2Fx%3d1&digest=sha256%3A") == 1);
    server_clear(&server);
    result = upload(bytes, NULL, "");
    CHECK(!result.status && result.way == HL_UPLOAD_PRESENT && !result.sent && result.shown == BYTES);
    CHECK(asked("HEAD ") == 1 && asked("\n") == 1);
    registry.no_lengths = true;
    result = upload(bytes, NULL, "");
    CHECK(!result.status && result.way == HL_UPLOAD_PRESENT);
    registry.no_lengths = false;
    registry.blob_bytes[0]--;
    result = upload(bytes, NULL, "");
    CHECK_SAY(result.way == HL_UPLOAD_SENT, "a blob of another size passed for ours");
    result = upload(nothing, NULL, "");
    check_there(&result, nothing, "an empty blob");
    bytes->content.digest[0] = 0;
    registry_clear(&server);
    result = upload(bytes, NULL, "");
    CHECK(!result.status && registry.blobs == 1 && result.sent == BYTES);
    free_bytes(bytes);
    free_bytes(nothing);
}

static void test_locations(void)
{
    char absolute[128], bare[128], far[5300];
    snprintf(absolute, sizeof absolute, "http://%s/v2/a/b/blobs/uploads/%%u?_state=%%%%2Fx%%%%3d%%u", host);
    snprintf(bare, sizeof bare, "%s/v2/a/b/blobs/uploads/%%u?_state=%%%%2Fx%%%%3d%%u", host);
    int n = snprintf(far, sizeof far, "/v2/a/b/blobs/uploads/%%u?_state=%%%%2Fx%%%%3d%%u&pad=");
    memset(far + n, 'x', 5000);
    far[n + 5000] = 0;
    const char *const places[] = {absolute, bare, far, "/v2/a/b/blobs/uploads/%u"};
    struct bytes *bytes = make_bytes(BYTES, 2);
    for (size_t i = 0; i < HL_COUNT(places); i++) {
        for (int pieces = 0; pieces < 2; pieces++) {
            registry_clear(&server);
            registry.location = places[i];
            registry.opening = pieces ? IN_PIECES : NULL;
            struct result result = upload(bytes, NULL, "");
            check_there(&result, bytes, places[i]);
        }
    }
    free_bytes(bytes);
}

static void test_mount(void)
{
    struct bytes *bytes = make_bytes(BYTES, 3);
    registry_clear(&server);
    registry.mount = 201;
    struct result result = upload(bytes, "other/name", "");
    CHECK(!result.status && result.way == HL_UPLOAD_MOUNTED && !result.sent && result.shown == BYTES);
    CHECK(asked("&from=other%2Fname") == 1 && asked("\n") == 2);
    registry_clear(&server);
    result = upload(bytes, "other/name", "");
    check_there(&result, bytes, "a mount answered with 202");
    CHECK(asked("POST ") == 1 && result.way == HL_UPLOAD_SENT);
    static const unsigned statuses[] = {400, 403, 404, 405, 501};
    for (size_t i = 0; i < HL_COUNT(statuses); i++) {
        registry_clear(&server);
        registry.mount = statuses[i];
        result = upload(bytes, "other/name", "");
        check_there(&result, bytes, "a mount that is refused");
        CHECK(asked("POST ") == 2);
    }
    free_bytes(bytes);
}

/* ---- pieces ---- */

static void test_pieces(void)
{
    struct bytes *bytes = make_bytes(BYTES, 4);
    registry_clear(&server);
    registry.opening = IN_PIECES;
    struct result result = upload(bytes, NULL, "");
    check_there(&result, bytes, "pieces");
    CHECK(asked("PATCH ") == 5 && asked("PUT ") == 1 && asked("GET ") == 0 && result.sent == BYTES);
    registry_clear(&server);
    registry.opening = "OCI-Chunk-Max-Length: 65536\r\nOCI-Chunk-Min-Length: 100000\r\n";
    result = upload(bytes, NULL, "");
    check_there(&result, bytes, "pieces of a least length");
    CHECK(asked("PATCH ") == 3);
    registry_clear(&server);
    registry.opening = "OCI-Chunk-Min-Length: 1099511627776\r\n";
    result = upload(bytes, NULL, "");
    check_there(&result, bytes, "a huge least length");
    CHECK(asked("PATCH ") == 0);
    for (unsigned status = 200; status <= 204; status += 2) {
        registry_clear(&server);
        registry.opening = IN_PIECES;
        registry.patch = status;
        registry.mute = status == 204;
        result = upload(bytes, NULL, "");
        check_there(&result, bytes, "another success");
        CHECK(asked("PATCH ") == 5 && asked("POST ") == 1);
    }
    free_bytes(bytes);
}

/* Connections that break: the session resumes where it is, if the registry can. */
static void test_breaks(void)
{
    struct bytes *bytes = make_bytes(BYTES, 5);
    for (int pieces = 0; pieces < 2; pieces++) {
        registry_clear(&server);
        registry.opening = pieces ? IN_PIECES : NULL;
        registry.breaks = 1;
        registry.break_at = pieces ? 30000 : 200000;
        struct result result = upload(bytes, NULL, "");
        check_there(&result, bytes, "a break");
        CHECK(asked("POST ") == 1 && asked("GET ") == 1 && registry.received == BYTES);
        registry_clear(&server);
        registry.opening = pieces ? IN_PIECES : NULL;
        registry.breaks = 1;
        registry.break_at = 0;
        result = upload(bytes, NULL, "");
        check_there(&result, bytes, "a break before the first byte");
        CHECK_SAY(asked("POST ") == 2 && asked("DELETE ") == 1, "byte 0 went to the same session again");
        registry_clear(&server);
        registry.opening = pieces ? IN_PIECES : NULL;
        registry.breaks = 1;
        registry.break_at = 30000;
        registry.loses = true;
        result = upload(bytes, NULL, "");
        check_there(&result, bytes, "a session that is gone");
        CHECK(asked("POST ") == 2);
    }
    registry_clear(&server);
    registry.breaks = 1;
    registry.break_at = 100000;
    registry.lies = 5000;
    struct result result = upload(bytes, NULL, "");
    check_there(&result, bytes, "a status that lies");
    CHECK_SAY(asked("POST ") == 1 && registry.received == BYTES, "the place in a 416 was not taken");
    registry_clear(&server);
    registry.opening = IN_PIECES;
    registry.garbles = true;
    result = upload(bytes, NULL, "");
    check_there(&result, bytes, "pieces that arrive damaged");
    free_bytes(bytes);
}

/* Registries with faults in pieces: the client sends this blob whole, and the next one whole at once. */
static void test_learning(void)
{
    struct bytes *bytes = make_bytes(BYTES, 6), *next = make_bytes(BYTES, 7);
    static const struct {
        unsigned patch;
        bool stale, bare;
        const char *what;
    } cases[] = {{201, false, false, "201 to a piece"},
                 {0, true, false, "a Range that stays"},
                 {405, false, false, "405"},
                 {404, false, false, "404"},
                 {400, false, false, "400"},
                 {501, false, false, "501"},
                 {416, false, true, "416"}};
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_registry *client = open_registry();
        struct hl_uploads *uploads;
        struct hl_error err;
        registry_clear(&server);
        registry.opening = IN_PIECES;
        registry.patch = cases[i].patch;
        registry.stale = cases[i].stale;
        registry.bare = cases[i].bare;
        if (CHECK_OK(hl_uploads_open(client, "", &uploads, &err), err)) {
            struct result result = upload_with(uploads, bytes, NULL);
            check_there(&result, bytes, cases[i].what);
            CHECK_SAY(asked("PATCH ") <= 2, "%s: %u pieces", cases[i].what, asked("PATCH "));
            server_clear(&server);
            result = upload_with(uploads, next, NULL);
            check_there(&result, next, cases[i].what);
            CHECK_SAY(asked("PATCH ") == 0, "%s: it was not remembered", cases[i].what);
            hl_uploads_close(uploads);
        }
        hl_registry_close(client);
    }
    free_bytes(bytes);
    free_bytes(next);
}

static void test_too_large(void)
{
    struct bytes *bytes = make_bytes((size_t)5 << 20, 8);
    registry_clear(&server);
    registry.body_most = 2 << 20;
    struct result result = upload(bytes, NULL, "");
    check_there(&result, bytes, "413");
    CHECK(asked("PATCH ") == 4);
    registry_clear(&server);
    registry.body_most = 1000;
    result = upload(bytes, NULL, "");
    CHECK_SAY(result.status && strstr(result.err.message, "413"), "'%s'", result.err.message);
    free_bytes(bytes);
}

/* ---- the end of an upload ---- */

static void test_ends(void)
{
    struct bytes *bytes = make_bytes(BYTES, 9);
    registry_clear(&server);
    registry.put_lies = 1;
    struct result result = upload(bytes, NULL, "");
    check_there(&result, bytes, "500, and it is there");
    CHECK_SAY(result.sent == BYTES && asked("POST ") == 1, "it was sent again");
    registry_clear(&server);
    registry.put_fails = 2;
    result = upload(bytes, NULL, "");
    check_there(&result, bytes, "500 twice, and it is not there");
    CHECK(asked("POST ") == 3);
    for (unsigned status = 200; status <= 204; status += 2) {
        registry_clear(&server);
        registry.put = status;
        result = upload(bytes, NULL, "");
        check_there(&result, bytes, "another success");
        CHECK_SAY(asked("HEAD ") == 2 && result.sent == BYTES, "%u: %u HEADs", status, asked("HEAD "));
    }
    registry_clear(&server);
    registry.wrong_digest = true;
    result = upload(bytes, NULL, "");
    CHECK_SAY(result.status && strstr(result.err.message, "says that it stored"), "'%s'", result.err.message);
    registry_clear(&server);
    registry.post = 403;
    result = upload(bytes, NULL, "");
    CHECK_SAY(result.status && strstr(result.err.message, "not yours"), "'%s'", result.err.message);
    CHECK(asked("POST ") == 1);
    for (int pieces = 0; pieces < 2; pieces++) { /* the file has another digest than its name */
        registry_clear(&server);
        registry.opening = pieces ? IN_PIECES : NULL;
        bytes->data[1000] ^= 1;
        result = upload(bytes, NULL, "");
        bytes->data[1000] ^= 1;
        CHECK_SAY(result.status && strstr(result.err.message, "damaged"), "'%s'", result.err.message);
        CHECK(asked("POST ") == 1 && registry.blobs == 0 && asked("DELETE ") == 1);
    }
    free_bytes(bytes);
}

static void *upload_thread(void *context)
{
    void **both = context;
    const struct bytes *bytes = both[1];
    struct result result = upload_with(both[0], bytes, NULL);
    pthread_mutex_lock(&registry.lock);
    bool there = registry_find(bytes->content.digest) >= 0;
    pthread_mutex_unlock(&registry.lock);
    return (void *)(intptr_t)(result.status || !there ? -1 : (int)result.way);
}

static void test_same_twice(void)
{
    struct bytes *bytes = make_bytes((size_t)4 << 20, 10);
    struct hl_registry *client = open_registry();
    struct hl_uploads *uploads;
    struct hl_error err;
    pthread_t thread[4];
    intptr_t sum = 0;
    registry_clear(&server);
    CHECK_OK(hl_uploads_open(client, "", &uploads, &err), err);
    void *both[] = {uploads, bytes};
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, upload_thread, both);
    for (int i = 0; i < 4; i++) {
        void *way;
        pthread_join(thread[i], &way);
        CHECK((intptr_t)way >= 0);
        sum += (intptr_t)way == HL_UPLOAD_PRESENT;
    }
    CHECK(sum == 3 && asked("POST ") == 1 && hl_uploads_bytes(uploads) == bytes->content.bytes);
    hl_uploads_close(uploads);
    hl_registry_close(client);
    free_bytes(bytes);
}

/* ---- streams ---- */

struct flow {
    const struct bytes *bytes;
    uint64_t at;
    unsigned rewinds;
};

static int read_flow(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct flow *flow = context;
    uint64_t left = flow->bytes->content.bytes - flow->at;
    (void)err;
    *n = left < size ? (size_t)left : size;
    *n = *n < 50000 ? *n : 50000;
    memcpy(buffer, flow->bytes->data + flow->at, *n);
    flow->at += *n;
    return 0;
}

static int rewind_flow(void *context, struct hl_error *err)
{
    struct flow *flow = context;
    (void)err;
    flow->at = 0;
    flow->rewinds++;
    return 0;
}

static unsigned stream(const struct bytes *bytes, const char *what)
{
    struct flow flow = {bytes, 0, 0};
    struct hl_stream from = {read_flow, rewind_flow, &flow};
    struct hl_registry *client = open_registry();
    struct hl_uploads *uploads;
    struct hl_descriptor out = {.bytes = 0};
    struct hl_error err;
    if (CHECK_OK(hl_uploads_open(client, "", &uploads, &err), err)) {
        int status = hl_upload_stream(uploads, &from, &out, &err);
        CHECK_SAY(!status, "%s: %s", what, err.message);
        hl_uploads_close(uploads);
    }
    hl_registry_close(client);
    CHECK_SAY(!strcmp(out.digest, bytes->content.digest) && out.bytes == bytes->content.bytes, "%s: '%s'", what,
              out.digest);
    CHECK_SAY(registry_find(bytes->content.digest) >= 0, "%s: it is not there", what);
    return flow.rewinds;
}

static void test_streams(void)
{
    struct bytes *bytes = make_bytes(BYTES, 11), *nothing = make_bytes(0, 1);
    registry_clear(&server);
    CHECK(stream(bytes, "a stream") == 0);
    CHECK(asked("PATCH ") == 1 && asked("PUT ") == 1 && asked("HEAD ") == 0 && asked("\n") == 3);
    registry_clear(&server);
    stream(nothing, "an empty stream");
    registry_clear(&server);
    registry.breaks = 2;
    registry.break_at = 120000;
    CHECK(stream(bytes, "a stream that breaks") == 2);
    CHECK_SAY(asked("POST ") == 3, "%u sessions", asked("POST "));
    registry_clear(&server);
    registry.patch = 201;
    stream(bytes, "201 to a stream");
    registry_clear(&server);
    registry.put_lies = 1;
    CHECK(stream(bytes, "500 to a stream's end, and it is there") == 0);
    registry_clear(&server);
    registry.put_fails = 1;
    stream(bytes, "500 to a stream's end, and it is not there");
    registry_clear(&server);
    registry.no_chunked = true;
    stream(bytes, "a length is wanted");
    CHECK(asked("PATCH ") == 1 && asked("PUT ") == 1);
    registry_clear(&server);
    registry.patch = 405;
    stream(bytes, "no PATCH at all");
    free_bytes(bytes);
    free_bytes(nothing);
}

/* ---- texts ---- */

static void test_texts(void)
{
    static const struct {
        const char *value;
        int64_t bytes; /* -1: absent */
    } ranges[] = {{"0-0", 0},
                  {"0-1", 2},
                  {"0-65535", 65536},
                  {"bytes=0-9", 10},
                  {"bytes 0-9/*", 10},
                  {"1-2", -1},
                  {"0-", -1},
                  {"-9", -1},
                  {"", -1},
                  {"0-9 ", -1},
                  {"a-b", -1},
                  {"0-99999999999999999999", -1},
                  {"0-9007199254740992", -1}};
    for (size_t i = 0; i < HL_COUNT(ranges); i++) {
        char headers[128];
        uint64_t bytes = 7;
        snprintf(headers, sizeof headers, "range: %s\n", ranges[i].value);
        struct hl_http_response response = {.headers = headers};
        bool said = hl_session_range(&response, &bytes);
        CHECK_SAY(said == (ranges[i].bytes >= 0) && (!said || (int64_t)bytes == ranges[i].bytes), "'%s': %llu",
                  ranges[i].value, (unsigned long long)bytes);
    }
    const char digest[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const urls[][2] = {{"http://h/u", "http://h/u?digest=sha256%3A"},
                                          {"http://h/u?a=%2f&&b", "http://h/u?a=%2f&&b&digest=sha256%3A"},
                                          {"http://h/u?", "http://h/u?&digest=sha256%3A"}};
    for (size_t i = 0; i < HL_COUNT(urls); i++) {
        char wanted[256];
        HL_FREE char *url = hl_session_commit_url(urls[i][0], digest);
        snprintf(wanted, sizeof wanted, "%s%s", urls[i][1], digest + 7);
        CHECK_SAY(url && !strcmp(url, wanted), "%s", url ? url : "none");
    }
    static const char *const whole[] = {"eu-docker.pkg.dev", "gcr.io",  "eu.gcr.io",
                                        "ghcr.io:443",       "GHCR.io", "1.dkr.ecr.eu-west-1.amazonaws.com"};
    static const char *const pieces[] = {"docker.io", "pkg.dev.example.org", "notgcr.io", "xghcr.io", ".pkg.dev", ""};
    for (size_t i = 0; i < HL_COUNT(whole); i++)
        CHECK_SAY(hl_session_whole_only(whole[i]), "%s", whole[i]);
    for (size_t i = 0; i < HL_COUNT(pieces); i++)
        CHECK_SAY(!hl_session_whole_only(pieces[i]), "%s", pieces[i]);
}

/* ---- the target ---- */

static struct hl_descriptor describe(const char *media_type, const char *text)
{
    struct hl_descriptor out = {.bytes = strlen(text), .kind = hl_document_kind_of(media_type)};
    snprintf(out.media_type, sizeof out.media_type, "%s", media_type);
    registry_digest(text, strlen(text), out.digest);
    return out;
}

static struct hl_target *open_target(const char *tag, const char *digest)
{
    struct hl_reference reference = {.repository = "a/b"};
    struct hl_registry_options options = {.plain_http = true, .journal = "", .jobs = 3};
    struct hl_target *target = NULL;
    struct hl_error err;
    memcpy(reference.host, host, sizeof host);
    snprintf(reference.tag, sizeof reference.tag, "%s", tag);
    snprintf(reference.digest, sizeof reference.digest, "%s", digest);
    CHECK_OK(hl_target_open_registry(&reference, &options, &target, &err), err);
    CHECK(target && target->jobs == 3);
    return target;
}

static void test_target(void)
{
    static const char config[] = "{\"os\":\"linux\"}", text[] = "{\"schemaVersion\":2}";
    struct hl_descriptor inner = describe(HL_OCI_CONFIG, config), manifest = describe(HL_DOCKER_MANIFEST, text);
    struct bytes *bytes = make_bytes(BYTES, 15);
    struct hl_descriptor out;
    struct hl_upload_counts counts;
    struct hl_error err;
    char expected[256];
    registry_clear(&server);
    struct hl_target *target = open_target("v1", "");
    CHECK_OK(target->class->content(target, &bytes->content, NULL, &out, &err), err);
    CHECK(!strcmp(out.digest, bytes->content.digest) && out.bytes == BYTES);
    CHECK_OK(target->class->content(target, &bytes->content, NULL, &out, &err), err);
    CHECK_OK(target->class->document(target, &inner, config, &err), err);
    CHECK(registry_find(inner.digest) >= 0);
    CHECK_OK(target->class->document(target, &manifest, text, &err), err);
    CHECK_OK(target->class->publish(target, &manifest, text, &err), err);
    snprintf(expected, sizeof expected, "%s\n%s\n%s", manifest.digest, HL_DOCKER_MANIFEST, text);
    CHECK_SAY(registry.manifests == 2 && !strcmp(registry.manifest[0], expected), "%s", registry.manifest[0]);
    snprintf(expected, sizeof expected, "v1\n%s\n%s", HL_DOCKER_MANIFEST, text);
    CHECK_SAY(!strcmp(registry.manifest[1], expected), "%s", registry.manifest[1]);
    hl_target_uploads(target, &counts);
    CHECK(counts.sent == 1 && counts.present == 1 && counts.bytes == BYTES + strlen(config));
    hl_target_close(&target);
    target = open_target("", inner.digest);
    CHECK_FAILS(target->class->publish(target, &manifest, text, &err), err, "not the one that the reference names");
    hl_target_close(&target);
    free_bytes(bytes);
}

static void test_referrers(void)
{
    static const char subject[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char tag[] = "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    char text[2][512];
    struct hl_error err;
    for (int known = 0; known < 2; known++) {
        registry_clear(&server);
        registry.knows_subject = known;
        struct hl_target *target = open_target("v1", "");
        for (int i = 0; i < 2; i++) {
            snprintf(text[i], sizeof *text,
                     "{\"schemaVersion\":2,\"artifactType\":\"test/%d\",\"subject\":{\"digest\":\"%s\"},"
                     "\"annotations\":{\"a\":\"b\"}}",
                     i, subject);
            struct hl_descriptor manifest = describe(HL_OCI_MANIFEST, text[i]);
            CHECK_OK(target->class->document(target, &manifest, text[i], &err), err);
            CHECK_OK(target->class->publish(target, &manifest, text[i], &err), err);
        }
        hl_target_close(&target);
        /* twice two manifests, and the index after each of them but not after the repetitions */
        CHECK_SAY(registry.manifests == (known ? 4 : 6), "%u manifests", registry.manifests);
        const char *index = registry.manifest[registry.manifests - 2];
        CHECK(known || (!strncmp(index, tag, strlen(tag)) && strstr(index, "test/0") && strstr(index, "test/1") &&
                        strstr(index, "\"annotations\":{\"a\":\"b\"}")));
    }
    registry_clear(&server);
    snprintf(registry.manifest[registry.manifests++], sizeof *registry.manifest, "%sx\n{\"config\":{}}", tag);
    struct hl_target *target = open_target("v1", "");
    struct hl_descriptor manifest = describe(HL_OCI_MANIFEST, text[0]);
    CHECK_FAILS(target->class->document(target, &manifest, text[0], &err), err, "is not an index of referrers");
    hl_target_close(&target);
}

int main(void)
{
    begin_tests();
    test_texts();
    test_whole();
    test_locations();
    test_mount();
    test_pieces();
    test_breaks();
    test_learning();
    test_too_large();
    test_ends();
    test_same_twice();
    test_streams();
    test_target();
    test_referrers();
    end_tests();
    return check_summary();
}
