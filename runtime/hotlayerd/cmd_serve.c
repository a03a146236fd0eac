/* hotlayerd serve: options and environment variables; runtime/server/server.c does the rest. */
#include "base/address.h"
#include "base/clock.h"
#include "runtime/hotlayerd/commands.h"
#include "runtime/server/log.h"
#include "runtime/server/ollama/api.h"
#include "runtime/server/server.h"

#define QUEUE_MOST (1u << 20)
#define QUEUE_UNSET UINT32_MAX

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

/* Reads a number from the environment, unless an option has set it already. */
static int take_variable(const char *name, uint32_t most, uint32_t unset, uint32_t *out, struct hl_error *err)
{
    char value[256];
    if (*out != unset)
        return 0;
    if (hl_address_environment(name, value, err) < 0)
        return -1;
    return *value ? hl_cli_count(name, value, 0, most, out, err) : 0;
}

/* Reads the cache's type, by Ollama's names. For an unknown type (q4_0) the server only warns: a smaller cache would
 * save memory, but its absence does not change answers. */
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

/* Options and variables mostly come from a deployment: its log must say what is wrong with them. */
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
    struct options o = {.max_queue = QUEUE_UNSET, .timeout = 60};
    const uint64_t started = hl_clock_ns();
    struct hl_error err;
    if (parse(argc, argv, &o, &err) < 0)
        return err.kind == HL_ERROR_HELP ? 0 : refuse(&err);
    hl_server_hold_signals();
    if (take_environment(&o, &err) < 0 || choose_address(&o, &err) < 0)
        return refuse(&err);
    const struct hl_server_options options = {.address = o.address,
                                              .model = o.common.model,
                                              .engine = o.common.engine,
                                              .context_chosen = o.context_chosen,
                                              .kv_chosen = o.common.kv_chosen,
                                              .max_queue = o.max_queue,
                                              .timeout = o.timeout,
                                              .routes = hl_api_routes,
                                              .started = started};
    return hl_server_run(&options);
}
