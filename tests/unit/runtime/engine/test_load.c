/* runtime/engine/load.c: the staged weights equal the mapped ones, a step never reads weights that are not loaded, and
 * a truncated file gives an error to every caller that waits, then and later. */
#include "base/sizes.h"
#include "runtime/engine/engine.h"
#include "tests/unit/small_model.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

static struct hl_error err;

static struct hl_hot *open_hot(const char *folder, enum hl_quant quant)
{
    struct hl_hot *hot;
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s", in_scratch("load.hot"));
    if (!CHECK_OK(pack_model(folder, path, quant, 64 << 10, &err), err) ||
        !CHECK_OK(hl_hot_open(path, &hot, &err), err) || !CHECK_OK(hl_hot_map_weights(hot, &err), err))
        exit(check_summary());
    return hot;
}

struct end {
    atomic_int calls, failures;
};

static void on_done(void *context, const struct hl_error *why)
{
    struct end *end = context;
    atomic_fetch_add(&end->failures, why != NULL);
    atomic_fetch_add(&end->calls, 1);
}

static bool same_weights(const struct hl_hot *hot, const uint8_t *weights)
{
    for (uint32_t i = 0; i < hot->program.n_tensors; i++) {
        const struct hl_tensor *t = &hot->program.tensors[i];
        if (memcmp(hot->weights + t->offset, weights + t->offset, t->bytes))
            return false;
    }
    return true;
}

/* ---- a device that only takes weights ---- */

struct hl_device {
    uint8_t *memory;
    size_t bytes;
    uint64_t skip; /* the piece that begins here is of no use to it */
    uint64_t fail; /* there is no room for the one that begins here */
    atomic_uint taken;
};

static int take_room(struct hl_device *device, uint64_t offset, uint32_t bytes, uint8_t **to, struct hl_error *why)
{
    CHECK(bytes <= HL_PIECE_BYTES && offset + bytes <= device->bytes);
    if (offset == device->fail)
        return hl_fail(why, "no room");
    *to = offset == device->skip ? NULL : device->memory + offset;
    return 0;
}

static int take_full(struct hl_device *device, uint64_t offset, uint32_t bytes, const uint8_t *from,
                     struct hl_error *why)
{
    (void)why;
    CHECK(bytes > 0 && from == device->memory + offset);
    atomic_fetch_add(&device->taken, 1);
    return 0;
}

static void take_no_more(struct hl_device *device)
{
    (void)device;
}

static const struct hl_device_interface taker = {.room = take_room, .full = take_full, .cancel = take_no_more};

static struct hl_device open_taker(const struct hl_hot *hot)
{
    struct hl_device device = {.bytes = (size_t)hot->header->weight_bytes, .skip = UINT64_MAX, .fail = UINT64_MAX};
    device.memory = calloc(1, device.bytes);
    return device;
}

static const struct hl_load_target nowhere;

static void test_in_place(void)
{
    struct hl_hot *hot = open_hot(FIXTURES "f16-sharded", HL_QUANT_KEEP);
    struct end end = {0, 0};
    struct hl_load *load;
    const struct hl_load_options options = {.done = on_done, .context = &end};
    if (CHECK_OK(hl_load_open(hot, &options, nowhere, &load, &err), err)) {
        for (uint64_t part = 1; part <= hot->header->weight_bytes; part *= 3)
            CHECK_OK(hl_load_wait(load, part, &err), err);
        CHECK_OK(hl_load_wait(load, UINT64_MAX, &err), err);
        hl_load_close(load); /* ends the threads: all callbacks have run */
        CHECK(end.calls == 1 && end.failures == 0);
    }
    hl_hot_close(hot);
    CHECK(hl_load_in_place(&hl_cpu_device, HL_LOAD_AUTO) && hl_load_in_place(&hl_cpu_device, HL_LOAD_MAP));
    CHECK(!hl_load_in_place(&hl_cpu_device, HL_LOAD_STAGE) && !hl_load_in_place(&taker, HL_LOAD_MAP));
}

