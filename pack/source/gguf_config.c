/* Translates the metadata of a .gguf into config.json: the keys that converters write, and the defaults that llama.cpp
 * takes for absent keys [llama.cpp, conversion/ and convert_hf_to_gguf.py; src/llama-model.cpp: load_hparams, or
 * src/models/FAMILY.cpp; Ollama, convert/ and llama/compat/].
 *
 * llama means Llama and Mistral. Mistral's window is not written: a file of Mistral 7B v0.1 sees the whole context. The
 * frequencies of Llama 3.1 are the tensor rope_freqs.weight. Only the tensors tell whether there are biases.
 *
 * gemma2 lacks query_pre_attn_scalar: the 27B is recognized by its 46 blocks. Every second block slides.
 *
 * gemma3 lacks it too; the 27B has 62 blocks. Every sixth block is full, or as sliding_window_pattern says, which is a
 * period or a boolean for each block. Without a window all blocks are full. Ollama's own files have other names for the
 * rope's bases, lack the epsilon, lack the factor 8 of all models beyond 1B, and contain the vision model. They also
 * have more tokens than the embedding has rows.
 *
 * qwen2, qwen3: the window, which no published model uses, is not written.
 *
 * A key below the architecture that is not on these lists is refused, because it may change what the model computes.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "hotlayer/program.h"
#include "pack/source/gguf_model.h"
#include <assert.h>

#define ARCHITECTURE "general.architecture"
#define GEMMA_ANY (HL_GGUF_GEMMA2 | HL_GGUF_GEMMA3)

static const struct family {
    enum hl_gguf_family family;
    const char *name, *architecture; /* the class in transformers */
} families[] = {
    {HL_GGUF_LLAMA, "llama", "LlamaForCausalLM"},    {HL_GGUF_GEMMA, "gemma", "GemmaForCausalLM"},
    {HL_GGUF_GEMMA2, "gemma2", "Gemma2ForCausalLM"}, {HL_GGUF_GEMMA3, "gemma3", "Gemma3ForCausalLM"},
    {HL_GGUF_QWEN2, "qwen2", "Qwen2ForCausalLM"},    {HL_GGUF_QWEN3, "qwen3", "Qwen3ForCausalLM"},
};

#define ALL (HL_GGUF_LLAMA | HL_GGUF_GEMMA | GEMMA_ANY | HL_GGUF_QWEN2 | HL_GGUF_QWEN3)

/* Keys after "ARCHITECTURE."; a key that ends in '.' stands for all keys with that prefix. The last group has no
 * effect: epsilons of other norms, and the numbers of yarn, which is itself refused. */
static const struct {
    const char *key;
    unsigned families;
} known[] = {
    {"block_count", ALL},
    {"context_length", ALL},
    {"embedding_length", ALL},
    {"feed_forward_length", ALL},
    {"attention.head_count", ALL},
    {"attention.head_count_kv", ALL},
    {"attention.key_length", ALL},
    {"attention.value_length", ALL},
    {"attention.layer_norm_rms_epsilon", ALL},
    {"attention.head_dim", HL_GGUF_LLAMA},
    {"attention.sliding_window", HL_GGUF_LLAMA | GEMMA_ANY},
    {"attention.sliding_window_pattern", GEMMA_ANY},
    {"attention.causal", ALL},
    {"attn_logit_softcapping", HL_GGUF_GEMMA2},
    {"final_logit_softcapping", GEMMA_ANY},
    {"expert_count", ALL},
    {"expert_used_count", ALL},
    {"pooling_type", ALL},
    {"tensor_data_layout", HL_GGUF_LLAMA},
    {"rope.dimension_count", ALL},
    {"rope.freq_base", ALL},
    {"rope.freq_base_swa", HL_GGUF_GEMMA3},
    {"rope.global.freq_base", HL_GGUF_GEMMA3},
    {"rope.local.freq_base", HL_GGUF_GEMMA3},
    {"rope.scale_linear", ALL},
    {"rope.scaling.type", ALL},
    {"rope.scaling.factor", ALL},
    {"rope.scaling.attn_factor", ALL},
    {"mm.", HL_GGUF_GEMMA3},
    {"vision.", HL_GGUF_GEMMA3},
    {"vocab_size", ALL},
    {"attention.layer_norm_epsilon", ALL},
    {"rope.scaling.finetuned", ALL},
    {"rope.scaling.original_context_length", ALL},
    {"rope.scaling.yarn_", ALL},
};

