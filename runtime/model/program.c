/* Programs are untrusted input: they are checked here, once, so that devices may trust them.
 *
 * The rule: every span lies inside its buffer, every index of a tensor, buffer or cache inside its table, shapes fit
 * each other, and an operation's output overlaps its input only if the operation works in place. */
#include "base/sizes.h"
#include "runtime/model/hot.h"
#include <inttypes.h>

static const char *const op_names[HL_OP_COUNT] = {
    [HL_OP_ANGLES] = "angles", [HL_OP_GATHER] = "gather",     [HL_OP_NORM] = "norm",       [HL_OP_LINEAR] = "linear",
    [HL_OP_ROPE] = "rope",     [HL_OP_KV_WRITE] = "kv_write", [HL_OP_ATTEND] = "attend",   [HL_OP_GATE] = "gate",
    [HL_OP_ADD] = "add",       [HL_OP_PICK] = "pick",         [HL_OP_SOFTCAP] = "softcap",
};

const char *hl_op_name(uint32_t kind)
{
    return kind < HL_OP_COUNT ? op_names[kind] : "unknown";
}

int hl_program_open(const void *section, uint64_t bytes, const struct hl_tensor *tensors, uint32_t n_tensors,
                    struct hl_program_view *out, struct hl_error *err)
{
    const struct hl_program *head = section;
    if (bytes < sizeof *head)
        return hl_fail(err, "program: %" PRIu64 " bytes are too few for its header of %zu", bytes, sizeof *head);
    if (head->n_buffers == 0 || head->n_buffers > HL_PROGRAM_MAX_BUFFERS)
        return hl_fail(err, "program: n_buffers is %u, it must be 1 to %u", head->n_buffers, HL_PROGRAM_MAX_BUFFERS);
    if (head->n_kvs > HL_PROGRAM_MAX_KVS)
        return hl_fail(err, "program: n_kvs is %u, it must be at most %u", head->n_kvs, HL_PROGRAM_MAX_KVS);
    if (head->n_ops == 0 || head->n_ops > HL_PROGRAM_MAX_OPS)
        return hl_fail(err, "program: n_ops is %u, it must be 1 to %u", head->n_ops, HL_PROGRAM_MAX_OPS);
    uint64_t need = sizeof *head + head->n_buffers * sizeof(struct hl_buffer) + head->n_kvs * sizeof(struct hl_kv) +
                    head->n_ops * sizeof(struct hl_op);
    if (need != bytes)
        return hl_fail(err, "program: the section has %" PRIu64 " bytes, its counts need %" PRIu64, bytes, need);
    *out = (struct hl_program_view){.head = head, .tensors = tensors, .n_tensors = n_tensors};
    out->buffers = (const struct hl_buffer *)(head + 1);
    out->kvs = (const struct hl_kv *)(out->buffers + head->n_buffers);
    out->ops = (const struct hl_op *)(const void *)(out->kvs + head->n_kvs);
    return 0;
}

/* Returns whether a name is printable ASCII (it appears in messages and listings), padded with zeros. */
static bool is_name(const char name[HL_NAME_BYTES])
{
    size_t n = strnlen(name, HL_NAME_BYTES);
    bool good = n > 0 && n < HL_NAME_BYTES;
    for (size_t i = 0; i < HL_NAME_BYTES; i++)
        good = good && (i < n ? name[i] > ' ' && name[i] <= '~' : name[i] == 0);
    return good;
}

static int check_tensor(const struct hl_tensor *tensor, uint32_t index, uint64_t weight_bytes, struct hl_error *err)
{
    uint64_t bytes;
    if (!is_name(tensor->name))
        return hl_fail(err, "tensor %u: name is not printable ASCII of 1 to %u characters, padded with zeros", index,
                       HL_NAME_BYTES - 1);
    if (tensor->type >= HL_TYPE_COUNT)
        return hl_fail(err, "tensor %u (%s): type %u is unknown", index, tensor->name, tensor->type);
    if (tensor->reserved)
        return hl_fail(err, "tensor %u (%s): reserved is not zero", index, tensor->name);
    if (tensor->rows == 0 || tensor->rows > HL_PROGRAM_MAX_COLS || tensor->cols == 0 ||
        tensor->cols > HL_PROGRAM_MAX_COLS)
        return hl_fail(err, "tensor %u (%s): shape %u x %u is out of range", index, tensor->name, tensor->rows,
                       tensor->cols);
    if (!hl_tensor_bytes(tensor->type, tensor->rows, tensor->cols, &bytes) || bytes != tensor->bytes)
        return hl_fail(err, "tensor %u (%s): bytes is %" PRIu64 ", its shape says otherwise", index, tensor->name,
                       tensor->bytes);
    if (tensor->offset % HL_PAGE_BYTES || !hl_in_range(tensor->offset, tensor->bytes, weight_bytes))
        return hl_fail(err, "tensor %u (%s): offset %" PRIu64 " is not a page inside the weights of %" PRIu64 " bytes",
                       index, tensor->name, tensor->offset, weight_bytes);
    return 0;
}

