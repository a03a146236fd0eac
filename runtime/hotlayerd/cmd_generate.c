/* hotlayerd generate: a prompt on the command line, its continuation on stdout. */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "runtime/engine/generation.h"
#include "runtime/hotlayerd/commands.h"
#include "runtime/server/reply.h"
#include "runtime/template/prompt.h"
#include <assert.h>
#include <getopt.h>
#include <time.h>
#include <utf8proc.h>

static const char help[] =
    "usage: hotlayerd generate --model PATH -p PROMPT [OPTIONS]\n"
    "\n"
    "Prints the text that the model continues the prompt with, and nothing else.\n"
    "\n"
    "  -p, --prompt TEXT    what to continue; may be empty\n"
    "  -n, --predict N      at most N new tokens (default: until the model stops)\n"
    "      --temp T         0 (default): always the most likely token\n"
    "      --top-k K, --top-p P, --min-p P, --repeat-penalty X\n"
    "      --seed S         the same seed gives the same text (default 0)\n"
    "      --system TEXT    what the chat template tells the model in front of the prompt\n"
    "      --raw            take the prompt as it is, without a chat template\n"
    "      --json           one JSON object with the text, counts and durations\n" HL_COMMON_HELP "  -h, --help\n"
    "\n"
    "examples:\n"
    "  hotlayerd generate --model llama.hot -p 'Once upon a time'\n"
    "  hotlayerd generate --model llama.hot -p 'Once' -n 100 --temp 0.8 --seed 7\n";

struct options {
    struct hl_common common;
    const char *prompt, *system;
    struct hl_request generate;
    uint32_t seed;
    bool raw, json, help;
};

enum { TEMP = 1, TOP_K, TOP_P, MIN_P, REPEAT, SEED, SYSTEM, RAW, JSON };

static int take(struct options *o, int option, char *const *argv, struct hl_error *err)
{
    struct hl_sampling *s = &o->generate.sampling;
    switch (option) {
    case 'p':
        o->prompt = optarg;
        return 0;
    case 'n':
        return hl_cli_count("-n", optarg, 1, UINT32_MAX, &o->generate.n_predict, err);
    case TEMP:
        return hl_cli_real("--temp", optarg, 0, 1000, &s->temperature, err);
    case TOP_K:
        return hl_cli_count("--top-k", optarg, 0, UINT32_MAX, &s->top_k, err);
    case TOP_P:
        return hl_cli_real("--top-p", optarg, 0, 1, &s->top_p, err);
    case MIN_P:
        return hl_cli_real("--min-p", optarg, 0, 1, &s->min_p, err);
    case REPEAT:
        return hl_cli_real("--repeat-penalty", optarg, 0.01, 100, &s->repeat_penalty, err);
    case SEED:
        return hl_cli_count("--seed", optarg, 0, UINT32_MAX, &o->seed, err);
    case SYSTEM:
        o->system = optarg;
        return 0;
    case RAW:
        o->raw = true;
        return 0;
    case JSON:
        o->json = true;
        return 0;
    case 'h':
        o->help = true;
        return 0;
    default:
        break;
    }
    return hl_common_option(&o->common, option, argv, err);
}

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    static const struct option longs[] = {{"prompt", required_argument, NULL, 'p'},
                                          {"predict", required_argument, NULL, 'n'},
                                          {"temp", required_argument, NULL, TEMP},
                                          {"top-k", required_argument, NULL, TOP_K},
                                          {"top-p", required_argument, NULL, TOP_P},
                                          {"min-p", required_argument, NULL, MIN_P},
                                          {"repeat-penalty", required_argument, NULL, REPEAT},
                                          {"seed", required_argument, NULL, SEED},
                                          {"system", required_argument, NULL, SYSTEM},
                                          {"raw", no_argument, NULL, RAW},
                                          {"json", no_argument, NULL, JSON},
                                          {"help", no_argument, NULL, 'h'},
                                          HL_COMMON_OPTIONS,
                                          {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    while (!o->help && (option = getopt_long(argc, argv, "p:n:h", longs, NULL)) != -1)
        if (take(o, option, argv, err) < 0)
            return -1;
    if (o->help)
        return 0;
    if (optind != argc)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%s' is one argument too many; the prompt goes behind -p",
                          argv[optind]);
    if (!o->prompt)
        return hl_fail_as(err, HL_ERROR_USAGE, "-p PROMPT is missing");
    o->generate.sampling.seed = o->seed;
    return 0;
}

/* What the callbacks write to. */
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

/* The text may hold any character, NUL too, so it does not go through cJSON's strings. */
static int print_json(const struct output *out)
{
    const struct hl_timings *t = &out->timings;
    struct evbuffer *json = evbuffer_new();
    if (!json)
        return -1;
    evbuffer_add_printf(json, "{\"text\":");
    hl_reply_add_string(json, out->text.data ? (const char *)out->text.data : "", out->text.size);
    evbuffer_add_printf(json,
                        ",\"finish\":\"%s\",\"prompt_tokens\":%u,\"tokens\":%u,\"prompt_ms\":%.3f,"
                        "\"decode_ms\":%.3f}\n",
                        out->reason == HL_FINISH_LENGTH ? "length" : "stop", t->n_prompt, t->n_decoded,
                        (double)t->prompt_ns / 1e6, (double)t->decode_ns / 1e6);
    size_t n = evbuffer_get_length(json);
    const void *line = evbuffer_pullup(json, -1);
    int result = line && fwrite(line, 1, n, stdout) == n ? 0 : -1;
    evbuffer_free(json);
    return result;
}

/* The tokenizer takes any bytes, templates do not. */
static int check_utf8(const char *option, const char *text, struct hl_error *err)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t n;
    for (const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text; *at; at += n)
        if ((n = utf8proc_iterate(at, -1, &code)) < 1)
            return hl_fail_as(err, HL_ERROR_USAGE, "the text of %s is not UTF-8; only --raw takes that", option);
    return 0;
}

/* The prompt is the user's message, where the model has a chat template. */
static int encode(const struct options *o, const struct hl_model *model, int32_t **ids, size_t *n_ids,
                  struct hl_error *err)
{
    struct hl_conversation conversation;
    struct hl_arena arena;
    char *text;
    size_t n;
    if (o->system && (o->raw || !model->template))
        return hl_fail(err, "--system needs a chat template, and %s",
                       o->raw ? "--raw takes none" : "the model has none");
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
    struct hl_request request = o->generate;
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = &out};
    size_t n_prompt = 0;
    assert(o->prompt); /* parse() insists on it */
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
    if (result == 0 && o->json && print_json(&out) < 0)
        result = hl_fail(err, "standard output cannot be written");
    else if (result == 0 && !o->json)
        putchar('\n');
    free(out.text.data);
    return result;
}

int hl_cmd_generate(int argc, char **argv)
{
    struct options o = {.generate = {.n_predict = UINT32_MAX, .sampling = hl_sampling_default}};
    struct hl_model *model;
    struct hl_engine *engine;
    struct hl_error err;
    o.generate.sampling.temperature = 0;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("generate", &err);
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    if (hl_common_open(&o.common, &model, &engine, &err) < 0)
        return hl_cli_report("generate", &err);
    int result = generate(&o, model, engine, &err);
    hl_common_close(model, engine);
    return result < 0 ? hl_cli_report("generate", &err) : 0;
}
