/* Characters as Python's str sees them: classes, case, white space. Works on code points and UTF-8. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_CHARACTERS_H
#define HL_RUNTIME_TEMPLATE_CORE_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the character at the start of text[0..n), which is UTF-8, n > 0. *bytes is its length. */
int32_t hl_char_at(const char *text, size_t n, size_t *bytes);

/* Writes the character and returns its length. */
size_t hl_char_put(int32_t c, char bytes[4]);

/* Counts the characters of text[0..n). */
size_t hl_char_count(const char *text, size_t n);

/* Returns the offset of character `index`, or n if there are fewer. */
size_t hl_char_offset(const char *text, size_t n, size_t index);

bool hl_char_is_space(int32_t c); /* str.isspace(): the white space of strip() and split() */
bool hl_char_is_alpha(int32_t c);
bool hl_char_is_digit(int32_t c);
bool hl_char_is_decimal(int32_t c);
bool hl_char_is_numeric(int32_t c);
bool hl_char_is_lower(int32_t c);
bool hl_char_is_upper(int32_t c);
bool hl_char_is_title(int32_t c);
bool hl_char_is_printable(int32_t c); /* repr() shows it unescaped */
bool hl_char_is_line_end(int32_t c);  /* splitlines() */

static inline bool hl_char_is_cased(int32_t c)
{
    return hl_char_is_lower(c) || hl_char_is_upper(c) || hl_char_is_title(c);
}

/* Full case mappings: one character may become up to three. They return how many. */
#define HL_CASE_MOST 3
unsigned hl_char_upper(int32_t c, int32_t out[HL_CASE_MOST]);
unsigned hl_char_title(int32_t c, int32_t out[HL_CASE_MOST]);

/* Lowers the character at text[at]. The characters around it decide the form of a sigma. */
unsigned hl_char_lower(const char *text, size_t n, size_t at, int32_t out[HL_CASE_MOST]);

/* Folds case; one character may become up to three. */
unsigned hl_char_fold(int32_t c, int32_t out[HL_CASE_MOST]);

#endif
