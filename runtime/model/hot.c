/* Maps a model: the first step at run time.
 *
 *   head file   one read-only mapping; header, sections and program are checked, checksums too (they are small)
 *   shards      one reserved range of addresses, each shard's file mapped over its part of it:
 *
 *       weights    0           2 MiB * k                                weight_bytes
 *       addresses  [ shard 1   ][gap][ shard 2        ][gap][ shard 3 ]
 *
 * so that base + offset is the address of a tensor in any shard. Of the shards only the trailers are read here. The
 * base is aligned to 2 MiB, for huge pages.
 */
#include "runtime/model/hot.h"
#include "base/sizes.h"
#include "base/text.h"
#include "hotlayer/crc32c.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

const char *hl_section_name(int section)
{
    static const char *const names[HL_SECTION_COUNT] = {"meta", "program", "tensors", "tokenizer", "template"};
    return names[section];
}

int hl_hot_shard_path(const char *path, uint32_t index, char out[HL_PATH_BYTES], struct hl_error *err)
{
    int n = snprintf(out, HL_PATH_BYTES, "%s.%03u", path, index + 1);
    if (n < 0 || n >= HL_PATH_BYTES)
        return hl_fail(err, "%s: the path is too long", path);
    return 0;
}

/* Finds the only .hot file of a folder. */
static int find_in_folder(const char *folder, char out[HL_PATH_BYTES], struct hl_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return hl_fail(err, "%s: cannot be read: %s", folder, strerror(errno));
    const struct dirent *entry;
    int found = 0, n = 0;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || !hl_text_ends(entry->d_name, ".hot"))
            continue;
        if (found++ == 0)
            n = snprintf(out, HL_PATH_BYTES, "%s/%s", folder, entry->d_name);
    }
    closedir(dir);
    if (found != 1)
        return hl_fail(err, "%s: the folder holds %d .hot files; name the one you mean", folder, found);
    if (n < 0 || n >= HL_PATH_BYTES)
        return hl_fail(err, "%s: the path is too long", folder);
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

static int check_header(const struct hl_header *header, uint64_t file_bytes, struct hl_error *err)
{
    if (memcmp(header->magic, HL_HEADER_MAGIC, sizeof header->magic) != 0)
        return hl_fail(err, "not a .hot file: it does not begin with \"" HL_HEADER_MAGIC "\"");
    if (header->version != HL_FORMAT_VERSION)
        return hl_fail(err, "format version %u; this program reads version %u. Pack the model again", header->version,
                       HL_FORMAT_VERSION);
    struct hl_header copy = *header;
    copy.crc32c = 0;
    if (hl_crc32c(0, &copy, sizeof copy) != header->crc32c)
        return hl_fail(err, "header: checksum does not match; the file is damaged");
    if (header->head_bytes != file_bytes)
        return hl_fail(err, "header: head_bytes is %" PRIu64 ", the file has %" PRIu64, header->head_bytes, file_bytes);
    if (!all_zero(header->reserved, sizeof header->reserved))
        return hl_fail(err, "header: reserved is not zero");
    return 0;
}

static int check_sections(const struct hl_header *header, const uint8_t *file, struct hl_error *err)
{
    uint64_t end = sizeof *header;
    for (int i = 0; i < HL_SECTION_COUNT; i++) {
        const struct hl_section *section = &header->section[i];
        const char *name = hl_section_name(i);
        if (section->reserved)
            return hl_fail(err, "section %s: reserved is not zero", name);
        if (section->offset % HL_PAGE_BYTES || section->offset < end)
            return hl_fail(err, "section %s: offset %" PRIu64 " is not on a page after the section before", name,
                           section->offset);
        if (!hl_in_range(section->offset, section->bytes, header->head_bytes))
            return hl_fail(err,
                           "section %s: offset %" PRIu64 " and bytes %" PRIu64 " reach beyond the file of %" PRIu64,
                           name, section->offset, section->bytes, header->head_bytes);
        if (hl_crc32c(0, file + section->offset, section->bytes) != section->crc32c)
            return hl_fail(err, "section %s: checksum does not match; the file is damaged", name);
        end = section->offset + section->bytes;
    }
    return 0;
}

