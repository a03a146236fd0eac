/* The writer: a list of tensors becomes files. All sizes are known before the first number is drawn. So any thread can
 * make any chunk of a tensor, in any order, and write it at its place:
 *
 *   model-00001-of-00002.safetensors      length (8 bytes) | header (JSON, padded to 8) | tensor | tensor | ...
 *                                                                                          chunk chunk chunk
 *
 * An element is drawn by looking up 12 random bits in a table: the 4096 quantiles of its tensor's distribution, rounded
 * to bfloat16. The bits are a hash of the seed, the tensor's name and the element's number (SplitMix64 [Steele, Lea,
 * Flood 2014], a hash of a counter); one hash serves four elements. So an element depends neither on the number of
 * threads nor on the number of blocks.
 *
 * Files are written under names that end in ".part", synced, and renamed, config.json last: a folder without it is not
 * taken for a model.
 */
#include "pack/synth/synth.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/team.h"
#include "base/text.h"
#include "hotlayer/half.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define QUANTILES 4096u
#define CHUNK_ELEMENTS (512u << 10) /* a multiple of 4 */
#define ELEMENT_BYTES 2u            /* bfloat16 */
#define FILE_BYTES 5000000000u

/* ---- numbers ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Returns the start of a tensor's sequence of hashes. */
static uint64_t key_of(uint64_t seed, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return mix(mix(hash) ^ seed);
}

/* Computes quantiles of the standard normal distribution, at the middles of equal shares. From the median upwards,
 * Newton's method stays on the near side of the root. The last bits of a double depend on the C library, but do not
 * survive the rounding to bfloat16. */
static void standard_quantiles(float quantile[QUANTILES])
{
    double x = 0;
    for (uint32_t i = QUANTILES / 2; i < QUANTILES; i++) {
        double share = (i + 0.5) / QUANTILES;
        for (int step = 0; step < 8; step++)
            x -= (0.5 * erfc(-x * M_SQRT1_2) - share) / (exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2);
        quantile[i] = (float)x;
        quantile[QUANTILES - 1 - i] = (float)-x;
    }
}

/* Draws the elements [first, first + n) of a tensor; `first` is a multiple of 4. */
static void draw(uint64_t key, const uint16_t table[QUANTILES], uint64_t first, uint32_t n, uint16_t *out)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u, mask = QUANTILES - 1;
    uint64_t state = key + first / 4 * golden;
    for (uint32_t i = 0; i < n / 4; i++) {
        uint64_t bits = mix(state += golden);
        out[4 * i] = table[bits & mask];
        out[4 * i + 1] = table[bits >> 16 & mask];
        out[4 * i + 2] = table[bits >> 32 & mask];
        out[4 * i + 3] = table[bits >> 48 & mask];
    }
    uint64_t bits = mix(state + golden);
    for (uint32_t i = n / 4 * 4; i < n; i++, bits >>= 16)
        out[i] = table[bits & mask];
}

/* ---- the plan ---- */

#define SMALL_FILES 5 /* at most: index, tokenizer, tokenizer_config.json, generation_config.json, config.json */

struct output {
    char name[HL_SYNTH_NAME_BYTES];
    struct hl_bytes head; /* the whole of a small file; of a large one the bytes before its tensors */
    uint64_t tensor_bytes;
    int fd;
    bool renamed;
};

struct place {
    uint32_t output;
    uint64_t offset; /* in the file, after its head */
    uint64_t first_chunk;
};

struct plan {
    const struct hl_synth *synth;
    struct hl_synth_tensor *tensors;
    struct place *places; /* one more than tensors */
    size_t n_tensors;
    struct output *outputs; /* those with tensors first, config.json last */
    uint32_t n_outputs, n_large;
    uint64_t tensor_bytes;
    int folder;
    bool made; /* the folder was created by us */
};

static uint64_t bytes_of(const struct hl_synth_tensor *tensor)
{
    return ELEMENT_BYTES * hl_synth_elements(tensor);
}

