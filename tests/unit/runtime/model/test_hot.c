/* .hot files, written by the packer and read by the runtime: every byte of every tensor across shards; files that are
 * missing or wrong; and the files on disk after a pack that failed, was repeated, or met another. */
#include "base/json.h"
#include "base/sizes.h"
#include "hotlayer/crc32c.h"
#include "hotlayer/half.h"
#include "pack/convert/tiles.h"
#include "pack/image/listing.h"
#include "pack/source/blocks.h"
#include "tests/unit/small_model.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MODEL FIXTURES "f16-sharded"

static unsigned count_files(const char *pattern)
{
    glob_t found;
    unsigned n = glob(in_scratch(pattern), 0, NULL, &found) == 0 ? (unsigned)found.gl_pathc : 0;
    if (n)
        globfree(&found);
    return n;
}

/* ---- contents ---- */

/* Returns the bytes that a tensor must have, strip by strip, by the packer's own conversion (test_tiles.c). */
static uint8_t *expected_bytes(const struct hl_plan_tensor *tensor)
{
    const struct hl_tensor *t = &tensor->tensor;
    struct hl_error err;
    uint8_t *out = calloc(1, t->bytes);
    if (t->type == HL_TYPE_VECTOR && tensor->values) {
        memcpy(out, tensor->values, t->bytes);
    } else if (t->type == HL_TYPE_VECTOR) {
        float *to = (float *)(void *)out;
        for (uint32_t i = 0; i < tensor->n_parts; to += tensor->part[i++]->shape[0])
            hl_source_floats(tensor->part[i], 0, tensor->part[i]->shape[0], to);
    } else {
        HL_FREE float *row = malloc(hl_tiles_padded_cols(t->type, t->cols) * sizeof *row);
        for (uint32_t i = 0; i < hl_tile_strips(t->rows); i++)
            CHECK_OK(hl_tiles_encode(tensor, i, row, out + i * hl_strip_bytes(t->type, t->cols), &err), err);
    }
    return out;
}

static void check_tensors(const struct hl_hot *hot, const struct hl_plan *plan)
{
    uint64_t end = 0;
    CHECK(hot->program.n_tensors == plan->n_tensors);
    for (uint32_t i = 0; i < plan->n_tensors && i < hot->program.n_tensors; i++) {
        const struct hl_tensor *t = &hot->program.tensors[i];
        HL_FREE uint8_t *want = expected_bytes(&plan->tensors[i]);
        CHECK_SAY(t->bytes == plan->tensors[i].tensor.bytes && memcmp(hot->weights + t->offset, want, t->bytes) == 0,
                  "tensor %s is not what the source says", t->name);
        CHECK_SAY(t->offset >= end && t->offset % HL_PAGE_BYTES == 0, "tensor %s is at %llu", t->name,
                  (unsigned long long)t->offset);
        end = t->offset + t->bytes;
        for (uint64_t at = end; at % HL_PAGE_BYTES; at++)
            if (hot->weights[at] != 0)
                CHECK_SAY(false, "tensor %s is not padded with zeros", t->name);
    }
}

/* Checks the shards' places: in order, each at a multiple of 2 MiB, none larger than the limit. A tensor is not cut
 * into pieces below 2 MiB, and so may need a larger shard of its own. */
static void check_shards(const struct hl_hot *hot, uint64_t shard_bytes)
{
    struct hl_error err;
    uint64_t most = shard_bytes > HL_SHARD_ALIGN ? shard_bytes : HL_SHARD_ALIGN, end = 0;
    for (uint32_t i = 0; i < hot->header->n_shards; i++) {
        const struct hl_shard *shard = &hot->header->shard[i];
        CHECK(shard->offset == hl_round_up(end, HL_SHARD_ALIGN) && shard->bytes <= most && shard->bytes > 0);
        unsigned tensors = 0;
        for (uint32_t k = 0; k < hot->program.n_tensors; k++)
            tensors += hl_in_range(hot->program.tensors[k].offset - shard->offset, 1, shard->bytes) ? 1 : 0;
        CHECK_SAY(shard->bytes <= shard_bytes || tensors <= 1, "shard %u: %llu bytes for %u tensors", i + 1,
                  (unsigned long long)shard->bytes, tensors);
        CHECK_OK(hl_hot_verify_shard(hot, i, NULL, NULL, &err), err);
        end = shard->offset + shard->bytes;
    }
    CHECK(end == hot->header->weight_bytes);
}

