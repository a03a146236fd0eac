/* What the server makes of its environment and of request bodies; and its handlers, over a small model and a connection
 * of this process to itself. */
#include "base/address.h"
#include "base/sizes.h"
#include "runtime/server/ollama/api.h"
#include "tests/unit/check.h"
#include "tests/unit/small_model.h"
#include <event2/http.h>
#include <stdlib.h>

/* ---- where to listen ---- */

static void test_addresses(void)
{
    static const struct {
        struct hl_address_sources sources; /* --host, --port, PORT, OLLAMA_HOST */
        const char *host;                  /* NULL: refused */
        uint16_t port;
    } cases[] = {
        {{NULL, NULL, NULL, NULL}, "127.0.0.1", 11434},
        {{"", "", "", ""}, "127.0.0.1", 11434},
        {{NULL, NULL, NULL, "0.0.0.0"}, "0.0.0.0", 11434},
        {{NULL, NULL, NULL, "0.0.0.0:8080"}, "0.0.0.0", 8080},
        {{NULL, NULL, NULL, ":8080"}, "0.0.0.0", 8080},
        {{NULL, NULL, NULL, "example"}, "example", 11434},
        {{NULL, NULL, NULL, "example:1"}, "example", 1},
        {{NULL, NULL, NULL, "http://example"}, "example", 80},
        {{NULL, NULL, NULL, "https://example"}, "example", 443},
        {{NULL, NULL, NULL, "http://example:8080"}, "example", 8080},
        {{NULL, NULL, NULL, "http://example:8080/a/b:7"}, "example", 8080},
        {{NULL, NULL, NULL, "example/path"}, "example", 11434},
        {{NULL, NULL, NULL, "http://"}, "127.0.0.1", 80},
        {{NULL, NULL, NULL, "[::1]"}, "::1", 11434},
        {{NULL, NULL, NULL, "[::1]:8080"}, "::1", 8080},
        {{NULL, NULL, NULL, "http://[fe80::1]/x"}, "fe80::1", 80},
        {{NULL, NULL, NULL, "::1"}, "::1", 11434},
        {{NULL, NULL, NULL, "::"}, "::", 11434},
        {{NULL, NULL, NULL, "h:0"}, "h", 0},
        {{NULL, NULL, NULL, "h:65535"}, "h", 65535},
        {{NULL, NULL, NULL, "h:65536"}, NULL, 0},
        {{NULL, NULL, NULL, "h:"}, NULL, 0},
        {{NULL, NULL, NULL, "h:-1"}, NULL, 0},
        {{NULL, NULL, NULL, "h: 1"}, NULL, 0},
        {{NULL, NULL, NULL, "h:0x50"}, NULL, 0},
        {{NULL, NULL, NULL, "h:999999999999999999999"}, NULL, 0},
        {{NULL, NULL, NULL, "a b"}, NULL, 0},
        {{NULL, NULL, NULL, "[::1"}, NULL, 0},
        {{NULL, NULL, NULL, "[::1]8080"}, NULL, 0},
        {{NULL, NULL, NULL, "ftp://h"}, NULL, 0},
        {{NULL, NULL, NULL, "://h"}, NULL, 0},
        {{NULL, NULL, "8080", NULL}, "0.0.0.0", 8080},
        {{NULL, NULL, "8080", "1.2.3.4"}, "1.2.3.4", 8080},
        {{NULL, NULL, "8080", "1.2.3.4:99"}, "1.2.3.4", 8080},
        {{NULL, NULL, "8080", ":99"}, "0.0.0.0", 8080},
        {{NULL, NULL, "x", NULL}, NULL, 0},
        {{NULL, NULL, "80 80", NULL}, NULL, 0},
        {{NULL, NULL, "65536", NULL}, NULL, 0},
        {{"1.1.1.1", NULL, "8080", "1.2.3.4:99"}, "1.1.1.1", 8080},
        {{NULL, "7", "8080", "1.2.3.4:99"}, "1.2.3.4", 7},
        {{NULL, "7", NULL, NULL}, "127.0.0.1", 7},
        {{"::1", "7", "8080", "1.2.3.4:99"}, "::1", 7},
        {{NULL, "seven", NULL, NULL}, NULL, 0},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_error err = {.message = ""};
        struct hl_address got;
        int result = hl_address_choose(&cases[i].sources, &got, &err);
        if (cases[i].host)
            CHECK_SAY(result == 0 && strcmp(got.host, cases[i].host) == 0 && got.port == cases[i].port,
                      "case %zu: %s port %u %s", i, got.host, got.port, err.message);
        else
            CHECK_SAY(result < 0 && err.kind == HL_ERROR_USAGE && *err.message, "case %zu was not refused", i);
    }
    char name[400];
    struct hl_error err;
    struct hl_address got;
    memset(name, 'h', sizeof name);
    name[sizeof name - 1] = 0;
    CHECK_FAILS(hl_address_choose(&(struct hl_address_sources){.host = name}, &got, &err), err, "--host");
}

