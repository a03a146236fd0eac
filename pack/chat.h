/* Finds a model's chat template, compiles it, and renders it once as a test. */
#ifndef HL_PACK_CHAT_H
#define HL_PACK_CHAT_H

#include "hotlayer/template_section.h"
#include "pack/source/source.h"
#include "runtime/tokenizer/tokenizer.h"
#include <stdbool.h>

struct hl_chat {
    struct hl_bytes source;  /* the template's text; data NULL: the model has none */
    struct hl_bytes section; /* hotlayer/template_section.h */
    const char *file;        /* the file or key of the template, for messages */
    enum hl_template_language language;
    bool tools_apart; /* the model has another template for tools, which is not kept */
    uint32_t end;     /* the token that ends the assistant's turn, or HL_NONE */
};

/* Reads the template of `source`. A `path` other than NULL names a file to use instead: Go's language if its name ends
 * in .gotmpl, else Jinja. `tokenizer` is the model's. The caller releases *out after success. */
int hl_chat_read(const struct hl_source *source, const char *path, const struct hl_tokenizer *tokenizer,
                 struct hl_chat *out, struct hl_error *err);
void hl_chat_release(struct hl_chat *chat);

#endif
