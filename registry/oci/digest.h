/* The digest of a blob, as text: "sha256:" and 64 lowercase hexadecimal digits.
 *
 * OCI image-spec 1.1, descriptor.md, "Digests".
 */
#ifndef HL_REGISTRY_OCI_DIGEST_H
#define HL_REGISTRY_OCI_DIGEST_H

#include <stdbool.h>

#define HL_DIGEST_HEX 64
#define HL_DIGEST_BYTES (7 + HL_DIGEST_HEX + 1) /* "sha256:", the digits and a NUL */

/* Returns whether the whole text is a digest. Only such a text may become a path. */
bool hl_digest_valid(const char *text);

/* Writes the digest of these 32 bytes, NUL-terminated. */
void hl_digest_format(const unsigned char sha256[32], char out[HL_DIGEST_BYTES]);

/* Returns the name of a valid digest's file inside blobs/sha256: its digits. */
static inline const char *hl_digest_file(const char *digest)
{
    return digest + 7;
}

#endif
