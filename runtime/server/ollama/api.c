/* The table of routes, and the short handlers. */
#include "runtime/server/ollama/api.h"
#include "hotlayer/version.h"
#include <inttypes.h>
#include <strings.h>
#include <sys/stat.h>

bool hl_api_is_model(const struct hl_model *model, const char *name)
{
    size_t n = strlen(model->name);
    if (strncasecmp(name, model->name, n) != 0)
        return false;
    return name[n] == 0 || (!strchr(model->name, ':') && strcasecmp(name + n, ":latest") == 0);
}

void hl_api_unknown_model(struct hl_exchange *exchange, const char *name)
{
    char message[160];
    snprintf(message, sizeof message, "model '%.128s' not found", name);
    hl_reply_error(exchange, 404, message);
}

void hl_api_time(const struct timespec *time, char out[40])
{
    struct tm utc;
    gmtime_r(&time->tv_sec, &utc);
    size_t n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, 40 - n, ".%09ldZ", time->tv_nsec);
}

/* Health checks of many compose files and start scripts look for exactly these words. */
static void root(void *context, struct hl_exchange *exchange)
{
    (void)context;
    hl_reply_text(exchange, "text/plain; charset=utf-8", "Ollama is running");
}

static void version(void *context, struct hl_exchange *exchange)
{
    (void)context;
    hl_reply_text(exchange, HL_REPLY_JSON, "{\"version\":\"" HL_VERSION "\"}");
}

static void health(void *context, struct hl_exchange *exchange)
{
    (void)context;
    hl_reply_text(exchange, HL_REPLY_JSON, "{\"status\":\"ok\"}");
}

static void ready(void *context, struct hl_exchange *exchange)
{
    const struct hl_server *server = context;
    if (server->stopping)
        hl_reply_error(exchange, 503, "the server is shutting down");
    else if (!server->ready)
        hl_reply_error(exchange, 503, "the model is being loaded");
    else
        hl_reply_text(exchange, HL_REPLY_JSON, "{\"status\":\"ready\"}");
}

/* Adds a digest: clients want one, and some show its first twelve digits. It consists of checksums in the head file:
 * the header's, which covers those of all shards, and the five sections', 48 hexadecimal digits. Different models have
 * different digests except by chance; it is not a SHA-256. */
static void add_digest(struct evbuffer *body, const struct hl_header *header)
{
    evbuffer_add_printf(body, "%08x", header->crc32c);
    for (uint32_t i = 0; i < HL_SECTION_COUNT; i++)
        evbuffer_add_printf(body, "%08x", header->section[i].crc32c);
}

/* Adds what lists say about a model; the caller closes the object. */
static void begin_model(struct evbuffer *body, const struct hl_model *model)
{
    const struct hl_header *header = model->hot->header;
    char name[sizeof model->name + 8];
    snprintf(name, sizeof name, "%s%s", model->name, strchr(model->name, ':') ? "" : ":latest");
    evbuffer_add_printf(body, "{");
    hl_api_add_text(body, "name", name);
    evbuffer_add_printf(body, ",");
    hl_api_add_text(body, "model", name);
    evbuffer_add_printf(body, ",");
    hl_api_add_modified(body, model);
    evbuffer_add_printf(body, ",\"size\":%" PRIu64 ",\"digest\":\"", header->head_bytes + header->weight_bytes);
    add_digest(body, header);
    evbuffer_add_printf(body, "\",");
    hl_api_add_details(body, model);
}

void hl_api_add_text(struct evbuffer *out, const char *name, const char *text)
{
    evbuffer_add_printf(out, "\"%s\":", name);
    hl_reply_add_string(out, text, strlen(text));
}

void hl_api_add_modified(struct evbuffer *out, const struct hl_model *model)
{
    struct stat file = {.st_mtim = {.tv_sec = 0}};
    char modified[40];
    stat(model->hot->path, &file);
    hl_api_time(&file.st_mtim, modified);
    evbuffer_add_printf(out, "\"modified_at\":\"%s\"", modified);
}

void hl_api_add_details(struct evbuffer *body, const struct hl_model *model)
{
    char size[16];
    hl_model_size_text(model, size);
    evbuffer_add_printf(body, "\"details\":{\"parent_model\":\"\",\"format\":\"hot\",");
    hl_api_add_text(body, "family", model->family);
    evbuffer_add_printf(body, ",\"families\":[");
    hl_reply_add_string(body, model->family, strlen(model->family));
    evbuffer_add_printf(body, "],");
    hl_api_add_text(body, "parameter_size", size);
    evbuffer_add_printf(body, ",");
    hl_api_add_text(body, "quantization_level", model->quantization);
    evbuffer_add_printf(body, "}");
}

/* Sends {"models":[...]}: one model with the further fields in `more`, or no model. */
static void reply_models(struct hl_exchange *exchange, const struct hl_model *model, const char *more)
{
    struct evbuffer *body = evbuffer_new();
    if (!body) {
        hl_reply_error(exchange, 500, "out of memory");
        return;
    }
    evbuffer_add_printf(body, "{\"models\":[");
    if (model) {
        begin_model(body, model);
        evbuffer_add_printf(body, "%s}", more);
    }
    evbuffer_add_printf(body, "]}");
    hl_reply_send(exchange, 200, HL_REPLY_JSON, body);
    evbuffer_free(body);
}

static void tags(void *context, struct hl_exchange *exchange)
{
    const struct hl_server *server = context;
    reply_models(exchange, server->model, "");
}

/* Lists the loaded models: the served one as soon as it is ready, and it never expires. */
static void ps(void *context, struct hl_exchange *exchange)
{
    const struct hl_server *server = context;
    char more[120];
    snprintf(more, sizeof more, ",\"expires_at\":\"9999-12-31T23:59:59Z\",\"size_vram\":0,\"context_length\":%u",
             server->context);
    reply_models(exchange, server->ready ? server->model : NULL, more);
}

const struct hl_route hl_api_routes[] = {
    {"/", HL_GET, root},
    {"/healthz", HL_GET, health},
    {"/readyz", HL_GET, ready},
    {"/api/version", HL_GET, version},
    {"/api/tags", HL_GET, tags},
    {"/api/ps", HL_GET, ps},
    {"/api/show", HL_POST, hl_api_show},
    {"/api/generate", HL_POST, hl_api_generate},
    {"/api/chat", HL_POST, hl_api_chat},
    {.path = NULL},
};
