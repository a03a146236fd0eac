/* Memory that held a secret is overwritten before it returns to the heap. Otherwise core dumps, swap and the next
 * reader of uninitialized memory would find it. So nothing here uses realloc() or stdio, which leave copies.
 */
#include "registry/net/secret.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>

#define ROOM_AT_FIRST ((size_t)512)
#define BASE64_PIECE ((size_t)48) /* a multiple of 3, so that the pieces join without padding */

void hl_secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

char *hl_secret_copy(const char *text, struct hl_error *err)
{
    char *copy = strdup(text);
    if (!copy)
        hl_no_memory(err);
    return copy;
}

void hl_secret_text_free(struct hl_secret_text *text)
{
    if (text->text)
        explicit_bzero(text->text, text->room);
    free(text->text);
    *text = (struct hl_secret_text){0};
}

/* Makes room for n more bytes and a NUL. */
static bool make_room(struct hl_secret_text *to, size_t n)
{
    if (to->failed || n >= SIZE_MAX / 4 || to->size >= SIZE_MAX / 4) {
        to->failed = true;
        return false;
    }
    if (to->size + n < to->room)
        return true;
    size_t room = ROOM_AT_FIRST;
    while (room <= to->size + n)
        room *= 2;
    char *text = malloc(room);
    if (!text) {
        to->failed = true;
        return false;
    }
    if (to->size)
        memcpy(text, to->text, to->size);
    if (to->text)
        explicit_bzero(to->text, to->room);
    free(to->text);
    to->text = text;
    to->room = room;
    return true;
}

void hl_secret_add_bytes(struct hl_secret_text *to, const void *bytes, size_t n)
{
    if (!make_room(to, n))
        return;
    if (n)
        memcpy(to->text + to->size, bytes, n);
    to->size += n;
    to->text[to->size] = 0;
}

void hl_secret_add(struct hl_secret_text *to, const char *text)
{
    hl_secret_add_bytes(to, text, strlen(text));
}

void hl_secret_add_escaped(struct hl_secret_text *to, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
            hl_secret_add_bytes(to, text, 1);
        else
            hl_secret_add_bytes(to, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

void hl_secret_add_field(struct hl_secret_text *to, const char *name, const char *value)
{
    if (to->size)
        hl_secret_add(to, "&");
    hl_secret_add(to, name);
    hl_secret_add(to, "=");
    hl_secret_add_escaped(to, value);
}

void hl_secret_add_base64(struct hl_secret_text *to, const void *bytes, size_t n, bool url)
{
    const unsigned char *at = bytes;
    unsigned char out[BASE64_PIECE / 3 * 4 + 1];
    for (size_t piece; n; at += piece, n -= piece) {
        piece = n < BASE64_PIECE ? n : BASE64_PIECE;
        size_t length = (size_t)EVP_EncodeBlock(out, at, (int)piece);
        for (size_t i = 0; url && i < length; i++)
            out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
        while (url && length && out[length - 1] == '=')
            length--;
        hl_secret_add_bytes(to, out, length);
    }
    explicit_bzero(out, sizeof out);
}

int hl_secret_take(struct hl_secret_text *from, char **out, struct hl_error *err)
{
    hl_secret_add(from, "");
    if (from->failed)
        return hl_no_memory(err);
    *out = from->text;
    *from = (struct hl_secret_text){0};
    return 0;
}

char *hl_secret_from_base64(const char *text)
{
    size_t n = strlen(text), plain = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
           padding = n - plain;
    if (padding > 2 || plain + strspn(text + plain, "=") != n || n > HL_SECRET_FILE_LIMIT)
        return NULL;
    char *out = malloc(n / 4 * 3 + 4);
    if (!out)
        return NULL;
    int decoded = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    size_t size = decoded < (int)padding ? 0 : (size_t)decoded - padding;
    out[size] = 0;
    while (size && !out[size - 1])
        size--; /* some programs that write these files count the NUL of a text */
    if (decoded >= (int)padding && strlen(out) == size)
        return out;
    explicit_bzero(out, n / 4 * 3 + 4);
    free(out);
    return NULL;
}

static void wipe(cJSON *json)
{
    for (cJSON *item = json; item; item = item->next) {
        if (item->valuestring && !(item->type & cJSON_IsReference))
            explicit_bzero(item->valuestring, strlen(item->valuestring));
        wipe(item->child); /* cJSON limits the depth to CJSON_NESTING_LIMIT */
    }
}

void hl_secret_json_free(cJSON *json)
{
    wipe(json);
    cJSON_Delete(json);
}

int hl_secret_read(const char *path, const char *name, bool optional, char **text, struct hl_error *err)
{
    *text = NULL;
    HL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && optional && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0)
        return hl_fail(err, "%s: cannot be opened: %s", name, strerror(errno));
    HL_SECRET_TEXT all = {0};
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0 && all.size <= HL_SECRET_FILE_LIMIT)
            hl_secret_add_bytes(&all, piece, (size_t)n);
        else if (n > 0)
            break;
    explicit_bzero(piece, sizeof piece);
    if (n < 0)
        return hl_fail(err, "%s: cannot be read: %s", name, strerror(errno));
    if (all.size > HL_SECRET_FILE_LIMIT)
        return hl_fail(err, "%s: longer than %zu KiB, too long for a file of credentials", name,
                       HL_SECRET_FILE_LIMIT >> 10);
    if (all.size && strlen(all.text) != all.size)
        return hl_fail(err, "%s: it is not text: it holds a NUL", name);
    return hl_secret_take(&all, text, err);
}
