/* Strict reading of JSON from outside: cJSON, and the checks that hostile or unfamiliar files need. */
#ifndef HL_BASE_JSON_H
#define HL_BASE_JSON_H

#include "base/bytes.h"
#include "base/error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define HL_JSON_LIMIT (64u << 20) /* bytes of the largest document that we read */
#define HL_JSON_VALUES (4u << 20) /* of a document; the largest vocabularies have 2 million */

static inline void hl_json_release(cJSON **json)
{
    cJSON_Delete(*json);
}

#define HL_JSON __attribute__((cleanup(hl_json_release)))

/* Parses a whole document, which must be an object in UTF-8. `what` names it in the error. Fails if it contains a NUL
 * character, because cJSON's strings end there. The caller frees *out with cJSON_Delete(). */
int hl_json_parse(struct hl_view text, const char *what, cJSON **out, struct hl_error *err);

/* Parses the file FOLDER/NAME. If it is absent and `optional`, leaves *out as it is. */
int hl_json_read(const char *folder, const char *name, bool optional, cJSON **out, struct hl_error *err);

/* Returns the member, or NULL if it is absent or null. */
const cJSON *hl_json_get(const cJSON *object, const char *key);

/* Returns the member's text, or NULL if it is not a string. */
const char *hl_json_text(const cJSON *object, const char *key);

/* Returns whether the member is `true`. */
bool hl_json_true(const cJSON *object, const char *key);

/* Returns whether the member is a string with this text. */
bool hl_json_is(const cJSON *object, const char *key, const char *text);

/* Stores a whole number in [0, most]. Returns false if `value` is anything else. */
bool hl_json_count(const cJSON *value, uint64_t most, uint64_t *out);

/* Stores a token id: a whole number in [0, 2^31 - 1). Returns false if `item` is anything else. */
bool hl_json_id(const cJSON *item, uint32_t *id);

#endif
