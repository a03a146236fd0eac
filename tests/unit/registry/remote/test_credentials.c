/* registry/remote/find_credentials.c, docker_config.c and helper.c: files of Docker and podman, correct helpers
 * and faulty ones. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/remote/docker_config.h"
#include "registry/remote/find_credentials.h"
#include "registry/remote/helper.h"
#include "tests/unit/registry/secrets.h"
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#define DOCKER "home/.docker/config.json"
#define PODMAN "run/containers/auth.json"
#define PODMAN_HOME "home/.config/containers/auth.json"

/* "user:S3CR3T", "other:S3CR3T-2", "<token>:S3CR3T", ":", "user" in base64 */
#define USER_AUTH "dXNlcjpTM0NSM1Q="
#define OTHER_AUTH "b3RoZXI6UzNDUjNULTI="
#define TOKEN_AUTH "PHRva2VuPjpTM0NSM1Q="

#define CREDENTIALS __attribute__((cleanup(hl_credentials_free))) struct hl_credentials

static bool is_user(const struct hl_credentials *c, const char *user, const char *secret)
{
    return c->user && c->secret && !strcmp(c->user, user) && !strcmp(c->secret, secret) && !c->identity_token &&
           !c->bearer;
}

static int find(const char *host, const char *repository, struct hl_credentials *out, struct hl_error *err)
{
    memset(err, 0, sizeof *err);
    int result = hl_credentials_find(host, repository, NULL, out, err);
    CHECK_SAY(!tells(out->where), "told: %s", out->where);
    CHECK(strlen(out->where) == 0 || !hl_credentials_anonymous(out) || result < 0);
    return result;
}

/* Checks the user that a config.json's text has for this host; NULL: none. */
static void expect_user(const char *text, const char *host, const char *repository, const char *user)
{
    struct hl_docker_config config;
    struct hl_error err;
    WORKS(hl_docker_config_read(text, "FILE", host, repository, &config, &err), err);
    const char *found = config.credentials.user;
    CHECK_SAY(user ? found && !strcmp(found, user) : !found, "%s for %s/%s: %s instead of %s", text, host,
              repository ? repository : "", found ? found : "none", user ? user : "none");
    hl_credentials_free(&config.credentials);
}

#define ENTRY(key) "\"" key "\":{\"auth\":\"" USER_AUTH "\"}"
#define OTHER(key) "\"" key "\":{\"auth\":\"" OTHER_AUTH "\"}"
#define AUTHS(entries) "{\"auths\":{" entries "}}"

static void test_keys(void)
{
    expect_user(AUTHS(ENTRY("r.example")), "r.example", "a/b", "user");
    expect_user(AUTHS(ENTRY("R.Example")), "r.example", "a/b", "user");
    expect_user(AUTHS(ENTRY("https://r.example")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("http://r.example/")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("https://r.example/v1/")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("https://r.example/v2/x")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("r.example/v2/")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("r.example:5000")), "r.example:5000", NULL, "user");
    expect_user(AUTHS(ENTRY("[::1]:5000")), "[::1]:5000", NULL, "user");
    expect_user(AUTHS(ENTRY("r.example")), "r.example:5000", NULL, NULL);
    expect_user(AUTHS(ENTRY("r.example:5000")), "r.example", NULL, NULL);
    expect_user(AUTHS(ENTRY("xr.example")), "r.example", NULL, NULL);
    expect_user(AUTHS(ENTRY("r.example.evil")), "r.example", NULL, NULL);
    expect_user(AUTHS(ENTRY("https://evil/r.example")), "r.example", NULL, NULL);
    expect_user(AUTHS(ENTRY("https://r.example@evil")), "r.example", NULL, NULL);
    expect_user(AUTHS(OTHER("https://r.example") "," ENTRY("r.example")), "r.example", NULL, "user");
    expect_user(AUTHS(ENTRY("")), "r.example", NULL, NULL);
    expect_user(AUTHS(ENTRY("https://index.docker.io/v1/")), "registry-1.docker.io", "library/a", "user");
    expect_user(AUTHS(ENTRY("https://index.docker.io/v1/")), "docker.io", "library/a", "user");
    expect_user(AUTHS(ENTRY("docker.io")), "registry-1.docker.io", "library/a", "user");
    expect_user(AUTHS(ENTRY("docker.io")), "docker.io.evil", "library/a", NULL);
}

