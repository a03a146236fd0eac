/* POST /api/generate and /api/chat. A generation lives from its exchange until the worker has ended its request; the
 * exchange may end sooner, when the client leaves. All of a client's errors are found before the request is queued, so
 * that they get a status; later failures are reported in the stream. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/server/log.h"
#include "runtime/server/ollama/api.h"
#include "runtime/template/go/gotemplate.h"
#include <inttypes.h>
#include <sys/random.h>

static const char stream_type[] = "application/x-ndjson";

/* Prompts with more bytes per position of the context are refused, before the event loop spends seconds on tokenizing.
 * No text is that dense: reserved tokens' names have 30 bytes, words 4. */
#define PROMPT_DENSITY 32u
#define PROMPT_LEAST 4096u /* bytes that are always tokenized */

struct generation {
    struct hl_server *server;
    struct hl_exchange *exchange; /* NULL: the client has left */
    struct hl_api_request asked;
    uint64_t arrived;
    const char *rendered; /* the prompt, if that is the answer; in the request's arena */
    size_t n_rendered;
    struct evbuffer *text; /* the whole text, if it is not streamed */
    bool begun;            /* part of the stream is out */
};

static void free_generation(struct generation *g)
{
    hl_api_request_release(&g->asked);
    if (g->text)
        evbuffer_free(g->text);
    free(g);
}

static void on_left(void *context)
{
    struct generation *g = context;
    g->exchange = NULL;
    hl_worker_cancel(g->server->worker, &g->asked.request);
}

/* ---- JSON ---- */

/* Adds {"model":...,"created_at":...,"response":... or "message":...,"done":... The caller adds the rest and the
 * brace. */
static void begin_object(struct evbuffer *out, const struct generation *g, const char *text, size_t n, bool done)
{
    struct timespec now;
    char created[40];
    clock_gettime(CLOCK_REALTIME, &now);
    hl_api_time(&now, created);
    evbuffer_add_printf(out, "{\"model\":");
    hl_reply_add_string(out, g->asked.model, strlen(g->asked.model));
    evbuffer_add_printf(out, ",\"created_at\":\"%s\",%s", created,
                        g->asked.chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"response\":");
    hl_reply_add_string(out, text, n);
    evbuffer_add_printf(out, "%s,\"done\":%s", g->asked.chat ? "}" : "", done ? "true" : "false");
}

static void add_result(struct evbuffer *out, const struct generation *g, enum hl_finish reason,
                       const struct hl_timings *timings)
{
    uint64_t total = hl_clock_ns() - g->arrived, computed = timings->prompt_ns + timings->decode_ns;
    evbuffer_add_printf(out, ",\"done_reason\":\"%s\"",
                        g->asked.load                ? "load"
                        : reason == HL_FINISH_LENGTH ? "length"
                                                     : "stop");
    if (g->asked.load)
        return;
    bool context = !g->asked.raw && !g->asked.chat;
    for (uint32_t i = 0; i < g->asked.request.n_tokens && context; i++)
        evbuffer_add_printf(out, "%s%d", i ? "," : ",\"context\":[", g->asked.request.tokens[i]);
    evbuffer_add_printf(out,
                        "%s,\"total_duration\":%" PRIu64 ",\"load_duration\":%" PRIu64 ",\"prompt_eval_count\":%u"
                        ",\"prompt_eval_duration\":%" PRIu64 ",\"eval_count\":%u,\"eval_duration\":%" PRIu64,
                        context ? "]" : "", total, total > computed ? total - computed : 0, timings->n_prompt,
                        timings->prompt_ns, timings->n_decoded, timings->decode_ns);
}

/* ---- events from the worker ---- */

static bool send_line(struct generation *g, const char *text, size_t n)
{
    struct evbuffer *line = evbuffer_new();
    if (!line)
        return false;
    begin_object(line, g, text, n, false);
    evbuffer_add_printf(line, "}\n");
    g->begun = true;
    bool more = hl_reply_piece(g->exchange, stream_type, line);
    evbuffer_free(line);
    return more;
}

static void on_piece(struct generation *g, const char *piece, size_t n)
{
    if (n == 0 || !g->exchange)
        return;
    if (g->asked.stream)
        send_line(g, piece, n);
    else
        evbuffer_add(g->text, piece, n);
}

static bool on_text(void *context, const char *piece, size_t n)
{
    struct generation *g = context;
    on_piece(g, piece, n);
    hl_server_token(g->server);
    return true;
}

static void send_result(struct generation *g, enum hl_finish reason, const struct hl_timings *timings)
{
    struct evbuffer *out = evbuffer_new();
    size_t n = g->text ? evbuffer_get_length(g->text) : 0;
    if (!out) {
        hl_reply_error(g->exchange, 500, "out of memory");
        return;
    }
    begin_object(out, g, n ? (const char *)evbuffer_pullup(g->text, -1) : "", n, true);
    add_result(out, g, reason, timings);
    if (!g->asked.stream) {
        evbuffer_add_printf(out, "}");
        hl_reply_send(g->exchange, 200, HL_REPLY_JSON, out);
    } else {
        evbuffer_add_printf(out, "}\n");
        if (hl_reply_piece(g->exchange, stream_type, out))
            hl_reply_end(g->exchange);
    }
    evbuffer_free(out);
}

