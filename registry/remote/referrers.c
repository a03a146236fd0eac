/* The fallback tag sha256-HEX: an ordinary index in the repository. A client that pushes a manifest about sha256:HEX
 * reads it, extends it and writes it back. Two clients that do so at the same moment may lose one entry; the
 * specification offers no way to prevent that. */
#include "registry/remote/referrers.h"
#include "base/cleanup.h"

#define RESPONSE __attribute__((cleanup(hl_http_response_free))) struct hl_http_response

/* Reads the index at `path`, or makes an empty one. */
static int read_index(struct hl_registry *registry, const char *path, cJSON **out, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    HL_JSON cJSON *json = NULL;
    static const char *const accept[] = {"Accept: " HL_OCI_INDEX};
    struct hl_call call = {
        .method = "GET", .path = path, .push = true, .header = accept, .n_headers = 1, .limit = HL_DOCUMENT_LIMIT};
    if (hl_registry_call(registry, &call, &response, &failure, err))
        return -1;
    if (response.status == 404) {
        json = cJSON_CreateObject();
        if (!cJSON_AddNumberToObject(json, "schemaVersion", 2) ||
            !cJSON_AddStringToObject(json, "mediaType", HL_OCI_INDEX) || !cJSON_AddArrayToObject(json, "manifests"))
            return hl_no_memory(err);
    } else if (response.status != 200) {
        return hl_registry_refused(registry, &call, &response, err);
    } else {
        struct hl_view view = {(const uint8_t *)response.body, response.body_bytes};
        if (hl_json_parse(view, path, &json, err))
            return -1;
        const char *type = hl_json_text(json, "mediaType");
        if ((type && strcmp(type, HL_OCI_INDEX) != 0) || !cJSON_IsArray(hl_json_get(json, "manifests")))
            return hl_fail(err, "%s is not an index of referrers; it is left unchanged", path);
    }
    *out = json;
    json = NULL;
    return 0;
}

/* Adds a referrer's descriptor with its type and annotations, so that readers need not open it for those. */
static int add_entry(cJSON *manifests, const struct hl_descriptor *manifest, const cJSON *json, struct hl_error *err)
{
    const char *kind = hl_json_text(json, "artifactType");
    const cJSON *annotations = hl_json_get(json, "annotations");
    cJSON *entry = cJSON_CreateObject();
    if (!kind && manifest->kind == HL_KIND_MANIFEST)
        kind = hl_json_text(hl_json_get(json, "config"), "mediaType");
    bool complete = cJSON_AddItemToArray(manifests, entry) &&
                    cJSON_AddStringToObject(entry, "mediaType", manifest->media_type) &&
                    cJSON_AddStringToObject(entry, "digest", manifest->digest) &&
                    cJSON_AddNumberToObject(entry, "size", (double)manifest->bytes) &&
                    (!kind || cJSON_AddStringToObject(entry, "artifactType", kind)) &&
                    (!cJSON_IsObject(annotations) ||
                     cJSON_AddItemToObject(entry, "annotations", cJSON_Duplicate(annotations, true)));
    return complete ? 0 : hl_no_memory(err);
}

struct text {
    const char *bytes;
    size_t n, at;
};

static int read_text(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct text *text = context;
    (void)err;
    *n = text->n - text->at < size ? text->n - text->at : size;
    memcpy(buffer, text->bytes + text->at, *n);
    text->at += *n;
    return 0;
}

static int rewind_text(void *context, struct hl_error *err)
{
    (void)err;
    ((struct text *)context)->at = 0;
    return 0;
}

int hl_referrers_put_manifest(struct hl_registry *registry, const char *name, const char *media_type, const char *text,
                              size_t bytes, struct hl_http_response *response, struct hl_error *err)
{
    enum hl_http_failure failure;
    struct text context = {text, bytes, 0};
    struct hl_http_body body = {bytes, read_text, rewind_text, &context};
    char type[128], path[16 + HL_TAG_BYTES];
    const char *header[] = {type};
    snprintf(type, sizeof type, "Content-Type: %s", media_type);
    snprintf(path, sizeof path, "manifests/%s", name);
    struct hl_call call = {
        .method = "PUT", .path = path, .push = true, .header = header, .n_headers = 1, .body = &body};
    if (hl_registry_call(registry, &call, response, &failure, err))
        return -1;
    return response->status / 100 == 2 ? 0 : hl_registry_refused(registry, &call, response, err);
}

int hl_referrers_add(struct hl_registry *registry, const struct hl_descriptor *manifest, const cJSON *json,
                     struct hl_error *err)
{
    RESPONSE response = {0};
    HL_JSON cJSON *index = NULL;
    const cJSON *entry;
    char path[16 + HL_TAG_BYTES];
    const char *subject = hl_json_text(hl_json_get(json, "subject"), "digest");
    if (!subject || !hl_digest_valid(subject))
        return hl_fail(err, "%s: its subject has no valid SHA-256 digest", manifest->digest);
    snprintf(path, sizeof path, "manifests/sha256-%s", hl_digest_file(subject));
    if (read_index(registry, path, &index, err))
        return -1;
    cJSON *manifests = cJSON_GetObjectItemCaseSensitive(index, "manifests");
    cJSON_ArrayForEach(entry, manifests) if (hl_json_is(entry, "digest", manifest->digest)) return 0;
    if (add_entry(manifests, manifest, json, err))
        return -1;
    HL_FREE char *text = cJSON_PrintUnformatted(index);
    if (!text)
        return hl_no_memory(err);
    return hl_referrers_put_manifest(registry, strchr(path, '/') + 1, HL_OCI_INDEX, text, strlen(text), &response, err);
}
