/* The output of `inspect` for a .hot file. Buffers are b0, b1, ...; b2[64] is buffer 2 from column 64 on. */
#include "pack/image/listing.h"
#include "base/cleanup.h"
#include "base/progress.h"
#include "base/text.h"
#include <inttypes.h>

static const char *tensor_name(const struct hl_program_view *program, uint32_t index)
{
    return program->tensors[index].name;
}

void hl_listing_op(const struct hl_program_view *program, const struct hl_op *op, char *out, size_t n)
{
    static const char *const activations[] = {"silu", "gelu_tanh"};
    int used = snprintf(out, n, "%-9s", hl_op_name(op->kind));
    if (used < 0 || (size_t)used >= n)
        return;
    out += used;
    n -= (size_t)used;
#define SPAN(s) (s).buffer, (s).column
    switch ((enum hl_op_kind)op->kind) {
    case HL_OP_ANGLES:
        snprintf(out, n, "b%u[%u] = positions * %s", SPAN(op->angles.out),
                 tensor_name(program, op->angles.frequencies));
        break;
    case HL_OP_GATHER:
        snprintf(out, n, "b%u[%u] = %g * %s[tokens]", SPAN(op->gather.out), (double)op->gather.scale,
                 tensor_name(program, op->gather.table));
        break;
    case HL_OP_NORM:
        snprintf(out, n, "b%u[%u] = norm(b%u[%u], %u x %u, eps %g) * %s", SPAN(op->norm.out), SPAN(op->norm.in),
                 op->norm.groups, op->norm.cols, (double)op->norm.eps, tensor_name(program, op->norm.weight));
        break;
    case HL_OP_LINEAR:
        snprintf(out, n, "b%u[%u] = %s b%u[%u]%s%s", SPAN(op->linear.out), tensor_name(program, op->linear.weight),
                 SPAN(op->linear.in), op->linear.bias == HL_NONE ? "" : " + ",
                 op->linear.bias == HL_NONE ? "" : tensor_name(program, op->linear.bias));
        break;
    case HL_OP_ROPE:
        snprintf(out, n, "b%u[%u] by b%u[%u], %u heads of %u, %u turn", SPAN(op->rope.x), SPAN(op->rope.angles),
                 op->rope.heads, op->rope.head_dim, op->rope.rotated);
        break;
    case HL_OP_KV_WRITE:
        snprintf(out, n, "kv%u <- b%u[%u], b%u[%u]", op->kv_write.kv, SPAN(op->kv_write.k), SPAN(op->kv_write.v));
        break;
    case HL_OP_ATTEND:
        snprintf(out, n, "b%u[%u] = attend(b%u[%u], kv%u), %u heads, scale %g, window %u, softcap %g",
                 SPAN(op->attend.out), SPAN(op->attend.q), op->attend.kv, op->attend.heads, (double)op->attend.scale,
                 op->attend.window, (double)op->attend.softcap);
        break;
    case HL_OP_GATE:
        snprintf(out, n, "b%u[%u] = %s(b%u[%u]) * b%u[%u], %u columns", SPAN(op->gate.out),
                 activations[op->gate.activation], SPAN(op->gate.gate), SPAN(op->gate.up), op->gate.cols);
        break;
    case HL_OP_ADD:
        snprintf(out, n, "b%u[%u] += b%u[%u], %u columns", SPAN(op->add.out), SPAN(op->add.in), op->add.cols);
        break;
    case HL_OP_PICK:
        snprintf(out, n, "b%u[%u] = b%u[%u] of the tokens whose logits are wanted, %u columns", SPAN(op->pick.out),
                 SPAN(op->pick.in), op->pick.cols);
        break;
    case HL_OP_SOFTCAP:
        snprintf(out, n, "b%u[%u] = %g tanh(x / %g), %u columns", SPAN(op->softcap.x), (double)op->softcap.cap,
                 (double)op->softcap.cap, op->softcap.cols);
        break;
    case HL_OP_COUNT:
        break;
    }
#undef SPAN
}

/* Prints the meta section; it is JSON from an untrusted file. */
static void print_meta(const struct hl_hot *hot, FILE *out)
{
    cJSON *meta = cJSON_ParseWithLength(hot->meta, hot->meta_bytes);
    const cJSON *item;
    cJSON_ArrayForEach(item, meta)
    {
        HL_FREE char *text = cJSON_PrintUnformatted(item);
        if (text)
            fprintf(out, "  %-14s %.200s%s\n", item->string ? hl_text_clean(item->string) : "", hl_text_clean(text),
                    strlen(text) > 200 ? "..." : "");
    }
    cJSON_Delete(meta);
}