struct translation {
    const struct hl_gguf *gguf;
    const struct family *family;
    const struct hl_gguf_facts *facts;
    cJSON *config;
    bool full; /* out of memory for a field */
    struct hl_error *err;
};

int hl_gguf_find_family(const struct hl_gguf *gguf, enum hl_gguf_family *out, struct hl_error *err)
{
    struct hl_view name;
    char all[128] = "";
    if (!hl_gguf_text(hl_gguf_get(gguf, ARCHITECTURE), &name))
        return hl_fail(err, ARCHITECTURE " is missing");
    for (size_t i = 0; i < HL_COUNT(families); i++) {
        size_t n = strlen(families[i].name);
        if (n == name.size && memcmp(name.data, families[i].name, n) == 0) {
            *out = families[i].family;
            return 0;
        }
        n = strlen(all);
        snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", families[i].name);
    }
    return hl_fail(err, ARCHITECTURE ": '%.*s' is not supported; these are: %s", (int)(name.size < 80 ? name.size : 80),
                   (const char *)name.data, all);
}

/* ---- keys ---- */

static bool is_known(const struct translation *t, const char *key, size_t n)
{
    for (size_t i = 0; i < HL_COUNT(known); i++) {
        size_t length = strlen(known[i].key);
        bool prefix = strchr("._", known[i].key[length - 1]);
        if (known[i].families & t->family->family && memcmp(key, known[i].key, length < n ? length : n) == 0 &&
            (n == length || (prefix && n > length)))
            return true;
    }
    return false;
}

static int check_keys(const struct translation *t)
{
    size_t n_keys, prefix = strlen(t->family->name);
    const struct hl_gguf_key *keys = hl_gguf_keys(t->gguf, &n_keys);
    for (size_t i = 0; i < n_keys; i++) {
        struct hl_view name = keys[i].name;
        const char *text = (const char *)name.data;
        if (name.size <= prefix || memcmp(text, t->family->name, prefix) != 0 || text[prefix] != '.' ||
            is_known(t, text + prefix + 1, name.size - prefix - 1))
            continue;
        return hl_fail(t->err, "%.*s is set, but unknown: it may change what the model computes", (int)name.size, text);
    }
    return 0;
}

static const struct hl_gguf_value *get(const struct translation *t, const char *key)
{
    char name[80];
    snprintf(name, sizeof name, "%s.%s", t->family->name, key);
    return hl_gguf_get(t->gguf, name);
}

/* Reads a count. With 0 for `otherwise` the key must be present. */
static int count(const struct translation *t, const char *key, uint64_t otherwise, uint64_t *out)
{
    const struct hl_gguf_value *value = get(t, key);
    *out = otherwise;
    if (!value && !otherwise)
        return hl_fail(t->err, "%s.%s is missing", t->family->name, key);
    if (value && (!hl_gguf_count(value, UINT32_MAX, out) || *out == 0))
        return hl_fail(t->err, "%s.%s must be a whole number from 1 to %u", t->family->name, key, UINT32_MAX);
    return 0;
}

static int real(const struct translation *t, const char *key, double otherwise, double *out)
{
    const struct hl_gguf_value *value = get(t, key);
    *out = otherwise;
    if (!value && otherwise == 0)
        return hl_fail(t->err, "%s.%s is missing", t->family->name, key);
    if (value && !(hl_gguf_real(value, out) && *out > 1e-30 && *out < 1e30))
        return hl_fail(t->err, "%s.%s must be a positive number", t->family->name, key);
    return 0;
}

/* Fails if a key is present and has another value than `only`. */
static int must_be(const struct translation *t, const char *key, uint64_t only)
{
    const struct hl_gguf_value *value = get(t, key);
    uint64_t number;
    if (value && (!hl_gguf_count(value, UINT64_MAX, &number) || number != only))
        return hl_fail(t->err, "%s.%s must be %llu; anything else is not supported", t->family->name, key,
                       (unsigned long long)only);
    return 0;
}