/* Packs, maps, compares; returns the number of shards. */
static uint32_t check_model(const char *folder, enum hl_quant quant, uint64_t shard_bytes)
{
    char path[PATH_MAX + 64];
    struct hl_error err;
    struct hl_hot *hot = NULL;
    struct hl_source *source = NULL;
    struct hl_plan *plan = NULL;
    struct hl_arch arch;
    uint32_t shards = 0;
    snprintf(path, sizeof path, "%s", in_scratch("check.hot"));
    if (CHECK_OK(pack_model(folder, path, quant, shard_bytes, &err), err) &&
        CHECK_OK(hl_source_open(folder, &source, &err), err) &&
        CHECK_OK(hl_arch_read(source->config, &arch, &err), err) &&
        CHECK_OK(hl_plan_build(source, &arch, quant, &plan, &err), err) &&
        CHECK_OK(hl_hot_open(path, &hot, &err), err) && CHECK_OK(hl_hot_map_weights(hot, &err), err)) {
        check_tensors(hot, plan);
        check_shards(hot, shard_bytes);
        CHECK(((uintptr_t)hot->weights & (HL_SHARD_ALIGN - 1)) == 0);
        shards = hot->header->n_shards;
    }
    CHECK(count_files("check.hot.[0-9]*") == shards && count_files("*.part") == 0);
    hl_hot_close(hot);
    hl_plan_free(plan);
    hl_source_close(source);
    return shards;
}

static void test_fixtures(void)
{
    static const char *const names[] = {"bf16-tied", "f16-sharded", "f32-awkward", "f32-mha"};
    for (size_t i = 0; i < HL_COUNT(names); i++)
        for (enum hl_quant quant = HL_QUANT_KEEP; quant <= HL_QUANT_DEFAULT; quant++) {
            char folder[PATH_MAX];
            snprintf(folder, sizeof folder, FIXTURES "%s", names[i]);
            CHECK(check_model(folder, quant, 1ull << 30) == 1);
            CHECK(check_model(folder, quant, 40960) > 1);
        }
}

/* ---- a model with a tensor larger than a shard ---- */

static void put_tensor(FILE *header, FILE *data, struct dice *dice, const char *name, uint64_t rows, uint64_t cols)
{
    long begin = ftell(data);
    for (uint64_t i = 0; i < (rows ? rows : 1) * cols; i++) {
        uint16_t half = hl_f32_to_bf16(dice_float(dice, 1));
        fwrite(&half, sizeof half, 1, data);
    }
    fprintf(header, "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[", begin ? ',' : '{', name);
    if (rows)
        fprintf(header, "%llu,", (unsigned long long)rows);
    fprintf(header, "%llu],\"data_offsets\":[%ld,%ld]}", (unsigned long long)cols, begin, ftell(data));
}

