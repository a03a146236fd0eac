/* POST /api/generate and /api/chat. A reply lives from the request until the worker has ended its job; its exchange may
 * go sooner, when the client leaves. Everything a client can do wrong is found before the job is queued, so that it is
 * told with a status; what fails later is told in the stream. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/server/log.h"
#include "runtime/server/ollama/api.h"
#include "runtime/template/go/gotemplate.h"
#include <inttypes.h>
#include <sys/random.h>

static const char stream_type[] = "application/x-ndjson";

/* A prompt of more bytes per position of the context is refused before the event loop spends seconds on its tokens. No
 * text is that dense: reserved tokens' names have 30 bytes, words 4. */
#define PROMPT_DENSITY 32u
#define PROMPT_LEAST 4096u /* bytes that are tokenized in any case */

struct hl_api_reply {
    struct hl_api_reply *next;
    struct hl_api *api;
    struct hl_exchange *exchange; /* NULL: the client has left */
    struct hl_job *job;
    struct hl_api_body body; /* what was asked */
    uint64_t arrived;
    int32_t *tokens; /* prompt and generated */
    size_t n_tokens, n_prompt, room;
    const char *rendered; /* the prompt, where that is the answer; in the body's arena, or its prompt */
    size_t n_rendered;
    struct evbuffer *text; /* the whole text, where it is not streamed */
    bool begun;            /* part of the stream is out */
};

static void free_reply(struct hl_api_reply *reply)
{
    struct hl_api_reply **link = &reply->api->replies;
    while (*link && *link != reply)
        link = &(*link)->next;
    if (*link)
        *link = reply->next;
    hl_api_body_release(&reply->body);
    free(reply->tokens);
    if (reply->text)
        evbuffer_free(reply->text);
    free(reply);
}

static void on_left(void *context)
{
    struct hl_api_reply *reply = context;
    reply->exchange = NULL;
    hl_worker_cancel(reply->api->worker, reply->job);
}

void hl_api_cancel_all(struct hl_api *api)
{
    for (const struct hl_api_reply *reply = api->replies; reply; reply = reply->next)
        hl_worker_cancel(api->worker, reply->job);
}

/* ---- JSON ---- */

/* {"model":...,"created_at":...,"response":... or "message":...,"done":...   - the rest and the brace are the caller's
 */
static void begin_object(struct evbuffer *out, const struct hl_api_reply *reply, const char *text, size_t n, bool done)
{
    struct timespec now;
    char created[40];
    clock_gettime(CLOCK_REALTIME, &now);
    hl_api_time(&now, created);
    evbuffer_add_printf(out, "{\"model\":");
    hl_json_string(out, reply->body.model, strlen(reply->body.model));
    evbuffer_add_printf(out, ",\"created_at\":\"%s\",%s", created,
                        reply->body.chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"response\":");
    hl_json_string(out, text, n);
    evbuffer_add_printf(out, "%s,\"done\":%s", reply->body.chat ? "}" : "", done ? "true" : "false");
}

static void add_result(struct evbuffer *out, const struct hl_api_reply *reply, enum hl_finish reason,
                       const struct hl_timings *timings)
{
    uint64_t total = hl_clock_ns() - reply->arrived, computed = timings->prompt_ns + timings->decode_ns;
    evbuffer_add_printf(out, ",\"done_reason\":\"%s\"",
                        reply->body.load             ? "load"
                        : reason == HL_FINISH_LENGTH ? "length"
                                                     : "stop");
    if (reply->body.load)
        return;
    bool context = !reply->body.raw && !reply->body.chat;
    for (size_t i = 0; i < reply->n_tokens && context; i++)
        evbuffer_add_printf(out, "%s%d", i ? "," : ",\"context\":[", reply->tokens[i]);
    evbuffer_add_printf(out,
                        "%s,\"total_duration\":%" PRIu64 ",\"load_duration\":%" PRIu64 ",\"prompt_eval_count\":%u"
                        ",\"prompt_eval_duration\":%" PRIu64 ",\"eval_count\":%u,\"eval_duration\":%" PRIu64,
                        context ? "]" : "", total, total > computed ? total - computed : 0, timings->n_prompt,
                        timings->prompt_ns, timings->n_decoded, timings->decode_ns);
}

