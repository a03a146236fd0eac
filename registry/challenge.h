/* The header WWW-Authenticate: what a registry asks for. RFC 9110, 11.3 and 11.6.1; the token specification of
 * distribution ("Bearer" with realm, service and scope). */
#ifndef HL_REGISTRY_CHALLENGE_H
#define HL_REGISTRY_CHALLENGE_H

#include "registry/http.h"

struct hl_challenge {
    enum { HL_CHALLENGE_NONE, HL_CHALLENGE_BASIC, HL_CHALLENGE_BEARER } scheme;
    char realm[2048];
    char service[512];
    char scope[1024];
    char error[128]; /* "insufficient_scope", "invalid_token": why a token was not enough */
};

/* Reads one header's value, which may hold several challenges: Bearer goes before Basic, others are passed over. False
 * when there is neither, or it is malformed or too long. */
bool hl_challenge_parse(const char *value, struct hl_challenge *out);

#endif
