/* A Go template: whatever compiles is a section that opens, and renders a conversation within its limits. */
#include "base/cleanup.h"
#include "runtime/template/go/gotemplate.h"
#include "tests/fuzz/guard.h"

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"Gr\xc3\xbc\xc3\x9f"
    "e <x>\"},"
    "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":"
    "\"f\","
    "\"arguments\":{\"b\":[1,2.5,null,true,{\"x\":\"y\"}],\"a\":1e30}}}]},{\"role\":\"tool\",\"content\":\"r\","
    "\"tool_call_id\":\"1\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"b\":{\"type\":[\"array\",\"null\"],"
    "\"items\":"
    "{\"type\":\"string\"}},\"a\":{\"anyOf\":[{\"type\":\"number\"}],\"enum\":[1,\"2\"],\"description\":\"e\"}}}}}]}";

static struct hl_value member(struct hl_value object, const char *name)
{
    return *hl_dict_get(object.dict, name, strlen(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HL_FREE uint8_t *section = NULL;
    struct hl_error err;
    struct hl_template *t;
    struct hl_arena arena;
    struct hl_value with;
    size_t bytes, n;
    char *out;
    const char *source = (const char *)guarded(data, size);
    if (!source || hl_gotemplate_compile(source, size, &section, &bytes, &err) != 0)
        return 0;
    if (hl_template_open(section, bytes, &t, &err) != 0)
        abort();
    for (int i = 0; i < 2; i++) {
        hl_arena_init(&arena, (size_t)8 << 20, 1u << 18);
        if (hl_value_json(&arena, conversation, strlen(conversation), &with, &err) != 0)
            abort();
        struct hl_gotemplate_input input = {.messages = member(with, "messages"), .tools = member(with, "tools")};
        input.think = hl_bool(true);
        input.prompt = input.suffix = i ? hl_string("p", 1) : hl_none();
        if (hl_gotemplate_render(t, &arena, &input, 1700000000, &out, &n, &err) == 0 && n > 0)
            (void)*(volatile char *)&out[n - 1];
        hl_arena_release(&arena);
    }
    hl_template_close(t);
    return 0;
}