static void test_environment(void)
{
    static const char *const cases[][2] = {{"x", "x"},   {"", ""},          {"  x\t", "x"}, {"\"x\"", "x"},
                                           {"'x'", "x"}, {" \" x ' ", "x"}, {"a b", "a b"}, {"\"\"", ""}};
    char value[256], large[300];
    struct hl_error err;
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        setenv("HOTLAYER_TEST", cases[i][0], 1);
        CHECK_OK(hl_address_environment("HOTLAYER_TEST", value, &err), err);
        CHECK_SAY(strcmp(value, cases[i][1]) == 0, "'%s' became '%s'", cases[i][0], value);
    }
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = 0;
    setenv("HOTLAYER_TEST", large, 1);
    CHECK_FAILS(hl_address_environment("HOTLAYER_TEST", value, &err), err, "HOTLAYER_TEST");
    unsetenv("HOTLAYER_TEST");
    CHECK(hl_address_environment("HOTLAYER_TEST", value, &err) == 0 && !*value);
}

static void test_listening(void)
{
    struct hl_address address = {.host = "127.0.0.1"}, same, nowhere = {.host = "192.0.2.1"};
    struct hl_error err;
    int fd = -1, second = -1;
    CHECK_OK(hl_address_listen(&address, &fd, &err), err);
    CHECK(address.port != 0);
    same = address;
    CHECK_FAILS(hl_address_listen(&same, &second, &err), err, "--port");
    CHECK_FAILS(hl_address_listen(&nowhere, &second, &err), err, "192.0.2.1");
    close(fd);
}

/* ---- bodies ---- */

static bool read_body(const char *text, struct hl_api_request *out, struct hl_error *err)
{
    /* Copies without the NUL, so that reading beyond the end is noticed. */
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    int result = hl_api_request_read(copy, n, false, out, err);
    free(copy);
    return result == 0;
}

static void test_defaults(void)
{
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    const struct hl_sampling *s = &body.request.sampling;
    if (!CHECK(read_body(" {\"model\":\"m\",\"prompt\":\"p\"} \n", &body, &err)))
        return;
    CHECK(strcmp(body.model, "m") == 0 && strcmp(body.prompt, "p") == 0);
    CHECK(body.stream && !body.raw && !body.load && !body.seeded && body.context == 0 && !*body.ignored);
    CHECK(body.request.n_predict == UINT32_MAX && body.request.n_stop == 0);
    CHECK(s->temperature == 0.8f && s->top_k == 40 && s->top_p == 0.9f && s->min_p == 0 && s->repeat_penalty == 1);
    CHECK(s->presence_penalty == 0 && s->frequency_penalty == 0 && s->repeat_last_n == 64);
    hl_api_request_release(&body);
}

