/* pack/compile/arch.c: a published config.json becomes a struct hl_arch, shown in one line of words. The fields are
 * those of the named models without those that every file has (see below). Defaults for absent fields are tested with
 * as few fields as possible. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "pack/compile/arch.h"
#include "tests/unit/check.h"

/* The fields of all published files, in the style of transformers 4 and 5. */
#define ALL                                                                                                            \
    "\"attention_dropout\": 0.0, \"bos_token_id\": 1, \"eos_token_id\": [2, 106], \"initializer_range\": 0.02, "       \
    "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.43.1\", \"use_cache\": true"
#define LLAMA(fields) "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", " ALL ", " fields "}"
#define MISTRAL(fields)                                                                                                \
    "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", " ALL ", " fields "}"
#define QWEN2(fields) "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", " ALL ", " fields "}"
#define QWEN3(fields) "{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", " ALL ", " fields "}"
#define GEMMA(fields) "{\"architectures\": [\"GemmaForCausalLM\"], \"model_type\": \"gemma\", " ALL ", " fields "}"
#define GEMMA2(fields) "{\"architectures\": [\"Gemma2ForCausalLM\"], \"model_type\": \"gemma2\", " ALL ", " fields "}"
#define GEMMA3(fields)                                                                                                 \
    "{\"architectures\": [\"Gemma3ForCausalLM\"], \"model_type\": \"gemma3_text\", " ALL ", " fields "}"
#define NESTED(outer, fields)                                                                                          \
    "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"model_type\": \"gemma3\", \"boi_token_index\": "      \
    "255999, \"eoi_token_index\": 256000, \"eos_token_id\": [1, 106], \"image_token_index\": 262144, "                 \
    "\"initializer_range\": 0.02, \"mm_tokens_per_image\": 256, \"torch_dtype\": \"bfloat16\", "                       \
    "\"transformers_version\": \"4.50.0.dev0\", \"vision_config\": {\"hidden_size\": 1152, \"model_type\": "           \
    "\"siglip_vision_model\", \"vision_use_head\": false}, " outer "\"text_config\": {" fields "}}"

/* hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, vocab_size. */
#define SHAPE(width, ffn, blocks, heads, vocabulary)                                                                   \
    "\"hidden_size\": " #width ", \"intermediate_size\": " #ffn ", \"num_hidden_layers\": " #blocks                    \
    ", \"num_attention_heads\": " #heads ", \"vocab_size\": " #vocabulary
#define KV(kv, context) ", \"num_key_value_heads\": " #kv ", \"max_position_embeddings\": " #context
#define EPS5 ", \"rms_norm_eps\": 1e-05"
#define EPS6 ", \"rms_norm_eps\": 1e-06"
#define SILU ", \"hidden_act\": \"silu\""
#define UNTIED ", \"tie_word_embeddings\": false"
#define TIED ", \"tie_word_embeddings\": true"
#define SMALL SHAPE(16, 24, 4, 2, 300)
#define LLAMA31_ROPE(factor)                                                                                           \
    ", \"rope_scaling\": {\"factor\": " #factor ", \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, "              \
    "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}, \"rope_theta\": 500000.0"
#define GEMMA_WORDS ", \"attention_bias\": false, \"head_dim\": 256, \"pad_token_id\": 0, \"rope_theta\": 10000.0"
#define GEMMA2_WORDS                                                                                                   \
    GEMMA_WORDS ", \"attn_logit_softcapping\": 50.0, \"cache_implementation\": \"hybrid\", "                           \
                "\"final_logit_softcapping\": 30.0, \"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": "    \
                "\"gelu_pytorch_tanh\", \"sliding_window\": 4096, \"sliding_window_size\": 4096"

/* ---- an architecture in words ---- */

struct words {
    char text[2048];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    w->n += (size_t)vsnprintf(w->text + w->n, sizeof w->text - w->n, format, args);
    va_end(args);
}

static void say_rope(struct words *w, const char *name, const struct hl_rope *rope)
{
    say(w, ", %s %g", name, rope->theta);
    if (rope->scaling != HL_ROPE_PLAIN)
        say(w, " / %g", rope->factor);
    if (rope->scaling == HL_ROPE_LLAMA3)
        say(w, " from %g to %g of %g", rope->low, rope->high, rope->original);
}

static bool same_rope(const struct hl_rope *a, const struct hl_rope *b)
{
    return a->scaling == b->scaling && a->theta == b->theta && a->factor == b->factor && a->low == b->low &&
           a->high == b->high && a->original == b->original;
}

/* Writes runs of blocks: "5s 1f" are five that slide and one that does not. */
static void say_slides(struct words *w, const struct hl_arch *a)
{
    say(w, ", window %u:", a->window);
    for (uint32_t block = 0, run; block < a->blocks; block += run) {
        for (run = 1; block + run < a->blocks && a->slides[block + run] == a->slides[block];)
            run++;
        say(w, " %u%c", run, a->slides[block] ? 's' : 'f');
    }
}

