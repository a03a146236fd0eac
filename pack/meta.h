/* Builds the meta section: facts about a model for people and servers, as JSON. docs/format.md lists the keys. */
#ifndef HL_PACK_META_H
#define HL_PACK_META_H

#include "base/error.h"
#include "pack/chat.h"
#include "pack/compile/plan.h"

/* Fails if `name` is not a model's name: letters, digits, '.', '_', '-', ':', not beginning with '.'. It is also the
 * folder /models/NAME of an image, so it must never be a path. */
int hl_meta_check_name(const char *name, struct hl_error *err);

/* Makes a name from the last component of a path. The caller frees it. */
int hl_meta_name_from_path(const char *path, char **out, struct hl_error *err);

/* The parts that the section is built from. */
struct hl_meta {
    const struct hl_source *source;
    const struct hl_arch *arch;
    const struct hl_plan *plan;
    const struct hl_chat *chat;
    const char *name;
    uint32_t eos; /* the tokenizer's end-of-text token, or HL_NONE: the stop token of models that name none */
};

/* Builds the text, UTF-8 and terminated by NUL; the caller frees it. */
int hl_meta_build(const struct hl_meta *meta, char **out, struct hl_error *err);

#endif
