/* The address on which the server listens, from options, PORT (set by Cloud Run) and OLLAMA_HOST. */
#ifndef HL_BASE_ADDRESS_H
#define HL_BASE_ADDRESS_H

#include "base/error.h"
#include <stdint.h>

struct hl_address {
    char host[256]; /* a name, or a numeric address without brackets */
    uint16_t port;
};

/* NULL or empty: not given. */
struct hl_address_sources {
    const char *host, *port;         /* --host, --port */
    const char *env_port, *env_host; /* PORT, OLLAMA_HOST */
};

/* Chooses the address. --host and --port come first. Then PORT sets the port, and the host is 0.0.0.0 unless OLLAMA_HOST
 * names one. Then comes OLLAMA_HOST, and last 127.0.0.1:11434. OLLAMA_HOST has the forms [SCHEME://]HOST[:PORT][/...], :PORT and [IPv6]:PORT; a
 * scheme without a port means its own (http 80, https 443). Errors are HL_ERROR_USAGE and name the source. */
int hl_address_choose(const struct hl_address_sources *sources, struct hl_address *out, struct hl_error *err);

/* Copies a variable's value without the spaces and quotes around it, as Ollama reads its variables. Gives "" if the
 * variable is not set. Fails if the value does not fit. */
int hl_address_environment(const char *name, char out[256], struct hl_error *err);

/* Does the same for a value that is not in the environment of this process. */
int hl_address_environment_value(const char *name, const char *value, char out[256], struct hl_error *err);

/* Binds and listens. If the port was 0, stores the port that the kernel chose. *fd does not block; the caller closes it.
 */
int hl_address_listen(struct hl_address *address, int *fd, struct hl_error *err);

#endif
