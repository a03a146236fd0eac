/* base/team.c: every barrier separates the writes before it from the reads after it. Runs with fewer and with more
 * threads than cores, over many runs and many teams. */
#include "base/cleanup.h"
#include "base/team.h"
#include "tests/unit/check.h"
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#define MOST 8
#define BARRIERS 40

struct shared {
    uint32_t size;
    uint64_t value[MOST]; /* plain on purpose: only the barriers order it */
    uint64_t sum[MOST];
    _Atomic unsigned wrong, entered;
};

/* Lets each thread write its number and add up all numbers, round after round. */
static void add_up(void *context, struct hl_team *team, struct hl_share share)
{
    struct shared *s = context;
    atomic_fetch_add(&s->entered, 1);
    if (share.count != s->size || share.index >= s->size || hl_team_size(team) != s->size) {
        atomic_fetch_add(&s->wrong, 1);
        return;
    }
    for (uint64_t round = 0; round < BARRIERS; round++) {
        uint64_t sum = 0, want = 0;
        s->value[share.index] = round * 100 + share.index;
        hl_team_barrier(team);
        for (uint32_t i = 0; i < s->size; i++) {
            sum += s->value[i];
            want += round * 100 + i;
        }
        if (sum != want)
            atomic_fetch_add(&s->wrong, 1);
        s->sum[share.index] += sum;
        hl_team_barrier(team);
    }
}

static uint64_t expected(uint32_t size, uint64_t runs)
{
    uint64_t sum = 0;
    for (uint64_t round = 0; round < BARRIERS; round++)
        for (uint32_t i = 0; i < size; i++)
            sum += round * 100 + i;
    return sum * runs;
}

static void check_runs(uint32_t threads, unsigned runs)
{
    struct hl_error err;
    struct hl_team *team;
    struct shared s = {.size = threads};
    if (!CHECK_OK(hl_team_open(threads, &team, &err), err))
        return;
    for (unsigned i = 0; i < runs; i++)
        hl_team_run(team, add_up, &s);
    /* The caller reads what the others wrote: the end of a run is a barrier too. */
    CHECK_SAY(s.entered == threads * runs, "%u threads: %u entries in %u runs", threads, s.entered, runs);
    CHECK_SAY(s.wrong == 0, "%u threads: %u sums are wrong", threads, s.wrong);
    for (uint32_t i = 0; i < threads; i++)
        CHECK(s.sum[i] == expected(threads, runs));
    hl_team_close(team);
}

static void set_one(void *context, struct hl_team *team, struct hl_share share)
{
    (void)team;
    ((unsigned *)context)[share.index]++;
}

/* Opens and closes a team at once, uses one once, and uses one after a pause that puts the other threads to sleep. */
static void test_many_teams(void)
{
    struct hl_error err;
    for (unsigned i = 0; i < 200; i++) {
        struct hl_team *team;
        unsigned counts[MOST] = {0};
        if (!CHECK_OK(hl_team_open(1 + i % MOST, &team, &err), err))
            return;
        if (i % 3)
            hl_team_run(team, set_one, counts);
        if (i % 10 == 1) {
            usleep(2000);
            hl_team_run(team, set_one, counts);
        }
        unsigned runs = (i % 3 ? 1u : 0u) + (i % 10 == 1 ? 1u : 0u);
        for (unsigned k = 0; k < MOST; k++)
            CHECK(counts[k] == (k < 1 + i % MOST ? runs : 0));
        hl_team_close(team);
    }
}

static void test_sizes(void)
{
    struct hl_error err = {.message = ""};
    struct hl_team *team;
    CHECK_OK(hl_team_open(0, &team, &err), err);
    CHECK(hl_team_size(team) >= 1 && hl_team_size(team) <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
    hl_team_close(team);
    CHECK_FAILS(hl_team_open(1025, &team, &err), err, "1025 threads are too many");
    hl_team_close(NULL);
}

/* If the system refuses more threads, the team ends those that run already, and an error names the missing one. The
 * sanitizers' own memory does not fit under such a limit. */
static void test_no_more_threads(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !__has_feature(address_sanitizer)
    pid_t child = fork();
    if (child == 0) {
        struct hl_error err = {.message = ""};
        struct hl_team *team;
        const struct rlimit limit = {256u << 20, 256u << 20}; /* thirty stacks of 8 MiB */
        alarm(20);
        bool refused = setrlimit(RLIMIT_AS, &limit) == 0 && hl_team_open(100, &team, &err) < 0;
        _exit(refused && strstr(err.message, "cannot start thread") ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
#endif
}

int main(void)
{
    for (uint32_t threads = 1; threads <= MOST; threads++)
        check_runs(threads, 60);
    test_many_teams();
    test_sizes();
    test_no_more_threads();
    return check_summary();
}
