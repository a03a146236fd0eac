/* A file that appears whole or not at all. */
#ifndef HL_BASE_TEMPORARY_H
#define HL_BASE_TEMPORARY_H

#include "base/error.h"
#include <stddef.h>

struct hl_temporary {
    int directory; /* an open folder; the caller closes it, after the file */
    int fd;        /* -1: not open */
    char name[32]; /* "" while the file has no name */
};

/* Opens an empty file in the folder, for reading and writing, mode 0644. */
int hl_temporary_open(struct hl_temporary *file, int directory, struct hl_error *err);
int hl_temporary_write(struct hl_temporary *file, const void *bytes, size_t n, struct hl_error *err);
/* Syncs the bytes to the disk, gives the file its `name`, replacing the old file of that name, and closes it. Does not
 * sync the folder: a caller with many files does so once. */
int hl_temporary_publish(struct hl_temporary *file, const char *name, struct hl_error *err);
/* Closes and removes the file in any state; does nothing after hl_temporary_publish(). */
void hl_temporary_discard(struct hl_temporary *file);

#define HL_TEMPORARY __attribute__((cleanup(hl_temporary_discard)))

/* Writes a small file: all of the steps above, then syncs the folder. If it fails before the rename, the old file of
 * that name is unchanged. */
int hl_temporary_save(int directory, const char *name, const char *text, struct hl_error *err);

#endif
