#include "base/text.h"
#include "base/cleanup.h"
#include <stdio.h>
#include <stdlib.h>

void hl_text_copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
    for (unsigned char *c = (unsigned char *)out; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* UTF-8's second block of control characters */
            *c = c[1] = '?';
    }
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
