/* The header WWW-Authenticate: what a registry asks for. RFC 9110, 11.3 and 11.6.1; the token specification of
 * distribution ("Bearer" with realm, service and scope). */
#ifndef HL_REGISTRY_REMOTE_CHALLENGE_H
#define HL_REGISTRY_REMOTE_CHALLENGE_H

#include <stdbool.h>

struct hl_challenge {
    enum { HL_CHALLENGE_NONE, HL_CHALLENGE_BASIC, HL_CHALLENGE_BEARER } scheme;
    char realm[2048];
    char service[512];
    char scope[1024];
    char error[128]; /* "insufficient_scope", "invalid_token": why a token was not enough */
};

/* Reads one header's value, which may hold several challenges: Bearer goes before Basic, the first of a kind before the
 * next, and others are passed over, as is a Bearer without a realm, which nobody could answer. The texts hold no
 * control characters. False when there is none, or the value is malformed, or a text of the chosen challenge does not
 * fit. */
bool hl_challenge_parse(const char *value, struct hl_challenge *out);

#endif
