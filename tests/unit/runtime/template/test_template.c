/* Chat templates, compiler and interpreter together: limits that hostile templates and conversations reach, forged
 * sections, and values of JSON. tests/template checks what templates mean. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/template/core/template.h"
#include "runtime/template/jinja/jinja.h"
#include "tests/unit/check.h"
#include <inttypes.h>
#include <time.h>

#define MEMORY ((size_t)32 << 20)
#define WORK ((uint64_t)2 << 20)
#define TEXT_MOST 4096

static int compile(const char *source, struct hl_bytes *out, struct hl_error *err)
{
    static const struct hl_jinja_global globals[] = {{"bos_token", "<s>"}};
    return hl_jinja_compile(source, strlen(source), globals, 1, out, err);
}

/* Opens and renders with a context of JSON; puts the text, terminated and cut short, into `text`. */
static int render_section(const struct hl_bytes *section, const char *json, size_t memory, uint64_t work,
                          char text[TEXT_MOST], struct hl_error *err)
{
    struct hl_template *t = NULL;
    struct hl_arena arena;
    struct hl_value context;
    char *out = NULL;
    size_t n = 0;
    if (hl_template_open(section->data, section->size, &t, err))
        return -1;
    hl_arena_init(&arena, memory, work);
    int failed = hl_value_json(&arena, json, strlen(json), &context, err) ||
                 hl_template_render(t, &arena, context, 0, &out, &n, err);
    if (!failed)
        snprintf(text, TEXT_MOST, "%.*s", (int)n, out ? out : "");
    CHECK(arena.used <= arena.limit);
    hl_arena_release(&arena);
    hl_template_close(t);
    return failed ? -1 : 0;
}

static int render_within(const char *source, const char *json, size_t memory, char text[TEXT_MOST],
                         struct hl_error *err)
{
    HL_BYTES struct hl_bytes section = {0};
    return compile(source, &section, err) || render_section(&section, json, memory, WORK, text, err) ? -1 : 0;
}

static int render(const char *source, const char *json, char text[TEXT_MOST], struct hl_error *err)
{
    return render_within(source, json, MEMORY, text, err);
}

