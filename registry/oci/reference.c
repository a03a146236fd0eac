/* Parses the texts that name images: those in registries, and the arguments oci:DIR[:TAG] and oci-archive:FILE[:TAG].
 *
 * A name without a host is refused. Docker reads "ubuntu" as an image of Docker Hub, which turns a misspelt file into a
 * request to a stranger; an error that says how to write the long form costs nothing.
 *
 * Docker Hub is the only registry whose host is not its name: "docker.io" is a web page, the registry is elsewhere.
 */
#include "registry/oci/reference.h"
#include "base/text.h"
#include "registry/net/url.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define HUB "registry-1.docker.io"

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool hl_reference_tag_valid(const char *tag, size_t length)
{
    if (!length || length >= HL_TAG_BYTES || tag[0] == '.' || tag[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(tag[i]) && (!tag[i] || !strchr("._-", tag[i])))
            return false;
    return true;
}

static int layout_usage(struct hl_error *err, const char *text, const char *why)
{
    return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' %s; write oci:DIR, oci:DIR:TAG or oci-archive:FILE.tar", text,
                      why);
}

int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err)
{
    static const char layout[] = "oci:", archive[] = "oci-archive:";
    *out = (struct hl_oci_reference){.archive = hl_text_begins(text, archive)};
    if (!out->archive && !hl_text_begins(text, layout))
        return layout_usage(err, text, "is not an image layout");
    const char *path = text + strlen(out->archive ? archive : layout), *colon = strrchr(path, ':');
    if (colon && strchr(colon, '/'))
        colon = NULL;
    size_t length = colon ? (size_t)(colon - path) : strlen(path);
    if (!length)
        return layout_usage(err, text, "names neither a folder nor a file");
    if (length >= sizeof out->path)
        return layout_usage(err, text, "is too long");
    memcpy(out->path, path, length);
    if (colon && !hl_reference_tag_valid(colon + 1, strlen(colon + 1)))
        return layout_usage(err, text, "ends in an invalid tag (letters, digits, '.', '_', '-'; at most 128)");
    if (colon)
        memcpy(out->tag, colon + 1, strlen(colon + 1));
    return 0;
}

bool hl_reference_is_loopback(const char *host)
{
    char name[HL_HOST_BYTES];
    unsigned port;
    return hl_url_parse_authority(host, strlen(host), name, &port) && hl_url_reach(name) == HL_REACH_LOOPBACK;
}

static const char *skip_scheme(const char *text)
{
    if (hl_text_begins(text, "oci://"))
        return text + 6;
    return hl_text_begins(text, "docker://") ? text + 9 : text;
}

/* Returns whether the text before the first slash is a host, and not the beginning of a repository of Docker Hub. */
static bool has_host(const char *name, size_t *n)
{
    char host[HL_HOST_BYTES];
    unsigned port;
    *n = strcspn(name, "/");
    return hl_url_parse_authority(name, *n, host, &port) && strcmp(host, ".") != 0 && strcmp(host, "..") != 0 &&
           (port || strchr(host, '.') || strchr(host, ':') || !strcmp(host, "localhost"));
}