/* From the file and from the mapping; with a piece that is skipped, and one that has no room. */
static void test_brought(void)
{
    struct hl_hot *hot = open_hot(FIXTURES "f16-sharded", HL_QUANT_KEEP);
    const uint64_t second = hot->header->shard[1].offset;
    CHECK(hot->header->n_shards > 1);
    for (enum hl_load_way way = HL_LOAD_AUTO; way <= HL_LOAD_STAGE; way++)
        for (int odd = 0; odd < 3; odd++) {
            struct end end = {0, 0};
            struct hl_load *load;
            struct hl_device device = open_taker(hot);
            const struct hl_load_options options = {.way = way, .done = on_done, .context = &end};
            const struct hl_load_target target = {&taker, &device};
            device.skip = odd == 1 ? second : UINT64_MAX;
            device.fail = odd == 2 ? second : UINT64_MAX;
            if (!CHECK_OK(hl_load_open(hot, &options, target, &load, &err), err))
                continue;
            CHECK_OK(hl_load_wait(load, 1, &err), err);
            CHECK(hl_load_wait(load, UINT64_MAX, &err) == (odd == 2 ? -1 : 0));
            hl_load_close(load);
            CHECK(end.calls == 1 && end.failures == (odd == 2));
            CHECK(odd == 2 || device.taken == hot->header->n_shards - (odd == 1));
            CHECK(same_weights(hot, device.memory) == (odd == 0));
            free(device.memory);
        }
    hl_hot_close(hot);
}

static void test_closed_early(void)
{
    struct hl_hot *hot = open_hot(FIXTURES "f16-sharded", HL_QUANT_KEEP);
    for (int i = 0; i < 60; i++) {
        struct hl_load *load;
        struct end end = {0, 0};
        struct hl_device device = open_taker(hot);
        const struct hl_load_options options = {.way = i % 3 ? HL_LOAD_MAP : HL_LOAD_STAGE, .done = on_done, &end};
        const struct hl_load_target target = {&taker, &device};
        if (CHECK_OK(hl_load_open(hot, &options, i % 3 == 1 ? nowhere : target, &load, &err), err))
            hl_load_close(load);
        CHECK(end.calls <= 1 && end.failures == 0);
        free(device.memory);
    }
    hl_hot_close(hot);
}

/* Linux before 5.14 cannot: there a shortened file is a SIGBUS, for readers as for kernels. */
static bool reads_on_demand(const struct hl_hot *hot)
{
    if (madvise((void *)(uintptr_t)hot->weights, HL_PAGE_BYTES, 22 /* MADV_POPULATE_READ */) == 0)
        return true;
    printf("skip: pages cannot be asked for here, so a shortened file is not noticed\n");
    return false;
}

/* Truncates the last shard after all checks have passed. */
static void test_short_file(void)
{
    struct hl_hot *hot = open_hot(FIXTURES "f16-sharded", HL_QUANT_KEEP);
    struct end end = {0, 0};
    struct hl_load *load;
    char path[HL_PATH_BYTES];
    struct hl_load_options options = {.way = HL_LOAD_MAP, .done = on_done, .context = &end};
    CHECK(hot->header->n_shards > 1);
    if (!reads_on_demand(hot)) {
        hl_hot_close(hot);
        return;
    }
    CHECK_OK(hl_hot_shard_path(hot->path, hot->header->n_shards - 1, path, &err), err);
    CHECK(truncate(path, 0) == 0);
    if (CHECK_OK(hl_load_open(hot, &options, nowhere, &load, &err), err)) {
        for (int i = 0; i < 2; i++) {
            CHECK(hl_load_wait(load, UINT64_MAX, &err) == -1);
            CHECK_SAY(strstr(err.message, "cannot be read") && strstr(err.message, "load.hot"), "%s", err.message);
        }
        CHECK_OK(hl_load_wait(load, 1, &err), err); /* the earlier bytes are there */
        hl_load_close(load);
        CHECK(end.calls == 1 && end.failures == 1);
    }
    struct hl_device device = open_taker(hot);
    const struct hl_load_target target = {&taker, &device};
    for (options.way = HL_LOAD_MAP; options.way <= HL_LOAD_STAGE; options.way++) {
        if (options.way == HL_LOAD_STAGE) {
            CHECK(hl_load_open(hot, &options, target, &load, &err) == -1 && strstr(err.message, "bytes"));
        } else if (CHECK_OK(hl_load_open(hot, &options, target, &load, &err), err)) {
            CHECK(hl_load_wait(load, UINT64_MAX, &err) == -1 && strstr(err.message, "cannot be read"));
            hl_load_close(load);
        }
    }
    free(device.memory);
    hl_hot_close(hot);
}