/* ---- news from the worker ---- */

static bool send_line(struct hl_api_reply *reply, const char *text, size_t n)
{
    struct evbuffer *line = evbuffer_new();
    if (!line)
        return false;
    begin_object(line, reply, text, n, false);
    evbuffer_add_printf(line, "}\n");
    reply->begun = true;
    bool more = hl_stream(reply->exchange, stream_type, line);
    evbuffer_free(line);
    return more;
}

static void on_piece(struct hl_api_reply *reply, const char *piece, size_t n)
{
    if (n == 0 || !reply->exchange)
        return;
    if (reply->body.stream)
        send_line(reply, piece, n);
    else
        evbuffer_add(reply->text, piece, n);
}

static bool on_text(void *context, int32_t token, const char *piece, size_t n)
{
    struct hl_api_reply *reply = context;
    struct hl_api *api = reply->api;
    if (reply->n_tokens < reply->room)
        reply->tokens[reply->n_tokens++] = token;
    on_piece(reply, piece, n);
    if (!api->first_token) {
        api->first_token = hl_clock_ns();
        api->first(api->first_context);
    }
    return true;
}

static void send_result(struct hl_api_reply *reply, enum hl_finish reason, const struct hl_timings *timings)
{
    struct evbuffer *out = evbuffer_new();
    size_t n = reply->text ? evbuffer_get_length(reply->text) : 0;
    if (!out) {
        hl_reply_error(reply->exchange, 500, "out of memory");
        return;
    }
    begin_object(out, reply, n ? (const char *)evbuffer_pullup(reply->text, -1) : "", n, true);
    add_result(out, reply, reason, timings);
    if (!reply->body.stream) {
        evbuffer_add_printf(out, "}");
        hl_reply(reply->exchange, 200, HL_HTTP_JSON, out);
    } else {
        evbuffer_add_printf(out, "}\n");
        if (hl_stream(reply->exchange, stream_type, out))
            hl_stream_end(reply->exchange);
    }
    evbuffer_free(out);
}

static void send_failure(struct hl_api_reply *reply, const struct hl_error *err)
{
    struct evbuffer *out = evbuffer_new();
    if (!reply->begun || !out) {
        hl_reply_failure(reply->exchange, err);
    } else {
        evbuffer_add_printf(out, "{\"error\":");
        hl_json_string(out, err->message, strlen(err->message));
        evbuffer_add_printf(out, "}\n");
        if (hl_stream(reply->exchange, stream_type, out))
            hl_stream_end(reply->exchange);
    }
    if (out)
        evbuffer_free(out);
}

static void log_end(const struct hl_api_reply *reply, enum hl_finish reason, const struct hl_timings *timings,
                    const struct hl_error *err)
{
    static const char *const names[] = {"stop", "length", "cancelled", "error"};
    cJSON *fields = cJSON_CreateObject();
    cJSON_AddStringToObject(fields, "finish", reply->body.load && reason == HL_FINISH_STOP ? "load" : names[reason]);
    cJSON_AddNumberToObject(fields, "prompt_tokens", (double)reply->n_prompt);
    cJSON_AddNumberToObject(fields, "tokens", timings->n_decoded);
    cJSON_AddNumberToObject(fields, "total_ms", hl_log_ms(hl_clock_ns() - reply->arrived));
    cJSON_AddNumberToObject(fields, "prompt_ms", hl_log_ms(timings->prompt_ns));
    cJSON_AddNumberToObject(fields, "decode_ms", hl_log_ms(timings->decode_ns));
    if (err)
        cJSON_AddStringToObject(fields, "error", err->message);
    hl_log(err ? HL_LOG_ERROR : HL_LOG_INFO, "generation", fields);
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct hl_api_reply *reply = context;
    struct hl_error stopped;
    log_end(reply, reason, timings, err);
    if (reason == HL_FINISH_CANCELLED) {
        hl_fail_as(&stopped, HL_ERROR_BUSY, "the server is shutting down");
        err = &stopped;
    }
    if (!err)
        on_piece(reply, rest, n);
    if (reply->exchange && err)
        send_failure(reply, err);
    else if (reply->exchange)
        send_result(reply, reason, timings);
    free_reply(reply);
}

