/* A model's description. The same source gives the same text: it contains no time, no path, no version of this
 * program. */
#include "pack/meta.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "hotlayer/layout.h"
#include "runtime/model/model.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#define STOPS_MOST 64

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("._-:", c));
}

int hl_meta_check_name(const char *name, struct hl_error *err)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= HL_MODEL_NAME_MAX && name[0] != '.';
    for (size_t i = 0; i < n; i++)
        good = good && name_char(name[i]);
    if (!good)
        return hl_fail(err,
                       "'%.200s' is not a model name: use up to %d letters, digits, '.', '_', '-', ':', not beginning "
                       "with '.'",
                       name, HL_MODEL_NAME_MAX);
    return 0;
}

/* Returns the length of the model's name within a file's name: the part before "-00001-of-00003.gguf" or ".gguf". */
static size_t stem_of(const char *name)
{
    uint32_t part, parts;
    size_t n = strlen(name);
    if (hl_gguf_part(name, &part, &parts))
        return n - strlen("-00001-of-00001.gguf");
    return hl_text_ends(name, ".gguf") ? n - 5 : n;
}

/* A folder may be "." or end in '/', so its path is resolved. A file's link is not: it may point into a cache. */
int hl_meta_name_from_path(const char *path, char **out, struct hl_error *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (!realpath(path, real) || stat(real, &st) < 0)
        return hl_fail(err, "%s: %s", path, strerror(errno));
    const char *from = S_ISDIR(st.st_mode) ? real : path, *last = strrchr(from, '/');
    last = last ? last + 1 : from;
    size_t n = S_ISDIR(st.st_mode) ? strlen(last) : stem_of(last);
    char *name = strndup(n ? last : "model", n && n < HL_MODEL_NAME_MAX ? n : HL_MODEL_NAME_MAX);
    if (!name)
        return hl_no_memory(err);
    for (char *p = name; *p; p++)
        if (!name_char(*p) || (p == name && *p == '.'))
            *p = '-';
    *out = name;
    return 0;
}

static bool has_number(const cJSON *list, uint32_t number)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list) if (item->valuedouble == number) return true;
    return false;
}

static int add_stop(cJSON *stops, uint32_t id, struct hl_error *err)
{
    if (has_number(stops, id))
        return 0;
    if (cJSON_GetArraySize(stops) == STOPS_MOST)
        return hl_fail(err, "more than %d stop tokens", STOPS_MOST);
    return cJSON_AddItemToArray(stops, cJSON_CreateNumber(id)) ? 0 : hl_no_memory(err);
}

/* Returns the first value of a field, which may be one value or a list. */
static const cJSON *first_of(const cJSON *field)
{
    return cJSON_IsArray(field) ? field->child : field;
}

static const cJSON *next_of(const cJSON *field, const cJSON *item)
{
    return item == field ? NULL : item->next;
}

/* Adds the stop tokens: eos_token_id, a number or a list of numbers, and the token that ends a turn in the template. */
static int add_stops(cJSON *json, const struct hl_meta *meta, struct hl_error *err)
{
    const cJSON *eos = hl_json_get(meta->source->generation_config, "eos_token_id");
    const char *file = "generation_config.json";
    if (!eos) {
        eos = hl_json_get(meta->source->config, "eos_token_id");
        file = "config.json";
    }
    cJSON *stops = cJSON_AddArrayToObject(json, "stop_tokens");
    if (!stops)
        return hl_no_memory(err);
    for (const cJSON *item = first_of(eos); item; item = next_of(eos, item)) {
        uint64_t id;
        if (!hl_json_count(item, meta->arch->vocabulary - 1, &id))
            return hl_fail(err, "%s: eos_token_id must be token numbers below vocab_size %u", file,
                           meta->arch->vocabulary);
        if (add_stop(stops, (uint32_t)id, err) < 0)
            return hl_error_prefix(err, "%s: eos_token_id", file);
    }
    if (cJSON_GetArraySize(stops) == 0 && meta->eos < meta->arch->vocabulary && add_stop(stops, meta->eos, err) < 0)
        return -1;
    return meta->chat->end < meta->arch->vocabulary ? add_stop(stops, meta->chat->end, err) : 0;
}

