/* The writer: a plan becomes files. All sizes and offsets are known before the first byte is converted. First tensors
 * get their places and shards their ends. Then the weights are written (pack/convert/weights.h). The head is written
 * last, when the checksums are known.
 */
#include "pack/convert/writer.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "hotlayer/crc32c.h"
#include "pack/convert/output.h"
#include "pack/convert/weights.h"
#include "runtime/model/hot.h"

/* ---- placing ---- */

struct placer {
    struct hl_header *header;
    uint64_t limit; /* bytes of a shard */
    uint64_t cut;   /* bytes of a piece of a tensor larger than a shard */
    struct hl_error *err;
};

/* Begins a shard at the next aligned offset. */
static struct hl_shard *next_shard(struct placer *p)
{
    struct hl_header *h = p->header;
    uint64_t end = h->n_shards ? h->shard[h->n_shards - 1].offset + h->shard[h->n_shards - 1].bytes : 0;
    if (h->n_shards == HL_MAX_SHARDS) {
        hl_fail(p->err, "the model needs more than %u shards of %llu MiB; choose a larger --shard-size", HL_MAX_SHARDS,
                (unsigned long long)(p->limit >> 20));
        return NULL;
    }
    h->shard[h->n_shards].offset = hl_round_up(end, HL_SHARD_ALIGN);
    return &h->shard[h->n_shards++];
}

static int place_tensor(struct placer *p, struct hl_tensor *tensor)
{
    struct hl_shard *shard = p->header->n_shards ? &p->header->shard[p->header->n_shards - 1] : NULL;
    uint64_t bytes = hl_round_up(tensor->bytes, HL_PAGE_BYTES);
    if ((!shard || (shard->bytes && shard->bytes + bytes > p->limit)) && !(shard = next_shard(p)))
        return -1;
    tensor->offset = shard->offset + shard->bytes;
    while (bytes > p->limit && bytes > p->cut) {
        bytes -= p->cut;
        shard->bytes = p->cut;
        if (!(shard = next_shard(p)))
            return -1;
    }
    shard->bytes += bytes;
    return 0;
}

int hl_writer_place(struct hl_plan *plan, uint64_t shard_bytes, struct hl_header *header, struct hl_error *err)
{
    struct placer p = {.header = header, .limit = shard_bytes, .cut = HL_SHARD_ALIGN, .err = err};
    if (shard_bytes < HL_PAGE_BYTES || shard_bytes > HL_SHARD_LIMIT)
        return hl_fail_as(err, HL_ERROR_USAGE, "--shard-size must be 4 KiB to 2 GiB");
    if (shard_bytes > HL_SHARD_ALIGN)
        p.cut = shard_bytes / HL_SHARD_ALIGN * HL_SHARD_ALIGN;
    for (uint32_t i = 0; i < plan->n_tensors; i++)
        if (place_tensor(&p, &plan->tensors[i].tensor) < 0)
            return -1;
    const struct hl_shard *last = &header->shard[header->n_shards - 1];
    header->weight_bytes = last->offset + last->bytes;
    header->n_tensors = plan->n_tensors;
    return 0;
}

/* ---- head ---- */

/* Appends a section to the head file, on the next page. */
static int write_section(const struct hl_output *out, struct hl_header *header, enum hl_section_id id,
                         const struct hl_view *pieces, size_t n, struct hl_error *err)
{
    static const uint8_t zeros[HL_PAGE_BYTES];
    struct hl_section *section = &header->section[id];
    section->offset = header->head_bytes;
    for (size_t i = 0; i < n; i++) {
        if (hl_output_write(out, section->offset + section->bytes, pieces[i].data, pieces[i].size, err) < 0)
            return -1;
        section->crc32c = hl_crc32c(section->crc32c, pieces[i].data, pieces[i].size);
        section->bytes += pieces[i].size;
    }
    uint64_t padded = hl_round_up(section->bytes, HL_PAGE_BYTES);
    header->head_bytes += padded;
    return hl_output_write(out, section->offset + section->bytes, zeros, (size_t)(padded - section->bytes), err);
}

static int write_head(const struct hl_write *write, struct hl_header *header, const struct hl_output *out,
                      struct hl_error *err)
{
    const struct hl_plan *plan = write->plan;
    HL_FREE struct hl_tensor *tensors = calloc(plan->n_tensors, sizeof *tensors);
    if (!tensors)
        return hl_no_memory(err);
    for (uint32_t i = 0; i < plan->n_tensors; i++)
        tensors[i] = plan->tensors[i].tensor;
    const struct hl_view program[] = {
        {(const uint8_t *)&plan->program, sizeof plan->program},
        {(const uint8_t *)plan->buffers, plan->program.n_buffers * sizeof *plan->buffers},
        {(const uint8_t *)plan->kvs, plan->program.n_kvs * sizeof *plan->kvs},
        {(const uint8_t *)plan->ops, plan->program.n_ops * sizeof *plan->ops},
    };
    const struct hl_view table = {(const uint8_t *)tensors, plan->n_tensors * sizeof *tensors};
    memcpy(header->magic, HL_HEADER_MAGIC, sizeof header->magic);
    header->version = HL_FORMAT_VERSION;
    header->head_bytes = sizeof *header;
    if (write_section(out, header, HL_SECTION_META, &write->meta, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_PROGRAM, program, 4, err) < 0 ||
        write_section(out, header, HL_SECTION_TENSORS, &table, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_TOKENIZER, &write->tokenizer, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_TEMPLATE, &write->template, 1, err) < 0)
        return -1;
    header->crc32c = hl_crc32c(0, header, sizeof *header);
    return hl_output_write(out, 0, header, sizeof *header, err);
}

/* ---- all of it ---- */

static int write_files(const struct hl_write *write, struct hl_header *header, struct hl_output *outputs,
                       struct hl_error *err)
{
    if (hl_output_open(write->path, HL_NONE, &outputs[header->n_shards], err) < 0)
        return -1;
    for (uint32_t i = 0; i < header->n_shards; i++)
        if (hl_output_open(write->path, i, &outputs[i], err) < 0)
            return -1;
    const struct hl_weights weights = {
        .plan = write->plan, .threads = write->threads, .losses = write->losses, .progress = write->progress};
    if (hl_weights_write(&weights, header, outputs, err) < 0 ||
        write_head(write, header, &outputs[header->n_shards], err) < 0)
        return -1;
    return hl_output_finish(outputs, header->n_shards, err);
}

int hl_writer_write(const struct hl_write *write, struct hl_written *out, struct hl_error *err)
{
    HL_FREE struct hl_header *header = calloc(1, sizeof *header);
    if (!header)
        return hl_no_memory(err);
    if (hl_writer_place(write->plan, write->shard_bytes, header, err) < 0)
        return -1;
    HL_FREE struct hl_output *outputs = calloc(header->n_shards + 1, sizeof *outputs);
    if (!outputs)
        return hl_no_memory(err);
    for (uint32_t i = 0; i <= header->n_shards; i++)
        outputs[i].fd = -1;
    hl_progress_begin(write->progress, "packing", header->weight_bytes);
    int result = write_files(write, header, outputs, err);
    hl_output_close(outputs, header->n_shards + 1, result < 0);
    if (result < 0) {
        hl_progress_clear(write->progress);
        return -1;
    }
    hl_progress_end(write->progress);
    *out = (struct hl_written){header->head_bytes, header->weight_bytes, header->n_shards};
    return 0;
}
