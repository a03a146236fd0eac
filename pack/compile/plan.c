/* The compiler: turns a model into a list of operations over tensors. The tensors are in the order of first use.
 *
 * Matrices that multiply the same input become one matrix, with their rows one after another: q, k and v; gate and up.
 * The embedding comes last, because the first block needs only a few of its rows. A tied head is that same tensor, and
 * the last one to be used.
 *
 *   hidden -> normed -> qkv -> heads -> delta -> + hidden -> normed -> ffn -> delta -> + hidden ... picked -> logits
 */
#include "pack/compile/plan.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "hotlayer/half.h"
#include "pack/source/blocks.h"
#include <math.h>

enum buffer { HIDDEN, NORMED, QKV, HEADS, FFN, DELTA, ANGLES, PICKED, LOGITS, SLIDING_ANGLES, BUFFERS };

/* Upper limits of the counts. */
#define OPS_PER_BLOCK 20u
#define OPS_OUTSIDE_BLOCKS 7u
#define TENSORS_PER_BLOCK 20u
#define TENSORS_OUTSIDE_BLOCKS 5u

/* The state of a compilation. */
struct compiler {
    const struct hl_source *source;
    const struct hl_arch *arch;
    enum hl_quant quant;
    struct hl_plan *plan;
    const char *root; /* prefix of the names of the text model's tensors */
    bool *used;       /* [source->n_tensors] */
    bool two_ropes;
    struct hl_error *err;
};

static struct hl_span span(enum buffer buffer, uint32_t column)
{
    return (struct hl_span){.buffer = buffer, .column = column};
}

static struct hl_op *emit(struct compiler *c, enum hl_op_kind kind)
{
    struct hl_op *op = &c->plan->ops[c->plan->program.n_ops++];
    op->kind = kind;
    return op;
}

/* Returns the type that holds a source type without loss. 5-bit types are widened to 8 bits. */
static enum hl_type kept_type(enum hl_dtype dtype)
{
    static const enum hl_type types[HL_DTYPES] = {
        [HL_DTYPE_F32] = HL_TYPE_TILE_F32, [HL_DTYPE_F16] = HL_TYPE_TILE_F16, [HL_DTYPE_BF16] = HL_TYPE_TILE_BF16,
        [HL_DTYPE_Q8_0] = HL_TYPE_TILE_Q8, [HL_DTYPE_Q4_0] = HL_TYPE_TILE_Q4, [HL_DTYPE_Q4_1] = HL_TYPE_TILE_Q4M,
        [HL_DTYPE_Q5_0] = HL_TYPE_TILE_Q8, [HL_DTYPE_Q5_1] = HL_TYPE_TILE_Q8, [HL_DTYPE_Q4_K] = HL_TYPE_TILE_Q4K,
        [HL_DTYPE_Q5_K] = HL_TYPE_TILE_Q8, [HL_DTYPE_Q6_K] = HL_TYPE_TILE_Q6K};
    return types[dtype];
}

/* Returns what a matrix of this source type is converted to. */
static enum hl_quant matrix_quant(enum hl_quant quant, enum hl_dtype dtype)
{
    if (quant != HL_QUANT_DEFAULT)
        return quant;
    return hl_dtype_is_quantized(dtype) ? HL_QUANT_KEEP : HL_QUANT_Q4;
}

/* Returns the tile type of a matrix of this source type. `table` marks the embedding and the head, which have one row
 * per token and lose most from 4 bits. */
static enum hl_type matrix_type(enum hl_quant asked, enum hl_dtype dtype, uint32_t cols, bool table)
{
    enum hl_quant quant = matrix_quant(asked, dtype);
    if (quant == HL_QUANT_BF16)
        return HL_TYPE_TILE_BF16;
    if (quant == HL_QUANT_Q8)
        return HL_TYPE_TILE_Q8;
    bool four = dtype == HL_DTYPE_Q4_0 || dtype == HL_DTYPE_Q4_1 || dtype == HL_DTYPE_Q4_K;
    if (quant == HL_QUANT_KEEP || four || (table && dtype == HL_DTYPE_Q6_K))
        return kept_type(dtype);
    if (!table)
        return HL_TYPE_TILE_Q4;
    return cols % hl_type_traits[HL_TYPE_TILE_Q6K].tile_cols ? HL_TYPE_TILE_Q8 : HL_TYPE_TILE_Q6K;
}

