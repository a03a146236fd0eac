/* The shapes, as data: one row for each model, and the differences between families. config.json, the list of tensors
 * and the spread of their random numbers follow from these.
 *
 * The spreads are chosen so that a benchmark meets the values of a trained model. A matrix's numbers have the spread
 * gain / sqrt(columns). Then `gain` is the spread of its outputs if its inputs have spread 1, as after a norm:
 * attention scores and logits spread by one or two. The first block writes a residual stream much larger than the
 * embedding. Otherwise a tied head would find the last token in the stream again and repeat it for ever. The other
 * blocks change the stream by less than its own size. Nothing overflows or vanishes, however many blocks there are.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/synth/synth.h"
#include <math.h>
#include <string.h>

struct family {
    const char *architecture, *type;
    double eps;
    bool centred;    /* norms multiply by 1 + weight */
    bool sandwiched; /* the outputs of attention and feed-forward pass a norm, too */
    bool head_norms; /* norms of each head's query and key */
    bool qkv_bias;
};

static const struct family families[] = {
    [HL_SYNTH_LLAMA] = {"LlamaForCausalLM", "llama", 1e-5, false, false, false, false},
    [HL_SYNTH_MISTRAL] = {"MistralForCausalLM", "mistral", 1e-5, false, false, false, false},
    [HL_SYNTH_QWEN2] = {"Qwen2ForCausalLM", "qwen2", 1e-6, false, false, false, true},
    [HL_SYNTH_QWEN3] = {"Qwen3ForCausalLM", "qwen3", 1e-6, false, false, true, false},
    [HL_SYNTH_GEMMA] = {"GemmaForCausalLM", "gemma", 1e-6, true, false, false, false},
    [HL_SYNTH_GEMMA2] = {"Gemma2ForCausalLM", "gemma2", 1e-6, true, true, false, false},
    [HL_SYNTH_GEMMA3] = {"Gemma3ForCausalLM", "gemma3_text", 1e-6, true, true, true, false},
};

/* Gemma 3 from 4b on is published with a vision tower. Here it is the text model alone. The 1b is published in this
 * form, and transformers gives it to a text model taken out of the tower. */