/* Decides the file and the offset of each tensor; a new file begins when the current one is full. */
static int place_tensors(struct plan *plan, struct hl_error *err)
{
    uint64_t limit = plan->synth->file_bytes ? plan->synth->file_bytes : FILE_BYTES, chunks = 0;
    plan->places = calloc(plan->n_tensors + 1, sizeof *plan->places);
    plan->outputs = calloc(plan->n_tensors + SMALL_FILES, sizeof *plan->outputs);
    if (!plan->places || !plan->outputs)
        return hl_no_memory(err);
    for (size_t i = 0; i < plan->n_tensors + SMALL_FILES; i++)
        plan->outputs[i].fd = -1;
    plan->n_large = 1;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        uint64_t bytes = bytes_of(&plan->tensors[i]);
        struct output *output = &plan->outputs[plan->n_large - 1];
        if (output->tensor_bytes && output->tensor_bytes + bytes > limit)
            output = &plan->outputs[plan->n_large++];
        plan->places[i] = (struct place){plan->n_large - 1, output->tensor_bytes, chunks};
        output->tensor_bytes += bytes;
        plan->tensor_bytes += bytes;
        chunks += (hl_synth_elements(&plan->tensors[i]) + CHUNK_ELEMENTS - 1) / CHUNK_ELEMENTS;
    }
    plan->places[plan->n_tensors].first_chunk = chunks;
    plan->n_outputs = plan->n_large;
    for (uint32_t i = 0; i < plan->n_large && plan->n_large > 1; i++)
        snprintf(plan->outputs[i].name, HL_SYNTH_NAME_BYTES, "model-%05u-of-%05u.safetensors", i + 1, plan->n_large);
    if (plan->n_large == 1)
        strcpy(plan->outputs[0].name, "model.safetensors");
    return 0;
}

/* Opens a file's text, which is collected in memory first; NULL if that fails. */
static FILE *begin_text(struct output *output)
{
    return open_memstream((char **)&output->head.data, &output->head.size);
}

static int end_text(struct output *output, FILE *text, struct hl_error *err)
{
    bool failed = ferror(text);
    failed = fclose(text) != 0 || failed;
    return failed ? hl_fail(err, "%s: out of memory", output->name) : 0;
}

/* Makes the header of a safetensors file [https://github.com/huggingface/safetensors#format]. */
static int make_head(const struct plan *plan, uint32_t index, struct hl_error *err)
{
    struct output *output = &plan->outputs[index];
    FILE *text = begin_text(output);
    if (!text)
        return hl_no_memory(err);
    fputs("01234567{\"__metadata__\":{\"format\":\"pt\"}", text); /* the length replaces the digits */
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct hl_synth_tensor *tensor = &plan->tensors[i];
        unsigned long long begin = plan->places[i].offset, end = begin + bytes_of(tensor);
        if (plan->places[i].output != index)
            continue;
        fprintf(text, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%llu", tensor->name, (unsigned long long)tensor->rows);
        if (tensor->cols)
            fprintf(text, ",%llu", (unsigned long long)tensor->cols);
        fprintf(text, "],\"data_offsets\":[%llu,%llu]}", begin, end);
    }
    putc('}', text);
    while (ftell(text) % 8)
        putc(' ', text);
    if (end_text(output, text, err) < 0)
        return -1;
    uint64_t length = output->head.size - sizeof length;
    memcpy(output->head.data, &length, sizeof length);
    return 0;
}

static struct output *add_small(struct plan *plan, const char *name)
{
    struct output *output = &plan->outputs[plan->n_outputs++];
    snprintf(output->name, sizeof output->name, "%s", name);
    return output;
}

static int add_index(struct plan *plan, struct hl_error *err)
{
    struct output *output = add_small(plan, "model.safetensors.index.json");
    FILE *text = begin_text(output);
    if (!text)
        return hl_no_memory(err);
    fprintf(text, "{\"metadata\":{\"total_size\":%llu},\"weight_map\":{", (unsigned long long)plan->tensor_bytes);
    for (size_t i = 0; i < plan->n_tensors; i++)
        fprintf(text, "%s\n\"%s\":\"%s\"", i ? "," : "", plan->tensors[i].name,
                plan->outputs[plan->places[i].output].name);
    fputs("}}\n", text);
    return end_text(output, text, err);
}

static int add_json(struct plan *plan, const char *name, cJSON *json, struct hl_error *err)
{
    struct output *output = add_small(plan, name);
    char *text = json ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return hl_fail(err, "%s: out of memory", name);
    output->head = (struct hl_bytes){.data = (uint8_t *)text, .size = strlen(text)};
    return 0;
}

static int add_tokenizer(struct plan *plan, struct hl_error *err)
{
    struct output *output = add_small(plan, "");
    const char *name = "";
    int result = hl_synth_tokenizer(plan->synth->model, &name, &output->head, err);
    snprintf(output->name, sizeof output->name, "%s", name);
    return result;
}

