/* registry/oci/reference.c: names of images in registries, and names that are refused. base/parallel.c: a loop on
 * several threads. */
#include "base/cleanup.h"
#include "base/parallel.h"
#include "base/sizes.h"
#include "registry/oci/reference.h"
#include "tests/unit/check.h"
#include <stdatomic.h>

#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct hl_error err;

static void test_good(void)
{
    static const struct {
        const char *text, *host, *repository, *tag, *digest;
    } cases[] = {
        {"eu-docker.pkg.dev/project/repo/gemma", "eu-docker.pkg.dev", "project/repo/gemma", "latest", ""},
        {"eu-docker.pkg.dev/project/repo/gemma:v1.0_a-B", "eu-docker.pkg.dev", "project/repo/gemma", "v1.0_a-B", ""},
        {"ghcr.io/a/b@" DIGEST, "ghcr.io", "a/b", "", DIGEST},
        {"ghcr.io/a/b:c@" DIGEST, "ghcr.io", "a/b", "c", DIGEST},
        {"localhost/a", "localhost", "a", "latest", ""},
        {"localhost:5000/a:1", "localhost:5000", "a", "1", ""},
        {"LocalHost:5000/a:1", "localhost:5000", "a", "1", ""},
        {"registry:5000/a__b/c---d/e.f:_", "registry:5000", "a__b/c---d/e.f", "_", ""},
        {"127.0.0.1:5000/a", "127.0.0.1:5000", "a", "latest", ""},
        {"[::1]/a", "[::1]", "a", "latest", ""},
        {"[2001:DB8::1]:5000/a:b", "[2001:db8::1]:5000", "a", "b", ""},
        {"docker.io/ubuntu", "registry-1.docker.io", "library/ubuntu", "latest", ""},
        {"Docker.IO/ubuntu:22.04", "registry-1.docker.io", "library/ubuntu", "22.04", ""},
        {"index.docker.io/a/b:c", "registry-1.docker.io", "a/b", "c", ""},
        {"docker://docker.io/a/b", "registry-1.docker.io", "a/b", "latest", ""},
        {"oci://gcr.io/a/b", "gcr.io", "a/b", "latest", ""},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_reference r, again;
        char text[HL_REFERENCE_BYTES];
        if (!CHECK_OK(hl_reference_parse(cases[i].text, &r, &err), err))
            continue;
        CHECK_SAY(!strcmp(r.host, cases[i].host) && !strcmp(r.repository, cases[i].repository) &&
                      !strcmp(r.tag, cases[i].tag) && !strcmp(r.digest, cases[i].digest),
                  "%s: %s | %s | %s | %s", cases[i].text, r.host, r.repository, r.tag, r.digest);
        /* The printed reference means the same. */
        CHECK_OK(hl_reference_parse(hl_reference_text(&r, text), &again, &err), err);
        CHECK_SAY(!memcmp(&r, &again, sizeof r), "%s is printed as %s", cases[i].text, text);
    }
}

static void test_bad(void)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "does not begin with a registry's host"},
        {"ubuntu", "docker.io/library/ubuntu"},
        {"ubuntu:22.04", "docker.io/library/ubuntu:22.04"},
        {"library/ubuntu", "docker.io/library/ubuntu"},
        {"docker://ollama/ollama:latest", "docker.io/ollama/ollama:latest"},
        {"./model.hot", "does not begin with a registry's host"},
        {"../a/b", "does not begin with a registry's host"},
        {"/a/b", "does not begin with a registry's host"},
        {"https://ghcr.io/a", "does not begin with a registry's host"},
        {"user@ghcr.io/a", "does not begin with a registry's host"},
        {"ghcr.io", "no repository"},
        {"ghcr.io/", "no repository"},
        {"localhost:5000", "no repository"},
        {"host:port/a", "does not begin with a registry's host"},
        {"host:99999/a", "does not begin with a registry's host"},
        {"host.io:/a", "does not begin with a registry's host"},
        {"[::g]/a", "does not begin with a registry's host"},
        {"ghcr.io/A/b", "an invalid repository"},
        {"ghcr.io/a//b", "an invalid repository"},
        {"ghcr.io/a/", "an invalid repository"},
        {"ghcr.io//a", "an invalid repository"},
        {"ghcr.io/a-", "an invalid repository"},
        {"ghcr.io/-a", "an invalid repository"},
        {"ghcr.io/a..b", "an invalid repository"},
        {"ghcr.io/a.-b", "an invalid repository"},
        {"ghcr.io/a___b", "an invalid repository"},
        {"ghcr.io/a/../b", "an invalid repository"},
        {"ghcr.io/a b", "an invalid repository"},
        {"ghcr.io/a?b", "an invalid repository"},
        {"ghcr.io/a%2fb", "an invalid repository"},
        {"ghcr.io/:tag", "an invalid repository"},
        {"ghcr.io/a:", "an invalid tag"},
        {"ghcr.io/a:-b", "an invalid tag"},
        {"ghcr.io/a:b:c", "an invalid tag"},
        {"ghcr.io/a:b/c", "an invalid tag"},
        {"ghcr.io/a@", "an invalid digest"},
        {"ghcr.io/a@sha256:12", "an invalid digest"},
        {"ghcr.io/a@sha512:12", "an invalid digest"},
        {"ghcr.io/a@" DIGEST "0", "an invalid digest"},
        {"ghcr.io/a@" DIGEST ":b", "an invalid digest"},
        {"ghcr.io/a@" DIGEST "@" DIGEST, "an invalid digest"},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_reference r;
        err.message[0] = 0;
        CHECK_SAY(hl_reference_parse(cases[i].text, &r, &err) && strstr(err.message, cases[i].word) &&
                      err.kind == HL_ERROR_USAGE,
                  "'%s': no '%s' in '%s'", cases[i].text, cases[i].word, err.message);
    }
}

