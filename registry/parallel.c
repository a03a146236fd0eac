#include "registry/parallel.h"
#include <pthread.h>
#include <stdatomic.h>

#define THREADS_MOST 64

struct loop {
    size_t n;
    int (*round)(void *context, size_t i, struct hl_error *err);
    void *context;
    _Atomic size_t next;
    _Atomic bool failed;
    struct hl_error *err; /* written by whoever fails first */
};

static void *run(void *context)
{
    struct loop *loop = context;
    struct hl_error err;
    for (size_t i; !loop->failed && (i = loop->next++) < loop->n;)
        if (loop->round(loop->context, i, &err) && !atomic_exchange(&loop->failed, true))
            *loop->err = err;
    return NULL;
}

int hl_parallel(size_t n, unsigned jobs, int (*round)(void *context, size_t i, struct hl_error *err), void *context,
                struct hl_error *err)
{
    struct loop loop = {.n = n, .round = round, .context = context, .err = err};
    pthread_t thread[THREADS_MOST];
    size_t threads = 0, wanted = jobs > THREADS_MOST ? THREADS_MOST : jobs;
    while (threads + 1 < wanted && threads + 1 < n && !pthread_create(&thread[threads], NULL, run, &loop))
        threads++;
    run(&loop);
    for (size_t i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return loop.failed ? -1 : 0;
}
