/* One repository of a registry: requests with credentials and retries, and the two places that it is, a store to read
 * images from and a target to write them to. Thread-safe; each request takes a connection of its own out of a pool.
 *
 * OCI distribution-spec 1.1.
 */
#ifndef HL_REGISTRY_CLIENT_H
#define HL_REGISTRY_CLIENT_H

#include "registry/reference.h"
#include "registry/target.h"

#define HL_RETRY_TIMES 6 /* tries after the first; waits of 0.5 s doubling to 30 s, each times 0.5 to 1 */

struct hl_registry_options {
    const char *ca;      /* --ca FILE */
    bool plain_http;     /* --plain-http; loopback hosts get it where they do not speak TLS */
    unsigned jobs;       /* --jobs; 0: 4 */
    const char *journal; /* folder for unfinished uploads; NULL: $XDG_STATE_HOME/hotlayer or ~/.local/state/hotlayer */
};

struct hl_registry;

int hl_registry_open(const struct hl_reference *reference, const struct hl_registry_options *options,
                     struct hl_registry **out, struct hl_error *err);
void hl_registry_close(struct hl_registry *registry);

/* Everything about one call but the answer. */
struct hl_call {
    const char *method;
    const char *path; /* behind /v2/REPOSITORY/: "blobs/sha256:...", or NULL and `url` */
    const char *url;  /* absolute: a Location */
    bool push;        /* needs more than pull */
    const char *from; /* another repository of the same registry that is read as well (mount), or NULL */
    const char *const *header;
    size_t n_headers;
    const struct hl_http_body *body;
    hl_sink *sink;
    void *context;
    size_t limit;
    bool once; /* no retries: the caller must first find out what happened (an upload's session) */
};

/* Sends it, answers challenges, and tries again what may work later: 408, 429 (after what Retry-After says, seconds or
 * a date, at most 5 minutes), 500, 502, 503, 504 and broken connections. With a sink that has taken bytes nothing is
 * retried: the caller asks for the rest. The authorization goes to the registry's own host alone. Any other status is a
 * success here. The caller frees `out` with hl_http_response_free(), also after a failure. */
int hl_registry_call(struct hl_registry *registry, const struct hl_call *call, struct hl_http_response *out,
                     enum hl_http_failure *failure, struct hl_error *err);

/* An error about an answer: what was asked, the status, and what the registry says about it (the errors of its JSON, or
 * the beginning of a text), fit for a terminal. Returns -1. */
int hl_registry_refused(const struct hl_registry *registry, const struct hl_call *call,
                        const struct hl_http_response *response, struct hl_error *err);

/* Waits before try number `attempt` (from 0), as `response` (may be NULL) asks or by backoff with jitter. */
void hl_registry_wait(unsigned attempt, const struct hl_http_response *response);

const struct hl_reference *hl_registry_reference(const struct hl_registry *registry);

/* The repository as a place to read from. `reference`'s tag or digest is what "" resolves to. The registry is closed
 * with the store. */
int hl_store_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                           struct hl_store **out, struct hl_error *err);

/* The repository as a place to write to; publish() sets the reference's tag. */
int hl_target_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                            struct hl_target **out, struct hl_error *err);

/* The registry behind a store of hl_store_open_registry(); NULL for any other store. */
struct hl_registry *hl_store_registry(struct hl_store *store);

#endif
