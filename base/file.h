/* Files from outside: mapped read-only, or read whole where they are small. */
#ifndef HL_BASE_FILE_H
#define HL_BASE_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include <stdbool.h>

/* Maps FOLDER/NAME. An absent file gives {NULL, 0} and no error when `optional`. Empty files are refused. */
int hl_file_map(const char *folder, const char *name, bool optional, struct hl_view *out, struct hl_error *err);
void hl_file_unmap(struct hl_view *view);

/* Writes all of it, however many calls that takes; -1 with errno when it cannot. */
int hl_file_write(int fd, const void *bytes, size_t n);

#endif
