/* A team of threads that walk through the same work together, with barriers between its parts. */
#ifndef HOTLAYER_CPU_TEAM_H
#define HOTLAYER_CPU_TEAM_H

#include "base/error.h"
#include "kernels/cpu/kernels.h"

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
