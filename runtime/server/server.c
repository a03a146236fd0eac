/* The life of a server.
 *
 *   options -> port open -> head of the model -> event loop ................................. -> drained, exit 0
 *                                             `-> worker: weights mapped -> engine -> steps
 *
 * The port opens first: from then on the kernel accepts connections, however long the rest takes. Times count from
 * options->started, at most a millisecond after exec (the dynamic linker's time). The kernel's own record of the start
 * has steps of 10 ms, too coarse for a port that opens in less. */
#include "runtime/server/server.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/server/log.h"
#include <dirent.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Cloud Run kills 10 s after SIGTERM: the last second is for errors to clients and for the exit. */
#define DRAIN_SECONDS 9
#define LEAVE_MS 500u

static const char models_folder[] = "/models";

struct server {
    struct hl_server shared; /* first: handlers get its address */
    struct hl_server_options options;
    struct event_base *base;
    struct hl_httpd *http;
    struct event *on_term, *on_int, *on_news, *on_patience;
    uint64_t port_open, validated, mapped;
    bool cancelled, failed;
};

/* Finds the only folder under /models. */
static int find_model(char out[HL_PATH_BYTES], struct hl_error *err)
{
    char path[HL_PATH_BYTES];
    const struct dirent *entry;
    struct stat file;
    int found = 0;
    DIR *dir = opendir(models_folder);
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%s", models_folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &file) < 0 || !S_ISDIR(file.st_mode))
            continue;
        if (found++ == 0)
            memcpy(out, path, sizeof path);
    }
    if (dir)
        closedir(dir);
    if (found > 1)
        return hl_fail(err, "%s holds %d models, and this version serves one; choose it with --model", models_folder,
                       found);
    return found ? 0 : hl_fail(err, "there is no model: pass --model PATH, or put one under %s", models_folder);
}

/* ---- the log ---- */

static void add_phase(cJSON *phases, const char *name, const struct server *server, uint64_t when)
{
    cJSON_AddNumberToObject(phases, name, hl_log_ms(when - server->options.started));
}

/* Logs the phases in the order in which they happened: an answer may come before the last weights. */
static void log_phases(const struct server *server, const char *message)
{
    cJSON *fields = cJSON_CreateObject(), *phases = cJSON_CreateObject();
    uint64_t token = server->shared.first_token, ready = server->shared.ready;
    add_phase(phases, "port_open", server, server->port_open);
    add_phase(phases, "validated", server, server->validated);
    if (ready)
        add_phase(phases, "mapped", server, server->mapped);
    if (token && (!ready || token < ready))
        add_phase(phases, "first_token", server, token);
    if (ready)
        add_phase(phases, "weights_ready", server, ready);
    if (token && ready && token >= ready)
        add_phase(phases, "first_token", server, token);
    cJSON_AddStringToObject(fields, "model", server->shared.model->name);
    cJSON_AddNumberToObject(fields, "context", server->shared.context);
    cJSON_AddNumberToObject(fields, "parallel", server->options.engine.parallel);
    if (ready)
        cJSON_AddStringToObject(fields, "device", hl_worker_device(server->shared.worker));
    cJSON_AddItemToObject(fields, "phases", phases);
    hl_log(HL_LOG_INFO, message, fields);
}

static void log_listening(const struct server *server)
{
    cJSON *fields = cJSON_CreateObject();
    cJSON_AddStringToObject(fields, "address", server->options.address.host);
    cJSON_AddNumberToObject(fields, "port", server->options.address.port);
    hl_log(HL_LOG_INFO, "listening", fields);
}

static void on_libevent_message(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN)
        hl_log(HL_LOG_WARNING, message, NULL);
}

/* ---- events ---- */

static void on_ready(void *context, uint64_t mapped_ns, uint64_t ready_ns)
{
    struct server *server = context;
    server->mapped = mapped_ns;
    server->shared.ready = ready_ns;
    log_phases(server, "ready");
}

static void on_failed(void *context, const struct hl_error *err)
{
    struct server *server = context;
    hl_log(HL_LOG_ERROR, err->message, NULL);
    server->failed = true;
    event_base_loopbreak(server->base);
}

void hl_server_token(struct hl_server *shared)
{
    if (shared->first_token)
        return;
    shared->first_token = hl_clock_ns();
    log_phases((const struct server *)(const void *)shared, "start-up");
}

static void on_news(evutil_socket_t fd, short what, void *argument)
{
    const struct server *server = argument;
    (void)fd;
    (void)what;
    hl_worker_dispatch(server->shared.worker);
}

/* Draining took too long: cancels the generations, and LEAVE_MS later ends the loop. */
static void on_patience(evutil_socket_t fd, short what, void *argument)
{
    struct server *server = argument;
    const struct timeval leave = {.tv_usec = LEAVE_MS * 1000};
    (void)fd;
    (void)what;
    if (server->cancelled) {
        event_base_loopexit(server->base, NULL);
        return;
    }
    server->cancelled = true;
    hl_worker_cancel_all(server->shared.worker);
    evtimer_add(server->on_patience, &leave);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct server *server = argument;
    const struct timeval drain = {.tv_sec = DRAIN_SECONDS};
    (void)what;
    if (server->shared.stopping)
        _exit(128 + (int)number);
    server->shared.stopping = true;
    evtimer_add(server->on_patience, &drain);
    hl_httpd_stop(server->http); /* ends the loop after the last exchange */
    hl_log(HL_LOG_INFO, "stopping", NULL);
}

