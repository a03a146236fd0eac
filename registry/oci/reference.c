/* The texts that name things: digests, tags and the argument oci:DIR[:TAG]. */
#include "registry/oci/reference.h"
#include "base/text.h"
#include <string.h>

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool hl_digest_valid(const char *text)
{
    return hl_text_begins(text, "sha256:") && strlen(text) == HL_DIGEST_BYTES - 1 &&
           strspn(text + 7, "0123456789abcdef") == HL_DIGEST_HEX;
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

void hl_digest_format(const unsigned char sha256[32], char out[HL_DIGEST_BYTES])
{
    memcpy(out, "sha256:", 8);
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", sha256[i]);
}

static int usage(struct hl_error *err, const char *text, const char *why)
{
    return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' %s; write oci:DIR, oci:DIR:TAG or oci-archive:FILE.tar", text,
                      why);
}

int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err)
{
    static const char layout[] = "oci:", archive[] = "oci-archive:";
    *out = (struct hl_oci_reference){.archive = hl_text_begins(text, archive)};
    if (!out->archive && strncmp(text, layout, strlen(layout)))
        return usage(err, text, "is not an image layout");
    const char *path = text + strlen(out->archive ? archive : layout), *colon = strrchr(path, ':');
    if (colon && strchr(colon, '/'))
        colon = NULL;
    size_t length = colon ? (size_t)(colon - path) : strlen(path);
    if (!length)
        return usage(err, text, "names neither a folder nor a file");
    if (length >= sizeof out->path)
        return usage(err, text, "is too long");
    memcpy(out->path, path, length);
    if (colon && !hl_reference_tag_valid(colon + 1, strlen(colon + 1)))
        return usage(err, text, "ends in an invalid tag (letters, digits, '.', '_', '-'; at most 128)");
    if (colon)
        memcpy(out->tag, colon + 1, strlen(colon + 1));
    return 0;
}
