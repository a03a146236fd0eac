/* UTF-8, one character at a time [Unicode 15, section 3.9]. */
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

/* Returns the length of the character that begins with `lead`. The text must be UTF-8. */
static inline uint32_t hl_utf8_length(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

enum hl_utf8 { HL_UTF8_WHOLE, HL_UTF8_PARTIAL, HL_UTF8_BROKEN };

/* Classifies the character at the start of text[0..n), n > 0. If it is whole, *bytes is its length; if it is partial,
 * *bytes is n. If it is broken, *bytes is the length of its longest valid beginning, at least 1 [Unicode 15, table 3-7].
 */
enum hl_utf8 hl_utf8_next(const uint8_t *text, size_t n, uint32_t *bytes);

/* Copies text[0..n) and replaces each byte that is not UTF-8 by U+FFFD. If all of it is UTF-8, makes no copy and leaves
 * *out as it is. The caller frees *out. */
int hl_utf8_repair(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out, struct hl_error *err);

/* Decodes the character at the start of the text, which must be UTF-8. */
uint32_t hl_utf8_decode(const uint8_t *text);

#endif
