/* Weights: source -> shards.
 *
 *   source (mapped) --encode--> piece of some hundred KiB --crc32c--> its place in MODEL.hot.NNN.part
 *
 * A thread takes the next piece in the order of the plan, converts it into a buffer of its own, small enough to be in
 * the core's cache still when it is summed up and written, and takes the next one: nobody waits for anybody, also not
 * at the end of a tensor, and while one thread is in the kernel to write, the others convert. Since a checksum can be
 * put together of its parts' in any order, the result is the same whichever thread had which.
 *
 * What has been converted of the source is dropped from memory again, so that it does not grow with the model.
 */
#include "pack/weights.h"
#include "hotlayer/cleanup.h"
#include "hotlayer/crc32c.h"
#include "kernels/cpu/team.h"
#include "pack/tiles.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PIECE_BYTES (256u << 10)
#define FLUSH_BYTES (8u << 20) /* what goes to the disk at once */
#define DROP_PIECES 8u         /* whose source is given back at once: each time all cores have to forget it */

/* Where a tensor's pieces are among all. */
struct span {
    uint64_t first_piece, first_strip;
    uint32_t strips, at_once; /* strips of a piece; no strips: a vector, which is one piece */
    _Atomic uint32_t left;    /* pieces */
};

struct work {
    const struct hl_write *write;
    struct hl_header *header;
    const struct hl_output *outputs; /* [n_shards] */
    struct span *spans;              /* [n_tensors + 1] */
    size_t piece_bytes, row_floats;
    _Atomic uint32_t *sums;  /* [n_shards] */
    struct hl_loss *losses;  /* of all strips, or NULL */
    _Atomic uint64_t next;   /* piece */
    _Atomic uint64_t failed; /* the first piece that failed; its error is `err` */
    pthread_mutex_t lock;    /* of `err` */
    struct hl_error *err;
};

/* Bytes of the weights' space to the shards that they belong to. */
static int put_bytes(struct work *work, uint64_t at, const void *data, uint64_t n, struct hl_error *err)
{
    const struct hl_shard *shards = work->header->shard;
    uint32_t s = 0;
    while (at >= shards[s].offset + shards[s].bytes)
        s++;
    for (const uint8_t *from = data; n; s++) {
        uint64_t begin = at - shards[s].offset, room = shards[s].bytes - begin, now = n < room ? n : room;
        if (hl_output_write(&work->outputs[s], begin, from, (size_t)now, err) < 0)
            return -1;
        atomic_fetch_xor(&work->sums[s], hl_crc32c_shift(hl_crc32c(0, from, (size_t)now), room - now));
        uint64_t whole = (begin + now) / FLUSH_BYTES; /* the one before it may lack a piece of another thread's */
        if (whole > begin / FLUSH_BYTES && whole > 1)
            hl_output_flush(&work->outputs[s], (whole - 2) * FLUSH_BYTES, FLUSH_BYTES);
        from += now;
        at += now;
        n -= now;
    }
    return 0;
}

/* Zeros behind a tensor, up to the next page. */
static int put_padding(struct work *work, const struct hl_tensor *tensor, struct hl_error *err)
{
    static const uint8_t zeros[HL_PAGE_BYTES];
    uint64_t padding = hl_round_up(tensor->bytes, HL_PAGE_BYTES) - tensor->bytes;
    return padding ? put_bytes(work, tensor->offset + tensor->bytes, zeros, padding, err) : 0;
}

/* Gives the memory of rows [first, last) back: they have been read, and the file still has them. */
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

/* What a thread works with. */
struct scratch {
    uint8_t *tiles; /* [piece_bytes] */
    float *row;     /* [row_floats] */
};

static int write_tiles(struct work *work, const struct hl_plan_tensor *tensor, const struct span *span, uint32_t first,
                       const struct scratch *scratch, struct hl_error *err)
{
    uint64_t strip_bytes = hl_strip_bytes(tensor->tensor.type, tensor->tensor.cols);
    uint32_t n = hl_min_u32(span->at_once, span->strips - first);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *to = scratch->tiles + i * strip_bytes;
        if (hl_encode_strip(tensor, first + i, scratch->row, to, err) < 0)
            return -1;
        if (work->losses)
            work->losses[span->first_strip + first + i] = hl_strip_loss(tensor, first + i, scratch->row, to);
    }
    if (put_bytes(work, tensor->tensor.offset + first * strip_bytes, scratch->tiles, n * strip_bytes, err) < 0)
        return -1;
    if (first / span->at_once % DROP_PIECES == DROP_PIECES - 1) /* others may be at some of them, and read them again */
        drop_rows(tensor, (uint64_t)(first + span->at_once - DROP_PIECES * span->at_once) * HL_TILE_ROWS,
                  (uint64_t)(first + n) * HL_TILE_ROWS);
    hl_progress_add(work->write->progress, n * strip_bytes);
    return first + n == span->strips ? put_padding(work, &tensor->tensor, err) : 0;
}

