/* Threads that stay alive between steps.
 *
 * In a step the threads meet at a barrier about ten times per block of the model. So a barrier must cost well under a
 * microsecond: one atomic counts the arrivals, and waiting threads spin on the barrier's generation. A thread that has
 * spun for long sleeps on a futex until the generation changes: another thread lost its core, or there is no work. The
 * start and the end of a run are barriers too.
 */
#include "base/team.h"
#include "base/sizes.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 4000 /* 80 to 200 microseconds: a pause takes 20 to 50 ns */

struct member {
    struct hl_team *team;
    uint32_t index;
    pthread_t thread;
};

/* Waiting threads read `generation` all the time, and arriving threads write `arrived`. They lie on different cache
 * lines, else each write would take the line from all readers. */
struct hl_team {
    _Alignas(64) _Atomic uint32_t generation; /* of the barrier; also the futex word */
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t sleepers;
    _Atomic int stop;
    uint32_t size, spins;
    void (*work)(void *context, struct hl_team *team, struct hl_share share);
    void *context;
    struct member member[]; /* size - 1 */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void wait_for_change(struct hl_team *team, uint32_t generation)
{
    for (uint32_t i = 0; i < team->spins; i++) {
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation)
            return;
        relax();
    }
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->generation) == generation)
        syscall(SYS_futex, &team->generation, FUTEX_WAIT_PRIVATE, generation, NULL, NULL, 0);
    atomic_fetch_sub(&team->sleepers, 1);
}

void hl_team_barrier(struct hl_team *team)
{
    if (team->size == 1)
        return;
    uint32_t generation = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add(&team->arrived, 1) + 1 < team->size) {
        wait_for_change(team, generation);
        return;
    }
    atomic_store_explicit(&team->arrived, 0,
                          memory_order_relaxed); /* no thread can arrive again before the next line */
    atomic_store(&team->generation, generation + 1);
    if (atomic_load(&team->sleepers))
        syscall(SYS_futex, &team->generation, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    struct hl_team *team = member->team;
    for (;;) {
        hl_team_barrier(team); /* the start of a run */
        if (atomic_load(&team->stop))
            return NULL;
        team->work(team->context, team, (struct hl_share){member->index, team->size});
        hl_team_barrier(team); /* the end of the run */
    }
}

/* Returns a container's CPU limit in whole cores, rounded down, or UINT32_MAX if there is no limit. The file says
 * "max 100000", or "150000 100000" for one and a half. More threads would spend the quota on waiting for each other. */
static uint32_t quota_cores(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    unsigned long long quota = 0, period = 0;
    bool limited = file && fscanf(file, "%llu %llu", &quota, &period) == 2 && quota > 0 && period > 0;
    if (file)
        fclose(file);
    if (!limited || quota / period >= UINT32_MAX)
        return UINT32_MAX;
    return quota < period ? 1 : (uint32_t)(quota / period);
}

uint32_t hl_team_cores(void)
{
    cpu_set_t set;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        cores = CPU_COUNT(&set);
    return hl_min_u32(cores > 0 ? (uint32_t)cores : 1, quota_cores());
}

int hl_team_open(uint32_t threads, struct hl_team **out, struct hl_error *err)
{
    uint32_t cores = hl_team_cores(), size = threads ? threads : cores;
    if (size > 1024)
        return hl_fail(err, "%u threads are too many: at most 1024", size);
    size_t bytes = (size_t)hl_round_up(sizeof(struct hl_team) + (size - 1) * sizeof(struct member), 64);
    struct hl_team *team = aligned_alloc(64, bytes);
    if (!team)
        return hl_fail(err, "out of memory for %u threads", size);
    memset(team, 0, bytes);
    team->size = size;
    team->spins = size <= cores ? SPINS : 1; /* if threads share a core, a spinning one blocks another */
    for (uint32_t i = 0; i + 1 < size; i++) {
        team->member[i].team = team;
        team->member[i].index = i + 1;
    }
    for (uint32_t i = 0; i + 1 < size; i++) {
        int code = pthread_create(&team->member[i].thread, NULL, member_main, &team->member[i]);
        if (code) {
            /* The running threads wait for all to arrive: arrive for the missing ones, so that they end. */
            atomic_store(&team->stop, 1);
            atomic_fetch_add(&team->arrived, size - 1 - i);
            hl_team_barrier(team);
            for (uint32_t k = 0; k < i; k++)
                pthread_join(team->member[k].thread, NULL);
            free(team);
            return hl_fail(err, "cannot start thread %u of %u: %s", i + 2, size, strerror(code));
        }
    }
    *out = team;
    return 0;
}

void hl_team_close(struct hl_team *team)
{
    if (!team)
        return;
    atomic_store(&team->stop, 1);
    hl_team_barrier(team);
    for (uint32_t i = 0; i + 1 < team->size; i++)
        pthread_join(team->member[i].thread, NULL);
    free(team);
}

uint32_t hl_team_size(const struct hl_team *team)
{
    return team->size;
}

void hl_team_run(struct hl_team *team, void (*work)(void *context, struct hl_team *team, struct hl_share share),
                 void *context)
{
    team->work = work;
    team->context = context;
    hl_team_barrier(team);
    work(context, team, (struct hl_share){0, team->size});
    hl_team_barrier(team);
}
