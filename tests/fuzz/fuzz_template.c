/* A template section -> opened -> rendered. The section is compiled from the input up to its first NUL. After it
 * come changes to make: u24 offset (taken within the section), u8 value. Without a source, the rest is the section
 * itself. */
#include "tests/fuzz/fuzz_render.h"

static void use(const uint8_t *bytes, size_t size)
{
    struct hl_error err;
    struct hl_template *t = NULL;
    HL_FREE uint8_t *section = malloc(size ? size : 1); /* of exactly its size */
    if (!section)
        return;
    memcpy(section, bytes, size);
    if (hl_template_open(section, size, &t, &err) == 0) {
        size_t n;
        for (size_t i = 0; hl_template_name(t, i, &n); i++)
            continue;
        fuzz_render(t);
    }
    hl_template_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    struct hl_bytes section = {0};
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t source = end ? (size_t)(end - data) : size, at = source + 1;
    if (!source && size) {
        use(data + 1, size - 1);
        return 0;
    }
    if (hl_jinja_compile((const char *)data, source, NULL, 0, &section, &err))
        return 0;
    for (; at + 4 <= size; at += 4) {
        size_t offset = data[at] | (size_t)data[at + 1] << 8 | (size_t)data[at + 2] << 16;
        section.data[offset % section.size] = data[at + 3];
    }
    use(section.data, section.size);
    free(section.data);
    return 0;
}
