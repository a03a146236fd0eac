/* What a token allows: "repository:NAME:pull,push", several of them behind spaces. The token specification of
 * distribution, "Scope": https://distribution.github.io/distribution/spec/auth/scope/ */
#ifndef HL_REGISTRY_REMOTE_SCOPE_H
#define HL_REGISTRY_REMOTE_SCOPE_H

#include "registry/net/secret.h"

/* Does a token for `have` do where `want` is needed? */
bool hl_scope_covers(const char *have, const char *want);

/* Both together: what `first` names in its order, with the actions that `second` adds, then the rest of `second`. Some
 * registries look at the first scope alone. The caller frees *out. */
int hl_scope_join(const char *first, const char *second, char **out, struct hl_error *err);

/* The scope at *at, of *n bytes; NULL at the end. *at moves on. */
const char *hl_scope_next(const char **at, size_t *n);

#endif