/* One block, 64 wide, and an embedding of 50000 rows: 6.1 MiB. */
static const char *make_large_model(void)
{
    static char folder[PATH_MAX + 64];
    struct dice dice = {61};
    char *header_text = NULL, *data_text = NULL;
    size_t header_size, data_size;
    FILE *header = open_memstream(&header_text, &header_size), *data = open_memstream(&data_text, &data_size);
    snprintf(folder, sizeof folder, "%s", in_scratch("large"));
    put_tensor(header, data, &dice, "model.embed_tokens.weight", 50000, 64);
    put_tensor(header, data, &dice, "model.norm.weight", 0, 64);
    put_tensor(header, data, &dice, "model.layers.0.input_layernorm.weight", 0, 64);
    put_tensor(header, data, &dice, "model.layers.0.post_attention_layernorm.weight", 0, 64);
    put_tensor(header, data, &dice, "model.layers.0.self_attn.q_proj.weight", 64, 64);
    put_tensor(header, data, &dice, "model.layers.0.self_attn.k_proj.weight", 32, 64);
    put_tensor(header, data, &dice, "model.layers.0.self_attn.v_proj.weight", 32, 64);
    put_tensor(header, data, &dice, "model.layers.0.self_attn.o_proj.weight", 64, 64);
    put_tensor(header, data, &dice, "model.layers.0.mlp.gate_proj.weight", 20000, 64);
    put_tensor(header, data, &dice, "model.layers.0.mlp.up_proj.weight", 20000, 64);
    put_tensor(header, data, &dice, "model.layers.0.mlp.down_proj.weight", 64, 20000);
    fputc('}', header);
    fclose(header);
    fclose(data);
    CHECK(shell("mkdir '%s' && cp " FIXTURES
                "bf16-tied/tokenizer.model '%s' && sed -e 's/: 288/: 50000/' -e 's/: 172/: 20000/' " FIXTURES
                "bf16-tied/config.json > '%s/config.json'",
                folder, folder, folder));
    FILE *file = fopen(in_scratch("large/model.safetensors"), "wb");
    uint64_t length = header_size;
    CHECK(file && fwrite(&length, 8, 1, file) == 1 && fwrite(header_text, header_size, 1, file) == 1 &&
          fwrite(data_text, data_size, 1, file) == 1);
    if (file)
        fclose(file);
    free(header_text);
    free(data_text);
    return folder;
}

static void test_large_tensors(void)
{
    const char *folder = make_large_model();
    struct hl_error err = {.message = ""};
    /* gate_up 4.9 MiB, down 2.5, embed 6.2 */
    CHECK(check_model(folder, HL_QUANT_KEEP, 1ull << 30) == 1);
    CHECK(check_model(folder, HL_QUANT_KEEP, 1 << 20) == 1 + 3 + 2 + 4);
    CHECK(check_model(folder, HL_QUANT_KEEP, 5 << 20) == 3 + 1);
    CHECK(check_model(folder, HL_QUANT_Q8, 3 << 20) > 3);
    CHECK_FAILS(pack_model(folder, in_scratch("x.hot"), HL_QUANT_KEEP, 4095, &err), err, "--shard-size");
    CHECK_FAILS(pack_model(folder, in_scratch("x.hot"), HL_QUANT_KEEP, (2ull << 30) + 1, &err), err, "--shard-size");
}

/* ---- files that contradict the head ---- */

/* Packs into at least two shards, damages the folder by a command, and expects a message that contains `word`. */
static void check_damage(const char *command, const char *word)
{
    struct hl_error err = {.message = ""};
    struct hl_hot *hot = NULL;
    shell("cd '%s' && rm -rf d && mkdir d", scratch_folder());
    CHECK_OK(pack_model(MODEL, in_scratch("d/m.hot"), HL_QUANT_KEEP, 16384, &err), err);
    CHECK(shell("cd '%s/d' && %s", scratch_folder(), command));
    int result = hl_hot_open(in_scratch("d/m.hot"), &hot, &err);
    if (result == 0)
        result = hl_hot_map_weights(hot, &err);
    for (uint32_t i = 0; result == 0 && i < hot->header->n_shards; i++)
        result = hl_hot_verify_shard(hot, i, NULL, NULL, &err);
    CHECK_SAY(result < 0 && strstr(err.message, word), "after '%s': no '%s' in '%s'", command, word, err.message);
    hl_hot_close(hot);
}

