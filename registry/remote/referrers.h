/* Stores manifests in a registry. To a registry without the referrers API it also tells which manifests refer to
 * another. For registry/ only.
 *
 * OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
 */
#ifndef HL_REGISTRY_REMOTE_REFERRERS_H
#define HL_REGISTRY_REMOTE_REFERRERS_H

#include "registry/remote/client.h"

/* Stores a manifest or an index under a tag or its digest, with exactly this media type. The caller always frees
 * `response`. */
int hl_referrers_put_manifest(struct hl_registry *registry, const char *name, const char *media_type, const char *text,
                              size_t bytes, struct hl_http_response *response, struct hl_error *err);

/* Adds a manifest, whose document is `json` and has a subject, to the index under the subject's fallback tag, unless it
 * is there already. Entries of other clients stay. */
int hl_referrers_add(struct hl_registry *registry, const struct hl_descriptor *manifest, const cJSON *json,
                     struct hl_error *err);

#endif
