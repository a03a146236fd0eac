/* Requests go one way, news the other; one mutex guards both lists.
 *
 *   main thread     start, cancel --> inbox --> worker thread: map, open, then step after step
 *   event loop  <-- news <-- text, finish (an eventfd wakes the loop)
 *
 * An entry is a request in this file. It belongs to the worker thread from the inbox until the news of its end leaves
 * the list; then the main thread frees it. Requests wait here and not in the scheduler, where each would hold a sampler
 * as large as the vocabulary. */
#include "runtime/engine/worker.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

/* A piece of text, or with `last` the end of its request. */
struct news {
    struct news *next;
    struct entry *entry;
    bool last;
    size_t n;
    char text[];
};

struct end { /* an entry's last news */
    struct hl_timings timings;
    enum hl_finish reason;
    struct hl_error err;
    char *rest;
    size_t n;
};

struct entry {
    struct entry *next; /* in the inbox, then among the worker thread's entries */
    struct hl_worker *worker;
    struct hl_request *request;         /* the caller's */
    struct hl_generation_events events; /* the caller's, for the main thread */
    bool doomed;                        /* the worker thread's: it is cancelled */
    bool starved;                       /* the worker thread's: text was lost, out of memory */
    bool running;                       /* the worker thread's: the scheduler has the request */
    struct end end;
    struct news *last; /* allocated in advance, since the end must not fail */
};

enum state { OPENING, READY, FAILED };

struct hl_worker {
    struct hl_model *model;
    struct hl_worker_options options;
    pthread_t thread;
    int wake;        /* an eventfd */
    uint32_t n_open; /* the main thread's count: started, end not yet dispatched */
    enum state told; /* the main thread's: the last state that it dispatched */

    pthread_mutex_t mutex;
    pthread_cond_t work; /* there is something in the inbox, to cancel, or to stop */
    struct entry *inbox, **inbox_end;
    struct news *news, **news_end;
    bool any_cancel, cancel_all, stop;
    enum state state;
    bool opened, loaded; /* both: ready */
    uint64_t mapped_ns, ready_ns;
    char device[384]; /* complete before READY */
    struct hl_error err;

    /* the worker thread's */
    struct hl_engine *engine;
    struct hl_scheduler *scheduler;
    struct entry *entries; /* oldest first */
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

static bool on_text(void *context, const char *piece, size_t n)
{
    struct entry *entry = context;
    struct news *news = malloc(sizeof *news + n);
    if (!news) {
        entry->starved = true;
        return false;
    }
    *news = (struct news){.entry = entry, .n = n};
    memcpy(news->text, piece, n);
    tell(entry->worker, news);
    return true;
}

static void end_entry(struct entry *entry, enum hl_finish reason, const struct hl_timings *timings,
                      const struct hl_error *err)
{
    struct hl_worker *worker = entry->worker;
    struct entry **link = &worker->entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    worker->n_running -= entry->running;
    entry->end.reason = reason;
    if (timings)
        entry->end.timings = *timings;
    if (err)
        entry->end.err = *err;
    struct news *last = entry->last;
    entry->last = NULL;
    tell(worker, last); /* from here on the entry is the main thread's */
}

static void on_finish(void *context, enum hl_finish reason, const char *rest, size_t n,
                      const struct hl_timings *timings, const struct hl_error *err)
{
    struct entry *entry = context;
    struct hl_error starved;
    if (n && (entry->end.rest = malloc(n))) {
        memcpy(entry->end.rest, rest, n);
        entry->end.n = n;
    } else if (n) {
        entry->starved = true;
    }
    if (entry->starved && reason != HL_FINISH_ERROR) {
        hl_no_memory(&starved);
        err = &starved;
        reason = HL_FINISH_ERROR;
    }
    end_entry(entry, reason, timings, err);
}

static void start_entry(struct hl_worker *worker, struct entry *entry)
{
    const struct hl_generation_events events = {.text = on_text, .finish = on_finish, .context = entry};
    struct hl_error err;
    if (hl_generation_start(worker->scheduler, worker->model, entry->request, &events, &err) < 0) {
        end_entry(entry, HL_FINISH_ERROR, NULL, &err);
        return;
    }
    entry->running = true;
    worker->n_running++;
}

/* Runs between two steps: ends cancelled requests, answers those that only wait for the engine, starts others while
 * there is room. */
static void manage_entries(struct hl_worker *worker)
{
    for (struct entry *entry = worker->entries, *next; entry; entry = next) {
        next = entry->next;
        if (entry->doomed && entry->running)
            hl_scheduler_cancel(worker->scheduler, entry->request);
        else if (entry->doomed)
            end_entry(entry, HL_FINISH_CANCELLED, NULL, NULL);
        else if (entry->request->n_prompt == 0)
            end_entry(entry, HL_FINISH_STOP, NULL, NULL);
        else if (!entry->running && worker->n_running < worker->engine->parallel)
            start_entry(worker, entry);
    }
}

static struct entry **last_link(struct hl_worker *worker)
{
    struct entry **link = &worker->entries;
    while (*link)
        link = &(*link)->next;
    return link;
}

/* Takes the inbox; sleeps while there is nothing to do. Returns false to stop. */
static bool take_work(struct hl_worker *worker)
{
    struct entry **end = last_link(worker);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stop && !worker->inbox && !worker->any_cancel && !worker->entries)
        pthread_cond_wait(&worker->work, &worker->mutex);
    *end = worker->inbox;
    worker->inbox = NULL;
    worker->inbox_end = &worker->inbox;
    for (struct entry *entry = worker->entries; worker->any_cancel && entry; entry = entry->next)
        entry->doomed = entry->request->cancel || worker->cancel_all;
    worker->any_cancel = worker->cancel_all = false;
    bool stop = worker->stop;
    pthread_mutex_unlock(&worker->mutex);
    return !stop;
}

