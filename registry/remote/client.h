/* One repository of a registry: requests with credentials and retries, and the two places that it is, a store to read
 * images from and a target to write them to. Thread-safe; each request takes a connection of its own out of a pool.
 *
 * https or http: with --plain-http it is http, else https, but for a loopback host. What such a one speaks is asked for
 * once, before the first request, with GET /v2/: http is tried first, or https with --ca; where there is no answer, or
 * one that says that TLS is expected, the other is taken if it does better. So a test's registry needs no option, and
 * one with TLS none but its --ca.
 *
 * OCI distribution-spec 1.1.
 */
#ifndef HL_REGISTRY_REMOTE_CLIENT_H
#define HL_REGISTRY_REMOTE_CLIENT_H

#include "registry/oci/reference.h"
#include "registry/oci/target.h"
#include <time.h>

#define HL_RETRY_TIMES 6       /* tries after the first; waits of 0.5 s doubling to 30 s, each times 0.5 to 1 */
#define HL_RETRY_TIMES_FIRST 2 /* while nothing ever came back: a name is wrong, or a registry is down */

struct hl_registry_options {
    const char *ca;      /* --ca FILE */
    bool plain_http;     /* --plain-http */
    unsigned jobs;       /* --jobs; 0: 4 */
    const char *journal; /* folder for unfinished uploads; NULL: $XDG_STATE_HOME/hotlayer or ~/.local/state/hotlayer */
    /* as in registry/net/http.h; 0: what HOTLAYER_STALL_SECONDS and HOTLAYER_ANSWER_SECONDS say, else those of http.h
     */
    unsigned stall_seconds, answer_seconds;
};

struct hl_registry;

int hl_registry_open(const struct hl_reference *reference, const struct hl_registry_options *options,
                     struct hl_registry **out, struct hl_error *err);
void hl_registry_close(struct hl_registry *registry);

/* Everything about one call but the answer. */
struct hl_call {
    const char *method;
    const char *path; /* behind /v2/REPOSITORY/: "blobs/sha256:...", or NULL and `url` */
    const char *url;  /* absolute: a Location of this registry */
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
 * a date, at most 5 minutes), the 5xx that pass, and broken connections. With a sink that has taken bytes nothing is
 * retried: the caller asks for the rest; nor is a body that has no rewind(). A body is sent from where it stands at
 * first. The authorization goes to the registry's own origin alone, and is renewed before a long body. Any other status
 * is a success here, and so is the last answer when no more tries are left. After a 401 that no credential can help the
 * call fails, with out->status still there. The caller frees `out` with hl_http_response_free(), also after a failure.
 */
int hl_registry_call(struct hl_registry *registry, const struct hl_call *call, struct hl_http_response *out,
                     enum hl_http_failure *failure, struct hl_error *err);

/* An error about an answer: what was asked, the status, what the registry says about it (the errors of its JSON, or the
 * beginning of a text), fit for a terminal, and what to do. A HEAD has no body to say it: the reason is then asked for
 * with a GET. Returns -1. */
int hl_registry_refused(struct hl_registry *registry, const struct hl_call *call,
                        const struct hl_http_response *response, struct hl_error *err);

/* What the registry wanted its users to know ("Warning: 299"): each text once, at most 16, fit for a terminal. NULL
 * from the last on. The texts live as long as the registry. */
const char *hl_registry_warning(struct hl_registry *registry, size_t i);

/* "https://HOST" or "http://HOST"; what Locations are resolved against is the response's URL, not this. */
const char *hl_registry_origin(struct hl_registry *registry);

const struct hl_reference *hl_registry_reference(const struct hl_registry *registry);

/* The repository as a place to read from. `reference`'s tag or digest is what "" resolves to. The registry is closed
 * with the store. */
int hl_store_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                           struct hl_store **out, struct hl_error *err);

/* The repository as a place to write to; publish() sets the reference's tag. */
int hl_target_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                            struct hl_target **out, struct hl_error *err);

/* The registry behind a store of hl_store_open_registry() or a target of hl_target_open_registry(); NULL for any other.
 */
struct hl_registry *hl_store_registry(struct hl_store *store);
struct hl_registry *hl_target_registry(struct hl_target *target);

#endif