static void test_damage(void)
{
    check_damage("rm m.hot", "m.hot: No such file");
    check_damage("rm m.hot.002", "m.hot.002: shard 2 of");
    check_damage("mv m.hot.001 a && mv m.hot.002 m.hot.001 && mv a m.hot.002", "m.hot.001: the");
    check_damage("cp m.hot.003 m.hot.004", "m.hot.004: the");
    check_damage("truncate -s -1 m.hot.002", "m.hot.002: the shard has");
    check_damage("truncate -s +4096 m.hot.002", "m.hot.002: the shard has");
    check_damage("rm m.hot.001 && mkdir m.hot.001", "m.hot.001: ");
    check_damage("printf x | dd of=m.hot.002 bs=1 seek=77 conv=notrunc status=none", "m.hot.002: checksum");
    check_damage("printf x | dd of=m.hot bs=1 seek=3000 conv=notrunc status=none", "m.hot: header: checksum");
    check_damage("printf x | dd of=m.hot bs=1 seek=4100 conv=notrunc status=none", "m.hot: section meta: checksum");
    check_damage("truncate -s -4096 m.hot", "m.hot: header: head_bytes");
    check_damage("truncate -s 100 m.hot", "m.hot: 100 bytes");
    check_damage("rm m.hot && mkdir m.hot", "m.hot: the folder holds 0");
    check_damage("rm m.hot && mkfifo m.hot", "m.hot: not a regular file");
    check_damage("rm m.hot.002 && mkfifo m.hot.002", "m.hot.002: ");
}

/* A folder with one model means that model; with two it is ambiguous. */
static void test_folder(void)
{
    struct hl_error err = {.message = ""};
    struct hl_hot *hot = NULL;
    CHECK(shell("mkdir '%s'", in_scratch("f")));
    CHECK_FAILS(hl_hot_open(in_scratch("f"), &hot, &err), err, "holds 0");
    CHECK_OK(pack_model(MODEL, in_scratch("f/a.hot"), HL_QUANT_KEEP, 1 << 20, &err), err);
    CHECK_OK(hl_hot_open(in_scratch("f"), &hot, &err), err);
    CHECK_OK(hl_hot_map_weights(hot, &err), err);
    hl_hot_close(hot);
    CHECK_OK(pack_model(MODEL, in_scratch("f/b.hot"), HL_QUANT_KEEP, 1 << 20, &err), err);
    CHECK_FAILS(hl_hot_open(in_scratch("f"), &hot, &err), err, "holds 2");
}

/* ---- files that a pack leaves ---- */

static void test_overwriting(void)
{
    struct hl_error err;
    struct hl_hot *hot = NULL;
    const char *path = in_scratch("over.hot");
    CHECK_OK(pack_model(MODEL, path, HL_QUANT_KEEP, 8192, &err), err);
    unsigned many = count_files("over.hot.*");
    CHECK_OK(pack_model(MODEL, path, HL_QUANT_Q8, 32768, &err), err);
    unsigned few = count_files("over.hot.*");
    CHECK_SAY(few >= 2 && many > few, "%u shards, then %u", many, few);
    CHECK_OK(hl_hot_open(path, &hot, &err), err);
    CHECK(hot && hot->header->n_shards == few);
    CHECK_OK(hl_hot_map_weights(hot, &err), err);
    hl_hot_close(hot);
    /* The same model, packed again, in another place and with other threads: the same bytes. */
    CHECK_OK(pack_model(MODEL, in_scratch("again.hot"), HL_QUANT_Q8, 32768, &err), err);
    CHECK(shell("cd '%s' && for f in over.hot*; do cmp $f again${f#over} || exit 1; done", scratch_folder()));
}

/* A failed pack leaves no model and no piece of one; if there was a model before, that stays whole. */
static void check_failed_pack(int result, const struct hl_error *err, const char *word, bool before)
{
    struct hl_error other;
    struct hl_hot *hot = NULL;
    CHECK_SAY(result < 0 && strstr(err->message, word), "no '%s' in '%s'", word, err->message);
    CHECK(count_files("g/*.part") == 0);
    CHECK(before || count_files("g/m.hot*") == 0);
    if (before && CHECK_OK(hl_hot_open(in_scratch("g/m.hot"), &hot, &other), other)) {
        CHECK_OK(hl_hot_map_weights(hot, &other), other);
        for (uint32_t i = 0; i < hot->header->n_shards; i++)
            CHECK_OK(hl_hot_verify_shard(hot, i, NULL, NULL, &other), other);
    }
    hl_hot_close(hot);
}

