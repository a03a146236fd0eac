/* The body of POST /api/generate and /api/chat: JSON from strangers.
 *
 * What is harmless to leave out is taken and ignored (keep_alive: the model always stays). What would silently change
 * the meaning of a request, were it ignored, is refused by name (images, format, ...): a client that asks for
 * JSON and gets prose has been lied to. Options that nobody knows are ignored, as Ollama does, but named in the log. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "runtime/server/ollama/api.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <utf8proc.h>

/* What a request may take of the event loop, on which it is read and rendered: a tenth of a second or two at worst.
 * cJSON makes 64 bytes of each value; 16 MiB of "[[],[],..." would be half a gigabyte. */
#define VALUES_MOST 65536u
#define ARENA_MEMORY ((size_t)32 << 20)
#define ARENA_WORK ((uint64_t)8 << 20)

static int refuse(struct hl_error *err, const char *field)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "\"%s\" is not supported by this version; leave it out", field);
}

/* UTF-8, no NUL (cJSON's strings would end there), not too many values. */
static int check_text(const char *body, size_t n, struct hl_error *err)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)body, *end = at + n;
    uint32_t values = 0;
    bool quoted = false, escaped = false;
    for (utf8proc_int32_t code; at < end;) {
        utf8proc_ssize_t bytes = *at < 0x80 ? 1 : utf8proc_iterate(at, end - at, &code);
        if (bytes < 1)
            return hl_fail_as(err, HL_ERROR_REQUEST, "the request is not UTF-8 at byte %td", (const char *)at - body);
        if (*at == 0 || (escaped && end - at >= 5 && memcmp(at, "u0000", 5) == 0))
            return hl_fail_as(err, HL_ERROR_REQUEST, "the request contains a NUL character, which is not supported");
        if (!escaped && *at == '"')
            quoted = !quoted;
        values += !quoted && (*at == ',' || *at == '[' || *at == '{');
        escaped = quoted && !escaped && *at == '\\';
        at += bytes;
    }
    return values <= VALUES_MOST
               ? 0
               : hl_fail_as(err, HL_ERROR_REQUEST, "the request holds more than %u values", VALUES_MOST);
}

/* ---- options ---- */

enum type { INTEGER, REAL, BOOLEAN };

typedef int (*setter)(struct hl_api_body *out, double value, struct hl_error *err);

static int set_predict(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->load = out->load || value == 0;
    out->generate.n_predict = value < 0 || value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return 0;
}

static int set_context(struct hl_api_body *out, double value, struct hl_error *err)
{
    if (!(value >= 1 && value <= UINT32_MAX))
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"num_ctx\" must be at least 1");
    out->context = (uint32_t)value;
    return 0;
}

static int set_seed(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->seeded = value != -1;
    value = fmax(-0x1p62, fmin(value, 0x1p62));
    out->generate.sampling.seed = (uint64_t)(int64_t)value;
    return 0;
}

static int set_repeat_last_n(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.repeat_last_n = value < 0 || value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return 0;
}

static int set_top_k(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.top_k = value < 0 || value >= UINT32_MAX ? 0 : (uint32_t)value;
    return 0;
}

static int set_repeat_penalty(struct hl_api_body *out, double value, struct hl_error *err)
{
    if (!(value > 0))
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"repeat_penalty\" must be greater than 0");
    out->generate.sampling.repeat_penalty = (float)value;
    return 0;
}

/* Beyond its ends a filter is off or as strict as can be. */
static double clip(double value, double least, double most)
{
    return fmax(least, fmin(value, most));
}

static int set_temperature(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.temperature = (float)fmax(value, 0);
    return 0;
}

static int set_top_p(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.top_p = (float)clip(value, 0, 1);
    return 0;
}

static int set_min_p(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.min_p = (float)clip(value, 0, 1);
    return 0;
}

static int set_presence(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.presence_penalty = (float)value;
    return 0;
}

static int set_frequency(struct hl_api_body *out, double value, struct hl_error *err)
{
    (void)err;
    out->generate.sampling.frequency_penalty = (float)value;
    return 0;
}

/* Without a setter: about how Ollama computes, not what; taken and ignored. */
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

