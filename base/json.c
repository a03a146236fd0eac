/* A list may have a million items: iterate over it with cJSON_ArrayForEach(). cJSON_GetArrayItem() walks from the first
 * item, so a loop of it is quadratic. */
#include "base/json.h"
#include "base/file.h"
#include <math.h>

/* Bounds the memory for texts such as "[0,0,0,...": cJSON allocates 64 bytes for each value. */
static bool has_too_many_values(struct hl_view text)
{
    size_t values = 0;
    for (size_t i = 0; i < text.size; i++)
        values += text.data[i] == ',' || text.data[i] == '[' || text.data[i] == '{';
    return values > HL_JSON_VALUES;
}

/* Finds an escaped NUL: \u0000 after an even number of backslashes. */
static bool has_nul(struct hl_view text)
{
    const uint8_t *at = text.data, *end = text.data + text.size;
    while ((at = memmem(at, (size_t)(end - at), "\\u0000", 6))) {
        size_t backslashes = 1;
        while (backslashes <= (size_t)(at - text.data) && at[-(ptrdiff_t)backslashes] == '\\')
            backslashes++;
        if (backslashes % 2)
            return true;
        at += 6;
    }
    return false;
}

int hl_json_parse(struct hl_view text, const char *what, cJSON **out, struct hl_error *err)
{
    const char *begin = (const char *)text.data, *end = begin;
    if (text.size > HL_JSON_LIMIT)
        return hl_fail(err, "%s: %zu bytes of JSON are too many: at most %u", what, text.size, HL_JSON_LIMIT);
    if (!hl_view_is_text(text))
        return hl_fail(err, "%s: not UTF-8, or it contains a NUL byte", what);
    if (has_nul(text))
        return hl_fail(err, "%s: contains a NUL character, which is not supported", what);
    if (has_too_many_values(text))
        return hl_fail(err, "%s: more than %u JSON values", what, HL_JSON_VALUES);
    HL_JSON cJSON *json = cJSON_ParseWithLengthOpts(begin, text.size, &end, 0);
    if (!json)
        return hl_fail(err, "%s: broken JSON near byte %td; was the file cut short?", what, end ? end - begin : 0);
    while (end < begin + text.size && strchr(" \t\r\n", *end))
        end++;
    if (end < begin + text.size)
        return hl_fail(err, "%s: broken JSON: something follows the document at byte %td", what, end - begin);
    if (!cJSON_IsObject(json))
        return hl_fail(err, "%s: the document is not a JSON object", what);
    *out = json;
    json = NULL;
    return 0;
}

int hl_json_read(const char *folder, const char *name, bool optional, cJSON **out, struct hl_error *err)
{
    struct hl_view text;
    if (hl_file_map(folder, name, optional, &text, err) < 0)
        return -1;
    if (!text.data)
        return 0;
    int result = hl_json_parse(text, name, out, err);
    hl_file_unmap(&text);
    return result < 0 ? hl_error_prefix(err, "%s", folder) : 0;
}

const cJSON *hl_json_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

const char *hl_json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(hl_json_get(object, key));
}

bool hl_json_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(hl_json_get(object, key));
}

bool hl_json_is(const cJSON *object, const char *key, const char *text)
{
    const char *value = hl_json_text(object, key);
    return value && !strcmp(value, text);
}

bool hl_json_count(const cJSON *value, uint64_t most, uint64_t *out)
{
    if (!cJSON_IsNumber(value))
        return false;
    double number = value->valuedouble;
    if (!(number >= 0 && number <= (double)most && number <= 9007199254740992.0) || number != floor(number))
        return false;
    *out = (uint64_t)number;
    return true;
}

bool hl_json_id(const cJSON *item, uint32_t *id)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < INT32_MAX))
        return false;
    *id = (uint32_t)item->valuedouble;
    return *id == item->valuedouble;
}
