#include "base/bytes.h"
#include "base/utf8.h"
#include <errno.h>
#include <string.h>

#define ROOM_LEAST ((size_t)256)

int hl_bytes_append(struct hl_bytes *bytes, const void *more, size_t n, size_t limit)
{
    if (bytes->size > limit || n > limit - bytes->size) {
        errno = EFBIG;
        return -1;
    }
    size_t wanted, room = 2 * bytes->room;
    if (__builtin_add_overflow(bytes->size, n, &wanted) || wanted >= PTRDIFF_MAX) { /* no object is larger */
        errno = ENOMEM;
        return -1;
    }
    if (wanted >= bytes->room) {
        room = room > wanted ? room : wanted + 1;
        room = room > ROOM_LEAST ? room : ROOM_LEAST;
        uint8_t *larger = realloc(bytes->data, room);
        if (!larger)
            return -1;
        bytes->data = larger;
        bytes->room = room;
    }
    if (n)
        memcpy(bytes->data + bytes->size, more, n);
    bytes->size += n;
    bytes->data[bytes->size] = 0;
    return 0;
}

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
