/* Measures how fast this machine reads memory: the limit of decoding, which reads every weight once per token.
 *
 *     build/bench/probe [--threads N] [--mib N] [--rounds N] [--file PATH]
 *
 * Reads so many MiB with the widest loads and computes nothing: from anonymous huge pages, and from the mapping of a
 * file in the page cache, PATH's beginning or a file of its own in TMPDIR. The two take turns; prints the medians as
 * JSON, in GB/s. All pages are mapped before the clock starts. */
#include "base/cleanup.h"
#include "base/team.h"
#include "bench/bandwidth.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS_MOST 99

struct options {
    uint32_t threads, mib, rounds;
    const char *file;
};

struct job {
    const uint8_t *from;
    uint64_t bytes;
};

static void work(void *context, struct hl_team *team, struct hl_share share)
{
    const struct job *job = context;
    (void)team;
    read_share(job->from, job->bytes, share);
}

static double speed(struct hl_team *team, struct job *job)
{
    double begin = seconds();
    hl_team_run(team, work, job);
    return (double)job->bytes / (seconds() - begin) * 1e-9;
}

static int own_file(const uint8_t *bytes, uint64_t n)
{
    char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hotlayer-probe.XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    unlink(path);
    for (uint64_t done = 0; done < n;) {
        ssize_t wrote = write(fd, bytes + done, n - done);
        if (wrote <= 0) {
            close(fd);
            return -1;
        }
        done += (uint64_t)wrote;
    }
    return fd;
}

static int measure(const struct options *o, struct hl_team *team)
{
    uint64_t bytes = (uint64_t)o->mib << 20;
    double huge[ROUNDS_MOST], file[ROUNDS_MOST];
    struct stat status;
    uint8_t *anonymous = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (anonymous == MAP_FAILED)
        return -1;
    madvise(anonymous, bytes, MADV_HUGEPAGE);
    memset(anonymous, 1, bytes); /* if never written, all of it would be the one page of zeros */
    HL_CLOSE int fd = o->file ? open(o->file, O_RDONLY | O_CLOEXEC) : own_file(anonymous, bytes);
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size < 1 << 20)
        return -1;
    uint64_t length = (uint64_t)status.st_size < bytes ? (uint64_t)status.st_size : bytes;
    void *map = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    struct job from_huge = {anonymous, bytes}, from_file = {map, length};
    speed(team, &from_huge);
    speed(team, &from_file);
    for (uint32_t i = 0; i < o->rounds; i++) {
        huge[i] = speed(team, &from_huge);
        file[i] = speed(team, &from_file);
    }
    printf("{\"threads\":%u,\"bytes\":%llu,\"file_bytes\":%llu,\"rounds\":%u,\"huge_gb_per_second\":%.3f,"
           "\"file_gb_per_second\":%.3f}\n",
           hl_team_size(team), (unsigned long long)bytes, (unsigned long long)length, o->rounds,
           median(huge, o->rounds), median(file, o->rounds));
    munmap(map, length);
    munmap(anonymous, bytes);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.mib = 1024, .rounds = 9};
    struct hl_error err;
    struct hl_team *team;
    for (int i = 1; i < argc; i += 2) {
        uint32_t number = i + 1 < argc ? (uint32_t)strtoul(argv[i + 1], NULL, 10) : 0;
        if (i + 1 < argc && strcmp(argv[i], "--file") == 0)
            options.file = argv[i + 1];
        else if (number && strcmp(argv[i], "--threads") == 0)
            options.threads = number;
        else if (number && strcmp(argv[i], "--mib") == 0)
            options.mib = number;
        else if (number && number <= ROUNDS_MOST && strcmp(argv[i], "--rounds") == 0)
            options.rounds = number;
        else {
            fprintf(stderr, "usage: probe [--threads N] [--mib N] [--rounds 1..99] [--file PATH]\n");
            return 2;
        }
    }
    if (hl_team_open(options.threads, &team, &err) < 0 || measure(&options, team) < 0) {
        fprintf(stderr, "probe: memory or file cannot be had\n");
        return 1;
    }
    hl_team_close(team);
    return 0;
}
