/* Credentials: how this program identifies itself to a registry, or to an endpoint that issues tokens. */
#ifndef HL_REGISTRY_NET_CREDENTIALS_H
#define HL_REGISTRY_NET_CREDENTIALS_H

#include "registry/net/secret.h"
#include <stdbool.h>
#include <stdint.h>

/* Holds at most one of: user and secret; an identity token (an OAuth2 refresh token, sent to the registry's realm); a
 * bearer token that the registry itself accepts. All NULL: anonymous. */
struct hl_credentials {
    char *user, *secret;
    char *identity_token;
    char *bearer;
    int64_t expires; /* seconds since 1970; 0: unknown. Ask for new ones shortly before */
    char where[192]; /* their source, for messages: "credHelpers in ~/.docker/config.json"; holds no secret */
};

void hl_credentials_free(struct hl_credentials *credentials);

static inline bool hl_credentials_anonymous(const struct hl_credentials *credentials)
{
    return !credentials->user && !credentials->identity_token && !credentials->bearer;
}

#endif
