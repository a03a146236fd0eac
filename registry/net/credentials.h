/* Who we are to a registry, or to whoever gives out tokens. */
#ifndef HL_REGISTRY_NET_CREDENTIALS_H
#define HL_REGISTRY_NET_CREDENTIALS_H

#include "registry/net/secret.h"
#include <stdbool.h>
#include <stdint.h>

/* At most one of: user and secret; an identity token (OAuth2 refresh token, given at the registry's realm); a bearer
 * token that is the registry's own. All NULL: anonymous. */
struct hl_credentials {
    char *user, *secret;
    char *identity_token;
    char *bearer;
    int64_t expires; /* seconds since 1970; 0: unknown. Ask anew shortly before */
    char where[192]; /* what they came from, for messages: "credHelpers in ~/.docker/config.json"; no secret in it */
};

void hl_credentials_free(struct hl_credentials *credentials);

static inline bool hl_credentials_anonymous(const struct hl_credentials *credentials)
{
    return !credentials->user && !credentials->identity_token && !credentials->bearer;
}

#endif
