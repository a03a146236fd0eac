/* A team of threads that all run the same function, with barriers between its parts. */
#ifndef HL_BASE_TEAM_H
#define HL_BASE_TEAM_H

#include "base/error.h"
#include <assert.h>
#include <stdint.h>

/* Share `index` of `count` equal shares of the work. */
struct hl_share {
    uint32_t index, count;
};

/* Computes this share's part [*begin, *end) of `n` items. */
static inline void hl_share_range(struct hl_share share, uint32_t n, uint32_t *begin, uint32_t *end)
{
    assert(share.count > 0);
    *begin = (uint32_t)((uint64_t)n * share.index / share.count);
    *end = (uint32_t)((uint64_t)n * (share.index + 1) / share.count);
}

struct hl_team;

/* Returns the number of cores that this process may use, by its affinity and its container's CPU limit. */
uint32_t hl_team_cores(void);

/* Starts a team of `threads`, which include the caller of hl_team_run(). 0: one for each core of hl_team_cores(). */
int hl_team_open(uint32_t threads, struct hl_team **out, struct hl_error *err);
void hl_team_close(struct hl_team *team);
uint32_t hl_team_size(const struct hl_team *team);

/* Calls work(context, team, share) once on every thread. Returns when all have returned. */
void hl_team_run(struct hl_team *team, void (*work)(void *context, struct hl_team *team, struct hl_share share),
                 void *context);

/* Waits until every thread of the team has called it. Only for use in `work`. */
void hl_team_barrier(struct hl_team *team);

#endif
