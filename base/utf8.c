#include "base/utf8.h"
#include <stdlib.h>

enum hl_utf8 hl_utf8_next(const uint8_t *text, size_t n, uint32_t *bytes)
{
    uint8_t lead = text[0];
    *bytes = 1;
    if (lead < 0x80)
        return HL_UTF8_WHOLE;
    if (lead < 0xC2 || lead > 0xF4)
        return HL_UTF8_BROKEN;
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;  /* no overlong forms */
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF; /* no surrogates, nothing above U+10FFFF */
    for (uint32_t length = hl_utf8_length(lead); *bytes < length; ++*bytes) {
        if (*bytes == n)
            return HL_UTF8_PARTIAL;
        if (text[*bytes] < low || text[*bytes] > high)
            return HL_UTF8_BROKEN;
        low = 0x80;
        high = 0xBF;
    }
    return HL_UTF8_WHOLE;
}

int hl_utf8_repair(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out, struct hl_error *err)
{
    size_t broken = 0;
    uint32_t bytes;
    for (size_t at = 0; at < n; at += bytes)
        if (hl_utf8_next(text + at, n - at, &bytes) != HL_UTF8_WHOLE)
            broken += bytes;
    if (!broken)
        return 0;
    uint8_t *copy = malloc(n + 2 * broken);
    if (!copy)
        return hl_no_memory(err);
    size_t used = 0;
    for (size_t at = 0; at < n; at += bytes) {
        bool whole = hl_utf8_next(text + at, n - at, &bytes) == HL_UTF8_WHOLE;
        if (whole)
            memcpy(copy + used, text + at, bytes);
        else
            for (uint32_t i = 0; i < bytes; i++)
                memcpy(copy + used + 3 * i, "\xEF\xBF\xBD", 3);
        used += whole ? bytes : 3 * bytes;
    }
    *out = copy;
    *n_out = used;
    return 0;
}

uint32_t hl_utf8_decode(const uint8_t *text)
{
    switch (hl_utf8_length(text[0])) {
    case 1:
        return text[0];
    case 2:
        return (text[0] & 0x1Fu) << 6 | (text[1] & 0x3Fu);
    case 3:
        return (text[0] & 0x0Fu) << 12 | (text[1] & 0x3Fu) << 6 | (text[2] & 0x3Fu);
    default:
        return (text[0] & 0x07u) << 18 | (text[1] & 0x3Fu) << 12 | (text[2] & 0x3Fu) << 6 | (text[3] & 0x3Fu);
    }
}