/* Adds stop_strings of generation_config.json: a string or a list of strings. */
static int add_stop_texts(cJSON *json, const struct hl_source *source, struct hl_error *err)
{
    const cJSON *texts = hl_json_get(source->generation_config, "stop_strings");
    if (!texts)
        return 0;
    cJSON *out = cJSON_AddArrayToObject(json, "stop_texts");
    for (const cJSON *text = first_of(texts); text; text = next_of(texts, text)) {
        const char *value = cJSON_GetStringValue(text);
        if (!value || !*value || strlen(value) >= HL_STOP_TEXT_BYTES || cJSON_GetArraySize(out) == HL_STOP_TEXTS_MOST)
            return hl_fail(err,
                           "generation_config.json: stop_strings must be at most %d non-empty strings below %d bytes",
                           HL_STOP_TEXTS_MOST, HL_STOP_TEXT_BYTES);
        if (!out || !cJSON_AddItemToArray(out, cJSON_CreateString(value)))
            return hl_no_memory(err);
    }
    return 0;
}

static bool add_string(cJSON *object, const char *key, const char *value, size_t n)
{
    HL_FREE char *copy = strndup(value, n);
    return copy && cJSON_AddStringToObject(object, key, copy);
}

static int add_template(cJSON *json, const struct hl_chat *chat, struct hl_error *err)
{
    static const char *const languages[] = {[HL_TEMPLATE_JINJA] = "jinja", [HL_TEMPLATE_GO] = "go"};
    if (!chat->source.data)
        return 0;
    if (!add_string(json, "template", (const char *)chat->source.data, chat->source.size) ||
        !cJSON_AddStringToObject(json, "template_language", languages[chat->language]) ||
        (chat->tools_apart && !cJSON_AddTrueToObject(json, "tools_apart")))
        return hl_no_memory(err);
    return 0;
}

static int fill(cJSON *json, const struct hl_meta *meta, struct hl_error *err)
{
    const struct hl_arch *arch = meta->arch;
    if (!cJSON_AddStringToObject(json, "name", meta->name) || !cJSON_AddStringToObject(json, "family", arch->family) ||
        !cJSON_AddStringToObject(json, "quantization", meta->plan->quantization) ||
        !cJSON_AddNumberToObject(json, "parameters", (double)meta->plan->parameters) ||
        !cJSON_AddNumberToObject(json, "context", arch->context) ||
        !cJSON_AddNumberToObject(json, "width", arch->width) ||
        !cJSON_AddNumberToObject(json, "blocks", arch->blocks) ||
        !cJSON_AddStringToObject(json, "kv", meta->plan->kv_type == HL_KV_F32 ? "f32" : "f16") ||
        !cJSON_AddStringToObject(json, "source", meta->source->format))
        return hl_no_memory(err);
    if (add_stops(json, meta, err) < 0 || add_stop_texts(json, meta->source, err) < 0)
        return -1;
    if (meta->source->license && !cJSON_AddStringToObject(json, "license", meta->source->license))
        return hl_no_memory(err);
    return add_template(json, meta->chat, err);
}

int hl_meta_build(const struct hl_meta *meta, char **out, struct hl_error *err)
{
    HL_JSON cJSON *json = cJSON_CreateObject();
    if (!json)
        return hl_no_memory(err);
    if (fill(json, meta, err) < 0)
        return -1;
    char *text = cJSON_PrintUnformatted(json);
    if (!text)
        return hl_no_memory(err);
    /* The server copies this text into its answers. Texts of a source are checked where they are read. */
    assert(hl_view_is_text((struct hl_view){(const uint8_t *)text, strlen(text)}));
    *out = text;
    return 0;
}
