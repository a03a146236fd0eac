/* Translates metadata into generation_config.json and tokenizer_config.json: which tokens end a text, the texts of the
 * tokens that chat templates name, and the template itself. pack/vocabulary/from_gguf.c reads the vocabulary.
 *
 * Converters write one eos_token_id where Hugging Face has a list. The others are in eot_token_id (Gemma's
 * <end_of_turn>), eom_token_id or Ollama's eos_token_ids, or in no key at all; llama.cpp finds those by their texts
 * [src/llama-vocab.cpp: "auto-detect special tokens by text"]. Without that an instructed Gemma 2 would never stop.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/source/gguf_model.h"

#define TOKENS "tokenizer.ggml.tokens"
#define TEMPLATE "tokenizer.chat_template"
#define ENDS_MOST 64u

/* These texts count whatever the token's type: old files have <end_of_turn> as a normal token. */
static const char *const end_texts[] = {"<|eot_id|>",    "<|eom_id|>",    "<|end_of_text|>", "<|im_end|>",
                                        "<|endoftext|>", "<end_of_turn>", "<|end|>",         "<EOT>"};
static const char *const end_keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
#define END_LIST "tokenizer.ggml.eos_token_ids"

static const struct {
    const char *key, *field;
} named[] = {{"tokenizer.ggml.bos_token_id", "bos_token"},
             {"tokenizer.ggml.eos_token_id", "eos_token"},
             {"tokenizer.ggml.unknown_token_id", "unk_token"},
             {"tokenizer.ggml.padding_token_id", "pad_token"}};

struct ends {
    uint64_t id[ENDS_MOST];
    uint32_t n;
};

bool hl_gguf_add_text(cJSON *object, const char *field, struct hl_view text)
{
    HL_FREE char *copy = strndup((const char *)text.data, text.size);
    return copy && cJSON_AddStringToObject(object, field, copy);
}

static bool equals(struct hl_view text, const char *other)
{
    return strlen(other) == text.size && memcmp(text.data, other, text.size) == 0;
}

static void add_end(struct ends *ends, uint64_t id)
{
    for (uint32_t i = 0; i < ends->n; i++)
        if (ends->id[i] == id)
            return;
    if (ends->n < ENDS_MOST)
        ends->id[ends->n++] = id;
}

static int listed_ends(const struct hl_gguf *gguf, uint64_t rows, struct ends *ends, struct hl_error *err)
{
    uint64_t id;
    for (size_t i = 0; i < HL_COUNT(end_keys); i++) {
        const struct hl_gguf_value *value = hl_gguf_get(gguf, end_keys[i]);
        if (value && !hl_gguf_count(value, rows - 1, &id))
            return hl_fail(err, "%s must be a token below %llu, the rows of token_embd.weight", end_keys[i],
                           (unsigned long long)rows);
        if (value)
            add_end(ends, id);
    }
    const struct hl_gguf_value *list = hl_gguf_get(gguf, END_LIST);
    if (list && (list->type != HL_GGUF_ARRAY || list->count > ENDS_MOST))
        return hl_fail(err, END_LIST " must be a list of up to %u tokens", ENDS_MOST);
    for (uint64_t i = 0; list && i < list->count; i++) {
        if (!hl_gguf_item_count(list, i, rows - 1, &id))
            return hl_fail(err, END_LIST " must list tokens below %llu, the rows of token_embd.weight",
                           (unsigned long long)rows);
        add_end(ends, id);
    }
    return 0;
}

/* Finds all wanted texts in one pass through the vocabulary. */
static int find_texts(const struct hl_gguf *gguf, uint64_t rows, struct ends *ends, cJSON *config, struct hl_error *err)
{
    const struct hl_gguf_value *tokens = hl_gguf_get(gguf, TOKENS);
    struct hl_view text;
    size_t at = 0;
    for (uint64_t id = 0; id < rows && hl_gguf_next_text(tokens, &at, &text); id++) {
        for (size_t i = 0; i < HL_COUNT(end_texts); i++)
            if (equals(text, end_texts[i]))
                add_end(ends, id);
        for (size_t i = 0; i < HL_COUNT(named); i++) {
            uint64_t wanted;
            if (!hl_gguf_count(hl_gguf_get(gguf, named[i].key), rows - 1, &wanted) || wanted != id)
                continue;
            if (!hl_view_is_text(text))
                return hl_fail(err, TOKENS ": token %llu (%s) is not UTF-8 without NUL", (unsigned long long)id,
                               named[i].key);
            if (!hl_gguf_add_text(config, named[i].field, text))
                return hl_no_memory(err);
        }
    }
    return 0;
}

int hl_gguf_tokens(struct hl_source *source, uint64_t rows, struct hl_error *err)
{
    struct ends ends = {.n = 0};
    struct hl_view template;
    cJSON *list, *item;
    source->tokenizer_config = cJSON_CreateObject();
    source->generation_config = cJSON_CreateObject();
    if (!source->tokenizer_config || !(list = cJSON_AddArrayToObject(source->generation_config, "eos_token_id")))
        return hl_no_memory(err);
    if (listed_ends(source->gguf, rows, &ends, err) < 0 ||
        find_texts(source->gguf, rows, &ends, source->tokenizer_config, err) < 0)
        return -1;
    for (uint32_t i = 0; i < ends.n; i++)
        if (!(item = cJSON_CreateNumber((double)ends.id[i])) || !cJSON_AddItemToArray(list, item))
            return hl_no_memory(err);
    const struct hl_gguf_value *value = hl_gguf_get(source->gguf, TEMPLATE);
    if (value && !hl_gguf_text(value, &template))
        return hl_fail(err, TEMPLATE " is not a text");
    if (value && !hl_gguf_add_text(source->tokenizer_config, "chat_template", template))
        return hl_no_memory(err);
    return 0;
}