static void send_failure(struct generation *g, const struct hl_error *err)
{
    struct evbuffer *out = evbuffer_new();
    if (!g->begun || !out) {
        hl_reply_failure(g->exchange, err);
    } else {
        evbuffer_add_printf(out, "{\"error\":");
        hl_reply_add_string(out, err->message, strlen(err->message));
        evbuffer_add_printf(out, "}\n");
        if (hl_reply_piece(g->exchange, stream_type, out))
            hl_reply_end(g->exchange);
    }
    if (out)
        evbuffer_free(out);
}

static void log_end(const struct generation *g, enum hl_finish reason, const struct hl_timings *timings,
                    const struct hl_error *err)
{
    static const char *const names[] = {"stop", "length", "cancelled", "error"};
    cJSON *fields = cJSON_CreateObject();
    cJSON_AddStringToObject(fields, "finish", g->asked.load && reason == HL_FINISH_STOP ? "load" : names[reason]);
    cJSON_AddNumberToObject(fields, "prompt_tokens", g->asked.request.n_prompt);
    cJSON_AddNumberToObject(fields, "tokens", timings->n_decoded);
    cJSON_AddNumberToObject(fields, "total_ms", hl_log_ms(hl_clock_ns() - g->arrived));
    cJSON_AddNumberToObject(fields, "prompt_ms", hl_log_ms(timings->prompt_ns));
    cJSON_AddNumberToObject(fields, "decode_ms", hl_log_ms(timings->decode_ns));
    if (err)
        cJSON_AddStringToObject(fields, "error", err->message);
    hl_log(err ? HL_LOG_ERROR : HL_LOG_INFO, "generation", fields);
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct generation *g = context;
    struct hl_error stopped;
    log_end(g, reason, timings, err);
    if (reason == HL_FINISH_CANCELLED) {
        hl_fail_as(&stopped, HL_ERROR_BUSY, "the server is shutting down");
        err = &stopped;
    }
    if (!err)
        on_piece(g, rest, n);
    if (g->exchange && err)
        send_failure(g, err);
    else if (g->exchange)
        send_result(g, reason, timings);
    free_generation(g);
}

/* ---- the request ---- */

static int check_context(const struct hl_server *server, const struct hl_api_request *asked, struct hl_error *err)
{
    if (asked->context > server->context)
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"num_ctx\" is %u, more than the %u of this server (--ctx)",
                          asked->context, server->context);
    return 0;
}

/* Makes a conversation of one message from a prompt. */
static int converse(struct hl_api_request *asked, struct hl_error *err)
{
    if (asked->chat)
        return 0;
    if (hl_conversation_start(&asked->arena, asked->system, asked->prompt, &asked->conversation, err) < 0)
        return -1;
    if (*asked->suffix) {
        asked->conversation.prompt = hl_string(asked->prompt, strlen(asked->prompt));
        asked->conversation.suffix = hl_string(asked->suffix, strlen(asked->suffix));
    }
    return 0;
}

/* Renders the text that the model sees: with a template its output, otherwise the bare prompt. */
static int render(struct generation *g, const struct hl_template *t, const char **text, size_t *n, struct hl_error *err)
{
    struct hl_api_request *asked = &g->asked;
    const struct hl_model *model = g->server->model;
    char *rendered;
    *text = asked->prompt;
    *n = strlen(asked->prompt);
    if (asked->raw)
        return 0;
    if (!t && (asked->chat || *asked->system || *asked->suffix))
        return hl_fail_as(err, HL_ERROR_REQUEST,
                          "%s has no chat template; send a bare \"prompt\" to /api/generate, or a \"template\" with it",
                          model->name);
    if (!t)
        return 0;
    if (t == model->template && model->tools_apart && asked->conversation.tools.kind != HL_VALUE_NONE)
        return hl_fail_as(err, HL_ERROR_REQUEST, "%s was packed without its template for tools", model->name);
    if (converse(asked, err) < 0 ||
        hl_prompt_render(t, &asked->arena, &asked->conversation, (int64_t)time(NULL), &rendered, n, err) < 0)
        return -1;
    *text = rendered;
    return 0;
}

