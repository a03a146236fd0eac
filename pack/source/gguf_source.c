/* Presents the tensors of a .gguf under Hugging Face's names [llama.cpp, gguf-py/gguf/tensor_mapping.py], and a whole
 * .gguf as a source.
 *
 * A converter changes some numbers [llama.cpp, conversion/llama.py: permute; conversion/gemma.py]. For the architecture
 * llama alone it puts the rows of q and k, and their biases, in pairs (hl_source_row()). It adds 1 to the norms of
 * every Gemma (norms_complete). Everything else stays as it is. A tensor that is not on these lists is refused, because
 * the model may need it.
 *
 * A model in parts is MODEL-00001-of-00003.gguf and so on. The first part has the metadata, each part has split.*
 * [llama.cpp, tools/gguf-split].
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/source/gguf_model.h"
#include <ctype.h>

#define ALL (~0u)
#define POST_NORMED (HL_GGUF_GEMMA2 | HL_GGUF_GEMMA3)
#define PRE_NORMED (HL_GGUF_LLAMA | HL_GGUF_GEMMA | HL_GGUF_QWEN2 | HL_GGUF_QWEN3)
#define GEMMAS (HL_GGUF_GEMMA | POST_NORMED)
#define BIASED (HL_GGUF_LLAMA | HL_GGUF_QWEN3)

/* Names below "blk.N." and below "model.layers.N.". */
static const struct role {
    const char *name, *becomes;
    unsigned families;
} in_blocks[] = {
    {"attn_norm.weight", "input_layernorm.weight", ALL},
    {"attn_q.weight", "self_attn.q_proj.weight", ALL},
    {"attn_k.weight", "self_attn.k_proj.weight", ALL},
    {"attn_v.weight", "self_attn.v_proj.weight", ALL},
    {"attn_output.weight", "self_attn.o_proj.weight", ALL},
    {"attn_q.bias", "self_attn.q_proj.bias", BIASED | HL_GGUF_QWEN2},
    {"attn_k.bias", "self_attn.k_proj.bias", BIASED | HL_GGUF_QWEN2},
    {"attn_v.bias", "self_attn.v_proj.bias", BIASED | HL_GGUF_QWEN2},
    {"attn_output.bias", "self_attn.o_proj.bias", BIASED},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", HL_GGUF_GEMMA3 | HL_GGUF_QWEN3},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", HL_GGUF_GEMMA3 | HL_GGUF_QWEN3},
    {"ffn_norm.weight", "post_attention_layernorm.weight", PRE_NORMED},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", POST_NORMED},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight", POST_NORMED},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", POST_NORMED},
    {"ffn_gate.weight", "mlp.gate_proj.weight", ALL},
    {"ffn_up.weight", "mlp.up_proj.weight", ALL},
    {"ffn_down.weight", "mlp.down_proj.weight", ALL},
    {"ffn_gate.bias", "mlp.gate_proj.bias", HL_GGUF_LLAMA},
    {"ffn_up.bias", "mlp.up_proj.bias", HL_GGUF_LLAMA},
    {"ffn_down.bias", "mlp.down_proj.bias", HL_GGUF_LLAMA},
};

static const struct role outside_blocks[] = {
    {"token_embd.weight", "model.embed_tokens.weight", ALL},
    {"output_norm.weight", "model.norm.weight", ALL},
    {"output.weight", "lm_head.weight", HL_GGUF_LLAMA | HL_GGUF_GEMMA3 | HL_GGUF_QWEN2 | HL_GGUF_QWEN3},
    {HL_ROPE_DIVISORS, HL_ROPE_DIVISORS, HL_GGUF_LLAMA},
};

/* Prefixes of the vision model that Ollama's Gemma 3 files contain. */
static const char *const left_out[] = {"v.", "mm."};

static const char *find_role(const struct role *roles, size_t n, const char *name, enum hl_gguf_family family)
{
    for (size_t i = 0; i < n; i++)
        if (roles[i].families & family && strcmp(roles[i].name, name) == 0)
            return roles[i].becomes;
    return NULL;
}

/* Returns the length of a prefix such as "blk.12.", or 0 if the name has none. A number with leading zeros does not
 * count. */