static int make_plan(struct plan *plan, struct hl_error *err)
{
    const struct hl_synth_model *model = plan->synth->model;
    if (hl_synth_tensors(model, &plan->tensors, &plan->n_tensors, err) < 0 || place_tensors(plan, err) < 0)
        return -1;
    for (uint32_t i = 0; i < plan->n_large; i++)
        if (make_head(plan, i, err) < 0)
            return -1;
    if ((plan->n_large > 1 && add_index(plan, err) < 0) || add_tokenizer(plan, err) < 0 ||
        add_json(plan, "tokenizer_config.json", hl_synth_tokenizer_config(model), err) < 0 ||
        add_json(plan, "generation_config.json", hl_synth_generation_config(model), err) < 0)
        return -1;
    return add_json(plan, "config.json", hl_synth_config(model), err);
}

/* ---- files ---- */

static int fail_file(const struct plan *plan, const struct output *output, const char *what, struct hl_error *err)
{
    return hl_fail(err, "%s/%s: cannot be %s: %s", plan->synth->folder, output->name, what, strerror(errno));
}

static void part_name(const struct output *output, char name[HL_SYNTH_NAME_BYTES + 8])
{
    snprintf(name, HL_SYNTH_NAME_BYTES + 8, "%s.part", output->name);
}

static int check_empty(const struct plan *plan, struct hl_error *err)
{
    DIR *dir = opendir(plan->synth->folder);
    int result = 0;
    if (!dir)
        return hl_fail(err, "%s: cannot be read: %s", plan->synth->folder, strerror(errno));
    for (struct dirent *entry; result == 0 && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = hl_fail(err, "%s: contains %s; choose an empty folder or one that does not exist yet",
                             plan->synth->folder, entry->d_name);
    closedir(dir);
    return result;
}

static int check_space(const struct plan *plan, struct hl_error *err)
{
    struct statvfs fs;
    uint64_t needed = plan->tensor_bytes, available;
    char need[24], have[24];
    for (uint32_t i = 0; i < plan->n_outputs; i++)
        needed += plan->outputs[i].head.size;
    if (fstatvfs(plan->folder, &fs) < 0)
        return 0; /* then a full disk shows when writing */
    available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed > available)
        return hl_fail(err, "%s: %s needs %s, but only %s are free there", plan->synth->folder,
                       plan->synth->model->name, hl_text_bytes(needed, need), hl_text_bytes(available, have));
    return 0;
}

static int open_folder(struct plan *plan, struct hl_error *err)
{
    const char *path = plan->synth->folder;
    plan->made = mkdir(path, 0777) == 0;
    if (!plan->made && errno != EEXIST)
        return hl_fail(err, "%s: cannot be created: %s", path, strerror(errno));
    plan->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (plan->folder < 0)
        return hl_fail(err, "%s: cannot be opened as a folder: %s", path, strerror(errno));
    return check_empty(plan, err) < 0 || check_space(plan, err) < 0 ? -1 : 0;
}

/* Creates the files with O_EXCL: if two processes write to the same empty folder, the second fails. */
static int open_outputs(struct plan *plan, struct hl_error *err)
{
    char part[HL_SYNTH_NAME_BYTES + 8];
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        struct output *output = &plan->outputs[i];
        part_name(output, part);
        output->fd = openat(plan->folder, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (output->fd < 0)
            return fail_file(plan, output, "created", err);
        if (hl_file_write(output->fd, output->head.data, output->head.size) < 0)
            return fail_file(plan, output, "written", err);
    }
    return 0;
}

static int check_stopped(const struct plan *plan, struct hl_error *err)
{
    return plan->synth->stopped && plan->synth->stopped() ? hl_fail(err, "interrupted") : 0;
}

static int sync_and_rename(struct plan *plan, struct hl_error *err)
{
    char part[HL_SYNTH_NAME_BYTES + 8];
    for (uint32_t i = 0; i < plan->n_outputs; i++)
        if (fsync(plan->outputs[i].fd) < 0)
            return fail_file(plan, &plan->outputs[i], "synced", err);
    if (check_stopped(plan, err) < 0)
        return -1;
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        struct output *output = &plan->outputs[i];
        part_name(output, part);
        if (renameat(plan->folder, part, plan->folder, output->name) < 0)
            return fail_file(plan, output, "renamed", err);
        output->renamed = true;
    }
    if (fsync(plan->folder) < 0 && errno != EINVAL)
        return hl_fail(err, "%s: cannot be synced: %s", plan->synth->folder, strerror(errno));
    return 0;
}

/* ---- tensors ---- */

struct work {
    const struct plan *plan;
    float quantile[QUANTILES];
    _Atomic uint64_t next; /* the next chunk to write */
    _Atomic int failed;
    struct hl_error *err;
};

