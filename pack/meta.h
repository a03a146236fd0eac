/* The meta section: what people and servers want to know of a model, as JSON. docs/format.md lists the keys. */
#ifndef HL_PACK_META_H
#define HL_PACK_META_H

#include "base/error.h"
#include "pack/chat.h"
#include "pack/compile/plan.h"

/* A name is also the folder /models/NAME of an image: letters, digits, '.', '_', '-', ':', not beginning with '.'. */
int hl_meta_check_name(const char *name, struct hl_error *err);

/* The last component of a path, made into a name. The caller frees it. */
int hl_meta_name_from_path(const char *path, char **out, struct hl_error *err);

/* What the section is made of. */
struct hl_meta {
    const struct hl_source *source;
    const struct hl_arch *arch;
    const struct hl_plan *plan;
    const struct hl_chat *chat;
    const char *name;
    uint32_t eos; /* the tokenizer's end of a text, or HL_NONE: for models that say nothing of their stops */
};

/* The text, without a trailing NUL in its size; the caller frees it. */
int hl_meta_build(const struct hl_meta *meta, char **out, struct hl_error *err);

#endif
