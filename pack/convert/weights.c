/* Weights: from the source to the shards.
 *
 *   source (mapped) --encode--> window of 2 MiB --crc32c--> its place in MODEL.hot.NNN.part
 *
 * A thread takes the next window of a shard and fills it: with strips of tiles, vectors, and the zeros between them. It
 * computes the window's checksum, writes it, and takes the next one. No thread waits for another: while one is writing
 * in the kernel, the others convert. A shard's checksum is combined from its windows' checksums in any order, so the
 * result does not depend on which thread took which window. A strip that crosses an edge is converted twice, once for
 * each window.
 *
 * Windows are written whole, at multiples of their size, so the kernel keeps each in one piece in the page cache. Then
 * the next start maps it with one entry of 2 MiB instead of 512 (runtime/engine/load.c). Writing each strip alone, in
 * pieces of a few hundred KiB, was tried and dropped: the first token took much longer (docs/performance.md,
 * "Loading").
 *
 * Converted parts of the source are dropped from memory, so memory does not grow with the model.
 */
#include "pack/convert/weights.h"
#include "base/cleanup.h"
#include "base/team.h"
#include "hotlayer/crc32c.h"
#include "pack/convert/tiles.h"
#include "pack/source/blocks.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define WINDOW_BYTES (2u << 20)

static_assert(HL_SHARD_ALIGN % WINDOW_BYTES == 0, "windows of the file are windows of the mapping");

struct work {
    const struct hl_weights *weights;
    struct hl_header *header;
    const struct hl_output *outputs; /* [n_shards] */
    uint64_t *first_window;          /* [n_shards + 1] */
    size_t strip_bytes, row_floats;  /* of the largest strip and row */
    _Atomic uint32_t *sums;          /* [n_shards] */
    uint64_t *first_strip;           /* [n_tensors + 1] */
    struct hl_loss *losses;          /* of all strips, or NULL */
    _Atomic uint64_t next;           /* the next window to write */
    _Atomic uint64_t failed;         /* the first window that failed; `err` is its error */
    pthread_mutex_t lock;            /* protects `err` */
    struct hl_error *err;
};

/* A thread's buffers. */
struct scratch {
    uint8_t *window; /* [WINDOW_BYTES] */
    uint8_t *strip;  /* [strip_bytes] */
    float *row;      /* [row_floats] */
};

/* The bytes [begin, end) of a tensor, and their destination. */
struct part {
    const struct hl_plan_tensor *tensor;
    uint64_t begin, end;
    uint8_t *to;
};

/* Drops rows [first, last) of the source from memory: they are not needed again, and the file still has them. */
static void drop_rows(const struct hl_plan_tensor *tensor, uint64_t first, uint64_t last)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uint64_t base = 0;
    for (uint32_t i = 0; i < tensor->n_parts; base += tensor->part[i++]->shape[0]) {
        const struct hl_source_tensor *part = tensor->part[i];
        uint64_t row_bytes = part->bytes / part->shape[0];
        uint64_t from = first > base ? first - base : 0, to = last > base ? last - base : 0;
        to = to < part->shape[0] ? to : part->shape[0];
        if (from >= to)
            continue;
        uintptr_t begin = (uintptr_t)part->data + from * row_bytes, end = (uintptr_t)part->data + to * row_bytes;
        begin = begin / page * page;
        end = end / page * page;
        if (begin < end)
            madvise((void *)begin, end - begin, MADV_DONTNEED); /* only advice */
    }
}

/* Fills a part with tiles. A strip that crosses the part's edges is converted in the scratch buffer and copied. */
static int fill_tiles(struct work *work, uint32_t index, const struct part *part, const struct scratch *scratch,
                      struct hl_error *err)
{
    const struct hl_tensor *tensor = &part->tensor->tensor;
    uint64_t bytes = hl_strip_bytes(tensor->type, tensor->cols), first = part->begin / bytes;
    uint32_t strip = (uint32_t)first;
    for (uint64_t at = first * bytes; at < part->end; at += bytes, strip++) {
        uint64_t from = at < part->begin ? part->begin : at, to = at + bytes < part->end ? at + bytes : part->end;
        bool whole = to - from == bytes;
        uint8_t *out = whole ? part->to + (at - part->begin) : scratch->strip;
        if (hl_tiles_encode(part->tensor, strip, scratch->row, out, err) < 0)
            return -1;
        if (work->losses && from == at)
            work->losses[work->first_strip[index] + strip] = hl_tiles_loss(part->tensor, strip, scratch->row, out);
        if (!whole)
            memcpy(part->to + (from - part->begin), scratch->strip + (from - at), to - from);
    }
    if (part->end == tensor->bytes) /* also drop rows at windows' edges, and rows that the source orders differently */
        drop_rows(part->tensor, 0, tensor->rows);
    else
        drop_rows(part->tensor, first * HL_TILE_ROWS, (uint64_t)strip * HL_TILE_ROWS);
    return 0;
}