/* clang-format off */
static const struct hl_synth_model models[] = {
    /*               family, vocabulary                     width blocks heads kv  dim    ffn   rows context  theta f. window scalar tied */
    {"gemma-2b",     HL_SYNTH_GEMMA,   HL_SYNTH_SPM_GEMMA,   2048, 18,  8,  1, 256, 16384, 256000,   8192, 1e4,  0,      0,   0, true},
    {"gemma-7b",     HL_SYNTH_GEMMA,   HL_SYNTH_SPM_GEMMA,   3072, 28, 16, 16, 256, 24576, 256000,   8192, 1e4,  0,      0,   0, true},
    {"gemma2-2b",    HL_SYNTH_GEMMA2,  HL_SYNTH_SPM_GEMMA,   2304, 26,  8,  4, 256,  9216, 256000,   8192, 1e4,  0,   4096, 256, true},
    {"gemma2-9b",    HL_SYNTH_GEMMA2,  HL_SYNTH_SPM_GEMMA,   3584, 42, 16,  8, 256, 14336, 256000,   8192, 1e4,  0,   4096, 256, true},
    {"gemma2-27b",   HL_SYNTH_GEMMA2,  HL_SYNTH_SPM_GEMMA,   4608, 46, 32, 16, 128, 36864, 256000,   8192, 1e4,  0,   4096, 144, true},
    {"gemma3-1b",    HL_SYNTH_GEMMA3,  HL_SYNTH_SPM_GEMMA3,  1152, 26,  4,  1, 256,  6912, 262144,  32768, 1e6,  0,    512, 256, true},
    {"gemma3-4b",    HL_SYNTH_GEMMA3,  HL_SYNTH_SPM_GEMMA3,  2560, 34,  8,  4, 256, 10240, 262208, 131072, 1e6,  8,   1024, 256, true},
    {"gemma3-12b",   HL_SYNTH_GEMMA3,  HL_SYNTH_SPM_GEMMA3,  3840, 48, 16,  8, 256, 15360, 262208, 131072, 1e6,  8,   1024, 256, true},
    {"gemma3-27b",   HL_SYNTH_GEMMA3,  HL_SYNTH_SPM_GEMMA3,  5376, 62, 32, 16, 128, 21504, 262208, 131072, 1e6,  8,   1024, 168, true},
    {"llama2-7b",    HL_SYNTH_LLAMA,   HL_SYNTH_SPM_LLAMA2,  4096, 32, 32, 32, 128, 11008,  32000,   4096, 1e4,  0,      0,   0, false},
    {"llama2-13b",   HL_SYNTH_LLAMA,   HL_SYNTH_SPM_LLAMA2,  5120, 40, 40, 40, 128, 13824,  32000,   4096, 1e4,  0,      0,   0, false},
    {"llama3-8b",    HL_SYNTH_LLAMA,   HL_SYNTH_BPE_LLAMA3,  4096, 32, 32,  8, 128, 14336, 128256,   8192, 5e5,  0,      0,   0, false},
    {"llama3.1-8b",  HL_SYNTH_LLAMA,   HL_SYNTH_BPE_LLAMA31, 4096, 32, 32,  8, 128, 14336, 128256, 131072, 5e5,  8,      0,   0, false},
    {"llama3.2-1b",  HL_SYNTH_LLAMA,   HL_SYNTH_BPE_LLAMA31, 2048, 16, 32,  8,  64,  8192, 128256, 131072, 5e5, 32,      0,   0, true},
    {"llama3.2-3b",  HL_SYNTH_LLAMA,   HL_SYNTH_BPE_LLAMA31, 3072, 28, 24,  8, 128,  8192, 128256, 131072, 5e5, 32,      0,   0, true},
    {"mistral-7b",   HL_SYNTH_MISTRAL, HL_SYNTH_SPM_MISTRAL, 4096, 32, 32,  8, 128, 14336,  32768,  32768, 1e6,  0,      0,   0, false},
    {"qwen2-0.5b",   HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN2,    896, 24, 14,  2,  64,  4864, 151936,  32768, 1e6,  0,  32768,   0, true},
    {"qwen2-1.5b",   HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN2,   1536, 28, 12,  2, 128,  8960, 151936,  32768, 1e6,  0,  32768,   0, true},
    {"qwen2-7b",     HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN2,   3584, 28, 28,  4, 128, 18944, 152064,  32768, 1e6,  0, 131072,   0, false},
    {"qwen2.5-0.5b", HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN25,   896, 24, 14,  2,  64,  4864, 151936,  32768, 1e6,  0,  32768,   0, true},
    {"qwen2.5-1.5b", HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN25,  1536, 28, 12,  2, 128,  8960, 151936,  32768, 1e6,  0,  32768,   0, true},
    {"qwen2.5-7b",   HL_SYNTH_QWEN2,   HL_SYNTH_BPE_QWEN25,  3584, 28, 28,  4, 128, 18944, 152064,  32768, 1e6,  0, 131072,   0, false},
    {"qwen3-0.6b",   HL_SYNTH_QWEN3,   HL_SYNTH_BPE_QWEN3,   1024, 28, 16,  8, 128,  3072, 151936,  40960, 1e6,  0,      0,   0, true},
    {"qwen3-1.7b",   HL_SYNTH_QWEN3,   HL_SYNTH_BPE_QWEN3,   2048, 28, 16,  8, 128,  6144, 151936,  40960, 1e6,  0,      0,   0, true},
    {"qwen3-4b",     HL_SYNTH_QWEN3,   HL_SYNTH_BPE_QWEN3,   2560, 36, 32,  8, 128,  9728, 151936,  40960, 1e6,  0,      0,   0, true},
    {"qwen3-8b",     HL_SYNTH_QWEN3,   HL_SYNTH_BPE_QWEN3,   4096, 36, 32,  8, 128, 12288, 151936,  40960, 1e6,  0,      0,   0, false},
};
/* clang-format on */

const struct hl_synth_model *hl_synth_models(size_t *n)
{
    *n = HL_COUNT(models);
    return models;
}

