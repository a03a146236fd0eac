/* The fields that config.json may have.
 *
 * A model that is nearly right is wrong. An unknown field may change the mathematics, so it is refused, not ignored,
 * unless its value is null, false or empty. Each list has a space before and after each name.
 *
 * Published files also have fields that nothing reads, such as is_llama_config and max_sequence_length.
 */
#include "base/json.h"
#include "base/sizes.h"
#include "pack/compile/arch.h"

/* Read by pack/compile/arch.c and pack/compile/arch_rope.c for every family. */
static const char common[] = " architectures model_type hidden_size num_hidden_layers num_attention_heads "
                             "num_key_value_heads head_dim intermediate_size vocab_size max_position_embeddings "
                             "rms_norm_eps rope_theta rope_scaling rope_parameters partial_rotary_factor "
                             "tie_word_embeddings ";

/* Fields about training, generation and bookkeeping. pack/meta.c reads eos_token_id. pretraining_tp only splits
 * products and adds the parts up again, keys_to_ignore_at_inference names results, attn_implementation and similar
 * fields choose kernels. */
static const char harmless[] =
    " torch_dtype dtype use_cache initializer_range pretraining_tp max_sequence_length gradient_checkpointing "
    "attn_implementation use_flash_attention use_flash_attn is_llama_config transformers.js_config finetuning_task "
    "cache_implementation return_dict output_attentions output_hidden_states chunk_size_feed_forward id2label label2id "
    "problem_type name_or_path is_decoder tokenizer_class keys_to_ignore_at_inference max_length min_length do_sample "
    "early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty "
    "length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size num_return_sequences use_reentrant "
    "max_new_tokens unsloth_fixed model_max_length use_bfloat16 ";

/* Fields with these endings are harmless, whatever comes before. */
static const char *const harmless_ends[] = {"_version", "_token_id", "_dropout", "_dropout_prob", "_pdrop"};

static const char *const quantized[] = {"quantization_config", "quantization", "compression_config"};

static bool is_listed(const char *list, const char *field)
{
    char word[80];
    int n = snprintf(word, sizeof word, " %s ", field);
    return n < (int)sizeof word && strstr(list, word);
}

static bool ends_harmless(const char *field)
{
    size_t n = strlen(field);
    for (size_t i = 0; i < HL_COUNT(harmless_ends); i++) {
        size_t end = strlen(harmless_ends[i]);
        if (n > end && strcmp(field + n - end, harmless_ends[i]) == 0)
            return true;
    }
    return false;
}

static bool says_nothing(const cJSON *item)
{
    if (cJSON_IsArray(item) || cJSON_IsObject(item))
        return !item->child;
    return cJSON_IsNull(item) || cJSON_IsFalse(item) || (cJSON_IsString(item) && !*item->valuestring);
}

int hl_arch_check_fields(const cJSON *config, const char *own, struct hl_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, config)
    {
        const char *field = item->string;
        if (*field == '_' || says_nothing(item) || is_listed(common, field) || is_listed(own, field) ||
            is_listed(harmless, field) || ends_harmless(field))
            continue;
        for (size_t i = 0; i < HL_COUNT(quantized); i++)
            if (strcmp(field, quantized[i]) == 0)
                return hl_fail(err,
                               "%s is set: the weights are quantized, which is not supported; pack the original model",
                               field);
        return hl_fail(err,
                       "%.80s is set, but unknown: it may change what the model computes. If it does not, "
                       "remove it",
                       field);
    }
    return 0;
}
