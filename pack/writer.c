/* The writer: plan -> files. Sizes and offsets are all known before the first byte is converted, so everything streams:
 *
 *   source (mapped) --encode, all cores--> chunk of some MiB --crc32c--> MODEL.hot.NNN.part
 *
 * One chunk is in memory at a time, and what has been converted of the source is dropped from it again, so that memory
 * does not grow with the model. Files are written under names that end in ".part", synced, and renamed, shards first.
 */
#include "pack/writer.h"
#include "hotlayer/cleanup.h"
#include "hotlayer/crc32c.h"
#include "kernels/cpu/team.h"
#include "pack/files.h"
#include "pack/tiles.h"
#include "runtime/hot.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK_BYTES (16u << 20)

/* ---- placing ---- */

struct placer {
    struct hl_header *header;
    uint64_t limit; /* of a shard */
    uint64_t cut;   /* pieces of a tensor that is larger than a shard */
    struct hl_error *err;
};

/* Opens a shard at the next place where one may begin. */
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

int hl_place(struct hl_plan *plan, uint64_t shard_bytes, struct hl_header *header, struct hl_error *err)
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

/* ---- files ---- */

struct output {
    char path[HL_PATH_BYTES], part[HL_PATH_BYTES];
    int fd;
};

/* Takes the lock of a file that we have opened. Whoever held it before may meanwhile have given the file its final
 * name, or removed it: then it is not ours to write. */