static void test_options(void)
{
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    const struct hl_sampling *s = &body.request.sampling;
    if (!CHECK(
            read_body("{\"model\":\"m\",\"prompt\":\"\\u00e9\\n\",\"stream\":false,\"raw\":true,\"options\":{"
                      "\"num_predict\":7.9,\"num_ctx\":99,\"seed\":42,\"temperature\":0.25,\"top_k\":3,\"top_p\":0.5,"
                      "\"min_p\":0.125,\"repeat_penalty\":1.5,\"presence_penalty\":-1,\"frequency_penalty\":2,"
                      "\"repeat_last_n\":5,\"stop\":[\"a\",\"\",\"b\"],\"num_gpu\":1,\"new\":[{}],\"newer\":1}}",
                      &body, &err)))
        return;
    CHECK(strcmp(body.prompt, "\xc3\xa9\n") == 0 && !body.stream && body.raw && body.seeded && s->seed == 42);
    CHECK(body.request.n_predict == 7 && body.context == 99 && s->temperature == 0.25f && s->top_k == 3);
    CHECK(s->top_p == 0.5f && s->min_p == 0.125f && s->repeat_penalty == 1.5f && s->presence_penalty == -1);
    CHECK(s->frequency_penalty == 2 && s->repeat_last_n == 5 && body.request.n_stop == 2);
    CHECK(strcmp(body.request.stop[0], "a") == 0 && strcmp(body.request.stop[1], "b") == 0);
    CHECK(strcmp(body.ignored, "new, newer") == 0);
    hl_api_request_release(&body);
}

/* Numbers of every kind, and fields that come twice: the last counts, as in Ollama. */
static void test_numbers(void)
{
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    if (CHECK(read_body("{\"model\":\"x\",\"model\":\"m\",\"prompt\":\"p\",\"keep_alive\":-1,\"options\":{\"seed\":"
                        "123456789012345678901234567890,\"top_k\":7,\"top_k\":3.0,\"temperature\":1}}",
                        &body, &err))) {
        CHECK(!strcmp(body.model, "m") && body.seeded && body.request.sampling.seed == 1ull << 62);
        CHECK(body.request.sampling.top_k == 3 && body.request.sampling.temperature == 1);
        hl_api_request_release(&body);
    }
    /* 200 levels are read, more are not; 65536 values are, more are not. */
    for (int more = 0; more < 2; more++) {
        size_t depth = 198 + 3 * (size_t)more;
        char *text = malloc(300000), *at = text + sprintf(text, "{\"model\":\"m\",\"x\":");
        memset(at, '[', depth);
        memset(at + depth, ']', depth);
        strcpy(at + 2 * depth, "}");
        bool taken = read_body(text, &body, &err);
        CHECK_SAY(taken == !more, "%zu levels: %s", depth + 1, taken ? "taken" : err.message);
        if (taken)
            hl_api_request_release(&body);
        at = text + sprintf(text, "{\"model\":\"m\",\"x\":[0");
        for (int i = 0; i < 65533 + more; i++)
            at += sprintf(at, ",0");
        strcpy(at, "]}");
        taken = read_body(text, &body, &err);
        CHECK_SAY(taken == !more && (taken || strstr(err.message, "65536 values")), "%d values: %s", 65536 + more,
                  taken ? "taken" : err.message);
        if (taken)
            hl_api_request_release(&body);
        free(text);
    }
}

/* One option's text, and what comes of it. */
static struct hl_api_request with(const char *option)
{
    char text[1024];
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    snprintf(text, sizeof text, "{\"model\":\"m\",\"prompt\":\"p\",\"options\":{%s}}", option);
    if (CHECK_SAY(read_body(text, &body, &err), "%s: %s", option, err.message))
        hl_api_request_release(&body);
    return body;
}

