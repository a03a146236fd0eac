/* A team of threads that walk through the same work together, with barriers between its parts. */
#ifndef HL_BASE_TEAM_H
#define HL_BASE_TEAM_H

#include "base/error.h"
#include <assert.h>
#include <stdint.h>

/* The share `index` of `count` of some work. */
struct hl_share {
    uint32_t index, count;
};

/* This share's part [*begin, *end) of `n` items. */
static inline void hl_share_range(struct hl_share share, uint32_t n, uint32_t *begin, uint32_t *end)
{
    assert(share.count > 0);
    *begin = (uint32_t)((uint64_t)n * share.index / share.count);
    *end = (uint32_t)((uint64_t)n * (share.index + 1) / share.count);
}

struct hl_team;

/* Cores that this process may use: its affinity, and a container's CPU limit. */
uint32_t hl_team_cores(void);

/* `threads` in all, the caller of hl_team_run() being one of them; 0: one per core that this process may use. */
int hl_team_open(uint32_t threads, struct hl_team **out, struct hl_error *err);
void hl_team_close(struct hl_team *team);
uint32_t hl_team_size(const struct hl_team *team);

/* Calls work(context, team, share) once on every thread and returns when all are done. */
void hl_team_run(struct hl_team *team, void (*work)(void *context, struct hl_team *team, struct hl_share share),
                 void *context);

/* Inside work: waits until every thread of the team has come here. */
void hl_team_barrier(struct hl_team *team);

#endif
