/* One upload session of a registry: POST opens it, PATCH adds bytes, GET says how many it has, PUT makes a blob of it,
 * DELETE drops it. Internal to registry/.
 *
 * OCI distribution-spec 1.1, "Pushing blobs".
 */
#ifndef HL_REGISTRY_REMOTE_SESSION_H
#define HL_REGISTRY_REMOTE_SESSION_H

#include "registry/remote/client.h"

/* {0}: not open. */
struct hl_session {
    char *location;       /* where the next request goes; changes with every answer. NULL: not open */
    uint64_t offset;      /* bytes that the registry has, as far as it said */
    uint64_t least, most; /* OCI-Chunk-Min-Length, OCI-Chunk-Max-Length; 0: not said */
    bool own;             /* the Location is, and was, on the registry's own host */
};

enum hl_session_made { HL_SESSION_OPEN, HL_SESSION_MOUNTED };

/* Opens a session. With `from`, another repository of this registry, the blob is first asked to be mounted from there;
 * what comes of it is in *made, and a registry that cannot do that gives an ordinary session instead. */
int hl_session_open(struct hl_registry *registry, const char *digest, const char *from, struct hl_session *out,
                    enum hl_session_made *made, struct hl_error *err);

/* One PATCH (`range` is its Content-Range, NULL: none), or the PUT that gives the blob its `digest`; sent once, since
 * after a failure the session's state must be asked for. Follows 307 and 308, and takes over the Location of a success
 * and of a 416. Of any other status `err` has the reasons. The caller frees `response` in any case. */
int hl_session_patch(struct hl_registry *registry, struct hl_session *session, const char *range,
                     const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                     struct hl_error *err);
int hl_session_put(struct hl_registry *registry, struct hl_session *session, const char *digest,
                   const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                   struct hl_error *err);

/* Asks how much the registry has, and updates the session. *alive is false when it does not know the session, or does
 * not say; `err` has the reason then too. */
int hl_session_ask(struct hl_registry *registry, struct hl_session *session, bool *alive, struct hl_error *err);

/* The registry may forget what it got; whether it does is of no concern. Closes the session. */
void hl_session_cancel(struct hl_registry *registry, struct hl_session *session);
void hl_session_close(struct hl_session *session);

/* The number of bytes behind the header Range of an answer. "0-0" counts as none: registries say it of an empty upload,
 * and none of our pieces is one byte long. False when it is not said, or does not begin at 0. */
bool hl_session_range(const struct hl_http_response *response, uint64_t *bytes);

/* `location` with "digest=" behind its query, of which not a byte changes. The caller frees it; NULL: out of memory. */
char *hl_session_commit_url(const char *location, const char *digest);

/* Is a host known to take a blob in one body alone, or to be better off so? pkg.dev and gcr.io by the documentation of
 * Artifact Registry; ghcr.io answers 416 to pieces above 4 MiB, amazonaws.com 201 to the first. */
bool hl_session_whole_only(const char *host);

/* Fails when the answer says Docker-Content-Digest, and it is not ours. */
int hl_session_confirms(const struct hl_http_response *response, const char *digest, struct hl_error *err);

#endif
