/* Executes the tree. Only the interpreter's own files include this header. */
#ifndef HL_RUNTIME_TEMPLATE_CORE_EVAL_H
#define HL_RUNTIME_TEMPLATE_CORE_EVAL_H

#include "runtime/template/core/run.h"

static inline struct hl_value hl_template_text(const struct hl_template *t, uint32_t constant)
{
    return hl_string(t->text + t->constants[constant].value, t->constants[constant].bytes);
}

enum { HL_EXECUTE_BREAK = 1, HL_EXECUTE_CONTINUE };

/* Runs a statement. Returns 0, -1, or the jump that leaves it. */
int hl_eval_statement(struct hl_run *run, uint32_t node);

int hl_evaluate(struct hl_run *run, uint32_t node, struct hl_value *out);

/* Returns a frame with all slots undefined, or NULL with the error set. */
struct hl_frame *hl_frame_new(struct hl_run *run, struct hl_frame *outer, uint32_t slots);

/* Calls a function of the template (call.c). */
int hl_call_function(struct hl_run *run, const struct hl_object *function, const struct hl_args *args, uint32_t depth,
                     struct hl_value *out);

#endif
