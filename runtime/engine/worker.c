/* Jobs go one way, news the other; one mutex guards both lists.
 *
 *   main thread     start, cancel --> inbox --> worker: map, open, then step after step
 *   event loop  <-- news <-- text, finish (an eventfd wakes the loop)
 *
 * A job belongs to the worker from the inbox until the news of its end is taken from the list; then the main thread
 * frees it. Jobs wait here rather than in the scheduler, where each would hold a sampler as large as the vocabulary. */
#include "runtime/engine/worker.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

/* A piece of text, or with `last` the end of its job. */
struct news {
    struct news *next;
    struct hl_job *job;
    bool last;
    int32_t token;
    size_t n;
    char text[];
};

struct end { /* a job's last news: allocated beforehand, since it must not fail */
    struct hl_timings timings;
    enum hl_finish reason;
    struct hl_error err;
    char *rest;
    size_t n;
};

struct hl_job {
    struct hl_job *next; /* in the inbox, then among the worker's jobs */
    struct hl_worker *worker;
    struct hl_generate request; /* with the main thread's callbacks */
    int32_t *prompt;
    bool cancel;                      /* guarded by the mutex */
    bool doomed;                      /* the worker's copy of it */
    bool starved;                     /* the worker's: text was lost for want of memory */
    struct hl_generation *generation; /* the worker's; NULL while it waits */
    struct end end;
    struct news *last;
};

enum state { OPENING, READY, FAILED };

struct hl_worker {
    struct hl_model *model;
    struct hl_worker_options options;
    pthread_t thread;
    int wake;        /* an eventfd */
    uint32_t n_jobs; /* the main thread's count: started, end not yet dispatched */
    enum state told; /* the main thread's: what it has been told */

    pthread_mutex_t mutex;
    pthread_cond_t work; /* there is something in the inbox, to cancel, or to stop */
    struct hl_job *inbox, **inbox_end;
    struct news *news, **news_end;
    bool any_cancel, stop;
    enum state state;
    bool opened, loaded; /* both: ready */
    uint64_t mapped_ns, ready_ns;
    struct hl_error err;

    /* the worker thread's */
    struct hl_engine *engine;
    struct hl_scheduler *scheduler;
    struct hl_job *jobs; /* oldest first */
    uint32_t n_running;
};

/* ---- the worker's side ---- */

static void wake_main(const struct hl_worker *worker)
{
    eventfd_write(worker->wake, 1);
}

static void tell(struct hl_worker *worker, struct news *news)
{
    pthread_mutex_lock(&worker->mutex);
    bool first = worker->news == NULL;
    *worker->news_end = news;
    worker->news_end = &news->next;
    pthread_mutex_unlock(&worker->mutex);
    if (first)
        wake_main(worker);
}

static bool on_text(void *context, int32_t token, const char *piece, size_t n)
{
    struct hl_job *job = context;
    struct news *news = malloc(sizeof *news + n);
    if (!news) {
        job->starved = true;
        return false;
    }
    *news = (struct news){.job = job, .token = token, .n = n};
    memcpy(news->text, piece, n);
    tell(job->worker, news);
    return true;
}

static void end_job(struct hl_job *job, enum hl_finish reason, const struct hl_timings *timings,
                    const struct hl_error *err)
{
    struct hl_worker *worker = job->worker;
    struct hl_job **link = &worker->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    worker->n_running -= job->generation != NULL;
    job->end.reason = reason;
    if (timings)
        job->end.timings = *timings;
    if (err)
        job->end.err = *err;
    struct news *last = job->last;
    job->last = NULL;
    tell(worker, last); /* the job is the main thread's now */
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct hl_job *job = context;
    struct hl_error starved;
    if (n && (job->end.rest = malloc(n))) {
        memcpy(job->end.rest, rest, n);
        job->end.n = n;
    } else if (n) {
        job->starved = true;
    }
    if (job->starved && reason != HL_FINISH_ERROR) {
        hl_no_memory(&starved);
        err = &starved;
        reason = HL_FINISH_ERROR;
    }
    end_job(job, reason, timings, err);
}

