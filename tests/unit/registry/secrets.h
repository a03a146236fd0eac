/* Tests with secrets: each secret contains MARK, and no message may show it. */
#ifndef HL_TESTS_UNIT_REGISTRY_SECRETS_H
#define HL_TESTS_UNIT_REGISTRY_SECRETS_H

#include "base/sizes.h"
#include "tests/unit/check.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "S3CR3T"

/* Returns whether a message shows the mark, or its base64 at any offset. */
static inline bool tells(const char *text)
{
    static const char *const forms[] = {MARK, "UzNDUjNU", "MzQ1IzV", "TM0NSM1"};
    for (size_t i = 0; i < HL_COUNT(forms); i++)
        if (strstr(text, forms[i]))
            return true;
    return false;
}

static inline void works(int result, const struct hl_error *err, const char *file, int line)
{
    check_that(result == 0, file, line, "failed: %s", err->message);
}

static inline void fails(int result, const struct hl_error *err, const char *word, const char *file, int line)
{
    if (check_that(result < 0, file, line, "worked, instead of '%s'", word)) {
        check_that(strstr(err->message, word) != NULL, file, line, "no '%s' in '%s'", word, err->message);
        check_that(!tells(err->message), file, line, "a secret is told: %s", err->message);
    }
}

/* Calls that must succeed, or fail with a message that contains `word` and no secret. */
#define WORKS(call, err) works((call), &(err), __FILE__, __LINE__)
#define FAILS(call, err, word) fails((call), &(err), (word), __FILE__, __LINE__)

static char scratch[256];

/* Returns a path in the scratch folder; valid until a few more are made. */
__attribute__((format(printf, 1, 2))) static inline char *at(const char *format, ...)
{
    static char path[8][512];
    static unsigned next;
    char *out = path[next++ % 8];
    size_t used = (size_t)snprintf(out, sizeof path[0], "%s/", scratch);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, sizeof path[0] - used, format, args);
    va_end(args);
    return out;
}

__attribute__((format(printf, 2, 3))) static inline void write_file(const char *path, const char *format, ...)
{
    FILE *file = fopen(path, "wb");
    va_list args;
    va_start(args, format);
    if (!file || vfprintf(file, format, args) < 0 || fclose(file)) {
        perror(path);
        exit(1);
    }
    va_end(args);
}

/* Makes the scratch folder and uses it for all files: the tests read nothing of this machine's user. */
static inline void scratch_open(void)
{
    static const char *const folders[] = {
        "home", "home/.docker",   "home/.config", "home/.config/containers", "home/.config/gcloud",
        "run",  "run/containers", "bin"};
    static const char *const unset[] = {"DOCKER_CONFIG",
                                        "REGISTRY_AUTH_FILE",
                                        "XDG_CONFIG_HOME",
                                        "CLOUDSDK_CONFIG",
                                        "GOOGLE_APPLICATION_CREDENTIALS",
                                        "GCE_METADATA_HOST"};
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/hotlayer-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(scratch)) {
        perror(scratch);
        exit(1);
    }
    for (size_t i = 0; i < HL_COUNT(folders); i++)
        mkdir(at("%s", folders[i]), 0700);
    for (size_t i = 0; i < HL_COUNT(unset); i++)
        unsetenv(unset[i]);
    setenv("HOME", at("home"), 1);
    setenv("XDG_RUNTIME_DIR", at("run"), 1);
}

static inline void scratch_close(void)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command))
        perror(scratch);
}

#endif
