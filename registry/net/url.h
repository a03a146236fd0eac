/* Splits an http or https URL, strictly: a text that another parser could read differently is refused.
 *
 * RFC 3986, restricted to printable ASCII, hosts of letters, digits, '.', '-' and '_' or an IPv6 literal, and no user.
 */
#ifndef HL_REGISTRY_NET_URL_H
#define HL_REGISTRY_NET_URL_H

#include <stdbool.h>
#include <stddef.h>

#define HL_HOST_BYTES 256

struct hl_url {
    bool tls;
    char host[HL_HOST_BYTES]; /* lower case; an IPv6 literal without its brackets */
    unsigned port;            /* the scheme's default if the URL has none */
    bool port_written;
    const char *authority; /* host and port as written */
    size_t authority_bytes;
    const char *rest; /* "" or begins with '/', '?' or '#' */
};

/* Parses the URL; returns false if it is refused. The pointers of `out` point into `text`. */
bool hl_url_parse(const char *text, struct hl_url *out);

/* Parses "HOST", "HOST:PORT", "[V6]" or "[V6]:PORT"; *port is 0 if the text has none. */
bool hl_authority_parse(const char *text, size_t n, char host[HL_HOST_BYTES], unsigned *port);

/* The distance of a host (as hl_url_parse() returns it) from this machine, judged by its text alone. */
enum hl_reach {
    HL_REACH_PUBLIC,
    HL_REACH_PRIVATE,
    HL_REACH_LINK,     /* link-local, "this network", and names that a resolver may map to this machine */
    HL_REACH_LOOPBACK, /* certainly this machine */
};

enum hl_reach hl_host_reach(const char *host);

#endif
