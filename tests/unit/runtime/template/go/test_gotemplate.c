/* runtime/template/go/: the cases of tests/template-go/cases.json (made by Go itself, tests/template-go/reference.go),
 * the refusals and their messages, and the limits. With an argument, runs the cases of another file. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/template/go/gotemplate.h"
#include "tests/unit/check.h"
#include <time.h>

#define NOW 1700000000 /* as in reference.go: 2023-11-14 */

static struct hl_value at(struct hl_value object, const char *name)
{
    struct hl_value *found = object.kind == HL_VALUE_DICT ? hl_dict_get(object.dict, name, strlen(name)) : NULL;
    return found ? *found : hl_none();
}

static char *read_file(const char *path, size_t *n)
{
    HL_FCLOSE FILE *file = fopen(path, "rb");
    char *text = malloc(4u << 20);
    *n = file && text ? fread(text, 1, 4u << 20, file) : 0;
    if (!CHECK_SAY(file && text, "%s cannot be read", path))
        exit(1);
    return text;
}

/* Compiles and renders; the result is in the arena. */
static int render(const char *source, size_t n, struct hl_value with, struct hl_arena *arena, char **out, size_t *n_out,
                  struct hl_error *err)
{
    HL_FREE uint8_t *section = NULL;
    size_t bytes;
    struct hl_template *t;
    struct hl_gotemplate_input input = {at(with, "messages"), at(with, "tools"), at(with, "prompt"), at(with, "suffix"),
                                        at(with, "think")};
    if (hl_gotemplate_compile(source, n, &section, &bytes, err) != 0 || hl_template_open(section, bytes, &t, err) != 0)
        return -1;
    int result = hl_gotemplate_render(t, arena, &input, NOW, out, n_out, err);
    hl_template_close(t);
    return result;
}

static void check_case(struct hl_value one, struct hl_value conversations, const char *folder)
{
    struct hl_arena arena;
    struct hl_error err = {.message = ""};
    struct hl_value source = at(one, "template"), file = at(one, "file"), wanted = at(one, "output");
    struct hl_value name = at(one, "with");
    char with[64] = "", path[512] = "", *out = "", *text = NULL;
    size_t n = 0, n_source = source.n;
    if (name.kind == HL_VALUE_STRING && name.n < sizeof with)
        memcpy(with, name.text, name.n);
    if (file.kind == HL_VALUE_STRING) {
        size_t n_folder = strlen(folder);
        CHECK(n_folder + file.n < sizeof path);
        memcpy(path, folder, n_folder);
        memcpy(path + n_folder, file.text, file.n);
        text = read_file(path, &n_source);
        source = file;
    }
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    int result = render(text ? text : source.text, n_source, at(conversations, with), &arena, &out, &n, &err);
    if (wanted.kind != HL_VALUE_STRING)
        CHECK_SAY(result != 0 && err.kind == HL_ERROR_REQUEST, "%.*s with %s: Go refuses it, here it is: %.*s",
                  (int)source.n, source.text, with, (int)n, out);
    else if (CHECK_SAY(result == 0, "%.*s with %s: %s", (int)source.n, source.text, with, err.message))
        CHECK_SAY(n == wanted.n && (n == 0 || !memcmp(out, wanted.text, n)), "%.*s with %s:\n%.*s\nGo says:\n%.*s",
                  (int)source.n, source.text, with, (int)n, out, (int)wanted.n, wanted.text);
    hl_arena_release(&arena);
    free(text);
}

static void check_cases(const char *path)
{
    struct hl_arena arena;
    struct hl_error err;
    struct hl_value all;
    size_t n;
    HL_FREE char *text = read_file(path, &n);
    char folder[512];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 0, path);
    hl_arena_init(&arena, (size_t)256 << 20, UINT64_MAX);
    if (CHECK_OK(hl_value_json(&arena, text, n, &all, &err), err)) {
        struct hl_value cases = at(all, "cases");
        CHECK(cases.kind == HL_VALUE_LIST && cases.list->n > 0);
        for (uint32_t i = 0; cases.kind == HL_VALUE_LIST && i < cases.list->n; i++)
            check_case(cases.list->items[i], at(all, "conversations"), folder);
    }
    hl_arena_release(&arena);
}

/* ---- messages, limits, and differences from Go ---- */

static struct hl_error render_error;

