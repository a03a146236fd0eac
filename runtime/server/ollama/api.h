/* The API: Ollama's routes and our own two for health. A route turns JSON into a job for the worker, and news of the
 * job into JSON. docs/man/hotlayerd-serve.1 says what clients may expect. */
#ifndef HL_RUNTIME_SERVER_OLLAMA_API_H
#define HL_RUNTIME_SERVER_OLLAMA_API_H

#include "runtime/engine/worker.h"
#include "runtime/model/model.h"
#include "runtime/server/httpd.h"
#include "runtime/template/prompt.h"
#include <cjson/cJSON.h>

struct hl_api_reply;

struct hl_api {
    struct hl_model *model;
    struct hl_worker *worker;
    uint32_t context;     /* positions per sequence */
    bool ready;           /* every weight can be used */
    bool stopping;        /* no new work */
    uint64_t first_token; /* when the first one went out, on the clock of hl_clock_ns(); 0: not yet */
    struct hl_api_reply *replies;
    /* Called with the first token. */
    void (*first)(void *context);
    void *first_context;
};

/* The routes; their context is a struct hl_api. */
extern const struct hl_route hl_api_routes[];

/* Ends all generations with an error that says so. */
void hl_api_cancel_all(struct hl_api *api);

/* ---- between the files of the API ---- */

void hl_api_generate(void *api, struct hl_exchange *exchange);
void hl_api_chat(void *api, struct hl_exchange *exchange);
void hl_api_show(void *api, struct hl_exchange *exchange);

void hl_api_unknown_model(struct hl_exchange *exchange, const char *name);

/* "name":"text" */
void hl_api_add_text(struct evbuffer *out, const char *name, const char *text);

/* What descriptions of a model share: "modified_at":"..." and "details":{...} */
void hl_api_add_modified(struct evbuffer *out, const struct hl_model *model);
void hl_api_add_details(struct evbuffer *out, const struct hl_model *model);

/* Does a request mean the model that is served? As Ollama compares: without regard to case, and ":latest" goes without
 * saying. */
bool hl_api_is_model(const struct hl_model *model, const char *name);

/* RFC 3339 in UTC, with nanoseconds: "2026-11-20T09:30:00.123456789Z". */
void hl_api_time(const struct timespec *time, char out[40]);

/* A body of POST /api/generate or /api/chat, checked as far as that goes without the model. */
struct hl_api_body {
    bool chat;                                 /* of /api/chat */
    char *model;                               /* never NULL, like the next four until they are forgotten */
    char *prompt, *system, *suffix, *template; /* of /api/generate */
    struct hl_arena arena;                     /* what the conversation lies in */
    struct hl_conversation conversation;       /* of /api/chat */
    bool stream, raw;
    bool load;                   /* nothing to generate: the client waits for the model to be ready */
    bool render_only;            /* the prompt itself is wanted */
    bool seeded;                 /* else a random seed is wanted */
    uint32_t context;            /* num_ctx, or 0 */
    struct hl_generate generate; /* without prompt and callbacks */
    char ignored[128];           /* names of options that have no effect, for the log */
};

/* Any bytes as a JSON object; what is none is HL_ERROR_REQUEST. The caller deletes it. */
int hl_api_json_read(const char *body, size_t n, cJSON **out, struct hl_error *err);

/* Reads any bytes. Errors are HL_ERROR_REQUEST and name the field. The caller releases *out after success. */
int hl_api_body_read(const char *body, size_t n, bool chat, struct hl_api_body *out, struct hl_error *err);
void hl_api_body_release(struct hl_api_body *body);

/* Releases the texts and the conversation: what nobody needs once the prompt is tokens. */
void hl_api_body_forget(struct hl_api_body *body);

/* messages and tools of a request. */
int hl_conversation_read(struct hl_arena *arena, const char *body, size_t n, struct hl_conversation *out,
                         struct hl_error *err);

#endif