static int check_shards(const struct hl_header *header, struct hl_error *err)
{
    uint64_t end = 0;
    if (header->n_shards == 0 || header->n_shards > HL_MAX_SHARDS)
        return hl_fail(err, "header: n_shards is %u, it must be 1 to %u", header->n_shards, HL_MAX_SHARDS);
    for (uint32_t i = 0; i < HL_MAX_SHARDS; i++) {
        const struct hl_shard *shard = &header->shard[i];
        if (i >= header->n_shards) {
            if (!all_zero((const uint8_t *)shard, sizeof *shard))
                return hl_fail(err, "header: shard %u is beyond n_shards and not zero", i + 1);
            continue;
        }
        if (shard->reserved || shard->offset != hl_round_up(end, HL_SHARD_ALIGN) || shard->bytes == 0 ||
            shard->bytes % HL_PAGE_BYTES || shard->bytes > HL_SHARD_LIMIT)
            return hl_fail(err,
                           "header: shard %u (offset %" PRIu64 ", bytes %" PRIu64 ") does not follow the one before",
                           i + 1, shard->offset, shard->bytes);
        end = shard->offset + shard->bytes;
    }
    if (end != header->weight_bytes)
        return hl_fail(err, "header: weight_bytes is %" PRIu64 ", the shards end at %" PRIu64, header->weight_bytes,
                       end);
    return 0;
}

/* Fails if a tensor lies in a gap between shards, which the check of its offset alone cannot see. */
static int check_coverage(const struct hl_hot *hot, struct hl_error *err)
{
    const struct hl_header *header = hot->header;
    for (uint32_t i = 0; i < hot->program.n_tensors; i++) {
        const struct hl_tensor *tensor = &hot->program.tensors[i];
        uint64_t at = tensor->offset, end = tensor->offset + tensor->bytes;
        for (uint32_t s = 0; s < header->n_shards && at < end; s++)
            if (at >= header->shard[s].offset && at < header->shard[s].offset + header->shard[s].bytes)
                at = header->shard[s].offset + header->shard[s].bytes;
        if (at < end)
            return hl_fail(err, "tensor %u (%s): offset %" PRIu64 " is not in a shard", i, tensor->name, at);
    }
    return 0;
}

static int open_sections(struct hl_hot *hot, struct hl_error *err)
{
    const uint8_t *file = hot->head_map;
    const struct hl_section *section = hot->header->section;
    if (check_header(hot->header, hot->head_map_bytes, err) < 0 || check_sections(hot->header, file, err) < 0 ||
        check_shards(hot->header, err) < 0)
        return -1;
    hot->meta = (const char *)file + section[HL_SECTION_META].offset;
    hot->meta_bytes = section[HL_SECTION_META].bytes;
    hot->tokenizer = file + section[HL_SECTION_TOKENIZER].offset;
    hot->tokenizer_bytes = section[HL_SECTION_TOKENIZER].bytes;
    hot->template = file + section[HL_SECTION_TEMPLATE].offset;
    hot->template_bytes = section[HL_SECTION_TEMPLATE].bytes;
    if (section[HL_SECTION_TENSORS].bytes != (uint64_t)hot->header->n_tensors * sizeof(struct hl_tensor))
        return hl_fail(err, "section tensors: %" PRIu64 " bytes do not hold n_tensors = %u",
                       section[HL_SECTION_TENSORS].bytes, hot->header->n_tensors);
    const struct hl_tensor *tensors = (const void *)(file + section[HL_SECTION_TENSORS].offset);
    if (hl_program_open(file + section[HL_SECTION_PROGRAM].offset, section[HL_SECTION_PROGRAM].bytes, tensors,
                        hot->header->n_tensors, &hot->program, err) < 0 ||
        hl_program_check(&hot->program, hot->header->weight_bytes, err) < 0)
        return -1;
    return check_coverage(hot, err);
}

/* Opens a regular file; returns the descriptor or -1. Refuses other files before opening them: open() of a FIFO would
 * wait for its writer. */
static int open_file(const char *path, struct stat *st, struct hl_error *err)
{
    if (stat(path, st) < 0)
        return hl_fail(err, "cannot be opened: %s", strerror(errno));
    if (!S_ISREG(st->st_mode))
        return hl_fail(err, "not a regular file");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hl_fail(err, "cannot be opened: %s", strerror(errno));
    if (fstat(fd, st) == 0)
        return fd;
    close(fd);
    return hl_fail(err, "cannot be examined: %s", strerror(errno));
}

static int map_head(struct hl_hot *hot, struct hl_error *err)
{
    struct stat st;
    HL_CLOSE int fd = open_file(hot->path, &st, err);
    if (fd < 0)
        return -1;
    if ((uint64_t)st.st_size < sizeof(struct hl_header))
        return hl_fail(err, "%lld bytes are too few for a .hot file's header of %zu", (long long)st.st_size,
                       sizeof(struct hl_header));
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return hl_fail(err, "cannot be mapped: %s", strerror(errno));
    hot->head_map = map;
    hot->head_map_bytes = (size_t)st.st_size;
    hot->header = map;
    return open_sections(hot, err);
}