/* The operation under check, for messages. */
struct checker {
    const struct hl_program_view *program;
    const struct hl_op *op;
    uint32_t index;
    struct hl_error *err;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct checker *c, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hl_fail(c->err, "program: operation %u (%s): %s", c->index, hl_op_name(c->op->kind), text);
}

static int check_span(const struct checker *c, const char *field, struct hl_span span, uint64_t cols, uint32_t domain)
{
    if (span.buffer >= c->program->head->n_buffers)
        return bad(c, "%s names buffer %u of %u", field, span.buffer, c->program->head->n_buffers);
    const struct hl_buffer *buffer = &c->program->buffers[span.buffer];
    if (!hl_in_range(span.column, cols, buffer->cols))
        return bad(c, "%s takes columns %u to %" PRIu64 " of buffer %u, which has %u", field, span.column,
                   span.column + cols, span.buffer, buffer->cols);
    if (buffer->domain != domain)
        return bad(c, "%s is in the wrong domain", field);
    return 0;
}

static uint32_t domain_of(const struct checker *c, struct hl_span span)
{
    return span.buffer < c->program->head->n_buffers ? c->program->buffers[span.buffer].domain : HL_DOMAIN_TOKENS;
}

static bool overlap(struct hl_span a, uint64_t a_cols, struct hl_span b, uint64_t b_cols)
{
    return a.buffer == b.buffer && a.column < b.column + b_cols && b.column < a.column + a_cols;
}

static bool same(struct hl_span a, struct hl_span b)
{
    return a.buffer == b.buffer && a.column == b.column;
}

/* Looks up a tensor; it must be tiled or, with `tiled` false, a vector of one row. */
static const struct hl_tensor *find(const struct checker *c, const char *field, uint32_t index, bool tiled)
{
    if (index >= c->program->n_tensors) {
        bad(c, "%s names tensor %u of %u", field, index, c->program->n_tensors);
        return NULL;
    }
    const struct hl_tensor *tensor = &c->program->tensors[index];
    if (tiled != (tensor->type != HL_TYPE_VECTOR)) {
        bad(c, "%s names tensor %s, which is %s", field, tensor->name, tiled ? "a vector" : "not a vector");
        return NULL;
    }
    if (!tiled && tensor->rows != 1) {
        bad(c, "%s names tensor %s, which has %u rows instead of 1", field, tensor->name, tensor->rows);
        return NULL;
    }
    return tensor;
}

static int check_angles(const struct checker *c)
{
    const struct hl_tensor *f = find(c, "frequencies", c->op->angles.frequencies, false);
    return f ? check_span(c, "out", c->op->angles.out, 2 * (uint64_t)f->cols, HL_DOMAIN_TOKENS) : -1;
}

static int check_gather(const struct checker *c)
{
    const struct hl_tensor *table = find(c, "table", c->op->gather.table, true);
    if (!table)
        return -1;
    if (table->rows < c->program->head->vocabulary)
        return bad(c, "table %s has %u rows for a vocabulary of %u", table->name, table->rows,
                   c->program->head->vocabulary);
    return check_span(c, "out", c->op->gather.out, table->cols, HL_DOMAIN_TOKENS);
}

static int check_norm(const struct checker *c)
{
    const struct hl_tensor *weight = find(c, "weight", c->op->norm.weight, false);
    if (!weight)
        return -1;
    uint64_t cols = (uint64_t)c->op->norm.groups * c->op->norm.cols;
    if (c->op->norm.cols == 0 || c->op->norm.cols != weight->cols)
        return bad(c, "cols is %u, weight %s has %u", c->op->norm.cols, weight->name, weight->cols);
    if (check_span(c, "out", c->op->norm.out, cols, domain_of(c, c->op->norm.in)) < 0 ||
        check_span(c, "in", c->op->norm.in, cols, domain_of(c, c->op->norm.out)) < 0)
        return -1;
    if (overlap(c->op->norm.out, cols, c->op->norm.in, cols) && !same(c->op->norm.out, c->op->norm.in))
        return bad(c, "out overlaps in");
    return 0;
}

