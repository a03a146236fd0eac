/* The header WWW-Authenticate: the authentication that a registry demands. RFC 9110, 11.3 and 11.6.1; the token
 * specification of distribution ("Bearer" with realm, service and scope). */
#ifndef HL_REGISTRY_REMOTE_CHALLENGE_H
#define HL_REGISTRY_REMOTE_CHALLENGE_H

#include <stdbool.h>

struct hl_challenge {
    enum { HL_CHALLENGE_NONE, HL_CHALLENGE_BASIC, HL_CHALLENGE_BEARER } scheme;
    char realm[2048];
    char service[512];
    char scope[1024];
    char error[128]; /* why a token did not suffice: "insufficient_scope", "invalid_token" */
};

/* Parses one header's value, which may hold several challenges, and chooses one: Bearer before Basic, the first of a
 * kind before the next. Other schemes are skipped, and so is a Bearer without a realm, which cannot be answered. The
 * texts hold no control characters. Returns false if no challenge remains, the value is malformed, or a text of the
 * chosen challenge does not fit. */
bool hl_challenge_parse(const char *value, struct hl_challenge *out);

#endif
