/* Chooses the best of a step's logits, with all threads of the team. */
#ifndef HL_KERNELS_CPU_CHOOSE_H
#define HL_KERNELS_CPU_CHOOSE_H

#include "base/error.h"
#include "base/team.h"
#include "kernels/device.h"

struct hl_chooser;

/* For rows of `vocabulary` logits, up to max_outputs at once, and a team of `threads`. */
int hl_chooser_open(uint32_t vocabulary, uint32_t max_outputs, uint32_t threads, struct hl_chooser **out,
                    struct hl_error *err);
void hl_chooser_close(struct hl_chooser *chooser);

/* Fills out[i] with what wants[i] asks of row i, which begins at rows + i * stride; rows whose best are wanted are
 * changed. Every thread of the team calls it, with equal arguments; the results are complete after the team's next
 * barrier, and belong to the chooser until the next call. They do not depend on the number of threads. */
void hl_chooser_run(struct hl_chooser *chooser, struct hl_team *team, struct hl_share share,
                    const struct hl_want *wants, uint32_t n, float *rows, size_t stride, struct hl_logits *out);

#endif