static size_t block_of(const char *name, uint32_t *block)
{
    if (!hl_text_begins(name, "blk.") || !isdigit((unsigned char)name[4]) || (name[4] == '0' && name[5] != '.'))
        return 0;
    size_t at = 4;
    for (*block = 0; at < 10 && isdigit((unsigned char)name[at]); at++)
        *block = *block * 10 + (uint32_t)(name[at] - '0');
    return name[at] == '.' ? at + 1 : 0;
}

/* Sets *out to Hugging Face's name; *out stays NULL if the tensor is left out. */
static int rename_tensor(const char *name, struct hl_gguf_facts *facts, char **out, struct hl_error *err)
{
    uint32_t block = 0;
    size_t skip = block_of(name, &block);
    const char *becomes = skip ? find_role(in_blocks, HL_COUNT(in_blocks), name + skip, facts->family)
                               : find_role(outside_blocks, HL_COUNT(outside_blocks), name, facts->family);
    for (size_t i = 0; i < HL_COUNT(left_out) && facts->family == HL_GGUF_GEMMA3; i++)
        if (hl_text_begins(name, left_out[i]))
            return 0;
    if (!becomes)
        return hl_fail(err, "unknown tensor, which may change what the model computes");
    if (!skip) {
        facts->head = facts->head || strcmp(becomes, "lm_head.weight") == 0;
        *out = strdup(becomes);
        return *out ? 0 : hl_no_memory(err);
    }
    if (strstr(becomes, ".bias"))
        *(hl_text_begins(becomes, "mlp.") ? &facts->mlp_bias : &facts->attention_bias) = true;
    facts->blocks = block >= facts->blocks ? block + 1 : facts->blocks;
    char text[128];
    snprintf(text, sizeof text, "model.layers.%u.%s", block, becomes);
    *out = strdup(text);
    return *out ? 0 : hl_no_memory(err);
}

static int find_dtype(uint32_t type, enum hl_dtype *out, struct hl_error *err)
{
    const char *name = hl_gguf_type_name(type);
    for (enum hl_dtype i = HL_DTYPE_F32; i < HL_DTYPES; i++)
        if (strcmp(name, hl_dtype_name(i)) == 0) {
            *out = i;
            return 0;
        }
    return hl_fail(err,
                   "its type %s is not supported; use a file of F16, BF16, Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1 or "
                   "Q4_0",
                   name);
}

static int add_tensor(struct hl_source *source, const struct hl_gguf_tensor *from, const char *name, const char *file,
                      struct hl_gguf_facts *facts, struct hl_error *err)
{
    struct hl_source_tensor *to = &source->tensors[source->n_tensors];
    *to = (struct hl_source_tensor){.n_dims = from->n_dims, .data = from->data, .bytes = from->bytes, .file = file};
    if (rename_tensor(name, facts, &to->name, err) < 0)
        return -1;
    if (!to->name)
        return 0;
    source->n_tensors++;
    while (to->n_dims > 2 && from->dims[to->n_dims - 1] == 1) /* as llama.cpp compares shapes */
        to->n_dims--;
    for (uint32_t i = 0; i < to->n_dims; i++)
        to->shape[i] = from->dims[to->n_dims - 1 - i];
    if (find_dtype(from->type, &to->dtype, err) < 0)
        return -1;
    if (strcmp(name, "token_embd.weight") == 0) {
        facts->rows = to->shape[0];
        facts->dtype = to->dtype;
    }
    return 0;
}

static int add_tensors(struct hl_source *source, const struct hl_gguf *gguf, const char *file,
                       struct hl_gguf_facts *facts, struct hl_error *err)
{
    size_t n;
    const struct hl_gguf_tensor *tensors = hl_gguf_tensors(gguf, &n);
    struct hl_source_tensor *grown = realloc(source->tensors, (source->n_tensors + n + 1) * sizeof *grown);
    if (!grown)
        return hl_no_memory(err);
    source->tensors = grown;
    for (size_t i = 0; i < n; i++) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)tensors[i].name.size, (const char *)tensors[i].name.data);
        if (add_tensor(source, &tensors[i], name, file, facts, err) < 0)
            return hl_error_prefix(err, "%s: tensor %s", file, name);
    }
    return 0;
}

/* ---- parts ---- */

static bool parse_number(const char *text, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *out = *out * 10 + (uint32_t)(text[i] - '0');
    }
    return true;
}

