/* The body of POST /api/generate and /api/chat: JSON from strangers, parsed once into values.
 *
 * Harmless fields without a meaning here are accepted and ignored (keep_alive: the model always stays loaded). Fields
 * that would silently change the meaning of a request if they were ignored (images, format, ...) are refused by name: a
 * client that asks for JSON must not get prose. Unknown options are ignored, as Ollama does, but named in the log. */
#include "base/sizes.h"
#include "runtime/server/ollama/api.h"
#include <math.h>

/* Budgets for parsing and rendering one request on the event loop: a tenth of a second or two at worst. */
#define ARENA_MEMORY ((size_t)32 << 20)
#define ARENA_WORK ((uint64_t)8 << 20)

static int refuse(struct hl_error *err, const char *field)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "\"%s\" is not supported by this version; leave it out", field);
}

/* ---- options ---- */

enum type { INTEGER, REAL, BOOLEAN };

typedef int (*setter)(struct hl_api_request *out, double value, struct hl_error *err);

static int set_predict(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->load = out->load || value == 0;
    out->request.n_predict = value < 0 || value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return 0;
}

static int set_context(struct hl_api_request *out, double value, struct hl_error *err)
{
    if (!(value >= 1 && value <= UINT32_MAX))
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"num_ctx\" must be at least 1");
    out->context = (uint32_t)value;
    return 0;
}

static int set_seed(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->seeded = value != -1;
    value = fmax(-0x1p62, fmin(value, 0x1p62));
    out->request.sampling.seed = (uint64_t)(int64_t)value;
    return 0;
}

static int set_repeat_last_n(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.repeat_last_n = value < 0 || value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return 0;
}

static int set_top_k(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.top_k = value < 0 || value >= UINT32_MAX ? 0 : (uint32_t)value;
    return 0;
}

static int set_repeat_penalty(struct hl_api_request *out, double value, struct hl_error *err)
{
    if (!(value > 0))
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"repeat_penalty\" must be greater than 0");
    out->request.sampling.repeat_penalty = (float)value;
    return 0;
}

/* Clamps: beyond these limits a filter is off or as strict as possible. */
static double clip(double value, double least, double most)
{
    return fmax(least, fmin(value, most));
}

static int set_temperature(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.temperature = (float)fmax(value, 0);
    return 0;
}

static int set_top_p(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.top_p = (float)clip(value, 0, 1);
    return 0;
}

static int set_min_p(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.min_p = (float)clip(value, 0, 1);
    return 0;
}

static int set_presence(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.presence_penalty = (float)value;
    return 0;
}

static int set_frequency(struct hl_api_request *out, double value, struct hl_error *err)
{
    (void)err;
    out->request.sampling.frequency_penalty = (float)value;
    return 0;
}

/* Options without a setter change how Ollama computes, not what: they are checked and ignored. */
static const struct option {
    const char *name;
    enum type type;
    setter set;
} options[] = {
    {"num_predict", INTEGER, set_predict},
    {"num_ctx", INTEGER, set_context},
    {"seed", INTEGER, set_seed},
    {"temperature", REAL, set_temperature},
    {"top_k", INTEGER, set_top_k},
    {"top_p", REAL, set_top_p},
    {"min_p", REAL, set_min_p},
    {"repeat_penalty", REAL, set_repeat_penalty},
    {"presence_penalty", REAL, set_presence},
    {"frequency_penalty", REAL, set_frequency},
    {"repeat_last_n", INTEGER, set_repeat_last_n},
    {"num_keep", INTEGER, NULL},
    {"num_batch", INTEGER, NULL},
    {"num_gpu", INTEGER, NULL},
    {"main_gpu", INTEGER, NULL},
    {"num_thread", INTEGER, NULL},
    {"draft_num_predict", INTEGER, NULL},
    {"use_mmap", BOOLEAN, NULL},
};

static int wrong_option(struct hl_error *err, const char *name, const char *type)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "option \"%s\" must be of type %s", name, type);
}

static int add_stop(const struct hl_value *text, struct hl_request *request, struct hl_error *err)
{
    if (text->kind != HL_VALUE_STRING)
        return wrong_option(err, "stop", "array of strings");
    if (text->n == 0)
        return 0;
    if (request->n_stop == HL_STOP_TEXTS_MOST || text->n >= HL_STOP_TEXT_BYTES)
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"stop\" takes at most %d texts of at most %d bytes",
                          HL_STOP_TEXTS_MOST, HL_STOP_TEXT_BYTES - 1);
    snprintf(request->stop[request->n_stop++], HL_STOP_TEXT_BYTES, "%s", text->text);
    return 0;
}

