/* The texts that name images: digests, tags, oci:DIR[:TAG], oci-archive:FILE[:TAG] and HOST/REPOSITORY[:TAG][@DIGEST].
 *
 * Grammar: distribution-spec 1.1 ("Pulling manifests"); Docker Hub's names are completed as Docker does.
 */
#ifndef HL_REGISTRY_OCI_REFERENCE_H
#define HL_REGISTRY_OCI_REFERENCE_H

#include "base/error.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define HL_DIGEST_HEX 64
#define HL_DIGEST_BYTES (7 + HL_DIGEST_HEX + 1) /* "sha256:", the digits and a NUL */
#define HL_TAG_BYTES 129
#define HL_NAME_LIMIT 255 /* host and repository together, as the specification says */
#define HL_REFERENCE_BYTES (HL_NAME_LIMIT + 1 + HL_TAG_BYTES + 1 + HL_DIGEST_BYTES)

/* Is it "sha256:" and 64 lowercase hexadecimal digits, and nothing else? Only such a text may become a path. */
bool hl_digest_valid(const char *text);
void hl_digest_format(const unsigned char sha256[32], char out[HL_DIGEST_BYTES]);
/* The name of a valid digest's file inside blobs/sha256. */
static inline const char *hl_digest_file(const char *digest)
{
    return digest + 7;
}
/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}, of `length` bytes. */
bool hl_reference_tag_valid(const char *tag, size_t length);

/* The argument oci:DIR[:TAG] or oci-archive:FILE[:TAG]. What follows the last colon is the tag, unless it holds a
 * slash: "oci:a:b/" is a folder. */
struct hl_oci_reference {
    char path[PATH_MAX];
    char tag[HL_TAG_BYTES]; /* "" when none was given */
    bool archive;
};

/* A failure is HL_ERROR_USAGE. */
int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err);

/* An image in a registry. */
struct hl_reference {
    char host[HL_NAME_LIMIT +
              1]; /* with the port, if one was given: "eu-docker.pkg.dev", "127.0.0.1:5000", "[::1]:80" */
    char repository[HL_NAME_LIMIT + 1];
    char tag[HL_TAG_BYTES];       /* "latest" when neither tag nor digest was given, "" beside a digest alone */
    char digest[HL_DIGEST_BYTES]; /* "" when none was given; it, not the tag, says then what is read */
};

/* `text` may begin with "oci://" or "docker://". A failure is HL_ERROR_USAGE. The host is what has a dot or a colon, or
 * is "localhost": without one the text is no reference, and the error says how to write Docker Hub's. */
int hl_reference_parse(const char *text, struct hl_reference *out, struct hl_error *err);

/* Does a command's argument name an image in a registry? With "oci://" or "docker://" always; else when it has a host
 * and a repository, and no file of this name exists. */
bool hl_reference_likely(const char *text);

/* HOST/REPOSITORY:TAG@DIGEST as far as they are there. Returns `out`. */
const char *hl_reference_text(const struct hl_reference *reference, char out[HL_REFERENCE_BYTES]);

/* Is the host a loopback one, to which plain HTTP may be spoken: localhost, 127.0.0.0/8, ::1? */
bool hl_reference_is_loopback(const char *host);

#endif
