/* Splits an http or https URL, strictly: a text that another parser could read differently is refused.
 *
 * RFC 3986, restricted to printable ASCII, hosts of letters, digits, '.', '-' and '_' or an IPv6 literal, and no user.
 */
#ifndef HL_REGISTRY_NET_URL_H
#define HL_REGISTRY_NET_URL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

#define HL_HOST_BYTES 256
#define HL_URL_LIMIT ((size_t)64 << 10) /* Locations of some registries carry several KB of state */

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
bool hl_url_parse_authority(const char *text, size_t n, char host[HL_HOST_BYTES], unsigned *port);

/* The distance of a host (as hl_url_parse() returns it) from this machine, judged by its text alone. */
enum hl_reach {
    HL_REACH_PUBLIC,
    HL_REACH_PRIVATE,
    HL_REACH_LINK,     /* link-local, "this network", and names that a resolver may map to this machine */
    HL_REACH_LOOPBACK, /* certainly this machine */
};

enum hl_reach hl_url_reach(const char *host);

/* Resolves `reference` against `base`: absolute, "//host/...", "host/..." as some registries send it, "/path" or
 * relative. The query is kept byte by byte. Only http and https pass. The caller frees *out. RFC 3986, 5.2. */
int hl_url_resolve(const char *base, const char *reference, char **out, struct hl_error *err);

/* Returns whether scheme, host and port are equal. */
bool hl_url_same_origin(const char *a, const char *b);

/* Returns whether the URL's host is a literal loopback, link-local or private address in any notation, or "localhost".
 * Names are not resolved: a company's own registry may well have a name and a private address. */
bool hl_url_is_local(const char *url);

/* Copies the URL without user, query and fragment, for messages; truncated to fit. */
const char *hl_url_shown(const char *url, char out[256]);

#endif