static int read_stop(const cJSON *stop, struct hl_generate *generate, struct hl_error *err)
{
    const cJSON *text = cJSON_IsArray(stop) ? stop->child : stop;
    if (!cJSON_IsArray(stop) && !cJSON_IsString(stop))
        return wrong_option(err, "stop", "array of strings");
    for (; text; text = text == stop ? NULL : text->next) {
        if (!cJSON_IsString(text))
            return wrong_option(err, "stop", "array of strings");
        if (!*text->valuestring)
            continue;
        if (generate->n_stop == HL_STOP_TEXTS_MOST || strlen(text->valuestring) >= HL_STOP_TEXT_BYTES)
            return hl_fail_as(err, HL_ERROR_REQUEST, "option \"stop\" takes at most %d texts of at most %d bytes",
                              HL_STOP_TEXTS_MOST, HL_STOP_TEXT_BYTES - 1);
        snprintf(generate->stop[generate->n_stop++], HL_STOP_TEXT_BYTES, "%s", text->valuestring);
    }
    return 0;
}

static int read_option(const struct option *option, const cJSON *item, struct hl_api_body *out, struct hl_error *err)
{
    static const char *const names[] = {"integer", "float32", "boolean"};
    if (option->type == BOOLEAN)
        return cJSON_IsBool(item) ? 0 : wrong_option(err, option->name, names[BOOLEAN]);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return wrong_option(err, option->name, names[option->type]);
    if (option->type == REAL && fabs(item->valuedouble) > 1e6)
        return hl_fail_as(err, HL_ERROR_REQUEST, "option \"%s\" is out of range", option->name);
    double value = option->type == INTEGER ? trunc(item->valuedouble) : item->valuedouble;
    return option->set ? option->set(out, value, err) : 0;
}

static void note_ignored(struct hl_api_body *out, const char *name)
{
    size_t n = strlen(out->ignored);
    snprintf(out->ignored + n, sizeof out->ignored - n, "%s%s", n ? ", " : "", name);
}

