/* Reads tokenizer_config.json: which tokens begin and end a text, and which tokens were added to the model's own. The
 * keys are those of the tokenizer classes of transformers. Keys that matter only elsewhere (padding, lengths, chat
 * templates, the class) are not read, nor is clean_up_tokenization_spaces, which only prettifies output. */
#include "base/cleanup.h"
#include "base/json.h"
#include "pack/vocabulary/vocabulary_inside.h"
#include <errno.h>

/* Reads "added_tokens_decoder": {"7": {"content": "<pad>", "special": true, ...}, ...}. */
static int read_added(struct hl_vocabulary *v, const cJSON *added, struct hl_error *err)
{
    for (const cJSON *item = added ? added->child : NULL; item; item = item->next) {
        char *end = item->string;
        errno = 0;
        unsigned long id = strtoul(item->string, &end, 10);
        const char *content = hl_json_text(item, "content");
        if (errno || end == item->string || *end || id >= INT32_MAX || !content || !*content)
            return hl_fail(err, "tokenizer_config.json: added_tokens_decoder: \"%s\" is not a token", item->string);
        unsigned flags = 0;
        if (hl_added_flags(v, item, &flags, err) || hl_vocabulary_overlay(v, (uint32_t)id, content, flags, err))
            return hl_error_prefix(err, "tokenizer_config.json: added_tokens_decoder");
    }
    return 0;
}

/* Reads added_tokens.json: {"<pad>": 32000, ...}. */
static int read_old_added(struct hl_vocabulary *v, struct hl_view text, struct hl_error *err)
{
    HL_JSON cJSON *root = NULL;
    if (hl_json_parse(text, "added_tokens.json", &root, err))
        return -1;
    for (const cJSON *item = root->child; item; item = item->next) {
        uint32_t id;
        if (!hl_json_id(item, &id) || !*item->string)
            return hl_fail(err, "added_tokens.json: \"%s\" has no id", item->string);
        if (hl_vocabulary_overlay(v, id, item->string, HL_ADDED_RAW, err))
            return hl_error_prefix(err, "added_tokens.json");
    }
    return 0;
}

/* Finds a token by its text, "<s>" or {"content": "<s>", ...}, and makes it special. If the item is absent or null, *id
 * stays as it is. */
static int read_token(struct hl_vocabulary *v, const cJSON *item, const char *name, uint32_t *id, struct hl_error *err)
{
    const char *text = cJSON_IsObject(item) ? hl_json_text(item, "content") : cJSON_GetStringValue(item);
    if (!item || cJSON_IsNull(item))
        return 0;
    if (!text || !*text)
        return hl_fail(err, "tokenizer_config.json: %s is not a token", name);
    *id = hl_vocabulary_find(v, text);
    if (*id == HL_NONE)
        return hl_fail(err, "tokenizer_config.json: %s: token %s does not exist in %s", name, text, v->file);
    struct hl_view spelled = {(const uint8_t *)text, strlen(text)};
    if (v->tokens[*id].kind != HL_TOKEN_CONTROL && hl_vocabulary_make_special(v, *id, spelled, err))
        return hl_error_prefix(err, "tokenizer_config.json: %s", name);
    return 0;
}

static int read_special(struct hl_vocabulary *v, const cJSON *config, struct hl_error *err)
{
    uint32_t bos = v->bos, eos = v->eos, other;
    if (read_token(v, hl_json_get(config, "bos_token"), "bos_token", &bos, err) ||
        read_token(v, hl_json_get(config, "eos_token"), "eos_token", &eos, err))
        return -1;
    const cJSON *more = hl_json_get(config, "additional_special_tokens");
    for (const cJSON *item = more ? more->child : NULL; item; item = item->next)
        if (read_token(v, item, "additional_special_tokens", &other, err))
            return -1;
    if ((v->by_pairs && v->flags & HL_TOKENIZER_ADD_BOS && bos != v->bos) ||
        (v->by_pairs && v->flags & HL_TOKENIZER_ADD_EOS && eos != v->eos))
        return hl_fail(err, "tokenizer_config.json: bos_token or eos_token differs from what post_processor in %s adds",
                       v->file);
    v->bos = bos;
    v->eos = eos;
    return 0;
}

static int read_switch(struct hl_vocabulary *v, const cJSON *config, const char *key, uint32_t flag, uint32_t id,
                       struct hl_error *err)
{
    const cJSON *item = hl_json_get(config, key);
    if (cJSON_IsTrue(item) && id == HL_NONE)
        return hl_fail(err, "tokenizer_config.json: %s is true, but that token does not exist", key);
    if (cJSON_IsTrue(item))
        v->flags |= flag;
    else if (item)
        v->flags &= ~flag;
    return 0;
}

static int read_spaces(struct hl_vocabulary *v, const cJSON *config, struct hl_error *err)
{
    const cJSON *prefix = hl_json_get(config, "add_prefix_space");
    bool has_prefix = v->flags & HL_TOKENIZER_DUMMY_PREFIX;
    if (prefix && cJSON_IsTrue(prefix) != has_prefix)
        return hl_fail(err, "tokenizer_config.json: add_prefix_space contradicts %s", v->file);
    if (!v->by_pairs && has_prefix && cJSON_IsFalse(hl_json_get(config, "legacy")))
        v->flags |= HL_TOKENIZER_PREFIX_ONCE;
    return 0;
}

int hl_vocabulary_read_config(struct hl_vocabulary *v, const struct hl_vocabulary_files *files, struct hl_error *err)
{
    HL_JSON cJSON *config = NULL;
    if (files->config.data && hl_json_parse(files->config, "tokenizer_config.json", &config, err))
        return -1;
    const cJSON *added = hl_json_get(config, "added_tokens_decoder");
    if (read_added(v, added, err))
        return -1;
    if (!v->by_pairs && !added && files->added.data && read_old_added(v, files->added, err))
        return -1;
    if (read_special(v, config, err) || read_switch(v, config, "add_bos_token", HL_TOKENIZER_ADD_BOS, v->bos, err) ||
        read_switch(v, config, "add_eos_token", HL_TOKENIZER_ADD_EOS, v->eos, err))
        return -1;
    return read_spaces(v, config, err);
}
