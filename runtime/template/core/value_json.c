/* Parses JSON text into values.
 *
 * cJSON parses. A scan of the text beforehand refuses what cJSON accepts too leniently or forgets: numbers that JSON
 * does not have, control characters, bytes that are not UTF-8, NUL. cJSON stores numbers as doubles, so the walk over
 * its tree keeps a cursor on the text. Numbers come in the same order in both, and the text of each says whether it is
 * an int or a float.
 */
#include "runtime/template/core/value.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <utf8proc.h>

#define VALUES_MOST 65536u /* cJSON allocates 64 bytes for each: 16 MiB of "[[],[],..." would need half a gigabyte */

struct cursor {
    struct hl_arena *arena;
    const char *at, *end;
    struct hl_error *err;
};

static int refuse(struct hl_error *err, const char *why, size_t at)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "broken JSON: %s at byte %zu", why, at);
}

static size_t digits(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && text[i] >= '0' && text[i] <= '9')
        i++;
    return i;
}

/* Returns the length of the number at the start of text, in JSON's syntax, or 0. */
static size_t number_length(const char *text, size_t n, bool *whole)
{
    size_t at = n && text[0] == '-', count = digits(text + at, n - at);
    if (!count || (count > 1 && text[at] == '0'))
        return 0;
    at += count;
    *whole = true;
    if (at < n && text[at] == '.') {
        count = digits(text + at + 1, n - at - 1);
        if (!count)
            return 0;
        at += 1 + count;
        *whole = false;
    }
    if (at < n && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < n && (text[at + 1] == '+' || text[at + 1] == '-');
        count = digits(text + at + 1 + sign, n - at - 1 - sign);
        if (!count)
            return 0;
        at += 1 + sign + count;
        *whole = false;
    }
    return at;
}

static bool starts_number(char c)
{
    return c == '-' || (c >= '0' && c <= '9');
}

/* Checks the string that begins at text[*at] and moves *at past it. */
static int check_string(const char *text, size_t n, size_t *at, struct hl_error *err)
{
    size_t i = *at + 1;
    while (i < n && text[i] != '"') {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20)
            return refuse(err, "a control character", i);
        if (c == '\\') {
            if (n - i >= 6 && !memcmp(text + i, "\\u0000", 6))
                return refuse(err, "the character NUL, which is not supported,", i);
            i += 2;
        } else if (c < 0x80) {
            i++;
        } else {
            utf8proc_int32_t code;
            utf8proc_ssize_t bytes =
                utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &code);
            if (bytes < 0)
                return refuse(err, "text that is not UTF-8", i);
            i += (size_t)bytes;
        }
    }
    if (i >= n)
        return refuse(err, "an unterminated string", *at);
    *at = i + 1;
    return 0;
}

static int check_text(const char *text, size_t n, struct hl_error *err)
{
    size_t values = 0, length;
    bool whole;
    for (size_t at = 0; at < n;) {
        unsigned char c = (unsigned char)text[at];
        if (c == '"') {
            if (check_string(text, n, &at, err))
                return -1;
        } else if (starts_number(text[at])) {
            if (!(length = number_length(text + at, n - at, &whole)))
                return refuse(err, "a malformed number", at);
            at += length;
        } else if (c >= 0x80 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r')) {
            return refuse(err, "an unexpected character", at);
        } else {
            values += c == ',' || c == '[' || c == '{';
            at++;
        }
    }
    if (values > VALUES_MOST)
        return hl_fail_as(err, HL_ERROR_REQUEST, "JSON with more than %u values is not supported", VALUES_MOST);
    return 0;
}

/* Copies a text and terminates it: runtime/server/ollama uses the strings of a body as C strings. */
static int copy(struct cursor *c, const char *text, size_t n, struct hl_value *out)
{
    char *bytes = hl_arena_alloc(c->arena, n + 1);
    if (!bytes)
        return hl_arena_full(c->arena, c->err);
    memcpy(bytes, text, n);
    bytes[n] = 0;
    *out = hl_string(bytes, n);
    return 0;
}

/* Reads the next number of the text. The text has been checked: strings end, and numbers outside them are whole. */
static int read_number(struct cursor *c, struct hl_value *out)
{
    while (c->at < c->end && !starts_number(*c->at)) {
        if (*c->at++ != '"')
            continue;
        for (; *c->at != '"'; c->at++)
            c->at += *c->at == '\\';
        c->at++;
    }
    bool whole = false;
    size_t n = number_length(c->at, (size_t)(c->end - c->at), &whole);
    if (copy(c, c->at, n, out))
        return -1;
    c->at += n;
    errno = 0;
    if (!whole) {
        *out = hl_float(strtod(out->text, NULL));
    } else {
        long long integer = strtoll(out->text, NULL, 10);
        if (errno == ERANGE)
            out->kind = HL_VALUE_BIG;
        else
            *out = hl_int(integer);
    }
    return 0;
}

static int convert(struct cursor *c, const cJSON *json, unsigned depth, struct hl_value *out)
{
    struct hl_value key = {0}, item = {0};
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(c->err, HL_ERROR_REQUEST, "JSON with more than %d levels is not supported", HL_VALUE_DEPTH);
    if (cJSON_IsString(json))
        return copy(c, json->valuestring, strlen(json->valuestring), out);
    if (cJSON_IsNumber(json))
        return read_number(c, out);
    if (cJSON_IsBool(json)) {
        *out = hl_bool(cJSON_IsTrue(json));
    } else if (cJSON_IsArray(json)) {
        if (hl_list_new(c->arena, HL_VALUE_LIST, (size_t)cJSON_GetArraySize(json), out, c->err))
            return -1;
        for (const cJSON *child = json->child; child; child = child->next)
            if (convert(c, child, depth + 1, &item) || hl_list_push(c->arena, out->list, item, c->err))
                return -1;
    } else if (cJSON_IsObject(json)) {
        if (hl_dict_new(c->arena, HL_VALUE_DICT, out, c->err))
            return -1;
        for (const cJSON *child = json->child; child; child = child->next)
            if (copy(c, child->string, strlen(child->string), &key) || convert(c, child, depth + 1, &item) ||
                hl_dict_set(c->arena, out->dict, key, item, c->err))
                return -1;
    } else {
        *out = hl_none();
    }
    return 0;
}

int hl_value_json(struct hl_arena *arena, const char *text, size_t n, struct hl_value *out, struct hl_error *err)
{
    const char *stop = text;
    if (check_text(text, n, err))
        return -1;
    cJSON *json = cJSON_ParseWithLengthOpts(text, n, &stop, 0);
    if (!json)
        return refuse(err, "a syntax error", stop ? (size_t)(stop - text) : 0);
    struct cursor cursor = {.arena = arena, .at = text, .end = text + n, .err = err};
    while (stop < text + n && strchr(" \t\r\n", *stop))
        stop++;
    int failed = stop < text + n ? refuse(err, "text after the document", (size_t)(stop - text))
                                 : convert(&cursor, json, 0, out);
    cJSON_Delete(json);
    return failed;
}