static int fill_vector(const struct part *part, struct hl_error *err)
{
    const struct hl_plan_tensor *tensor = part->tensor;
    HL_FREE float *values = NULL;
    const void *from = tensor->values;
    if (!from) {
        from = values = malloc(tensor->tensor.bytes);
        if (!values)
            return hl_no_memory(err);
        float *next = values;
        for (uint32_t i = 0; i < tensor->n_parts; i++)
            for (uint64_t row = 0; row < tensor->part[i]->shape[0]; row++, next++) {
                hl_source_floats(tensor->part[i], hl_source_row(tensor->part[i], row), 1, next);
                *next += tensor->addend;
            }
    }
    memcpy(part->to, (const uint8_t *)from + part->begin, part->end - part->begin);
    return 0;
}

/* Fills the window with the bytes [at, at + n) of the weights. No tensor before `*first` lies there; `*first` advances
 * with the windows. */
static int fill_window(struct work *work, uint64_t at, uint64_t n, uint32_t *first, const struct scratch *scratch,
                       struct hl_error *err)
{
    const struct hl_plan *plan = work->weights->plan;
    uint64_t filled = at, end = at + n;
    while (*first < plan->n_tensors && plan->tensors[*first].tensor.offset + plan->tensors[*first].tensor.bytes <= at)
        ++*first;
    for (uint32_t i = *first; i < plan->n_tensors && plan->tensors[i].tensor.offset < end; i++) {
        const struct hl_tensor *tensor = &plan->tensors[i].tensor;
        uint64_t begin = tensor->offset > at ? tensor->offset : at, tensor_end = tensor->offset + tensor->bytes;
        struct part part = {.tensor = &plan->tensors[i],
                            .begin = begin - tensor->offset,
                            .end = (tensor_end < end ? tensor_end : end) - tensor->offset,
                            .to = scratch->window + (begin - at)};
        memset(scratch->window + (filled - at), 0, begin - filled);
        if ((tensor->type == HL_TYPE_VECTOR ? fill_vector(&part, err) : fill_tiles(work, i, &part, scratch, err)) < 0)
            return -1;
        filled = begin + (part.end - part.begin);
    }
    memset(scratch->window + (filled - at), 0, end - filled);
    return 0;
}

static int write_window(struct work *work, uint64_t window, uint32_t *first, const struct scratch *scratch,
                        struct hl_error *err)
{
    uint32_t s = 0;
    while (window >= work->first_window[s + 1])
        s++;
    const struct hl_shard *shard = &work->header->shard[s];
    uint64_t begin = (window - work->first_window[s]) * WINDOW_BYTES, left = shard->bytes - begin;
    size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    if (fill_window(work, shard->offset + begin, n, first, scratch, err) < 0 ||
        hl_output_write(&work->outputs[s], begin, scratch->window, n, err) < 0)
        return -1;
    hl_output_flush(&work->outputs[s], begin, n);
    hl_progress_add(work->weights->progress, n);
    atomic_fetch_xor(&work->sums[s], hl_crc32c_shift(hl_crc32c(0, scratch->window, n), left - n));
    return 0;
}

/* Keeps the error of the first window. All windows before a failed one are finished, so it is always the same error. */
static void keep_error(struct work *work, uint64_t window, const struct hl_error *err)
{
    pthread_mutex_lock(&work->lock);
    if (window < atomic_load(&work->failed)) {
        atomic_store(&work->failed, window);
        *work->err = *err;
    }
    pthread_mutex_unlock(&work->lock);
}

