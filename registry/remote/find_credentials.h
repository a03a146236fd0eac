/* Who we are to a registry: Docker's and podman's files, their helpers, then Google's ways.
 *
 * The order, for one host: the files that Docker and podman read (REGISTRY_AUTH_FILE; DOCKER_CONFIG/config.json or
 * ~/.docker/config.json; XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json), in each of them
 * credHelpers[host] or else credsStore, then auths[host]; then, for *.pkg.dev, gcr.io and *.gcr.io alone,
 * GOOGLE_APPLICATION_CREDENTIALS, gcloud's application_default_credentials.json, and the metadata server
 * (GCE_METADATA_HOST) as user oauth2accesstoken. None of them: anonymous.
 *
 * Formats: docker config.json and credential helpers (docker/cli and docker-credential-helpers, their documentation),
 * containers-auth.json(5), RFC 7523 (a service account's assertion), RFC 6749 6 (refresh), Google's metadata server.
 */
#ifndef HL_REGISTRY_REMOTE_FIND_CREDENTIALS_H
#define HL_REGISTRY_REMOTE_FIND_CREDENTIALS_H

#include "registry/net/credentials.h"
#include "registry/net/http.h"

/* `host` as in a reference, with its port; Docker Hub is found under its old key too. `repository` matters to podman's
 * files, whose keys may name a part of a registry: the longest match counts. NULL: the registry as a whole. Files that
 * do not exist are no failure; one that cannot be read or parsed, and a helper that fails, are: anonymous access would
 * only puzzle. The caller frees `out` with hl_credentials_free(), also after a failure; memory that held a secret is
 * wiped. */
int hl_credentials_find(const char *host, const char *repository, struct hl_http *http, struct hl_credentials *out,
                        struct hl_error *err);

#endif
