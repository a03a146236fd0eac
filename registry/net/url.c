/* URLs: where a request is sent, and where a response may redirect it.
 *
 * This is not a general parser. A URL decides who receives a credential, so the danger is a text with two readings: a
 * trusted host here, another host in libcurl. The parser refuses everything that parsers are known to disagree about:
 * users, escapes and backslashes in hosts, control characters, empty ports. The rest has one meaning.
 *
 * A query is never parsed: the opaque state that a registry put there must return byte by byte.
 */
#include "registry/net/url.h"
#include "base/cleanup.h"
#include "base/text.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static bool read_port(const char *text, size_t n, unsigned *port)
{
    *port = 0;
    if (!n || n > 5)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *port = *port * 10 + (unsigned)(text[i] - '0');
    }
    return *port > 0 && *port < 65536;
}

bool hl_url_parse_authority(const char *text, size_t n, char host[HL_HOST_BYTES], unsigned *port)
{
    size_t bytes = 0, end = 0;
    *port = 0;
    if (n && text[0] == '[') {
        const char *close = memchr(text, ']', n);
        bytes = close ? (size_t)(close - text) - 1 : 0;
        end = bytes + 2;
        text++, n--, end--;
    } else {
        while (bytes < n && is_host_char(text[bytes]))
            bytes++;
        end = bytes;
    }
    if (!bytes || bytes >= HL_HOST_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++)
        host[i] = lower(text[i]);
    host[bytes] = 0;
    struct in6_addr address;
    if (end > bytes && inet_pton(AF_INET6, host, &address) != 1)
        return false;
    return end == n || (text[end] == ':' && read_port(text + end + 1, n - end - 1, port));
}

bool hl_url_parse(const char *text, struct hl_url *out)
{
    *out = (struct hl_url){.tls = !strncasecmp(text, "https://", 8)};
    if (!out->tls && strncasecmp(text, "http://", 7) != 0)
        return false;
    size_t n = strlen(text);
    if (n > HL_URL_LIMIT)
        return false;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    out->authority = text + (out->tls ? 8 : 7);
    out->authority_bytes = strcspn(out->authority, "/?#");
    out->rest = out->authority + out->authority_bytes;
    if (!hl_url_parse_authority(out->authority, out->authority_bytes, out->host, &out->port))
        return false;
    out->port_written = out->port;
    if (!out->port)
        out->port = out->tls ? 443 : 80;
    return true;
}

static enum hl_reach reach_v4(uint32_t ip)
{
    if (ip >> 24 == 127)
        return HL_REACH_LOOPBACK;
    if (ip >> 24 == 0 || ip >> 16 == 0xA9FE) /* 0.0.0.0/8, 169.254.0.0/16 */
        return HL_REACH_LINK;
    if (ip >> 24 == 10 || ip >> 20 == 0xAC1 || ip >> 16 == 0xC0A8 || ip >> 22 == 0x191) /* ..., 100.64.0.0/10 */
        return HL_REACH_PRIVATE;
    return HL_REACH_PUBLIC;
}

static enum hl_reach reach_v6(const unsigned char *ip)
{
    static const unsigned char zero[16] = {0}, mapped[12] = {[10] = 0xFF, [11] = 0xFF},
                               nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    if (!memcmp(ip, zero, 15))
        return ip[15] == 1 ? HL_REACH_LOOPBACK : HL_REACH_LINK;
    if (!memcmp(ip, zero, 12) || !memcmp(ip, mapped, 12) || !memcmp(ip, nat64, 12))
        return reach_v4((uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15]);
    if (ip[0] == 0xFE && (ip[1] & 0xC0) == 0x80)
        return HL_REACH_LINK;
    return (ip[0] & 0xFE) == 0xFC || (ip[0] == 0xFE && (ip[1] & 0xC0) == 0xC0) ? HL_REACH_PRIVATE : HL_REACH_PUBLIC;
}

/* A resolver may ask a name server about "x.localhost" and "localhost.", so they may be any host. inet_aton() also
 * reads 127.1 and 0x7f000001, as getaddrinfo() does. */
enum hl_reach hl_url_reach(const char *host)
{
    char name[HL_HOST_BYTES];
    size_t n = strnlen(host, sizeof name - 1), dots = 0;
    memcpy(name, host, n);
    for (; n && name[n - 1] == '.'; n--)
        dots++;
    name[n] = 0;
    struct in6_addr v6;
    struct in_addr v4;
    enum hl_reach reach = HL_REACH_PUBLIC;
    if (!strcasecmp(name, "localhost"))
        reach = HL_REACH_LOOPBACK;
    else if (n > 10 && !strcasecmp(name + n - 10, ".localhost"))
        reach = HL_REACH_LINK;
    else if (inet_pton(AF_INET6, name, &v6) == 1)
        reach = reach_v6(v6.s6_addr);
    else if (inet_aton(name, &v4))
        reach = reach_v4(ntohl(v4.s_addr));
    return dots && reach == HL_REACH_LOOPBACK ? HL_REACH_LINK : reach;
}

bool hl_url_same_origin(const char *a, const char *b)
{
    struct hl_url x, y;
    return hl_url_parse(a, &x) && hl_url_parse(b, &y) && x.tls == y.tls && x.port == y.port && !strcmp(x.host, y.host);
}

bool hl_url_is_local(const char *url)
{
    struct hl_url parts;
    return hl_url_parse(url, &parts) && hl_url_reach(parts.host) != HL_REACH_PUBLIC;
}

