/* Short texts: prefixes and suffixes, and texts from outside in a form that a terminal can show. */
#ifndef HL_BASE_TEXT_H
#define HL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool hl_text_begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Returns whether `text` ends with `suffix` and has something before it: ".hot" is not a name of the kind "NAME.hot". */
static inline bool hl_text_ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), end = strlen(suffix);
    return n > end && memcmp(text + n - end, suffix, end) == 0;
}

/* Returns the bytes of the control character that `text` begins with: 1, 2 for one of UTF-8's second block (C2 80 to
 * C2 9F), which some terminals obey too, or 0 if it is another character or the end. */
size_t hl_text_control(const char *text);

/* Replaces each byte of a control character by '?'. Returns `text`, which a terminal can now show. */
char *hl_text_clean(char *text);

/* Copies `text` (NULL: ""), cut to `size`, and cleans the copy. */
void hl_text_copy(char *out, size_t size, const char *text);

/* Copies a path for messages: with "~" for the home folder, cut to `size`, cleaned. Returns `out`. */
const char *hl_text_path(char *out, size_t size, const char *path);

/* Formats a size in decimal units, as registries and clouds do: "512 B", "1.50 GB". Returns `text`. */
const char *hl_text_bytes(uint64_t bytes, char text[24]);

#endif
