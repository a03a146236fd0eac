/* The private parts of a registry, shared by client.c and refusal.c. */
#ifndef HL_REGISTRY_REMOTE_CLIENT_INSIDE_H
#define HL_REGISTRY_REMOTE_CLIENT_INSIDE_H

#include "registry/remote/auth.h"
#include "registry/remote/client.h"
#include <pthread.h>
#include <stdatomic.h>

#define IDLE_MOST 64
#define WARNINGS_MOST 16
#define WARNING_BYTES 300

struct hl_registry {
    struct hl_reference reference;
    struct hl_http_options http;
    char *ca;
    struct hl_auth *auth;
    pthread_mutex_t settling;        /* guards the next two while `settled` is false */
    char origin[HL_NAME_LIMIT + 16]; /* "https://HOST" */
    bool settled;                    /* the scheme is certain */
    _Atomic bool answered;           /* a response arrived at least once */
    pthread_mutex_t lock;            /* guards the members below */
    struct hl_http *idle[IDLE_MOST];
    size_t n_idle;
    char *warning[WARNINGS_MOST];
    size_t n_warnings;
};

/* Makes a foreign text fit for a terminal, in place: each run of spaces and line breaks becomes one space; other
 * control characters and invalid UTF-8 are removed. */
void hl_registry_clean(char *text);

#endif
