/* The texts that name things: digests, tags and the argument oci:DIR[:TAG]. */
#include "pack/oci.h"
#include <string.h>

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool hl_digest_valid(const char *text)
{
    return !strncmp(text, "sha256:", 7) && strlen(text) == HL_DIGEST_BYTES - 1 &&
           strspn(text + 7, "0123456789abcdef") == HL_DIGEST_HEX;
}

bool hl_tag_valid(const char *tag, size_t length)
{
    if (!length || length >= HL_TAG_BYTES || tag[0] == '.' || tag[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(tag[i]) && (!tag[i] || !strchr("._-", tag[i])))
            return false;
    return true;
}

static int usage(struct hl_error *err, const char *text, const char *why)
{
    return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' %s; write oci:DIR or oci:DIR:TAG", text, why);
}

int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err)
{
    *out = (struct hl_oci_reference){0};
    if (strncmp(text, "oci:", 4))
        return usage(err, text, "is not an image layout");
    const char *directory = text + 4, *colon = strrchr(directory, ':');
    if (colon && strchr(colon, '/'))
        colon = NULL;
    size_t length = colon ? (size_t)(colon - directory) : strlen(directory);
    if (!length)
        return usage(err, text, "names no folder");
    if (length >= sizeof out->directory)
        return usage(err, text, "names a folder that is too long");
    memcpy(out->directory, directory, length);
    if (colon && !hl_tag_valid(colon + 1, strlen(colon + 1)))
        return usage(err, text, "ends in what is not a tag (letters, digits, '.', '_', '-'; at most 128)");
    if (colon)
        memcpy(out->tag, colon + 1, strlen(colon + 1));
    return 0;
}
