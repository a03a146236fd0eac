/* hotlayerd serve: the life of a server.
 *
 *   options -> port open -> head of the model -> event loop ................................. -> drained, exit 0
 *                                             `-> worker: weights mapped -> engine -> steps
 *
 * The port opens first: from then on the kernel accepts connections, whatever else takes how long. Times are counted
 * from the entry of this command, a millisecond after exec at most (what the dynamic linker takes); the kernel's own
 * record of the start has 10 ms steps, too coarse for a port that opens in less. */
#include "base/address.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "runtime/hotlayerd/commands.h"
#include "runtime/server/log.h"
#include "runtime/server/ollama/api.h"
#include <dirent.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Cloud Run kills 10 s after SIGTERM: the last second is for telling the clients, and for the way out. */
#define DRAIN_SECONDS 9
#define LEAVE_MS 500u

#define QUEUE_MOST (1u << 20)
#define QUEUE_UNSET UINT32_MAX

static const char models_folder[] = "/models";

static const char about[] =
    "usage: hotlayerd serve [--model PATH] [OPTIONS]\n"
    "\n"
    "Answers requests over HTTP, with Ollama's API. Serves one model; without --model the one under /models.\n";

static const char examples[] =
    "SIGTERM: finishes the current requests, for 9 seconds at most, and exits.\n"
    "\n"
    "examples:\n"
    "  hotlayerd serve --model llama.hot --port 8080\n"
    "  PORT=8080 OLLAMA_NUM_PARALLEL=4 hotlayerd serve\n"
    "  curl localhost:8080/api/generate -d '{\"model\": \"llama\", \"prompt\": \"Once\", \"raw\": true}'\n";

struct options {
    struct hl_common common;
    const char *host, *port;
    uint32_t max_queue, timeout;
    bool context_chosen;
    struct hl_address address;
};

struct server {
    struct options options;
    struct event_base *base;
    struct hl_httpd *http;
    struct hl_model *model;
    struct hl_worker *worker;
    struct hl_api api;
    struct event *on_term, *on_int, *on_news, *on_patience;
    uint64_t started, port_open, validated, mapped, ready;
    bool stopping, cancelled, failed;
};

/* ---- options ---- */

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    struct hl_option_texts models = {.n = 0};
    const struct hl_option table[] = {
        hl_option_texts("--model PATH", &models,
                        "a .hot file, or a folder that holds one; default: the one folder under /models"),
        hl_option_text("--host HOST", &o->host,
                       "the address; default: that of OLLAMA_HOST, else 0.0.0.0 if PORT is set, else 127.0.0.1"),
        hl_option_text("--port PORT", &o->port, "the port; default: PORT, else that of OLLAMA_HOST, else 11434"),
        hl_option_count("--parallel N", 1, 256, &o->common.engine.parallel,
                        "requests computed at once; default: OLLAMA_NUM_PARALLEL, else 1"),
        hl_option_count("--max-queue N", 0, QUEUE_MOST, &o->max_queue,
                        "requests that may be queued; default: OLLAMA_MAX_QUEUE, else 512; more get status 503"),
        hl_option_count("--request-timeout S", 1, 86400, &o->timeout,
                        "seconds for a request to arrive completely, or for a client to read on; default 60"),
        HL_ENGINE_OPTIONS(&o->common),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, NULL, 0, 0};
    if (hl_options_parse(&options, argc, argv, err) < 0)
        return -1;
    if (models.n > 1)
        return hl_fail_as(err, HL_ERROR_USAGE, "this version serves one model: --model was given twice, '%s' and '%s'",
                          models.item[0], models.item[1]);
    o->common.model = models.item[0];
    o->context_chosen = o->common.engine.context != 0;
    return 0;
}

/* A number from the environment, where no option has set it: it is `unset` still. */
static int take_variable(const char *name, uint32_t most, uint32_t unset, uint32_t *out, struct hl_error *err)
{
    char value[256];
    if (*out != unset)
        return 0;
    if (hl_address_environment(name, value, err) < 0)
        return -1;
    return *value ? hl_cli_count(name, value, 0, most, out, err) : 0;
}

/* The cache's type, by Ollama's names. A smaller one than we have is a matter of memory, not of answers: without it the
 * server serves all the same. */
