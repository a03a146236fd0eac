/* A chat template: opened once, rendered with a conversation as often as needed. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_TEMPLATE_H
#define HL_RUNTIME_TEMPLATE_CORE_TEMPLATE_H

#include "hotlayer/template_section.h"
#include "runtime/template/core/value.h"

struct hl_template;

/* Uses `section` (aligned to 8) in place: it must stay mapped and unchanged until hl_template_close(). Its content may
 * be anything: all of it is checked here. The result is constant and shares nothing with others: any number of threads
 * may use it. */
int hl_template_open(const void *section, size_t bytes, struct hl_template **out, struct hl_error *err);
void hl_template_close(struct hl_template *t);

enum hl_template_language hl_template_language(const struct hl_template *t);

/* A name that the template looks up in its context, in any order; NULL at the end. Tells whether a template knows of
 * tools, of thinking and the like. */
const char *hl_template_name(const struct hl_template *t, size_t index, size_t *n);

/* What one rendering may take. */
#define HL_TEMPLATE_MEMORY ((size_t)64 << 20) /* a good limit for the arena, */
#define HL_TEMPLATE_WORK ((uint64_t)20 << 20) /* and for its work: a second or so */
#define HL_TEMPLATE_OUTPUT ((size_t)16 << 20) /* bytes of output */

/* Renders with `context`, a dict of variables. `now` is what the template takes for the present time, in seconds of
 * 1970 (local time is what it prints). The text lies in the arena and is not terminated. Fails as HL_ERROR_REQUEST,
 * with the line of the template in the message; the message of raise_exception() stands in it as it is. */
int hl_template_render(const struct hl_template *t, struct hl_arena *arena, struct hl_value context, int64_t now,
                       char **out, size_t *n, struct hl_error *err);

#endif
