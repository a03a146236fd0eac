/* Characters as Python's str sees them: classes, case, white space. On code points and UTF-8. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_CHARACTERS_H
#define HL_RUNTIME_TEMPLATE_CORE_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at the start of text[0..n), which is UTF-8, n > 0; *bytes is its length. */
int32_t hl_char_at(const char *text, size_t n, size_t *bytes);

/* Writes the character and returns its length. */
size_t hl_char_put(int32_t c, char bytes[4]);

/* Characters of text[0..n). */
size_t hl_char_count(const char *text, size_t n);

/* Offset of character `index`; n when there are fewer. */
size_t hl_char_offset(const char *text, size_t n, size_t index);

bool hl_char_is_space(int32_t c); /* str.isspace(): what strip() and split() take for white space */
bool hl_char_is_alpha(int32_t c);
bool hl_char_is_digit(int32_t c);
bool hl_char_is_decimal(int32_t c);
bool hl_char_is_numeric(int32_t c);
bool hl_char_is_lower(int32_t c);
bool hl_char_is_upper(int32_t c);
bool hl_char_is_title(int32_t c);
bool hl_char_is_printable(int32_t c); /* repr() shows it as it is */
bool hl_char_is_line_end(int32_t c);  /* splitlines() */

static inline bool hl_char_is_cased(int32_t c)
{
    return hl_char_is_lower(c) || hl_char_is_upper(c) || hl_char_is_title(c);
}

/* Full case mappings: one character may become up to three. Return how many. */
#define HL_CASE_MOST 3
unsigned hl_char_upper(int32_t c, int32_t out[HL_CASE_MOST]);
unsigned hl_char_title(int32_t c, int32_t out[HL_CASE_MOST]);

/* Of the character at text[at], whose neighbours decide how a sigma looks. */
unsigned hl_char_lower(const char *text, size_t n, size_t at, int32_t out[HL_CASE_MOST]);

/* Case folding, of which one character may become up to three. */
unsigned hl_char_fold(int32_t c, int32_t out[HL_CASE_MOST]);

#endif
