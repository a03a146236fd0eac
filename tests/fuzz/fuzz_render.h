/* Renders a conversation; for the fuzz targets of templates. */
#ifndef HL_TESTS_FUZZ_FUZZ_RENDER_H
#define HL_TESTS_FUZZ_FUZZ_RENDER_H

#include "base/cleanup.h"
#include "runtime/template/core/template.h"
#include "runtime/template/jinja/jinja.h"
#include "tests/fuzz/guard.h"
#include <utf8proc.h>

static inline int fuzz_render_once(const struct hl_template *t, struct hl_arena *arena, char **out, size_t *n,
                                   struct hl_error *err)
{
    static const char json[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"Be k\\u00efnd.\"},{\"role\":\"user\",\"content\":\" Hi "
        "\\n\"},"
        "{\"role\":\"assistant\",\"content\":\"<think>a</think>b\",\"tool_calls\":[{\"id\":\"abcdefghi\",\"function\":{"
        "\"name\":\"f\",\"arguments\":{\"x\":[1,2.5,null,true],\"y\":1e20}}}]},{\"role\":\"tool\",\"content\":\"3\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\\ud83d\\ude42 "
        "\\u00df\"}]}],\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\","
        "\"properties\":{\"x\":{\"type\":\"integer\"}}}}}],\"add_generation_prompt\":true,\"a\":3,\"s\":\"Text, a "
        "text\"}";
    struct hl_value context;
    hl_arena_init(arena, (size_t)8 << 20, (uint64_t)1 << 19);
    if (hl_value_json(arena, json, sizeof json - 1, &context, err))
        abort();
    return hl_template_render(t, arena, context, 1721952000, out, n, err);
}

static inline void fuzz_render(const struct hl_template *t)
{
    struct hl_error err = {.message = ""}, again = {.message = ""};
    struct hl_arena arenas[2];
    char *out[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    int failed = fuzz_render_once(t, &arenas[0], &out[0], &n[0], &err);
    if (fuzz_render_once(t, &arenas[1], &out[1], &n[1], &again) != failed ||
        (failed && (err.kind != HL_ERROR_REQUEST || strcmp(err.message, again.message))) ||
        (!failed && (n[0] != n[1] || (n[0] && memcmp(out[0], out[1], n[0])))))
        abort();
    utf8proc_int32_t code;
    utf8proc_ssize_t bytes;
    for (size_t at = 0; !failed && at < n[0]; at += (size_t)bytes) {
        bytes = utf8proc_iterate((const utf8proc_uint8_t *)out[0] + at, (utf8proc_ssize_t)(n[0] - at), &code);
        if (bytes < 1)
            abort();
    }
    hl_arena_release(&arenas[0]);
    hl_arena_release(&arenas[1]);
}

#endif