static void test_edges(void)
{
    CHECK(with("\"num_predict\":-1").request.n_predict == UINT32_MAX);
    CHECK(with("\"num_predict\":-2").request.n_predict == UINT32_MAX);
    CHECK(with("\"num_predict\":1e18").request.n_predict == UINT32_MAX);
    CHECK(with("\"num_predict\":0").load);
    CHECK(with("\"num_predict\":0.5").load);
    CHECK(!with("\"num_predict\":1").load);
    CHECK(!with("\"seed\":-1").seeded);
    CHECK(with("\"seed\":-2").seeded);
    CHECK(with("\"seed\":0").seeded);
    CHECK(with("\"seed\":1e300").seeded);
    CHECK(with("\"repeat_last_n\":-1").request.sampling.repeat_last_n == UINT32_MAX);
    CHECK(with("\"repeat_last_n\":0").request.sampling.repeat_last_n == 0);
    CHECK(with("\"top_k\":-1").request.sampling.top_k == 0);
    CHECK(with("\"top_k\":1e12").request.sampling.top_k == 0);
    CHECK(with("\"top_p\":7").request.sampling.top_p == 1);
    CHECK(with("\"top_p\":-7").request.sampling.top_p == 0);
    CHECK(with("\"min_p\":7").request.sampling.min_p == 1);
    CHECK(with("\"temperature\":-1").request.sampling.temperature == 0);
    CHECK(with("\"stop\":\"x\"").request.n_stop == 1);
    CHECK(with("\"stop\":[]").request.n_stop == 0);
    CHECK(with("\"stop\":null,\"seed\":null").request.n_stop == 0);
    CHECK(strlen(with("\"a_name_so_long_that_it_and_the_next_one_do_not_fit_in_the_room_there_is\":1,"
                      "\"a_name_so_long_that_it_and_the_last_one_do_not_fit_in_the_room_there_is\":1")
                     .ignored) == 127);
}

static void test_refusals(void)
{
    static const char *const cases[][2] = {
        {"", "missing request body"},
        {" ", "broken JSON"},
        {"{", "broken JSON"},
        {"{}", "model"},
        {"{\"model\":\"\"}", "model"},
        {"{\"model\":null}", "model"},
        {"[]", "object"},
        {"\"x\"", "object"},
        {"null", "object"},
        {"{\"model\":\"m\"} x", "broken JSON"},
        {"{\"model\":\"m\"}{}", "broken JSON"},
        {"{\"model\":\"m\xff\"}", "UTF-8 at byte 11"},
        {"{\"model\":\"\xed\xa0\x80\"}", "UTF-8"},
        {"{\"model\":\"\\u0000\"}", "NUL"},
        {"{\"model\":\"m\\\\\\u0000\"}", "NUL"},
        {"{\"model\":1}", "\"model\""},
        {"{\"model\":\"m\",\"prompt\":{}}", "\"prompt\""},
        {"{\"model\":\"m\",\"stream\":0}", "\"stream\""},
        {"{\"model\":\"m\",\"raw\":\"\"}", "\"raw\""},
        {"{\"model\":\"m\",\"images\":[\"\"]}", "\"images\""},
        {"{\"model\":\"m\",\"context\":[1]}", "\"context\""},
        {"{\"model\":\"m\",\"system\":[]}", "\"system\""},
        {"{\"model\":\"m\",\"template\":1}", "\"template\""},
        {"{\"model\":\"m\",\"suffix\":{}}", "\"suffix\""},
        {"{\"model\":\"m\",\"prompt\":\"p\",\"raw\":true,\"system\":\"s\"}", "raw mode"},
        {"{\"model\":\"m\",\"prompt\":\"p\",\"raw\":true,\"template\":\"t\"}", "raw mode"},
        {"{\"model\":\"m\",\"format\":\"json\"}", "\"format\""},
        {"{\"model\":\"m\",\"format\":{}}", "\"format\""},
        {"{\"model\":\"m\",\"think\":true}", "\"think\""},
        {"{\"model\":\"m\",\"logprobs\":true}", "\"logprobs\""},
        {"{\"model\":\"m\",\"options\":[]}", "\"options\""},
        {"{\"model\":\"m\",\"options\":{\"top_k\":\"1\"}}", "option \"top_k\" must be of type integer"},
        {"{\"model\":\"m\",\"options\":{\"top_p\":true}}", "option \"top_p\" must be of type float32"},
        {"{\"model\":\"m\",\"options\":{\"use_mmap\":1}}", "option \"use_mmap\" must be of type boolean"},
        {"{\"model\":\"m\",\"options\":{\"stop\":{}}}", "option \"stop\""},
        {"{\"model\":\"m\",\"options\":{\"num_ctx\":0}}", "num_ctx"},
        {"{\"model\":\"m\",\"options\":{\"repeat_penalty\":-1}}", "repeat_penalty"},
        {"{\"model\":\"m\",\"options\":{\"temperature\":1e7}}", "temperature"},
        {"{\"model\":\"m\",\"options\":{\"seed\":1e999}}", "seed"},
        {"{\"model\":\"m\",\"options\":{\"stop\":[1]}}", "option \"stop\""},
        {"{\"model\":\"m\",\"options\":{\"top_k\":1.5e300e}}", "broken JSON"},
        {"{\"model\":\"m\",\"keep_alive\":true}", "keep_alive"},
        {"{\"model\":\"m\",\"prompt\":\"a\nb\"}", "broken JSON"},
        {"{\"model\":\"m\",\"prompt\":\"\\ud800\"}", "broken JSON"},
        {"{\"model\":\"m\",\"options\":{\"seed\":01}}", "broken JSON"},
        {"{\"model\":\"m\",}", "broken JSON"},
        {"{\"model\":\"m\",\"prompt\":\"p\"", "broken JSON"},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_api_request body;
        struct hl_error err = {.message = ""};
        bool taken = read_body(cases[i][0], &body, &err);
        CHECK_SAY(!taken && err.kind == HL_ERROR_REQUEST && strstr(err.message, cases[i][1]), "%s: %s", cases[i][0],
                  taken ? "taken" : err.message);
        if (taken)
            hl_api_request_release(&body);
    }
    struct hl_api_request body;
    struct hl_error err;
    /* These look like a NUL and are not. */
    CHECK(read_body("{\"model\":\"m\\\\u0000\",\"prompt\":\"\\u00001\"}", &body, &err) == false);
    if (CHECK(read_body("{\"model\":\"m\\\\u0000\",\"prompt\":\"u0000\"}", &body, &err)))
        hl_api_request_release(&body);
}