/* Notes that the engine is open or the weights are loaded, whichever *what is; with err, that it failed. */
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

/* Runs on one of the threads that read the weights. */
static void on_loaded(void *context, const struct hl_error *err)
{
    struct hl_worker *worker = context;
    advance(worker, &worker->loaded, err);
}

/* Writes down what computes, why it is not a better device, and whether its cache is smaller than was asked for. */
static void describe_device(struct hl_worker *worker)
{
    const struct hl_engine *engine = worker->engine;
    const char *why = engine->passed_over.message;
    uint64_t positions = (uint64_t)engine->n_pages * HL_KV_PAGE_TOKENS;
    int n = snprintf(worker->device, sizeof worker->device, "%.100s%s%.150s%s",
                     engine->interface->describe(engine->device), *why ? " (" : "", why, *why ? ")" : "");
    if (engine->n_pages < (uint64_t)engine->pages_per_sequence * engine->parallel)
        snprintf(worker->device + n, sizeof worker->device - (size_t)n, "; cache for %llu positions, not %u x %u",
                 (unsigned long long)positions, engine->parallel, engine->context);
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
    describe_device(worker);
    return hl_scheduler_open(worker->model, worker->engine, &worker->scheduler, err);
}

static void *work(void *argument)
{
    struct hl_worker *worker = argument;
    struct hl_error err;
    int opened = open_engine(worker, &err);
    advance(worker, &worker->opened, opened < 0 ? &err : NULL);
    while (opened == 0 && take_work(worker)) {
        manage_entries(worker);
        hl_scheduler_step(worker->scheduler);
        if (hl_scheduler_lost(worker->scheduler))
            advance(worker, &worker->opened, hl_scheduler_lost(worker->scheduler));
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

static void free_entry(struct entry *entry)
{
    free(entry->end.rest);
    free(entry->last);
    free(entry);
}

int hl_worker_start(struct hl_worker *worker, struct hl_request *request, const struct hl_generation_events *events,
                    struct hl_error *err)
{
    uint32_t parallel = worker->options.engine.parallel;
    if (worker->n_open >= parallel && worker->n_open - parallel >= worker->options.max_waiting)
        return hl_fail_as(err, HL_ERROR_BUSY, "the server is busy: %u requests are running or waiting; try again later",
                          worker->n_open);
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry || !(entry->last = calloc(1, sizeof *entry->last))) {
        free(entry);
        return hl_no_memory(err);
    }
    entry->worker = worker;
    entry->request = request;
    entry->events = *events;
    entry->last->entry = entry;
    entry->last->last = true;
    worker->n_open++;
    pthread_mutex_lock(&worker->mutex);
    request->cancel = false;
    *worker->inbox_end = entry;
    worker->inbox_end = &entry->next;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
    return 0;
}

void hl_worker_cancel(struct hl_worker *worker, struct hl_request *request)
{
    pthread_mutex_lock(&worker->mutex);
    request->cancel = worker->any_cancel = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

void hl_worker_cancel_all(struct hl_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->cancel_all = worker->any_cancel = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

const char *hl_worker_device(const struct hl_worker *worker)
{
    return worker->device;
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
    struct entry *entry = news->entry;
    const struct hl_generation_events *events = &entry->events;
    const struct end *end = &entry->end;
    if (!news->last) {
        events->text(events->context, news->text, news->n);
    } else {
        worker->n_open--;
        events->finish(events->context, end->reason, end->rest ? end->rest : "", end->n, &end->timings,
                       end->reason == HL_FINISH_ERROR ? &end->err : NULL);
        free_entry(entry);
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
    worker->told = worker->state; /* ready() and failed() are not called any more */
    *last_link(worker) = worker->inbox;
    while (worker->entries)
        end_entry(worker->entries, HL_FINISH_CANCELLED, NULL, NULL);
    hl_worker_dispatch(worker);
    free_worker(worker);
    return true;
}