static void start_job(struct hl_worker *worker, struct hl_job *job)
{
    struct hl_error err;
    struct hl_generate request = job->request;
    request.prompt = job->prompt;
    request.text = on_text;
    request.finish = on_finish;
    request.context = job;
    if (hl_generate_start(worker->scheduler, worker->model, &request, &job->generation, &err) < 0)
        end_job(job, HL_FINISH_ERROR, NULL, &err);
    else
        worker->n_running++;
}

/* Between two steps: ends what is cancelled, answers what only waits for the engine, starts what there is room for. */
static void manage_jobs(struct hl_worker *worker)
{
    for (struct hl_job *job = worker->jobs, *next; job; job = next) {
        next = job->next;
        if (job->doomed && job->generation)
            hl_generation_cancel(worker->scheduler, job->generation);
        else if (job->doomed)
            end_job(job, HL_FINISH_CANCELLED, NULL, NULL);
        else if (job->request.n_prompt == 0)
            end_job(job, HL_FINISH_STOP, NULL, NULL);
        else if (!job->generation && worker->n_running < worker->engine->parallel)
            start_job(worker, job);
    }
}

static struct hl_job **last_link(struct hl_worker *worker)
{
    struct hl_job **link = &worker->jobs;
    while (*link)
        link = &(*link)->next;
    return link;
}

/* Takes the inbox; sleeps while there is nothing to do. False: stop. */
static bool take_work(struct hl_worker *worker)
{
    struct hl_job **end = last_link(worker);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stop && !worker->inbox && !worker->any_cancel && !worker->jobs)
        pthread_cond_wait(&worker->work, &worker->mutex);
    *end = worker->inbox;
    worker->inbox = NULL;
    worker->inbox_end = &worker->inbox;
    for (struct hl_job *job = worker->jobs; worker->any_cancel && job; job = job->next)
        job->doomed = job->cancel;
    worker->any_cancel = false;
    bool stop = worker->stop;
    pthread_mutex_unlock(&worker->mutex);
    return !stop;
}

/* One of the two things that make the worker ready has happened, or will not; err is NULL, or why not. */
static void advance(struct hl_worker *worker, bool *what, const struct hl_error *err)
{
    pthread_mutex_lock(&worker->mutex);
    *what = !err;
    if (err && worker->state != FAILED) {
        worker->state = FAILED;
        worker->err = *err;
    } else if (worker->opened && worker->loaded && worker->state == OPENING) {
        worker->state = READY;
        worker->ready_ns = hl_clock_ns();
    }
    pthread_mutex_unlock(&worker->mutex);
    wake_main(worker);
}

/* From one of the threads that read the weights. */
static void on_loaded(void *context, const struct hl_error *err)
{
    struct hl_worker *worker = context;
    advance(worker, &worker->loaded, err);
}

static int open_engine(struct hl_worker *worker, struct hl_error *err)
{
    struct hl_engine_options options = worker->options.engine;
    options.load.done = on_loaded;
    options.load.context = worker;
    if (hl_hot_map_weights(worker->model->hot, err) < 0)
        return -1;
    worker->mapped_ns = hl_clock_ns();
    if (hl_engine_open(worker->model->hot, &options, &worker->engine, err) < 0)
        return -1;
    return hl_scheduler_open(worker->model, worker->engine, &worker->scheduler, err);
}

static void *work(void *argument)
{
    struct hl_worker *worker = argument;
    struct hl_error err;
    int opened = open_engine(worker, &err);
    advance(worker, &worker->opened, opened < 0 ? &err : NULL);
    while (opened == 0 && take_work(worker)) {
        manage_jobs(worker);
        hl_scheduler_step(worker->scheduler);
    }
    hl_scheduler_close(worker->scheduler);
    hl_engine_close(worker->engine);
    return NULL;
}

/* ---- the main thread's side ---- */

