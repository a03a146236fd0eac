/* One upload session of a registry: POST opens it, PATCH adds bytes, GET tells their number, PUT makes a blob of them,
 * DELETE drops it. For registry/ only.
 *
 * OCI distribution-spec 1.1, "Pushing blobs".
 */
#ifndef HL_REGISTRY_REMOTE_SESSION_H
#define HL_REGISTRY_REMOTE_SESSION_H

#include "registry/remote/client.h"

/* {0}: not open. */
struct hl_session {
    char *location;       /* URL of the next request; every response may change it. NULL: not open */
    uint64_t offset;      /* bytes that the registry has, as far as it said */
    uint64_t least, most; /* OCI-Chunk-Min-Length, OCI-Chunk-Max-Length; 0: not given */
    bool own;             /* the Location is, and always was, on the registry's own host */
};

enum hl_session_made { HL_SESSION_OPEN, HL_SESSION_MOUNTED };

/* Opens a session. With `from`, another repository of this registry, it first asks to mount the blob from there. *made
 * tells the result; a registry that cannot mount opens an ordinary session instead. */
int hl_session_open(struct hl_registry *registry, const char *digest, const char *from, struct hl_session *out,
                    enum hl_session_made *made, struct hl_error *err);

/* Sends one PATCH (`range` is its Content-Range, NULL: none), or the PUT that gives the blob its `digest`. Sends it
 * once, since after a failure the session's state must be asked for. Follows 307 and 308, and takes over the Location
 * of a success and of a 416. With any status but a success, `err` has the reason. The caller always frees `response`.
 * */
int hl_session_patch(struct hl_registry *registry, struct hl_session *session, const char *range,
                     const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                     struct hl_error *err);
int hl_session_put(struct hl_registry *registry, struct hl_session *session, const char *digest,
                   const struct hl_http_body *body, struct hl_http_response *response, enum hl_http_failure *failure,
                   struct hl_error *err);

/* Asks how many bytes the registry has, and updates the session. *alive is false if the registry does not know the
 * session or the number; `err` has the reason then too. */
int hl_session_ask(struct hl_registry *registry, struct hl_session *session, bool *alive, struct hl_error *err);

/* Lets the registry discard the session's bytes, and closes it. Whether the registry does so does not matter. */
void hl_session_cancel(struct hl_registry *registry, struct hl_session *session);
void hl_session_close(struct hl_session *session);

/* Reads the number of bytes from the header Range of a response. "0-0" counts as none: registries send it for an empty
 * upload, and none of our pieces is one byte long. Returns false if it is absent, or does not begin at 0. */
bool hl_session_range(const struct hl_http_response *response, uint64_t *bytes);

/* Appends "digest=" to the query of `location`, of which no byte changes. The caller frees it; NULL: out of memory. */
char *hl_session_commit_url(const char *location, const char *digest);

/* Returns whether a host is known to accept a blob only in one body, or works better so. pkg.dev and gcr.io:
 * documentation of Artifact Registry; ghcr.io answers 416 to pieces above 4 MiB, amazonaws.com 201 to the first. */
bool hl_session_whole_only(const char *host);

/* Fails if the response has a Docker-Content-Digest other than ours. */
int hl_session_confirms(const struct hl_http_response *response, const char *digest, struct hl_error *err);

#endif
