/* Reads config.json of each family, as the config classes of transformers define it
 * (models/FAMILY/configuration_FAMILY.py).
 *
 * One function reads what the families share. The table below holds what differs: the class's defaults for absent
 * fields, the family's own fields, and a function for everything that a table cannot express.
 *
 * An absent field is not null. Without `sliding_window` Mistral has a window of 4096; with null it has none. Without
 * `head_dim` Qwen3 has 128, not width / heads. Published files of Gemma 3 leave out every field that equals the class's
 * default.
 */
#include "pack/compile/arch.h"
#include "base/json.h"
#include "base/sizes.h"
#include <assert.h>
#include <math.h>

/* The same limit as in runtime/model/program.c. */
#define MAX_SIZE (1u << 24)
#define MAX_HEADS 4096u
#define MAX_HEAD_DIM 4096u

struct family {
    const char *architecture, *name, *model_type;
    /* Defaults of absent fields. With 0 the field must be present, or it follows from others: kv_heads from
     * num_attention_heads, head_dim from hidden_size / num_attention_heads. */
    uint32_t context, width, blocks, heads, kv_heads, head_dim, ffn, vocabulary;
    bool tied;
    bool gemma;         /* scaled embedding, 1 + weight, gelu */
    const char *fields; /* the family's own fields, with a space before and after each */
    int (*finish)(const cJSON *config, struct hl_arch *a, struct hl_error *err);
};

/* ---- fields ---- */

int hl_arch_count(const cJSON *config, const char *field, uint32_t least, uint32_t most, uint32_t otherwise,
                  uint32_t *out, struct hl_error *err)
{
    const cJSON *value = hl_json_get(config, field);
    uint64_t number;
    *out = otherwise;
    if (!value)
        return otherwise ? 0 : hl_fail(err, "%s is missing", field);
    if (!hl_json_count(value, most, &number) || number < least)
        return hl_fail(err, "%s must be a whole number from %u to %u", field, least, most);
    *out = (uint32_t)number;
    return 0;
}

int hl_arch_real(const cJSON *config, const char *field, double otherwise, double *out, struct hl_error *err)
{
    const cJSON *value = hl_json_get(config, field);
    *out = otherwise;
    if (!value)
        return otherwise > 0 ? 0 : hl_fail(err, "%s is missing", field);
    if (!cJSON_IsNumber(value) || !(value->valuedouble > 1e-30 && value->valuedouble < 1e30))
        return hl_fail(err, "%s must be a positive number", field);
    *out = value->valuedouble;
    return 0;
}

static int truth(const cJSON *config, const char *field, bool otherwise, bool *out, struct hl_error *err)
{
    const cJSON *value = hl_json_get(config, field);
    *out = otherwise;
    if (!value)
        return 0;
    if (!cJSON_IsBool(value))
        return hl_fail(err, "%s must be true or false", field);
    *out = cJSON_IsTrue(value);
    return 0;
}

/* Returns true if the field is null. For some fields null switches off what an absent field leaves on. */
static bool is_null(const cJSON *config, const char *field)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(config, field));
}

static int read_softcap(const cJSON *config, const char *field, double otherwise, float *out, struct hl_error *err)
{
    double cap;
    *out = 0;
    if (is_null(config, field) || (otherwise == 0 && !hl_json_get(config, field)))
        return 0;
    if (hl_arch_real(config, field, otherwise, &cap, err) < 0)
        return -1;
    *out = (float)cap;
    return 0;
}

static int read_window(const cJSON *config, uint32_t otherwise, uint32_t *out, struct hl_error *err)
{
    *out = 0;
    return is_null(config, "sliding_window")
               ? 0
               : hl_arch_count(config, "sliding_window", 1, MAX_SIZE, otherwise, out, err);
}

static int read_activation(const cJSON *config, const char *field, const char *otherwise, enum hl_activation *out,
                           struct hl_error *err)
{
    const cJSON *value = hl_json_get(config, field);
    const char *name = value ? cJSON_GetStringValue(value) : otherwise;
    if (name && strcmp(name, "silu") == 0)
        *out = HL_ACTIVATION_SILU;
    else if (name && strcmp(name, "gelu_pytorch_tanh") == 0)
        *out = HL_ACTIVATION_GELU_TANH;
    else
        return hl_fail(err, "%s \"%.40s\" is not supported; only silu and gelu_pytorch_tanh are", field,
                       name ? name : "?");
    return 0;
}

