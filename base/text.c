#include "base/text.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include <stdio.h>
#include <stdlib.h>

size_t hl_text_control(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
        return 2;
    return (*c && *c < 0x20) || *c == 0x7f;
}

char *hl_text_clean(char *text)
{
    for (char *c = text; *c; c++)
        memset(c, '?', hl_text_control(c));
    return text;
}

void hl_text_copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
    hl_text_clean(out);
}

const char *hl_text_path(char *out, size_t size, const char *path)
{
    HL_FREE char *whole = NULL;
    const char *home = getenv("HOME");
    size_t n = home ? strlen(home) : 0;
    while (n && home[n - 1] == '/')
        n--;
    if (n && !strncmp(path, home, n) && path[n] == '/' && asprintf(&whole, "~%s", path + n) < 0)
        whole = NULL;
    hl_text_copy(out, size, whole ? whole : path);
    return out;
}

const char *hl_text_bytes(uint64_t bytes, char text[24])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(text, 24, "%u B", (unsigned)bytes);
        return text;
    }
    for (; value >= 999.5 && unit + 1 < HL_COUNT(units); unit++)
        value /= 1000;
    snprintf(text, 24, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return text;
}