static bool read_chat(const char *messages, const char *more, struct hl_api_request *out, struct hl_error *err)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "{\"model\":\"m\",\"messages\":%s%s}", messages, more);
    return hl_api_request_read(text, (size_t)n, true, out, err) == 0;
}

static void test_conversations(void)
{
    static const char *const bad[][3] = {
        {"{}", "", "\"messages\""},
        {"[1]", "", "\"messages\""},
        {"[{}]", "", "\"role\""},
        {"[{\"role\":1}]", "", "\"role\""},
        {"[{\"role\":\"user\",\"content\":7}]", "", "\"content\""},
        {"[{\"role\":\"user\",\"images\":[\"aGk=\"]}]", "", "\"images\""},
        {"[{\"role\":\"user\",\"content\":[\"text\"]}]", "", "\"content\""},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]", "", "\"content\""},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"text\":\"x\"}]}]", "", "\"content\""},
        {"[{\"role\":\"user\",\"tool_calls\":{}}]", "", "\"tool_calls\""},
        {"[{\"role\":\"user\",\"tool_calls\":[1]}]", "", "\"function\""},
        {"[{\"role\":\"user\",\"tool_calls\":[{\"function\":1}]}]", "", "\"function\""},
        {"[{\"role\":\"user\",\"tool_calls\":[{\"function\":{\"name\":1}}]}]", "", "\"name\""},
        {"[{\"role\":\"user\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]", "",
         "\"arguments\""},
        {"[]", ",\"tools\":1", "\"tools\""},
        {"[]", ",\"tools\":[{}]", "\"tools\""},
    };
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    for (size_t i = 0; i < HL_COUNT(bad); i++) {
        bool taken = read_chat(bad[i][0], bad[i][1], &body, &err);
        CHECK_SAY(!taken && err.kind == HL_ERROR_REQUEST && strstr(err.message, bad[i][2]), "%s%s: %s", bad[i][0],
                  bad[i][1], taken ? "taken" : err.message);
        if (taken)
            hl_api_request_release(&body);
    }
    if (CHECK(read_chat("[]", ",\"tools\":[]", &body, &err))) {
        CHECK(body.load && body.chat);
        hl_api_request_release(&body);
    }
    if (CHECK(read_chat(
            "[{\"role\":\"TOOL\",\"content\":null,\"tool_name\":\"f\",\"x\":1.0,\"y\":null,\"tool_calls\":[]}]",
            ",\"tools\":[{\"type\":\"function\"}],\"_debug_render_only\":true", &body, &err))) {
        const struct hl_dict *message = body.conversation.messages.list->items[0].dict;
        CHECK(!body.load && body.render_only);
        CHECK(hl_value_is_text(*hl_dict_get(message, "role", 4), "tool") &&
              hl_value_is_text(*hl_dict_get(message, "name", 4), "f"));
        CHECK(hl_value_is_text(*hl_dict_get(message, "content", 7), ""));
        CHECK(hl_dict_get(message, "x", 1)->kind == HL_VALUE_FLOAT);
        CHECK(!hl_dict_get(message, "y", 1) && !hl_dict_get(message, "tool_calls", 10));
        CHECK(body.conversation.tools.kind == HL_VALUE_LIST && body.conversation.tools.list->n == 1);
        hl_api_request_release(&body);
    }
}

