/* One repository of a registry: requests with credentials and retries; a store to read images from it and a target to
 * write images to it. Thread-safe; each request takes its own connection from a pool.
 *
 * https or http: --plain-http means http; all other hosts but loopback ones get https. The scheme of a loopback host is
 * probed once, before the first request, with GET /v2/. The probe tries http first, or https with --ca. If there is no
 * answer, or one that says that TLS is expected, it takes the other scheme if that works better. So a test's registry
 * needs no option, and one with TLS only --ca.
 *
 * OCI distribution-spec 1.1.
 */
#ifndef HL_REGISTRY_REMOTE_CLIENT_H
#define HL_REGISTRY_REMOTE_CLIENT_H

#include "registry/oci/reference.h"
#include "registry/oci/target.h"
#include <time.h>

#define HL_RETRY_TIMES 6       /* tries after the first; waits of 0.5 s doubling to 30 s, each times 0.5 to 1 */
#define HL_RETRY_TIMES_FIRST 2 /* before any response has arrived: the name is wrong, or the registry is down */

struct hl_registry_options {
    const char *ca;      /* --ca FILE */
    bool plain_http;     /* --plain-http */
    unsigned jobs;       /* --jobs; 0: 4 */
    const char *journal; /* folder for unfinished uploads; NULL: $XDG_STATE_HOME/hotlayer or ~/.local/state/hotlayer */
    /* as in registry/net/http.h; 0: HOTLAYER_STALL_SECONDS and HOTLAYER_ANSWER_SECONDS, else the defaults of http.h */
    unsigned stall_seconds, answer_seconds;
};

struct hl_registry;

int hl_registry_open(const struct hl_reference *reference, const struct hl_registry_options *options,
                     struct hl_registry **out, struct hl_error *err);
void hl_registry_close(struct hl_registry *registry);

/* One call: everything but its response. */
struct hl_call {
    const char *method;
    const char *path; /* below /v2/REPOSITORY/: "blobs/sha256:..."; NULL: `url` counts */
    const char *url;  /* absolute: a Location of this registry */
    bool push;        /* needs more than pull */
    const char *from; /* another repository of the same registry that is read too (mount), or NULL */
    const char *const *header;
    size_t n_headers;
    const struct hl_http_body *body;
    hl_http_sink *sink;
    void *context;
    size_t limit;
    bool once; /* no retries: the caller must first find out the result of a failure (an upload's session) */
};

/* Sends the call, answers challenges, and retries temporary failures: 408, 429, temporary 5xx, and broken connections.
 * It waits as Retry-After says (seconds or a date), at most 5 minutes. It does not retry once a sink has taken bytes
 * (the caller asks for the rest), nor a body without rewind(). A body is first sent from its current position.
 *
 * The authorization is sent only to the registry's own origin, and is renewed before a long body. Any other status is a
 * success here, and so is the last response when the tries are used up. After a 401 that no credential can answer the
 * call fails; out->status is then still set. The caller frees `out` with hl_http_response_free(), also after a failure.
 * */
int hl_registry_call(struct hl_registry *registry, const struct hl_call *call, struct hl_http_response *out,
                     enum hl_http_failure *failure, struct hl_error *err);

/* Makes the error about a response: the request, the status, the registry's reason (the errors of its JSON, or the
 * beginning of a text), fit for a terminal, and what to do. The response to a HEAD has no body with a reason, so a GET
 * asks for it. Returns -1. */
int hl_registry_refused(struct hl_registry *registry, const struct hl_call *call,
                        const struct hl_http_response *response, struct hl_error *err);

/* Returns the i-th warning of the registry for its users ("Warning: 299"): each text once, at most 16, fit for a
 * terminal. NULL: no more. The texts live as long as the registry. */
const char *hl_registry_warning(struct hl_registry *registry, size_t i);

/* Returns "https://HOST" or "http://HOST". Locations are resolved against the response's URL, not against this. */
const char *hl_registry_origin(struct hl_registry *registry);

const struct hl_reference *hl_registry_reference(const struct hl_registry *registry);

/* Opens the repository for reading. "" resolves to the tag or digest of `reference`. Closing the store closes the
 * registry. */
int hl_store_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                           struct hl_store **out, struct hl_error *err);

/* Opens the repository for writing; publish() sets the reference's tag. */
int hl_target_open_registry(const struct hl_reference *reference, const struct hl_registry_options *options,
                            struct hl_target **out, struct hl_error *err);

/* Returns the registry of a store of hl_store_open_registry() or a target of hl_target_open_registry(); NULL for
 * others. */
struct hl_registry *hl_store_registry(struct hl_store *store);
struct hl_registry *hl_target_registry(struct hl_target *target);

#endif