/* Packs with at most `bytes` per file, as on a full disk. Runs in a child process, because the limit stays. */
static void test_full_disk(rlim_t bytes, bool before)
{
    int pipe_fd[2], status = -1;
    struct hl_error err = {.message = "the child said nothing"};
    if (!CHECK(pipe(pipe_fd) == 0))
        return;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, bytes});
        int result = pack_model(MODEL, in_scratch("g/m.hot"), HL_QUANT_KEEP, 1 << 20, &err);
        _exit(write(pipe_fd[1], &err, sizeof err) == (ssize_t)sizeof err && result < 0 ? 0 : 1);
    }
    close(pipe_fd[1]);
    CHECK(read(pipe_fd[0], &err, sizeof err) == (ssize_t)sizeof err);
    close(pipe_fd[0]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    check_failed_pack(-1, &err, "cannot be written", before);
}

static void test_failures(void)
{
    struct hl_error err = {.message = ""};
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s", in_scratch("g/m.hot"));
    CHECK_FAILS(pack_model(MODEL, path, HL_QUANT_KEEP, 1 << 20, &err), err, "g/m.hot");
    CHECK(shell("mkdir -p '%s'", path));
    CHECK_FAILS(pack_model(MODEL, path, HL_QUANT_KEEP, 1 << 20, &err), err, "not a regular file");
    CHECK(count_files("g/*.part") == 0 && count_files("g/*") == 1 && rmdir(path) == 0);
    CHECK(shell("mkdir '%s.002'", path));
    CHECK_FAILS(pack_model(MODEL, path, HL_QUANT_KEEP, 8192, &err), err, "m.hot.002");
    CHECK(count_files("g/*") == 1 && shell("rmdir '%s.002'", path));
    for (int before = 0; before < 2; before++) {
        test_full_disk(5000, before); /* the first shard */
        test_full_disk(60000, before);
        CHECK(shell("rm -rf '%s' && cp -r " MODEL " '%s'", in_scratch("bad"), in_scratch("bad")));
        /* fp16 infinity as the last number of the last file: found when nearly everything is written */
        CHECK(shell("cd '%s' && for f in model-*; do printf '\\000\\174' | dd of=$f bs=1 seek=$(($(wc -c < $f) - 2)) "
                    "conv=notrunc status=none; done",
                    in_scratch("bad")));
        int result = pack_model(in_scratch("bad"), path, HL_QUANT_Q8, 8192, &err);
        check_failed_pack(result, &err, "not finite", before);
        CHECK_OK(pack_model(MODEL, path, HL_QUANT_KEEP, 32768, &err), err);
    }
}

static void test_locked(void)
{
    struct hl_error err = {.message = ""};
    const char *path = in_scratch("lock.hot");
    HL_CLOSE int fd = open(in_scratch("lock.hot.part"), O_RDWR | O_CREAT, 0666);
    CHECK(fd >= 0 && write(fd, "mine", 4) == 4 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    CHECK_FAILS(pack_model(MODEL, path, HL_QUANT_KEEP, 1 << 20, &err), err, "another process");
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_size == 4 && st.st_nlink == 1); /* the other process's file is untouched */
    CHECK(count_files("lock.hot*") == 1);
    flock(fd, LOCK_UN); /* as if that process had died */
    CHECK_OK(pack_model(MODEL, path, HL_QUANT_KEEP, 1 << 20, &err), err);
    CHECK(count_files("lock.hot*") == 2);
}

/* Several packs at once on one output, repeated: each is refused until it succeeds, and at the end there is a whole
 * model. */
static void test_crowd(void)
{
    const char *path = in_scratch("crowd.hot");
    struct hl_error err = {.message = ""};
    pid_t child[4];
    for (int i = 0; i < 4; i++)
        if ((child[i] = fork()) == 0) {
            for (int done = 0; done < 50;) {
                if (pack_model(MODEL, path, HL_QUANT_KEEP, 1 << 20, &err) == 0) {
                    done++;
                } else if (!strstr(err.message, "another process")) {
                    fprintf(stderr, "%s\n", err.message);
                    _exit(1);
                }
            }
            _exit(0);
        }
    for (int i = 0; i < 4; i++) {
        int status = -1;
        pid_t gone = waitpid(child[i], &status, 0);
        CHECK_SAY(gone == child[i] && status == 0, "a packer among others ended with %d: %s", status, strerror(errno));
    }
    struct hl_hot *hot = NULL;
    if (CHECK_OK(hl_hot_open(path, &hot, &err), err)) {
        CHECK_OK(hl_hot_map_weights(hot, &err), err);
        CHECK_OK(hl_hot_verify_shard(hot, 0, NULL, NULL, &err), err);
    }
    hl_hot_close(hot);
    CHECK(count_files("crowd.hot*") == 2);
}