void hl_listing_text(const struct hl_hot *hot, bool all, FILE *out)
{
    const struct hl_header *header = hot->header;
    const struct hl_program *program = hot->program.head;
    char size[24];
    fprintf(out, "%s: .hot format %u\n\nmodel\n", hot->path, header->version);
    print_meta(hot, out);
    fprintf(out, "\nsections of the head (%s)\n", hl_text_bytes(header->head_bytes, size));
    for (int i = 0; i < HL_SECTION_COUNT; i++)
        fprintf(out, "  %-14s offset %-10" PRIu64 " %-10s crc32c %08x\n", hl_section_name(i), header->section[i].offset,
                hl_text_bytes(header->section[i].bytes, size), header->section[i].crc32c);
    fprintf(out, "\nweights (%s)\n", hl_text_bytes(header->weight_bytes, size));
    for (uint32_t i = 0; i < header->n_shards; i++)
        fprintf(out, "  shard %-8u offset %-10" PRIu64 " %-10s crc32c %08x\n", i + 1, header->shard[i].offset,
                hl_text_bytes(header->shard[i].bytes, size), header->shard[i].crc32c);
    fprintf(out, "\nprogram: %u operations, %u buffers, %u key/value caches, vocabulary %u, context %u\n",
            program->n_ops, program->n_buffers, program->n_kvs, program->vocabulary, program->context);
    for (uint32_t i = 0; all && i < program->n_ops; i++) {
        char line[256];
        hl_listing_op(&hot->program, &hot->program.ops[i], line, sizeof line);
        fprintf(out, "  %4u  %s\n", i, line);
    }
    fprintf(out, "\ntensors: %u\n", header->n_tensors);
    for (uint32_t i = 0; all && i < header->n_tensors; i++) {
        const struct hl_tensor *t = &hot->program.tensors[i];
        fprintf(out, "  %4u  %-28s %-10s %7u x %-7u offset %-12" PRIu64 " %s\n", i, t->name,
                hl_type_traits[t->type].name, t->rows, t->cols, t->offset, hl_text_bytes(t->bytes, size));
    }
}

static void json_sections(const struct hl_hot *hot, cJSON *json)
{
    const struct hl_header *header = hot->header;
    cJSON *sections = cJSON_AddArrayToObject(json, "sections"), *shards = cJSON_AddArrayToObject(json, "shards");
    for (int i = 0; i < HL_SECTION_COUNT; i++) {
        cJSON *section = cJSON_CreateObject();
        cJSON_AddStringToObject(section, "name", hl_section_name(i));
        cJSON_AddNumberToObject(section, "offset", (double)header->section[i].offset);
        cJSON_AddNumberToObject(section, "bytes", (double)header->section[i].bytes);
        cJSON_AddNumberToObject(section, "crc32c", header->section[i].crc32c);
        cJSON_AddItemToArray(sections, section);
    }
    for (uint32_t i = 0; i < header->n_shards; i++) {
        cJSON *shard = cJSON_CreateObject();
        cJSON_AddNumberToObject(shard, "offset", (double)header->shard[i].offset);
        cJSON_AddNumberToObject(shard, "bytes", (double)header->shard[i].bytes);
        cJSON_AddNumberToObject(shard, "crc32c", header->shard[i].crc32c);
        cJSON_AddItemToArray(shards, shard);
    }
}

static void json_program(const struct hl_hot *hot, cJSON *json)
{
    cJSON *ops = cJSON_AddArrayToObject(json, "program"), *tensors = cJSON_AddArrayToObject(json, "tensors");
    for (uint32_t i = 0; i < hot->program.head->n_ops; i++) {
        char line[256];
        hl_listing_op(&hot->program, &hot->program.ops[i], line, sizeof line);
        cJSON_AddItemToArray(ops, cJSON_CreateString(line));
    }
    for (uint32_t i = 0; i < hot->header->n_tensors; i++) {
        const struct hl_tensor *t = &hot->program.tensors[i];
        cJSON *tensor = cJSON_CreateObject();
        cJSON_AddStringToObject(tensor, "name", t->name);
        cJSON_AddStringToObject(tensor, "type", hl_type_traits[t->type].name);
        cJSON_AddNumberToObject(tensor, "rows", t->rows);
        cJSON_AddNumberToObject(tensor, "cols", t->cols);
        cJSON_AddNumberToObject(tensor, "offset", (double)t->offset);
        cJSON_AddNumberToObject(tensor, "bytes", (double)t->bytes);
        cJSON_AddItemToArray(tensors, tensor);
    }
}

cJSON *hl_listing_json(const struct hl_hot *hot)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "format", hot->header->version);
    cJSON_AddItemToObject(json, "meta", cJSON_ParseWithLength(hot->meta, hot->meta_bytes));
    cJSON_AddNumberToObject(json, "head_bytes", (double)hot->header->head_bytes);
    cJSON_AddNumberToObject(json, "weight_bytes", (double)hot->header->weight_bytes);
    cJSON_AddNumberToObject(json, "vocabulary", hot->program.head->vocabulary);
    json_sections(hot, json);
    json_program(hot, json);
    return json;
}