/* Returns one message's member as templates see it. */
static void check_member(const char *message, const char *key, struct hl_value want)
{
    char messages[512];
    struct hl_api_request body;
    struct hl_error err = {.message = ""};
    bool equal = false;
    snprintf(messages, sizeof messages, "[%s]", message);
    if (!CHECK_SAY(read_chat(messages, "", &body, &err), "%s: %s", message, err.message))
        return;
    const struct hl_value *got = hl_dict_get(body.conversation.messages.list->items[0].dict, key, strlen(key));
    CHECK_SAY(got && got->kind == want.kind && hl_value_equal(&body.arena, *got, want, &equal, &err) == 0 && equal,
              "%s: %s", message, key);
    hl_api_request_release(&body);
}

static void test_messages(void)
{
    static const char call[] = "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}";
    check_member("{\"role\":\"user\"}", "content", hl_string("", 0));
    check_member("{\"role\":\"user\",\"content\":[]}", "content", hl_string("", 0));
    check_member("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}", "content", hl_string("a", 1));
    check_member(
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"text\":\"b\",\"type\":\"text\"}]}",
        "content", hl_string("a\n\nb", 4));
    check_member(call, "content", hl_none());
    check_member("{\"role\":\"USER\",\"thinking\":\"t\"}", "reasoning_content", hl_string("t", 1));
    check_member("{\"role\":\"tool\",\"name\":\"mine\",\"tool_name\":\"t\"}", "name", hl_string("mine", 4));
}

static void test_names(void)
{
    struct hl_model plain = {.name = "Llama3"}, tagged = {.name = "gemma:2b"};
    CHECK(hl_api_is_model(&plain, "llama3") && hl_api_is_model(&plain, "LLAMA3:Latest"));
    CHECK(!hl_api_is_model(&plain, "llama3:8b") && !hl_api_is_model(&plain, "llama") && !hl_api_is_model(&plain, ""));
    CHECK(!hl_api_is_model(&plain, "llama3:latest:latest") && !hl_api_is_model(&plain, "llama3:"));
    CHECK(hl_api_is_model(&tagged, "Gemma:2B") && !hl_api_is_model(&tagged, "gemma"));
    CHECK(!hl_api_is_model(&tagged, "gemma:2b:latest") && !hl_api_is_model(&tagged, "gemma:latest"));
}

static void test_time(void)
{
    char text[40];
    hl_api_time(&(struct timespec){.tv_sec = 951782400, .tv_nsec = 7}, text);
    CHECK(strcmp(text, "2000-02-29T00:00:00.000000007Z") == 0);
}

static void check_json(const char *text, size_t n, const char *want)
{
    struct evbuffer *out = evbuffer_new();
    hl_reply_add_string(out, text, n);
    evbuffer_add(out, "", 1);
    const char *got = (const char *)evbuffer_pullup(out, -1);
    CHECK_SAY(strcmp(got, want) == 0, "%s is not %s", got, want);
    evbuffer_free(out);
}