const char *hl_url_shown(const char *url, char out[256])
{
    const char *scheme = strstr(url, "://"), *from = scheme ? scheme + 3 : url;
    size_t used = 0, authority = strcspn(from, "/?#");
    const char *at = memrchr(from, '@', authority);
    from = at ? at + 1 : from;
    if (scheme && scheme - url < 16)
        for (const char *c = url; c < scheme + 3; c++)
            out[used++] = *c;
    size_t n = strcspn(from, "?#");
    for (size_t i = 0; i < n && used < 255; i++)
        out[used++] = from[i];
    out[used] = 0;
    if (used == 255)
        memcpy(out + 252, "...", 3);
    for (size_t i = 0; i < used; i++)
        if (out[i] <= ' ' || out[i] > '~')
            out[i] = '?';
    return out;
}

/* Removes "." and ".." segments from the path of `n` bytes, in place. Returns its new length. RFC 3986, 5.2.4. */
static size_t remove_dots(char *path, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        size_t end = i + 1; /* path[i] is a slash */
        while (end < n && path[end] != '/')
            end++;
        size_t bytes = end - i - 1;
        bool one = bytes == 1 && path[i + 1] == '.', two = bytes == 2 && path[i + 1] == '.' && path[i + 2] == '.';
        while (two && used && path[--used] != '/')
            ;
        if (!one && !two) {
            memmove(path + used, path + i, end - i);
            used += end - i;
        } else if (end == n) {
            path[used++] = '/';
        }
        i = end;
    }
    return used;
}

/* "HOST/v2/..." without a scheme is not a URI reference, but some registries send it. A relative reference that looks
 * the same is unlikely: it would need a folder "v2" below the uploads. */
static bool begins_with_host(const char *reference, const struct hl_url *base)
{
    size_t n = strcspn(reference, "/?#");
    char host[HL_HOST_BYTES];
    unsigned port;
    if (reference[n] != '/' || !hl_url_parse_authority(reference, n, host, &port) || !strcmp(host, ".") ||
        !strcmp(host, ".."))
        return false;
    if (n == base->authority_bytes && !strncasecmp(reference, base->authority, n))
        return true;
    return (port || strchr(host, '.') || strchr(host, ':') || !strcmp(host, "localhost")) &&
           hl_text_begins(reference + n, "/v2/");
}

/* Joins base and reference, before dots are removed: the base supplies the parts that the reference lacks. */
static void join(const struct hl_url *base, const char *reference, char *out, size_t size)
{
    const char *scheme = base->tls ? "https" : "http";
    int authority = (int)base->authority_bytes, path = (int)strcspn(base->rest, "?#");
    if (reference[0] != '?')
        while (path && base->rest[path - 1] != '/')
            path--;
    if (hl_text_begins(reference, "//"))
        snprintf(out, size, "%s:%s", scheme, reference);
    else if (begins_with_host(reference, base))
        snprintf(out, size, "%s://%s", scheme, reference);
    else if (reference[0] == '/')
        snprintf(out, size, "%s://%.*s%s", scheme, authority, base->authority, reference);
    else
        snprintf(out, size, "%s://%.*s%.*s%s%s", scheme, authority, base->authority, path, base->rest, path ? "" : "/",
                 reference);
}

static bool has_scheme(const char *reference)
{
    size_t n = strcspn(reference, ":/?#");
    return n && reference[n] == ':';
}

/* Returns whether the registry forgot TLS: one that is reached through a TLS proxy may not know of it. It knows the
 * port from the request's Host, or not at all. */
static bool forgets_tls(const struct hl_url *from, const struct hl_url *to)
{
    return from->tls && !to->tls && (!to->port_written || to->port == from->port) && !strcmp(from->host, to->host);
}

int hl_url_resolve(const char *base, const char *reference, char **out, struct hl_error *err)
{
    struct hl_url from, to;
    char shown[256], shown_base[256];
    *out = NULL;
    hl_url_shown(base, shown_base);
    if (!hl_url_parse(base, &from))
        return hl_fail(err, "'%s' is not an http or https URL", shown_base);
    if (!reference[strspn(reference, " ")] || reference[0] == '#')
        return hl_fail(err, "%s leads nowhere: its Location is empty", shown_base);
    bool absolute = !strncasecmp(reference, "http://", 7) || !strncasecmp(reference, "https://", 8);
    bool foreign = !absolute && has_scheme(reference) && !begins_with_host(reference, &from);
    size_t size = strlen(base) + strlen(reference) + 16;
    HL_FREE char *text = malloc(size), *path = NULL;
    if (!text)
        return hl_no_memory(err);
    if (absolute)
        memcpy(text, reference, strlen(reference) + 1);
    else
        join(&from, reference, text, size);
    text[strcspn(text, "#")] = 0;
    if (foreign || !hl_url_parse(text, &to))
        return hl_fail(err,
                       "%s leads to '%s', which is not a URL that can be followed (http or https, printable ASCII, "
                       "no user, at most %zu KiB)",
                       shown_base, hl_url_shown(reference, shown), HL_URL_LIMIT >> 10);
    path = strdup(to.rest);
    if (!path)
        return hl_no_memory(err);
    size_t n = strcspn(path, "?"), kept = remove_dots(path, n);
    const struct hl_url *origin = forgets_tls(&from, &to) ? &from : &to;
    if (asprintf(out, "%s://%.*s%.*s%s", origin->tls ? "https" : "http", (int)origin->authority_bytes,
                 origin->authority, (int)kept, path, path + n) < 0) {
        *out = NULL;
        return hl_no_memory(err);
    }
    return 0;
}