static void free_worker(struct hl_worker *worker)
{
    if (worker->wake >= 0)
        close(worker->wake);
    pthread_cond_destroy(&worker->work);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

int hl_worker_open(struct hl_model *model, const struct hl_worker_options *options, struct hl_worker **out,
                   struct hl_error *err)
{
    struct hl_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return hl_no_memory(err);
    worker->model = model;
    worker->options = *options;
    worker->inbox_end = &worker->inbox;
    worker->news_end = &worker->news;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->work, NULL);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Signals are the event loop's; the threads that this one starts inherit the mask. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = worker->wake < 0 ? errno : pthread_create(&worker->thread, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (reason) {
        free_worker(worker);
        return hl_fail(err, "the thread that computes cannot be started: %s", strerror(reason));
    }
    *out = worker;
    return 0;
}

static void free_job(struct hl_job *job)
{
    free(job->prompt);
    free(job->end.rest);
    free(job->last);
    free(job);
}

int hl_worker_start(struct hl_worker *worker, const struct hl_generate *generate, struct hl_job **out,
                    struct hl_error *err)
{
    uint32_t parallel = worker->options.engine.parallel;
    if (worker->n_jobs >= parallel && worker->n_jobs - parallel >= worker->options.max_waiting)
        return hl_fail_as(err, HL_ERROR_BUSY, "the server is busy: %u requests are running or waiting; try again later",
                          worker->n_jobs);
    struct hl_job *job = calloc(1, sizeof *job);
    if (job) {
        job->prompt = malloc((generate->n_prompt + 1) * sizeof *job->prompt);
        job->last = calloc(1, sizeof *job->last);
    }
    if (!job || !job->prompt || !job->last) {
        if (job)
            free_job(job);
        return hl_no_memory(err);
    }
    job->worker = worker;
    job->request = *generate;
    job->last->job = job;
    job->last->last = true;
    if (generate->n_prompt)
        memcpy(job->prompt, generate->prompt, generate->n_prompt * sizeof *job->prompt);
    worker->n_jobs++;
    *out = job;
    pthread_mutex_lock(&worker->mutex);
    *worker->inbox_end = job;
    worker->inbox_end = &job->next;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
    return 0;
}

void hl_worker_cancel(struct hl_worker *worker, struct hl_job *job)
{
    pthread_mutex_lock(&worker->mutex);
    job->cancel = worker->any_cancel = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

int hl_worker_fd(const struct hl_worker *worker)
{
    return worker->wake;
}

static void dispatch_state(struct hl_worker *worker, enum state state)
{
    if (worker->told == state)
        return;
    worker->told = state;
    if (state == READY)
        worker->options.ready(worker->options.context, worker->mapped_ns, worker->ready_ns);
    else
        worker->options.failed(worker->options.context, &worker->err);
}

static void dispatch_news(struct hl_worker *worker, struct news *news)
{
    struct hl_job *job = news->job;
    const struct hl_generate *request = &job->request;
    const struct end *end = &job->end;
    if (!news->last) {
        request->text(request->context, news->token, news->text, news->n);
    } else {
        worker->n_jobs--;
        request->finish(request->context, end->reason, end->rest ? end->rest : "", end->n, &end->timings,
                        end->reason == HL_FINISH_ERROR ? &end->err : NULL);
        free_job(job);
    }
    free(news);
}

void hl_worker_dispatch(struct hl_worker *worker)
{
    eventfd_t count;
    eventfd_read(worker->wake, &count);
    pthread_mutex_lock(&worker->mutex);
    struct news *news = worker->news;
    enum state state = worker->state;
    worker->news = NULL;
    worker->news_end = &worker->news;
    pthread_mutex_unlock(&worker->mutex);
    dispatch_state(worker, state);
    for (struct news *next; news; news = next) {
        next = news->next;
        dispatch_news(worker, news);
    }
}

bool hl_worker_close(struct hl_worker *worker, uint32_t patience)
{
    struct timespec until;
    if (!worker)
        return true;
    pthread_mutex_lock(&worker->mutex);
    worker->stop = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience / 1000;
    until.tv_nsec += (long)(patience % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_timedjoin_np(worker->thread, NULL, &until) != 0)
        return false;
    worker->told = worker->state; /* nobody needs to know any more */
    *last_link(worker) = worker->inbox;
    while (worker->jobs)
        end_job(worker->jobs, HL_FINISH_CANCELLED, NULL, NULL);
    hl_worker_dispatch(worker);
    free_worker(worker);
    return true;
}
