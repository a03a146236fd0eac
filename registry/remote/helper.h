/* Credential helpers: programs named docker-credential-NAME that know the user's secrets.
 * Protocol: docker-credential-helpers, "Development". */
#ifndef HL_REGISTRY_REMOTE_HELPER_H
#define HL_REGISTRY_REMOTE_HELPER_H

#include "registry/net/credentials.h"

#define HL_HELPER_SECONDS 30

/* Asks docker-credential-`name`, found in PATH, for `server`; all NULL in `out` if it has nothing for it. Kills a
 * program that takes longer than `seconds`. The caller frees `out`, also after a failure. */
int hl_helper_get(const char *name, const char *server, unsigned seconds, struct hl_credentials *out,
                  struct hl_error *err);

#endif
