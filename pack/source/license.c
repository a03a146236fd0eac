/* Finds the license that a model's card names. */
#include "base/file.h"
#include "pack/source/source.h"
#include <ctype.h>
#include <string.h>

#define LICENSE_MOST 200 /* bytes; a longer value is not a name */

int hl_source_set_license(struct hl_source *source, struct hl_view text, struct hl_error *err)
{
    /* The meta section must be UTF-8, or the server would send invalid JSON. */
    if (text.size >= LICENSE_MOST || !hl_view_is_text(text))
        return 0;
    source->license = strndup((const char *)text.data, text.size);
    return source->license ? 0 : hl_no_memory(err);
}

/* Finds `license:` in a model card's front matter, which is YAML between lines of three dashes. */
static bool find_license(struct hl_view card, struct hl_view *out)
{
    static const char field[] = "license:";
    const uint8_t *at = card.data, *end = at + card.size, *next;
    for (uint32_t line = 0; at < end; at = next, line++) {
        next = memchr(at, '\n', (size_t)(end - at));
        next = next ? next + 1 : end;
        size_t n = (size_t)(next - at);
        while (n && isspace(at[n - 1]))
            n--;
        bool dashes = n == 3 && memcmp(at, "---", 3) == 0;
        if (dashes != (line == 0))
            return false;
        if (n < sizeof field || memcmp(at, field, sizeof field - 1) != 0)
            continue;
        for (at += sizeof field - 1, n -= sizeof field - 1; isspace(*at); at++)
            n--;
        *out = (struct hl_view){at, n};
        return true;
    }
    return false;
}

/* Ignores an unreadable card. */
int hl_source_find_license(struct hl_source *source, struct hl_error *err)
{
    struct hl_view card = {NULL, 0}, license;
    struct hl_error ignored;
    int result = 0;
    if (hl_file_map(source->folder, "README.md", true, &card, &ignored) == 0 && find_license(card, &license))
        result = hl_source_set_license(source, license, err);
    hl_file_unmap(&card);
    return result;
}
