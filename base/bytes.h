/* Bytes in memory: a view of bytes that belong to someone else, or a buffer that owns its bytes and grows. */
#ifndef HL_BASE_BYTES_H
#define HL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct hl_view {
    const uint8_t *data; /* NULL: absent */
    size_t size;
};

/* Starts as {0}. Buffers of secrets are hl_secret_text (registry/net/secret.h), which wipes what it frees. */
struct hl_bytes {
    uint8_t *data; /* the owner frees it with free() */
    size_t size;
    size_t room; /* bytes allocated, if hl_bytes_append() did it; else 0 */
};

/* Appends more[0..n) and a NUL that `size` does not count. Returns -1 and changes nothing if there would be more than
 * `limit` bytes (errno EFBIG) or if memory runs out (ENOMEM). */
int hl_bytes_append(struct hl_bytes *bytes, const void *more, size_t n, size_t limit);

/* Returns whether the view is UTF-8 without a NUL. */
bool hl_view_is_text(struct hl_view text);

static inline void hl_bytes_release(struct hl_bytes *bytes)
{
    free(bytes->data);
}

#define HL_BYTES __attribute__((cleanup(hl_bytes_release)))

#endif
