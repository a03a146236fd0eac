/* Reads a registry's credentials from Docker's config.json and podman's auth.json. */
#ifndef HL_REGISTRY_REMOTE_DOCKER_CONFIG_H
#define HL_REGISTRY_REMOTE_DOCKER_CONFIG_H

#include "registry/net/credentials.h"
#include "registry/oci/reference.h"

#define HL_HELPER_NAME_BYTES 64

struct hl_docker_config {
    char helper[HL_HELPER_NAME_BYTES]; /* docker-credential-HELPER must be asked first; "": none */
    bool store;                        /* the helper is that of credsStore, not one of credHelpers */
    char server[HL_NAME_LIMIT + 1];    /* the name to ask the helper for */
    struct hl_credentials credentials; /* of auths; `where` stays empty. hl_credentials_free() */
};

/* Parses `text`, the file's content. Errors call the file `name` and contain no part of it. `repository` may be NULL.
 * The caller frees `out->credentials`, also after a failure. */
int hl_docker_config_read(const char *text, const char *name, const char *host, const char *repository,
                          struct hl_docker_config *out, struct hl_error *err);

#endif