static void test_namespaces(void)
{
    const char *text = AUTHS(ENTRY("r.example") "," OTHER("r.example/team/") "," ENTRY("r.example/team/app/x"));
    expect_user(text, "r.example", "a", "user");
    expect_user(text, "r.example", NULL, "user");
    expect_user(text, "r.example", "team", "other");
    expect_user(text, "r.example", "team/app", "other");
    expect_user(text, "r.example", "team/app/x", "user");
    expect_user(text, "r.example", "team/app/xy", "other");
    expect_user(text, "r.example", "teams", "user");
    expect_user(AUTHS(ENTRY("r.example/team")), "r.example", "other", NULL);
    expect_user(AUTHS(ENTRY("r.example/team")), "r.example", NULL, NULL);
    expect_user(AUTHS(OTHER("docker.io") "," ENTRY("docker.io/library")), "registry-1.docker.io", "library/a", "user");
}

/* Reads one entry. */
static int entry(const char *json, struct hl_docker_config *config, struct hl_error *err)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"auths\":{\"r.example\":%s}}", json);
    return hl_docker_config_read(text, "FILE", "r.example", NULL, config, err);
}

static void test_entries(void)
{
    static const char *const nothing[] = {"{}",
                                          "null",
                                          "{\"auth\":\"\"}",
                                          "{\"auth\":\"Og==\"}",
                                          "{\"email\":\"e\"}",
                                          "{\"username\":\"\",\"password\":\"" MARK "\"}"};
    static const char *const broken[] = {"[]",
                                         "\"" MARK "\"",
                                         "1",
                                         "{\"auth\":1}",
                                         "{\"auth\":{\"" MARK "\":1}}",
                                         "{\"identitytoken\":[\"" MARK "\"]}",
                                         "{\"username\":\"u\",\"password\":1}"};
    static const char *const bad[] = {MARK,
                                      "dXNlcg==",
                                      "dXNlcjpTM0NSM1Q",
                                      "dXNlcjpTM0N=M1Q=",
                                      "dXNl cjpTM0NSM1Q=",
                                      "====",
                                      "dXNlcjpTM0NSM1QAUzNDUjNU" /* a NUL within */};
    struct hl_docker_config c;
    struct hl_error err;
    WORKS(entry("{\"username\":\"u\",\"password\":\"" MARK "\"}", &c, &err), err);
    CHECK(is_user(&c.credentials, "u", MARK));
    hl_credentials_free(&c.credentials);
    WORKS(entry("{\"auth\":\"" USER_AUTH "\",\"identitytoken\":\"" MARK "-id\"}", &c, &err), err);
    CHECK(!c.credentials.user && !strcmp(c.credentials.identity_token, MARK "-id"));
    hl_credentials_free(&c.credentials);
    WORKS(entry("{\"auth\":\"" TOKEN_AUTH "\"}", &c, &err), err);
    CHECK(!c.credentials.user && !strcmp(c.credentials.identity_token, MARK));
    hl_credentials_free(&c.credentials);
    WORKS(entry("{\"auth\":\"" USER_AUTH "\",\"registrytoken\":\"" MARK "-reg\"}", &c, &err), err);
    CHECK(!c.credentials.user && !strcmp(c.credentials.bearer, MARK "-reg"));
    hl_credentials_free(&c.credentials);
    WORKS(entry("{\"auth\":\"dXNlcjpTM0NSM1QAAA==\"}", &c, &err), err); /* NULs after the password */
    CHECK(is_user(&c.credentials, "user", MARK));
    hl_credentials_free(&c.credentials);
    WORKS(entry("{\"auth\":\"dTphOmI6Yw==\"}", &c, &err), err);
    CHECK(is_user(&c.credentials, "u", "a:b:c"));
    hl_credentials_free(&c.credentials);
    for (size_t i = 0; i < HL_COUNT(nothing); i++) {
        WORKS(entry(nothing[i], &c, &err), err);
        CHECK_SAY(hl_credentials_anonymous(&c.credentials), "%s", nothing[i]);
        hl_credentials_free(&c.credentials);
    }
    for (size_t i = 0; i < HL_COUNT(broken); i++)
        FAILS(entry(broken[i], &c, &err), err, "FILE: the entry of \"auths\" for r.example");
    for (size_t i = 0; i < HL_COUNT(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"auth\":\"%s\"}", bad[i]);
        FAILS(entry(text, &c, &err), err, "base64");
    }
}

