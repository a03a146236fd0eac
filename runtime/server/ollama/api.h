/* Ollama's API, and two routes of our own for health checks. A handler turns JSON into a request for the worker, and
 * the worker's events into JSON. docs/man/hotlayerd-serve.1 says what clients may expect. */
#ifndef HL_RUNTIME_SERVER_OLLAMA_API_H
#define HL_RUNTIME_SERVER_OLLAMA_API_H

#include "runtime/server/reply.h"
#include "runtime/server/server.h"
#include "runtime/template/prompt.h"

/* The routes; their context is a struct hl_server. */
extern const struct hl_route hl_api_routes[];

/* ---- between the files of the API ---- */

void hl_api_generate(void *server, struct hl_exchange *exchange);
void hl_api_chat(void *server, struct hl_exchange *exchange);
void hl_api_show(void *server, struct hl_exchange *exchange);

void hl_api_unknown_model(struct hl_exchange *exchange, const char *name);

/* Adds "name":"text". */
void hl_api_add_text(struct evbuffer *out, const char *name, const char *text);

/* Add the members that all descriptions of a model share: "modified_at":"..." and "details":{...} */
void hl_api_add_modified(struct evbuffer *out, const struct hl_model *model);
void hl_api_add_details(struct evbuffer *out, const struct hl_model *model);

/* Returns whether a client's name means the served model. Compares like Ollama: case does not matter, and ":latest" may
 * be left out. */
bool hl_api_is_model(const struct hl_model *model, const char *name);

/* Writes RFC 3339 in UTC, with nanoseconds: "2026-11-20T09:30:00.123456789Z". */
void hl_api_time(const struct timespec *time, char out[40]);

/* A body of POST /api/generate or /api/chat, with every check that does not need the model. */
struct hl_api_request {
    bool chat;                                       /* of /api/chat */
    char model[HL_MODEL_NAME_MAX + 16];              /* cut: a longer name is not the served model's */
    const char *prompt, *system, *suffix, *template; /* of /api/generate, else "" */
    struct hl_arena arena;                           /* holds these texts and the conversation */
    struct hl_conversation conversation;             /* of /api/chat */
    bool stream, raw;
    bool load;                 /* nothing to generate: the client waits until the model is loaded */
    bool render_only;          /* the client wants the rendered prompt itself */
    bool seeded;               /* otherwise the seed is random */
    uint32_t context;          /* num_ctx, or 0 */
    struct hl_request request; /* without a prompt */
    char ignored[128];         /* names of options without effect, for the log */
};

/* Reads a JSON object from any bytes. Errors are HL_ERROR_REQUEST. Texts in *out are NUL-terminated. */
int hl_api_json_read(struct hl_arena *arena, const char *body, size_t n, struct hl_value *out, struct hl_error *err);

/* Returns a member of an object, or NULL if it is absent or null. */
struct hl_value *hl_api_member(struct hl_value object, const char *name);

/* Reads any bytes. Errors are HL_ERROR_REQUEST and name the field. The caller releases *out after success. */
int hl_api_request_read(const char *body, size_t n, bool chat, struct hl_api_request *out, struct hl_error *err);
void hl_api_request_release(struct hl_api_request *asked);

/* Releases the texts and the conversation. Call it once the prompt is tokenized: hundreds of requests may be queued,
 * each with a body of up to 16 MiB. */
void hl_api_request_forget(struct hl_api_request *asked);

/* Reads "messages" and "tools" of a body. */
int hl_api_messages_read(struct hl_arena *arena, struct hl_value body, struct hl_conversation *out,
                         struct hl_error *err);

#endif