static int read_stop(const struct hl_value *stop, struct hl_request *request, struct hl_error *err)
{
    if (stop->kind != HL_VALUE_LIST)
        return add_stop(stop, request, err);
    for (uint32_t i = 0; i < stop->list->n; i++)
        if (add_stop(&stop->list->items[i], request, err) < 0)
            return -1;
    return 0;
}

/* Returns a JSON number as a double, or NAN for another kind of value. */
static double number(const struct hl_value *value)
{
    return value->kind == HL_VALUE_INT     ? (double)value->integer
           : value->kind == HL_VALUE_FLOAT ? value->real
           : value->kind == HL_VALUE_BIG   ? strtod(value->text, NULL)
                                           : NAN;
}

static int read_option(const struct option *option, const struct hl_value *item, struct hl_api_request *out,
                       struct hl_error *err)
{
    static const char *const names[] = {"integer", "float32", "boolean"};
    if (option->type == BOOLEAN)
        return item->kind == HL_VALUE_BOOL ? 0 : wrong_option(err, option->name, names[BOOLEAN]);
    double value = number(item);
    if (!isfinite(value))
        return wrong_option(err, option->name, names[option->type]);
    if (option->type == REAL && fabs(value) > 1e6)
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"%s\" is out of range", option->name);
    return option->set ? option->set(out, option->type == INTEGER ? trunc(value) : value, err) : 0;
}

static void note_ignored(struct hl_api_request *out, const char *name)
{
    size_t n = strlen(out->ignored);
    snprintf(out->ignored + n, sizeof out->ignored - n, "%s%s", n ? ", " : "", name);
}