static int read_options(const cJSON *items, struct hl_api_body *out, struct hl_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, items)
    {
        size_t i = 0, n = HL_COUNT(options);
        while (i < n && strcmp(options[i].name, item->string) != 0)
            i++;
        if (cJSON_IsNull(item))
            continue;
        if (strcmp(item->string, "stop") == 0) {
            if (read_stop(item, &out->generate, err) < 0)
                return -1;
        } else if (i == n) {
            note_ignored(out, item->string);
        } else if (read_option(&options[i], item, out, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- fields ---- */

static const cJSON *get(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNull(item) ? NULL : item;
}

static int wrong_field(struct hl_error *err, const char *name, const char *type)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "field \"%s\" must be of type %s", name, type);
}

static int read_text(const cJSON *json, const char *name, const char **out, struct hl_error *err)
{
    const cJSON *item = get(json, name);
    *out = cJSON_IsString(item) ? item->valuestring : "";
    return !item || cJSON_IsString(item) ? 0 : wrong_field(err, name, "string");
}

static int read_bool(const cJSON *json, const char *name, bool absent, bool *out, struct hl_error *err)
{
    const cJSON *item = get(json, name);
    *out = item ? cJSON_IsTrue(item) : absent;
    return !item || cJSON_IsBool(item) ? 0 : wrong_field(err, name, "boolean");
}

/* Fields that may be present as long as they say nothing. */
static int check_unsupported(const cJSON *json, struct hl_error *err)
{
    static const char *const lists[] = {"context", "images"};
    for (size_t i = 0; i < HL_COUNT(lists); i++) {
        const cJSON *list = get(json, lists[i]);
        if (list && !cJSON_IsArray(list))
            return wrong_field(err, lists[i], "array");
        if (list && list->child)
            return refuse(err, lists[i]);
    }
    const cJSON *format = get(json, "format"), *think = get(json, "think");
    bool logprobs;
    if (format && !(cJSON_IsString(format) && !*format->valuestring))
        return refuse(err, "format");
    if (think && !cJSON_IsBool(think) && !cJSON_IsString(think))
        return wrong_field(err, "think", "boolean or string");
    if (think && !cJSON_IsFalse(think))
        return refuse(err, "think");
    if (read_bool(json, "logprobs", false, &logprobs, err) < 0)
        return -1;
    return logprobs ? refuse(err, "logprobs") : 0;
}

static int copy_text(const cJSON *json, const char *name, char **out, struct hl_error *err)
{
    const char *text;
    if (read_text(json, name, &text, err) < 0)
        return -1;
    *out = strdup(text);
    return *out ? 0 : hl_no_memory(err);
}

/* A prompt with its options, or messages: what the other route knows is not known here. */
static int read_prompt(const cJSON *json, struct hl_api_body *out, struct hl_error *err)
{
    const char *const texts[] = {"prompt", "system", "suffix", "template"};
    char **const to[] = {&out->prompt, &out->system, &out->suffix, &out->template};
    for (size_t i = 0; i < HL_COUNT(texts); i++)
        if (copy_text(out->chat ? NULL : json, texts[i], to[i], err) < 0)
            return -1;
    if (out->chat)
        return 0;
    if (read_bool(json, "raw", false, &out->raw, err) < 0)
        return -1;
    if (out->raw && (*out->system || *out->suffix || *out->template))
        return hl_fail_as(err, HL_ERROR_REQUEST, "raw mode does not support template, system, suffix or context");
    out->load = !*out->prompt;
    return 0;
}

static int read_fields(const cJSON *json, struct hl_api_body *out, struct hl_error *err)
{
    const cJSON *keep_alive = get(json, "keep_alive"), *items = get(json, "options");
    if (copy_text(json, "model", &out->model, err) < 0 || read_prompt(json, out, err) < 0 ||
        read_bool(json, "stream", true, &out->stream, err) < 0 ||
        read_bool(json, "_debug_render_only", false, &out->render_only, err) < 0 || check_unsupported(json, err) < 0)
        return -1;
    if (!*out->model)
        return hl_fail_as(err, HL_ERROR_REQUEST, "\"model\" is missing");
    if (keep_alive && !cJSON_IsNumber(keep_alive) && !cJSON_IsString(keep_alive))
        return wrong_field(err, "keep_alive", "number or string");
    if (items && !cJSON_IsObject(items))
        return wrong_field(err, "options", "object");
    return read_options(items, out, err);
}

/* The model would call tools in a form of its own, and nobody here reads that yet. */
static int read_conversation(const char *body, size_t n, struct hl_api_body *out, struct hl_error *err)
{
    if (hl_conversation_read(&out->arena, body, n, &out->conversation, err) < 0)
        return -1;
    out->load = out->load || out->conversation.messages.list->n == 0;
    if (out->conversation.tools.kind != HL_VALUE_NONE && !out->render_only)
        return refuse(err, "tools");
    return 0;
}

int hl_api_json_read(const char *body, size_t n, cJSON **out, struct hl_error *err)
{
    const char *end = NULL;
    *out = NULL;
    if (n == 0)
        return hl_fail_as(err, HL_ERROR_REQUEST, "missing request body");
    if (check_text(body, n, err) < 0)
        return -1;
    cJSON *json = cJSON_ParseWithLengthOpts(body, n, &end, 0);
    while (json && end < body + n && strchr(" \t\r\n", *end))
        end++;
    int result = 0;
    if (!json || end != body + n)
        result = hl_fail_as(err, HL_ERROR_REQUEST, "broken JSON near byte %td", end ? end - body : 0);
    else if (!cJSON_IsObject(json))
        result = hl_fail_as(err, HL_ERROR_REQUEST, "the request is not a JSON object");
    if (result == 0)
        *out = json;
    else
        cJSON_Delete(json);
    return result;
}

int hl_api_body_read(const char *body, size_t n, bool chat, struct hl_api_body *out, struct hl_error *err)
{
    cJSON *json;
    *out = (struct hl_api_body){.chat = chat,
                                .conversation = hl_conversation_empty(),
                                .generate = {.n_predict = UINT32_MAX, .sampling = hl_sampling_default}};
    hl_arena_init(&out->arena, ARENA_MEMORY, ARENA_WORK);
    if (hl_api_json_read(body, n, &json, err) < 0)
        return -1;
    int result = read_fields(json, out, err);
    cJSON_Delete(json);
    if (result == 0 && chat)
        result = read_conversation(body, n, out, err);
    if (result < 0)
        hl_api_body_release(out);
    return result;
}

void hl_api_body_forget(struct hl_api_body *body)
{
    char **const texts[] = {&body->prompt, &body->system, &body->suffix, &body->template};
    for (size_t i = 0; i < HL_COUNT(texts); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    body->conversation = hl_conversation_empty();
    hl_arena_release(&body->arena);
}

void hl_api_body_release(struct hl_api_body *body)
{
    hl_api_body_forget(body);
    free(body->model);
    body->model = NULL;
}
