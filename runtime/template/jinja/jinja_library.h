/* Jinja's builtins, by file. Only this folder's own files include this header. */
#ifndef HL_RUNTIME_TEMPLATE_JINJA_JINJA_LIBRARY_H
#define HL_RUNTIME_TEMPLATE_JINJA_JINJA_LIBRARY_H

#include "runtime/template/core/eval.h"

extern const struct hl_builtin hl_jinja_functions[]; /* functions.c */
extern const struct hl_builtin hl_jinja_strings[];   /* strings.c: methods of str */
extern const struct hl_builtin hl_jinja_methods[];   /* methods.c: of other types */
extern const struct hl_builtin hl_jinja_filters[];   /* filters.c */
extern const struct hl_builtin hl_jinja_sequences[]; /* sequences.c: filters over items */
extern const struct hl_builtin hl_jinja_tests[];     /* tests.c */

extern const struct hl_dialect hl_jinja_dialect; /* functions.c */

/* Read object.name and object[key] in Jinja (methods.c). */
int hl_jinja_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
int hl_jinja_item(struct hl_run *run, struct hl_value object, struct hl_value key, struct hl_value *out);
/* Reads an attribute of the type itself, never an item. *out is ABSENT if it does not exist. */
int hl_jinja_own_attribute(struct hl_run *run, struct hl_value object, struct hl_value name, struct hl_value *out);
const struct hl_builtin *hl_jinja_method(struct hl_run *run, struct hl_value object, struct hl_value name);

/* str methods that filters also use (strings.c). */
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

/* Operators (operate.c). */
int hl_operate_unary(struct hl_run *run, enum hl_unary op, struct hl_value a, struct hl_value *out);
int hl_operate_binary(struct hl_run *run, enum hl_binary op, struct hl_value a, struct hl_value b,
                      struct hl_value *out);
int hl_operate_compare(struct hl_run *run, enum hl_compare op, struct hl_value a, struct hl_value b, bool *out);
int hl_operate_slice(struct hl_run *run, struct hl_value object, const struct hl_value bounds[3], struct hl_value *out);

/* Format Text % arguments, and text.format() (format.c). */
int hl_format_percent(struct hl_run *run, struct hl_value format, struct hl_value arguments, struct hl_value *out);
int hl_format_braces(struct hl_run *run, struct hl_value format, const struct hl_args *args, struct hl_value *out);

/* Escapes & < > ' " as in HTML. */
int hl_filters_escape(struct hl_run *run, struct hl_value text, struct hl_value *out);

/* Converts with str(value); strings stay unchanged. */
int hl_jinja_text(struct hl_run *run, struct hl_value value, struct hl_value *out);

#endif