/* Finds a source tensor and checks its shape; a vector has 0 `rows`. Returns NULL on failure. */
static const struct hl_source_tensor *need(struct compiler *c, const char *name, uint32_t rows, uint32_t cols)
{
    const struct hl_source_tensor *tensor = hl_source_find(c->source, name);
    if (!tensor) {
        hl_fail(c->err, "%s: tensor %s is missing", c->source->n_files ? c->source->files[0].name : "model", name);
        return NULL;
    }
    bool fits = rows ? tensor->n_dims == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols
                     : tensor->n_dims == 1 && tensor->shape[0] == cols;
    if (fits) {
        c->used[tensor - c->source->tensors] = true;
        return tensor;
    }
    const char *by = c->source->config_name;
    if (rows)
        hl_fail(c->err, "%s: tensor %s: shape must be [%u, %u] by %s", tensor->file, name, rows, cols, by);
    else
        hl_fail(c->err, "%s: tensor %s: shape must be [%u] by %s", tensor->file, name, cols, by);
    return NULL;
}

__attribute__((format(printf, 2, 3))) static struct hl_plan_tensor *new_tensor(struct compiler *c, const char *format,
                                                                               ...)
{
    struct hl_plan_tensor *tensor = &c->plan->tensors[c->plan->n_tensors++];
    va_list args;
    va_start(args, format);
    vsnprintf(tensor->tensor.name, sizeof tensor->tensor.name, format, args);
    va_end(args);
    return tensor;
}

static int set_shape(struct compiler *c, struct hl_plan_tensor *t, enum hl_type type, uint64_t rows, uint32_t cols)
{
    t->tensor.type = type;
    t->tensor.rows = (uint32_t)rows;
    t->tensor.cols = cols;
    if (rows > UINT32_MAX || !hl_tensor_bytes(type, t->tensor.rows, cols, &t->tensor.bytes))
        return hl_fail(c->err, "tensor %s: shape %llu x %u is too large", t->tensor.name, (unsigned long long)rows,
                       cols);
    return 0;
}

/* A source tensor of some role: its name without `prefix`, and its rows (0 for a vector). */
struct part {
    const char *name;
    uint32_t rows;
};

/* What a tensor is: a vector, a matrix, or a matrix with one row per token of the vocabulary. */
enum role { VECTOR, MATRIX, TABLE };

static const struct hl_source_tensor *need_part(struct compiler *c, const char *prefix, const struct part *part,
                                                uint32_t cols, enum role role)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", prefix, part->name);
    return role == VECTOR ? need(c, name, 0, part->rows) : need(c, name, part->rows, cols);
}

/* Fills a tensor from parts that have `cols` columns and all the same type. */
static int fill(struct compiler *c, struct hl_plan_tensor *t, const char *prefix, const struct part *parts, uint32_t n,
                uint32_t cols, enum role role)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        t->part[i] = need_part(c, prefix, &parts[i], cols, role);
        if (!t->part[i])
            return -1;
        c->plan->parameters += hl_source_count(t->part[i]);
        rows += parts[i].rows;
    }
    t->n_parts = n;
    if (role == VECTOR)
        return set_shape(c, t, HL_TYPE_VECTOR, 1, (uint32_t)rows);
    return set_shape(c, t, matrix_type(c->quant, t->part[0]->dtype, cols, role == TABLE), rows, cols);
}

/* Emits an RMSNorm of `groups` runs of `cols` columns. */
static int emit_norm(struct compiler *c, const char *own_name, const char *prefix, const char *name, struct hl_span out,
                     struct hl_span in, uint32_t groups, uint32_t cols)
{
    const struct part part = {name, cols};
    struct hl_op *op = emit(c, HL_OP_NORM);
    op->norm.out = out;
    op->norm.in = in;
    op->norm.weight = c->plan->n_tensors;
    op->norm.groups = groups;
    op->norm.cols = cols;
    op->norm.eps = c->arch->eps;
    struct hl_plan_tensor *weight = new_tensor(c, "%s", own_name);
    weight->addend = c->arch->norms_add_one && !c->source->norms_complete ? 1 : 0;
    return fill(c, weight, prefix, &part, 1, 1, VECTOR);
}