static int take_kv(struct hl_common *common, struct hl_error *err)
{
    char value[256];
    if (hl_address_environment("OLLAMA_KV_CACHE_TYPE", value, err) < 0)
        return -1;
    if (!*value || common->kv_chosen)
        return 0;
    if (strcmp(value, "f16") == 0 || strcmp(value, "q8_0") == 0) {
        common->kv_chosen = true;
        common->engine.kv_type = strcmp(value, "f16") == 0 ? HL_KV_F16 : HL_KV_Q8;
    } else {
        hl_log(HL_LOG_WARNING, "OLLAMA_KV_CACHE_TYPE: there is no such cache in this version; the model's own is used",
               NULL);
    }
    return 0;
}

static int take_environment(struct options *o, struct hl_error *err)
{
    struct hl_engine_options *engine = &o->common.engine;
    if (take_variable("OLLAMA_NUM_PARALLEL", 256, 0, &engine->parallel, err) < 0 ||
        take_variable("OLLAMA_CONTEXT_LENGTH", 1u << 24, 0, &engine->context, err) < 0 ||
        take_variable("OLLAMA_MAX_QUEUE", QUEUE_MOST, QUEUE_UNSET, &o->max_queue, err) < 0 ||
        take_kv(&o->common, err) < 0)
        return -1;
    if (engine->parallel == 0)
        engine->parallel = 1;
    if (o->max_queue == QUEUE_UNSET)
        o->max_queue = 512;
    return 0;
}

static int choose_address(struct options *o, struct hl_error *err)
{
    char port[256], host[256];
    if (hl_address_environment("PORT", port, err) < 0 || hl_address_environment("OLLAMA_HOST", host, err) < 0)
        return -1;
    const struct hl_address_sources sources = {o->host, o->port, port, host};
    return hl_address_choose(&sources, &o->address, err);
}

/* The one folder under /models. */
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
    cJSON_AddNumberToObject(phases, name, hl_log_ms(when - server->started));
}

/* In the order in which they happened: an answer may come before the last weights. */
static void log_phases(const struct server *server, const char *message)
{
    cJSON *fields = cJSON_CreateObject(), *phases = cJSON_CreateObject();
    uint64_t token = server->api.first_token, ready = server->ready;
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
    cJSON_AddStringToObject(fields, "model", server->model->name);
    cJSON_AddNumberToObject(fields, "context", server->api.context);
    cJSON_AddNumberToObject(fields, "parallel", server->options.common.engine.parallel);
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
    server->ready = ready_ns;
    server->api.ready = true;
    log_phases(server, "ready");
}

static void on_failed(void *context, const struct hl_error *err)
{
    struct server *server = context;
    hl_log(HL_LOG_ERROR, err->message, NULL);
    server->failed = true;
    event_base_loopbreak(server->base);
}

static void on_first_token(void *context)
{
    log_phases(context, "start-up");
}

static void on_news(evutil_socket_t fd, short what, void *argument)
{
    const struct server *server = argument;
    (void)fd;
    (void)what;
    hl_worker_dispatch(server->worker);
}

/* Draining has taken too long: first the generations end, then, a little later, the server. */
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
    hl_api_cancel_all(&server->api);
    evtimer_add(server->on_patience, &leave);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct server *server = argument;
    const struct timeval drain = {.tv_sec = DRAIN_SECONDS};
    (void)what;
    if (server->stopping)
        _exit(128 + (int)number);
    server->stopping = server->api.stopping = true;
    evtimer_add(server->on_patience, &drain);
    hl_httpd_stop(server->http); /* ends the loop when nothing is under way any more */
    hl_log(HL_LOG_INFO, "stopping", NULL);
}

/* ---- life ---- */

/* As many connections as there are file descriptors, less a few of our own; halved, because libevent closes a
 * connection's descriptor only after others may have been accepted. */
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

/* The first process of a container has no default action: what came before the handlers are there would be lost, and
 * the platform would wait in vain. So signals are held back until then; they may also have been blocked by who started
 * this program. */
static void hold_signals(int how)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(how, &ending, NULL);
}