static int write_vector(struct work *work, const struct hl_plan_tensor *tensor, struct hl_error *err)
{
    uint64_t at = tensor->tensor.offset;
    if (tensor->values && put_bytes(work, at, tensor->values, tensor->tensor.bytes, err) < 0)
        return -1;
    for (uint32_t i = 0; !tensor->values && i < tensor->n_parts; i++) {
        const struct hl_source_tensor *part = tensor->part[i];
        uint64_t bytes = part->shape[0] * sizeof(float);
        HL_FREE float *values = malloc(bytes);
        if (!values)
            return hl_fail(err, "out of memory");
        for (uint64_t row = 0; row < part->shape[0]; row++) {
            hl_source_floats(part, hl_source_row(part, row), 1, &values[row]);
            values[row] += tensor->addend;
        }
        if (put_bytes(work, at, values, bytes, err) < 0)
            return -1;
        at += bytes;
    }
    return put_padding(work, &tensor->tensor, err);
}

static int write_piece(struct work *work, uint32_t index, uint64_t piece, const struct scratch *scratch,
                       struct hl_error *err)
{
    const struct hl_plan_tensor *tensor = &work->write->plan->tensors[index];
    struct span *span = &work->spans[index];
    if (!span->strips)
        return write_vector(work, tensor, err);
    uint32_t first = (uint32_t)(piece - span->first_piece) * span->at_once;
    if (write_tiles(work, tensor, span, first, scratch, err) < 0)
        return -1;
    if (atomic_fetch_sub(&span->left, 1) == 1) /* rows at the edges of pieces, or in another order than the source's */
        drop_rows(tensor, 0, tensor->tensor.rows);
    return 0;
}

/* Pieces before one that failed are all taken, and finished: the error is the same whoever comes first. */
static void keep_error(struct work *work, uint64_t piece, const struct hl_error *err)
{
    pthread_mutex_lock(&work->lock);
    if (piece < atomic_load(&work->failed)) {
        atomic_store(&work->failed, piece);
        *work->err = *err;
    }
    pthread_mutex_unlock(&work->lock);
}

static void write_share(void *context, struct hl_team *team, struct hl_share share)
{
    struct work *work = context;
    uint64_t n = work->spans[work->write->plan->n_tensors].first_piece, piece = 0;
    struct hl_error err;
    (void)team;
    (void)share;
    HL_FREE uint8_t *tiles = malloc(work->piece_bytes);
    HL_FREE float *row = malloc(work->row_floats * sizeof *row);
    for (uint32_t i = 0; atomic_load(&work->failed) == UINT64_MAX && (piece = atomic_fetch_add(&work->next, 1)) < n;) {
        while (piece >= work->spans[i + 1].first_piece)
            i++;
        int result = tiles && row ? write_piece(work, i, piece, &(struct scratch){tiles, row}, &err)
                                  : hl_fail(&err, "out of memory");
        if (result < 0)
            keep_error(work, piece, &err);
    }
}

/* Cuts the tensors into pieces. */
static void plan_pieces(struct work *work)
{
    const struct hl_plan *plan = work->write->plan;
    work->piece_bytes = PIECE_BYTES;
    work->row_floats = 1;
    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        const struct hl_tensor *tensor = &plan->tensors[i].tensor;
        struct span *span = &work->spans[i];
        uint32_t pieces = 1;
        if (tensor->type != HL_TYPE_VECTOR) {
            uint64_t strip_bytes = hl_strip_bytes(tensor->type, tensor->cols), fit = PIECE_BYTES / strip_bytes;
            size_t floats = hl_padded_cols(tensor->type, tensor->cols);
            span->strips = hl_tile_strips(tensor->rows);
            span->at_once = fit ? (uint32_t)fit : 1;
            pieces = span->strips / span->at_once + (span->strips % span->at_once != 0);
            work->piece_bytes = strip_bytes > work->piece_bytes ? strip_bytes : work->piece_bytes;
            work->row_floats = floats > work->row_floats ? floats : work->row_floats;
        }
        atomic_store(&span->left, pieces);
        span[1].first_piece = span->first_piece + pieces;
        span[1].first_strip = span->first_strip + span->strips;
    }
}

/* In the order of the strips, so that the sums are the same whichever thread had which. */
static void add_losses(const struct work *work)
{
    for (uint32_t i = 0; i < work->write->plan->n_tensors; i++)
        for (uint32_t strip = 0; strip < work->spans[i].strips; strip++) {
            const struct hl_loss *loss = &work->losses[work->spans[i].first_strip + strip];
            work->write->losses[i].error += loss->error;
            work->write->losses[i].energy += loss->energy;
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

int hl_write_weights(const struct hl_write *write, struct hl_header *header, const struct hl_output *outputs,
                     struct hl_error *err)
{
    HL_FREE struct span *spans = calloc(write->plan->n_tensors + 1, sizeof *spans);
    HL_FREE _Atomic uint32_t *sums = calloc(header->n_shards, sizeof *sums);
    struct hl_team *team;
    struct work work = {.write = write,
                        .header = header,
                        .outputs = outputs,
                        .spans = spans,
                        .sums = sums,
                        .failed = UINT64_MAX,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .err = err};
    if (!spans || !sums)
        return hl_fail(err, "out of memory");
    plan_pieces(&work);
    HL_FREE struct hl_loss *losses =
        write->losses ? malloc((spans[write->plan->n_tensors].first_strip + 1) * sizeof *losses) : NULL;
    work.losses = losses;
    if (write->losses && !losses)
        return hl_fail(err, "out of memory");
    if (hl_team_open(write->threads, &team, err) < 0)
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
