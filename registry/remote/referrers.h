/* Manifests into a registry, and telling one that knows no referrers which of them are about another. Internal to
 * registry/.
 *
 * OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
 */
#ifndef HL_REGISTRY_REMOTE_REFERRERS_H
#define HL_REGISTRY_REMOTE_REFERRERS_H

#include "registry/remote/client.h"

/* Stores a manifest or an index under a tag or its digest, with exactly this media type. The caller frees `response` in
 * any case. */
int hl_referrers_put_manifest(struct hl_registry *registry, const char *name, const char *media_type, const char *text,
                              size_t bytes, struct hl_http_response *response, struct hl_error *err);

/* Adds a manifest, whose document is `json` and has a subject, to the index under the subject's fallback tag, unless it
 * is there already. What others added stays. */
int hl_referrers_add(struct hl_registry *registry, const struct hl_descriptor *manifest, const cJSON *json,
                     struct hl_error *err);

#endif
