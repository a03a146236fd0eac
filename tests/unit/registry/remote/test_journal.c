/* registry/remote/journal.c: interrupted pushes that resume, entries that are in use, old or malformed, places to mount
 * from. */
#include "registry/remote/journal.h"
#include "tests/unit/registry/remote/uploads.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* Counts the journal's files whose names end in `suffix`; puts the first one's path into `path`. */
static unsigned journal_files(const char *suffix, char path[512])
{
    unsigned n = 0;
    DIR *dir = opendir(journal);
    for (struct dirent *item; dir && (item = readdir(dir));) {
        size_t length = strlen(item->d_name);
        if (length < 64 || strcmp(item->d_name + 64, suffix) != 0)
            continue;
        if (path)
            snprintf(path, 512, "%s/%s", journal, item->d_name);
        n++;
    }
    if (dir)
        closedir(dir);
    return n;
}

static unsigned mode_of(const char *path)
{
    struct stat status;
    return stat(path, &status) ? 0 : status.st_mode & 07777;
}

static void age(const char *path, int days)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= days * 86400l;
    times[1] = times[0];
    CHECK(!utimensat(AT_FDCWD, path, times, 0));
}

static bool overwrite(const char *path, const char *text)
{
    HL_FCLOSE FILE *file = fopen(path, "wb");
    return file && fputs(text, file) >= 0;
}

/* A push that stops in the middle, as after a kill. */
static void stop_at(struct bytes *bytes, uint64_t at)
{
    bytes->fails_at = at;
    struct result result = upload(bytes, NULL, journal);
    CHECK_SAY(result.status && strstr(result.err.message, "on fire"), "'%s'", result.err.message);
    bytes->fails_at = 0;
    for (int i = 0; i < 5000 && server.closed < server.connections; i++) /* until the registry has read the bytes that
                                                                          * arrived */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void test_resume(void)
{
    struct bytes *bytes = make_bytes((size_t)6 << 20, 12);
    uint64_t all = bytes->content.bytes;
    char path[512] = "", text[4096], place[256];
    for (int pieces = 0; pieces < 2; pieces++) {
        registry_clear(&server);
        registry.opening = pieces ? "OCI-Chunk-Max-Length: 1048576\r\n" : NULL;
        stop_at(bytes, (4 << 20) + 1000);
        CHECK_SAY(journal_files("", path) == 1 && asked("DELETE ") == 0, "the session was not kept");
        CHECK(mode_of(journal) == 0700 && mode_of(path) == 0600);
        uint64_t had = registry.session[0].n;
        CHECK_SAY(had > 0, "%llu arrived", (unsigned long long)had);
        server_clear(&server);
        struct result result = upload(bytes, NULL, journal);
        check_there(&result, bytes, "the second push");
        CHECK_SAY(result.sent == all - had && asked("POST ") == 0, "%llu of %llu were sent again",
                  (unsigned long long)(result.sent + had - all), (unsigned long long)had);
        CHECK_SAY(journal_files("", NULL) == 0, "the entry stays");
    }
    static const char *const nonsense[] = {"", "\xff{[", "{}", "{\"subject\":1,\"location\":2}"};
    for (size_t i = 0; i < 6; i++) {
        registry_clear(&server);
        stop_at(bytes, 4 << 20);
        CHECK(journal_files("", path) == 1);
        if (i < 4) {
            snprintf(text, sizeof text, "%s", nonsense[i]);
        } else { /* not a place in a registry; and a session that is alive, but of another blob */
            snprintf(place, sizeof place, i == 4 ? "file:///etc/passwd" : "http://%s/v2/a/b/blobs/uploads/0?_state=x",
                     host);
            snprintf(text, sizeof text, "{\"subject\":\"%s/a/b@%s\",\"location\":\"%s\"}", host,
                     i == 4 ? bytes->content.digest : "sha256:0", place);
        }
        CHECK(overwrite(path, text));
        struct result result = upload(bytes, NULL, journal);
        check_there(&result, bytes, "an entry of nonsense");
        CHECK(result.sent == all && journal_files("", NULL) == 0);
    }
    registry_clear(&server);
    stop_at(bytes, 4 << 20);
    registry.session[0].open = false;
    struct result result = upload(bytes, NULL, journal);
    check_there(&result, bytes, "a session that is gone");
    CHECK(journal_files("", NULL) == 0);
    free_bytes(bytes);
}

static void test_journal_in_use(void)
{
    struct bytes *bytes = make_bytes((size_t)6 << 20, 13);
    char path[512] = "", other[256];
    registry_clear(&server);
    stop_at(bytes, 4 << 20);
    CHECK(journal_files("", path) == 1);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB));
    server_clear(&server);
    struct result result = upload(bytes, NULL, journal);
    check_there(&result, bytes, "another process has the entry");
    CHECK_SAY(asked("POST ") == 1, "it used the other's session");
    CHECK_SAY(journal_files("", NULL) == 1, "it removed the other's entry");
    close(fd);
    registry.blobs = 0;
    age(path, HL_JOURNAL_DAYS + 1);
    snprintf(other, sizeof other, "%s/notes", journal);
    CHECK(overwrite(other, "mine"));
    age(other, 1000);
    struct hl_journal opened;
    hl_journal_open(journal, &opened);
    CHECK_SAY(journal_files("", NULL) == 0, "an old entry stays");
    CHECK_SAY(!access(other, F_OK), "it removed another process's file");
    hl_journal_close(&opened);
    free_bytes(bytes);
}

