/* POST /api/show: a description of the model. Ollama's clients use the template, the context's length and the
 * capabilities; the answer leaves out the fields that they do not use (projectors, tensors, the parser's name). */
#include "base/sizes.h"
#include "runtime/server/ollama/api.h"
#include <inttypes.h>

static void add_stop(struct evbuffer *lines, const char *text, size_t n)
{
    evbuffer_add_printf(lines, "%s%-30s ", evbuffer_get_length(lines) ? "\n" : "", "stop");
    hl_reply_add_string(lines, text, n);
}

/* Adds the stop texts as lines of a Modelfile. */
static void add_parameters(struct evbuffer *out, const struct hl_model *model)
{
    struct evbuffer *lines = evbuffer_new();
    if (!lines)
        return;
    for (uint32_t i = 0; i < model->n_stops; i++) {
        size_t n = 0;
        const char *text = hl_tokenizer_text(model->tokenizer, (uint32_t)model->stop[i], &n);
        if (text && n)
            add_stop(lines, text, n);
    }
    for (uint32_t i = 0; i < model->n_stop_texts; i++)
        add_stop(lines, model->stop_text[i], strlen(model->stop_text[i]));
    size_t n = evbuffer_get_length(lines);
    evbuffer_add_printf(out, ",\"parameters\":");
    hl_reply_add_string(out, n ? (const char *)evbuffer_pullup(lines, -1) : "", n);
    evbuffer_free(lines);
}

static void add_info(struct evbuffer *out, const struct hl_model *model)
{
    const struct hl_program *program = model->hot->program.head;
    const char *family = model->family;
    evbuffer_add_printf(out, ",\"model_info\":{\"general.architecture\":\"%s\",\"general.parameter_count\":%.0f",
                        family, model->parameters);
    evbuffer_add_printf(out, ",\"%s.context_length\":%u,\"%s.embedding_length\":%u,\"%s.block_count\":%u", family,
                        program->context, family, model->width, family, model->blocks);
    evbuffer_add_printf(out, ",\"%s.vocab_size\":%u}", family, program->vocabulary);
}

static void add_model(struct evbuffer *out, const struct hl_model *model)
{
    evbuffer_add_printf(out, "{");
    hl_api_add_modified(out, model);
    if (model->license) {
        evbuffer_add_printf(out, ",");
        hl_api_add_text(out, "license", model->license);
    }
    evbuffer_add_printf(out, ",");
    hl_api_add_text(out, "template", model->template_text ? model->template_text : "");
    add_parameters(out, model);
    evbuffer_add_printf(out, ",");
    hl_api_add_details(out, model);
    add_info(out, model);
    evbuffer_add_printf(out, ",\"capabilities\":[\"completion\"%s]}",
                        model->template && hl_prompt_fills(model->template) ? ",\"insert\"" : "");
}

static void show(const struct hl_server *server, struct hl_exchange *exchange, const char *name)
{
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        hl_reply_error(exchange, 500, "out of memory");
        return;
    }
    if (!name) {
        hl_reply_error(exchange, 400, "\"model\" is missing");
    } else if (!hl_api_is_model(server->model, name)) {
        hl_api_unknown_model(exchange, name);
    } else {
        add_model(out, server->model);
        hl_reply_send(exchange, 200, HL_REPLY_JSON, out);
    }
    evbuffer_free(out);
}

/* Returns the model's name; older clients call the field "name". */
static const char *model_name(struct hl_value body)
{
    static const char *const fields[] = {"model", "name"};
    for (size_t i = 0; i < HL_COUNT(fields); i++) {
        const struct hl_value *name = hl_api_member(body, fields[i]);
        if (name && name->kind == HL_VALUE_STRING)
            return name->text;
    }
    return NULL;
}

void hl_api_show(void *context, struct hl_exchange *exchange)
{
    struct hl_error err;
    struct hl_arena arena;
    struct hl_value json = hl_none();
    size_t n;
    const char *body = hl_exchange_body(exchange, &n);
    hl_arena_init(&arena, HL_TEMPLATE_MEMORY, HL_TEMPLATE_WORK);
    if (hl_api_json_read(&arena, body, n, &json, &err) < 0)
        hl_reply_failure(exchange, &err);
    else
        show(context, exchange, model_name(json));
    hl_arena_release(&arena);
}
