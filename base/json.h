/* Reading JSON from outside, strictly. */
#ifndef HL_BASE_JSON_H
#define HL_BASE_JSON_H

#include "base/bytes.h"
#include "base/error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define HL_JSON_LIMIT (64u << 20) /* no JSON document that we read is larger */
#define HL_JSON_VALUES (4u << 20) /* nor has more values; the largest vocabularies have 2 million */

static inline void hl_json_release(cJSON **json)
{
    cJSON_Delete(*json);
}

#define HL_JSON __attribute__((cleanup(hl_json_release)))

/* Parses a whole document, which must be an object in UTF-8. `what` names it in the error. NUL characters are refused,
 * since cJSON's strings end there. The caller frees the result with cJSON_Delete(). */
int hl_json_parse(struct hl_view text, const char *what, cJSON **out, struct hl_error *err);

/* The same for a file, FOLDER/NAME; *out stays as it is when there is none and that is `optional`. */
int hl_json_read(const char *folder, const char *name, bool optional, cJSON **out, struct hl_error *err);

/* The member, NULL when it is absent or null. */
const cJSON *hl_json_get(const cJSON *object, const char *key);

/* The member's text, NULL when it is no string. */
const char *hl_json_text(const cJSON *object, const char *key);

/* Is the member `true`? Absent and null are false. */
bool hl_json_true(const cJSON *object, const char *key);

/* The member is a string with this text. */
bool hl_json_is(const cJSON *object, const char *key, const char *text);

/* A whole number in [0, most]; false for anything else. */
bool hl_json_count(const cJSON *value, uint64_t most, uint64_t *out);

/* A number that is a token id. */
bool hl_json_id(const cJSON *item, uint32_t *id);

#endif
