#include "base/address.h"
#include "base/text.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_DEFAULT 11434

static bool given(const char *text)
{
    return text && *text;
}

static int parse_port(const char *source, const char *text, uint16_t *out, struct hl_error *err)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || strlen(text) > 5 || port > UINT16_MAX)
        return hl_fail_as(err, HL_ERROR_USAGE, "%s must be a port from 0 to 65535, not '%s'", source, text);
    *out = (uint16_t)port;
    return 0;
}

static int set_host(const char *source, const char *host, size_t n, struct hl_address *out, struct hl_error *err)
{
    if (n >= sizeof out->host || memchr(host, ' ', n))
        return hl_fail_as(err, HL_ERROR_USAGE, "%s: '%s' is not a host name", source, host);
    memcpy(out->host, host, n);
    out->host[n] = 0;
    return 0;
}

/* Parses OLLAMA_HOST. Sets *named if it names the address to bind. */
static int parse_ollama_host(const char *text, struct hl_address *out, bool *named, struct hl_error *err)
{
    static const char source[] = "OLLAMA_HOST";
    char rest[256];
    const char *scheme = strstr(text, "://");
    if (hl_text_begins(text, "http://"))
        out->port = 80;
    else if (hl_text_begins(text, "https://"))
        out->port = 443;
    else if (scheme)
        return hl_fail_as(err, HL_ERROR_USAGE, "OLLAMA_HOST: the scheme of '%s' is neither http nor https", text);
    const char *start = scheme ? scheme + 3 : text;
    snprintf(rest, sizeof rest, "%.*s", (int)strcspn(start, "/"), start);
    const char *host = rest, *colon = strchr(rest, ':'), *port = NULL;
    size_t n = strlen(rest);
    if (*rest == '[') {
        const char *close = strchr(rest, ']');
        if (!close || (close[1] && close[1] != ':'))
            return hl_fail_as(err, HL_ERROR_USAGE, "OLLAMA_HOST: '%s' is not an address; write IPv6 as [::1]:11434",
                              text);
        host = rest + 1;
        n = (size_t)(close - host);
        port = close[1] ? close + 2 : NULL;
    } else if (colon && !strchr(colon + 1, ':')) { /* with more colons it is an IPv6 address without brackets */
        n = (size_t)(colon - rest);
        port = colon + 1;
    }
    if (port && parse_port("the port of OLLAMA_HOST", port, &out->port, err) < 0)
        return -1;
    *named = n > 0;
    if (n > 0)
        return set_host(source, host, n, out, err);
    return port ? set_host(source, "0.0.0.0", 7, out, err) : 0;
}

int hl_address_choose(const struct hl_address_sources *sources, struct hl_address *out, struct hl_error *err)
{
    bool named = false;
    *out = (struct hl_address){.host = "127.0.0.1", .port = PORT_DEFAULT};
    if (given(sources->env_host) && parse_ollama_host(sources->env_host, out, &named, err) < 0)
        return -1;
    if (given(sources->env_port)) {
        if (parse_port("PORT", sources->env_port, &out->port, err) < 0)
            return -1;
        if (!named)
            snprintf(out->host, sizeof out->host, "0.0.0.0");
    }
    if (given(sources->host) && set_host("--host", sources->host, strlen(sources->host), out, err) < 0)
        return -1;
    return given(sources->port) ? parse_port("--port", sources->port, &out->port, err) : 0;
}

int hl_address_environment_value(const char *name, const char *value, char out[256], struct hl_error *err)
{
    static const char around[] = " \t\r\n\"'";
    out[0] = 0;
    value += strspn(value, around);
    size_t n = strlen(value);
    while (n && strchr(around, value[n - 1]))
        n--;
    if (n >= 256)
        return hl_fail_as(err, HL_ERROR_USAGE, "the value of %s is too long", name);
    memcpy(out, value, n);
    out[n] = 0;
    return 0;
}

int hl_address_environment(const char *name, char out[256], struct hl_error *err)
{
    const char *value = getenv(name);
    return hl_address_environment_value(name, value ? value : "", out, err);
}

static int open_socket(const struct addrinfo *info)
{
    int one = 1, fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static uint16_t bound_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t n = sizeof name;
    if (getsockname(fd, &name.any, &n) < 0)
        return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

int hl_address_listen(struct hl_address *address, int *fd, struct hl_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    char port[8];
    snprintf(port, sizeof port, "%u", address->port);
    int failed = getaddrinfo(address->host, port, &hints, &list);
    if (failed)
        return hl_fail(err, "%s: cannot find the address to listen on: %s", address->host, gai_strerror(failed));
    *fd = -1;
    for (const struct addrinfo *info = list; info && *fd < 0; info = info->ai_next)
        *fd = open_socket(info);
    int reason = errno;
    freeaddrinfo(list);
    if (*fd < 0)
        return hl_fail(err, "cannot listen on %s port %u: %s%s", address->host, address->port, strerror(reason),
                       reason == EADDRINUSE ? "; choose another with --port or PORT" : "");
    address->port = bound_port(*fd);
    return 0;
}
