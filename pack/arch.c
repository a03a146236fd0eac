/* config.json of Llama-type models, as transformers' LlamaConfig defines it.
 *
 * A model that is nearly right is wrong: a field that this file does not know, in a group that changes the mathematics,
 * is an error and not a warning. */
#include "pack/arch.h"
#include "pack/json.h"
#include <assert.h>

/* As in the runtime's own checks (runtime/program.c). */
#define MAX_SIZE (1u << 24)
#define MAX_BLOCKS 1024u
#define MAX_HEADS 4096u
#define MAX_HEAD_DIM 4096u

static int count(const cJSON *config, const char *field, uint32_t least, uint32_t most, const uint32_t *otherwise,
                 uint32_t *out, struct hl_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, field);
    uint64_t number;
    if ((!value || cJSON_IsNull(value)) && otherwise) {
        *out = *otherwise;
        return 0;
    }
    if (!value)
        return hl_fail(err, "%s is missing", field);
    if (!hl_json_count(value, most, &number) || number < least)
        return hl_fail(err, "%s must be a whole number from %u to %u", field, least, most);
    *out = (uint32_t)number;
    return 0;
}

static int real(const cJSON *config, const char *field, double otherwise, double *out, struct hl_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, field);
    *out = otherwise;
    if (!value || cJSON_IsNull(value))
        return 0;
    if (!cJSON_IsNumber(value) || !(value->valuedouble > 0 && value->valuedouble < 1e30))
        return hl_fail(err, "%s must be a positive number", field);
    *out = value->valuedouble;
    return 0;
}

static int truth(const cJSON *config, const char *field, bool otherwise, bool *out, struct hl_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, field);
    *out = otherwise;
    if (!value || cJSON_IsNull(value))
        return 0;
    if (!cJSON_IsBool(value))
        return hl_fail(err, "%s must be true or false", field);
    *out = cJSON_IsTrue(value);
    return 0;
}

static int check_architecture(const cJSON *config, struct hl_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "architectures");
    const char *name = cJSON_IsArray(list) ? cJSON_GetStringValue(cJSON_GetArrayItem(list, 0)) : NULL;
    if (!name)
        return hl_fail(err, "architectures is missing");
    if (strcmp(name, "LlamaForCausalLM") != 0)
        return hl_fail(err, "architectures: '%.80s' is not supported; LlamaForCausalLM is", name);
    return 0;
}

/* Fields that are fine only with one value, or not there at all. */
static int check_plain(const cJSON *config, struct hl_error *err)
{
    static const char *const refused[] = {"quantization_config", "sliding_window", "rope_scaling"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, refused[i]);
        if (value && !cJSON_IsNull(value))
            return hl_fail(err, "%s is set, which is not supported here", refused[i]);
    }
    const cJSON *act = cJSON_GetObjectItemCaseSensitive(config, "hidden_act");
    if (act && !(cJSON_IsString(act) && strcmp(act->valuestring, "silu") == 0))
        return hl_fail(err, "hidden_act must be \"silu\"");
    return 0;
}

/* Part of a head could stay as it is; here all of it turns. */
static int check_rotated(const cJSON *config, struct hl_error *err)
{
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(config, "partial_rotary_factor");
    if (part && !cJSON_IsNull(part) && !(cJSON_IsNumber(part) && part->valuedouble == 1))
        return hl_fail(err, "partial_rotary_factor must be 1");
    return 0;
}

/* transformers 5 writes rope_theta inside rope_parameters. */
static int read_rope(const cJSON *config, double *theta, struct hl_error *err)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(config, "rope_parameters"), *item;
    if (check_rotated(config, err) < 0)
        return -1;
    if (!parameters || cJSON_IsNull(parameters))
        return real(config, "rope_theta", 10000.0, theta, err);
    if (!cJSON_IsObject(parameters))
        return hl_fail(err, "rope_parameters is no object");
    cJSON_ArrayForEach(item, parameters)
    {
        if (strcmp(item->string, "rope_type") == 0
                ? !(cJSON_IsString(item) && strcmp(item->valuestring, "default") == 0)
                : strcmp(item->string, "rope_theta") != 0 && strcmp(item->string, "partial_rotary_factor") != 0)
            return hl_fail(err, "rope_parameters: %.80s is set, which is not supported here; rope_type \"default\" is",
                           item->string);
    }
    if (check_rotated(parameters, err) < 0)
        return hl_error_prefix(err, "rope_parameters");
    return real(parameters, "rope_theta", 10000.0, theta, err);
}

static int read_shape(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    const uint32_t context = 2048;
    if (count(config, "hidden_size", 1, MAX_SIZE, NULL, &a->width, err) < 0 ||
        count(config, "num_hidden_layers", 1, MAX_BLOCKS, NULL, &a->blocks, err) < 0 ||
        count(config, "num_attention_heads", 1, MAX_HEADS, NULL, &a->heads, err) < 0 ||
        count(config, "num_key_value_heads", 1, MAX_HEADS, &a->heads, &a->kv_heads, err) < 0 ||
        count(config, "intermediate_size", 1, MAX_SIZE / 2, NULL, &a->ffn, err) < 0 ||
        count(config, "vocab_size", 1, MAX_SIZE, NULL, &a->vocabulary, err) < 0 ||
        count(config, "max_position_embeddings", 1, MAX_SIZE, &context, &a->context, err) < 0)
        return -1;
    assert(a->heads && a->kv_heads);
    const uint32_t head_dim = a->width / a->heads;
    const cJSON *explicit_dim = cJSON_GetObjectItemCaseSensitive(config, "head_dim");
    if ((!explicit_dim || cJSON_IsNull(explicit_dim)) && a->width % a->heads)
        return hl_fail(err, "hidden_size %u is no multiple of num_attention_heads %u, and head_dim is not given",
                       a->width, a->heads);
    if (count(config, "head_dim", 1, MAX_HEAD_DIM, &head_dim, &a->head_dim, err) < 0)
        return -1;
    if (a->head_dim > MAX_HEAD_DIM) /* hidden_size / num_attention_heads */
        return hl_fail(err, "head_dim %u is more than %u", a->head_dim, MAX_HEAD_DIM);
    if (a->head_dim % 2)
        return hl_fail(err, "head_dim %u is odd; rotary embedding needs pairs", a->head_dim);
    if (a->heads % a->kv_heads)
        return hl_fail(err, "num_attention_heads %u is no multiple of num_key_value_heads %u", a->heads, a->kv_heads);
    if ((uint64_t)(a->heads + 2 * a->kv_heads) * a->head_dim > MAX_SIZE)
        return hl_fail(err, "num_attention_heads %u of head_dim %u are too wide", a->heads, a->head_dim);
    return 0;
}

int hl_arch_read(const cJSON *config, struct hl_arch *out, struct hl_error *err)
{
    struct hl_arch a = {.family = "llama"};
    double eps;
    if (check_architecture(config, err) < 0 || check_plain(config, err) < 0 || read_shape(config, &a, err) < 0 ||
        read_rope(config, &a.rope_theta, err) < 0 || real(config, "rms_norm_eps", 1e-6, &eps, err) < 0 ||
        truth(config, "tie_word_embeddings", false, &a.tied, err) < 0 ||
        truth(config, "attention_bias", false, &a.attention_bias, err) < 0 ||
        truth(config, "mlp_bias", false, &a.mlp_bias, err) < 0)
        return hl_error_prefix(err, "config.json");
    a.eps = (float)eps;
    *out = a;
    return 0;
}
