/* Makes the Authorization header for the requests to one registry: answers challenges, keeps tokens, renews them in
 * time. Thread-safe. Implements the token protocol of distribution: token.md (GET), oauth.md (POST, for identity
 * tokens). */
#ifndef HL_REGISTRY_REMOTE_AUTH_H
#define HL_REGISTRY_REMOTE_AUTH_H

#include "registry/remote/challenge.h"
#include "registry/remote/find_credentials.h"

#define HL_TOKEN_MARGIN 60 /* seconds before its end at which a token counts as expired */
#define HL_AUTH_ADVICE_BYTES 640

struct hl_auth;

/* Takes `host` and `repository` as in a reference. Credentials for them are looked up on the first challenge, not
 * before. */
int hl_auth_open(const char *host, const char *repository, struct hl_auth **out, struct hl_error *err);
void hl_auth_close(struct hl_auth *auth);

/* Returns the header's value for a request that needs `scope` ("repository:NAME:pull,push", several separated by
 * spaces), as far as an earlier challenge taught it; *out is NULL if none did. A token that expires within `seconds` is
 * renewed first: an upload must not outlive it. Fails, like hl_auth_challenged(), also if the realm refuses a token;
 * the error then names the credentials that were used. The caller frees *out with hl_secret_free(). */
int hl_auth_header(struct hl_auth *auth, struct hl_http *http, const char *scope, unsigned seconds, char **out,
                   struct hl_error *err);

/* Tells that a request with the header `used` succeeded: after a later 401 it is worth asking for a new token. */
void hl_auth_accepted(struct hl_auth *auth, const char *used);

/* Handles a 401 from `url` to a request with the header `used` (NULL: none): learns from the response's challenges and
 * gets the token that they demand. Sets *again if the request should be repeated with a new header. Otherwise the
 * registry refused our credentials; err then names them and says what to do (log in, grant a role).
 *
 * Fails if a realm is not https (http if the registry itself is plain), has a local address although the registry has
 * not, or answers wrongly. A registry that demands something else each time is given up at last. The caller must count
 * as well: a token that worked for a while is renewed each time it is refused. */
int hl_auth_challenged(struct hl_auth *auth, struct hl_http *http, const char *url, const char *scope, const char *used,
                       const struct hl_http_response *response, bool *again, struct hl_error *err);

/* Tells which credentials were used, and what to do if they did not suffice: one sentence for the end of an error about
 * a 403, which has no challenge. Artifact Registry answers so if a role is missing. Returns `out`. */
const char *hl_auth_advice(struct hl_auth *auth, char out[HL_AUTH_ADVICE_BYTES]);

/* Returns whether the text holds one of our secrets: a password, a token, or either in the Basic scheme. Call it before
 * showing a registry's reason for a refusal: some registries echo the request. */
bool hl_auth_tells(struct hl_auth *auth, const char *text);

#endif