static void test_documents(void)
{
    static const struct {
        const char *text, *word;
    } bad[] = {
        {"{\"auths\":{\"r.example\":{\"auth\":\"" MARK, "FILE"},
        {"[\"" MARK "\"]", "object"},
        {MARK, "FILE"},
        {"{\"auths\":[\"" MARK "\"]}", "\"auths\" is not an object"},
        {"{\"auths\":\"" MARK "\"}", "\"auths\" is not an object"},
        {"{\"credHelpers\":\"" MARK "\"}", "\"credHelpers\" is not an object"},
        {"{\"credHelpers\":{\"r.example\":1}}", "credHelpers"},
        {"{\"credHelpers\":{\"r.example\":\"../" MARK "\"}}", "credHelpers"},
        {"{\"credHelpers\":{\"r.example\":\".hidden\"}}", "credHelpers"},
        {"{\"credsStore\":\"a/b\"}", "credsStore"},
        {"{\"credsStore\":\"a b\"}", "credsStore"},
        {"{\"credsStore\":\"" MARK "-0123456789012345678901234567890123456789012345678901234567890\"}", "letters"},
        {"{\"credsStore\":{}}", "credsStore"},
        {"{} " MARK, "FILE"}};
    struct hl_docker_config c;
    struct hl_error err;
    for (size_t i = 0; i < HL_COUNT(bad); i++)
        FAILS(hl_docker_config_read(bad[i].text, "FILE", "r.example", NULL, &c, &err), err, bad[i].word);
    expect_user("", "r.example", NULL, NULL);
    expect_user(" \n", "r.example", NULL, NULL);
    expect_user("{}", "r.example", NULL, NULL);
    expect_user("{\"auths\":null,\"credHelpers\":null,\"credsStore\":null}", "r.example", NULL, NULL);
    expect_user(AUTHS("\"other.example\":7," ENTRY("r.example")), "r.example", NULL, "user");
    WORKS(hl_docker_config_read("{\"credsStore\":\"s\",\"credHelpers\":{\"r.example\":\"h\",\"x\":1}}", "FILE",
                                "r.example", NULL, &c, &err),
          err);
    CHECK(!strcmp(c.helper, "h") && !c.store && !strcmp(c.server, "r.example"));
    WORKS(hl_docker_config_read("{\"credsStore\":\"s\",\"credHelpers\":{\"r.example\":\"\"}}", "FILE", "r.example",
                                NULL, &c, &err),
          err);
    CHECK(!*c.helper);
    WORKS(hl_docker_config_read("{\"credsStore\":\"s\"}", "FILE", "registry-1.docker.io", NULL, &c, &err), err);
    CHECK(!strcmp(c.helper, "s") && c.store && !strcmp(c.server, "https://index.docker.io/v1/"));
}