/* ---- the request ---- */

static int check_context(const struct hl_api *api, const struct hl_api_body *body, struct hl_error *err)
{
    if (body->context > api->context)
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"num_ctx\" is %u, more than the %u of this server (--ctx)",
                          body->context, api->context);
    return 0;
}

/* A prompt is a conversation of one message. */
static int converse(struct hl_api_body *body, struct hl_error *err)
{
    if (body->chat)
        return 0;
    if (hl_conversation_start(&body->arena, body->system, body->prompt, &body->conversation, err) < 0)
        return -1;
    if (*body->suffix) {
        body->conversation.prompt = hl_string(body->prompt, strlen(body->prompt));
        body->conversation.suffix = hl_string(body->suffix, strlen(body->suffix));
    }
    return 0;
}

/* What the model is to see: the template's text, or, without a template, the bare prompt. */
static int render(struct hl_api_reply *reply, const struct hl_template *t, const char **text, size_t *n,
                  struct hl_error *err)
{
    struct hl_api_body *body = &reply->body;
    const struct hl_model *model = reply->api->model;
    char *rendered;
    *text = body->prompt;
    *n = strlen(body->prompt);
    if (body->raw)
        return 0;
    if (!t && (body->chat || *body->system || *body->suffix))
        return hl_fail_as(err, HL_ERROR_REQUEST,
                          "%s has no chat template; send a bare \"prompt\" to /api/generate, or a \"template\" with it",
                          model->name);
    if (!t)
        return 0;
    if (t == model->template && model->tools_apart && body->conversation.tools.kind != HL_VALUE_NONE)
        return hl_fail_as(err, HL_ERROR_REQUEST, "%s was packed without its template for tools", model->name);
    if (converse(body, err) < 0 ||
        hl_prompt_render(t, &body->arena, &body->conversation, (int64_t)time(NULL), &rendered, n, err) < 0)
        return -1;
    *text = rendered;
    return 0;
}

static int encode(struct hl_api_reply *reply, const struct hl_template *t, struct hl_error *err)
{
    const struct hl_tokenizer *tokenizer = reply->api->model->tokenizer;
    uint32_t context = reply->api->context;
    const char *text;
    size_t n;
    if (render(reply, t, &text, &n, err) < 0)
        return -1;
    if (reply->body.render_only) {
        reply->rendered = text;
        reply->n_rendered = n;
        return 0;
    }
    if (n > PROMPT_LEAST + (size_t)PROMPT_DENSITY * context)
        return hl_fail_as(err, HL_ERROR_REQUEST, "a prompt of %zu bytes does not fit in the context of %u", n, context);
    if (t && !reply->body.raw)
        return hl_prompt_encode(t, tokenizer, text, n, &reply->tokens, &reply->n_tokens, err);
    return hl_tokenizer_encode(tokenizer, text, n, HL_ENCODE_BOS | HL_ENCODE_SPECIAL, &reply->tokens, &reply->n_tokens,
                               err);
}

/* A request may bring a template of its own, in Ollama's language. */
static int apply_template(struct hl_api_reply *reply, struct hl_error *err)
{
    struct hl_template *own = NULL;
    HL_FREE uint8_t *section = NULL;
    size_t bytes;
    if (!*reply->body.template)
        return encode(reply, reply->api->model->template, err);
    if (hl_gotemplate_compile(reply->body.template, strlen(reply->body.template), &section, &bytes, err) < 0 ||
        hl_template_open(section, bytes, &own, err) < 0)
        return -1;
    int result = encode(reply, own, err);
    hl_template_close(own);
    return result;
}

