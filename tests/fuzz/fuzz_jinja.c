/* The source of a Jinja template -> compiled -> rendered with a conversation. Whatever compiles opens; the rendered
 * text is UTF-8, and the same a second time. */
#include "tests/fuzz/fuzz_render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hl_jinja_global globals[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    struct hl_error err;
    struct hl_bytes section = {0};
    struct hl_template *t = NULL;
    const uint8_t *source = guarded(data, size);
    if (!source || hl_jinja_compile((const char *)source, size, globals, 2, &section, &err))
        return 0;
    if (hl_template_open(section.data, section.size, &t, &err))
        abort();
    fuzz_render(t);
    hl_template_close(t);
    free(section.data);
    return 0;
}
