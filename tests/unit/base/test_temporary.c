/* base/temporary.c: a file appears whole or not at all, also where the disk is full or the name is taken. */
#include "base/cleanup.h"
#include "base/temporary.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static int folder;

static bool has(const char *name, const char *text)
{
    HL_FREE char *found = read_file(at("%s", name));
    return found && !strcmp(found, text);
}

static void test_save(void)
{
    struct hl_error err;
    struct stat status;
    mode_t before = umask(022);
    CHECK_OK(hl_temporary_save(folder, "index", "one", &err), err);
    CHECK(has("index", "one") && count_files(scratch) == 1);
    CHECK(!fstatat(folder, "index", &status, 0) && (status.st_mode & 07777) == 0644);
    CHECK_OK(hl_temporary_save(folder, "index", "two, and longer", &err), err);
    CHECK(has("index", "two, and longer") && count_files(scratch) == 1);
    CHECK_OK(hl_temporary_save(folder, "index", "", &err), err);
    CHECK(has("index", "") && count_files(scratch) == 1);
    umask(before);
}

/* Nothing has a name before it is published, and discarding is harmless in every state. */
static void test_steps(void)
{
    struct hl_error err;
    struct hl_temporary file;
    CHECK_OK(hl_temporary_open(&file, folder, &err), err);
    CHECK_OK(hl_temporary_write(&file, "half", 4, &err), err);
    CHECK(!has("steps", "half"));
    hl_temporary_discard(&file);
    hl_temporary_discard(&file);
    CHECK(file.fd == -1 && count_files(scratch) == 1);
    CHECK_OK(hl_temporary_open(&file, folder, &err), err);
    CHECK_OK(hl_temporary_write(&file, "whole", 5, &err), err);
    CHECK_OK(hl_temporary_publish(&file, "steps", &err), err);
    hl_temporary_discard(&file);
    CHECK(has("steps", "whole") && count_files(scratch) == 2);
}

/* A limit on the size of files stands for a full disk. */
static void test_full_disk(void)
{
    struct hl_error err;
    struct rlimit before, low;
    CHECK_OK(hl_temporary_save(folder, "full", "old", &err), err);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!getrlimit(RLIMIT_FSIZE, &before));
    low = (struct rlimit){4, before.rlim_max};
    CHECK(!setrlimit(RLIMIT_FSIZE, &low));
    int result = hl_temporary_save(folder, "full", "longer than the limit", &err);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_FAILS(result, err, "cannot write");
    CHECK(has("full", "old") && count_files(scratch) == 3);
}

static void test_refused(void)
{
    struct hl_error err;
    CHECK(!mkdirat(folder, "taken", 0755));
    CHECK_FAILS(hl_temporary_save(folder, "taken", "x", &err), err, "cannot name the file taken");
    CHECK_FAILS(hl_temporary_save(folder, "absent/name", "x", &err), err, "cannot name the file");
    CHECK(count_files(scratch) == 4);
    CHECK_FAILS(hl_temporary_save(-1, "name", "x", &err), err, "cannot create a file");
}

int main(void)
{
    if (!scratch_open("temporary"))
        return 1;
    folder = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    test_save();
    test_steps();
    test_full_disk();
    test_refused();
    close(folder);
    CHECK(scratch_close());
    return check_summary();
}
