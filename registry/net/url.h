/* The parts of an http or https URL, found strictly: what this parser and another one could read differently is no URL.
 *
 * RFC 3986; of it printable ASCII alone, hosts of letters, digits, '.', '-' and '_' or an IPv6 literal, no user.
 */
#ifndef HL_REGISTRY_NET_URL_H
#define HL_REGISTRY_NET_URL_H

#include <stdbool.h>
#include <stddef.h>

#define HL_HOST_BYTES 256

struct hl_url {
    bool tls;
    char host[HL_HOST_BYTES]; /* lower case; an IPv6 literal without its brackets */
    unsigned port;            /* the scheme's own when none is written */
    bool port_written;
    const char *authority; /* host and port as they are written */
    size_t authority_bytes;
    const char *rest; /* "" or begins with '/', '?' or '#' */
};

/* The pointers of `out` go into `text`. */
bool hl_url_parse(const char *text, struct hl_url *out);

/* The same for "HOST", "HOST:PORT", "[V6]" and "[V6]:PORT"; *port is 0 when none is written. */
bool hl_authority_parse(const char *text, size_t n, char host[HL_HOST_BYTES], unsigned *port);

/* How far a host, as hl_url_parse() gives it, is from this machine, as far as its text says. */
enum hl_reach {
    HL_REACH_PUBLIC,
    HL_REACH_PRIVATE,
    HL_REACH_LINK,     /* link-local, "this network", and what a resolver may take for this machine */
    HL_REACH_LOOPBACK, /* this machine for certain */
};

enum hl_reach hl_host_reach(const char *host);

#endif