/* Returns whether the mapping is resident, to its last page. */
static bool resident(uint8_t *from, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    HL_FREE unsigned char *pages = calloc(bytes / page + 1, 1);
    if (mincore(from, bytes, pages) < 0)
        return false;
    for (size_t i = 0; i < bytes / page; i++)
        if (!(pages[i] & 1))
            return false;
    return true;
}

/* A large piece that takes long, and small ones after it that finish first: they do not count for the large one. */
static void test_order(void)
{
    const uint64_t large = 4 << 20, small = 64 << 10;
    struct hl_header header = {.n_shards = 4};
    for (uint32_t i = 0; i < header.n_shards; i++)
        header.shard[i] =
            (struct hl_shard){.offset = i ? large + (i - 1) * HL_SHARD_ALIGN : 0, .bytes = i ? small : large};
    header.weight_bytes = header.shard[3].offset + small;
    for (uint32_t i = 0; i < 10; i++) {
        struct end end = {0, 0};
        struct hl_load *load;
        const struct hl_load_options options = {HL_LOAD_MAP, .patience_ms = i, .done = on_done, .context = &end};
        HL_CLOSE int fd = memfd_create("weights", MFD_CLOEXEC);
        if (!CHECK(fd >= 0 && ftruncate(fd, (off_t)header.weight_bytes) == 0))
            return;
        uint8_t *weights = mmap(NULL, header.weight_bytes, PROT_READ, MAP_SHARED, fd, 0);
        const struct hl_hot hot = {.header = &header, .weights = weights};
        if (!CHECK(weights != MAP_FAILED) || !CHECK_OK(hl_load_open(&hot, &options, nowhere, &load, &err), err))
            return;
        CHECK_OK(hl_load_wait(load, 1, &err), err);
        CHECK(resident(weights, large));
        CHECK_OK(hl_load_wait(load, UINT64_MAX, &err), err);
        for (uint32_t s = 0; s < header.n_shards; s++)
            CHECK(resident(weights + header.shard[s].offset, header.shard[s].bytes));
        hl_load_close(load);
        CHECK(end.calls == 1 && end.failures == 0);
        munmap(weights, header.weight_bytes);
    }
}

/* The readers and the thread that faults in the rest meet at the same pieces. */
static void test_hurry(void)
{
    struct hl_header header = {.n_shards = 1, .weight_bytes = 64 << 20};
    header.shard[0].bytes = header.weight_bytes;
    for (uint32_t i = 0; i < 20; i++) {
        bool lost = i % 4 == 3, closed = i % 4 == 2;
        struct end end = {0, 0};
        struct hl_load *load;
        const struct hl_load_options options = {HL_LOAD_MAP, .patience_ms = 1, .done = on_done, .context = &end};
        HL_CLOSE int fd = memfd_create("weights", MFD_CLOEXEC);
        if (!CHECK(fd >= 0 && ftruncate(fd, (off_t)header.weight_bytes / (lost ? 2 : 1)) == 0))
            return;
        uint8_t *weights = mmap(NULL, header.weight_bytes, PROT_READ, MAP_SHARED, fd, 0);
        const struct hl_hot hot = {.path = (char *)"held.hot", .header = &header, .weights = weights};
        if (!CHECK(weights != MAP_FAILED) || (lost && !reads_on_demand(&hot)) ||
            !CHECK_OK(hl_load_open(&hot, &options, nowhere, &load, &err), err))
            return;
        if (!closed)
            CHECK(hl_load_wait(load, UINT64_MAX, &err) == (lost ? -1 : 0));
        hl_load_close(load);
        CHECK_SAY(end.calls == 1 || (closed && end.calls == 0), "%d calls", end.calls);
        CHECK(end.failures == lost);
        munmap(weights, header.weight_bytes);
    }
}

/* ---- a device that waits for its weights ---- */

/* Protects the weights and opens them as far as the device asks: reading beyond that faults. */
struct curtain {
    uint8_t *memory;
    size_t bytes;
    uint64_t asked, fail_at;
    unsigned calls;
};

static int open_curtain(void *context, uint64_t end, struct hl_error *why)
{
    struct curtain *c = context;
    c->calls++;
    if (end > c->fail_at)
        return hl_fail(why, "the rest was lost");
    CHECK_SAY(end > c->asked && end <= c->bytes, "%llu after %llu of %zu", (unsigned long long)end,
              (unsigned long long)c->asked, c->bytes); /* asked once for each range */
    c->asked = end;
    mprotect(c->memory, hl_round_up(end, 4096), PROT_READ);
    return 0;
}