static void test_json_strings(void)
{
    check_json("", 0, "\"\"");
    check_json("a\"\\/b", 5, "\"a\\\"\\\\/b\"");
    check_json("\n\0\x1f\x7f", 4, "\"\\u000a\\u0000\\u001f\x7f\"");
    check_json("\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    check_json("a\xff"
               "b\xe2\x82",
               5,
               "\"a\xef\xbf\xbd"
               "b\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* ---- handlers ---- */

struct bench {
    struct event_base *base;
    struct hl_httpd *http;
    struct hl_server server;
    struct event *news;
    struct hl_address address;
};

static void on_ready(void *context, uint64_t mapped_ns, uint64_t ready_ns)
{
    struct bench *b = context;
    (void)mapped_ns;
    b->server.ready = ready_ns;
}

static void on_failed(void *context, const struct hl_error *err)
{
    (void)context;
    CHECK_SAY(false, "%s", err->message);
}

static void on_news(evutil_socket_t fd, short what, void *context)
{
    struct bench *b = context;
    (void)fd;
    (void)what;
    hl_worker_dispatch(b->server.worker);
}

static void open_bench(struct bench *b, const char *path)
{
    struct hl_error err;
    int listener;
    *b = (struct bench){.base = event_base_new(), .address = {.host = "127.0.0.1"}};
    if (!CHECK_OK(hl_model_open(path, &b->server.model, &err), err))
        exit(check_summary());
    const struct hl_worker_options worker = {.engine = {.parallel = 1, .context = 64, .threads = 1},
                                             .max_waiting = 4,
                                             .ready = on_ready,
                                             .failed = on_failed,
                                             .context = b};
    const struct hl_httpd_options http = {
        .routes = hl_api_routes, .context = &b->server, .connections = 8, .timeout = 20};
    b->server.context = 64;
    b->server.first_token = 1; /* the server's log of its start is not tested here */
    if (!CHECK_OK(hl_worker_open(b->server.model, &worker, &b->server.worker, &err), err) ||
        !CHECK_OK(hl_address_listen(&b->address, &listener, &err), err) ||
        !CHECK_OK(hl_httpd_open(b->base, listener, &http, &b->http, &err), err))
        exit(check_summary());
    b->news = event_new(b->base, hl_worker_fd(b->server.worker), EV_READ | EV_PERSIST, on_news, b);
    event_add(b->news, NULL);
}

static void close_bench(struct bench *b)
{
    hl_httpd_close(b->http);
    CHECK(hl_worker_close(b->server.worker, 60000));
    hl_model_close(b->server.model);
    event_free(b->news);
    event_base_free(b->base);
}

struct answer {
    struct event_base *base;
    int status;
    char text[16384];
};

static void on_answer(struct evhttp_request *request, void *context)
{
    struct answer *a = context;
    a->status = request ? evhttp_request_get_response_code(request) : -1;
    if (request) {
        struct evbuffer *body = evhttp_request_get_input_buffer(request);
        a->text[evbuffer_copyout(body, a->text, sizeof a->text - 1)] = 0;
    }
    event_base_loopbreak(a->base);
}

static struct answer ask(struct bench *b, const char *path, const char *body)
{
    struct answer a = {.base = b->base};
    struct evhttp_connection *peer = evhttp_connection_base_new(b->base, NULL, "127.0.0.1", b->address.port);
    struct evhttp_request *request = evhttp_request_new(on_answer, &a);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "x");
    if (body)
        evbuffer_add(evhttp_request_get_output_buffer(request), body, strlen(body));
    evhttp_make_request(peer, request, body ? EVHTTP_REQ_POST : EVHTTP_REQ_GET, path);
    event_base_dispatch(b->base);
    evhttp_connection_free(peer);
    return a;
}

static void check_answer(struct bench *b, const char *path, const char *body, int status, const char *word)
{
    struct answer a = ask(b, path, body);
    CHECK_SAY(a.status == status && strstr(a.text, word), "%s %s: %d, no '%s' in %s", path, body ? body : "", a.status,
              word, a.text);
}

static void test_show(struct bench *b)
{
    check_answer(b, "/api/show", "{\"model\":\"test\"}", 200, "\"capabilities\":[\"completion\"]}");
    check_answer(b, "/api/show", "{\"name\":\"TEST:latest\"}", 200, "\"model_info\":{\"general.architecture\":\"");
    check_answer(b, "/api/show", "{\"model\":null,\"name\":\"test\"}", 200, "\"format\":\"hot\"");
    check_answer(b, "/api/show", "{\"model\":\"other\"}", 404, "model 'other' not found");
    check_answer(b, "/api/show", "{\"model\":7}", 400, "missing");
    check_answer(b, "/api/show", "{}", 400, "missing");
    check_answer(b, "/api/show", "", 400, "missing request body");
    check_answer(b, "/api/show", "[", 400, "broken JSON");
    check_answer(b, "/api/tags", NULL, 200, "\"name\":\"test:latest\"");
}

static void test_generate(struct bench *b)
{
    check_answer(b, "/api/generate", "{\"model\":\"test\"}", 200, "\"done_reason\":\"load\"}");
    while (!b->server.ready)
        event_base_loop(b->base, EVLOOP_ONCE);
    check_answer(b, "/readyz", NULL, 200, "ready");
    check_answer(b, "/api/ps", NULL, 200, "\"context_length\":64");
    struct answer whole = ask(b, "/api/generate",
                              "{\"model\":\"test\",\"prompt\":\"ab\",\"stream\":false,\"options\":{"
                              "\"temperature\":0,\"num_predict\":5}}");
    const char *context = strstr(whole.text, "\"context\":[");
    CHECK_SAY(whole.status == 200 && context && strstr(whole.text, "\"eval_count\":5"), "%s", whole.text);
    unsigned tokens = 1, prompt = 0;
    for (const char *at = context; at && *at != ']'; at++)
        tokens += *at == ',' && at > context + 10;
    const char *count = strstr(whole.text, "\"prompt_eval_count\":");
    CHECK(count && sscanf(count, "\"prompt_eval_count\":%u", &prompt) == 1 && tokens == prompt + 5);
    struct answer stream = ask(b, "/api/generate",
                               "{\"model\":\"test\",\"prompt\":\"ab\",\"raw\":true,\"options\":{"
                               "\"temperature\":0,\"num_predict\":5}}");
    CHECK_SAY(stream.status == 200 && strstr(stream.text, "\"done\":true,\"done_reason\":\"length\"") &&
                  !strstr(stream.text, "\"context\""),
              "%s", stream.text);
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"ab\",\"_debug_render_only\":true}", 200,
                 "\"_debug_info\":{\"rendered_template\":\"ab\"}}");
    check_answer(b, "/api/generate",
                 "{\"model\":\"test\",\"prompt\":\"ab\",\"template\":\"<{{ .Prompt }}>\","
                 "\"_debug_render_only\":true}",
                 200, "\"rendered_template\":\"<ab>\"");
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"ab\",\"template\":\"{{ \"}", 400, "error");
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"ab\",\"system\":\"s\"}", 400, "template");
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"ab\",\"options\":{\"num_ctx\":65}}", 400,
                 "num_ctx");
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"abcdefgh\",\"options\":{\"num_ctx\":1}}", 400,
                 "context of 1");
    check_answer(b, "/api/generate", "{\"model\":\"none\",\"prompt\":\"ab\"}", 404, "not found");
    check_answer(b, "/api/chat", "{\"model\":\"test\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 400,
                 "no chat template");
    check_answer(b, "/api/chat", "{\"model\":\"test\",\"messages\":[]}", 200,
                 "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true");
    b->server.stopping = true;
    check_answer(b, "/api/generate", "{\"model\":\"test\",\"prompt\":\"ab\"}", 503, "shutting down");
    check_answer(b, "/readyz", NULL, 503, "shutting down");
    check_answer(b, "/healthz", NULL, 200, "ok");
    b->server.stopping = false;
}

static void test_handlers(void)
{
    struct hl_error err;
    struct bench b;
    const char *path = in_scratch("model.hot");
    if (!CHECK_OK(pack_model(FIXTURES "f16-sharded", path, HL_QUANT_KEEP, 1 << 20, &err), err))
        return;
    open_bench(&b, path);
    test_show(&b);
    test_generate(&b);
    close_bench(&b);
}

int main(void)
{
    test_addresses();
    test_environment();
    test_listening();
    test_defaults();
    test_options();
    test_numbers();
    test_edges();
    test_refusals();
    test_conversations();
    test_messages();
    test_names();
    test_time();
    test_json_strings();
    test_handlers();
    return scratch_summary();
}