/* The order of the files, as each appears and disappears. */
static void test_files(void)
{
    struct hl_error err;
    static const struct {
        const char *path, *user;
    } order[] = {{PODMAN_HOME, "four"}, {PODMAN, "three"}, {DOCKER, "two"}, {"first.json", "one"}};
    {
        CREDENTIALS c;
        WORKS(find("r.example", "a", &c, &err), err);
        CHECK(hl_credentials_anonymous(&c));
    }
    setenv("REGISTRY_AUTH_FILE", at("first.json"), 1);
    for (size_t i = 0; i < HL_COUNT(order); i++) {
        CREDENTIALS c;
        write_file(at("%s", order[i].path),
                   "{\"auths\":{\"r.example\":{\"username\":\"%s\",\"password\":\"" MARK "\"}}}", order[i].user);
        WORKS(find("r.example", "a", &c, &err), err);
        CHECK_SAY(is_user(&c, order[i].user, MARK), "%s", order[i].path);
        CHECK_SAY(strstr(c.where, "auths in ") && strstr(c.where, strrchr(order[i].path, '/') ?: "first.json"), "%s",
                  c.where);
    }
    unsetenv("REGISTRY_AUTH_FILE");
    {
        CREDENTIALS c;
        WORKS(find("r.example", "a", &c, &err), err);
        CHECK(is_user(&c, "two", MARK) && !strcmp(c.where, "auths in ~/.docker/config.json"));
    }
    setenv("DOCKER_CONFIG", at("bin"), 1); /* without it: podman's file */
    {
        CREDENTIALS c;
        WORKS(find("r.example", "a", &c, &err), err);
        CHECK(is_user(&c, "three", MARK));
    }
    unsetenv("DOCKER_CONFIG");
    write_file(at(DOCKER), AUTHS("\"r.example\":{}")); /* an entry without credentials, as with a credsStore */
    {
        CREDENTIALS c;
        WORKS(find("r.example", "a", &c, &err), err);
        CHECK(is_user(&c, "three", MARK));
    }
    unlink(at(PODMAN));
    unlink(at(PODMAN_HOME));
}

static void test_broken_files(void)
{
    struct hl_error err;
    CREDENTIALS c;
    write_file(at(DOCKER), "{\"auths\":{\"r.example\":{\"auth\":\"" MARK "\"");
    FAILS(find("r.example", "a", &c, &err), err, "~/.docker/config.json");
    write_file(at(DOCKER), "{\"auths\":\"" MARK "\"}%c" MARK, 0);
    FAILS(find("r.example", "a", &c, &err), err, "~/.docker/config.json: it is not text");
    FILE *file = fopen(at(DOCKER), "wb");
    for (size_t i = 0; file && i <= HL_SECRET_FILE_LIMIT; i++)
        fputc(' ', file);
    CHECK(file && !fclose(file));
    FAILS(find("r.example", "a", &c, &err), err, "1024 KiB");
    unlink(at(DOCKER));
    mkdir(at(DOCKER), 0700);
    FAILS(find("r.example", "a", &c, &err), err, "~/.docker/config.json: cannot be read");
    rmdir(at(DOCKER));
    if (getuid()) {
        write_file(at(DOCKER), "{}");
        chmod(at(DOCKER), 0);
        FAILS(find("r.example", "a", &c, &err), err, "~/.docker/config.json: cannot be opened");
        unlink(at(DOCKER));
    }
}