static int check_linear(const struct checker *c)
{
    const struct hl_tensor *weight = find(c, "weight", c->op->linear.weight, true);
    if (!weight)
        return -1;
    if (c->op->linear.bias != HL_NONE) {
        const struct hl_tensor *bias = find(c, "bias", c->op->linear.bias, false);
        if (!bias)
            return -1;
        if (bias->cols != weight->rows)
            return bad(c, "bias %s has %u values, weight %s has %u rows", bias->name, bias->cols, weight->name,
                       weight->rows);
    }
    if (check_span(c, "out", c->op->linear.out, weight->rows, domain_of(c, c->op->linear.in)) < 0 ||
        check_span(c, "in", c->op->linear.in, weight->cols, domain_of(c, c->op->linear.out)) < 0)
        return -1;
    if (overlap(c->op->linear.out, weight->rows, c->op->linear.in, weight->cols))
        return bad(c, "out overlaps in");
    return 0;
}

static int check_heads(const struct checker *c, uint32_t heads, uint32_t head_dim)
{
    if (heads == 0 || heads > HL_PROGRAM_MAX_HEADS)
        return bad(c, "heads is %u, it must be 1 to %u", heads, HL_PROGRAM_MAX_HEADS);
    if (head_dim == 0 || head_dim > HL_PROGRAM_MAX_HEAD_DIM)
        return bad(c, "head_dim is %u, it must be 1 to %u", head_dim, HL_PROGRAM_MAX_HEAD_DIM);
    return 0;
}

static int check_rope(const struct checker *c)
{
    uint64_t cols = (uint64_t)c->op->rope.heads * c->op->rope.head_dim;
    if (check_heads(c, c->op->rope.heads, c->op->rope.head_dim) < 0)
        return -1;
    if (c->op->rope.rotated == 0 || c->op->rope.rotated % 2 || c->op->rope.rotated > c->op->rope.head_dim)
        return bad(c, "rotated is %u of a head_dim of %u", c->op->rope.rotated, c->op->rope.head_dim);
    if (check_span(c, "x", c->op->rope.x, cols, HL_DOMAIN_TOKENS) < 0 ||
        check_span(c, "angles", c->op->rope.angles, c->op->rope.rotated, HL_DOMAIN_TOKENS) < 0)
        return -1;
    if (overlap(c->op->rope.x, cols, c->op->rope.angles, c->op->rope.rotated))
        return bad(c, "x overlaps angles");
    return 0;
}

static const struct hl_kv *find_kv(const struct checker *c, uint32_t kv)
{
    if (kv < c->program->head->n_kvs)
        return &c->program->kvs[kv];
    bad(c, "kv is %u of %u", kv, c->program->head->n_kvs);
    return NULL;
}

static int check_kv_write(const struct checker *c)
{
    const struct hl_kv *kv = find_kv(c, c->op->kv_write.kv);
    if (!kv)
        return -1;
    uint64_t cols = (uint64_t)kv->heads * kv->head_dim;
    if (check_span(c, "k", c->op->kv_write.k, cols, HL_DOMAIN_TOKENS) < 0)
        return -1;
    return check_span(c, "v", c->op->kv_write.v, cols, HL_DOMAIN_TOKENS);
}

static int check_attend(const struct checker *c)
{
    const struct hl_kv *kv = find_kv(c, c->op->attend.kv);
    if (!kv || check_heads(c, c->op->attend.heads, kv->head_dim) < 0)
        return -1;
    if (c->op->attend.heads % kv->heads)
        return bad(c, "heads is %u, not a multiple of the kv's %u", c->op->attend.heads, kv->heads);
    uint64_t cols = (uint64_t)c->op->attend.heads * kv->head_dim;
    if (check_span(c, "out", c->op->attend.out, cols, HL_DOMAIN_TOKENS) < 0 ||
        check_span(c, "q", c->op->attend.q, cols, HL_DOMAIN_TOKENS) < 0)
        return -1;
    if (overlap(c->op->attend.out, cols, c->op->attend.q, cols))
        return bad(c, "out overlaps q");
    return 0;
}

/* Checks an elementwise operation: it may work in place, but its output may not be a shifted input. */
static int check_elementwise(const struct checker *c, const char *field, struct hl_span out, struct hl_span in,
                             uint64_t cols)
{
    if (check_span(c, "out", out, cols, domain_of(c, in)) < 0 || check_span(c, field, in, cols, domain_of(c, out)) < 0)
        return -1;
    if (overlap(out, cols, in, cols) && !same(out, in))
        return bad(c, "out overlaps %s", field);
    return 0;
}