/* Reads "layer_types", which says of each block whether it slides. Sets *there to false if the field is absent. */
static int read_layer_types(const cJSON *config, struct hl_arch *a, bool *there, struct hl_error *err)
{
    const cJSON *types = hl_json_get(config, "layer_types"), *type;
    uint32_t block = 0;
    *there = types != NULL;
    if (!types)
        return 0;
    if (!cJSON_IsArray(types) || (uint32_t)cJSON_GetArraySize(types) != a->blocks)
        return hl_fail(err, "layer_types must have num_hidden_layers (%u) entries", a->blocks);
    cJSON_ArrayForEach(type, types)
    {
        const char *name = cJSON_GetStringValue(type);
        bool slides = name && strcmp(name, "sliding_attention") == 0;
        if (!slides && !(name && strcmp(name, "full_attention") == 0))
            return hl_fail(err,
                           "layer_types: \"%.40s\" is not supported; only full_attention and sliding_attention are",
                           name ? name : "?");
        a->slides[block++] = slides;
    }
    return 0;
}

/* ---- the families ---- */

/* Reads the fields of Llama. `attention_bias` also puts a bias on the output projection. Falcon 3 has a field
 * "activation" that names what the whole class does. */
static int finish_llama(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    if (hl_json_get(config, "activation") && !hl_json_is(config, "activation", "swiglu"))
        return hl_fail(err, "activation must be swiglu");
    if (truth(config, "attention_bias", false, &a->qkv_bias, err) < 0 ||
        truth(config, "mlp_bias", false, &a->mlp_bias, err) < 0)
        return -1;
    a->out_bias = a->qkv_bias;
    return read_activation(config, "hidden_act", "silu", &a->activation, err);
}

static int finish_mistral(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    if (read_window(config, 4096, &a->window, err) < 0)
        return -1;
    for (uint32_t block = 0; block < a->blocks; block++)
        a->slides[block] = true;
    return read_activation(config, "hidden_act", "silu", &a->activation, err);
}

/* Reads the fields of Qwen. Only the upper blocks slide, and only if use_sliding_window is true. */
static int finish_qwen(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    bool slides, listed;
    uint32_t first = 28;
    if (truth(config, "use_sliding_window", false, &slides, err) < 0 ||
        (slides && read_window(config, 4096, &a->window, err) < 0) || read_layer_types(config, a, &listed, err) < 0)
        return -1;
    const cJSON *lowest = hl_json_get(config, "max_window_layers");
    if (lowest && hl_arch_count(config, "max_window_layers", 0, MAX_SIZE, first, &first, err) < 0)
        return -1;
    for (uint32_t block = 0; block < a->blocks && !listed; block++)
        a->slides[block] = a->window && block >= first;
    return read_activation(config, "hidden_act", "silu", &a->activation, err);
}

static int finish_qwen2(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    a->qkv_bias = true;
    return finish_qwen(config, a, err);
}

static int finish_qwen3(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    a->qk_norm = true;
    if (truth(config, "attention_bias", false, &a->qkv_bias, err) < 0)
        return -1;
    a->out_bias = a->qkv_bias;
    return finish_qwen(config, a, err);
}

/* Reads the fields of Gemma. The first release said "gelu" and meant the tanh form; transformers still reads it so. */
static int finish_gemma(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    if (truth(config, "attention_bias", false, &a->qkv_bias, err) < 0)
        return -1;
    a->out_bias = a->qkv_bias;
    if (hl_json_is(config, "hidden_act", "gelu"))
        a->activation = HL_ACTIVATION_GELU_TANH;
    else if (read_activation(config, "hidden_act", "gelu_pytorch_tanh", &a->activation, err) < 0)
        return -1;
    return hl_json_get(config, "hidden_activation")
               ? read_activation(config, "hidden_activation", NULL, &a->activation, err)
               : 0;
}

/* Reads what Gemma 2 and 3 share. All blocks slide except every `period`-th. */
static int finish_gemma23(const cJSON *config, struct hl_arch *a, uint32_t period, struct hl_error *err)
{
    double scalar;
    bool listed;
    a->post_norms = true;
    if (truth(config, "attention_bias", false, &a->qkv_bias, err) < 0 ||
        hl_arch_real(config, "query_pre_attn_scalar", 256, &scalar, err) < 0 ||
        read_softcap(config, "final_logit_softcapping", a->logit_softcap, &a->logit_softcap, err) < 0 ||
        read_activation(config, "hidden_activation", "gelu_pytorch_tanh", &a->activation, err) < 0 ||
        read_window(config, 4096, &a->window, err) < 0 || read_layer_types(config, a, &listed, err) < 0)
        return -1;
    a->out_bias = a->qkv_bias;
    a->attention_scale = 1 / sqrt(scalar);
    for (uint32_t block = 0; block < a->blocks && !listed; block++)
        a->slides[block] = (block + 1) % period != 0;
    return 0;
}

