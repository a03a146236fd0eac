/* The Authorization header for the requests to one registry: answers challenges, keeps tokens, renews them in time.
 * Thread-safe. The token protocol of distribution: token.md (GET), oauth.md (POST, for identity tokens). */
#ifndef HL_REGISTRY_REMOTE_AUTH_H
#define HL_REGISTRY_REMOTE_AUTH_H

#include "registry/remote/challenge.h"
#include "registry/remote/find_credentials.h"

#define HL_TOKEN_MARGIN 60 /* seconds before its end at which a token counts as gone */
#define HL_AUTH_ADVICE_BYTES 640

struct hl_auth;

/* `host` and `repository` as in a reference: credentials are looked up for them on the first challenge, and not before.
 */
int hl_auth_open(const char *host, const char *repository, struct hl_auth **out, struct hl_error *err);
void hl_auth_close(struct hl_auth *auth);

/* The header's value for a request that needs `scope` ("repository:NAME:pull,push", more of them behind spaces), as far
 * as an earlier challenge taught it; *out is NULL when nothing is known yet. A token that ends within `seconds` is
 * renewed first: an upload must not outlive it. Fails, as the next, also when the realm refuses a token; the error then
 * says as whom we came. The caller frees *out with hl_secret_free(). */
int hl_auth_header(struct hl_auth *auth, struct hl_http *http, const char *scope, unsigned seconds, char **out,
                   struct hl_error *err);

/* A request with the header `used` was let in: when a 401 comes later, a new token is worth asking for. */
void hl_auth_accepted(struct hl_auth *auth, const char *used);

/* After a 401 to `url`, sent with the header `used` (NULL: none): learns from the response's challenges and gets what
 * they ask for. *again is true when the request should be sent once more with a new header; false when the registry
 * refused what we have, and err then says as whom we came and what to do (log in, grant a role). Fails when a realm is
 * not https (http where the registry itself is plain), points to a local address although the registry is not local,
 * or does not answer as it should. A registry that wants something else each time is given up in the end, but the
 * caller had better count as well: a token that was good for a while is renewed each time it is refused. */
int hl_auth_challenged(struct hl_auth *auth, struct hl_http *http, const char *url, const char *scope, const char *used,
                       const struct hl_http_response *response, bool *again, struct hl_error *err);

/* As whom we came, and what may help where that was not enough; one sentence for the end of an error about a 403, which
 * has no challenge. Returns `out`. */
const char *hl_auth_advice(struct hl_auth *auth, char out[HL_AUTH_ADVICE_BYTES]);

/* Does the text hold one of our secrets: a password, a token, or what Basic makes of them? What a registry says about a
 * refusal must be asked this before it is shown: some of them repeat the request. */
bool hl_auth_tells(struct hl_auth *auth, const char *text);

#endif
