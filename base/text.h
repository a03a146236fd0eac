/* Short texts: prefixes, and texts from outside in a form that a terminal can show. */
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

/* `text` (NULL: ""), cut to `size` and fit for a terminal: no control characters. */
void hl_text_copy(char *out, size_t size, const char *text);

/* Copies a path for messages: with "~" for the home folder, cut to fit, printable. Returns `out`. */
const char *hl_text_path(char *out, size_t size, const char *path);

/* "512 B", "1.50 GB": decimal units, as registries and clouds count. Returns `text`. */
const char *hl_text_bytes(uint64_t bytes, char text[24]);

#endif