static int encode(struct generation *g, const struct hl_template *t, struct hl_error *err)
{
    const struct hl_tokenizer *tokenizer = g->server->model->tokenizer;
    struct hl_request *request = &g->asked.request;
    const char *text;
    size_t n, n_prompt;
    if (render(g, t, &text, &n, err) < 0)
        return -1;
    if (g->asked.render_only) {
        g->rendered = text;
        g->n_rendered = n;
        return 0;
    }
    if (n > PROMPT_LEAST + (size_t)PROMPT_DENSITY * g->server->context)
        return hl_fail_as(err, HL_ERROR_REQUEST, "a prompt of %zu bytes does not fit in the context of %u", n,
                          g->server->context);
    int result = t && !g->asked.raw ? hl_prompt_encode(t, tokenizer, text, n, &request->tokens, &n_prompt, err)
                                    : hl_tokenizer_encode(tokenizer, text, n, HL_ENCODE_BOS | HL_ENCODE_SPECIAL,
                                                          &request->tokens, &n_prompt, err);
    if (result < 0)
        return -1;
    request->n_prompt = request->n_tokens = n_prompt > UINT32_MAX ? UINT32_MAX : (uint32_t)n_prompt;
    return 0;
}

/* Encodes with the request's own template, in Ollama's language, or with the model's. */
static int apply_template(struct generation *g, struct hl_error *err)
{
    struct hl_template *own = NULL;
    HL_FREE uint8_t *section = NULL;
    size_t bytes;
    if (!*g->asked.template)
        return encode(g, g->server->model->template, err);
    if (hl_gotemplate_compile(g->asked.template, strlen(g->asked.template), &section, &bytes, err) < 0 ||
        hl_template_open(section, bytes, &own, err) < 0)
        return -1;
    int result = encode(g, own, err);
    hl_template_close(own);
    return result;
}

/* Turns the prompt's text into tokens that fit. */
static int prepare(struct generation *g, struct hl_error *err)
{
    const struct hl_server *server = g->server;
    struct hl_request *request = &g->asked.request;
    uint32_t context = g->asked.context ? g->asked.context : server->context;
    if (!g->asked.load && apply_template(g, err) < 0)
        return -1;
    if (g->rendered)
        return 0;
    hl_api_request_forget(&g->asked);
    if (g->asked.load)
        return 0;
    if (hl_scheduler_check(request->n_prompt, context, err) < 0)
        return -1;
    request->n_predict = hl_min_u32(request->n_predict, context - request->n_prompt);
    if (!g->asked.seeded && getrandom(&request->sampling.seed, sizeof request->sampling.seed, 0) < 0)
        return hl_fail(err, "no random seed");
    return 0;
}

static int queue(struct generation *g, struct hl_error *err)
{
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = g};
    if (g->server->stopping)
        return hl_fail_as(err, HL_ERROR_BUSY, "the server is shutting down");
    if (check_context(g->server, &g->asked, err) < 0 || prepare(g, err) < 0)
        return -1;
    if (g->rendered)
        return 0;
    if (!g->asked.stream && !(g->text = evbuffer_new()))
        return hl_no_memory(err);
    return hl_worker_start(g->server->worker, &g->asked.request, &events, err);
}

static void log_ignored(const char *names)
{
    cJSON *fields = cJSON_CreateObject();
    cJSON_AddStringToObject(fields, "options", names);
    hl_log(HL_LOG_WARNING, "unknown options are ignored", fields);
}

/* Sends Ollama's answer to "_debug_render_only". */
static void reply_rendered(const struct generation *g)
{
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        hl_reply_error(g->exchange, 500, "out of memory");
        return;
    }
    begin_object(out, g, "", 0, false);
    evbuffer_add_printf(out, ",\"_debug_info\":{\"rendered_template\":");
    hl_reply_add_string(out, g->rendered, g->n_rendered);
    evbuffer_add_printf(out, "}}");
    hl_reply_send(g->exchange, 200, HL_REPLY_JSON, out);
    evbuffer_free(out);
}

static void generate(struct hl_server *server, struct hl_exchange *exchange, bool chat)
{
    struct hl_error err;
    struct generation *g = calloc(1, sizeof *g);
    size_t n;
    const char *body = hl_exchange_body(exchange, &n);
    if (!g) {
        hl_reply_error(exchange, 500, "out of memory");
        return;
    }
    g->server = server;
    g->exchange = exchange;
    g->arrived = hl_clock_ns();
    int result = hl_api_request_read(body, n, chat, &g->asked, &err);
    bool known = result == 0 && hl_api_is_model(server->model, g->asked.model);
    if (known)
        result = queue(g, &err);
    if (known && result == 0 && *g->asked.ignored)
        log_ignored(g->asked.ignored);
    if (known && result == 0 && !g->rendered) {
        hl_exchange_defer(exchange, on_left, g);
        return;
    }
    if (result < 0)
        hl_reply_failure(exchange, &err);
    else if (known)
        reply_rendered(g);
    else
        hl_api_unknown_model(exchange, g->asked.model);
    free_generation(g);
}

void hl_api_generate(void *context, struct hl_exchange *exchange)
{
    generate(context, exchange, false);
}

void hl_api_chat(void *context, struct hl_exchange *exchange)
{
    generate(context, exchange, true);
}
