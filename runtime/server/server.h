/* The life of a server: open the port, load the model, answer, drain, exit. It knows no API: the caller gives it
 * routes, whose handlers get the struct hl_server as their context. */
#ifndef HL_RUNTIME_SERVER_SERVER_H
#define HL_RUNTIME_SERVER_SERVER_H

#include "base/address.h"
#include "runtime/engine/worker.h"
#include "runtime/server/httpd.h"

struct hl_server_options {
    struct hl_address address;
    const char *model; /* a path; NULL: the only folder under /models */
    struct hl_engine_options engine;
    bool context_chosen; /* --ctx was given: too large a context is an error, not a warning */
    bool kv_chosen;      /* otherwise the model chooses engine.kv_type */
    uint32_t max_queue, timeout;
    const struct hl_route *routes;
    uint64_t started; /* when the process started, on the clock of hl_clock_ns() */
};

/* What handlers need. */
struct hl_server {
    struct hl_model *model;
    struct hl_worker *worker;
    uint32_t context; /* positions per sequence */
    bool stopping;    /* takes no new requests */
    /* On the clock of hl_clock_ns(); 0: not yet. */
    uint64_t ready;       /* every weight is resident */
    uint64_t first_token; /* the first token went out */
};

/* Blocks SIGTERM and SIGINT until the server has handlers for them. Call it before hl_server_run(), early. */
void hl_server_hold_signals(void);

/* Serves until SIGTERM or SIGINT. Logs what happens, failures too. Returns the exit status. */
int hl_server_run(const struct hl_server_options *options);

/* Notes, and logs once, that a token went out. */
void hl_server_token(struct hl_server *server);

#endif