static int open_loop(struct server *server, struct hl_error *err)
{
    const struct hl_httpd_options http = {.routes = hl_api_routes,
                                          .context = &server->api,
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
        return hl_fail(err, "the event loop cannot be made");
    }
    if (hl_httpd_open(server->base, listener, &http, &server->http, err) < 0)
        return -1;
    server->on_term = evsignal_new(server->base, SIGTERM, on_signal, server);
    server->on_int = evsignal_new(server->base, SIGINT, on_signal, server);
    server->on_patience = evtimer_new(server->base, on_patience, server);
    if (!server->on_term || !server->on_int || !server->on_patience || evsignal_add(server->on_term, NULL) < 0 ||
        evsignal_add(server->on_int, NULL) < 0)
        return hl_fail(err, "signals cannot be received");
    hold_signals(SIG_UNBLOCK);
    return 0;
}

/* Prompts are checked before there is an engine. */
static int choose_context(struct server *server, struct hl_error *err)
{
    struct options *o = &server->options;
    uint32_t most = server->model->hot->program.head->context, *context = &o->common.engine.context;
    if (*context > most && o->context_chosen)
        return hl_fail(err, "--ctx %u is more than the %u positions that the model was made for", *context, most);
    if (*context > most)
        hl_log(HL_LOG_WARNING, "OLLAMA_CONTEXT_LENGTH is more than the model was made for; its own limit is used",
               NULL);
    *context = hl_min_u32(hl_engine_context(server->model->hot, *context), most);
    return 0;
}

static int open_model(struct server *server, struct hl_error *err)
{
    char found[HL_PATH_BYTES];
    struct hl_common *common = &server->options.common;
    if (!common->model && find_model(found, err) < 0)
        return -1;
    if (hl_model_open(common->model ? common->model : found, &server->model, err) < 0)
        return -1;
    server->validated = hl_clock_ns();
    if (choose_context(server, err) < 0)
        return -1;
    if (!common->kv_chosen)
        common->engine.kv_type = server->model->kv_type;
    const struct hl_worker_options options = {.engine = common->engine,
                                              .max_waiting = server->options.max_queue,
                                              .ready = on_ready,
                                              .failed = on_failed,
                                              .context = server};
    if (hl_worker_open(server->model, &options, &server->worker, err) < 0)
        return -1;
    server->api = (struct hl_api){.model = server->model,
                                  .worker = server->worker,
                                  .context = common->engine.context,
                                  .first = on_first_token,
                                  .first_context = server};
    server->on_news = event_new(server->base, hl_worker_fd(server->worker), EV_READ | EV_PERSIST, on_news, server);
    if (!server->on_news || event_add(server->on_news, NULL) < 0)
        return hl_fail(err, "the event loop cannot be made");
    return 0;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

static void close_server(struct server *server)
{
    hl_httpd_close(server->http); /* drops clients, and so cancels their jobs */
    if (!hl_worker_close(server->worker, LEAVE_MS)) {
        hl_log(HL_LOG_WARNING, "left in the middle of a step", NULL);
        _exit(server->failed);
    }
    hl_model_close(server->model);
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

/* Options and variables are mostly a deployment's: who looks into its log must find what is wrong with them. */
static int refuse(const struct hl_error *err)
{
    char message[sizeof err->message + 40];
    snprintf(message, sizeof message, "%s%s", err->message,
             err->kind == HL_ERROR_USAGE ? "; see 'hotlayerd serve --help'" : "");
    hl_log(HL_LOG_ERROR, message, NULL);
    return err->kind == HL_ERROR_USAGE ? 2 : 1;
}

int hl_cmd_serve(int argc, char **argv)
{
    struct server server = {.started = hl_clock_ns(), .options = {.max_queue = QUEUE_UNSET, .timeout = 60}};
    struct options *o = &server.options;
    struct hl_error err;
    if (parse(argc, argv, o, &err) < 0)
        return err.kind == HL_ERROR_HELP ? 0 : refuse(&err);
    hold_signals(SIG_BLOCK);
    if (take_environment(o, &err) < 0 || choose_address(o, &err) < 0)
        return refuse(&err);
    if (serve(&server, &err) < 0) {
        hl_log(HL_LOG_ERROR, err.message, NULL);
        server.failed = true;
    }
    close_server(&server);
    if (!server.failed)
        hl_log(HL_LOG_INFO, "stopped", NULL);
    return server.failed;
}
