/* Builds a template section (hotlayer/template_section.h) node by node. A compiler that uses it needs to know neither
 * the tables nor how they grow.
 *
 * Functions return the index of the element that they added. Out of memory or over a limit, they return 0 and record
 * the failure; then hl_build_finish() fails. Add children before their parents. Equal constants are stored once.
 */
#ifndef HL_RUNTIME_TEMPLATE_CORE_BUILD_H
#define HL_RUNTIME_TEMPLATE_CORE_BUILD_H

#include "base/error.h"
#include "hotlayer/template_section.h"

struct hl_build;

struct hl_build *hl_build_new(enum hl_template_language language); /* NULL: out of memory */
void hl_build_free(struct hl_build *b);

static inline void hl_build_release(struct hl_build **b)
{
    hl_build_free(*b);
}

#define HL_BUILD __attribute__((cleanup(hl_build_release)))

/* Constants. */
uint32_t hl_build_constant(struct hl_build *b, enum hl_constant_kind kind); /* for undefined, none, false, true */
uint32_t hl_build_int(struct hl_build *b, int64_t value);
uint32_t hl_build_float(struct hl_build *b, double value);
uint32_t hl_build_text(struct hl_build *b, const char *text, size_t n); /* copied */

/* Nodes; enum hl_node_kind defines a, b and c. */
uint32_t hl_build_node(struct hl_build *b, enum hl_node_kind kind, unsigned op, unsigned line, uint32_t first,
                       uint32_t second, uint32_t third);
uint32_t hl_build_list(struct hl_build *b, const uint32_t *nodes, size_t n);
uint32_t hl_build_loop(struct hl_build *b, const struct hl_template_loop *loop);

/* Functions. Function 0, the template itself, exists from the start. Set a function once its parts are complete. */
uint32_t hl_build_function(struct hl_build *b);
void hl_build_set_function(struct hl_build *b, uint32_t index, const struct hl_template_function *function);

/* Return indices for HL_NODE_BUILTIN and HL_NODE_NAME; the same name has the same index. `kind` is "filter", "test" or
 * "function" (runtime/template/core/run.h). */
uint32_t hl_build_builtin(struct hl_build *b, const char *kind, const char *name, size_t n);
uint32_t hl_build_name(struct hl_build *b, const char *name, size_t n);
void hl_build_global(struct hl_build *b, const char *name, size_t n_name, const char *value, size_t n_value);

/* Lays out the section, which the caller frees. The same calls make the same bytes. */
int hl_build_finish(struct hl_build *b, uint8_t **out, size_t *n, struct hl_error *err);

#endif