static void write_share(void *context, struct hl_team *team, struct hl_share share)
{
    struct work *work = context;
    uint64_t n = work->first_window[work->header->n_shards], window = 0;
    uint32_t first = 0;
    struct hl_error err;
    (void)team;
    (void)share;
    HL_FREE uint8_t *bytes = malloc(WINDOW_BYTES);
    HL_FREE uint8_t *strip = malloc(work->strip_bytes);
    HL_FREE float *row = malloc(work->row_floats * sizeof *row);
    const struct scratch scratch = {bytes, strip, row};
    while (atomic_load(&work->failed) == UINT64_MAX && (window = atomic_fetch_add(&work->next, 1)) < n) {
        int result = bytes && strip && row ? write_window(work, window, &first, &scratch, &err) : hl_no_memory(&err);
        if (result < 0)
            keep_error(work, window, &err);
    }
}

static void measure(struct work *work)
{
    const struct hl_plan *plan = work->weights->plan;
    work->strip_bytes = work->row_floats = 1;
    for (uint32_t s = 0; s < work->header->n_shards; s++)
        work->first_window[s + 1] =
            work->first_window[s] + (work->header->shard[s].bytes + WINDOW_BYTES - 1) / WINDOW_BYTES;
    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        const struct hl_tensor *tensor = &plan->tensors[i].tensor;
        bool tiles = tensor->type != HL_TYPE_VECTOR;
        size_t bytes = tiles ? hl_strip_bytes(tensor->type, tensor->cols) : 0;
        size_t floats = tiles ? hl_tiles_padded_cols(tensor->type, tensor->cols) : 0;
        work->strip_bytes = bytes > work->strip_bytes ? bytes : work->strip_bytes;
        work->row_floats = floats > work->row_floats ? floats : work->row_floats;
        work->first_strip[i + 1] = work->first_strip[i] + (tiles ? hl_tile_strips(tensor->rows) : 0);
    }
}

/* Adds the losses up in the order of the strips, so the sums do not depend on the threads. */
static void add_losses(const struct work *work)
{
    for (uint32_t i = 0; i < work->weights->plan->n_tensors; i++)
        for (uint64_t strip = work->first_strip[i]; strip < work->first_strip[i + 1]; strip++) {
            work->weights->losses[i].error += work->losses[strip].error;
            work->weights->losses[i].energy += work->losses[strip].energy;
        }
}

static int finish_shard(struct work *work, uint32_t index)
{
    struct hl_shard *shard = &work->header->shard[index];
    shard->crc32c = atomic_load(&work->sums[index]);
    struct hl_trailer trailer = {.version = HL_FORMAT_VERSION, .index = index, .shard = *shard};
    memcpy(trailer.magic, HL_SHARD_MAGIC, sizeof trailer.magic);
    return hl_output_write(&work->outputs[index], shard->bytes, &trailer, sizeof trailer, work->err);
}

int hl_weights_write(const struct hl_weights *weights, struct hl_header *header, const struct hl_output *outputs,
                     struct hl_error *err)
{
    HL_FREE uint64_t *first_window = calloc((size_t)header->n_shards + 1, sizeof *first_window);
    HL_FREE uint64_t *first_strip = calloc((size_t)weights->plan->n_tensors + 1, sizeof *first_strip);
    HL_FREE _Atomic uint32_t *sums = calloc((size_t)header->n_shards + 1, sizeof *sums);
    struct hl_team *team;
    struct work work = {.weights = weights,
                        .header = header,
                        .outputs = outputs,
                        .first_window = first_window,
                        .first_strip = first_strip,
                        .sums = sums,
                        .failed = UINT64_MAX,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .err = err};
    if (!first_window || !first_strip || !sums)
        return hl_no_memory(err);
    measure(&work);
    HL_FREE struct hl_loss *losses =
        weights->losses ? malloc((first_strip[weights->plan->n_tensors] + 1) * sizeof *losses) : NULL;
    work.losses = losses;
    if (weights->losses && !losses)
        return hl_no_memory(err);
    if (hl_team_open(weights->threads, &team, err) < 0)
        return -1;
    hl_team_run(team, write_share, &work);
    hl_team_close(team);
    if (atomic_load(&work.failed) != UINT64_MAX)
        return -1;
    if (losses)
        add_losses(&work);
    for (uint32_t i = 0; i < header->n_shards; i++)
        if (finish_shard(&work, i) < 0)
            return -1;
    return 0;
}