static int try(const char *source)
{
    struct hl_arena arena;
    char *out;
    size_t n;
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    int result = render(source, strlen(source), hl_none(), &arena, &out, &n, &render_error);
    hl_arena_release(&arena);
    return result;
}

static void check_messages(void)
{
    static const char *const refused[][2] = {
        {"a\n{{ nope 1 }}", "line 2: function \"nope\" not defined"},
        {"{{ html 1 }}", "\"html\" is not supported"},
        {"{{ call . }}", "\"call\" is not supported"},
        {"{{ 3i }}", "'3i' is not a number"},
        {"\n\n{{ if 1 }}\n", "line 4: the template ends inside a block that needs its {{end}}"},
        {"{{ print ($x := 1) }}", "cannot be declared or assigned here"},
        {"{{ .A.B.C 1 }}", "only functions take arguments"},
        {"{{ 1 | 2 }}", "only a function can take the value of a |"},
        {"{{ eq 1 }}", "eq with 1 arguments"},
        {"\n{{ $x }}", "line 2: undefined variable $x"},
        {"{{ \"\\xff\" }}", "not UTF-8"},
        {"{{ /* x", "unexpected '/'"},
        {"{{ template \"x\" . }}", "\"x\" is not defined"},
        {"x\n{{ \"a\"\n | len | slice }}", "line 2"},
        {"{{ printf \"%*d\" 1 2 }}", "is not supported"},
        {"{{ printf \"%5000d\" 1 }}", "widths above 1000"},
        {"{{ range 1000000000 }}x{{ end }}", ""},
        {"{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}", ""},
        {"{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" 1 }}", ""},
    };
    for (size_t i = 0; i < HL_COUNT(refused); i++) {
        CHECK_FAILS(try(refused[i][0]), render_error, refused[i][1]);
        CHECK_SAY(render_error.kind == HL_ERROR_REQUEST, "%s: %s", refused[i][0], render_error.message);
    }
    uint8_t *section;
    size_t bytes;
    CHECK_FAILS(hl_gotemplate_compile("a\xff", 2, &section, &bytes, &render_error), render_error,
                "byte 1 is not UTF-8");
    CHECK_FAILS(hl_gotemplate_compile("a\0b", 3, &section, &bytes, &render_error), render_error, "byte 1 is NUL");
}

/* Writes `open` so many times, `middle`, and `close` as often. */
static int nested(size_t n, const char *open, const char *middle, const char *close)
{
    size_t n_open = strlen(open), n_close = strlen(close), at_byte = 0;
    HL_FREE char *text = malloc(n * (n_open + n_close) + strlen(middle) + 1);
    if (!text)
        return 0;
    for (size_t i = 0; i < n; i++, at_byte += n_open)
        memcpy(text + at_byte, open, n_open);
    memcpy(text + at_byte, middle, strlen(middle));
    at_byte += strlen(middle);
    for (size_t i = 0; i < n; i++, at_byte += n_close)
        memcpy(text + at_byte, close, n_close);
    text[at_byte] = 0;
    return try(text);
}

static void check_limits(void)
{
    CHECK_OK(nested(50, "{{if 1}}", "x", "{{end}}"), render_error);
    CHECK_OK(nested(50, "{{range $x := 1}}{{$.Response}}", "x", "{{else}}{{end}}"), render_error);
    CHECK_OK(nested(25, "{{if 0}}{{else if 1}}", "x", "{{end}}"), render_error);
    CHECK_OK(nested(1, "{{", "(((((((((((((((((((((1)))))))))))))))))))))", "}}"), render_error);
    CHECK_FAILS(nested(5000, "{{if 1}}", "x", "{{end}}"), render_error, "nested blocks or parentheses");
    CHECK_FAILS(nested(5000, "{{if 1}}{{else if 2}}", "x", ""), render_error, "nested blocks or parentheses");
    CHECK_FAILS(nested(5000, "{{block \"a\" 1}}", "x", "{{end}}"), render_error, "nested blocks or parentheses");
    CHECK_OK(nested(4000, "{{if 1}}{{$x := 1}}{{end}}", "", ""), render_error);
    CHECK_FAILS(nested(5000, "{{if 1}}{{$x := 1}}{{end}}", "", ""), render_error, "variables");
    CHECK_FAILS(nested(10000, "{{if 1}}{{end}}", "", ""), render_error, "larger than");
    CHECK_FAILS(nested(20000, "{{0|", "x", ""), render_error, "");
    CHECK_FAILS(nested(1000, "{{print",
                       " 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"
                       " 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1}}",
                       ""),
                render_error, "");
    CHECK_OK(nested(500, "{{$x := 1}}", "", ""), render_error);
    CHECK_FAILS(nested(600, "{{$x := 1}}", "", ""), render_error, "variables");
}

