/* Reads the meta data, and checks them like everything else in a .hot file. */
#include "runtime/model/model.h"
#include "base/sizes.h"
#include <cjson/cJSON.h>
#include <stdlib.h>

/* Returns whether a text can appear in messages, in JSON and on terminals without escapes. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    return *text;
}

static int read_text(const cJSON *meta, const char *key, char *out, size_t n, struct hl_error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(meta, key);
    if (!cJSON_IsString(item) || strlen(item->valuestring) >= n || !is_plain(item->valuestring))
        return hl_fail(err, "meta: %s is missing, or is not a word of plain characters, %zu at most", key, n - 1);
    snprintf(out, n, "%s", item->valuestring);
    return 0;
}

static int read_stops(const cJSON *meta, struct hl_model *model, struct hl_error *err)
{
    const cJSON *stops = cJSON_GetObjectItemCaseSensitive(meta, "stop_tokens"), *item;
    cJSON_ArrayForEach(item, stops)
    {
        if (model->n_stops == HL_STOPS_MOST || !cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
            item->valuedouble >= model->hot->program.head->vocabulary)
            return hl_fail(err, "meta: stop_tokens must be at most %d token numbers", HL_STOPS_MOST);
        model->stop[model->n_stops++] = (int32_t)item->valuedouble;
    }
    return 0;
}

static int read_stop_texts(const cJSON *meta, struct hl_model *model, struct hl_error *err)
{
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(meta, "stop_texts"), *item;
    cJSON_ArrayForEach(item, texts)
    {
        const char *text = cJSON_GetStringValue(item);
        if (!text || !*text || strlen(text) >= HL_STOP_TEXT_BYTES || model->n_stop_texts == HL_STOP_TEXTS_MOST)
            return hl_fail(err, "meta: stop_texts must be at most %d texts below %d bytes", HL_STOP_TEXTS_MOST,
                           HL_STOP_TEXT_BYTES);
        snprintf(model->stop_text[model->n_stop_texts++], HL_STOP_TEXT_BYTES, "%s", text);
    }
    return 0;
}

static int copy_text(const cJSON *meta, const char *key, char **out, struct hl_error *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, key));
    return !text || (*out = strdup(text)) ? 0 : hl_no_memory(err);
}

/* Opens the template. Fails if only one of source and compiled form is present. */
static int open_template(struct hl_model *model, struct hl_error *err)
{
    const struct hl_hot *hot = model->hot;
    if (!model->template_text != !hot->template_bytes)
        return hl_fail(err, "template: the section and meta's template do not belong together");
    return hot->template_bytes ? hl_template_open(hot->template, hot->template_bytes, &model->template, err) : 0;
}

/* Reads a number that is only displayed; returns 0 if it is missing or odd. */
static uint32_t read_count(const cJSON *meta, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(meta, key);
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1e9 ? (uint32_t)item->valuedouble : 0;
}

static int read_meta(struct hl_model *model, const cJSON *meta, struct hl_error *err)
{
    char kv[8];
    if (!cJSON_IsObject(meta))
        return hl_fail(err, "meta: broken JSON");
    if (read_text(meta, "name", model->name, sizeof model->name, err) < 0 ||
        read_text(meta, "family", model->family, sizeof model->family, err) < 0 ||
        read_text(meta, "quantization", model->quantization, sizeof model->quantization, err) < 0 ||
        read_text(meta, "kv", kv, sizeof kv, err) < 0 || read_stops(meta, model, err) < 0 ||
        read_stop_texts(meta, model, err) < 0 || copy_text(meta, "template", &model->template_text, err) < 0 ||
        copy_text(meta, "license", &model->license, err) < 0)
        return -1;
    model->tools_apart = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(meta, "tools_apart"));
    model->kv_type = strcmp(kv, "f32") == 0 ? HL_KV_F32 : HL_KV_F16;
    model->width = read_count(meta, "width");
    model->blocks = read_count(meta, "blocks");
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(meta, "parameters");
    model->parameters = cJSON_IsNumber(parameters) ? parameters->valuedouble : 0;
    return 0;
}

int hl_model_open(const char *path, struct hl_model **out, struct hl_error *err)
{
    struct hl_model *model = calloc(1, sizeof *model);
    if (!model)
        return hl_no_memory(err);
    if (hl_hot_open(path, &model->hot, err) < 0) {
        free(model);
        return -1;
    }
    cJSON *meta = cJSON_ParseWithLength(model->hot->meta, model->hot->meta_bytes);
    int result = read_meta(model, meta, err);
    cJSON_Delete(meta);
    if (result == 0 &&
        hl_tokenizer_open(model->hot->tokenizer, model->hot->tokenizer_bytes, &model->tokenizer, err) < 0)
        result = hl_error_prefix(err, "tokenizer");
    if (result == 0)
        result = open_template(model, err);
    if (result < 0) {
        hl_error_prefix(err, "%s", model->hot->path);
        hl_model_close(model);
        return -1;
    }
    *out = model;
    return 0;
}

void hl_model_close(struct hl_model *model)
{
    if (!model)
        return;
    hl_template_close(model->template);
    hl_tokenizer_close(model->tokenizer);
    hl_hot_close(model->hot);
    free(model->template_text);
    free(model->license);
    free(model);
}

bool hl_model_stops_at(const struct hl_model *model, int32_t token)
{
    for (uint32_t i = 0; i < model->n_stops; i++)
        if (model->stop[i] == token)
            return true;
    return false;
}

void hl_model_size_text(const struct hl_model *model, char out[16])
{
    static const struct {
        double unit;
        char letter;
    } scale[] = {{1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    for (size_t i = 0; i < HL_COUNT(scale); i++)
        if (model->parameters >= scale[i].unit) {
            double value = model->parameters / scale[i].unit;
            snprintf(out, 16, value < 100 && scale[i].letter == 'B' ? "%.1f%c" : "%.0f%c", value < 1e6 ? value : 1e6,
                     scale[i].letter);
            return;
        }
    snprintf(out, 16, "%.0f", model->parameters > 0 ? model->parameters : 0);
}