static int finish_gemma2(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    a->logit_softcap = 30;
    if (read_softcap(config, "attn_logit_softcapping", 50, &a->attention_softcap, err) < 0)
        return -1;
    return finish_gemma23(config, a, 2, err);
}

/* Reads the fields of Gemma 3. attn_logit_softcapping may be set; transformers keeps the field and applies no cap
 * (Gemma3Attention). */
static int finish_gemma3(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    const char *field =
        hl_json_get(config, "sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
    uint32_t period;
    a->qk_norm = true;
    if (hl_arch_count(config, field, 1, HL_PROGRAM_MAX_KVS, 6, &period, err) < 0)
        return -1;
    return finish_gemma23(config, a, period, err);
}

/* Gemma 3 comes alone, or inside a model for text and images, where its fields are in text_config. Published files of
 * both kinds contain only the fields that differ from the class's defaults. */
#define GEMMA3_NESTED "Gemma3ForConditionalGeneration"
#define GEMMA3                                                                                                         \
    .name = "gemma3", .model_type = "gemma3_text", .context = 131072, .width = 2304, .blocks = 26, .heads = 8,         \
    .kv_heads = 4, .head_dim = 256, .ffn = 9216, .vocabulary = 262208, .tied = true, .gemma = true,                    \
    .fields = " attention_bias hidden_activation hidden_act query_pre_attn_scalar attn_logit_softcapping "             \
              "final_logit_softcapping sliding_window sliding_window_pattern layer_types rope_local_base_freq ",       \
    .finish = finish_gemma3
#define QWEN_FIELDS " hidden_act use_sliding_window sliding_window max_window_layers layer_types attention_bias "

static const struct family families[] = {
    {.architecture = "LlamaForCausalLM",
     .name = "llama",
     .model_type = "llama",
     .context = 2048,
     .fields = " hidden_act attention_bias mlp_bias activation ",
     .finish = finish_llama},
    {.architecture = "MistralForCausalLM",
     .name = "mistral",
     .model_type = "mistral",
     .context = 131072,
     .kv_heads = 8,
     .fields = " hidden_act sliding_window ",
     .finish = finish_mistral},
    {.architecture = "Qwen2ForCausalLM",
     .name = "qwen2",
     .model_type = "qwen2",
     .context = 32768,
     .kv_heads = 32,
     .fields = " hidden_act use_sliding_window sliding_window max_window_layers layer_types ",
     .finish = finish_qwen2},
    {.architecture = "Qwen3ForCausalLM",
     .name = "qwen3",
     .model_type = "qwen3",
     .context = 32768,
     .kv_heads = 32,
     .head_dim = 128,
     .fields = QWEN_FIELDS,
     .finish = finish_qwen3},
    {.architecture = "GemmaForCausalLM",
     .name = "gemma",
     .model_type = "gemma",
     .context = 8192,
     .kv_heads = 16,
     .head_dim = 256,
     .tied = true,
     .gemma = true,
     .fields = " hidden_act hidden_activation attention_bias ",
     .finish = finish_gemma},
    {.architecture = "Gemma2ForCausalLM",
     .name = "gemma2",
     .model_type = "gemma2",
     .context = 8192,
     .kv_heads = 4,
     .head_dim = 256,
     .tied = true,
     .gemma = true,
     .fields = " attention_bias hidden_activation hidden_act query_pre_attn_scalar attn_logit_softcapping "
               "final_logit_softcapping sliding_window sliding_window_size layer_types ",
     .finish = finish_gemma2},
    {.architecture = "Gemma3ForCausalLM", GEMMA3},
    {.architecture = GEMMA3_NESTED, GEMMA3},
};

/* ---- the shared fields ---- */

static const struct family *find_family(const cJSON *config, struct hl_error *err)
{
    const cJSON *list = hl_json_get(config, "architectures");
    const char *name = cJSON_IsArray(list) ? cJSON_GetStringValue(cJSON_GetArrayItem(list, 0)) : NULL;
    char known[512] = "";
    if (!name) {
        hl_fail(err, "architectures is missing");
        return NULL;
    }
    for (size_t i = 0; i < HL_COUNT(families); i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", families[i].architecture);
        if (strcmp(name, families[i].architecture) == 0)
            return &families[i];
    }
    hl_fail(err, "architectures: '%.80s' is not supported; these are: %s", name, known);
    return NULL;
}

static int read_heads(const cJSON *config, const struct family *f, struct hl_arch *a, struct hl_error *err)
{
    bool all = is_null(config, "num_key_value_heads");
    if (hl_arch_count(config, "num_attention_heads", 1, MAX_HEADS, f->heads, &a->heads, err) < 0 ||
        hl_arch_count(config, "num_key_value_heads", 1, MAX_HEADS, f->kv_heads && !all ? f->kv_heads : a->heads,
                      &a->kv_heads, err) < 0)
        return -1;
    assert(a->heads && a->kv_heads);
    bool given = hl_json_get(config, "head_dim");
    uint32_t otherwise = f->head_dim && !is_null(config, "head_dim") ? f->head_dim : a->width / a->heads;
    if (!given && otherwise != f->head_dim && a->width % a->heads)
        return hl_fail(err, "hidden_size %u is not a multiple of num_attention_heads %u, and head_dim is not given",
                       a->width, a->heads);
    if (hl_arch_count(config, "head_dim", 1, MAX_HEAD_DIM, otherwise, &a->head_dim, err) < 0)
        return -1;
    if (a->head_dim > MAX_HEAD_DIM) /* hidden_size / num_attention_heads */
        return hl_fail(err, "head_dim %u is more than %u", a->head_dim, MAX_HEAD_DIM);
    if (a->head_dim % 2)
        return hl_fail(err, "head_dim %u is odd; rotary embedding needs pairs", a->head_dim);
    if (a->heads % a->kv_heads)
        return hl_fail(err, "num_attention_heads %u is not a multiple of num_key_value_heads %u", a->heads,
                       a->kv_heads);
    if ((uint64_t)(a->heads + 2 * a->kv_heads) * a->head_dim > MAX_SIZE)
        return hl_fail(err, "num_attention_heads %u of head_dim %u are too wide", a->heads, a->head_dim);
    return 0;
}

static int read_shape(const cJSON *config, const struct family *f, struct hl_arch *a, struct hl_error *err)
{
    double eps;
    if (hl_arch_count(config, "hidden_size", 1, MAX_SIZE, f->width, &a->width, err) < 0 ||
        hl_arch_count(config, "num_hidden_layers", 1, HL_PROGRAM_MAX_KVS, f->blocks, &a->blocks, err) < 0 ||
        hl_arch_count(config, "intermediate_size", 1, MAX_SIZE / 2, f->ffn, &a->ffn, err) < 0 ||
        hl_arch_count(config, "vocab_size", 1, MAX_SIZE, f->vocabulary, &a->vocabulary, err) < 0 ||
        hl_arch_count(config, "max_position_embeddings", 1, MAX_SIZE, f->context, &a->context, err) < 0 ||
        hl_arch_real(config, "rms_norm_eps", 1e-6, &eps, err) < 0)
        return -1;
    a->eps = (float)eps;
    return read_heads(config, f, a, err);
}

static int read_family(const cJSON *config, const struct family *f, struct hl_arch *a, struct hl_error *err)
{
    const char *type = hl_json_text(config, "model_type");
    if (type && strcmp(type, f->model_type) != 0)
        return hl_fail(err, "model_type '%.80s' does not belong to %s", type, f->architecture);
    if (hl_arch_check_fields(config, f->fields, err) < 0 || read_shape(config, f, a, err) < 0 ||
        hl_arch_read_rope(config, a, err) < 0 || truth(config, "tie_word_embeddings", a->tied, &a->tied, err) < 0)
        return -1;
    a->attention_scale = 1 / sqrt(a->head_dim);
    a->scaled_embedding = a->norms_add_one = f->gemma;
    return f->finish(config, a, err);
}

/* Checks the outer document of a model for text and images. */
static int check_outer(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    static const char own[] = " text_config vision_config mm_tokens_per_image boi_token_index eoi_token_index "
                              "image_token_index ";
    if (hl_arch_check_fields(config, own, err) < 0)
        return -1;
    return truth(config, "tie_word_embeddings", a->tied, &a->tied, err);
}

int hl_arch_read(const cJSON *config, struct hl_arch *out, struct hl_error *err)
{
    const struct family *f = find_family(config, err);
    if (!f)
        return hl_error_prefix(err, "config.json");
    *out = (struct hl_arch){.family = f->name, .tied = f->tied};
    const cJSON *text = hl_json_get(config, "text_config");
    bool nested = strcmp(f->architecture, GEMMA3_NESTED) == 0;
    if (nested && !cJSON_IsObject(text))
        hl_fail(err, "text_config is missing");
    else if (!nested || check_outer(config, out, err) == 0) {
        if (read_family(nested ? text : config, f, out, err) == 0)
            return 0;
        if (nested)
            hl_error_prefix(err, "text_config");
    }
    return hl_error_prefix(err, "config.json");
}