/* ---- life ---- */

/* Returns a limit from the number of file descriptors, less a few for the server itself. Halved, because libevent may
 * accept other connections before it closes a descriptor. */
static uint32_t connections_most(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 512;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NOFILE, &files);
    uint32_t most = files.rlim_cur > 131072 ? 131072 : (uint32_t)files.rlim_cur;
    return most > 64 ? (most - 32) / 2 : 16;
}

/* The first process of a container has no default action for signals: one that arrives before its handler would be
 * lost, and the platform would wait in vain. So signals are blocked until then. The parent process may have blocked
 * them too. */
static void block_signals(int how)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(how, &ending, NULL);
}

void hl_server_hold_signals(void)
{
    block_signals(SIG_BLOCK);
}

static int open_loop(struct server *server, struct hl_error *err)
{
    const struct hl_httpd_options http = {.routes = server->options.routes,
                                          .context = &server->shared,
                                          .connections = connections_most(),
                                          .timeout = server->options.timeout};
    int listener;
    if (hl_address_listen(&server->options.address, &listener, err) < 0)
        return -1;
    server->port_open = hl_clock_ns();
    log_listening(server);
    event_set_log_callback(on_libevent_message);
    server->base = event_base_new();
    if (!server->base) {
        close(listener);
        return hl_fail(err, "the event loop cannot be created");
    }
    if (hl_httpd_open(server->base, listener, &http, &server->http, err) < 0)
        return -1;
    server->on_term = evsignal_new(server->base, SIGTERM, on_signal, server);
    server->on_int = evsignal_new(server->base, SIGINT, on_signal, server);
    server->on_patience = evtimer_new(server->base, on_patience, server);
    if (!server->on_term || !server->on_int || !server->on_patience || evsignal_add(server->on_term, NULL) < 0 ||
        evsignal_add(server->on_int, NULL) < 0)
        return hl_fail(err, "signals cannot be received");
    block_signals(SIG_UNBLOCK);
    return 0;
}

/* Fixes the context here, because prompts are checked before the engine is open. */
static int choose_context(struct server *server, struct hl_error *err)
{
    struct hl_server_options *o = &server->options;
    uint32_t most = server->shared.model->hot->program.head->context, *context = &o->engine.context;
    if (*context > most && o->context_chosen)
        return hl_fail(err, "--ctx %u is more than the %u positions that the model was made for", *context, most);
    if (*context > most)
        hl_log(HL_LOG_WARNING, "OLLAMA_CONTEXT_LENGTH is more than the model was made for; its own limit is used",
               NULL);
    *context = hl_min_u32(hl_engine_context(server->shared.model->hot, *context), most);
    return 0;
}

static int open_model(struct server *server, struct hl_error *err)
{
    char found[HL_PATH_BYTES];
    struct hl_server_options *o = &server->options;
    if (!o->model && find_model(found, err) < 0)
        return -1;
    if (hl_model_open(o->model ? o->model : found, &server->shared.model, err) < 0)
        return -1;
    server->validated = hl_clock_ns();
    if (choose_context(server, err) < 0)
        return -1;
    if (!o->kv_chosen)
        o->engine.kv_type = server->shared.model->kv_type;
    const struct hl_worker_options options = {
        .engine = o->engine, .max_waiting = o->max_queue, .ready = on_ready, .failed = on_failed, .context = server};
    if (hl_worker_open(server->shared.model, &options, &server->shared.worker, err) < 0)
        return -1;
    server->shared.context = o->engine.context;
    server->on_news =
        event_new(server->base, hl_worker_fd(server->shared.worker), EV_READ | EV_PERSIST, on_news, server);
    if (!server->on_news || event_add(server->on_news, NULL) < 0)
        return hl_fail(err, "the event loop cannot be created");
    return 0;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

static void close_server(struct server *server)
{
    hl_httpd_close(server->http); /* drops clients, which cancels their requests */
    if (!hl_worker_close(server->shared.worker, LEAVE_MS)) {
        hl_log(HL_LOG_WARNING, "exited during a step", NULL);
        _exit(server->failed);
    }
    hl_model_close(server->shared.model);
    free_event(server->on_term);
    free_event(server->on_int);
    free_event(server->on_news);
    free_event(server->on_patience);
    if (server->base)
        event_base_free(server->base);
}

static int serve(struct server *server, struct hl_error *err)
{
    if (open_loop(server, err) < 0 || open_model(server, err) < 0)
        return -1;
    event_base_dispatch(server->base);
    return 0;
}

int hl_server_run(const struct hl_server_options *options)
{
    struct server server = {.options = *options};
    struct hl_error err;
    if (serve(&server, &err) < 0) {
        hl_log(HL_LOG_ERROR, err.message, NULL);
        server.failed = true;
    }
    close_server(&server);
    if (!server.failed)
        hl_log(HL_LOG_INFO, "stopped", NULL);
    return server.failed;
}