bool hl_gguf_part(const char *name, uint32_t *part, uint32_t *parts)
{
    static const char shape[] = "-00001-of-00001.gguf";
    size_t n = strlen(name), tail = sizeof shape - 1;
    const char *at = n > tail ? name + n - tail : "";
    return at[0] == '-' && hl_text_begins(at + 6, "-of-") && strcmp(at + 15, ".gguf") == 0 &&
           parse_number(at + 1, part) && parse_number(at + 10, parts);
}

static int check_part(const struct hl_gguf *gguf, uint64_t index, uint64_t parts, struct hl_error *err)
{
    uint64_t number = 0, all = 1;
    const struct hl_gguf_value *no = hl_gguf_get(gguf, "split.no"), *count = hl_gguf_get(gguf, "split.count");
    if ((no && !hl_gguf_count(no, UINT32_MAX, &number)) || (count && !hl_gguf_count(count, UINT32_MAX, &all)))
        return hl_fail(err, "split.no and split.count must be whole numbers");
    all = all ? all : 1;
    if (all != parts)
        return hl_fail(err,
                       "split.count says %llu, the file's name says %llu; the parts must have the names "
                       "MODEL-00001-of-00002.gguf and so on, and be in one folder",
                       (unsigned long long)all, (unsigned long long)parts);
    if (number != index)
        return hl_fail(err, "split.no says %llu, the file's name says %llu", (unsigned long long)number,
                       (unsigned long long)index);
    return 0;
}

/* Reads one file. The first file leaves its metadata in the source. */
static int read_file(struct hl_source *source, size_t index, struct hl_gguf_facts *facts, struct hl_error *err)
{
    const struct hl_source_file *file = &source->files[index];
    struct hl_gguf *gguf;
    if (hl_gguf_open(file->map, file->name, &gguf, err) < 0)
        return -1;
    if (index == 0)
        source->gguf = gguf;
    int result = check_part(gguf, index, source->n_files, err);
    if (result == 0 && index == 0)
        result = hl_gguf_find_family(gguf, &facts->family, err);
    if (result < 0)
        hl_error_prefix(err, "%s", file->name);
    else
        result = add_tensors(source, gguf, file->name, facts, err);
    if (index)
        hl_gguf_close(gguf);
    return result;
}

static int check_kind(const struct hl_gguf *gguf, struct hl_error *err)
{
    struct hl_view kind;
    if (hl_gguf_text(hl_gguf_get(gguf, "general.type"), &kind) && !(kind.size == 5 && !memcmp(kind.data, "model", 5)))
        return hl_fail(err, "general.type '%.*s' is not supported; only model is",
                       (int)(kind.size < 40 ? kind.size : 40), (const char *)kind.data);
    return 0;
}

static void pair_heads(struct hl_source *source)
{
    static const struct {
        const char *in_name, *field;
    } paired[] = {{".self_attn.q_proj.", "num_attention_heads"}, {".self_attn.k_proj.", "num_key_value_heads"}};
    for (size_t i = 0; i < source->n_tensors; i++)
        for (size_t k = 0; k < HL_COUNT(paired); k++) {
            uint64_t heads = 0;
            if (strstr(source->tensors[i].name, paired[k].in_name) &&
                hl_json_count(hl_json_get(source->config, paired[k].field), UINT32_MAX, &heads))
                source->tensors[i].paired_heads = (uint32_t)heads;
        }
}

int hl_gguf_read(struct hl_source *source, struct hl_error *err)
{
    struct hl_gguf_facts facts = {.rows = 0};
    for (size_t i = 0; i < source->n_files; i++)
        if (read_file(source, i, &facts, err) < 0)
            return -1;
    source->config_name = "the metadata";
    source->format = "gguf";
    source->norms_complete = facts.family & GEMMAS;
    int result = facts.rows ? check_kind(source->gguf, err) : hl_fail(err, "tensor token_embd.weight is missing");
    if (result == 0)
        result = hl_gguf_config(source, &facts, err);
    if (result == 0)
        result = hl_gguf_tokens(source, facts.rows, err);
    struct hl_view license;
    if (result == 0 && hl_gguf_text(hl_gguf_get(source->gguf, "general.license"), &license))
        result = hl_source_set_license(source, license, err);
    if (result < 0)
        return hl_error_prefix(err, "%s", source->files[0].name);
    if (facts.family == HL_GGUF_LLAMA)
        pair_heads(source);
    return 0;
}