static void test_journal_places(void)
{
    struct bytes *bytes = make_bytes(BYTES, 14);
    struct hl_reference here = {.repository = "a/b"}, there = {.repository = "c/d"};
    struct hl_journal opened, none;
    char repository[HL_NAME_LIMIT + 1], path[512] = "";
    memcpy(here.host, host, sizeof host);
    memcpy(there.host, host, sizeof host);
    registry_clear(&server);
    hl_journal_open(journal, &opened);
    CHECK(!hl_journal_recall(&opened, &here, bytes->content.digest, repository));
    hl_journal_remember(&opened, &here, bytes->content.digest);
    CHECK_SAY(!hl_journal_recall(&opened, &here, bytes->content.digest, repository), "a mount from itself");
    CHECK(hl_journal_recall(&opened, &there, bytes->content.digest, repository) && !strcmp(repository, "a/b"));
    hl_journal_remember(&opened, &there, bytes->content.digest);
    registry.mount = 201;
    struct result result = upload(bytes, NULL, journal);
    CHECK(!result.status && result.way == HL_UPLOAD_MOUNTED && asked("&from=c%2Fd") == 1);
    CHECK(journal_files(".at", path) >= 1);
    snprintf(there.host, sizeof there.host, "elsewhere.example.org");
    CHECK_SAY(!hl_journal_recall(&opened, &there, bytes->content.digest, repository), "another host's place");
    hl_journal_close(&opened);
    hl_journal_open("", &none);
    CHECK(none.folder < 0 && !hl_journal_recall(&none, &there, bytes->content.digest, repository));
    hl_journal_remember(&none, &there, bytes->content.digest);
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    hl_journal_open(NULL, &none);
    CHECK(none.folder < 0);
    setenv("XDG_STATE_HOME", "relative", 1);
    hl_journal_open(NULL, &none);
    CHECK(none.folder < 0 && access("relative", F_OK));
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", scratch, 1);
    hl_journal_open(NULL, &none);
    snprintf(path, sizeof path, "%s/.local/state/hotlayer", scratch);
    CHECK(none.folder >= 0 && mode_of(path) == 0700);
    hl_journal_close(&none);
    free_bytes(bytes);
}

int main(void)
{
    begin_tests();
    test_resume();
    test_journal_in_use();
    test_journal_places();
    end_tests();
    return check_summary();
}