static int check_plain(const struct translation *t)
{
    static const char layout[] = "Meta AI original pth"; /* the name of the order of rows in pairs, of q and k */
    double factor;
    bool causal;
    struct hl_view text;
    const struct hl_gguf_value *value = get(t, "attention.causal");
    if (value && (!hl_gguf_truth(value, &causal) || !causal))
        return hl_fail(t->err, "%s.attention.causal must be true; models that see later tokens are not supported",
                       t->family->name);
    value = get(t, "tensor_data_layout");
    if (value &&
        (!hl_gguf_text(value, &text) || text.size != strlen(layout) || memcmp(text.data, layout, text.size) != 0))
        return hl_fail(t->err, "%s.tensor_data_layout must be \"%s\"", t->family->name, layout);
    if (real(t, "rope.scaling.attn_factor", 1, &factor) < 0)
        return -1;
    if (factor != 1)
        return hl_fail(t->err, "%s.rope.scaling.attn_factor must be 1", t->family->name);
    if (must_be(t, "expert_count", 0) < 0 || must_be(t, "expert_used_count", 0) < 0)
        return -1;
    return must_be(t, "pooling_type", 0);
}

/* ---- fields ---- */

static void put_number(struct translation *t, const char *field, double number)
{
    t->full = !cJSON_AddNumberToObject(t->config, field, number) || t->full;
}

static void put_text(struct translation *t, cJSON *object, const char *field, const char *text)
{
    t->full = !cJSON_AddStringToObject(object, field, text) || t->full;
}

static void put_truth(struct translation *t, const char *field, bool truth)
{
    t->full = !cJSON_AddBoolToObject(t->config, field, truth) || t->full;
}

static int put_heads(struct translation *t, uint64_t width, uint64_t *heads, uint64_t *head_dim)
{
    uint64_t kv_heads;
    if (count(t, "attention.head_count", 0, heads) < 0 || count(t, "attention.head_count_kv", *heads, &kv_heads) < 0)
        return -1;
    assert(*heads); /* count() has checked this */
    if (!get(t, "attention.key_length") && width % *heads)
        return hl_fail(t->err,
                       "%s.attention.key_length is missing, and embedding_length is not a multiple of head_count",
                       t->family->name);
    if (count(t, "attention.key_length", width / *heads ? width / *heads : 1, head_dim) < 0 ||
        must_be(t, "attention.value_length", *head_dim) < 0 || must_be(t, "attention.head_dim", *head_dim) < 0 ||
        must_be(t, "rope.dimension_count", *head_dim) < 0)
        return -1;
    put_number(t, "num_attention_heads", (double)*heads);
    put_number(t, "num_key_value_heads", (double)kv_heads);
    put_number(t, "head_dim", (double)*head_dim);
    return 0;
}

/* Returns true for a Gemma 3 that Ollama converted, which uses keys of its own. */
static bool is_ollamas(const struct translation *t)
{
    return t->family->family == HL_GGUF_GEMMA3 &&
           (get(t, "rope.global.freq_base") || get(t, "rope.local.freq_base") || get(t, "mm.tokens_per_image") ||
            !get(t, "attention.layer_norm_rms_epsilon"));
}

