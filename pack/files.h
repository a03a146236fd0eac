/* Files from outside: mapped read-only, or read whole where they are small. */
#ifndef HL_PACK_FILES_H
#define HL_PACK_FILES_H

#include "hotlayer/error.h"
#include "pack/bytes.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define HL_JSON_LIMIT (64u << 20) /* no JSON document that we read is larger */

/* Maps FOLDER/NAME. An absent file gives {NULL, 0} and no error when `optional`. Empty files are refused. */
int hl_file_map(const char *folder, const char *name, bool optional, struct hl_view *out, struct hl_error *err);
void hl_file_unmap(struct hl_view *view);

/* Parses a whole JSON document; what follows it may only be white space. `what` names it in the error. The caller frees
 * the result with cJSON_Delete(). */
int hl_json_parse(struct hl_view text, const char *what, cJSON **out, struct hl_error *err);

/* A whole number in [0, most] from a JSON value; false for anything else. */
bool hl_json_count(const cJSON *value, uint64_t most, uint64_t *out);

#endif