/* Brings all weights to the device's memory, and draws the curtain. */
static void draw(struct curtain *c, const struct hl_hot *hot, struct hl_device *device)
{
    *c = (struct curtain){.bytes = (size_t)hl_round_up(hot->header->weight_bytes, 4096), .fail_at = UINT64_MAX};
    CHECK_OK(hl_cpu_device.room(device, 0, 1, &c->memory, &err), err);
    for (uint32_t i = 0; i < hot->program.n_tensors; i++) {
        const struct hl_tensor *t = &hot->program.tensors[i];
        memcpy(c->memory + t->offset, hot->weights + t->offset, t->bytes);
    }
    mprotect(c->memory, c->bytes, PROT_NONE);
}

static int step(struct hl_device *device, uint32_t position, bool output, const struct hl_logits **logits)
{
    static const uint32_t pages[1] = {0};
    const int32_t token = (int32_t)position + 3;
    const struct hl_run run = {.n_tokens = 1, .position = position, .pages = pages, .n_pages = 1};
    const struct hl_want want = {.token = 0};
    const struct hl_step s = {
        .n_tokens = 1, .n_runs = 1, .n_outputs = output, .tokens = &token, .runs = &run, .wants = &want};
    return hl_cpu_device.step(device, &s, logits, &err);
}

static struct hl_device *open_device(const struct hl_hot *hot, struct curtain *curtain)
{
    struct hl_device *device = NULL;
    struct hl_device_limits limits;
    const struct hl_device_config config = {.program = hot->program,
                                            .weight_bytes = hot->header->weight_bytes,
                                            .weights = hot->weights,
                                            .in_place = !curtain,
                                            .wait = curtain ? open_curtain : NULL,
                                            .wait_context = curtain,
                                            .max_tokens = 4,
                                            .max_outputs = 1,
                                            .max_runs = 1,
                                            .run_pages = 1,
                                            .kv_pages = 1,
                                            .threads = 3};
    if (!CHECK_OK(hl_cpu_device.open(&config, &device, &err), err) ||
        !CHECK_OK(hl_cpu_device.start(device, &limits, &err), err))
        exit(check_summary());
    CHECK(limits.kv_pages == 1);
    if (curtain)
        draw(curtain, hot, device);
    return device;
}

static void test_arrival(const char *folder)
{
    struct hl_hot *hot = open_hot(folder, HL_QUANT_KEEP);
    struct curtain curtain;
    struct hl_device *plain = open_device(hot, NULL), *late = open_device(hot, &curtain);
    for (uint32_t position = 0; position < 4; position++) {
        const struct hl_logits *want, *got;
        if (!CHECK_OK(step(plain, position, true, &want), err) || !CHECK_OK(step(late, position, true, &got), err))
            break;
        CHECK(!memcmp(want->row, got->row, hot->program.head->vocabulary * sizeof(float)));
        CHECK(curtain.calls > 3);
        if (position > 0)
            curtain.calls = UINT32_MAX / 2; /* below, every call shows */
        CHECK(position == 0 || curtain.calls == UINT32_MAX / 2);
    }
    hl_cpu_device.close(late);
    hl_cpu_device.close(plain);
    hl_hot_close(hot);
}

static void test_loss(void)
{
    struct hl_hot *hot = open_hot(FIXTURES "f32-awkward", HL_QUANT_KEEP);
    struct curtain curtain;
    struct hl_device *device = open_device(hot, &curtain);
    const struct hl_logits *logits;
    curtain.fail_at = hot->header->weight_bytes / 2;
    for (int i = 0; i < 3; i++) {
        err.message[0] = 0;
        curtain.asked = 0;
        CHECK(step(device, 0, true, &logits) == HL_STEP_FAILED && strstr(err.message, "the rest was lost"));
    }
    hl_cpu_device.close(device);
    hl_hot_close(hot);
}

int main(void)
{
    test_in_place();
    test_brought();
    test_closed_early();
    test_short_file();
    test_order();
    test_hurry();
    test_arrival(FIXTURES "f16-sharded");
    test_arrival(FIXTURES "bf16-tied");
    test_arrival("tests/oracle/families/qwen2-untied");
    test_arrival("tests/oracle/families/gemma3-plain");
    test_loss();
    return scratch_summary();
}
