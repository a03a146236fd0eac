/* The scope of a token: "repository:NAME:pull,push", several separated by spaces. The token specification of
 * distribution, "Scope": https://distribution.github.io/distribution/spec/auth/scope/ */
#ifndef HL_REGISTRY_REMOTE_SCOPE_H
#define HL_REGISTRY_REMOTE_SCOPE_H

#include "registry/net/secret.h"

/* Returns whether a token for `have` is good enough where `want` is needed. */
bool hl_scope_covers(const char *have, const char *want);

/* Joins both: the scopes of `first` in their order, with the actions that `second` adds, then the rest of `second`. The
 * order matters, since some registries read only the first scope. The caller frees *out. */
int hl_scope_join(const char *first, const char *second, char **out, struct hl_error *err);

/* Returns the next scope at *at, of *n bytes, and advances *at; NULL at the end. */
const char *hl_scope_next(const char **at, size_t *n);

#endif
