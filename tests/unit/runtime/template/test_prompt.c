/* runtime/template/prompt.c: the values that templates of both languages find in a conversation. */
#include "runtime/template/go/gotemplate.h"
#include "runtime/template/jinja/jinja.h"
#include "runtime/template/prompt.h"
#include "tests/unit/check.h"

static struct hl_template *compile(enum hl_template_language language, const char *source, struct hl_bytes *section)
{
    struct hl_template *t = NULL;
    struct hl_error err;
    int result = language == HL_TEMPLATE_GO
                     ? hl_gotemplate_compile(source, strlen(source), &section->data, &section->size, &err)
                     : hl_jinja_compile(source, strlen(source), NULL, 0, section, &err);
    CHECK_OK(result, err);
    CHECK_OK(hl_template_open(section->data, section->size, &t, &err), err);
    return t;
}

/* Makes a conversation of a system's text, a question, an answer, and another question; with a tool if `tool`. */
static int converse(struct hl_arena *arena, bool tool, struct hl_conversation *out, struct hl_error *err)
{
    static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]";
    if (hl_conversation_start(arena, "s", "a", out, err) < 0 ||
        hl_conversation_add(arena, out, "assistant", "b", err) < 0 ||
        hl_conversation_add(arena, out, "user", "c", err) < 0)
        return -1;
    return tool ? hl_value_json(arena, tools, strlen(tools), &out->tools, err) : 0;
}

static void check_text(enum hl_template_language language, const char *source, bool tool, const char *want)
{
    struct hl_bytes section = {0};
    struct hl_conversation conversation;
    struct hl_arena arena;
    struct hl_error err = {.message = ""};
    char *text = NULL;
    size_t n = 0;
    struct hl_template *t = compile(language, source, &section);
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    CHECK_OK(converse(&arena, tool, &conversation, &err), err);
    CHECK_OK(hl_prompt_render(t, &arena, &conversation, 0, &text, &n, &err), err);
    CHECK_SAY(n == strlen(want) && memcmp(text, want, n) == 0, "%s: %.*s", source, (int)n, text);
    hl_arena_release(&arena);
    hl_template_close(t);
    free(section.data);
}

static void test_suffix(enum hl_template_language language, const char *source, bool fills)
{
    struct hl_bytes section = {0};
    struct hl_conversation conversation;
    struct hl_arena arena;
    struct hl_error err = {.message = ""};
    char *text;
    size_t n;
    struct hl_template *t = compile(language, source, &section);
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    CHECK_OK(hl_conversation_start(&arena, "", "a", &conversation, &err), err);
    conversation.prompt = hl_string("a", 1);
    conversation.suffix = hl_string("z", 1);
    int result = hl_prompt_render(t, &arena, &conversation, 0, &text, &n, &err);
    CHECK(hl_prompt_fills(t) == fills);
    if (fills)
        CHECK_SAY(result == 0 && n == 3 && memcmp(text, "a_z", 3) == 0, "%s: %s", source, err.message);
    else
        CHECK_FAILS(result, err, "suffix");
    hl_arena_release(&arena);
    hl_template_close(t);
    free(section.data);
}

int main(void)
{
    check_text(HL_TEMPLATE_JINJA, "{% for m in messages %}{{ m.role }}:{{ m.content }} {% endfor %}", false,
               "system:s user:a assistant:b user:c ");
    check_text(HL_TEMPLATE_JINJA, "{{ [tools, documents, add_generation_prompt, more is defined] }}", false,
               "[None, None, True, False]");
    check_text(HL_TEMPLATE_JINJA, "{{ tools | tojson }}", true,
               "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]");
    check_text(HL_TEMPLATE_GO, "{{ range .Messages }}{{ .Role }}:{{ .Content }} {{ end }}", false,
               "system:s user:a assistant:b user:c ");
    check_text(HL_TEMPLATE_GO, "{{ .System }}{{ .Prompt }}>{{ .Response }};", false, "sa>b;c>");
    check_text(HL_TEMPLATE_GO, "{{ len .Messages }}{{ len .Tools }}", false, "40");
    check_text(HL_TEMPLATE_GO, "{{ range .Tools }}{{ .Function.Name }}{{ end }}{{ if .Messages }}{{ end }}", true, "f");
    test_suffix(HL_TEMPLATE_JINJA, "{{ suffix }}", false);
    test_suffix(HL_TEMPLATE_GO, "{{ .Prompt }}", false);
    test_suffix(HL_TEMPLATE_GO, "{{ .Prompt }}_{{ .Suffix }}", true);
    return check_summary();
}