static int read_options(const struct hl_dict *items, struct hl_api_request *out, struct hl_error *err)
{
    for (const struct hl_entry *item = items->entries; item < items->entries + items->n; item++) {
        size_t i = 0, n = HL_COUNT(options);
        while (i < n && strcmp(options[i].name, item->key.text) != 0)
            i++;
        if (item->value.kind == HL_VALUE_NONE)
            continue;
        if (strcmp(item->key.text, "stop") == 0) {
            if (read_stop(&item->value, &out->request, err) < 0)
                return -1;
        } else if (i == n) {
            note_ignored(out, item->key.text);
        } else if (read_option(&options[i], &item->value, out, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- fields ---- */

struct hl_value *hl_api_member(struct hl_value object, const char *name)
{
    struct hl_value *value = object.kind == HL_VALUE_DICT ? hl_dict_get(object.dict, name, strlen(name)) : NULL;
    return value && value->kind != HL_VALUE_NONE ? value : NULL;
}

static int wrong_field(struct hl_error *err, const char *name, const char *type)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "field \"%s\" must be of type %s", name, type);
}

static int read_text(struct hl_value json, const char *name, const char **out, struct hl_error *err)
{
    const struct hl_value *item = hl_api_member(json, name);
    if (item && item->kind != HL_VALUE_STRING)
        return wrong_field(err, name, "string");
    *out = item ? item->text : "";
    return 0;
}

static int read_bool(struct hl_value json, const char *name, bool *out, struct hl_error *err)
{
    const struct hl_value *item = hl_api_member(json, name);
    if (item && item->kind != HL_VALUE_BOOL)
        return wrong_field(err, name, "boolean");
    *out = item ? item->truth : *out;
    return 0;
}

/* Refuses fields that would change the meaning of a request, unless they are empty. */
static int check_unsupported(struct hl_value json, struct hl_error *err)
{
    static const char *const lists[] = {"context", "images"};
    for (size_t i = 0; i < HL_COUNT(lists); i++) {
        const struct hl_value *list = hl_api_member(json, lists[i]);
        if (list && list->kind != HL_VALUE_LIST)
            return wrong_field(err, lists[i], "array");
        if (list && list->list->n)
            return refuse(err, lists[i]);
    }
    const struct hl_value *format = hl_api_member(json, "format"), *think = hl_api_member(json, "think");
    bool logprobs = false;
    if (format && !hl_value_is_text(*format, ""))
        return refuse(err, "format");
    if (think && think->kind != HL_VALUE_BOOL && think->kind != HL_VALUE_STRING)
        return wrong_field(err, "think", "boolean or string");
    if (think && !(think->kind == HL_VALUE_BOOL && !think->truth))
        return refuse(err, "think");
    if (read_bool(json, "logprobs", &logprobs, err) < 0)
        return -1;
    return logprobs ? refuse(err, "logprobs") : 0;
}

/* Reads the fields of /api/generate only. */
static int read_prompt(struct hl_value json, struct hl_api_request *out, struct hl_error *err)
{
    if (read_text(json, "prompt", &out->prompt, err) < 0 || read_text(json, "system", &out->system, err) < 0 ||
        read_text(json, "suffix", &out->suffix, err) < 0 || read_text(json, "template", &out->template, err) < 0 ||
        read_bool(json, "raw", &out->raw, err) < 0)
        return -1;
    if (out->raw && (*out->system || *out->suffix || *out->template))
        return hl_fail_as(err, HL_ERROR_REQUEST, "raw mode does not support template, system, suffix or context");
    out->load = !*out->prompt;
    return 0;
}

static int read_fields(struct hl_value json, struct hl_api_request *out, struct hl_error *err)
{
    const struct hl_value *keep_alive = hl_api_member(json, "keep_alive"), *items = hl_api_member(json, "options");
    const char *model = "";
    if (read_text(json, "model", &model, err) < 0 || (!out->chat && read_prompt(json, out, err) < 0) ||
        read_bool(json, "stream", &out->stream, err) < 0 ||
        read_bool(json, "_debug_render_only", &out->render_only, err) < 0 || check_unsupported(json, err) < 0)
        return -1;
    if (!*model)
        return hl_fail_as(err, HL_ERROR_REQUEST, "\"model\" is missing");
    snprintf(out->model, sizeof out->model, "%s", model);
    if (keep_alive && isnan(number(keep_alive)) && keep_alive->kind != HL_VALUE_STRING)
        return wrong_field(err, "keep_alive", "number or string");
    if (items && items->kind != HL_VALUE_DICT)
        return wrong_field(err, "options", "object");
    return items ? read_options(items->dict, out, err) : 0;
}

/* Refuses tools: the model would call them in a form of its own, which this version cannot read. */
static int read_conversation(struct hl_value json, struct hl_api_request *out, struct hl_error *err)
{
    if (hl_api_messages_read(&out->arena, json, &out->conversation, err) < 0)
        return -1;
    out->load = out->load || out->conversation.messages.list->n == 0;
    if (out->conversation.tools.kind != HL_VALUE_NONE && !out->render_only)
        return refuse(err, "tools");
    return 0;
}

int hl_api_json_read(struct hl_arena *arena, const char *body, size_t n, struct hl_value *out, struct hl_error *err)
{
    if (n == 0)
        return hl_fail_as(err, HL_ERROR_REQUEST, "missing request body");
    if (hl_value_json(arena, body, n, out, err) < 0)
        return -1;
    return out->kind == HL_VALUE_DICT ? 0 : hl_fail_as(err, HL_ERROR_REQUEST, "the request is not a JSON object");
}

int hl_api_request_read(const char *body, size_t n, bool chat, struct hl_api_request *out, struct hl_error *err)
{
    struct hl_value json = hl_none();
    *out = (struct hl_api_request){.chat = chat,
                                   .prompt = "",
                                   .system = "",
                                   .suffix = "",
                                   .template = "",
                                   .conversation = hl_conversation_empty(),
                                   .stream = true,
                                   .request = {.n_predict = UINT32_MAX, .sampling = hl_sampling_default}};
    hl_arena_init(&out->arena, ARENA_MEMORY, ARENA_WORK);
    if (hl_api_json_read(&out->arena, body, n, &json, err) == 0 && read_fields(json, out, err) == 0 &&
        (!chat || read_conversation(json, out, err) == 0))
        return 0;
    hl_api_request_release(out);
    return -1;
}

void hl_api_request_forget(struct hl_api_request *asked)
{
    asked->prompt = asked->system = asked->suffix = asked->template = "";
    asked->conversation = hl_conversation_empty();
    hl_arena_release(&asked->arena);
}

void hl_api_request_release(struct hl_api_request *asked)
{
    hl_api_request_forget(asked);
    hl_request_release(&asked->request);
}
