/* Signed assertions: JSON Web Tokens with RS256. RFC 7515 (the compact form), RFC 7518 3.3, RFC 7519. */
#ifndef HL_REGISTRY_NET_JWT_H
#define HL_REGISTRY_NET_JWT_H

#include "registry/net/secret.h"

/* Signs `claims`, the text of a JSON object, with the RSA key in the PEM text `pem`. `key_id` may be NULL. The caller
 * frees *out with hl_secret_free(). */
int hl_jwt_sign(const char *claims, const char *key_id, const char *pem, char **out, struct hl_error *err);

#endif
