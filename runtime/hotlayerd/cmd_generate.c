/* hotlayerd generate: continues a prompt and prints the text. */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "runtime/engine/generation.h"
#include "runtime/hotlayerd/commands.h"
#include "runtime/server/reply.h"
#include "runtime/template/prompt.h"
#include <assert.h>
#include <time.h>
#include <utf8proc.h>

static const char about[] = "usage: hotlayerd generate --model PATH -p PROMPT [OPTIONS]\n"
                            "\n"
                            "Prints the text with which the model continues the prompt, and nothing else.\n";

static const char examples[] = "examples:\n"
                               "  hotlayerd generate --model llama.hot -p 'Once upon a time'\n"
                               "  hotlayerd generate --model llama.hot -p 'Once' -n 100 --temp 0.8 --seed 7\n";

struct options {
    struct hl_common common;
    const char *prompt, *system;
    struct hl_request request;
    uint32_t seed;
    bool raw, json;
};

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    struct hl_sampling *s = &o->request.sampling;
    const struct hl_option table[] = {
        hl_option_text("-p, --prompt TEXT", &o->prompt, "the text to continue; may be empty"),
        hl_option_count("-n, --predict N", 1, UINT32_MAX, &o->request.n_predict,
                        "the largest number of new tokens; default: until the model stops"),
        hl_option_real("--temp T", 0, 1000, &s->temperature, "temperature; 0 (default): always the most likely token"),
        hl_option_count("--top-k K", 0, UINT32_MAX, &s->top_k, "sample from the K most likely tokens; 0: from all"),
        hl_option_real("--top-p P", 0, 1, &s->top_p, "sample from the most likely tokens that sum to P"),
        hl_option_real("--min-p P", 0, 1, &s->min_p, "drop tokens less likely than P times the most likely one"),
        hl_option_real("--repeat-penalty X", 0.01, 100, &s->repeat_penalty, "make recent tokens less likely; 1: off"),
        hl_option_count("--seed S", 0, UINT32_MAX, &o->seed, "the same seed gives the same text; default 0"),
        hl_option_text("--system TEXT", &o->system, "the system message of the chat template"),
        hl_option_flag("--raw", &o->raw, "take the prompt as it is, without a chat template"),
        hl_option_flag("--json", &o->json, "print one JSON object with the text, counts and durations"),
        HL_COMMON_OPTIONS(&o->common),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, "the prompt after -p", 0, 0};
    if (hl_options_parse(&options, argc, argv, err) < 0)
        return -1;
    if (!o->prompt)
        return hl_fail_as(err, HL_ERROR_USAGE, "-p PROMPT is missing");
    s->seed = o->seed;
    return 0;
}

/* The state of the callbacks. */
struct output {
    bool json, done;
    struct hl_bytes text;
    enum hl_finish reason;
    struct hl_timings timings;
    struct hl_error err;
};

static bool put(struct output *out, const char *piece, size_t n)
{
    if (!out->json)
        return fwrite(piece, 1, n, stdout) == n && fflush(stdout) == 0;
    return hl_bytes_append(&out->text, piece, n, SIZE_MAX) == 0;
}

static bool on_text(void *context, const char *piece, size_t n)
{
    return put(context, piece, n);
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct output *out = context;
    put(out, rest, n);
    out->done = true;
    out->reason = reason;
    out->timings = *timings;
    if (err)
        out->err = *err;
}

/* Prints the result without cJSON's strings, since the text may hold any character, NUL too. hl_cli_main() reports a
 * failed write. */