/* Emits a norm of a whole row, named after its block. */
static int emit_block_norm(struct compiler *c, uint32_t block, const char *own_name, const char *prefix,
                           const char *name, enum buffer out, enum buffer in)
{
    char own[HL_NAME_BYTES];
    snprintf(own, sizeof own, "blocks.%u.%s", block, own_name);
    return emit_norm(c, own, prefix, name, span(out, 0), span(in, 0), 1, c->arch->width);
}

/* Emits a norm of each single head of q, or of k. */
static int emit_head_norm(struct compiler *c, uint32_t block, const char *own_name, const char *prefix,
                          const char *name, uint32_t column, uint32_t heads)
{
    char own[HL_NAME_BYTES];
    snprintf(own, sizeof own, "blocks.%u.attn.%s", block, own_name);
    return emit_norm(c, own, prefix, name, span(QKV, column), span(QKV, column), heads, c->arch->head_dim);
}

/* Several projections of one input that become one matrix. */
struct linear {
    const char *own_name, *prefix;
    const struct part *part; /* such as "mlp.gate_proj" and its rows; the code appends ".weight" and ".bias" */
    uint32_t n, cols;
    bool biased;
    enum role role;
    enum buffer out, in;
};

/* Emits the operation of the parts [first, first + n) and its tensors. Their rows begin at `column` of the output. */
static int emit_parts(struct compiler *c, const struct linear *l, uint32_t first, uint32_t n, uint32_t column)
{
    char names[2][HL_PLAN_PARTS][64], own[HL_NAME_BYTES];
    struct part weights[HL_PLAN_PARTS], biases[HL_PLAN_PARTS];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[0][i], sizeof names[0][i], "%s.weight", l->part[first + i].name);
        snprintf(names[1][i], sizeof names[1][i], "%s.bias", l->part[first + i].name);
        weights[i] = (struct part){names[0][i], l->part[first + i].rows};
        biases[i] = (struct part){names[1][i], l->part[first + i].rows};
    }
    if (n == l->n)
        snprintf(own, sizeof own, "%s", l->own_name);
    else
        snprintf(own, sizeof own, "%s.%u", l->own_name, first);
    struct hl_op *op = emit(c, HL_OP_LINEAR);
    op->linear.out = span(l->out, column);
    op->linear.in = span(l->in, 0);
    op->linear.bias = HL_NONE;
    op->linear.weight = c->plan->n_tensors;
    if (fill(c, new_tensor(c, "%s", own), l->prefix, weights, n, l->cols, l->role) < 0)
        return -1;
    if (!l->biased)
        return 0;
    op->linear.bias = c->plan->n_tensors;
    return fill(c, new_tensor(c, "%s.bias", own), l->prefix, biases, n, 1, VECTOR);
}

/* Finds one part in the source and sets its type. */
static int part_type(struct compiler *c, const struct linear *l, uint32_t i, enum hl_type *out)
{
    char name[64];
    snprintf(name, sizeof name, "%s.weight", l->part[i].name);
    const struct part part = {name, l->part[i].rows};
    const struct hl_source_tensor *tensor = need_part(c, l->prefix, &part, l->cols, l->role);
    if (!tensor)
        return -1;
    *out = matrix_type(c->quant, tensor->dtype, l->cols, l->role == TABLE);
    return 0;
}

/* Emits one operation for all parts. A converter leaves rows that are not a multiple of 32 out of Q8_0, so q, k and v
 * of a .gguf may have different types: then each run of parts of equal type gets its own operation. */
static int emit_linear(struct compiler *c, const struct linear *l)
{
    for (uint32_t first = 0, column = 0; first < l->n;) {
        enum hl_type type, next;
        uint32_t n = 1, rows = l->part[first].rows;
        if (part_type(c, l, first, &type) < 0)
            return -1;
        for (; first + n < l->n; rows += l->part[first + n++].rows) {
            if (part_type(c, l, first + n, &next) < 0)
                return -1;
            if (next != type)
                break;
        }
        if (emit_parts(c, l, first, n, column) < 0)
            return -1;
        first += n;
        column += rows;
    }
    return 0;
}

/* Returns true if sliding blocks rotate by other angles than full blocks. */
static bool has_two_ropes(const struct hl_arch *arch)
{
    const struct hl_rope *a = &arch->rope, *b = &arch->sliding_rope;
    return a->scaling != b->scaling || a->theta != b->theta || a->factor != b->factor || a->low != b->low ||
           a->high != b->high || a->original != b->original;
}