static void describe(const struct hl_arch *a, struct words *w)
{
    w->n = 0;
    say(w, "%s %u x %u, heads %u/%u x %u, ffn %u, vocabulary %u, context %u, eps %g", a->family, a->blocks, a->width,
        a->heads, a->kv_heads, a->head_dim, a->ffn, a->vocabulary, a->context, (double)a->eps);
    say(w, ", %s%s", a->activation == HL_ACTIVATION_SILU ? "silu" : "gelu", a->tied ? ", tied" : "");
    say(w, "%s%s%s", a->qkv_bias ? ", qkv bias" : "", a->out_bias ? ", out bias" : "", a->mlp_bias ? ", mlp bias" : "");
    say(w, "%s%s", a->scaled_embedding ? ", scaled" : "", a->norms_add_one ? ", 1 + norms" : "");
    say(w, "%s%s", a->post_norms ? ", post norms" : "", a->qk_norm ? ", qk norms" : "");
    say_rope(w, "rope", &a->rope);
    if (!same_rope(&a->rope, &a->sliding_rope))
        say_rope(w, "sliding", &a->sliding_rope);
    if (a->attention_scale != 1 / sqrt(a->head_dim))
        say(w, ", scale 1 / %g", 1 / (a->attention_scale * a->attention_scale));
    if (a->attention_softcap != 0 || a->logit_softcap != 0)
        say(w, ", caps %g %g", (double)a->attention_softcap, (double)a->logit_softcap);
    if (a->window)
        say_slides(w, a);
}

static int read_config(const char *text, struct hl_arch *arch, struct hl_error *err)
{
    HL_JSON cJSON *json = NULL;
    if (hl_json_parse((struct hl_view){(const uint8_t *)text, strlen(text)}, "test", &json, err) < 0)
        return -1;
    return hl_arch_read(json, arch, err);
}

/* ---- published models ---- */

