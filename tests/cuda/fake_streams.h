/* Streams, events and the work in them, which waits until somebody waits for it. */
#ifndef HL_TESTS_CUDA_FAKE_STREAMS_H
#define HL_TESTS_CUDA_FAKE_STREAMS_H

#include "tests/cuda/fake_things.h"

/* Puts work into a stream. now: the copy's bytes are taken at once. */
void put_copy(struct thing *stream, void *to, const void *from, size_t bytes, bool now);
void put_fill(struct thing *stream, void *to, uint8_t value, size_t bytes);
void put_launch(struct thing *stream, const struct hl_fiber_kernel *kernel, const void *arguments,
                struct hl_cuda_grid grid);
void put_record(struct thing *stream, struct thing *event);
void put_wait(struct thing *stream, const struct thing *event);

/* Does the work of a stream up to a number, and what that waits for in others. */
void run_to(struct thing *stream, uint64_t number);
/* Does the work of all streams. */
void run_all(void);
void forget_work(struct thing *stream);
/* Is it done? One that is asked often enough makes it so. */
bool query(struct thing *asked, struct thing *stream, uint64_t number);

#endif