/* ---- listing ---- */

/* Writes a model with a meta section and a tensor's name of the test's choice. */
static int pack_strange(const char *meta, const char *name, struct hl_error *err)
{
    struct hl_source *source = NULL;
    struct hl_plan *plan = NULL;
    struct hl_arch arch;
    struct hl_written written;
    int result = hl_source_open(MODEL, &source, err);
    if (result == 0)
        result = hl_arch_read(source->config, &arch, err);
    if (result == 0)
        result = hl_plan_build(source, &arch, HL_QUANT_KEEP, &plan, err);
    if (result == 0) {
        snprintf(plan->tensors[0].tensor.name, HL_NAME_BYTES, "%s", name);
        struct hl_write write = {.path = in_scratch("strange.hot"),
                                 .plan = plan,
                                 .meta = {(const uint8_t *)meta, strlen(meta)},
                                 .tokenizer = {(const uint8_t *)"none", 4},
                                 .shard_bytes = 1 << 20,
                                 .threads = 1};
        result = hl_writer_write(&write, &written, err);
    }
    hl_plan_free(plan);
    hl_source_close(source);
    return result;
}

/* Nothing in a file may reach a terminal as a control character. */
static void check_listing(const char *meta)
{
    struct hl_error err;
    struct hl_hot *hot = NULL;
    char *text = NULL;
    size_t size = 0;
    CHECK_OK(pack_strange(meta, "first", &err), err);
    if (!CHECK_OK(hl_hot_open(in_scratch("strange.hot"), &hot, &err), err))
        return;
    FILE *out = open_memstream(&text, &size);
    hl_listing_text(hot, true, out);
    fclose(out);
    CHECK(strstr(text, "first") && strstr(text, "blocks.1.ffn.down"));
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < 32 && text[i] != '\n') || text[i] == 127 ||
            (text[i] == '\xc2' && text[i + 1] < '\xa0'))
            CHECK_SAY(false, "character %d in the listing of %s", text[i], meta);
    HL_JSON cJSON *json = hl_listing_json(hot);
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(json, "tensors")) == (int)hot->program.n_tensors);
    free(text);
    hl_hot_close(hot);
}

static void test_listing(void)
{
    struct hl_error err = {.message = ""};
    struct hl_hot *hot = NULL;
    check_listing("{\"name\":\"x\"}");
    check_listing("{\"\\u001b[31m\":\"\\u001b[31m\",\"a\\nb\":[\"\\r \\u007f\\u009b1m\"]}");
    check_listing("[\"no object\"]");
    check_listing("\"\\u001b\"");
    check_listing("broken");
    CHECK_OK(pack_strange("{}", "red\033[31m", &err), err);
    CHECK_FAILS(hl_hot_open(in_scratch("strange.hot"), &hot, &err), err, "strange.hot: tensor 0: name");
    CHECK(!strchr(err.message, '\033'));
}

/* Combines the checksums of two parts; the second may be empty, or long. */
static void test_sums(void)
{
    static uint8_t bytes[100000];
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i >> 7);
    for (size_t n = 0; n <= sizeof bytes; n += 3125) {
        uint32_t front = hl_crc32c(0, bytes, n), back = hl_crc32c(0, bytes + n, sizeof bytes - n);
        CHECK((hl_crc32c_shift(front, sizeof bytes - n) ^ back) == hl_crc32c(0, bytes, sizeof bytes));
    }
}

int main(void)
{
    alarm(240); /* nothing may wait for ever */
    test_sums();
    test_fixtures();
    test_large_tensors();
    test_damage();
    test_folder();
    test_overwriting();
    test_failures();
    test_locked();
    test_crowd();
    test_listing();
    return scratch_summary();
}