static const struct {
    const char *model, *config, *words;
} published[] = {
    {"llama-7b", /* of the first generation */
     LLAMA(SHAPE(4096, 11008, 32, 32, 32000) EPS6 SILU UNTIED ", \"max_sequence_length\": 2048, \"pad_token_id\": -1"),
     "llama 32 x 4096, heads 32/32 x 128, ffn 11008, vocabulary 32000, context 2048, eps 1e-06, silu, rope 10000"},
    {"Llama-2-13b-hf",
     LLAMA(SHAPE(5120, 13824, 40, 40, 32000) KV(40, 4096) EPS5 SILU UNTIED
           ", \"_name_or_path\": \"x\", \"pretraining_tp\": 1, \"rope_scaling\": null"),
     "llama 40 x 5120, heads 40/40 x 128, ffn 13824, vocabulary 32000, context 4096, eps 1e-05, silu, rope 10000"},
    {"CodeLlama-7b-hf",
     LLAMA(SHAPE(4096, 11008, 32, 32, 32016) KV(32, 16384) EPS5 SILU UNTIED ", \"rope_theta\": 1000000"),
     "llama 32 x 4096, heads 32/32 x 128, ffn 11008, vocabulary 32016, context 16384, eps 1e-05, silu, rope 1e+06"},
    {"deepseek-coder-6.7b",
     LLAMA(SHAPE(4096, 11008, 32, 32, 32256) KV(32, 16384) EPS6 SILU UNTIED
           ", \"rope_scaling\": {\"factor\": 4.0, \"type\": \"linear\"}, \"rope_theta\": 100000"),
     "llama 32 x 4096, heads 32/32 x 128, ffn 11008, vocabulary 32256, context 16384, eps 1e-06, silu, rope 100000 / "
     "4"},
    {"TinyLlama-1.1B-Chat",
     LLAMA(SHAPE(2048, 5632, 22, 32, 32000) KV(4, 2048) EPS5 SILU UNTIED ", \"attention_bias\": false"),
     "llama 22 x 2048, heads 32/4 x 64, ffn 5632, vocabulary 32000, context 2048, eps 1e-05, silu, rope 10000"},
    {"Yi-1.5-6B", LLAMA(SHAPE(4096, 11008, 32, 32, 64000) KV(4, 4096) EPS6 SILU UNTIED ", \"rope_theta\": 5000000.0"),
     "llama 32 x 4096, heads 32/4 x 128, ffn 11008, vocabulary 64000, context 4096, eps 1e-06, silu, rope 5e+06"},
    {"Llama-3.1-8B, DeepSeek-R1-Distill-Llama-8B",
     LLAMA(SHAPE(4096, 14336, 32, 32, 128256) KV(8, 131072) EPS5 SILU UNTIED LLAMA31_ROPE(
         8.0) ", \"attention_bias\": false, \"mlp_bias\": false, \"pretraining_tp\": 1"),
     "llama 32 x 4096, heads 32/8 x 128, ffn 14336, vocabulary 128256, context 131072, eps 1e-05, silu, rope 500000 / "
     "8 from 1 to 4 of 8192"},
    {"Llama-3.2-1B",
     LLAMA(SHAPE(2048, 8192, 16, 32, 128256) KV(8, 131072) EPS5 SILU TIED LLAMA31_ROPE(
         32.0) ", \"head_dim\": 64, \"unsloth_fixed\": true, \"unsloth_version\": \"2025.1\""),
     "llama 16 x 2048, heads 32/8 x 64, ffn 8192, vocabulary 128256, context 131072, eps 1e-05, silu, tied, rope "
     "500000 / 32 from 1 to 4 of 8192"},
    {"Llama-3.2-3B, transformers 5",
     LLAMA(SHAPE(3072, 8192, 28, 24, 128256) KV(8, 131072) EPS5 SILU TIED
           ", \"head_dim\": 128, \"dtype\": \"bfloat16\", \"rope_parameters\": {\"factor\": 32.0, "
           "\"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192, "
           "\"rope_theta\": 500000.0, \"rope_type\": \"llama3\"}"),
     "llama 28 x 3072, heads 24/8 x 128, ffn 8192, vocabulary 128256, context 131072, eps 1e-05, silu, tied, rope "
     "500000 / 32 from 1 to 4 of 8192"},
    {"SmolLM2-135M-Instruct",
     LLAMA(SHAPE(576, 1536, 30, 9, 49152) KV(3, 8192) EPS5 SILU TIED
           ", \"is_llama_config\": true, \"rope_interleaved\": false, \"rope_scaling\": null, \"rope_theta\": 100000, "
           "\"transformers.js_config\": {\"kv_cache_dtype\": {\"q4f16\": \"float16\"}}"),
     "llama 30 x 576, heads 9/3 x 64, ffn 1536, vocabulary 49152, context 8192, eps 1e-05, silu, tied, rope 100000"},
    {"Falcon3-1B",
     LLAMA(SHAPE(2048, 8192, 18, 8, 131072) KV(4, 4096) EPS6 SILU UNTIED
           ", \"activation\": \"swiglu\", \"head_dim\": 256, \"rope_theta\": 1000042"),
     "llama 18 x 2048, heads 8/4 x 256, ffn 8192, vocabulary 131072, context 4096, eps 1e-06, silu, rope 1.00004e+06"},
    {"granite-3b-code",
     LLAMA(SHAPE(2560, 10240, 32, 32, 49152) KV(32, 2048) EPS5 SILU TIED
           ", \"attention_bias\": true, \"mlp_bias\": true, \"resid_pdrop\": 0.1, \"hidden_dropout_prob\": 0.1"),
     "llama 32 x 2560, heads 32/32 x 80, ffn 10240, vocabulary 49152, context 2048, eps 1e-05, silu, tied, qkv bias, "
     "out bias, mlp bias, rope 10000"},
    {"ALLaM-7B",
     LLAMA(SHAPE(4096, 11008, 32, 32, 64000) KV(32, 4096) EPS5 SILU UNTIED
           ", \"internal_version\": \"7b-alpha-v2.33.0.30\", \"attn_implementation\": \"flash_attention_2\""),
     "llama 32 x 4096, heads 32/32 x 128, ffn 11008, vocabulary 64000, context 4096, eps 1e-05, silu, rope 10000"},
    {"Mistral-7B-v0.1, Zephyr, OpenHermes",
     MISTRAL(SHAPE(4096, 14336, 32, 32, 32000) KV(8, 32768) EPS5 SILU UNTIED
             ", \"rope_theta\": 10000.0, \"sliding_window\": 4096"),
     "mistral 32 x 4096, heads 32/8 x 128, ffn 14336, vocabulary 32000, context 32768, eps 1e-05, silu, rope 10000, "
     "window 4096: 32s"},
    {"Mistral-7B-Instruct-v0.3",
     MISTRAL(SHAPE(4096, 14336, 32, 32, 32768) KV(8, 32768) EPS5 SILU UNTIED
             ", \"rope_theta\": 1000000.0, \"sliding_window\": null"),
     "mistral 32 x 4096, heads 32/8 x 128, ffn 14336, vocabulary 32768, context 32768, eps 1e-05, silu, rope 1e+06"},
    {"Mistral-Nemo-Base-2407",
     MISTRAL(SHAPE(5120, 14336, 40, 32, 131072) KV(8, 128000) EPS5 SILU UNTIED
             ", \"head_dim\": 128, \"rope_theta\": 1000000.0, \"sliding_window\": null"),
     "mistral 40 x 5120, heads 32/8 x 128, ffn 14336, vocabulary 131072, context 128000, eps 1e-05, silu, rope 1e+06"},
    {"Mistral-Small-24B, transformers 5",
     MISTRAL(SHAPE(5120, 32768, 40, 32, 131072) KV(8, 131072) EPS5 SILU UNTIED
             ", \"dtype\": \"bfloat16\", \"head_dim\": 128, \"pad_token_id\": 11, \"rope_parameters\": "
             "{\"rope_theta\": 1000000000.0, \"rope_type\": \"default\"}, \"sliding_window\": null"),
     "mistral 40 x 5120, heads 32/8 x 128, ffn 32768, vocabulary 131072, context 131072, eps 1e-05, silu, rope 1e+09"},
    {"Qwen2.5-0.5B",
     QWEN2(SHAPE(896, 4864, 24, 14, 151936) KV(2, 32768) EPS6 SILU TIED
           ", \"max_window_layers\": 24, \"rope_theta\": 1000000.0, \"sliding_window\": 32768, \"use_mrope\": false, "
           "\"use_sliding_window\": false"),
     "qwen2 24 x 896, heads 14/2 x 64, ffn 4864, vocabulary 151936, context 32768, eps 1e-06, silu, tied, qkv bias, "
     "rope 1e+06"},
    {"Qwen2.5-Coder-7B, Math, DeepSeek-R1-Distill-Qwen-7B",
     QWEN2(SHAPE(3584, 18944, 28, 28, 152064) KV(4, 131072) EPS6 SILU UNTIED
           ", \"max_window_layers\": 28, \"rope_theta\": 10000, \"sliding_window\": 4096, \"use_sliding_window\": "
           "false, \"rope_scaling\": null"),
     "qwen2 28 x 3584, heads 28/4 x 128, ffn 18944, vocabulary 152064, context 131072, eps 1e-06, silu, qkv bias, "
     "rope 10000"},
    {"Qwen1.5-0.5B",
     QWEN2(SHAPE(1024, 2816, 24, 16, 151936) KV(16, 32768) EPS6 SILU TIED
           ", \"id2label\": {\"0\": \"human\"}, \"label2id\": {\"human\": 0}, \"max_window_layers\": 21, "
           "\"sliding_window\": 32768, \"use_sliding_window\": false, \"rope_theta\": 1000000.0"),
     "qwen2 24 x 1024, heads 16/16 x 64, ffn 2816, vocabulary 151936, context 32768, eps 1e-06, silu, tied, qkv bias, "
     "rope 1e+06"},
    {"Qwen3-0.6B",
     QWEN3(SHAPE(1024, 3072, 28, 16, 151936) KV(8, 40960) EPS6 SILU TIED
           ", \"attention_bias\": false, \"head_dim\": 128, \"max_window_layers\": 28, \"rope_scaling\": null, "
           "\"rope_theta\": 1000000, \"sliding_window\": null, \"use_sliding_window\": false"),
     "qwen3 28 x 1024, heads 16/8 x 128, ffn 3072, vocabulary 151936, context 40960, eps 1e-06, silu, tied, qk norms, "
     "rope 1e+06"},
    {"gemma-7b, first release",
     GEMMA(SHAPE(3072, 24576, 28, 16, 256000) KV(16, 8192) EPS6 GEMMA_WORDS
           ", \"hidden_act\": \"gelu\", \"hidden_activation\": null, \"rope_scaling\": null"),
     "gemma 28 x 3072, heads 16/16 x 256, ffn 24576, vocabulary 256000, context 8192, eps 1e-06, gelu, tied, scaled, "
     "1 + norms, rope 10000"},
    {"gemma-2b",
     GEMMA(SHAPE(2048, 16384, 18, 8, 256000) KV(1, 8192) EPS6 GEMMA_WORDS
           ", \"hidden_act\": \"gelu\", \"hidden_activation\": \"gelu_pytorch_tanh\""),
     "gemma 18 x 2048, heads 8/1 x 256, ffn 16384, vocabulary 256000, context 8192, eps 1e-06, gelu, tied, scaled, "
     "1 + norms, rope 10000"},
    {"gemma-2-2b",
     GEMMA2(SHAPE(2304, 9216, 6, 8, 256000) KV(4, 8192) EPS6 GEMMA2_WORDS ", \"query_pre_attn_scalar\": 256"),
     "gemma2 6 x 2304, heads 8/4 x 256, ffn 9216, vocabulary 256000, context 8192, eps 1e-06, gelu, tied, scaled, 1 + "
     "norms, post norms, rope 10000, caps 50 30, window 4096: 1s 1f 1s 1f 1s 1f"},
    {"gemma-2-27b", /* its first blocks */
     GEMMA2(SHAPE(4608, 36864, 2, 32, 256000) KV(16, 8192) EPS6
            ", \"attention_bias\": false, \"head_dim\": 128, \"query_pre_attn_scalar\": 144, "
            "\"use_bidirectional_attention\": false"),
     "gemma2 2 x 4608, heads 32/16 x 128, ffn 36864, vocabulary 256000, context 8192, eps 1e-06, gelu, tied, scaled, "
     "1 + norms, post norms, rope 10000, scale 1 / 144, caps 50 30, window 4096: 1s 1f"},
    {"gemma-3-1b-it",
     GEMMA3(SHAPE(1152, 6912, 26, 4, 262144) KV(1, 32768) EPS6
            ", \"attention_bias\": false, \"attn_logit_softcapping\": null, \"cache_implementation\": \"hybrid\", "
            "\"final_logit_softcapping\": null, \"head_dim\": 256, \"hidden_activation\": \"gelu_pytorch_tanh\", "
            "\"pad_token_id\": 0, \"query_pre_attn_scalar\": 256, \"rope_local_base_freq\": 10000, \"rope_scaling\": "
            "null, \"rope_theta\": 1000000, \"sliding_window\": 512, \"sliding_window_pattern\": 6"),
     "gemma3 26 x 1152, heads 4/1 x 256, ffn 6912, vocabulary 262144, context 32768, eps 1e-06, gelu, tied, scaled, 1 "
     "+ norms, post norms, qk norms, rope 1e+06, sliding 10000, window 512: 5s 1f 5s 1f 5s 1f 5s 1f 2s"},
    {"gemma-3-270m", /* its first blocks, as transformers 4.55 writes them */
     GEMMA3(SHAPE(640, 2048, 3, 4, 262144) KV(1, 32768) EPS6
            ", \"_sliding_window_pattern\": 6, \"head_dim\": 256, \"layer_types\": [\"sliding_attention\", "
            "\"sliding_attention\", \"full_attention\"], \"rope_local_base_freq\": 10000.0, \"sliding_window\": 512, "
            "\"use_bidirectional_attention\": false"),
     "gemma3 3 x 640, heads 4/1 x 256, ffn 2048, vocabulary 262144, context 32768, eps 1e-06, gelu, tied, scaled, 1 + "
     "norms, post norms, qk norms, rope 1e+06, sliding 10000, window 512: 2s 1f"},
    {"gemma-3-4b-it",
     NESTED("", "\"hidden_size\": 2560, \"intermediate_size\": 10240, \"model_type\": \"gemma3_text\", "
                "\"num_hidden_layers\": 34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
                "\"sliding_window\": 1024"),
     "gemma3 34 x 2560, heads 8/4 x 256, ffn 10240, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, scaled, "
     "1 + norms, post norms, qk norms, rope 1e+06 / 8, sliding 10000, window 1024: 5s 1f 5s 1f 5s 1f 5s 1f 5s 1f 4s"},
    {"gemma-3-27b-it",
     NESTED("", "\"head_dim\": 128, \"hidden_size\": 5376, \"intermediate_size\": 21504, \"model_type\": "
                "\"gemma3_text\", \"num_attention_heads\": 32, \"num_hidden_layers\": 8, \"num_key_value_heads\": 16, "
                "\"query_pre_attn_scalar\": 168, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
                "\"sliding_window\": 1024"),
     "gemma3 8 x 5376, heads 32/16 x 128, ffn 21504, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, "
     "scaled, 1 + norms, post norms, qk norms, rope 1e+06 / 8, sliding 10000, scale 1 / 168, window 1024: 5s 1f 2s"},
    {"gemma-3-27b, the text model by itself, with what differs from the class",
     GEMMA3("\"head_dim\": 128, \"hidden_size\": 5376, \"intermediate_size\": 21504, \"num_attention_heads\": 32, "
            "\"num_hidden_layers\": 1, \"num_key_value_heads\": 16, \"query_pre_attn_scalar\": 168, \"rope_scaling\": "
            "{\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": 1024"),
     "gemma3 1 x 5376, heads 32/16 x 128, ffn 21504, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, "
     "scaled, 1 + norms, post norms, qk norms, rope 1e+06 / 8, sliding 10000, scale 1 / 168, window 1024: 1s"},
};

/* ---- absent fields and null ---- */

static const struct {
    const char *config, *words;
} defaults[] = {
    {LLAMA(SMALL), "llama 4 x 16, heads 2/2 x 8, ffn 24, vocabulary 300, context 2048, eps 1e-06, silu, rope 10000"},
    {LLAMA(SMALL ", \"num_key_value_heads\": null, \"head_dim\": null, \"hidden_act\": \"gelu_pytorch_tanh\""),
     "llama 4 x 16, heads 2/2 x 8, ffn 24, vocabulary 300, context 2048, eps 1e-06, gelu, rope 10000"},
    {MISTRAL(SHAPE(32, 24, 1, 16, 300)),
     "mistral 1 x 32, heads 16/8 x 2, ffn 24, vocabulary 300, context 131072, eps 1e-06, silu, rope 10000, window "
     "4096: 1s"},
    {MISTRAL(SHAPE(32, 24, 1, 16, 300) ", \"num_key_value_heads\": null, \"sliding_window\": null"),
     "mistral 1 x 32, heads 16/16 x 2, ffn 24, vocabulary 300, context 131072, eps 1e-06, silu, rope 10000"},
    {QWEN2(SHAPE(64, 24, 1, 32, 300)),
     "qwen2 1 x 64, heads 32/32 x 2, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qkv bias, rope 10000"},
    {QWEN2(SHAPE(64, 24, 30, 32, 300) ", \"use_sliding_window\": true"),
     "qwen2 30 x 64, heads 32/32 x 2, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qkv bias, rope 10000, "
     "window 4096: 28f 2s"},
    {QWEN2(SHAPE(64, 24, 3, 32, 300) ", \"use_sliding_window\": true, \"max_window_layers\": 0, \"sliding_window\": 9"),
     "qwen2 3 x 64, heads 32/32 x 2, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qkv bias, rope 10000, "
     "window 9: 3s"},
    {QWEN2(
         SHAPE(64, 24, 3, 32, 300) ", \"use_sliding_window\": true, \"max_window_layers\": 0, \"sliding_window\": 9, "
                                   "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]"),
     "qwen2 3 x 64, heads 32/32 x 2, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qkv bias, rope 10000, "
     "window 9: 1f 1s 1f"},
    {QWEN3(SHAPE(64, 24, 2, 32, 300)),
     "qwen3 2 x 64, heads 32/32 x 128, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qk norms, rope 10000"},
    {QWEN3(SHAPE(64, 24, 2, 32, 300) ", \"head_dim\": null, \"attention_bias\": true"),
     "qwen3 2 x 64, heads 32/32 x 2, ffn 24, vocabulary 300, context 32768, eps 1e-06, silu, qkv bias, out bias, qk "
     "norms, rope 10000"},
    {GEMMA(SHAPE(16, 24, 2, 16, 300) ", \"attention_bias\": true, \"tie_word_embeddings\": false"),
     "gemma 2 x 16, heads 16/16 x 256, ffn 24, vocabulary 300, context 8192, eps 1e-06, gelu, qkv bias, out bias, "
     "scaled, 1 + norms, rope 10000"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"attention_bias\": true"),
     "gemma2 2 x 16, heads 8/4 x 256, ffn 24, vocabulary 300, context 8192, eps 1e-06, gelu, tied, qkv bias, out bias, "
     "scaled, 1 + norms, post norms, rope 10000, caps 50 30, window 4096: 1s 1f"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"attn_logit_softcapping\": null, \"final_logit_softcapping\": null, "
                                     "\"sliding_window\": null"),
     "gemma2 2 x 16, heads 8/4 x 256, ffn 24, vocabulary 300, context 8192, eps 1e-06, gelu, tied, scaled, 1 + norms, "
     "post norms, rope 10000"},
    {GEMMA3("\"num_hidden_layers\": 7, \"attn_logit_softcapping\": 50.0, \"final_logit_softcapping\": 20.0"),
     "gemma3 7 x 2304, heads 8/4 x 256, ffn 9216, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, scaled, 1 "
     "+ norms, post norms, qk norms, rope 1e+06, sliding 10000, caps 0 20, window 4096: 5s 1f 1s"},
    {GEMMA3("\"num_hidden_layers\": 3, \"sliding_window_pattern\": 2, \"_sliding_window_pattern\": 1"),
     "gemma3 3 x 2304, heads 8/4 x 256, ffn 9216, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, scaled, 1 "
     "+ norms, post norms, qk norms, rope 1e+06, sliding 10000, window 4096: 1s 1f 1s"},
    {GEMMA3("\"num_hidden_layers\": 1, \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", "
            "\"factor\": 2, \"rope_theta\": 7}, \"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": "
            "5}}"),
     "gemma3 1 x 2304, heads 8/4 x 256, ffn 9216, vocabulary 262208, context 131072, eps 1e-06, gelu, tied, scaled, 1 "
     "+ norms, post norms, qk norms, rope 7 / 2, sliding 5, window 4096: 1s"},
    {NESTED("\"tie_word_embeddings\": false, ", "\"num_hidden_layers\": 1"),
     "gemma3 1 x 2304, heads 8/4 x 256, ffn 9216, vocabulary 262208, context 131072, eps 1e-06, gelu, scaled, 1 + "
     "norms, post norms, qk norms, rope 1e+06, sliding 10000, window 4096: 1s"},
    {LLAMA(SMALL ", \"rope_theta\": 7, \"rope_parameters\": {\"rope_theta\": 9}"),
     "llama 4 x 16, heads 2/2 x 8, ffn 24, vocabulary 300, context 2048, eps 1e-06, silu, rope 9"},
    {LLAMA(SMALL ", \"rope_theta\": 7, \"rope_scaling\": {}, \"partial_rotary_factor\": 1.0"),
     "llama 4 x 16, heads 2/2 x 8, ffn 24, vocabulary 300, context 2048, eps 1e-06, silu, rope 7"},
    {LLAMA(SMALL ", \"max_position_embeddings\": 64, \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2, "
                 "\"low_freq_factor\": 1, \"high_freq_factor\": 3, \"rope_type\": null}"),
     "llama 4 x 16, heads 2/2 x 8, ffn 24, vocabulary 300, context 64, eps 1e-06, silu, rope 10000 / 2 from 1 to 3 of "
     "64"},
};