int hl_hot_open(const char *path, struct hl_hot **out, struct hl_error *err)
{
    char found[HL_PATH_BYTES];
    struct stat st;
    if (stat(path, &st) < 0)
        return hl_fail(err, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        if (find_in_folder(path, found, err) < 0)
            return -1;
        path = found;
    }
    struct hl_hot *hot = calloc(1, sizeof *hot);
    if (!hot || !(hot->path = strdup(path))) {
        free(hot);
        return hl_no_memory(err);
    }
    if (map_head(hot, err) < 0) {
        hl_error_prefix(err, "%s", hot->path);
        hl_hot_close(hot);
        return -1;
    }
    *out = hot;
    return 0;
}

int hl_hot_open_shard(const struct hl_hot *hot, uint32_t index, char path[HL_PATH_BYTES], struct hl_error *err)
{
    const struct hl_shard *shard = &hot->header->shard[index];
    if (hl_hot_shard_path(hot->path, index, path, err) < 0)
        return -1;
    struct stat st;
    int fd = open_file(path, &st, err);
    if (fd < 0)
        return hl_error_prefix(err, "%s: shard %u of %u", path, index + 1, hot->header->n_shards);
    struct hl_trailer trailer;
    int result = 0;
    if ((uint64_t)st.st_size != shard->bytes + HL_PAGE_BYTES)
        result = hl_fail(err, "%s: the shard has %lld bytes, %s says %" PRIu64, path, (long long)st.st_size, hot->path,
                         shard->bytes + HL_PAGE_BYTES);
    else if (pread(fd, &trailer, sizeof trailer, (off_t)shard->bytes) != (ssize_t)sizeof trailer)
        result = hl_fail(err, "%s: trailer cannot be read: %s", path, strerror(errno));
    else if (memcmp(trailer.magic, HL_SHARD_MAGIC, sizeof trailer.magic) != 0 || trailer.version != HL_FORMAT_VERSION ||
             !all_zero(trailer.reserved, sizeof trailer.reserved))
        result = hl_fail(err, "%s: the trailer is damaged, or this is not a shard", path);
    else if (trailer.index != index || memcmp(&trailer.shard, shard, sizeof *shard) != 0)
        result = hl_fail(err, "%s: the trailer belongs to another shard or another build of the model than %s", path,
                         hot->path);
    if (result < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int hl_hot_map_weights(struct hl_hot *hot, struct hl_error *err)
{
    size_t bytes = (size_t)hot->header->weight_bytes + HL_SHARD_ALIGN;
    void *range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return hl_fail(err, "%s: no address range of %zu bytes: %s", hot->path, bytes, strerror(errno));
    hot->weights_map = range;
    hot->weights_map_bytes = bytes;
    uint8_t *base = (uint8_t *)(uintptr_t)hl_round_up((uintptr_t)range, HL_SHARD_ALIGN);
    for (uint32_t i = 0; i < hot->header->n_shards; i++) {
        const struct hl_shard *shard = &hot->header->shard[i];
        char path[HL_PATH_BYTES];
        HL_CLOSE int fd = hl_hot_open_shard(hot, i, path, err);
        if (fd < 0)
            return -1;
        if (mmap(base + shard->offset, shard->bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            return hl_fail(err, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    hot->weights = base;
    return 0;
}

int hl_hot_verify_shard(const struct hl_hot *hot, uint32_t index, void (*progress)(void *context, uint64_t bytes),
                        void *context, struct hl_error *err)
{
    const size_t piece = 1 << 20;
    char path[HL_PATH_BYTES];
    HL_CLOSE int fd = hl_hot_open_shard(hot, index, path, err);
    HL_FREE uint8_t *buffer = malloc(piece);
    if (fd < 0)
        return -1;
    if (!buffer)
        return hl_no_memory(err);
    uint32_t crc = 0;
    for (uint64_t left = hot->header->shard[index].bytes; left;) {
        ssize_t n = read(fd, buffer, left < piece ? (size_t)left : piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return hl_fail(err, "%s: cannot be read: %s", path, n ? strerror(errno) : "it ends early");
        crc = hl_crc32c(crc, buffer, (size_t)n);
        left -= (uint64_t)n;
        if (progress)
            progress(context, (uint64_t)n);
    }
    if (crc != hot->header->shard[index].crc32c)
        return hl_fail(err, "%s: checksum does not match; the shard is damaged", path);
    return 0;
}

void hl_hot_close(struct hl_hot *hot)
{
    if (!hot)
        return;
    if (hot->weights_map)
        munmap(hot->weights_map, hot->weights_map_bytes);
    if (hot->head_map)
        munmap(hot->head_map, hot->head_map_bytes);
    free(hot->path);
    free(hot);
}