static void emit_rope(struct compiler *c, uint32_t block, uint32_t column, uint32_t heads)
{
    struct hl_op *op = emit(c, HL_OP_ROPE);
    op->rope.x = span(QKV, column);
    op->rope.angles = span(c->two_ropes && c->arch->slides[block] ? SLIDING_ANGLES : ANGLES, 0);
    op->rope.heads = heads;
    op->rope.head_dim = op->rope.rotated = c->arch->head_dim;
}

static void emit_add(struct compiler *c)
{
    struct hl_op *op = emit(c, HL_OP_ADD);
    op->add.out = span(HIDDEN, 0);
    op->add.in = span(DELTA, 0);
    op->add.cols = c->arch->width;
}

static void emit_attend(struct compiler *c, uint32_t block, uint32_t q, uint32_t kv)
{
    const struct hl_arch *a = c->arch;
    struct hl_op *write = emit(c, HL_OP_KV_WRITE);
    write->kv_write.k = span(QKV, q);
    write->kv_write.v = span(QKV, q + kv);
    write->kv_write.kv = block;
    struct hl_op *attend = emit(c, HL_OP_ATTEND);
    attend->attend.out = span(HEADS, 0);
    attend->attend.q = span(QKV, 0);
    attend->attend.kv = block;
    attend->attend.heads = a->heads;
    attend->attend.window = a->slides[block] ? a->window : 0;
    attend->attend.scale = (float)a->attention_scale;
    attend->attend.softcap = a->attention_softcap;
}

static int emit_attention(struct compiler *c, uint32_t block, const char *prefix)
{
    const struct hl_arch *a = c->arch;
    uint32_t q = a->heads * a->head_dim, kv = a->kv_heads * a->head_dim;
    const struct part qkv[] = {{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}};
    const struct part out[] = {{"self_attn.o_proj", a->width}};
    char own[HL_NAME_BYTES];
    if (emit_block_norm(c, block, "attn_norm", prefix, "input_layernorm.weight", NORMED, HIDDEN) < 0)
        return -1;
    snprintf(own, sizeof own, "blocks.%u.attn.qkv", block);
    if (emit_linear(c, &(struct linear){own, prefix, qkv, 3, a->width, a->qkv_bias, MATRIX, QKV, NORMED}) < 0)
        return -1;
    if (a->qk_norm && (emit_head_norm(c, block, "q_norm", prefix, "self_attn.q_norm.weight", 0, a->heads) < 0 ||
                       emit_head_norm(c, block, "k_norm", prefix, "self_attn.k_norm.weight", q, a->kv_heads) < 0))
        return -1;
    emit_rope(c, block, 0, a->heads);
    emit_rope(c, block, q, a->kv_heads);
    emit_attend(c, block, q, kv);
    snprintf(own, sizeof own, "blocks.%u.attn.out", block);
    if (emit_linear(c, &(struct linear){own, prefix, out, 1, q, a->out_bias, MATRIX, DELTA, HEADS}) < 0)
        return -1;
    if (a->post_norms &&
        emit_block_norm(c, block, "attn_post_norm", prefix, "post_attention_layernorm.weight", DELTA, DELTA) < 0)
        return -1;
    emit_add(c);
    return 0;
}

/* Emits the feed-forward part. In Llama, post_attention_layernorm is the norm before this part; in Gemma 2 and 3 it is
 * the norm after attention. */
static int emit_ffn(struct compiler *c, uint32_t block, const char *prefix)
{
    const struct hl_arch *a = c->arch;
    const struct part gate_up[] = {{"mlp.gate_proj", a->ffn}, {"mlp.up_proj", a->ffn}};
    const struct part down[] = {{"mlp.down_proj", a->width}};
    const char *norm = a->post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
    char own[HL_NAME_BYTES];
    if (emit_block_norm(c, block, "ffn_norm", prefix, norm, NORMED, HIDDEN) < 0)
        return -1;
    snprintf(own, sizeof own, "blocks.%u.ffn.gate_up", block);
    if (emit_linear(c, &(struct linear){own, prefix, gate_up, 2, a->width, a->mlp_bias, MATRIX, FFN, NORMED}) < 0)
        return -1;
    struct hl_op *gate = emit(c, HL_OP_GATE);
    gate->gate.out = gate->gate.gate = span(FFN, 0);
    gate->gate.up = span(FFN, a->ffn);
    gate->gate.cols = a->ffn;
    gate->gate.activation = a->activation;
    snprintf(own, sizeof own, "blocks.%u.ffn.down", block);
    if (emit_linear(c, &(struct linear){own, prefix, down, 1, a->ffn, a->mlp_bias, MATRIX, DELTA, FFN}) < 0)
        return -1;
    if (a->post_norms &&
        emit_block_norm(c, block, "ffn_post_norm", prefix, "post_feedforward_layernorm.weight", DELTA, DELTA) < 0)
        return -1;
    emit_add(c);
    return 0;
}

