/* A real model for tests: the library packs the fixtures of tests/oracle into a scratch folder. Tests run from the root
 * of the repository. */
#ifndef HL_TESTS_UNIT_SMALL_MODEL_H
#define HL_TESTS_UNIT_SMALL_MODEL_H

#include "base/cleanup.h"
#include "pack/pack.h"
#include "tests/unit/check.h"
#include <limits.h>

#define FIXTURES "tests/oracle/fixtures/"

/* Returns a new folder below $TMPDIR; test programs that fail leave it for inspection. */
static inline const char *scratch_folder(void)
{
    static char folder[PATH_MAX];
    const char *parent = getenv("TMPDIR");
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/hotlayer-test-XXXXXX", parent ? parent : "/tmp");
        if (!mkdtemp(folder)) {
            perror(folder);
            exit(1);
        }
    }
    return folder;
}

/* The path is valid for seven more calls; keep a copy for longer. */
static inline const char *in_scratch(const char *name)
{
    static char path[8][PATH_MAX + 64];
    static unsigned next;
    char *out = path[next++ % 8];
    snprintf(out, sizeof path[0], "%s/%s", scratch_folder(), name);
    return out;
}

__attribute__((format(printf, 1, 2))) static inline bool shell(const char *format, ...)
{
    char command[4 * PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command) == 0;
}

static inline int scratch_summary(void)
{
    if (check_failed == 0)
        shell("rm -rf '%s'", scratch_folder());
    return check_summary();
}

/* Packs as `hotlayer pack FOLDER -o OUT --quant Q --shard-size S --threads 2` does. */
static inline int pack_model(const char *folder, const char *out, enum hl_quant quant, uint64_t shard_bytes,
                             struct hl_error *err)
{
    const struct hl_pack pack = {
        .source = folder, .output = out, .name = "test", .quant = quant, .shard_bytes = shard_bytes, .threads = 2};
    struct hl_packed packed;
    int result = hl_pack(&pack, &packed, err);
    hl_packed_release(&packed);
    return result;
}

#endif
