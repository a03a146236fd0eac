/* The value of WWW-Authenticate -> a challenge. Its texts have no control characters. Written again by the grammar,
 * they are parsed as the same challenge. */
#include "base/cleanup.h"
#include "registry/remote/challenge.h"
#include "tests/fuzz/guard.h"

static char *put(char *out, const char *name, const char *value)
{
    out += sprintf(out, ", %s=\"", name);
    for (; *value; value++) {
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
            abort();
        if (*value == '"' || *value == '\\')
            *out++ = '\\';
        *out++ = *value;
    }
    *out++ = '"';
    *out = 0;
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[3 * sizeof(struct hl_challenge)];
    static struct hl_challenge first, second;
    /* Copies a text to the end of a page. */
    HL_FREE uint8_t *copy = malloc(size + 1);
    if (!copy || size >= GUARD_MOST)
        return 0;
    if (size)
        memcpy(copy, data, size);
    copy[size] = 0;
    const char *value = (const char *)guarded(copy, size + 1);
    if (!hl_challenge_parse(value, &first)) {
        if (first.scheme != HL_CHALLENGE_NONE)
            abort();
        return 0;
    }
    bool bearer = first.scheme == HL_CHALLENGE_BEARER;
    if (bearer && !*first.realm)
        abort();
    char *end = text + sprintf(text, "Mutual, %s x=y", bearer ? "bearer" : "BASIC");
    end = put(put(put(put(end, "error", first.error), "scope", first.scope), "service", first.service), "realm",
              first.realm);
    if (!hl_challenge_parse(text, &second) || memcmp(&first.scheme, &second.scheme, sizeof first.scheme) ||
        strcmp(first.realm, second.realm) || strcmp(first.service, second.service) ||
        strcmp(first.scope, second.scope) || strcmp(first.error, second.error))
        abort();
    return 0;
}
