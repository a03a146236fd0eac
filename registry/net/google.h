/* Google's ways to an access token, for Artifact Registry and Container Registry. */
#ifndef HL_REGISTRY_NET_GOOGLE_H
#define HL_REGISTRY_NET_GOOGLE_H

#include "registry/net/credentials.h"
#include "registry/net/http.h"

/* Is this registry Google's: *.pkg.dev, gcr.io, *.gcr.io, on the usual port? */
bool hl_google_host(const char *host);

/* GOOGLE_APPLICATION_CREDENTIALS, gcloud's application_default_credentials.json, the metadata server: the first that is
 * there gives the user "oauth2accesstoken", whose secret is an access token. All NULL in `out` when none is there. The
 * caller frees `out`, also after a failure. */
int hl_google_find(const char *host, struct hl_http *http, struct hl_credentials *out, struct hl_error *err);

#endif