static void test_lengths(void)
{
    char text[600];
    struct hl_reference r;
    for (int n = 240; n < 270; n++) {
        memset(text, 'a', 500);
        memcpy(text, "ghcr.io/", 8);
        text[n] = 0;
        CHECK((hl_reference_parse(text, &r, &err) == 0) == (n <= HL_NAME_LIMIT));
        memcpy(text, "docker.io/", 10); /* stands for 21 more characters, with "library/": 11 + 8 */
        CHECK((hl_reference_parse(text, &r, &err) == 0) == (n + 11 + 8 <= HL_NAME_LIMIT));
        memset(text, 'a', 500);
        memcpy(text + n - 2, ".b/c", 5); /* a long host */
        CHECK((hl_reference_parse(text, &r, &err) == 0) == (n + 2 <= HL_NAME_LIMIT));
    }
    memset(text, 'a', 500);
    memcpy(text, "ghcr.io/a:", 10);
    text[10 + 128] = 0;
    CHECK_OK(hl_reference_parse(text, &r, &err), err);
    text[10 + 128] = 'a';
    text[10 + 129] = 0;
    CHECK_FAILS(hl_reference_parse(text, &r, &err), err, "an invalid tag");
}

static void test_likely(void)
{
    static const char *yes[] = {"ghcr.io/a",       "localhost:5000/a:b", "oci://x",
                                "docker://ubuntu", "ghcr.io/A",          "[::1]:5/a"};
    static const char *no[] = {"model.hot",
                               "./model.hot",
                               "../a.b/c",
                               "/tmp",
                               "models/a.hot",
                               "oci:dir.d/a",
                               "oci:5000/a",
                               "oci:a:b",
                               "oci-archive:1/a.tar",
                               "hf://a/b",
                               "gs://a.b/c",
                               "https://a.b/c",
                               "tests.d",
                               "localhost",
                               "ollama://a",
                               ""};
    for (size_t i = 0; i < HL_COUNT(yes); i++)
        CHECK_SAY(hl_reference_likely(yes[i]), "%s is a reference", yes[i]);
    for (size_t i = 0; i < HL_COUNT(no); i++)
        CHECK_SAY(!hl_reference_likely(no[i]), "%s is not a reference", no[i]);
    /* If a file of this name exists, the name means the file, even if it could be a reference. */
    char folder[] = "/tmp/hotlayer-reference.XXXXXX", *name = strrchr(folder, '/') + 1, path[64];
    if (!CHECK(mkdtemp(folder) != NULL && !chdir("/tmp")))
        return;
    snprintf(path, sizeof path, "%s/a", name);
    CHECK(hl_reference_likely(path));
    fclose(fopen(path, "wb"));
    CHECK(!hl_reference_likely(path));
    CHECK(!unlink(path) && !rmdir(folder));
}

static void test_loopback(void)
{
    static const char *yes[] = {"localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80",
                                "[::1]",     "[::1]:5000",     "LOCALHOST"};
    static const char *no[] = {"localhost.example.com", "x.localhost", "localhost.",      "128.0.0.1",   "[::2]",
                               "0.0.0.0:5000",          "10.0.0.1",    "169.254.169.254", "example.com", "",
                               "127.0.0.1.example.com", "::1"};
    for (size_t i = 0; i < HL_COUNT(yes); i++)
        CHECK_SAY(hl_reference_is_loopback(yes[i]), "%s is loopback", yes[i]);
    for (size_t i = 0; i < HL_COUNT(no); i++)
        CHECK_SAY(!hl_reference_is_loopback(no[i]), "%s is not loopback", no[i]);
}

struct rounds {
    _Atomic unsigned begun, running, most;
    _Atomic unsigned seen[100];
    size_t fails;
    unsigned wanted; /* rounds wait until this many ran at once */
};

static int round_of(void *context, size_t i, struct hl_error *e)
{
    struct rounds *r = context;
    unsigned running = ++r->running;
    if (running > r->most)
        r->most = running;
    r->begun++;
    r->seen[i]++;
    while (r->wanted && r->most < r->wanted)
        ;
    r->running--;
    return i == r->fails ? hl_fail(e, "round %zu failed", i) : 0;
}

static void test_parallel(void)
{
    static const unsigned jobs[] = {0, 1, 2, 7, 200};
    for (size_t k = 0; k < HL_COUNT(jobs); k++) {
        struct rounds r = {.fails = 1000};
        CHECK_OK(hl_parallel(100, jobs[k], round_of, &r, &err), err);
        CHECK(r.begun == 100 && r.most <= (jobs[k] ? jobs[k] : 1));
        for (size_t i = 0; i < 100; i++)
            CHECK(r.seen[i] == 1);
    }
    struct rounds together = {.fails = 1000, .wanted = 4};
    CHECK_OK(hl_parallel(20, 4, round_of, &together, &err), err);
    CHECK(together.most == 4);
    struct rounds failing = {.fails = 5};
    CHECK_FAILS(hl_parallel(100, 1, round_of, &failing, &err), err, "round 5 failed");
    CHECK(failing.begun == 6);
    struct rounds none = {.fails = 1000};
    CHECK_OK(hl_parallel(0, 4, round_of, &none, &err), err);
    CHECK(none.begun == 0);
}

int main(void)
{
    test_good();
    test_bad();
    test_lengths();
    test_likely();
    test_loopback();
    test_parallel();
    return check_summary();
}