/* Applies Llama 3.1's rule: waves longer than the old context are stretched, waves that fit into it many times are not.
 * All in float32, as in transformers' _compute_llama3_parameters. */
static float scale_llama3(const struct hl_rope *rope, float frequency)
{
    const float low = (float)rope->low, high = (float)rope->high, old = (float)rope->original;
    const float wave = (float)(2 * M_PI) / frequency, scaled = frequency / (float)rope->factor;
    if (wave > (float)(rope->original / rope->low))
        return scaled;
    if (wave < (float)(rope->original / rope->high))
        return frequency;
    float smooth = (old / wave - low) / (high - low);
    return (1 - smooth) * scaled + smooth * frequency;
}

/* Returns theta^(-2i/d). The exponent and the power are rounded to float32, as transformers on PyTorch does; powf()
 * alone is one ulp off for some i. */
static float frequency_of(const struct hl_rope *rope, uint32_t i, uint32_t head_dim)
{
    float frequency = 1.0f / (float)pow(rope->theta, (double)((float)(2 * i) / (float)head_dim));
    if (rope->scaling == HL_ROPE_LLAMA3)
        return scale_llama3(rope, frequency);
    return rope->scaling == HL_ROPE_LINEAR ? frequency / (float)rope->factor : frequency;
}

/* Divides by the divisors of Llama 3.1's rule, which a .gguf has as a tensor. */
static int divide_frequencies(struct compiler *c, float *frequencies, uint32_t n)
{
    if (!hl_source_find(c->source, HL_ROPE_DIVISORS))
        return 0;
    const struct hl_source_tensor *tensor = need(c, HL_ROPE_DIVISORS, 0, n);
    if (!tensor)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        float divisor;
        hl_source_floats(tensor, i, 1, &divisor);
        if (!(divisor > 0 && isfinite(divisor)))
            return hl_fail(c->err, "%s: tensor %s: number %u is not a divisor", tensor->file, tensor->name, i);
        frequencies[i] /= divisor;
    }
    return 0;
}

static int emit_angles(struct compiler *c, const char *own_name, const struct hl_rope *rope, enum buffer out)
{
    uint32_t head_dim = c->arch->head_dim, half = head_dim / 2;
    struct hl_op *op = emit(c, HL_OP_ANGLES);
    op->angles.out = span(out, 0);
    op->angles.frequencies = c->plan->n_tensors;
    struct hl_plan_tensor *t = new_tensor(c, "%s", own_name);
    t->values = malloc(half * sizeof *t->values);
    if (!t->values)
        return hl_no_memory(c->err);
    for (uint32_t i = 0; i < half; i++)
        t->values[i] = frequency_of(rope, i, head_dim);
    if (set_shape(c, t, HL_TYPE_VECTOR, 1, half) < 0 ||
        (rope == &c->arch->rope && divide_frequencies(c, t->values, half) < 0))
        return -1;
    for (uint32_t i = 0; i < half; i++)
        if (!isfinite(t->values[i]))
            return hl_fail(c->err, "%s by %s: frequency %u is not finite; theta or factor is too small or too large",
                           own_name, c->source->config_name, i);
    return 0;
}

/* Returns sqrt(width) in the precision in which the reference multiplies: that of the published embedding. Q8_0 is
 * assumed to come from bfloat16. */
static float embedding_scale(const struct hl_arch *a, enum hl_dtype dtype)
{
    float scale = (float)sqrt(a->width);
    if (!a->scaled_embedding)
        return 1;
    if (dtype == HL_DTYPE_F16)
        return hl_f16_to_f32(hl_f32_to_f16(scale));
    return dtype == HL_DTYPE_F32 ? scale : hl_bf16_to_f32(hl_f32_to_bf16(scale));
}