static int check_gate(const struct checker *c)
{
    if (c->op->gate.activation >= HL_ACTIVATION_COUNT)
        return bad(c, "activation %u is unknown", c->op->gate.activation);
    if (check_elementwise(c, "gate", c->op->gate.out, c->op->gate.gate, c->op->gate.cols) < 0)
        return -1;
    return check_elementwise(c, "up", c->op->gate.out, c->op->gate.up, c->op->gate.cols);
}

static int check_pick(const struct checker *c)
{
    if (check_span(c, "out", c->op->pick.out, c->op->pick.cols, HL_DOMAIN_OUTPUTS) < 0)
        return -1;
    return check_span(c, "in", c->op->pick.in, c->op->pick.cols, HL_DOMAIN_TOKENS);
}

static int check_op(const struct checker *c)
{
    switch (c->op->kind) {
    case HL_OP_ANGLES:
        return check_angles(c);
    case HL_OP_GATHER:
        return check_gather(c);
    case HL_OP_NORM:
        return check_norm(c);
    case HL_OP_LINEAR:
        return check_linear(c);
    case HL_OP_ROPE:
        return check_rope(c);
    case HL_OP_KV_WRITE:
        return check_kv_write(c);
    case HL_OP_ATTEND:
        return check_attend(c);
    case HL_OP_GATE:
        return check_gate(c);
    case HL_OP_ADD:
        return check_elementwise(c, "in", c->op->add.out, c->op->add.in, c->op->add.cols);
    case HL_OP_PICK:
        return check_pick(c);
    case HL_OP_SOFTCAP:
        return check_span(c, "x", c->op->softcap.x, c->op->softcap.cols, domain_of(c, c->op->softcap.x));
    default:
        return bad(c, "kind %u is unknown", c->op->kind);
    }
}

static int check_tables(const struct hl_program_view *program, struct hl_error *err)
{
    const struct hl_program *head = program->head;
    for (size_t i = 0; i < HL_COUNT(head->reserved); i++)
        if (head->reserved[i])
            return hl_fail(err, "program: reserved is not zero");
    if (head->vocabulary == 0 || head->vocabulary > HL_PROGRAM_MAX_COLS)
        return hl_fail(err, "program: vocabulary is %u, it must be 1 to %u", head->vocabulary, HL_PROGRAM_MAX_COLS);
    if (head->context == 0 || head->context > HL_PROGRAM_MAX_CONTEXT)
        return hl_fail(err, "program: context is %u, it must be 1 to %u", head->context, HL_PROGRAM_MAX_CONTEXT);
    for (uint32_t i = 0; i < head->n_buffers; i++) {
        const struct hl_buffer *buffer = &program->buffers[i];
        if (buffer->cols == 0 || buffer->cols > HL_PROGRAM_MAX_COLS || buffer->domain > HL_DOMAIN_OUTPUTS)
            return hl_fail(err, "program: buffer %u has %u columns in domain %u", i, buffer->cols, buffer->domain);
    }
    for (uint32_t i = 0; i < head->n_kvs; i++) {
        const struct hl_kv *kv = &program->kvs[i];
        if (kv->heads == 0 || kv->heads > HL_PROGRAM_MAX_HEADS || kv->head_dim == 0 ||
            kv->head_dim > HL_PROGRAM_MAX_HEAD_DIM)
            return hl_fail(err, "program: kv %u has %u heads of %u", i, kv->heads, kv->head_dim);
    }
    if (head->logits >= head->n_buffers || program->buffers[head->logits].domain != HL_DOMAIN_OUTPUTS ||
        program->buffers[head->logits].cols != head->vocabulary)
        return hl_fail(err, "program: logits is buffer %u, which does not hold a vocabulary of %u", head->logits,
                       head->vocabulary);
    return 0;
}

int hl_program_check(const struct hl_program_view *program, uint64_t weight_bytes, struct hl_error *err)
{
    if (check_tables(program, err) < 0)
        return -1;
    uint64_t end = 0;
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const struct hl_tensor *tensor = &program->tensors[i];
        if (check_tensor(tensor, i, weight_bytes, err) < 0)
            return -1;
        if (tensor->offset < end)
            return hl_fail(err, "tensor %u (%s): offset %" PRIu64 " is not after the tensor before", i, tensor->name,
                           tensor->offset);
        end = tensor->offset + tensor->bytes;
    }
    for (uint32_t i = 0; i < program->head->n_ops; i++) {
        struct checker c = {.program = program, .op = &program->ops[i], .index = i, .err = err};
        if (check_op(&c) < 0)
            return -1;
    }
    return 0;
}
