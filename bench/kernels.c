/* Measures the linear kernels: decode next to a plain streaming read of the same bytes, prefill in operations.
 *
 *     build/bench/kernels [--threads N] [--mib N] [--rounds N] [--kernels NAME] [type ...]
 *
 * Decode multiplies one matrix of random tiles, larger than the caches, with 1 to 8 tokens, once in anonymous huge
 * pages and once in a file's mapping as in the runtime. The probe reads the same bytes with the widest loads and
 * computes nothing. All measurements of a line take turns, round by round. Prints medians, and for one token the
 * reached part of the probe's speed. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/team.h"
#include "bench/bandwidth.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define COLS 2048u
#define PREFILL_ROWS 8192u
#define PREFILL_TOKENS 256u
#define ROUNDS_MOST 99

struct options {
    uint32_t threads, mib, rounds;
    const char *kernels;
};

struct job {
    const struct hl_kernels *kernels;
    struct hl_linear linear;
    uint64_t bytes;
    bool probe;
};

static void work(void *context, struct hl_team *team, struct hl_share share)
{
    struct job *job = context;
    if (job->probe) {
        read_share(job->linear.weight, job->bytes, share);
        return;
    }
    job->kernels->prepare(&job->linear, share);
    hl_team_barrier(team);
    uint32_t begin, end;
    hl_share_range(share, hl_tile_strips(job->linear.rows), &begin, &end);
    job->kernels->linear(&job->linear, begin, end);
}

static double run(struct hl_team *team, struct job *job)
{
    double begin = seconds();
    hl_team_run(team, work, job);
    return seconds() - begin;
}

/* Fills with bytes of every kind, but no infinite or NaN float or scale. */
static void fill(uint32_t type, uint8_t *to, uint64_t bytes)
{
    uint64_t state = 88172645463325252u;
    for (uint64_t i = 0; i + 8 <= bytes; i += 8) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint64_t number = state & (type < HL_TYPE_TILE_Q8 ? 0x3fff3fff3fff3fffu : 0xbfffbfffbfffbfffu);
        memcpy(to + i, &number, 8);
    }
}

