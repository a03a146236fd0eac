/* Gets access tokens from Google, for Artifact Registry and Container Registry. */
#ifndef HL_REGISTRY_NET_GOOGLE_H
#define HL_REGISTRY_NET_GOOGLE_H

#include "registry/net/credentials.h"
#include "registry/net/http.h"

/* Returns whether this host is Google's: *.pkg.dev, gcr.io or *.gcr.io, on the usual port. */
bool hl_google_host(const char *host);

/* Tries GOOGLE_APPLICATION_CREDENTIALS, gcloud's application_default_credentials.json and the metadata server. The
 * first that exists yields the user "oauth2accesstoken", whose secret is an access token. If none exists, everything in
 * `out` is NULL. The caller frees `out`, also after a failure. */
int hl_google_find(const char *host, struct hl_http *http, struct hl_credentials *out, struct hl_error *err);

#endif
