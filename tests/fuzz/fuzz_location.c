/* A URL and, after a line break, a Location relative to it; and both as names of images.
 *
 * A Location decides which host gets an upload and its credentials, so libcurl must parse it as we do: the same host,
 * port and query, to the byte. A printed reference must be parsed as the same reference again. */
#include "base/cleanup.h"
#include "registry/net/url.h"
#include "registry/oci/reference.h"
#include "tests/fuzz/guard.h"
#include <curl/curl.h>

static void must(bool holds, const char *what, const char *text)
{
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, text);
        abort();
    }
}

static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

/* Some versions of libcurl write IPv6 and IPv4 addresses in another notation; then compare the addresses. */
static bool same_host(const char *ours, const char *theirs)
{
    size_t n = strlen(theirs);
    if (n > 1 && theirs[0] == '[')
        return strchr(ours, ':') != NULL;
    return !strcasecmp(ours, theirs) || hl_url_reach(ours) == hl_url_reach(theirs);
}

static void compare(const char *text)
{
    struct hl_url ours;
    must(hl_url_parse(text, &ours), "not a URL to us", text);
    CURLU *url = curl_url();
    if (!url)
        return;
    must(curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS) == CURLUE_OK, "not a URL to libcurl", text);
    char *host = part_of(url, CURLUPART_HOST, 0), *port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT),
         *query = part_of(url, CURLUPART_QUERY, 0), *user = part_of(url, CURLUPART_USER, 0);
    const char *mark = strchr(ours.rest, '?');
    must(host && same_host(ours.host, host), "another host to libcurl", text);
    must(port && strtoul(port, NULL, 10) == ours.port, "another port to libcurl", text);
    must(!user, "a user to libcurl", text);
    must(!strcmp(query ? query : "", mark ? mark + 1 : ""), "another query to libcurl", text);
    curl_free(host);
    curl_free(port);
    curl_free(query);
    curl_free(user);
    curl_url_cleanup(url);
}

static void resolve(const char *base, const char *location)
{
    struct hl_error err;
    HL_FREE char *out = NULL;
    char shown[256];
    hl_url_shown(location, shown);
    hl_url_is_local(location);
    if (hl_url_resolve(base, location, &out, &err))
        return;
    compare(out);
    must(hl_url_same_origin(out, out), "not its own origin", out);
    must(strlen(hl_url_shown(out, shown)) && !strpbrk(shown, "?#"), "shown with its query", out);
    HL_FREE char *again = NULL;
    must(!hl_url_resolve(base, out, &again, &err) && !strcmp(out, again), "not where it leads", out);
}

static void name(const char *text)
{
    struct hl_error err;
    struct hl_reference reference, again;
    char printed[HL_REFERENCE_BYTES];
    hl_reference_is_loopback(text);
    if (hl_reference_parse(text, &reference, &err))
        return;
    hl_reference_text(&reference, printed);
    must(!hl_reference_parse(printed, &again, &err) && !memcmp(&reference, &again, sizeof again), "read differently",
         printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *bytes = guarded(data, size);
    HL_FREE char *text = bytes ? strndup((const char *)bytes, size) : NULL;
    if (!text)
        return 0;
    char *line = strchr(text, '\n');
    if (line)
        *line = 0;
    resolve(text, line ? line + 1 : "/a?b");
    name(text);
    if (line)
        name(line + 1);
    return 0;
}