static int print_json(const struct output *out, struct hl_error *err)
{
    const struct hl_timings *t = &out->timings;
    struct evbuffer *json = evbuffer_new();
    if (!json)
        return hl_no_memory(err);
    evbuffer_add_printf(json, "{\"text\":");
    hl_reply_add_string(json, out->text.data ? (const char *)out->text.data : "", out->text.size);
    evbuffer_add_printf(json,
                        ",\"finish\":\"%s\",\"prompt_tokens\":%u,\"tokens\":%u,\"prompt_ms\":%.3f,"
                        "\"decode_ms\":%.3f}\n",
                        out->reason == HL_FINISH_LENGTH ? "length" : "stop", t->n_prompt, t->n_decoded,
                        (double)t->prompt_ns / 1e6, (double)t->decode_ns / 1e6);
    size_t n = evbuffer_get_length(json);
    const void *line = evbuffer_pullup(json, -1);
    if (line)
        fwrite(line, 1, n, stdout);
    evbuffer_free(json);
    return line ? 0 : hl_no_memory(err);
}

/* Fails if the text is not UTF-8: the tokenizer takes any bytes, templates do not. */
static int check_utf8(const char *option, const char *text, struct hl_error *err)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t n;
    for (const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text; *at; at += n)
        if ((n = utf8proc_iterate(at, -1, &code)) < 1)
            return hl_fail_as(err, HL_ERROR_USAGE, "the text of %s is not UTF-8; only --raw allows that", option);
    return 0;
}

/* Encodes the prompt, as the user's message if the model has a chat template. */
static int encode(const struct options *o, const struct hl_model *model, int32_t **ids, size_t *n_ids,
                  struct hl_error *err)
{
    struct hl_conversation conversation;
    struct hl_arena arena;
    char *text;
    size_t n;
    if (o->system && (o->raw || !model->template))
        return hl_fail(err, "--system needs a chat template, and %s",
                       o->raw ? "--raw uses no template" : "the model has no template");
    if (o->raw || !model->template)
        return hl_tokenizer_encode(model->tokenizer, o->prompt, strlen(o->prompt), HL_ENCODE_BOS | HL_ENCODE_SPECIAL,
                                   ids, n_ids, err);
    if (check_utf8("-p", o->prompt, err) < 0 || (o->system && check_utf8("--system", o->system, err) < 0))
        return -1;
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    int result = hl_conversation_start(&arena, o->system ? o->system : "", o->prompt, &conversation, err);
    if (result == 0)
        result = hl_prompt_render(model->template, &arena, &conversation, (int64_t)time(NULL), &text, &n, err);
    if (result == 0)
        result = hl_prompt_encode(model->template, model->tokenizer, text, n, ids, n_ids, err);
    hl_arena_release(&arena);
    return result;
}

static int generate(const struct options *o, const struct hl_model *model, struct hl_engine *engine,
                    struct hl_error *err)
{
    struct hl_scheduler *scheduler;
    struct output out = {.json = o->json};
    struct hl_request request = o->request;
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = &out};
    size_t n_prompt = 0;
    assert(o->prompt); /* parse() checks it */
    if (encode(o, model, &request.tokens, &n_prompt, err) < 0)
        return -1;
    if (hl_scheduler_open(model, engine, &scheduler, err) < 0) {
        hl_request_release(&request);
        return -1;
    }
    request.n_prompt = n_prompt > UINT32_MAX ? UINT32_MAX : (uint32_t)n_prompt;
    int result = hl_generation_start(scheduler, model, &request, &events, err);
    while (result == 0 && !out.done)
        hl_scheduler_step(scheduler);
    hl_scheduler_close(scheduler);
    hl_request_release(&request);
    if (result == 0 && out.reason == HL_FINISH_ERROR) {
        *err = out.err;
        result = -1;
    }
    if (result == 0 && o->json)
        result = print_json(&out, err);
    else if (result == 0)
        putchar('\n');
    free(out.text.data);
    return result;
}

int hl_cmd_generate(int argc, char **argv)
{
    struct options o = {.request = {.n_predict = UINT32_MAX, .sampling = hl_sampling_default}};
    struct hl_model *model;
    struct hl_engine *engine;
    struct hl_error err;
    o.request.sampling.temperature = 0;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("generate", &err);
    if (hl_common_open(&o.common, &model, &engine, &err) < 0)
        return hl_cli_report("generate", &err);
    int result = generate(&o, model, engine, &err);
    hl_common_close(model, engine);
    return result < 0 ? hl_cli_report("generate", &err) : 0;
}
