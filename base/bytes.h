/* Bytes in memory: a view of someone else's, or a growing buffer of one's own. */
#ifndef HL_BASE_BYTES_H
#define HL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct hl_view {
    const uint8_t *data; /* NULL: not there */
    size_t size;
};

struct hl_bytes {
    uint8_t *data; /* the owner frees it with free() */
    size_t size;
};

/* UTF-8 without NUL inside? */
bool hl_view_is_text(struct hl_view text);

static inline void hl_cleanup_bytes(struct hl_bytes *bytes)
{
    free(bytes->data);
}

#define HL_BYTES __attribute__((cleanup(hl_cleanup_bytes)))

#endif
