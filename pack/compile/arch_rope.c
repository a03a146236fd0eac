/* Reads the rotary embedding out of config.json, in either spelling:
 *
 *   published with most models   "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8, ...} or null
 *   transformers 5               "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8, ...}
 *   ... Gemma 3                  "rope_parameters": {"full_attention": {...}, "sliding_attention": {...}}
 *
 * [transformers, modeling_rope_utils.py: RotaryEmbeddingConfigMixin]
 */
#include "base/json.h"
#include "pack/compile/arch.h"

/* Fails if only part of a head is rotated, which is not supported. */
static int check_rotated(const cJSON *config, struct hl_error *err)
{
    const cJSON *part = hl_json_get(config, "partial_rotary_factor");
    if (part && !(cJSON_IsNumber(part) && part->valuedouble == 1))
        return hl_fail(err, "partial_rotary_factor must be 1");
    return 0;
}

static int read_type(const cJSON *parameters, enum hl_rope_scaling *out, struct hl_error *err)
{
    static const char *const names[] = {"default", "linear", "llama3"};
    const char *type = hl_json_text(parameters, "rope_type");
    if (!type)
        type = hl_json_text(parameters, "type");
    if (!type)
        type = names[HL_ROPE_PLAIN];
    for (enum hl_rope_scaling i = HL_ROPE_PLAIN; i <= HL_ROPE_LLAMA3; i++)
        if (strcmp(type, names[i]) == 0) {
            *out = i;
            return 0;
        }
    return hl_fail(err, "rope_type \"%.40s\" is not supported; only default, linear and llama3 are", type);
}

/* Fails if the parameters contain a field that belongs to another rope_type. */
static int check_names(const cJSON *parameters, enum hl_rope_scaling scaling, struct hl_error *err)
{
    static const char *const known[] = {
        " rope_type type rope_theta partial_rotary_factor ",
        " rope_type type rope_theta partial_rotary_factor factor ",
        (" rope_type type rope_theta partial_rotary_factor factor low_freq_factor high_freq_factor "
         "original_max_position_embeddings "),
    };
    const cJSON *item;
    cJSON_ArrayForEach(item, parameters)
    {
        char name[80];
        int n = snprintf(name, sizeof name, " %s ", item->string);
        if ((n >= (int)sizeof name || !strstr(known[scaling], name)) && !cJSON_IsNull(item))
            return hl_fail(err, "%.80s is set, which is not supported for this rope_type", item->string);
    }
    return 0;
}

/* Reads one set of parameters. A theta in the set takes precedence over the given one. */
static int read_parameters(const cJSON *parameters, uint32_t context, struct hl_rope *rope, struct hl_error *err)
{
    if (!parameters)
        return 0;
    if (!cJSON_IsObject(parameters))
        return hl_fail(err, "it is not an object");
    if (read_type(parameters, &rope->scaling, err) < 0 || check_names(parameters, rope->scaling, err) < 0 ||
        check_rotated(parameters, err) < 0 ||
        hl_arch_real(parameters, "rope_theta", rope->theta, &rope->theta, err) < 0)
        return -1;
    if (rope->scaling == HL_ROPE_PLAIN)
        return 0;
    if (hl_arch_real(parameters, "factor", 0, &rope->factor, err) < 0)
        return -1;
    if (rope->scaling == HL_ROPE_LINEAR)
        return 0;
    if (hl_arch_real(parameters, "low_freq_factor", 0, &rope->low, err) < 0 ||
        hl_arch_real(parameters, "high_freq_factor", 0, &rope->high, err) < 0 ||
        hl_arch_real(parameters, "original_max_position_embeddings", context, &rope->original, err) < 0)
        return -1;
    return rope->high > rope->low ? 0 : hl_fail(err, "high_freq_factor must be greater than low_freq_factor");
}

int hl_arch_read_rope(const cJSON *config, struct hl_arch *a, struct hl_error *err)
{
    const char *name = hl_json_get(config, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    const cJSON *full = hl_json_get(config, name), *sliding = NULL;
    bool gemma3 = strcmp(a->family, "gemma3") == 0;
    if (check_rotated(config, err) < 0 ||
        hl_arch_real(config, "rope_theta", gemma3 ? 1e6 : 1e4, &a->rope.theta, err) < 0)
        return -1;
    if (gemma3 && hl_arch_real(config, "rope_local_base_freq", 1e4, &a->sliding_rope.theta, err) < 0)
        return -1;
    if (gemma3 && (hl_json_get(full, "full_attention") || hl_json_get(full, "sliding_attention"))) {
        if (cJSON_GetArraySize(full) != 2)
            return hl_fail(err, "%s: must have full_attention and sliding_attention, and nothing else", name);
        sliding = hl_json_get(full, "sliding_attention");
        full = hl_json_get(full, "full_attention");
    }
    /* Gemma 3 scales the rope of its full blocks only. */
    if (read_parameters(full, a->context, &a->rope, err) < 0 ||
        read_parameters(sliding, a->context, &a->sliding_rope, err) < 0)
        return hl_error_prefix(err, "%s", name);
    if (!gemma3)
        a->sliding_rope = a->rope;
    return 0;
}