/* Writes one chunk of a tensor at its place in the file. */
static int write_chunk(const struct work *work, size_t tensor, uint64_t chunk, const uint16_t *table, uint16_t *buffer,
                       struct hl_error *err)
{
    const struct plan *plan = work->plan;
    const struct hl_synth_tensor *t = &plan->tensors[tensor];
    const struct output *output = &plan->outputs[plan->places[tensor].output];
    uint64_t first = (chunk - plan->places[tensor].first_chunk) * CHUNK_ELEMENTS, left = hl_synth_elements(t) - first;
    uint32_t n = left < CHUNK_ELEMENTS ? (uint32_t)left : CHUNK_ELEMENTS;
    uint64_t at = output->head.size + plan->places[tensor].offset + first * ELEMENT_BYTES;
    if (check_stopped(plan, err) < 0)
        return -1;
    draw(key_of(plan->synth->seed, t->name), table, first, n, buffer);
    const char *bytes = (const char *)buffer;
    for (size_t rest = (size_t)n * ELEMENT_BYTES; rest;) {
        ssize_t done = pwrite(output->fd, bytes, rest, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail_file(plan, output, "written", err);
        bytes += done;
        at += (uint64_t)done;
        rest -= (size_t)done;
    }
    hl_progress_add(plan->synth->progress, (uint64_t)n * ELEMENT_BYTES);
    return 0;
}

static int write_chunks(struct work *work, struct hl_error *err)
{
    const struct plan *plan = work->plan;
    HL_FREE uint16_t *buffer = malloc((CHUNK_ELEMENTS + QUANTILES) * sizeof *buffer);
    if (!buffer)
        return hl_no_memory(err);
    uint16_t *table = buffer + CHUNK_ELEMENTS;
    uint64_t chunk, n = plan->places[plan->n_tensors].first_chunk;
    size_t tensor = 0, of_table = SIZE_MAX;
    while ((chunk = atomic_fetch_add(&work->next, 1)) < n && !work->failed) {
        while (chunk >= plan->places[tensor + 1].first_chunk)
            tensor++;
        if (tensor != of_table)
            for (uint32_t i = 0; i < QUANTILES; i++)
                table[i] = hl_f32_to_bf16(plan->tensors[tensor].mean + plan->tensors[tensor].sigma * work->quantile[i]);
        of_table = tensor;
        if (write_chunk(work, tensor, chunk, table, buffer, err) < 0)
            return -1;
    }
    return 0;
}

static void write_share(void *context, struct hl_team *team, struct hl_share share)
{
    struct work *work = context;
    struct hl_error err;
    (void)team, (void)share;
    if (write_chunks(work, &err) < 0 && atomic_exchange(&work->failed, 1) == 0)
        *work->err = err;
}

static int write_tensors(const struct plan *plan, struct hl_error *err)
{
    HL_FREE struct work *work = calloc(1, sizeof *work);
    struct hl_team *team;
    if (!work)
        return hl_no_memory(err);
    work->plan = plan;
    work->err = err;
    standard_quantiles(work->quantile);
    if (hl_team_open(plan->synth->threads, &team, err) < 0)
        return -1;
    hl_team_run(team, write_share, work);
    hl_team_close(team);
    return work->failed ? -1 : 0;
}

/* ---- all of it ---- */

static void close_plan(struct plan *plan, bool failed)
{
    char part[HL_SYNTH_NAME_BYTES + 8];
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        struct output *output = &plan->outputs[i];
        part_name(output, part);
        if (failed && output->fd >= 0)
            unlinkat(plan->folder, output->renamed ? output->name : part, 0);
        if (output->fd >= 0)
            close(output->fd);
        free(output->head.data);
    }
    if (plan->folder >= 0)
        close(plan->folder);
    if (failed && plan->made)
        rmdir(plan->synth->folder);
    free(plan->outputs);
    free(plan->places);
    free(plan->tensors);
}

int hl_synth_write(const struct hl_synth *synth, struct hl_error *err)
{
    struct plan plan = {.synth = synth, .folder = -1};
    char label[HL_SYNTH_NAME_BYTES];
    int result = make_plan(&plan, err);
    if (result == 0)
        result = open_folder(&plan, err);
    if (result == 0) {
        snprintf(label, sizeof label, "writing %s", synth->model->name);
        hl_progress_begin(synth->progress, label, plan.tensor_bytes);
        result = open_outputs(&plan, err);
    }
    if (result == 0)
        result = write_tensors(&plan, err);
    if (result == 0)
        result = sync_and_rename(&plan, err);
    if (result == 0)
        hl_progress_end(synth->progress);
    else
        hl_progress_clear(synth->progress);
    close_plan(&plan, result < 0);
    return result;
}