/* Writes a script docker-credential-NAME. */
static void helper(const char *name, const char *script)
{
    char *path = at("bin/docker-credential-%s", name);
    write_file(path, "#!/bin/sh\n%s\n", script);
    chmod(path, 0755);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_helper_answers(void)
{
    struct hl_error err;
    helper("good", "read host; [ \"$1\" = get ] && "
                   "echo '{\"ServerURL\":\"'$host'\",\"Username\":\"'$host'\",\"Secret\":\"" MARK "\"}'");
    helper("token", "cat >/dev/null; echo '{\"Username\":\"<token>\",\"Secret\":\"" MARK "\"}'");
    helper("empty", "echo '{\"Username\":\"\",\"Secret\":\"\"}'");
    helper("unread", "exec 0<&-; echo '{\"Username\":\"u\",\"Secret\":\"" MARK "\"}'");
    helper("none", "echo 'credentials not found in native keychain'; exit 1");
    helper("none2", "echo 'Error: credentials not found in native keychain' >&2; exit 1");
    CREDENTIALS c = {0};
    WORKS(hl_helper_get("good", "r.example:5000", 30, &c, &err), err);
    CHECK(is_user(&c, "r.example:5000", MARK));
    hl_credentials_free(&c);
    WORKS(hl_helper_get("token", "r.example", 30, &c, &err), err);
    CHECK(!c.user && c.identity_token && !strcmp(c.identity_token, MARK));
    hl_credentials_free(&c);
    WORKS(hl_helper_get("unread", "r.example", 30, &c, &err), err);
    CHECK(is_user(&c, "u", MARK));
    hl_credentials_free(&c);
    static const char *const nothing[] = {"empty", "none", "none2"};
    for (size_t i = 0; i < 3; i++) {
        WORKS(hl_helper_get(nothing[i], "r.example", 30, &c, &err), err);
        CHECK(hl_credentials_anonymous(&c));
    }
}

static void test_helper_failures(void)
{
    struct hl_error err;
    CREDENTIALS c = {0};
    helper("says",
           "echo; printf 'the \\033[31mkeyring\\302\\233 is locked\\nsecond line\\n' >&2; echo " MARK "; exit 3");
    helper("mute", "echo 'could not unlock: " MARK "'; exit 1");
    helper("killed", "kill -9 $$");
    helper("chatter", "exec yes " MARK);
    helper("noise", "yes " MARK " | head -c 300000 >&2; echo '{\"Username\":\"u\",\"Secret\":\"x\"}'");
    helper("garbage", "echo '{\"Username\":\"" MARK "'");
    helper("half", "echo '{\"Username\":\"" MARK "\"}'");
    helper("silent", "exit 0");
    FAILS(hl_helper_get("says", "r.example", 30, &c, &err), err,
          "docker-credential-says failed (exit 3): the ?[31mkeyring?? is locked");
    CHECK(!strstr(err.message, "second"));
    FAILS(hl_helper_get("mute", "r.example", 30, &c, &err), err,
          "'echo r.example | docker-credential-mute get' shows why");
    FAILS(hl_helper_get("killed", "r.example", 30, &c, &err), err, "signal 9");
    FAILS(hl_helper_get("chatter", "r.example", 30, &c, &err), err, "more than 256 KiB");
    FAILS(hl_helper_get("garbage", "r.example", 30, &c, &err), err, "not the JSON of a credential helper");
    FAILS(hl_helper_get("half", "r.example", 30, &c, &err), err, "lacks");
    FAILS(hl_helper_get("silent", "r.example", 30, &c, &err), err, "not the JSON of a credential helper");
    FAILS(hl_helper_get("absent", "r.example", 30, &c, &err), err, "docker-credential-absent is not in PATH");
    FAILS(hl_helper_get("../bin/docker-credential-good", "r.example", 30, &c, &err), err, "not by path");
    WORKS(hl_helper_get("noise", "r.example", 30, &c, &err), err);
    CHECK(is_user(&c, "u", "x"));
}

/* Returns the process id that a script left in the scratch folder's file "pid", or 0. */
static pid_t left_pid(void)
{
    char text[32] = "";
    HL_FCLOSE FILE *file = fopen(at("pid"), "r");
    return file && fgets(text, sizeof text, file) ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* The helper is killed with all processes that it started. */
static void test_helper_time(void)
{
    struct hl_error err;
    CREDENTIALS c = {0};
    char script[1024];
    snprintf(script, sizeof script, "sleep 600 & echo $! >%s; wait", at("pid"));
    helper("slow", script);
    double begin = seconds_now();
    FAILS(hl_helper_get("slow", "r.example", 1, &c, &err), err, "did not answer within 1 s");
    double took = seconds_now() - begin;
    CHECK_SAY(took > 0.9 && took < 10, "%.1f s", took);
    pid_t pid = left_pid();
    bool gone = false;
    for (unsigned i = 0; pid > 0 && i < 500 && !gone; i++) {
        char state[64], line[256] = "";
        snprintf(state, sizeof state, "/proc/%d/stat", (int)pid);
        HL_FCLOSE FILE *stat = fopen(state, "r");
        gone = !stat || !fgets(line, sizeof line, stat) || strstr(line, ") Z");
        usleep(10000);
    }
    CHECK(pid > 0 && gone);
}

/* A helper that leaves a process with its stdout open has still answered; and that process lives on. */
static void test_helper_daemon(void)
{
    struct hl_error err;
    CREDENTIALS c = {0};
    char script[1024];
    snprintf(script, sizeof script,
             "( while [ ! -e %s ]; do sleep 0.05; done; rm -f %s ) & echo '{\"Username\":\"u\",\"Secret\":\"" MARK
             "\"}'",
             at("end"), at("end"));
    helper("daemon", script);
    WORKS(hl_helper_get("daemon", "r.example", 10, &c, &err), err);
    CHECK(is_user(&c, "u", MARK));
    write_file(at("end"), "x");
    bool gone = false;
    for (unsigned i = 0; i < 1000 && !gone; i++) {
        gone = access(at("end"), F_OK) != 0;
        usleep(10000);
    }
    CHECK(gone);
}

/* PATH's relative folders are not searched; a closed stdin and ignored signals have no effect. */
static void test_helper_surroundings(void)
{
    struct hl_error err;
    CREDENTIALS c = {0};
    char old[4096], here[4096];
    snprintf(old, sizeof old, "%s", getenv("PATH"));
    CHECK(getcwd(here, sizeof here) && !chdir(at("bin")));
    setenv("PATH", ".::bin:/nonexistent", 1);
    FAILS(hl_helper_get("unread", "r.example", 30, &c, &err), err, "not in PATH");
    setenv("PATH", old, 1);
    CHECK(!chdir(here));
    int saved[3];
    for (int i = 0; i < 3; i++)
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 3; i++)
        close(i);
    int result = hl_helper_get("good", "r.example", 30, &c, &err);
    for (int i = 0; i < 3; i++)
        if (saved[i] >= 0)
            dup2(saved[i], i), close(saved[i]);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    WORKS(result, err);
    CHECK(is_user(&c, "r.example", MARK));
}

/* The order of helpers and entries in the files; a helper's failure stops the search. */
static void test_helpers_in_files(void)
{
    struct hl_error err;
    helper("store", "read host; [ $host = in.store ] || { echo credentials not found in native keychain; exit 1; }; "
                    "echo '{\"Username\":\"stored\",\"Secret\":\"" MARK "\"}'");
    helper("own", "echo '{\"Username\":\"own\",\"Secret\":\"" MARK "\"}'");
    helper("broken", "echo locked >&2; exit 1");
    write_file(at(DOCKER), "{\"credsStore\":\"store\","
                           "\"credHelpers\":{\"own.example\":\"own\",\"file.example\":\"\",\"bad.example\":\"broken\","
                           "\"gone.example\":\"absent\"},"
                           "\"auths\":{\"in.store\":{},\"file.example\":{\"auth\":\"" USER_AUTH "\"},"
                           "\"own.example\":{\"auth\":\"" USER_AUTH "\"},\"r.example\":{\"auth\":\"" USER_AUTH "\"}}}");
    write_file(at(PODMAN), AUTHS(OTHER("podman.example") "," OTHER("bad.example")));
    static const struct {
        const char *host, *user, *where;
    } expected[] = {{"in.store", "stored", "credsStore in ~/.docker/config.json"},
                    {"own.example", "own", "credHelpers in ~/.docker/config.json"},
                    {"file.example", "user", "auths in ~/.docker/config.json"},
                    {"r.example", "user", "auths in ~/.docker/config.json"},
                    {"podman.example", "other", "auths in "}};
    for (size_t i = 0; i < HL_COUNT(expected); i++) {
        CREDENTIALS c;
        WORKS(find(expected[i].host, "a", &c, &err), err);
        CHECK_SAY(c.user && !strcmp(c.user, expected[i].user) &&
                      !strncmp(c.where, expected[i].where, strlen(expected[i].where)),
                  "%s: %s of %s", expected[i].host, c.user ? c.user : "nobody", c.where);
    }
    CREDENTIALS c;
    FAILS(find("bad.example", "a", &c, &err), err,
          "credHelpers in ~/.docker/config.json: docker-credential-broken failed (exit 1): locked");
    FAILS(find("gone.example", "a", &c, &err), err, "docker-credential-absent is not in PATH");
    unlink(at(DOCKER));
    unlink(at(PODMAN));
}

int main(void)
{
    char path[4096];
    scratch_open();
    snprintf(path, sizeof path, "%s:/usr/local/bin:/usr/bin:/bin", at("bin"));
    setenv("PATH", path, 1);
    test_keys();
    test_namespaces();
    test_entries();
    test_documents();
    test_files();
    test_broken_files();
    test_helper_answers();
    test_helper_failures();
    test_helper_time();
    test_helper_daemon();
    test_helper_surroundings();
    test_helpers_in_files();
    scratch_close();
    return check_summary();
}
