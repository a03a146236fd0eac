/* Asks an endpoint for a token: a registry's realm, or an OAuth2 token endpoint. */
#ifndef HL_REGISTRY_NET_OAUTH_H
#define HL_REGISTRY_NET_OAUTH_H

#include "registry/net/http.h"
#include "registry/net/secret.h"

#define HL_OAUTH_LIMIT ((size_t)64 << 10) /* of a response; tokens that fit into headers are far shorter */
#define HL_OAUTH_LIFE 60                  /* seconds; the life of a token if the response gives none, and the minimum */

struct hl_oauth_request {
    const char *url;
    const char *form;          /* the body of a POST, urlencoded; NULL: a GET */
    const char *user, *secret; /* Basic authentication, or NULL */
    const char *hide[2];       /* secrets within `form`, or NULL */
    bool public_hosts;         /* hl_http_request */
};

struct hl_oauth_token {
    long status;
    char *text;       /* the token; NULL when the status is not 200 */
    char *refresh;    /* a new refresh token, or NULL */
    unsigned seconds; /* its life from now on, as far as the response says */
    char reason[256]; /* of a refusal, in the endpoint's words: printable, without the request's secrets; may be "" */
};

/* Succeeds with any status. Tries three times if a retry may help (429, 5xx, broken connections), with the waits of
 * hl_retry_wait(). Fails if no response arrives, or one with status 200 that holds no token. The caller frees `out`
 * with hl_oauth_token_free(), also after a failure. */
int hl_oauth_ask(struct hl_http *http, const struct hl_oauth_request *request, struct hl_oauth_token *out,
                 struct hl_error *err);
void hl_oauth_token_free(struct hl_oauth_token *token);

/* Reads the token from an endpoint's JSON, "token" or "access_token"; errors call the endpoint `name`. */
int hl_oauth_parse(const char *text, const char *name, struct hl_oauth_token *out, struct hl_error *err);

/* Returns whether a secret may be sent to this URL: https, or http to a loopback address. */
bool hl_oauth_url_is_safe(const char *url);

#endif
