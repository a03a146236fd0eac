/* The texts that name images: tags, oci:DIR[:TAG], oci-archive:FILE[:TAG] and HOST/REPOSITORY[:TAG][@DIGEST].
 *
 * Grammar: distribution-spec 1.1 ("Pulling manifests"); Docker Hub's names are completed as Docker does.
 */
#ifndef HL_REGISTRY_OCI_REFERENCE_H
#define HL_REGISTRY_OCI_REFERENCE_H

#include "base/error.h"
#include "registry/oci/digest.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define HL_TAG_BYTES 129
#define HL_NAME_LIMIT 255 /* host and repository together, as the specification says */
#define HL_REFERENCE_BYTES (HL_NAME_LIMIT + 1 + HL_TAG_BYTES + 1 + HL_DIGEST_BYTES)

/* Returns whether these `length` bytes are a tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}. */
bool hl_reference_tag_valid(const char *tag, size_t length);

/* The argument oci:DIR[:TAG] or oci-archive:FILE[:TAG]. The text after the last colon is the tag, unless it holds
 * a slash: "oci:a:b/" is a folder. */
struct hl_oci_reference {
    char path[PATH_MAX];
    char tag[HL_TAG_BYTES]; /* "" if none was given */
    bool archive;
};

/* Parses the argument. A failure is HL_ERROR_USAGE. */
int hl_oci_reference_parse(const char *text, struct hl_oci_reference *out, struct hl_error *err);

/* An image in a registry. */
struct hl_reference {
    char host[HL_NAME_LIMIT + 1]; /* with its port if given: "eu-docker.pkg.dev", "127.0.0.1:5000", "[::1]:80" */
    char repository[HL_NAME_LIMIT + 1];
    char tag[HL_TAG_BYTES];       /* "latest" if neither tag nor digest was given, "" with only a digest */
    char digest[HL_DIGEST_BYTES]; /* "" if none was given; otherwise it decides what is read, not the tag */
};

/* Parses a reference, which may begin with "oci://" or "docker://". A host has a dot or a colon, or is "localhost". A
 * text without one is refused; the error says how to write an image of Docker Hub. A failure is HL_ERROR_USAGE. */
int hl_reference_parse(const char *text, struct hl_reference *out, struct hl_error *err);

/* Returns whether a command's argument names an image in a registry: with "oci://" or "docker://" always; otherwise if
 * it has a host and a repository, and no file of this name exists. */
bool hl_reference_likely(const char *text);

/* Writes HOST/REPOSITORY:TAG@DIGEST without the parts that are missing. Returns `out`. */
const char *hl_reference_text(const struct hl_reference *reference, char out[HL_REFERENCE_BYTES]);

/* Returns whether plain HTTP is allowed because the host is this machine: localhost, 127.0.0.0/8, ::1. */
bool hl_reference_is_loopback(const char *host);

#endif