/* Appends the embedding. It is the last tensor, so its index is known only at the end. */
static int finish_embedding(struct compiler *c, struct hl_op *gather, struct hl_op *head)
{
    const struct part embed = {"embed_tokens.weight", c->arch->vocabulary};
    struct hl_plan_tensor *table = new_tensor(c, "embed");
    gather->gather.table = c->plan->n_tensors - 1;
    if (head)
        head->linear.weight = gather->gather.table;
    if (fill(c, table, c->root, &embed, 1, c->arch->width, TABLE) < 0)
        return -1;
    gather->gather.scale = embedding_scale(c->arch, table->part[0]->dtype);
    return 0;
}

static int emit_head(struct compiler *c, struct hl_op *gather)
{
    const struct hl_arch *a = c->arch;
    const struct part head = {"lm_head", a->vocabulary};
    struct hl_op *pick = emit(c, HL_OP_PICK), *tied = NULL;
    pick->pick.out = span(PICKED, 0);
    pick->pick.in = span(HIDDEN, 0);
    pick->pick.cols = a->width;
    if (emit_norm(c, "norm", c->root, "norm.weight", span(PICKED, 0), span(PICKED, 0), 1, a->width) < 0)
        return -1;
    if (a->tied) {
        tied = emit(c, HL_OP_LINEAR);
        tied->linear.out = span(LOGITS, 0);
        tied->linear.in = span(PICKED, 0);
        tied->linear.bias = HL_NONE;
    } else {
        const char *prefix = hl_text_begins(c->root, "language_model.") ? "language_model." : "";
        if (emit_linear(c, &(struct linear){"head", prefix, &head, 1, a->width, false, TABLE, LOGITS, PICKED}) < 0)
            return -1;
    }
    if (a->logit_softcap > 0) {
        struct hl_op *cap = emit(c, HL_OP_SOFTCAP);
        cap->softcap.x = span(LOGITS, 0);
        cap->softcap.cols = a->vocabulary;
        cap->softcap.cap = a->logit_softcap;
    }
    return finish_embedding(c, gather, tied);
}

/* Returns the prefix of the tensors' names. A text model inside a model for text and images has a longer one, which
 * transformers 4.52 changed. */
static const char *find_root(const struct hl_source *source)
{
    static const char *const roots[] = {"language_model.model.", "model.language_model."};
    for (size_t i = 0; i < HL_COUNT(roots); i++) {
        char name[64];
        snprintf(name, sizeof name, "%sembed_tokens.weight", roots[i]);
        if (hl_source_find(source, name))
            return roots[i];
    }
    return "model.";
}

/* Fails if a tensor of a block is unused: it may be a bias that config.json does not mention, or belong to a block
 * beyond their number. Rope frequencies, which old files contain, follow from the configuration and are ignored. */
static int check_used(const struct compiler *c)
{
    static const char frequencies[] = ".rotary_emb.inv_freq";
    char blocks[64];
    size_t n = (size_t)snprintf(blocks, sizeof blocks, "%slayers.", c->root), end = strlen(frequencies);
    for (size_t i = 0; i < c->source->n_tensors; i++) {
        const struct hl_source_tensor *tensor = &c->source->tensors[i];
        size_t length = strlen(tensor->name);
        if (c->used[i] || strncmp(tensor->name, blocks, n) != 0 ||
            (length > end && strcmp(tensor->name + length - end, frequencies) == 0))
            continue;
        return hl_fail(c->err, "%s: tensor %.100s does not belong to the model that %s describes", tensor->file,
                       tensor->name, c->source->config_name);
    }
    return 0;
}

static int compile(struct compiler *c)
{
    const struct hl_arch *a = c->arch;
    struct hl_op *gather = emit(c, HL_OP_GATHER);
    gather->gather.out = span(HIDDEN, 0);
    c->root = find_root(c->source);
    c->two_ropes = has_two_ropes(a);
    if (emit_angles(c, "rope", &a->rope, ANGLES) < 0 ||
        (c->two_ropes && emit_angles(c, "sliding_rope", &a->sliding_rope, SLIDING_ANGLES) < 0))
        return -1;
    for (uint32_t block = 0; block < a->blocks; block++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%slayers.%u.", c->root, block);
        if (emit_attention(c, block, prefix) < 0 || emit_ffn(c, block, prefix) < 0)
            return -1;
    }
    return emit_head(c, gather) < 0 ? -1 : check_used(c);
}

