/* Errors are values.
 *
 * Every function that can fail takes a `struct hl_error *` as its last argument and returns 0, or -1 after it has
 * filled the error. The function that knows the facts builds the message. A message says what was wrong, where (file,
 * tensor, offset), and what to do about it. Callers may add their own context before it with hl_error_prefix().
 */
#ifndef HL_BASE_ERROR_H
#define HL_BASE_ERROR_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The kinds that a caller may need to tell apart. The numbers of the first two are exit statuses of the commands. No
 * kind is 0, so that an error that nobody filled never looks like a success. */
enum hl_error_kind {
    HL_ERROR_FAILED = 1,  /* the work failed */
    HL_ERROR_USAGE = 2,   /* the command line was wrong */
    HL_ERROR_REQUEST = 3, /* a request was wrong or unsupported (HTTP 400) */
    HL_ERROR_BUSY = 4,    /* the server is full or stopping (HTTP 503) */
    HL_ERROR_HELP = 5,    /* not a failure: --help was answered, and nothing is left to do */
};

struct hl_error {
    enum hl_error_kind kind;
    char message[1024]; /* one line, no trailing newline */
};

__attribute__((format(printf, 3, 4))) static inline int hl_fail_as(struct hl_error *err, enum hl_error_kind kind,
                                                                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->kind = kind;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return -1;
}

#define hl_fail(err, ...) hl_fail_as((err), HL_ERROR_FAILED, __VA_ARGS__)

/* Fails with "out of memory". */
static inline int hl_no_memory(struct hl_error *err)
{
    return hl_fail(err, "out of memory");
}

/* Inserts "context: " before the message and returns -1. */
__attribute__((format(printf, 2, 3))) static inline int hl_error_prefix(struct hl_error *err, const char *format, ...)
{
    char text[sizeof err->message], both[2 * sizeof err->message + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(both, sizeof both, "%s: %s", text, err->message);
    both[sizeof err->message - 1] = 0;
    memcpy(err->message, both, sizeof err->message);
    return -1;
}

#endif
