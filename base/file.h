/* Reading files from outside, and writing to open ones. */
#ifndef HL_BASE_FILE_H
#define HL_BASE_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include <stdbool.h>

/* Maps FOLDER/NAME read-only. If it is absent and `optional`, *out is {NULL, 0}. Fails if the file is empty: an empty
 * file cannot be mapped. */
int hl_file_map(const char *folder, const char *name, bool optional, struct hl_view *out, struct hl_error *err);
void hl_file_unmap(struct hl_view *view);

/* Writes all n bytes, in as many calls of write() as that takes. Returns -1 with errno if it fails. */
int hl_file_write(int fd, const void *bytes, size_t n);

#endif
