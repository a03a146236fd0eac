/* config.json -> numbers -> a program, over a source that has every tensor, in the shape that config.json asks for. The
 * same document is its generation_config.json and tokenizer_config.json. The runtime must accept every program that the
 * packer compiles; otherwise users would see the error only when they start the server. */
#include "base/cleanup.h"
#include "base/json.h"
#include "pack/convert/writer.h"
#include "pack/meta.h"
#include "runtime/model/hot.h"
#include "tests/fuzz/guard.h"

#define BLOCKS_MOST 3

static void add(struct hl_source *source, uint64_t rows, uint64_t cols, const char *format, unsigned block)
{
    struct hl_source_tensor *tensor = &source->tensors[source->n_tensors++];
    char name[128];
    snprintf(name, sizeof name, format, block);
    *tensor = (struct hl_source_tensor){.name = strdup(name), .dtype = HL_DTYPE_BF16, .file = "model.safetensors"};
    tensor->n_dims = rows ? 2 : 1;
    tensor->shape[0] = rows ? rows : cols;
    tensor->shape[1] = rows ? cols : 0;
    tensor->bytes = (rows ? rows : 1) * cols * 2;
}

static void add_block(struct hl_source *source, const struct hl_arch *a, unsigned block)
{
    uint64_t q = (uint64_t)a->heads * a->head_dim, kv = (uint64_t)a->kv_heads * a->head_dim;
    add(source, 0, a->width, "model.layers.%u.input_layernorm.weight", block);
    add(source, 0, a->width, "model.layers.%u.post_attention_layernorm.weight", block);
    if (a->post_norms) {
        add(source, 0, a->width, "model.layers.%u.pre_feedforward_layernorm.weight", block);
        add(source, 0, a->width, "model.layers.%u.post_feedforward_layernorm.weight", block);
    }
    if (a->qk_norm) {
        add(source, 0, a->head_dim, "model.layers.%u.self_attn.q_norm.weight", block);
        add(source, 0, a->head_dim, "model.layers.%u.self_attn.k_norm.weight", block);
    }
    add(source, q, a->width, "model.layers.%u.self_attn.q_proj.weight", block);
    add(source, kv, a->width, "model.layers.%u.self_attn.k_proj.weight", block);
    add(source, kv, a->width, "model.layers.%u.self_attn.v_proj.weight", block);
    add(source, a->width, q, "model.layers.%u.self_attn.o_proj.weight", block);
    if (a->qkv_bias) {
        add(source, 0, q, "model.layers.%u.self_attn.q_proj.bias", block);
        add(source, 0, kv, "model.layers.%u.self_attn.k_proj.bias", block);
        add(source, 0, kv, "model.layers.%u.self_attn.v_proj.bias", block);
    }
    if (a->out_bias)
        add(source, 0, a->width, "model.layers.%u.self_attn.o_proj.bias", block);
    add(source, a->ffn, a->width, "model.layers.%u.mlp.gate_proj.weight", block);
    add(source, a->ffn, a->width, "model.layers.%u.mlp.up_proj.weight", block);
    add(source, a->width, a->ffn, "model.layers.%u.mlp.down_proj.weight", block);
    if (!a->mlp_bias)
        return;
    add(source, 0, a->ffn, "model.layers.%u.mlp.gate_proj.bias", block);
    add(source, 0, a->ffn, "model.layers.%u.mlp.up_proj.bias", block);
    add(source, 0, a->width, "model.layers.%u.mlp.down_proj.bias", block);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hl_source_tensor *)a)->name, ((const struct hl_source_tensor *)b)->name);
}

static void must(int result, const struct hl_error *err)
{
    if (result < 0) {
        fprintf(stderr, "%s\n", err->message);
        abort();
    }
}

static void check_program(struct hl_plan *plan)
{
    struct hl_error err;
    HL_FREE struct hl_header *header = calloc(1, sizeof *header);
    HL_FREE struct hl_tensor *tensors = calloc(plan->n_tensors, sizeof *tensors);
    if (!header || !tensors || hl_writer_place(plan, HL_SHARD_LIMIT, header, &err) < 0)
        return;
    for (uint32_t i = 0; i < plan->n_tensors; i++)
        tensors[i] = plan->tensors[i].tensor;
    const struct hl_program_view view = {.head = &plan->program,
                                         .buffers = plan->buffers,
                                         .kvs = plan->kvs,
                                         .ops = plan->ops,
                                         .tensors = tensors,
                                         .n_tensors = plan->n_tensors};
    must(hl_program_check(&view, header->weight_bytes, &err), &err);
}

static void compile(struct hl_source *source, const struct hl_arch *arch)
{
    struct hl_error err;
    source->tensors = calloc(arch->blocks * 20u + 3, sizeof *source->tensors);
    if (!source->tensors)
        return;
    add(source, arch->vocabulary, arch->width, "model.embed_tokens.weight", 0);
    add(source, arch->vocabulary, arch->width, "lm_head.weight", 0);
    add(source, 0, arch->width, "model.norm.weight", 0);
    for (unsigned block = 0; block < arch->blocks; block++)
        add_block(source, arch, block);
    qsort(source->tensors, source->n_tensors, sizeof *source->tensors, by_name);
    for (enum hl_quant quant = HL_QUANT_KEEP; quant <= HL_QUANT_DEFAULT; quant++) {
        struct hl_plan *plan = NULL;
        HL_FREE char *meta = NULL;
        must(hl_plan_build(source, arch, quant, &plan, &err), &err);
        const struct hl_chat chat = {.end = HL_NONE};
        const struct hl_meta facts = {source, arch, plan, &chat, "fuzz", 2};
        hl_meta_build(&facts, &meta, &err);
        check_program(plan);
        hl_plan_free(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    struct hl_arch arch;
    const uint8_t *text = guarded(data, size);
    struct hl_source *source = calloc(1, sizeof *source);
    if (source && text && (source->path = strdup("/nonexistent")) &&
        hl_json_parse((struct hl_view){text, size}, "config.json", &source->config, &err) == 0 &&
        hl_arch_read(source->config, &arch, &err) == 0 && arch.blocks <= BLOCKS_MOST) {
        source->config_name = "config.json";
        source->format = "safetensors";
        source->generation_config = cJSON_Duplicate(source->config, true);
        source->tokenizer_config = cJSON_Duplicate(source->config, true);
        compile(source, &arch);
    }
    hl_source_close(source);
    return 0;
}