/* From the prompt's text to tokens that fit. */
static int prepare(struct hl_api_reply *reply, struct hl_error *err)
{
    const struct hl_api *api = reply->api;
    struct hl_generate *generate = &reply->body.generate;
    uint32_t context = reply->body.context ? reply->body.context : api->context;
    if (!reply->body.load && apply_template(reply, err) < 0)
        return -1;
    if (reply->rendered)
        return 0;
    hl_api_body_forget(&reply->body); /* many may wait, for long */
    if (reply->body.load)
        return 0;
    reply->n_prompt = reply->n_tokens;
    generate->n_prompt = reply->n_tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)reply->n_tokens;
    if (hl_scheduler_check(generate->n_prompt, context, err) < 0)
        return -1;
    generate->n_predict = hl_min_u32(generate->n_predict, context - generate->n_prompt);
    reply->room = reply->n_tokens + generate->n_predict;
    int32_t *grown = realloc(reply->tokens, reply->room * sizeof *grown);
    if (!grown)
        return hl_no_memory(err);
    generate->prompt = reply->tokens = grown;
    if (!reply->body.seeded && getrandom(&generate->sampling.seed, sizeof generate->sampling.seed, 0) < 0)
        return hl_fail(err, "no random seed");
    return 0;
}

static int queue(struct hl_api_reply *reply, struct hl_error *err)
{
    struct hl_generate *generate = &reply->body.generate;
    if (reply->api->stopping)
        return hl_fail_as(err, HL_ERROR_BUSY, "the server is shutting down");
    if (check_context(reply->api, &reply->body, err) < 0 || prepare(reply, err) < 0)
        return -1;
    if (reply->rendered)
        return 0;
    if (!reply->body.stream && !(reply->text = evbuffer_new()))
        return hl_no_memory(err);
    generate->text = on_text;
    generate->finish = on_finish;
    generate->context = reply;
    return hl_worker_start(reply->api->worker, generate, &reply->job, err);
}

static void log_ignored(const char *names)
{
    cJSON *fields = cJSON_CreateObject();
    cJSON_AddStringToObject(fields, "options", names);
    hl_log(HL_LOG_WARNING, "unknown options are ignored", fields);
}

/* Ollama's answer to "_debug_render_only". */
static void reply_rendered(const struct hl_api_reply *reply)
{
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        hl_reply_error(reply->exchange, 500, "out of memory");
        return;
    }
    begin_object(out, reply, "", 0, false);
    evbuffer_add_printf(out, ",\"_debug_info\":{\"rendered_template\":");
    hl_json_string(out, reply->rendered, reply->n_rendered);
    evbuffer_add_printf(out, "}}");
    hl_reply(reply->exchange, 200, HL_HTTP_JSON, out);
    evbuffer_free(out);
}

static void generate(struct hl_api *api, struct hl_exchange *exchange, bool chat)
{
    struct hl_error err;
    struct hl_api_reply *reply = calloc(1, sizeof *reply);
    size_t n;
    const char *body = hl_exchange_body(exchange, &n);
    if (!reply) {
        hl_reply_error(exchange, 500, "out of memory");
        return;
    }
    reply->api = api;
    reply->exchange = exchange;
    reply->arrived = hl_clock_ns();
    int result = hl_api_body_read(body, n, chat, &reply->body, &err);
    bool known = result == 0 && hl_api_is_model(api->model, reply->body.model);
    if (known)
        result = queue(reply, &err);
    if (known && result == 0 && *reply->body.ignored)
        log_ignored(reply->body.ignored);
    if (known && result == 0 && !reply->rendered) {
        reply->next = api->replies;
        api->replies = reply;
        hl_exchange_defer(exchange, on_left, reply);
        return;
    }
    if (result < 0)
        hl_reply_failure(exchange, &err);
    else if (known)
        reply_rendered(reply);
    else
        hl_api_unknown_model(exchange, reply->body.model);
    free_reply(reply);
}

void hl_api_generate(void *context, struct hl_exchange *exchange)
{
    generate(context, exchange, false);
}

void hl_api_chat(void *context, struct hl_exchange *exchange)
{
    generate(context, exchange, true);
}