/* Pipes in parentheses in pipes: more levels than parentheses alone could make. */
static void check_depth(unsigned levels, bool good)
{
    char text[8192] = "{{", *at = text + 2;
    for (unsigned i = 0; i < levels; i++)
        *at++ = '(';
    *at++ = '1';
    for (unsigned i = 0; i < levels; i++)
        at = stpcpy(at, "|not|not|not|not|not|not|not|not|not|not)");
    strcpy(at, "}}");
    if (good)
        CHECK_OK(try(text), render_error);
    else if (CHECK_FAILS(try(text), render_error, "too deep"))
        CHECK(render_error.kind == HL_ERROR_REQUEST);
}

/* Newer than the Go that made the cases, or not Go at all but sent by clients of OpenAI. */
static void check_conversation(const char *json, const char *source, const char *wanted)
{
    struct hl_arena arena;
    struct hl_error err;
    struct hl_value with;
    char *out;
    size_t n;
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    if (CHECK_OK(hl_value_json(&arena, json, strlen(json), &with, &err), err) &&
        CHECK_OK(render(source, strlen(source), with, &arena, &out, &n, &err), err))
        CHECK_SAY(n == strlen(wanted) && !memcmp(out, wanted, n), "%s: %.*s", source, (int)n, out);
    hl_arena_release(&arena);
}

static void check_beyond(void)
{
    check_conversation("{}", "{{with 0}}a{{else with 2}}b{{.}}{{else}}c{{end}}", "b2");
    check_conversation("{}", "{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{.}}{{else}}e{{end}}", "0120011");
    check_conversation("{}", "{{$i := 7}}{{range $i = 2}}{{$i}}{{end}}{{$i}}", "011");
    check_conversation("{\"messages\":[{\"role\":\"User\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
                       "\"image_url\"},{\"type\":\"text\",\"text\":\"b\"}]}]}",
                       "{{range .Messages}}{{.Role}}:{{.Content}}{{end}}", "user:a\n\nb");
    check_conversation(
        "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":"
        "[{\"id\":\"x1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"b\\\":1,\\\"a\\\":[]}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"x1\"}]}",
        "{{range .Messages}}{{.Thinking}}{{.Content}}{{range .ToolCalls}}{{.Function.Arguments}}{{end}}"
        "{{.ToolName}};{{end}}",
        "hm{\"a\":[],\"b\":1};rf;");
    check_conversation("{}", "{{json \"\\b\\f\"}}", "\"\\b\\f\"");
}

/* hl_template_name() tells which names a template uses. */
static void check_names(void)
{
    static const char source[] = "{{if .Suffix}}{{end}}{{range $m := .Messages}}{{$m.Thinking}}{{end}}";
    HL_FREE uint8_t *section = NULL;
    size_t bytes, n;
    struct hl_template *t;
    struct hl_error err;
    unsigned found = 0;
    if (!CHECK_OK(hl_gotemplate_compile(source, strlen(source), &section, &bytes, &err), err) ||
        !CHECK_OK(hl_template_open(section, bytes, &t, &err), err))
        return;
    CHECK(hl_template_language(t) == HL_TEMPLATE_GO);
    const char *name;
    for (size_t i = 0; (name = hl_template_name(t, i, &n)) != NULL; i++) {
        found += n == 6 && !memcmp(name, "suffix", n);
        found += n == 8 && !memcmp(name, "messages", n);
        found += n == 8 && !memcmp(name, "thinking", n);
        found += n == 5 && !memcmp(name, "tools", n) ? 100 : 0;
    }
    CHECK(found == 3);
    hl_template_close(t);
}

int main(int argc, char **argv)
{
    setenv("TZ", "UTC", 1);
    tzset();
    check_cases(argc > 1 ? argv[1] : "tests/template-go/cases.json");
    if (argc == 1) {
        check_messages();
        check_limits();
        check_depth(30, true);
        check_depth(50, false);
        check_beyond();
        check_names();
    }
    return check_summary();
}
