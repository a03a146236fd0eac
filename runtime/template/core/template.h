/* A chat template: opened once, rendered with any number of conversations. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_TEMPLATE_H
#define HL_RUNTIME_TEMPLATE_CORE_TEMPLATE_H

#include "hotlayer/template_section.h"
#include "runtime/template/core/value.h"

struct hl_template;

/* Opens a template. Uses `section` (aligned to 8) in place: it must stay mapped and unchanged until
 * hl_template_close(). Its content may be anything: all of it is checked here. The result is constant and shares
 * nothing with others, so any number of threads may use it. */
int hl_template_open(const void *section, size_t bytes, struct hl_template **out, struct hl_error *err);
void hl_template_close(struct hl_template *t);

enum hl_template_language hl_template_language(const struct hl_template *t);

/* Returns a name that the template looks up in its context, in any order, or NULL at the end. The names tell whether a
 * template supports tools, thinking and the like. */
const char *hl_template_name(const struct hl_template *t, size_t index, size_t *n);

/* Limits of one rendering. */
#define HL_TEMPLATE_MEMORY ((size_t)64 << 20) /* suggested limit of the arena */
#define HL_TEMPLATE_WORK ((uint64_t)20 << 20) /* of the arena's budget: about a second */
#define HL_TEMPLATE_OUTPUT ((size_t)16 << 20) /* bytes of output */

/* Renders with `context`, a dict of variables. `now` is the template's present time, in seconds since 1970; it prints
 * local time. The text lies in the arena and is not terminated. Fails with HL_ERROR_REQUEST and the line of the
 * template in the message. The message of raise_exception() is quoted unchanged. */
int hl_template_render(const struct hl_template *t, struct hl_arena *arena, struct hl_value context, int64_t now,
                       char **out, size_t *n, struct hl_error *err);

#endif
