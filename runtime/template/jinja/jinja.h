/* Compiles a Jinja chat template into the template section (hotlayer/template_section.h).
 *
 * The language is that of Hugging Face transformers: jinja2 with trim_blocks and lstrip_blocks, loop controls and the
 * tag `generation`, in a sandbox that changes no list or dict. An unsupported tag, filter, test, function or method is
 * refused here, with its line and name.
 */
#ifndef HL_RUNTIME_TEMPLATE_JINJA_JINJA_H
#define HL_RUNTIME_TEMPLATE_JINJA_JINJA_H

#include "base/bytes.h"
#include "base/error.h"

#define HL_JINJA_MAX_BYTES ((size_t)512 << 10) /* of a template's source */

/* A string that the template finds under this name in its context: bos_token and the like. */
struct hl_jinja_global {
    const char *name;
    const char *value; /* UTF-8 */
};

/* Compiles `source`, which is UTF-8. The caller frees out->data. The same source makes the same bytes. */
int hl_jinja_compile(const char *source, size_t n, const struct hl_jinja_global *globals, size_t n_globals,
                     struct hl_bytes *out, struct hl_error *err);

#endif
