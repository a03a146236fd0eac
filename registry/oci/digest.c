#include "registry/oci/digest.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

bool hl_digest_valid(const char *text)
{
    return hl_text_begins(text, "sha256:") && strlen(text) == HL_DIGEST_BYTES - 1 &&
           strspn(text + 7, "0123456789abcdef") == HL_DIGEST_HEX;
}

void hl_digest_format(const unsigned char sha256[32], char out[HL_DIGEST_BYTES])
{
    memcpy(out, "sha256:", 8);
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", sha256[i]);
}