static void set_buffers(const struct hl_arch *a, struct hl_plan *plan)
{
    const uint32_t cols[BUFFERS] = {
        [HIDDEN] = a->width,
        [NORMED] = a->width,
        [QKV] = (a->heads + 2 * a->kv_heads) * a->head_dim,
        [HEADS] = a->heads * a->head_dim,
        [FFN] = 2 * a->ffn,
        [DELTA] = a->width,
        [ANGLES] = a->head_dim,
        [SLIDING_ANGLES] = a->head_dim,
        [PICKED] = a->width,
        [LOGITS] = a->vocabulary,
    };
    for (uint32_t i = 0; i < BUFFERS; i++)
        plan->buffers[i] =
            (struct hl_buffer){cols[i], i == PICKED || i == LOGITS ? HL_DOMAIN_OUTPUTS : HL_DOMAIN_TOKENS};
    for (uint32_t i = 0; i < a->blocks; i++)
        plan->kvs[i] = (struct hl_kv){a->kv_heads, a->head_dim};
    plan->program = (struct hl_program){.n_buffers = has_two_ropes(a) ? BUFFERS : SLIDING_ANGLES,
                                        .n_kvs = a->blocks,
                                        .vocabulary = a->vocabulary,
                                        .context = a->context,
                                        .logits = LOGITS};
}

static struct hl_plan *new_plan(const struct hl_arch *a)
{
    struct hl_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->buffers = calloc(BUFFERS, sizeof *plan->buffers);
    plan->kvs = calloc(a->blocks, sizeof *plan->kvs);
    plan->ops = calloc(a->blocks * OPS_PER_BLOCK + OPS_OUTSIDE_BLOCKS, sizeof *plan->ops);
    plan->tensors = calloc(a->blocks * TENSORS_PER_BLOCK + TENSORS_OUTSIDE_BLOCKS, sizeof *plan->tensors);
    if (plan->buffers && plan->kvs && plan->ops && plan->tensors)
        return plan;
    hl_plan_free(plan);
    return NULL;
}

/* Returns a type of cache as precise as the weights. fp16 is enough for products of bf16 and int8. A model of float32
 * needs float32: fp16 keys alone cost 5e-4. */
static enum hl_kv_type suitable_kv(const struct hl_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].tensor.type == HL_TYPE_TILE_F32 || plan->tensors[i].tensor.type == HL_TYPE_TILE_F16)
            return HL_KV_F32;
    return HL_KV_F16;
}

const char *hl_quant_name(enum hl_quant quant)
{
    static const char *const names[] = {"keep", "bf16", "q8", "q4"};
    return names[quant];
}

/* Returns the user's own choice, or for the default a description of what was done. */
static const char *describe(const struct hl_plan *plan, enum hl_quant quant)
{
    bool kept = false, made = false;
    if (quant != HL_QUANT_DEFAULT)
        return hl_quant_name(quant);
    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        const struct hl_plan_tensor *tensor = &plan->tensors[i];
        for (uint32_t p = 0; p < tensor->n_parts && tensor->tensor.type != HL_TYPE_VECTOR; p++) {
            bool keeps = matrix_quant(quant, tensor->part[p]->dtype) == HL_QUANT_KEEP;
            kept = kept || keeps;
            made = made || !keeps;
        }
    }
    if (kept && made)
        return "keep+q4";
    return hl_quant_name(kept ? HL_QUANT_KEEP : HL_QUANT_Q4);
}

int hl_plan_build(const struct hl_source *source, const struct hl_arch *arch, enum hl_quant quant, struct hl_plan **out,
                  struct hl_error *err)
{
    struct hl_plan *plan = new_plan(arch);
    if (!plan)
        return hl_no_memory(err);
    set_buffers(arch, plan);
    HL_FREE bool *used = calloc(source->n_tensors + 1, sizeof *used);
    struct compiler c = {.source = source, .arch = arch, .quant = quant, .plan = plan, .used = used, .err = err};
    if ((used ? compile(&c) : hl_no_memory(err)) < 0) {
        hl_plan_free(plan);
        return -1;
    }
    plan->kv_type = suitable_kv(plan);
    plan->quantization = describe(plan, quant);
    *out = plan;
    return 0;
}

void hl_plan_free(struct hl_plan *plan)
{
    if (!plan)
        return;
    for (uint32_t i = 0; plan->tensors && i < plan->n_tensors; i++)
        free(plan->tensors[i].values);
    free(plan->buffers);
    free(plan->kvs);
    free(plan->ops);
    free(plan->tensors);
    free(plan);
}
