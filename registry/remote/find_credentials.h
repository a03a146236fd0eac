/* Finds the credentials for a registry: Docker's and podman's files, their helpers, then Google's sources.
 *
 * The order, for one host:
 *
 * 1. The files that Docker and podman read: REGISTRY_AUTH_FILE; DOCKER_CONFIG/config.json or ~/.docker/config.json;
 *    XDG_RUNTIME_DIR/containers/auth.json; ~/.config/containers/auth.json. In each of them credHelpers[host] or else
 *    credsStore, then auths[host].
 * 2. Only for *.pkg.dev, gcr.io and *.gcr.io: GOOGLE_APPLICATION_CREDENTIALS, gcloud's
 *    application_default_credentials.json, and the metadata server (GCE_METADATA_HOST) as user oauth2accesstoken.
 * 3. Nothing found: anonymous.
 *
 * Formats: docker config.json and credential helpers (docker/cli and docker-credential-helpers, their documentation),
 * containers-auth.json(5), RFC 7523 (a service account's assertion), RFC 6749 6 (refresh), Google's metadata server.
 */
#ifndef HL_REGISTRY_REMOTE_FIND_CREDENTIALS_H
#define HL_REGISTRY_REMOTE_FIND_CREDENTIALS_H

#include "registry/net/credentials.h"
#include "registry/net/http.h"

/* `host` is as in a reference, with its port; Docker Hub is also found under its old key. podman's files may name a
 * part of a registry, so the longest match with `repository` counts. NULL: the registry as a whole.
 *
 * A missing file is not a failure. A file that cannot be read or parsed is one, and so is a helper that fails:
 * anonymous access would only puzzle. The caller frees `out` with hl_credentials_free(), also after a failure; memory
 * that held a secret is wiped. */
int hl_credentials_find(const char *host, const char *repository, struct hl_http *http, struct hl_credentials *out,
                        struct hl_error *err);

#endif
