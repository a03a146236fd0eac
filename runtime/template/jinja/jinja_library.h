/* Jinja's builtins, by file. For the interpreter's own files. */
#ifndef HL_RUNTIME_TEMPLATE_JINJA_H
#define HL_RUNTIME_TEMPLATE_JINJA_H

#include "runtime/template/core/eval.h"

extern const struct hl_builtin hl_jinja_functions[]; /* template_jinja.c */
extern const struct hl_builtin hl_jinja_strings[];   /* template_string.c: methods of str */
extern const struct hl_builtin hl_jinja_methods[];   /* template_methods.c: of other types */
extern const struct hl_builtin hl_jinja_filters[];   /* template_filters.c */
extern const struct hl_builtin hl_jinja_sequences[]; /* template_sequence.c: filters that go through items */
extern const struct hl_builtin hl_jinja_tests[];     /* template_tests.c */

/* object.name and object[key] of Jinja (template_methods.c). */
int hl_jinja_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
int hl_jinja_item(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out);
/* An attribute of the type itself, never an item; ABSENT when there is none. */
int hl_jinja_own_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
const struct hl_builtin *hl_jinja_method(struct hl_run *run, struct hl_value object, struct hl_value name);

/* str methods that filters use, too (template_string.c). */
int hl_string_strip(struct hl_run *run, struct hl_value s, struct hl_value chars, int sides, struct hl_value *out);
int hl_string_replace(struct hl_run *run, struct hl_value s, struct hl_value old, struct hl_value fresh, int64_t count,
                      struct hl_value *out);
int hl_string_upper(struct hl_run *run, struct hl_value s, struct hl_value *out);
int hl_string_lower(struct hl_run *run, struct hl_value s, struct hl_value *out);
int hl_string_capitalize(struct hl_run *run, struct hl_value s, struct hl_value *out);
int hl_string_center(struct hl_run *run, struct hl_value s, int64_t width, struct hl_value fill, struct hl_value *out);
int hl_string_lines(struct hl_run *run, struct hl_value s, bool keep, struct hl_value *out);
bool hl_string_is_upper(struct hl_value s);
bool hl_string_is_lower(struct hl_value s);

#define HL_STRIP_LEFT 1
#define HL_STRIP_RIGHT 2

/* str(value): strings as they are. */
int hl_jinja_text(struct hl_run *run, struct hl_value value, struct hl_value *out);

#endif
