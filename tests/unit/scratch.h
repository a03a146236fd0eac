/* A scratch folder, files in it, and a small model, for the unit tests of images. */
#ifndef HL_TESTS_UNIT_SCRATCH_H
#define HL_TESTS_UNIT_SCRATCH_H

#include "base/cleanup.h"
#include <dirent.h>
#include <stdarg.h>
#include <string.h>

static char scratch[512];

/* Returns a path in the scratch folder; valid until a few more are made. */
__attribute__((format(printf, 1, 2))) static inline char *at(const char *format, ...)
{
    static char path[8][1024];
    static unsigned next;
    char *out = path[next++ % 8];
    size_t used = (size_t)snprintf(out, sizeof path[0], "%s/", scratch);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, sizeof path[0] - used, format, args);
    va_end(args);
    return out;
}

static inline bool write_file(const char *path, const void *bytes, size_t n)
{
    HL_FCLOSE FILE *file = fopen(path, "wb");
    return file && fwrite(bytes, 1, n, file) == n;
}

/* Reads the whole file and adds a NUL; returns NULL if it does not exist. The caller frees it. */
static inline char *read_file(const char *path)
{
    HL_FCLOSE FILE *file = fopen(path, "rb");
    char *bytes = file ? calloc(1, 1 << 20) : NULL;
    if (bytes && fread(bytes, 1, (1 << 20) - 1, file) == 0)
        bytes[0] = 0;
    return bytes;
}

/* Returns the number of files in a folder, or -1 if it does not exist. */
static inline int count_files(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    return dir ? (closedir(dir), n) : -1;
}

/* Makes two shards whose bytes follow from a formula, so that the digests below are the same everywhere. */
static inline bool make_model(void)
{
    static unsigned char bytes[70000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * i >> 7);
    return write_file(at("m.hot"), bytes, 5000) && write_file(at("m.hot.001"), bytes, 65536) &&
           write_file(at("m.hot.002"), bytes + 1, 69999);
}

static inline bool scratch_open(const char *name)
{
    snprintf(scratch, sizeof scratch, "%s/%s-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", name);
    if (mkdtemp(scratch))
        return true;
    fprintf(stderr, "cannot write to %s\n", scratch);
    return false;
}

static inline bool scratch_close(void)
{
    char command[640];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command) == 0;
}

#endif