/* Reads the factor by which positions are divided; 1 if they are not. */
static int read_scaling(const struct translation *t, uint64_t context, double *factor)
{
    const struct hl_gguf_value *type = get(t, "rope.scaling.type");
    struct hl_view name = {(const uint8_t *)"linear", 6};
    const char *key = get(t, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    double zero;
    if (type && !hl_gguf_text(type, &name))
        return hl_fail(t->err, "%s.rope.scaling.type is not a text", t->family->name);
    bool none = name.size == 4 && memcmp(name.data, "none", 4) == 0;
    if (!none && !(name.size == 6 && memcmp(name.data, "linear", 6) == 0))
        return hl_fail(t->err, "%s.rope.scaling.type: '%.*s' is not supported; only none and linear are",
                       t->family->name, (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
    *factor = !type && !get(t, key) && is_ollamas(t) && context >= 131072 ? 8 : 1;
    if (none || (hl_gguf_real(get(t, key), &zero) && zero == 0)) /* 0 stands for 1 */
        return 0;
    return real(t, key, *factor, factor);
}

static int put_rope(struct translation *t, uint64_t context)
{
    bool gemma3 = t->family->family == HL_GGUF_GEMMA3;
    double base, local = 0, factor = 1;
    const char *base_key = gemma3 && !get(t, "rope.freq_base") ? "rope.global.freq_base" : "rope.freq_base";
    const char *local_key = get(t, "rope.freq_base_swa") ? "rope.freq_base_swa" : "rope.local.freq_base";
    if (real(t, base_key, gemma3 ? 1e6 : 1e4, &base) < 0 || (gemma3 && real(t, local_key, 1e4, &local) < 0) ||
        read_scaling(t, context, &factor) < 0)
        return -1;
    put_number(t, "rope_theta", base);
    if (gemma3)
        put_number(t, "rope_local_base_freq", local);
    if (factor == 1)
        return 0;
    cJSON *scaling = cJSON_AddObjectToObject(t->config, "rope_scaling");
    put_text(t, scaling, "rope_type", "linear");
    t->full = !cJSON_AddNumberToObject(scaling, "factor", factor) || t->full;
    return 0;
}

/* Writes for each block whether it slides. With `period` 0 all slide, with 1 none does. */
static int put_layer_types(struct translation *t, uint64_t blocks, const struct hl_gguf_value *each, uint64_t period)
{
    cJSON *types = cJSON_AddArrayToObject(t->config, "layer_types");
    for (uint64_t block = 0; block < blocks; block++) {
        bool slides = !period || block % period < period - 1;
        uint64_t number = 2;
        if (each && !hl_gguf_item_truth(each, block, &slides)) {
            if (!hl_gguf_item_count(each, block, 1, &number))
                return hl_fail(t->err, "%s.attention.sliding_window_pattern must have an entry for each of %llu blocks",
                               t->family->name, (unsigned long long)blocks);
            slides = number;
        }
        cJSON *type = cJSON_CreateString(slides ? "sliding_attention" : "full_attention");
        t->full = !type || !cJSON_AddItemToArray(types, type) || t->full;
    }
    return 0;
}

/* Writes the window, and which blocks have it. If the file does not say which, Hugging Face has the same default as
 * llama.cpp. */
static int put_window(struct translation *t, uint64_t blocks)
{
    const struct hl_gguf_value *window = get(t, "attention.sliding_window");
    const struct hl_gguf_value *pattern = get(t, "attention.sliding_window_pattern");
    uint64_t size = t->family->family == HL_GGUF_GEMMA2 ? 4096 : 0, period;
    if (window && !hl_gguf_count(window, UINT32_MAX, &size))
        return hl_fail(t->err, "%s.attention.sliding_window must be a whole number", t->family->name);
    if (size)
        put_number(t, "sliding_window", (double)size);
    if (t->family->family == HL_GGUF_LLAMA)
        return 0;
    if (!size)
        return put_layer_types(t, blocks, NULL, 1);
    if (!pattern)
        return 0;
    if (pattern->type == HL_GGUF_ARRAY && pattern->count == blocks)
        return put_layer_types(t, blocks, pattern, 0);
    if (!hl_gguf_count(pattern, UINT32_MAX, &period))
        return hl_fail(t->err,
                       "%s.attention.sliding_window_pattern must be a period, or have an entry for each of %llu blocks",
                       t->family->name, (unsigned long long)blocks);
    return put_layer_types(t, blocks, NULL, period);
}

static int put_softcap(struct translation *t, const char *key)
{
    double cap;
    if (!get(t, key)) /* then both have the same default: 50 and 30 in Gemma 2, none in Gemma 3 */
        return 0;
    if (real(t, key, 0, &cap) < 0)
        return -1;
    put_number(t, key, cap);
    return 0;
}

/* Writes the fields that only some families have. */
static int put_own(struct translation *t, uint64_t width, uint64_t blocks, uint64_t heads, uint64_t head_dim)
{
    enum hl_gguf_family family = t->family->family;
    if (family & (HL_GGUF_LLAMA | HL_GGUF_QWEN3) && t->facts->attention_bias)
        put_truth(t, "attention_bias", true);
    if (family == HL_GGUF_LLAMA && t->facts->mlp_bias)
        put_truth(t, "mlp_bias", true);
    if (family & (HL_GGUF_QWEN2 | HL_GGUF_QWEN3))
        put_truth(t, "use_sliding_window", false);
    if (family & (HL_GGUF_LLAMA | GEMMA_ANY) && put_window(t, blocks) < 0)
        return -1;
    if (!(family & GEMMA_ANY))
        return 0;
    bool largest = blocks == (family == HL_GGUF_GEMMA2 ? 46 : 62);
    put_number(t, "query_pre_attn_scalar", (double)(largest ? width / heads : head_dim));
    if (family == HL_GGUF_GEMMA2 && put_softcap(t, "attn_logit_softcapping") < 0)
        return -1;
    return put_softcap(t, "final_logit_softcapping");
}

/* Returns the class in transformers. A llama with a window is a Mistral. */
static const char *architecture(const struct translation *t)
{
    uint64_t window = 0;
    bool mistral = t->family->family == HL_GGUF_LLAMA &&
                   hl_gguf_count(get(t, "attention.sliding_window"), UINT32_MAX, &window) && window;
    return mistral ? "MistralForCausalLM" : t->family->architecture;
}

static int check_blocks(const struct translation *t, uint64_t blocks)
{
    if (blocks > HL_PROGRAM_MAX_KVS)
        return hl_fail(t->err, "%s.block_count %llu is more than %u", t->family->name, (unsigned long long)blocks,
                       HL_PROGRAM_MAX_KVS);
    if (t->facts->blocks > blocks)
        return hl_fail(t->err, "tensors of blk.%u exist, but %s.block_count is %llu", t->facts->blocks - 1,
                       t->family->name, (unsigned long long)blocks);
    return 0;
}

static int translate(struct translation *t)
{
    enum hl_dtype dtype = t->facts->dtype;
    uint64_t width, blocks, ffn, context, heads, head_dim;
    double eps;
    if (check_keys(t) < 0 || check_plain(t) < 0 || count(t, "embedding_length", 0, &width) < 0 ||
        count(t, "block_count", 0, &blocks) < 0 || count(t, "feed_forward_length", 0, &ffn) < 0 ||
        count(t, "context_length", 0, &context) < 0 ||
        real(t, "attention.layer_norm_rms_epsilon", t->family->family == HL_GGUF_GEMMA3 ? 1e-6 : 0, &eps) < 0 ||
        check_blocks(t, blocks) < 0)
        return -1;
    cJSON *list = cJSON_AddArrayToObject(t->config, "architectures"), *name = cJSON_CreateString(architecture(t));
    t->full = !name || !cJSON_AddItemToArray(list, name);
    put_number(t, "hidden_size", (double)width);
    put_number(t, "num_hidden_layers", (double)blocks);
    put_number(t, "intermediate_size", (double)ffn);
    put_number(t, "max_position_embeddings", (double)context);
    put_number(t, "vocab_size", (double)t->facts->rows);
    put_number(t, "rms_norm_eps", eps);
    put_truth(t, "tie_word_embeddings", !t->facts->head);
    put_text(t, t->config, "torch_dtype",
             dtype == HL_DTYPE_F32   ? "float32"
             : dtype == HL_DTYPE_F16 ? "float16"
                                     : "bfloat16"); /* most likely */
    if (put_heads(t, width, &heads, &head_dim) < 0 || put_rope(t, context) < 0)
        return -1;
    return put_own(t, width, blocks, heads, head_dim);
}

int hl_gguf_config(struct hl_source *source, const struct hl_gguf_facts *facts, struct hl_error *err)
{
    struct translation t = {.gguf = source->gguf, .family = families, .facts = facts, .err = err};
    while (t.family->family != facts->family)
        t.family++;
    t.config = source->config = cJSON_CreateObject();
    if (!t.config)
        return hl_no_memory(err);
    if (translate(&t) < 0)
        return -1;
    return t.full ? hl_no_memory(err) : 0;
}