static void check_words(const char *name, const char *config, const char *words)
{
    struct hl_error err;
    struct hl_arch arch;
    struct words got;
    if (!check_that(read_config(config, &arch, &err) == 0, __FILE__, __LINE__, "%s: %s", name, err.message))
        return;
    describe(&arch, &got);
    CHECK_SAY(strcmp(got.text, words) == 0, "%s:\n  is   %s\n  not  %s", name, got.text, words);
}

/* ---- refused fields, by name ---- */

static const struct {
    const char *config, *word;
} refused[] = {
    {LLAMA(SMALL ", \"quantization_config\": {\"quant_method\": \"awq\"}"), "pack the original model"},
    {LLAMA(SMALL ", \"quantization\": {\"bits\": 4}"), "pack the original model"},
    {LLAMA(SMALL ", \"compression_config\": {\"format\": \"int-quantized\"}"), "pack the original model"},
    {NESTED("\"quantization_config\": {\"bits\": 4}, ", "\"num_hidden_layers\": 1"), "pack the original model"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}"), "\"dynamic\" is not supported"},
    {QWEN2(SHAPE(64, 24, 3, 32,
                 300) ", \"rope_scaling\": {\"factor\": 4.0, \"original_max_position_embeddings\": 32768, \"type\": "
                      "\"yarn\"}"),
     "\"yarn\" is not supported"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"rope_type\": \"longrope\"}"), "\"longrope\" is not supported"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2, \"attention_factor\": 1.1}"),
     "attention_factor is set"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"rope_type\": \"linear\"}"), "rope_scaling: factor is missing"},
    {LLAMA(SMALL ", \"rope_scaling\": [1]"), "rope_scaling: it is not an object"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
                 "\"high_freq_factor\": 4}"),
     "high_freq_factor must be greater"},
    {LLAMA(SMALL ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"high_freq_factor\": 4}"),
     "low_freq_factor is missing"},
    {LLAMA(SMALL ", \"rope_parameters\": {\"full_attention\": {}, \"sliding_attention\": {}}"),
     "rope_parameters: full_attention is set"},
    {GEMMA3("\"rope_parameters\": {\"full_attention\": {}}"), "rope_parameters: must have full_attention and"},
    {GEMMA3("\"rope_parameters\": {\"full_attention\": {}, \"sliding_attention\": {\"rope_type\": \"yarn\"}}"), "yarn"},
    {LLAMA(SMALL ", \"partial_rotary_factor\": 0.5"), "partial_rotary_factor must be 1"},
    {LLAMA(SMALL ", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}"), "partial_rotary_factor must be 1"},
    {LLAMA(SMALL ", \"rope_theta\": 0"), "rope_theta must be a positive number"},
    {LLAMA(SMALL ", \"rope_theta\": -1"), "rope_theta"},
    {LLAMA(SMALL ", \"rope_theta\": 1e999"), "rope_theta"},
    {LLAMA(SMALL ", \"rope_theta\": \"10000\""), "rope_theta"},
    {LLAMA(SMALL ", \"rms_norm_eps\": 0"), "rms_norm_eps must be a positive number"},
    {LLAMA(SMALL ", \"num_local_experts\": 8"), "num_local_experts is set, but unknown"},
    {LLAMA(SMALL ", \"auto_map\": {\"AutoModel\": \"modeling.Model\"}"), "auto_map is set"},
    {LLAMA(SMALL ", \"rope_interleaved\": true"), "rope_interleaved is set"},
    {LLAMA(SMALL ", \"activation\": \"relu\""), "activation must be swiglu"},
    {LLAMA(SMALL ", \"alibi\": true"), "alibi is set"},
    {LLAMA(SMALL ", \"sliding_window\": 4096"), "sliding_window is set"},
    {QWEN2(SMALL ", \"dual_chunk_attention_config\": {\"chunk_size\": 262144}"), "dual_chunk_attention_config is set"},
    {QWEN2(SMALL ", \"attention_bias\": true"), "attention_bias is set"},
    {QWEN2(SHAPE(64, 24, 3, 32, 300) ", \"use_mrope\": true"), "use_mrope is set"},
    {MISTRAL(SHAPE(32, 24, 1, 16, 300) ", \"attention_bias\": true"), "attention_bias is set"},
    {MISTRAL(SHAPE(32, 24, 1, 16, 300) ", \"sliding_window\": 0"), "sliding_window must be a whole number from 1"},
    {GEMMA2(SMALL ", \"use_bidirectional_attention\": true"), "use_bidirectional_attention is set"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"attn_logit_softcapping\": 0"), "attn_logit_softcapping must be a positive"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"final_logit_softcapping\": -30"), "final_logit_softcapping must be a"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"final_logit_softcapping\": \"30\""), "final_logit_softcapping must be a"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"query_pre_attn_scalar\": 0"), "query_pre_attn_scalar must be"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"hidden_activation\": \"gelu\""), "hidden_activation \"gelu\" is not"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"layer_types\": [\"full_attention\"]"), "layer_types must have"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"layer_types\": {\"a\": 1, \"b\": 2}"), "layer_types must have"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"layer_types\": [1, 2]"), "layer_types: \"?\" is not supported"},
    {GEMMA2(SHAPE(16, 24, 2, 8, 300) ", \"layer_types\": [\"chunked_attention\", \"full_attention\"]"), "chunked_att"},
    {GEMMA3("\"sliding_window_pattern\": 0"), "sliding_window_pattern must be"},
    {GEMMA3("\"_sliding_window_pattern\": 2000"), "_sliding_window_pattern must be"},
    {GEMMA(SHAPE(16, 24, 2, 16, 300) ", \"hidden_activation\": \"gelu\""), "hidden_activation \"gelu\" is not"},
    {GEMMA(SHAPE(16, 24, 2, 16, 300) ", \"hidden_act\": \"relu\""), "hidden_act \"relu\" is not"},
    {LLAMA(SMALL ", \"hidden_act\": \"gelu\""), "hidden_act \"gelu\" is not"},
    {LLAMA(SMALL ", \"hidden_act\": 1"), "hidden_act \"?\" is not"},
    {LLAMA(SMALL ", \"tie_word_embeddings\": 1"), "tie_word_embeddings must be true or false"},
    {LLAMA(SHAPE(16, 24, 1025, 2, 300)), "num_hidden_layers must be a whole number from 1 to 1024"},
    {LLAMA(SHAPE(16, 24, 0, 2, 300)), "num_hidden_layers"},
    {LLAMA(SHAPE(16777217, 24, 1, 1, 300)), "hidden_size"},
    {LLAMA(SHAPE(16, 8388609, 1, 1, 300)), "intermediate_size"},
    {LLAMA(SHAPE(16, 24, 1, 1, 16777217)), "vocab_size"},
    {LLAMA(SHAPE(16, 24, 1, 1, 300.5)), "vocab_size"},
    {LLAMA(SMALL ", \"max_position_embeddings\": 16777217"), "max_position_embeddings"},
    {LLAMA(SHAPE(16, 24, 1, 3, 300)), "hidden_size 16 is not a multiple of num_attention_heads 3"},
    {LLAMA(SHAPE(15, 24, 1, 3, 300)), "head_dim 5 is odd"},
    {LLAMA(SHAPE(8192, 24, 1, 1, 300)), "head_dim 8192 is more than 4096"},
    {LLAMA(SMALL ", \"head_dim\": 4098"), "head_dim must be a whole number from 1 to 4096"},
    {LLAMA(SHAPE(16, 24, 1, 4, 300) ", \"num_key_value_heads\": 3"), "num_attention_heads 4 is not a multiple"},
    {LLAMA(SHAPE(16, 24, 1, 4096, 300) ", \"head_dim\": 4096"), "are too wide"},
    {LLAMA("\"hidden_size\": 16"), "num_hidden_layers is missing"},
    {"{\"architectures\": [\"MixtralForCausalLM\"]}", "'MixtralForCausalLM' is not supported; these are: Llama"},
    {"{\"architectures\": [7]}", "architectures is missing"},
    {"{\"architectures\": \"LlamaForCausalLM\"}", "architectures is missing"},
    {"{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"qwen2\"}", "model_type 'qwen2' does not belong"},
    {NESTED("\"x\": 1, ", "\"num_hidden_layers\": 1"), "config.json: x is set"},
    {NESTED("", "\"num_hidden_layers\": 1, \"x\": 1"), "config.json: text_config: x is set"},
    {NESTED("", "\"num_hidden_layers\": 1, \"model_type\": \"gemma2\""), "text_config: model_type 'gemma2'"},
    {"{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"text_config\": []}", "text_config is missing"},
    {"{\"architectures\": [\"Gemma3ForConditionalGeneration\"]}", "text_config is missing"},
};

int main(void)
{
    struct hl_error err;
    struct hl_arch arch;
    for (size_t i = 0; i < HL_COUNT(published); i++)
        check_words(published[i].model, published[i].config, published[i].words);
    for (size_t i = 0; i < HL_COUNT(defaults); i++)
        check_words(defaults[i].config, defaults[i].config, defaults[i].words);
    for (size_t i = 0; i < HL_COUNT(refused); i++)
        CHECK_FAILS(read_config(refused[i].config, &arch, &err), err, refused[i].word);
    return check_summary();
}
