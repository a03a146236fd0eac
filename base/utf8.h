/* UTF-8, character by character [Unicode 15, section 3.9]. */
#ifndef HL_BASE_UTF8_H
#define HL_BASE_UTF8_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool hl_utf8_is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the character that begins with `lead`, in text known to be UTF-8. */
static inline uint32_t hl_utf8_length(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

enum hl_utf8 { HL_UTF8_WHOLE, HL_UTF8_PARTIAL, HL_UTF8_BROKEN };

/* Looks at the character at the start of text[0..n), n > 0. *bytes is its length; of a partial one what there is of it;
 * of a broken one what could still have become a character, at least 1 (Unicode 15, section 3.9, table 3-7). */
enum hl_utf8 hl_utf8_next(const uint8_t *text, size_t n, uint32_t *bytes);

/* A copy of text[0..n) with U+FFFD for each byte that is no UTF-8; *out stays NULL when there is none such. */
int hl_utf8_repair(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out, struct hl_error *err);

/* The character at the start of text known to be UTF-8. */
uint32_t hl_utf8_decode(const uint8_t *text);

#endif