static bool is_small(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Matches [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* and the same after slashes. */
static bool repository_valid(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t word = i;
        while (i < n && is_small(text[i]))
            i++;
        if (i == word)
            return false;
        size_t gap = i;
        while (i < n && text[i] != '/' && text[i] == text[gap])
            i++;
        if (i < n && text[i] == '/' && i == gap)
            i++;
        else if (i > gap && text[gap] != '-' && !(text[gap] == '.' && i == gap + 1) &&
                 !(text[gap] == '_' && i <= gap + 2))
            return false;
        if (i == n && i > gap)
            return false;
    }
    return n > 0;
}

static int usage(struct hl_error *err, const char *text, const char *why)
{
    return hl_fail_as(err, HL_ERROR_USAGE, "'%.300s' %s; write HOST/REPOSITORY[:TAG][@DIGEST]", text, why);
}

/* Sets the host as requests need it: in lower case, and for Docker Hub the real one. */
static void set_host(const char *text, size_t n, struct hl_reference *out)
{
    for (size_t i = 0; i < n; i++)
        out->host[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
    out->host[n] = 0;
    if (!strcmp(out->host, "docker.io") || !strcmp(out->host, "index.docker.io"))
        memcpy(out->host, HUB, sizeof HUB);
}

/* Makes the error about a text without a host. If it would be an image of Docker Hub, the error says how to write it.
 * */
static int no_host(struct hl_error *err, const char *text, const char *name)
{
    char hub[HL_REFERENCE_BYTES];
    struct hl_reference reference;
    struct hl_error ignored;
    bool slash = name[strcspn(name, "/:@")] == '/';
    int n = snprintf(hub, sizeof hub, "docker.io/%s%s", slash ? "" : "library/", name);
    if (n >= (int)sizeof hub || hl_reference_parse(hub, &reference, &ignored))
        return usage(err, text, "does not begin with a registry's host (with a dot, a port, or localhost)");
    return hl_fail_as(err, HL_ERROR_USAGE, "'%.300s' does not name a registry; for the image on Docker Hub write %s",
                      text, hub);
}

int hl_reference_parse(const char *text, struct hl_reference *out, struct hl_error *err)
{
    *out = (struct hl_reference){0};
    const char *name = skip_scheme(text);
    size_t host;
    if (!has_host(name, &host))
        return no_host(err, text, name);
    if (!name[host] || !name[host + 1])
        return usage(err, text, "names a registry, but no repository in it");
    const char *repository = name + host + 1, *digest = strchr(repository, '@');
    size_t n = digest ? (size_t)(digest - repository) : strlen(repository);
    const char *colon = memchr(repository, ':', n);
    size_t tag = colon ? n - (size_t)(colon - repository) - 1 : 0;
    n -= colon ? tag + 1 : 0;
    if (host + 1 + n > HL_NAME_LIMIT)
        return usage(err, text, "is longer than the 255 characters that a name may have");
    if (!repository_valid(repository, n))
        return usage(err, text,
                     "holds an invalid repository (lower case letters and digits, single '.', '_', '-' and "
                     "'/' between them)");
    if (colon && !hl_reference_tag_valid(colon + 1, tag))
        return usage(err, text, "holds an invalid tag (letters, digits, '.', '_', '-'; at most 128)");
    if (digest && !hl_digest_valid(digest + 1))
        return usage(err, text, "holds an invalid digest (sha256: and 64 lower case hexadecimal digits)");
    set_host(name, host, out);
    bool library = !strcmp(out->host, HUB) && !memchr(repository, '/', n);
    int length =
        snprintf(out->repository, sizeof out->repository, "%s%.*s", library ? "library/" : "", (int)n, repository);
    if (strlen(out->host) + 1 + (size_t)length > HL_NAME_LIMIT)
        return usage(err, text, "is longer than the 255 characters that a name may have");
    if (colon)
        memcpy(out->tag, colon + 1, tag);
    else if (!digest)
        memcpy(out->tag, "latest", 7);
    if (digest)
        memcpy(out->digest, digest + 1, HL_DIGEST_BYTES);
    return 0;
}

bool hl_reference_likely(const char *text)
{
    const char *name = skip_scheme(text);
    if (name != text)
        return true;
    size_t host;
    struct stat status;
    return has_host(name, &host) && name[host] == '/' && name[host + 1] && lstat(text, &status) != 0 &&
           !hl_text_begins(text, "oci:") && !hl_text_begins(text, "oci-archive:");
}

const char *hl_reference_text(const struct hl_reference *reference, char out[HL_REFERENCE_BYTES])
{
    const struct hl_reference *r = reference;
    int n = snprintf(out, HL_REFERENCE_BYTES, "%s/%s%s%s%s%s", r->host, r->repository, r->tag[0] ? ":" : "", r->tag,
                     r->digest[0] ? "@" : "", r->digest);
    if (n >= (int)HL_REFERENCE_BYTES) /* cannot happen after hl_reference_parse() */
        memcpy(out + HL_REFERENCE_BYTES - 4, "...", 4);
    return out;
}