const struct hl_synth_model *hl_synth_find(const char *name)
{
    for (size_t i = 0; i < HL_COUNT(models); i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

/* ---- tensors ---- */

#define TENSORS_OF_BLOCK 16 /* at most; Gemma 3 has the most, 13 */
#define TENSORS_BESIDES 3

struct list {
    const struct hl_synth_model *model;
    struct hl_synth_tensor *tensors;
    size_t n;
    char prefix[32];
};

__attribute__((format(printf, 2, 3))) static struct hl_synth_tensor *add(struct list *list, const char *format, ...)
{
    struct hl_synth_tensor *tensor = &list->tensors[list->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(tensor->name, sizeof tensor->name, format, args);
    va_end(args);
    return tensor;
}

static void add_matrix(struct list *list, const char *name, uint64_t rows, uint64_t cols, double gain)
{
    struct hl_synth_tensor *tensor = add(list, "%s%s.weight", list->prefix, name);
    tensor->rows = rows;
    tensor->cols = cols;
    tensor->sigma = (float)(gain / sqrt((double)cols));
}

/* Adds a norm whose outputs have the spread `size`. */
static void add_norm(struct list *list, const char *name, uint64_t rows, double size)
{
    struct hl_synth_tensor *tensor = add(list, "%s%s.weight", list->prefix, name);
    tensor->rows = rows;
    tensor->mean = (float)(size - families[list->model->family].centred);
    tensor->sigma = (float)(0.2 * size);
}

static void add_bias(struct list *list, const char *name, uint64_t rows)
{
    if (!families[list->model->family].qkv_bias)
        return;
    struct hl_synth_tensor *tensor = add(list, "%s%s.bias", list->prefix, name);
    tensor->rows = rows;
    tensor->sigma = 0.3f;
}

/* Adds a block. `stream` is the spread of the residual stream. A block adds a fraction of that to the stream, set
 * either by the matrices that write to it or by the norms after these. */
static void add_block(struct list *list, double stream)
{
    const struct hl_synth_model *m = list->model;
    const struct family *f = &families[m->family];
    uint64_t q = (uint64_t)m->heads * m->head_dim, kv = (uint64_t)m->kv_heads * m->head_dim;
    double written = f->sandwiched ? 1 : stream;
    add_norm(list, "input_layernorm", m->width, 1);
    add_matrix(list, "self_attn.q_proj", q, m->width, 1.1);
    add_bias(list, "self_attn.q_proj", q);
    add_matrix(list, "self_attn.k_proj", kv, m->width, 1.1);
    add_bias(list, "self_attn.k_proj", kv);
    add_matrix(list, "self_attn.v_proj", kv, m->width, 1);
    add_bias(list, "self_attn.v_proj", kv);
    if (f->head_norms) {
        add_norm(list, "self_attn.q_norm", m->head_dim, 1.1);
        add_norm(list, "self_attn.k_norm", m->head_dim, 1.1);
    }
    add_matrix(list, "self_attn.o_proj", m->width, q, 0.4 * written);
    add_norm(list, "post_attention_layernorm", m->width, f->sandwiched ? 0.3 * stream : 1);
    if (f->sandwiched) {
        add_norm(list, "pre_feedforward_layernorm", m->width, 1);
        add_norm(list, "post_feedforward_layernorm", m->width, 0.3 * stream);
    }
    add_matrix(list, "mlp.gate_proj", m->ffn, m->width, 1.2);
    add_matrix(list, "mlp.up_proj", m->ffn, m->width, 1);
    add_matrix(list, "mlp.down_proj", m->width, m->ffn, 0.3 * written);
}

int hl_synth_tensors(const struct hl_synth_model *model, struct hl_synth_tensor **out, size_t *n, struct hl_error *err)
{
    struct list list = {.model = model};
    const double logits = 2; /* their spread; a tied embedding is also the head, so it has the head's gain */
    bool scaled = families[model->family].centred; /* Gemma multiplies the embedding by sqrt(width) */
    double embedding = scaled ? logits : logits / sqrt(model->width);
    list.tensors = calloc((size_t)model->blocks * TENSORS_OF_BLOCK + TENSORS_BESIDES, sizeof *list.tensors);
    if (!list.tensors)
        return hl_no_memory(err);
    add_matrix(&list, "model.embed_tokens", model->vocabulary, model->width, logits);
    for (uint32_t i = 0; i < model->blocks; i++) {
        snprintf(list.prefix, sizeof list.prefix, "model.layers.%u.", i);
        add_block(&list, 16 * embedding);
    }
    list.prefix[0] = 0;
    add_norm(&list, "model.norm", model->width, 1);
    if (!model->tied)
        add_matrix(&list, "lm_head", model->vocabulary, model->width, logits);
    *out = list.tensors;
    *n = list.n;
    return 0;
}

uint64_t hl_synth_elements(const struct hl_synth_tensor *tensor)
{
    return tensor->rows * (tensor->cols ? tensor->cols : 1);
}

int hl_synth_parameters(const struct hl_synth_model *model, uint64_t *out, struct hl_error *err)
{
    HL_FREE struct hl_synth_tensor *tensors = NULL;
    size_t n = 0;
    if (hl_synth_tensors(model, &tensors, &n, err) < 0)
        return -1;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out += hl_synth_elements(&tensors[i]);
    return 0;
}

/* ---- config.json ---- */

struct object {
    cJSON *json;
    bool whole; /* every member was added; false: memory ran out */
};

static void put(struct object *o, const char *key, double value)
{
    o->whole = cJSON_AddNumberToObject(o->json, key, value) && o->whole;
}

static void put_text(struct object *o, const char *key, const char *value)
{
    o->whole = cJSON_AddStringToObject(o->json, key, value) && o->whole;
}

static void put_truth(struct object *o, const char *key, bool value)
{
    o->whole = cJSON_AddBoolToObject(o->json, key, value) && o->whole;
}

static void put_null(struct object *o, const char *key)
{
    o->whole = cJSON_AddNullToObject(o->json, key) && o->whole;
}

static void put_shape(struct object *o, const struct hl_synth_model *m)
{
    put(o, "hidden_size", m->width);
    put(o, "intermediate_size", m->ffn);
    put(o, "num_hidden_layers", m->blocks);
    put(o, "num_attention_heads", m->heads);
    put(o, "num_key_value_heads", m->kv_heads);
    put(o, "head_dim", m->head_dim);
    put(o, "vocab_size", m->vocabulary);
    put(o, "max_position_embeddings", m->context);
    put(o, "rms_norm_eps", families[m->family].eps);
    put(o, "rope_theta", m->rope_theta);
    put_truth(o, "tie_word_embeddings", m->tied);
}

static void put_scaling(struct object *o, const struct hl_synth_model *m)
{
    if (m->rope_factor == 0) {
        put_null(o, "rope_scaling");
        return;
    }
    struct object scaling = {cJSON_AddObjectToObject(o->json, "rope_scaling"), true};
    put(&scaling, "factor", m->rope_factor);
    put_text(&scaling, "rope_type", m->family == HL_SYNTH_LLAMA ? "llama3" : "linear");
    if (m->family == HL_SYNTH_LLAMA) {
        put(&scaling, "low_freq_factor", 1);
        put(&scaling, "high_freq_factor", 4);
        put(&scaling, "original_max_position_embeddings", 8192);
    }
    o->whole = scaling.json && scaling.whole && o->whole;
}

static void put_window(struct object *o, const struct hl_synth_model *m)
{
    if (m->window)
        put(o, "sliding_window", m->window);
    else
        put_null(o, "sliding_window");
}

static void put_qwen(struct object *o, const struct hl_synth_model *m)
{
    put_text(o, "hidden_act", "silu");
    put_truth(o, "use_sliding_window", false);
    put(o, "max_window_layers", m->blocks);
    put_window(o, m);
    if (m->family == HL_SYNTH_QWEN3)
        put_truth(o, "attention_bias", false);
}

static void put_gemma(struct object *o, const struct hl_synth_model *m)
{
    put_text(o, "hidden_activation", "gelu_pytorch_tanh");
    put_truth(o, "attention_bias", false);
    if (m->family == HL_SYNTH_GEMMA) {
        put_text(o, "hidden_act", "gelu_pytorch_tanh");
        return;
    }
    put(o, "query_pre_attn_scalar", m->query_scalar);
    put_window(o, m);
    if (m->family == HL_SYNTH_GEMMA2) {
        put_text(o, "hidden_act", "gelu_pytorch_tanh");
        put(o, "attn_logit_softcapping", 50);
        put(o, "final_logit_softcapping", 30);
    } else {
        put_null(o, "attn_logit_softcapping");
        put_null(o, "final_logit_softcapping");
        put(o, "sliding_window_pattern", 6);
        put(o, "rope_local_base_freq", 10000);
    }
}

static cJSON *finish(struct object *o)
{
    if (o->whole)
        return o->json;
    cJSON_Delete(o->json);
    return NULL;
}

cJSON *hl_synth_config(const struct hl_synth_model *model)
{
    struct object o = {cJSON_CreateObject(), true};
    const char *architecture = families[model->family].architecture;
    cJSON *architectures = cJSON_CreateStringArray(&architecture, 1);
    o.whole = cJSON_AddItemToObject(o.json, "architectures", architectures);
    put_text(&o, "model_type", families[model->family].type);
    put_text(&o, "torch_dtype", "bfloat16");
    put_shape(&o, model);
    switch (model->family) {
    case HL_SYNTH_LLAMA:
        put_text(&o, "hidden_act", "silu");
        put_truth(&o, "attention_bias", false);
        put_truth(&o, "mlp_bias", false);
        put_scaling(&o, model);
        break;
    case HL_SYNTH_MISTRAL:
        put_text(&o, "hidden_act", "silu");
        put_window(&o, model);
        break;
    case HL_SYNTH_QWEN2:
    case HL_SYNTH_QWEN3:
        put_qwen(&o, model);
        break;
    case HL_SYNTH_GEMMA:
    case HL_SYNTH_GEMMA2:
        put_gemma(&o, model);
        break;
    case HL_SYNTH_GEMMA3:
        put_gemma(&o, model);
        put_scaling(&o, model);
        break;
    }
    o.whole = hl_synth_put_token_ids(o.json, model) && o.whole;
    return finish(&o);
}

cJSON *hl_synth_generation_config(const struct hl_synth_model *model)
{
    struct object o = {cJSON_CreateObject(), true};
    o.whole = hl_synth_put_token_ids(o.json, model);
    return finish(&o);
}
