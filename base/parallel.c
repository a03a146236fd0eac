/* A loop whose iterations run in parallel. Each thread takes the next number until none is left or an iteration failed.
 *
 * The iterations mostly wait for the network, so `jobs` may exceed the number of cores. The calling thread works too: if
 * no thread can be created, it does all of the work.
 */
#include "base/parallel.h"
#include <pthread.h>
#include <stdbool.h>

#define JOBS_MOST 64u

struct loop {
    pthread_mutex_t lock;
    size_t next, n;
    bool failed;
    struct hl_error first;
    int (*round)(void *context, size_t i, struct hl_error *err);
    void *context;
};

static bool take(struct loop *loop, size_t *i)
{
    pthread_mutex_lock(&loop->lock);
    bool more = !loop->failed && loop->next < loop->n;
    if (more)
        *i = loop->next++;
    pthread_mutex_unlock(&loop->lock);
    return more;
}

static void *work(void *context)
{
    struct loop *loop = context;
    for (size_t i; take(loop, &i);) {
        struct hl_error err = {0};
        if (!loop->round(loop->context, i, &err))
            continue;
        pthread_mutex_lock(&loop->lock);
        if (!loop->failed)
            loop->first = err;
        loop->failed = true;
        pthread_mutex_unlock(&loop->lock);
    }
    return NULL;
}

int hl_parallel(size_t n, unsigned jobs, int (*round)(void *context, size_t i, struct hl_error *err), void *context,
                struct hl_error *err)
{
    struct loop loop = {.lock = PTHREAD_MUTEX_INITIALIZER, .n = n, .round = round, .context = context};
    pthread_t thread[JOBS_MOST];
    unsigned wanted = jobs < JOBS_MOST ? jobs : JOBS_MOST, helpers = 0;
    if (wanted > n)
        wanted = (unsigned)n;
    while (helpers + 1 < wanted && !pthread_create(&thread[helpers], NULL, work, &loop))
        helpers++;
    work(&loop);
    for (unsigned i = 0; i < helpers; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&loop.lock);
    if (loop.failed)
        *err = loop.first;
    return loop.failed ? -1 : 0;
}
