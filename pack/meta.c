/* What a model says of itself. The same source gives the same text: no time, no path, no version of this program. */
#include "pack/meta.h"
#include "hotlayer/cleanup.h"
#include "hotlayer/layout.h"
#include "pack/files.h"
#include "pack/json.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#define STOPS_MOST 64

const char *hl_quant_name(enum hl_quant quant)
{
    static const char *const names[] = {"keep", "bf16", "q8"};
    return names[quant];
}

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("._-:", c));
}

int hl_name_check(const char *name, struct hl_error *err)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= HL_MODEL_NAME_MAX && name[0] != '.';
    for (size_t i = 0; i < n; i++)
        good = good && name_char(name[i]);
    if (!good)
        return hl_fail(err,
                       "'%.200s' is no name for a model: up to %d letters, digits, '.', '_', '-', ':'; no '.' in front",
                       name, HL_MODEL_NAME_MAX);
    return 0;
}

/* How much of a file's name is the model's: what comes before "-00001-of-00003.gguf" or ".gguf". */
static size_t stem_of(const char *name)
{
    uint32_t part, parts;
    size_t n = strlen(name);
    if (hl_gguf_part(name, &part, &parts))
        return n - strlen("-00001-of-00001.gguf");
    return n > 5 && strcmp(name + n - 5, ".gguf") == 0 ? n - 5 : n;
}

/* A folder may be "." or end in '/', so its path is made plain; a file may be a link to where a cache keeps it. */
int hl_name_from_path(const char *path, char **out, struct hl_error *err)
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
        return hl_fail(err, "out of memory");
    for (char *p = name; *p; p++)
        if (!name_char(*p) || (p == name && *p == '.'))
            *p = '-';
    *out = name;
    return 0;
}

/* eos_token_id is a number or a list of numbers. */
static int add_stops(cJSON *meta, const struct hl_source *source, uint32_t vocabulary, struct hl_error *err)
{
    const cJSON *eos = cJSON_GetObjectItemCaseSensitive(source->generation_config, "eos_token_id");
    const char *file = "generation_config.json";
    if (!eos || cJSON_IsNull(eos)) {
        eos = cJSON_GetObjectItemCaseSensitive(source->config, "eos_token_id");
        file = "config.json";
    }
    cJSON *stops = cJSON_AddArrayToObject(meta, "stop_tokens");
    if (!stops)
        return hl_fail(err, "out of memory");
    if (!eos || cJSON_IsNull(eos))
        return 0;
    int n = cJSON_IsArray(eos) ? cJSON_GetArraySize(eos) : 1;
    if (n > STOPS_MOST)
        return hl_fail(err, "%s: eos_token_id lists more than %d tokens", file, STOPS_MOST);
    for (int i = 0; i < n; i++) {
        uint64_t id;
        if (!hl_json_count(cJSON_IsArray(eos) ? cJSON_GetArrayItem(eos, i) : eos, vocabulary - 1, &id))
            return hl_fail(err, "%s: eos_token_id must be token numbers below vocab_size %u", file, vocabulary);
        if (!cJSON_AddItemToArray(stops, cJSON_CreateNumber((double)id)))
            return hl_fail(err, "out of memory");
    }
    return 0;
}

static bool add_string(cJSON *object, const char *key, const char *value, size_t n)
{
    HL_FREE char *copy = strndup(value, n);
    return copy && cJSON_AddStringToObject(object, key, copy);
}

/* `license:` of the model card's front matter, or a .gguf's own, if there is one. */
static int add_licence(cJSON *meta, const struct hl_source *source, struct hl_error *err)
{
    struct hl_view card;
    if (source->gguf) {
        bool said = hl_gguf_text(hl_gguf_get(source->gguf, "general.license"), &card) && card.size < 200;
        return !said || add_string(meta, "license", (const char *)card.data, card.size) ? 0
                                                                                        : hl_fail(err, "out of memory");
    }
    if (hl_file_map(source->folder, "README.md", true, &card, err) < 0 || !card.data)
        return 0; /* an unreadable model card is no reason to refuse a model */
    if (!card.data)
        return 0;
    const char *at = (const char *)card.data, *end = at + card.size;
    bool inside = card.size > 4 && memcmp(at, "---\n", 4) == 0, ok = true;
    for (at += 4; inside && at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end ? line_end : end;
        size_t n = (size_t)(line_end - at);
        if (n >= 3 && memcmp(at, "---", 3) == 0)
            break;
        if (n > 9 && n < 200 && memcmp(at, "license: ", 9) == 0)
            ok = add_string(meta, "license", at + 9, n - 9);
        at = line_end + 1;
    }
    hl_file_unmap(&card);
    return ok ? 0 : hl_fail(err, "out of memory");
}

/* In a file of its own, which goes first as in transformers, or in tokenizer_config.json. */
static int add_template(cJSON *meta, const struct hl_source *source, struct hl_error *err)
{
    struct hl_view file = {NULL, 0};
    if (!source->gguf && hl_file_map(source->folder, "chat_template.jinja", true, &file, err) < 0)
        return -1;
    if (file.data) {
        bool ok = add_string(meta, "template", (const char *)file.data, file.size);
        hl_file_unmap(&file);
        return ok ? 0 : hl_fail(err, "out of memory");
    }
    const cJSON *template = cJSON_GetObjectItemCaseSensitive(source->tokenizer_config, "chat_template");
    if (!template || cJSON_IsNull(template))
        return 0;
    if (!cJSON_IsString(template))
        return hl_fail(err, "tokenizer_config.json: chat_template is no text");
    return cJSON_AddStringToObject(meta, "template", template->valuestring) ? 0 : hl_fail(err, "out of memory");
}

static int fill(cJSON *meta, const struct hl_source *source, const struct hl_arch *arch, const struct hl_plan *plan,
                enum hl_quant quant, const char *name, struct hl_error *err)
{
    if (!cJSON_AddStringToObject(meta, "name", name) || !cJSON_AddStringToObject(meta, "family", arch->family) ||
        !cJSON_AddStringToObject(meta, "quantization", hl_quant_name(quant)) ||
        !cJSON_AddNumberToObject(meta, "parameters", (double)plan->parameters) ||
        !cJSON_AddNumberToObject(meta, "context", arch->context) ||
        !cJSON_AddNumberToObject(meta, "width", arch->width) ||
        !cJSON_AddNumberToObject(meta, "blocks", arch->blocks) ||
        !cJSON_AddStringToObject(meta, "kv", plan->kv_type == HL_KV_F32 ? "f32" : "f16") ||
        !cJSON_AddStringToObject(meta, "source", source->gguf ? "gguf" : "safetensors"))
        return hl_fail(err, "out of memory");
    if (add_stops(meta, source, arch->vocabulary, err) < 0 || add_licence(meta, source, err) < 0)
        return -1;
    return add_template(meta, source, err);
}

int hl_meta_build(const struct hl_source *source, const struct hl_arch *arch, const struct hl_plan *plan,
                  enum hl_quant quant, const char *name, char **out, struct hl_error *err)
{
    cJSON *meta = cJSON_CreateObject();
    int result = meta ? fill(meta, source, arch, plan, quant, name, err) : hl_fail(err, "out of memory");
    if (result == 0 && !(*out = cJSON_PrintUnformatted(meta)))
        result = hl_fail(err, "out of memory");
    cJSON_Delete(meta);
    return result;
}