static uint8_t *map_file(const uint8_t *bytes, uint64_t n)
{
    char path[] = "/tmp/hotlayer-bench.XXXXXX";
    HL_CLOSE int fd = mkstemp(path);
    if (fd < 0)
        return NULL;
    unlink(path);
    for (uint64_t done = 0; done < n;) {
        ssize_t wrote = write(fd, bytes + done, n - done);
        if (wrote <= 0)
            return NULL;
        done += (uint64_t)wrote;
    }
    void *map = mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

static struct job job_new(const struct hl_kernels *kernels, uint32_t type, const uint8_t *weight, uint32_t rows,
                          uint32_t n, float *memory, uint8_t *scratch)
{
    return (struct job){.kernels = kernels,
                        .bytes = hl_tile_strips(rows) * hl_strip_bytes(type, COLS),
                        .linear = {.type = type,
                                   .rows = rows,
                                   .cols = COLS,
                                   .weight = weight,
                                   .n = n,
                                   .in = memory,
                                   .in_stride = COLS,
                                   .out = memory + (size_t)n * COLS,
                                   .out_stride = rows,
                                   .scratch = scratch}};
}

enum { PROBE_HUGE, PROBE_FILE, ONE, ONE_FILE, TWO, FOUR, EIGHT, PREFILL, JOBS };

static int bench_type(const struct options *options, const struct hl_kernels *kernels, struct hl_team *team,
                      uint32_t type)
{
    static double times[JOBS][ROUNDS_MOST];
    uint32_t strips = (uint32_t)(((uint64_t)options->mib << 20) / hl_strip_bytes(type, COLS)), rows = strips * 16;
    uint64_t bytes = strips * hl_strip_bytes(type, COLS);
    uint32_t prefill_rows = hl_min_u32(rows, PREFILL_ROWS);
    uint8_t *weights = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (weights == MAP_FAILED)
        return 1;
    madvise(weights, bytes, MADV_HUGEPAGE);
    fill(type, weights, bytes);
    uint8_t *file = map_file(weights, bytes);
    size_t most = (size_t)8 * (rows + COLS), prefill = (size_t)PREFILL_TOKENS * (PREFILL_ROWS + COLS);
    HL_FREE float *memory = malloc((most > prefill ? most : prefill) * sizeof *memory);
    HL_FREE uint8_t *scratch = aligned_alloc(64, hl_linear_scratch_bytes(PREFILL_TOKENS, COLS));
    if (!file || !memory || !scratch)
        return 1;
    for (size_t i = 0; i < (size_t)PREFILL_TOKENS * COLS; i++)
        memory[i] = (float)(i % 31) - 15;
    struct job jobs[JOBS];
    for (int i = 0; i < JOBS; i++) {
        static const uint32_t n[JOBS] = {1, 1, 1, 1, 2, 4, 8, PREFILL_TOKENS};
        jobs[i] = job_new(kernels, type, i == PROBE_FILE || i == ONE_FILE ? file : weights,
                          i == PREFILL ? prefill_rows : rows, n[i], memory, scratch);
        jobs[i].probe = i <= PROBE_FILE;
    }
    for (uint32_t round = 0; round < options->rounds; round++)
        for (int i = 0; i < JOBS; i++)
            times[i][round] = run(team, &jobs[i]);
    double speed[JOBS];
    for (int i = 0; i < JOBS; i++)
        speed[i] = (double)bytes / median(times[i], options->rounds) * 1e-9;
    double operations = 2.0 * COLS * prefill_rows * PREFILL_TOKENS / median(times[PREFILL], options->rounds) * 1e-9;
    printf("%-5s %7.1f %7.1f | %6.1f %3.0f%% %6.1f %3.0f%% | %6.1f %6.1f %6.1f | %7.0f %7.0f\n",
           hl_type_traits[type].name, speed[PROBE_HUGE], speed[PROBE_FILE], speed[ONE],
           100 * speed[ONE] / speed[PROBE_HUGE], speed[ONE_FILE], 100 * speed[ONE_FILE] / speed[PROBE_FILE], speed[TWO],
           speed[FOUR], speed[EIGHT], operations, operations / 2);
    munmap(weights, bytes);
    munmap(file, bytes);
    return 0;
}

static const struct hl_kernels *kernels_named(const char *name)
{
    const struct hl_kernels *const *available = hl_kernels_available();
    while (name && *available && strcmp((*available)->name, name) != 0)
        available++;
    return *available;
}

static bool wanted(const char *name, int n, char *const *names)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return n == 0;
}

int main(int argc, char **argv)
{
    struct options options = {.mib = 256, .rounds = 9};
    struct hl_error err;
    struct hl_team *team;
    int first = 1;
    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        uint32_t number = (uint32_t)strtoul(argv[first + 1], NULL, 10);
        if (strcmp(argv[first], "--threads") == 0)
            options.threads = number;
        else if (strcmp(argv[first], "--mib") == 0)
            options.mib = number;
        else if (strcmp(argv[first], "--rounds") == 0)
            options.rounds = number < ROUNDS_MOST ? number : ROUNDS_MOST;
        else if (strcmp(argv[first], "--kernels") == 0)
            options.kernels = argv[first + 1];
    }
    const struct hl_kernels *kernels = kernels_named(options.kernels);
    if (!kernels || options.mib < 1 || options.rounds == 0 || hl_team_open(options.threads, &team, &err) < 0) {
        fprintf(stderr, "kernels: no such kernels, or a number is wrong\n");
        return 2;
    }
    printf("%s, %u threads, matrices of %u MiB, %u columns; GB/s of tiles, prefill of %u tokens\n", kernels->name,
           hl_team_size(team), options.mib, COLS, PREFILL_TOKENS);
    printf("type    probe    file |  1 token       in a file  | 2 tokens      4      8 |    GOPS  tokens/s of 1e9 "
           "weights\n");
    int failed = 0;
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++)
        if (wanted(hl_type_traits[type].name, argc - first, argv + first))
            failed |= bench_type(&options, kernels, team, type);
    hl_team_close(team);
    return failed;
}