static void test_json(void)
{
    static const struct {
        const char *json, *text; /* as Python's str() prints it; NULL: refused */
    } cases[] = {
        {"{\"x\":1}", "1"},
        {"{\"x\":1.0}", "1.0"},
        {"{\"x\":1e3}", "1000.0"},
        {"{\"x\":-0}", "0"},
        {"{\"x\":-0.0}", "-0.0"},
        {"{\"x\":[1,2.50,\"a 1 \\\" 2\",{\"3\":4}]}", "[1, 2.5, 'a 1 \" 2', {'3': 4}]"},
        {"{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "{'a': 3, 'b': 2}"},
        {"{\"x\":123456789012345678901234567890}", "123456789012345678901234567890"},
        {"{\"x\":9223372036854775807}", "9223372036854775807"},
        {"{\"x\":1e400}", "inf"},
        {"{\"x\":\"\\ud83d\\ude42\\u00e9\"}", "\U0001F642\u00e9"},
        {" {\"x\" : null } ", "None"},
        {"{\"x\":\"\\u0000\"}", NULL},
        {"{\"x\":\"\\ud800\"}", NULL},
        {"{\"x\":01}", NULL},
        {"{\"x\":1.}", NULL},
        {"{\"x\":.5}", NULL},
        {"{\"x\":+1}", NULL},
        {"{\"x\":-}", NULL},
        {"{\"x\":NaN}", NULL},
        {"{\"x\":\"a\nb\"}", NULL},
        {"{\"x\":\"\xff\"}", NULL},
        {"{\"x\":1}x", NULL},
        {"{\"x\":1", NULL},
        {"{\"x\":tru}", NULL},
        {"\xef\xbb\xbf{\"x\":1}", NULL},
        {"", NULL},
        {"[]", NULL}, /* no context */
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_error err = {.message = ""};
        char text[TEXT_MOST] = "";
        int failed = render("{{ x }}", cases[i].json, text, &err);
        CHECK_SAY(cases[i].text ? !failed && !strcmp(text, cases[i].text) : failed && *err.message, "%s: %s%s",
                  cases[i].json, text, err.message);
    }
    char deep[2 * HL_VALUE_DEPTH + 64], text[TEXT_MOST];
    for (int levels = HL_VALUE_DEPTH - 1; levels <= HL_VALUE_DEPTH + 1; levels++) {
        struct hl_error err;
        int n = snprintf(deep, sizeof deep, "{\"x\":");
        memset(deep + n, '[', (size_t)levels);
        memset(deep + n + levels, ']', (size_t)levels);
        strcpy(deep + n + 2 * levels, "}");
        CHECK((render("{{ x | string | length }}", deep, text, &err) == 0) == (levels <= HL_VALUE_DEPTH));
    }
}

static void test_floats(void)
{
    static const struct {
        double real;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {1e16, "1e+16"},
        {1e15, "1000000000000000.0"},
        {0.0001, "0.0001"},
        {1e-5, "1e-05"},
        {5e-324, "5e-324"},
        {0x1p-44, "5.684341886080802e-14"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {-2.5, "-2.5"},
        {100, "100.0"},
        {0x1p53, "9007199254740992.0"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
    };
    struct dice dice = {.state = 7};
    char text[HL_FLOAT_TEXT + 1];
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        text[hl_value_float_repr(cases[i].real, text)] = 0;
        CHECK_SAY(!strcmp(text, cases[i].text), "%s, not %s", text, cases[i].text);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = dice_bits(&dice);
        double real;
        memcpy(&real, &bits, sizeof real);
        size_t n = hl_value_float_repr(real, text);
        text[n] = 0;
        CHECK_SAY(n < HL_FLOAT_TEXT && (isnan(real) || strtod(text, NULL) == real), "%a became %s", real, text);
    }
}

static void test_messages(void)
{
    struct hl_error err;
    char text[TEXT_MOST];
    HL_BYTES struct hl_bytes section = {0};
    CHECK(render("a\n{{ raise_exception('Roles must\nalternate: ' ~ x) }}", "{\"x\":\"\u00e9\"}", text, &err) < 0);
    CHECK(err.kind == HL_ERROR_REQUEST && strstr(err.message, "line 2") &&
          strstr(err.message, "Roles must alternate: \u00e9"));
    CHECK_FAILS(render("\n\n{{ x.y.z }}", "{\"x\":{}}", text, &err), err, "line 3: 'y' is undefined");
    CHECK(err.kind == HL_ERROR_REQUEST);
    CHECK_FAILS(compile("a\n{{ b | nope }}", &section, &err), err, "line 2: unknown or unsupported filter 'nope'");
    CHECK_FAILS(compile("{% include 'x' %}", &section, &err), err, "'include'");
    CHECK_FAILS(compile("{{ strange(1) }}", &section, &err), err, "unknown function 'strange'");
    CHECK_OK(render("{% if strange is defined %}{{ strange(1) }}{% endif %}{{ bos_token }}", "{}", text, &err), err);
    CHECK(!strcmp(text, "<s>"));
    CHECK_OK(render("{{ bos_token }}", "{\"bos_token\":\"<b>\"}", text, &err), err);
    CHECK(!strcmp(text, "<b>"));
}

static void test_names(void)
{
    struct hl_error err;
    HL_BYTES struct hl_bytes section = {0};
    struct hl_template *t = NULL;
    size_t n, tools = 0, own = 0;
    CHECK_OK(compile("{% set own = 1 %}{% if tools %}{{ own }}{% endif %}{{ messages }}", &section, &err), err);
    CHECK_OK(hl_template_open(section.data, section.size, &t, &err), err);
    for (size_t i = 0; hl_template_name(t, i, &n); i++) {
        tools += n == 5 && !memcmp(hl_template_name(t, i, &n), "tools", 5);
        own += n == 3 && !memcmp(hl_template_name(t, i, &n), "own", 3);
    }
    CHECK(tools == 1 && own == 0 && hl_template_language(t) == HL_TEMPLATE_JINJA);
    hl_template_close(t);
}

/* Each must end with an error, with little time and memory. */
static void test_limits(void)
{
    static const char *const sources[] = {
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor "
        "%}{% endfor %}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro f() %}{% call m() %}{{ f() }}{% endcall %}{% endmacro "
        "%}{{ f() }}",
        "{% for x in [[]] recursive %}{{ loop([[x]]) }}{% endfor %}",
        "{% set ns = namespace(s='0123456789') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 'ab'.center(2000000000) }}",
        "{{ '%2000000000d' % 1 }}",
        "{{ '{:2000000000}'.format(1) }}",
        "{{ [1] | batch(1000000000, 0) | list }}",
        "{{ [1] | slice(1000000000) | list }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ {'a': 1} | tojson(indent=1000000) }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(300) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(300) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = "
        "[ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} "
        "}}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}{% set ns.x = ns.x | map('string') %}{% endfor %}{{ "
        "ns.x | list }}",
        "{% set ns = namespace() %}{% set ns.x = {1: ns}.items() %}{{ ns }}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(90000) %}{% if s[i * 20] == 'c' %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(90000) %}{% if 'ba' * 9 ~ 'c' in s %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{{ s.rfind('b' ~ 'a' * 500000) }}{% for i in range(90000) %}{{ s.rfind('b') }}{% "
        "endfor %}",
        "{% set ns = namespace(n=0) %}{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% for i in range(100000) %}{{ range(100000) | list | sort(reverse=true) | first }}{% endfor %}",
        "{% for i in range(100000) %}{{ range(100000) | sum }}{% endfor %}",
    };
    for (size_t i = 0; i < HL_COUNT(sources); i++) {
        struct hl_error err = {.message = ""};
        char text[TEXT_MOST];
        clock_t start = clock();
        int failed = render(sources[i], "{}", text, &err);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        CHECK_SAY(failed && *err.message, "no error: %s", sources[i]);
        CHECK_SAY(seconds < 10, "%.1f s: %s", seconds, sources[i]);
    }
}

/* Whatever the limits are, reaching them is an error and nothing else. */
static void test_small_limits(void)
{
    static const char source[] =
        "{% macro m(x, y=[1, 2]) %}{{ x }}{{ y | map('string') | join(',') }}{{ caller() }}{% endmacro %}"
        "{% for k, v in d | dictsort %}{% call m(k ~ 'x') %}{{ v | tojson(indent=1) }}{{ '%s' % k }}{% endcall %}{% "
        "endfor %}";
    static const char json[] = "{\"d\":{\"b\":[1,{\"c\":null}],\"a\":\"text\",\"e\":1.5}}";
    HL_BYTES struct hl_bytes section = {0};
    struct hl_error err;
    char text[TEXT_MOST], whole[TEXT_MOST];
    size_t refused = 0;
    CHECK_OK(compile(source, &section, &err), err);
    CHECK_OK(render_section(&section, json, MEMORY, WORK, whole, &err), err);
    for (size_t memory = 0; memory < 40000; memory += 16) {
        int failed = render_section(&section, json, memory, WORK, text, &err);
        refused += failed != 0;
        CHECK(failed || !strcmp(text, whole));
    }
    CHECK(refused > 100 && refused < 2500);
    refused = 0;
    for (uint64_t work = 0; work < 1000; work++) {
        int failed = render_section(&section, json, MEMORY, work, text, &err);
        refused += failed != 0;
        CHECK(failed || !strcmp(text, whole));
    }
    CHECK(refused > 100 && refused < 1000);
}

static void test_sources(void)
{
    struct hl_error err;
    HL_BYTES struct hl_bytes section = {0};
    static const char *const openers[] = {"(",
                                          "[",
                                          "{1:",
                                          "not ",
                                          "-",
                                          "1 if ",
                                          "a|f(",
                                          "x[",
                                          "{% if 1 %}",
                                          "{% for x in y %}",
                                          "a.b(",
                                          "1+",
                                          "a.",
                                          "x|e",
                                          "1 and ",
                                          "{% set x %}",
                                          "{% macro m() %}",
                                          "{{ '",
                                          "{% raw %}",
                                          "{#"};
    for (size_t i = 0; i < HL_COUNT(openers); i++) {
        size_t each = strlen(openers[i]), times = 200000 / each, n = 0;
        HL_FREE char *source = malloc(300000);
        if (!source)
            return;
        bool statement = *openers[i] == '{' && openers[i][1] != '1';
        n += (size_t)sprintf(source, "%s", statement ? "" : "{{ ");
        for (size_t k = 0; k < times; k++, n += each)
            memcpy(source + n, openers[i], each);
        CHECK_SAY(hl_jinja_compile(source, n, NULL, 0, &section, &err) < 0, "many %s", openers[i]);
    }
    HL_FREE char *large = calloc(1, HL_JINJA_MAX_BYTES + 1);
    CHECK(large && hl_jinja_compile(large, HL_JINJA_MAX_BYTES + 1, NULL, 0, &section, &err) < 0);
    CHECK_FAILS(compile("\xff", &section, &err), err, "UTF-8");
}

static const char whole_language[] = "{% macro m(a, b=[1]) %}{{ a }}{{ varargs }}{{ kwargs }}{{ caller is defined }}{% "
                                     "endmacro %}{% for x, y in d.items() if x "
                                     "recursive %}{{ loop.index }}{% if y is mapping %}{{ loop(y.items()) }}{% elif "
                                     "not y and x or 1 %}{% continue %}{% else %}"
                                     "{% break %}{% endif %}{% else %}none{% endfor %}{% set ns = namespace(v=-1.5) "
                                     "%}{% set ns.v = ns.v ~ 'x' ~ d['a'][0:2] %}"
                                     "{{ m(1, *[2], z=3, **{'q': none}) }}{% call m(d.b) %}text{% endcall %}{% filter "
                                     "upper %}{{ (1, 2)[0] if d else 2 < 3 <= "
                                     "4 }}{% endfilter %}{{ d.a | tojson(indent=2) }}";
static const char whole_context[] = "{\"d\":{\"a\":\"text\",\"b\":{\"c\":[true,null]},\"e\":\"\"}}";

/* Replaces every word of a section by others: the section is refused, or runs within its limits. The sanitizers
 * watch. */
static void test_forged(void)
{
    static const uint32_t words[] = {0, 1, 2, 7, 100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF};
    HL_BYTES struct hl_bytes section = {0};
    struct hl_error err = {.message = ""};
    char text[TEXT_MOST];
    size_t opened = 0, refused = 0;
    CHECK_OK(compile(whole_language, &section, &err), err);
    CHECK_OK(render_section(&section, whole_context, MEMORY, WORK, text, &err), err);
    for (size_t at = 0; at + 4 <= section.size; at += 4)
        for (size_t i = 0; i < HL_COUNT(words); i++) {
            uint32_t before;
            struct hl_template *t = NULL;
            memcpy(&before, section.data + at, 4);
            if (before == words[i])
                continue;
            memcpy(section.data + at, &words[i], 4);
            bool opens = hl_template_open(section.data, section.size, &t, &err) == 0;
            hl_template_close(t);
            CHECK_SAY(!opens || at >= 16, "a forged magic, version or language opens");
            if (opens)
                render_section(&section, whole_context, (size_t)1 << 20, 100000, text, &err);
            opened += opens;
            refused += !opens;
            memcpy(section.data + at, &before, 4);
        }
    CHECK(refused > 1000 && opened > 100);
    CHECK_OK(render_section(&section, whole_context, MEMORY, WORK, text, &err), err);
}

/* Sets each field that is an index to the least value that is out of range. */
static void test_forged_fields(void)
{
    HL_BYTES struct hl_bytes section = {0};
    struct hl_error err = {.message = ""};
    struct hl_template *t = NULL;
    CHECK_OK(compile(whole_language, &section, &err), err);
    struct hl_template_header *h = (void *)section.data;
    struct hl_node *nodes = (void *)(section.data + h->nodes.offset);
    for (uint32_t i = 0; i < h->nodes.count; i++) {
        struct hl_node *node = &nodes[i], kept = *node;
        bool has_node = node->kind == HL_NODE_ATTRIBUTE || node->kind == HL_NODE_OUTPUT || node->kind == HL_NODE_IF ||
                        node->kind == HL_NODE_SET || node->kind == HL_NODE_CAPTURE || node->kind == HL_NODE_CALL;
        /* itself, or a node that does not exist */
        node->a = has_node ? i : node->kind == HL_NODE_VARIABLE ? node->a : 1u << 24;
        bool unused = node->kind == HL_NODE_VARIABLE;
        CHECK_SAY(unused || hl_template_open(section.data, section.size, &t, &err) < 0, "node %u of kind %u", i,
                  node->kind);
        *node = kept;
        node->kind = HL_NODE_KINDS;
        CHECK(hl_template_open(section.data, section.size, &t, &err) < 0);
        *node = kept;
        node->op = 200;
        CHECK(hl_template_open(section.data, section.size, &t, &err) < 0);
        *node = kept;
    }
    struct hl_template_table *tables[] = {&h->nodes,    &h->lists, &h->constants, &h->functions, &h->loops,
                                          &h->builtins, &h->names, &h->globals,   &h->text};
    for (size_t i = 0; i < HL_COUNT(tables); i++) {
        struct hl_template_table kept = *tables[i];
        tables[i]->count = (uint32_t)section.size;
        CHECK(hl_template_open(section.data, section.size, &t, &err) < 0);
        *tables[i] = kept;
        tables[i]->offset += 4;
        CHECK(hl_template_open(section.data, section.size, &t, &err) < 0);
        *tables[i] = kept;
        tables[i]->offset = 64;
        CHECK(hl_template_open(section.data, section.size, &t, &err) < 0);
        *tables[i] = kept;
    }
    h->reserved[39] = 1;
    CHECK_FAILS(hl_template_open(section.data, section.size, &t, &err), err, "reserved");
    h->reserved[39] = 0;
    h->version = 2;
    CHECK_FAILS(hl_template_open(section.data, section.size, &t, &err), err, "version 2");
    h->version = HL_TEMPLATE_VERSION;
    h->language = HL_TEMPLATE_LANGUAGES;
    CHECK_FAILS(hl_template_open(section.data, section.size, &t, &err), err, "language");
    h->language = HL_TEMPLATE_JINJA;
    for (size_t bytes = 0; bytes < section.size; bytes += 8)
        CHECK(hl_template_open(section.data, bytes, &t, &err) < 0);
    CHECK_OK(hl_template_open(section.data, section.size, &t, &err), err);
    hl_template_close(t);
}

int main(void)
{
    test_json();
    test_floats();
    test_messages();
    test_names();
    test_limits();
    test_small_limits();
    test_sources();
    test_forged();
    test_forged_fields();
    return check_summary();
}