static bool lock_output(const struct output *out)
{
    struct stat held, named;
    return flock(out->fd, LOCK_EX | LOCK_NB) == 0 && fstat(out->fd, &held) == 0 && stat(out->part, &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* A slip of the hand must not cost a model: of the files that are there, only a head file, or an empty one, makes way.
 */
static int check_replaceable(const char *path, struct hl_error *err)
{
    char magic[sizeof HL_HEADER_MAGIC - 1];
    HL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof magic);
    if (n == 0 || (n == (ssize_t)sizeof magic && memcmp(magic, HL_HEADER_MAGIC, sizeof magic) == 0))
        return 0;
    return hl_fail(err, "%s: exists and is no .hot file; remove it or choose another name", path);
}

/* `index` HL_NONE is the head. */
static int open_output(const char *path, uint32_t index, struct output *out, struct hl_error *err)
{
    if (index != HL_NONE && hl_hot_shard_path(path, index, out->path, err) < 0)
        return -1;
    if (index == HL_NONE && snprintf(out->path, sizeof out->path, "%s", path) >= (int)sizeof out->path)
        return hl_fail(err, "%s: the path is too long", path);
    if (snprintf(out->part, sizeof out->part, "%s.part", out->path) >= (int)sizeof out->part)
        return hl_fail(err, "%s: the path is too long", path);
    struct stat st;
    if (stat(out->path, &st) == 0 && !S_ISREG(st.st_mode)) /* else the last rename would be the first to notice */
        return hl_fail(err, "%s: exists and is no regular file", out->path);
    if (index == HL_NONE && check_replaceable(out->path, err) < 0)
        return -1;
    out->fd = open(out->part, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (out->fd < 0)
        return hl_fail(err, "%s: cannot be created: %s", out->part, strerror(errno));
    if (!lock_output(out)) {
        int result = hl_fail(err, "%s: another process is writing it", out->part);
        close(out->fd);
        out->fd = -1;
        return result;
    }
    if (ftruncate(out->fd, 0) < 0)
        return hl_fail(err, "%s: cannot be emptied: %s", out->part, strerror(errno));
    return 0;
}

static int write_all(const struct output *out, const void *data, size_t n, struct hl_error *err)
{
    if (hl_file_write(out->fd, data, n) < 0)
        return hl_fail(err, "%s: cannot be written: %s", out->part, strerror(errno));
    return 0;
}

static int sync_folder_of(const char *path, struct hl_error *err)
{
    HL_FREE char *copy = strdup(path);
    if (!copy)
        return hl_fail(err, "out of memory");
    HL_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        return hl_fail(err, "%s: its folder cannot be synced: %s", path, strerror(errno));
    return 0;
}

/* ---- weights ---- */

/* The weights' space as a stream: bytes go to the shard that their place belongs to. */
struct stream {
    const struct hl_write *write;
    struct hl_header *header;
    struct output *outputs; /* [n_shards] */
    uint32_t shard;
    uint64_t at; /* in the weights' space */
    struct hl_error *err;
};

static int stream_bytes(struct stream *s, const uint8_t *data, uint64_t n)
{
    while (n) {
        struct hl_shard *shard = &s->header->shard[s->shard];
        uint64_t room = shard->offset + shard->bytes - s->at, now = n < room ? n : room;
        if (now == 0) {
            s->at = s->header->shard[++s->shard].offset;
            continue;
        }
        if (write_all(&s->outputs[s->shard], data, (size_t)now, s->err) < 0)
            return -1;
        shard->crc32c = hl_crc32c(shard->crc32c, data, (size_t)now);
        s->at += now;
        data += now;
        n -= now;
    }
    return 0;
}

/* Zeros up to `at`, skipping what lies between shards. */
static int stream_pad(struct stream *s, uint64_t at)
{
    static const uint8_t zeros[HL_PAGE_BYTES];
    const struct hl_shard *shard = &s->header->shard[s->shard];
    uint64_t end = shard->offset + shard->bytes, until = at < end ? at : end;
    while (s->at < until) {
        uint64_t n = until - s->at < sizeof zeros ? until - s->at : sizeof zeros;
        if (stream_bytes(s, zeros, n) < 0)
            return -1;
    }
    if (s->at < at) {
        s->shard++;
        s->at = at;
    }
    return 0;
}

/* Some strips of one tensor, encoded by all threads. */
struct chunk {
    const struct hl_plan_tensor *tensor;
    uint32_t first, n;
    uint8_t *out;
    float *rows; /* one row per thread */
    size_t row_floats;
    struct hl_loss *losses; /* [n], or NULL */
    _Atomic int failed;
    struct hl_error *err;
};

static void encode_share(void *context, struct hl_team *team, struct hl_share share)
{
    struct chunk *chunk = context;
    uint32_t begin, end;
    struct hl_error err;
    (void)team;
    hl_share_range(share, chunk->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint8_t *to = chunk->out + i * hl_strip_bytes(chunk->tensor->tensor.type, chunk->tensor->tensor.cols);
        float *row = chunk->rows + share.index * chunk->row_floats;
        if (hl_encode_strip(chunk->tensor, chunk->first + i, row, to, &err) < 0) {
            if (atomic_exchange(&chunk->failed, 1) == 0)
                *chunk->err = err;
            return;
        }
        if (chunk->losses)
            chunk->losses[i] = hl_strip_loss(chunk->tensor, chunk->first + i, row, to);
    }
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

/* In the order of the strips, so that the sum is the same whichever thread had which. */
static void add_losses(const struct hl_loss *losses, uint32_t n, struct hl_loss *sum)
{
    for (uint32_t i = 0; i < n; i++) {
        sum->error += losses[i].error;
        sum->energy += losses[i].energy;
    }
}

/* `loss`: of this tensor, or NULL. */
static int write_tiles(struct stream *s, struct hl_team *team, const struct hl_plan_tensor *tensor,
                       struct hl_loss *loss)
{
    uint64_t strip_bytes = hl_strip_bytes(tensor->tensor.type, tensor->tensor.cols);
    uint32_t strips = hl_tile_strips(tensor->tensor.rows);
    uint64_t fit = CHUNK_BYTES / strip_bytes;
    uint32_t at_once = fit ? (uint32_t)fit : 1;
    at_once = hl_min_u32(at_once, strips);
    size_t row_floats = hl_padded_cols(tensor->tensor.type, tensor->tensor.cols);
    HL_FREE uint8_t *out = malloc(at_once * strip_bytes);
    HL_FREE float *rows = malloc(row_floats * hl_team_size(team) * sizeof *rows);
    HL_FREE struct hl_loss *losses = loss ? malloc(at_once * sizeof *losses) : NULL;
    if (!out || !rows || (loss && !losses))
        return hl_fail(s->err, "out of memory");
    for (uint32_t first = 0; first < strips; first += at_once) {
        struct chunk chunk = {.tensor = tensor,
                              .first = first,
                              .n = hl_min_u32(at_once, strips - first),
                              .out = out,
                              .rows = rows,
                              .row_floats = row_floats,
                              .losses = losses,
                              .err = s->err};
        hl_team_run(team, encode_share, &chunk);
        if (chunk.failed || stream_bytes(s, out, chunk.n * strip_bytes) < 0)
            return -1;
        if (loss)
            add_losses(losses, chunk.n, loss);
        drop_rows(tensor, (uint64_t)first * HL_TILE_ROWS, (uint64_t)(first + chunk.n) * HL_TILE_ROWS);
        hl_progress_add(s->write->progress, chunk.n * strip_bytes);
    }
    return 0;
}

static int write_vector(struct stream *s, const struct hl_plan_tensor *tensor)
{
    if (tensor->values)
        return stream_bytes(s, (const uint8_t *)tensor->values, tensor->tensor.bytes);
    for (uint32_t i = 0; i < tensor->n_parts; i++) {
        const struct hl_source_tensor *part = tensor->part[i];
        HL_FREE float *values = malloc(part->shape[0] * sizeof *values);
        if (!values)
            return hl_fail(s->err, "out of memory");
        for (uint64_t row = 0; row < part->shape[0]; row++) {
            hl_source_floats(part, hl_source_row(part, row), 1, &values[row]);
            values[row] += tensor->addend;
        }
        if (stream_bytes(s, (const uint8_t *)values, part->shape[0] * sizeof *values) < 0)
            return -1;
    }
    return 0;
}

static int finish_shard(struct stream *s, uint32_t index)
{
    struct hl_trailer trailer = {.version = HL_FORMAT_VERSION, .index = index, .shard = s->header->shard[index]};
    memcpy(trailer.magic, HL_SHARD_MAGIC, sizeof trailer.magic);
    return write_all(&s->outputs[index], &trailer, sizeof trailer, s->err);
}

static int write_weights(struct stream *s)
{
    const struct hl_plan *plan = s->write->plan;
    struct hl_team *team;
    if (hl_team_open(s->write->threads, &team, s->err) < 0)
        return -1;
    int result = 0;
    for (uint32_t i = 0; i < plan->n_tensors && result == 0; i++) {
        const struct hl_plan_tensor *tensor = &plan->tensors[i];
        result = stream_pad(s, tensor->tensor.offset);
        struct hl_loss *loss = s->write->losses ? &s->write->losses[i] : NULL;
        if (result == 0)
            result =
                tensor->tensor.type == HL_TYPE_VECTOR ? write_vector(s, tensor) : write_tiles(s, team, tensor, loss);
    }
    hl_team_close(team);
    if (result == 0)
        result = stream_pad(s, s->header->weight_bytes);
    for (uint32_t i = 0; i < s->header->n_shards && result == 0; i++)
        result = finish_shard(s, i);
    return result;
}

/* ---- head ---- */

/* Appends a section's bytes to the head file, on the next page. */
static int write_section(const struct output *out, struct hl_header *header, enum hl_section_id id,
                         const struct hl_view *pieces, size_t n, struct hl_error *err)
{
    static const uint8_t zeros[HL_PAGE_BYTES];
    struct hl_section *section = &header->section[id];
    section->offset = header->head_bytes;
    for (size_t i = 0; i < n; i++) {
        if (write_all(out, pieces[i].data, pieces[i].size, err) < 0)
            return -1;
        section->crc32c = hl_crc32c(section->crc32c, pieces[i].data, pieces[i].size);
        section->bytes += pieces[i].size;
    }
    uint64_t padded = hl_round_up(section->bytes, HL_PAGE_BYTES);
    header->head_bytes += padded;
    return write_all(out, zeros, (size_t)(padded - section->bytes), err);
}

static int write_head(const struct hl_write *write, struct hl_header *header, const struct output *out,
                      struct hl_error *err)
{
    const struct hl_plan *plan = write->plan;
    HL_FREE struct hl_tensor *tensors = calloc(plan->n_tensors, sizeof *tensors);
    if (!tensors)
        return hl_fail(err, "out of memory");
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
    if (write_all(out, header, sizeof *header, err) < 0 ||
        write_section(out, header, HL_SECTION_META, &write->meta, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_PROGRAM, program, 4, err) < 0 ||
        write_section(out, header, HL_SECTION_TENSORS, &table, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_TOKENIZER, &write->tokenizer, 1, err) < 0 ||
        write_section(out, header, HL_SECTION_TEMPLATE, &write->template, 1, err) < 0)
        return -1;
    header->crc32c = hl_crc32c(0, header, sizeof *header);
    if (pwrite(out->fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        return hl_fail(err, "%s: cannot be written: %s", out->part, strerror(errno));
    return 0;
}

/* ---- all ---- */

static void remove_stale_shards(const char *path, uint32_t n_shards)
{
    char name[HL_PATH_BYTES];
    struct hl_error ignored;
    for (uint32_t i = n_shards; i < HL_MAX_SHARDS && hl_hot_shard_path(path, i, name, &ignored) == 0; i++)
        if (unlink(name) < 0)
            break;
}

/* outputs: the shards, then the head. When the head has its name, so may the next writer begin: all else comes before.
 */
static int sync_and_rename(struct output *outputs, uint32_t n_shards, struct hl_error *err)
{
    for (uint32_t i = 0; i <= n_shards; i++)
        if (fsync(outputs[i].fd) < 0)
            return hl_fail(err, "%s: cannot be synced: %s", outputs[i].part, strerror(errno));
    for (uint32_t i = 0; i <= n_shards; i++) {
        if (i == n_shards)
            remove_stale_shards(outputs[i].path, n_shards);
        if (rename(outputs[i].part, outputs[i].path) < 0)
            return hl_fail(err, "%s: cannot be renamed: %s", outputs[i].part, strerror(errno));
    }
    return sync_folder_of(outputs[0].path, err);
}

static int write_files(const struct hl_write *write, struct hl_header *header, struct output *outputs,
                       struct hl_error *err)
{
    struct stream stream = {.write = write, .header = header, .outputs = outputs, .err = err};
    if (open_output(write->path, HL_NONE, &outputs[header->n_shards], err) < 0)
        return -1;
    for (uint32_t i = 0; i < header->n_shards; i++)
        if (open_output(write->path, i, &outputs[i], err) < 0)
            return -1;
    if (write_weights(&stream) < 0 || write_head(write, header, &outputs[header->n_shards], err) < 0)
        return -1;
    return sync_and_rename(outputs, header->n_shards, err);
}

int hl_write_hot(const struct hl_write *write, struct hl_written *out, struct hl_error *err)
{
    HL_FREE struct hl_header *header = calloc(1, sizeof *header);
    if (!header)
        return hl_fail(err, "out of memory");
    if (hl_place(write->plan, write->shard_bytes, header, err) < 0)
        return -1;
    HL_FREE struct output *outputs = calloc(header->n_shards + 1, sizeof *outputs);
    if (!outputs)
        return hl_fail(err, "out of memory");
    for (uint32_t i = 0; i <= header->n_shards; i++)
        outputs[i].fd = -1;
    hl_progress_begin(write->progress, "packing", header->weight_bytes);
    int result = write_files(write, header, outputs, err);
    for (uint32_t i = 0; i <= header->n_shards; i++)
        if (outputs[i].fd >= 0) {
            if (result < 0)
                unlink(outputs[i].part);
            close(outputs[i].fd);
        }
    if (result < 0) {
        hl_progress_clear(write->progress);
        return -1;
    }
    hl_progress_end(write->progress);
    *out = (struct hl_written){header->head_bytes, header->weight_bytes, header->n_shards};
    return 0;
}
