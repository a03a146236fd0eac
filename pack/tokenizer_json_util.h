/* Reading JSON strictly: cJSON with the checks that hostile or unfamiliar files need. */
#ifndef HL_PACK_TOKENIZER_JSON_UTIL_H
#define HL_PACK_TOKENIZER_JSON_UTIL_H

#include "hotlayer/error.h"
#include "pack/bytes.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

static inline void hl_json_release(cJSON **json)
{
    cJSON_Delete(*json);
}

#define HL_JSON __attribute__((cleanup(hl_json_release)))

/* An object, or an error that names the file. Files with NUL characters are refused, since cJSON's strings end there.
 */
int hl_json_parse(struct hl_view text, const char *file, cJSON **out, struct hl_error *err);

/* The member, NULL when it is absent or null. */
const cJSON *hl_json_get(const cJSON *object, const char *key);

/* The member's text, NULL when it is no string. */
const char *hl_json_text(const cJSON *object, const char *key);

/* Is the member `true`? Absent and null are false. */
bool hl_json_true(const cJSON *object, const char *key);

/* The member is a string with this text. */
bool hl_json_is(const cJSON *object, const char *key, const char *text);

/* A number that is a token id. */
bool hl_json_id(const cJSON *item, uint32_t *id);

#endif
