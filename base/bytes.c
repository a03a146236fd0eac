/* What bytes are. */
#include "base/bytes.h"
#include "base/utf8.h"

bool hl_view_is_text(struct hl_view text)
{
    uint32_t n;
    if (text.size && memchr(text.data, 0, text.size))
        return false;
    for (size_t i = 0; i < text.size; i += n)
        if (hl_utf8_next(text.data + i, text.size - i, &n) != HL_UTF8_WHOLE)
            return false;
    return true;
}
