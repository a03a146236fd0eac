/* The report of `hotlayer inspect --cloud-run`. Fetches the index that refers to an image, the one document that an
 * opened image lacks. Prints the results of hl_cloud_run_check(). */
#include "base/cleanup.h"
#include "pack/image/cloud_run.h"

static const char *const verdicts[] = {"ok", "warn", "FAIL"};

static void print_text(const struct hl_image *image, const struct hl_cloud_run *result)
{
    printf("image %s\n", image->manifest.digest);
    for (size_t i = 0; i < result->n; i++)
        printf("%-4s  %-11s  %s\n", verdicts[result->check[i].verdict], result->check[i].name,
               result->check[i].message);
    if (result->failures)
        printf("%zu of %zu checks failed: Cloud Run would not run this image\n", result->failures, result->n);
    else
        printf("Cloud Run can run this image%s\n", result->warnings ? "; see the warnings" : "");
}

static int print_json(const struct hl_image *image, const struct hl_cloud_run *result, struct hl_error *err)
{
    HL_JSON cJSON *root = cJSON_CreateObject();
    cJSON *checks = NULL;
    bool complete = cJSON_AddStringToObject(root, "digest", image->manifest.digest) &&
                    cJSON_AddNumberToObject(root, "failures", (double)result->failures) &&
                    cJSON_AddNumberToObject(root, "warnings", (double)result->warnings) &&
                    (checks = cJSON_AddArrayToObject(root, "checks"));
    for (size_t i = 0; complete && i < result->n; i++) {
        cJSON *check = cJSON_CreateObject();
        complete = cJSON_AddItemToArray(checks, check) &&
                   cJSON_AddStringToObject(check, "check", result->check[i].name) &&
                   cJSON_AddStringToObject(check, "result", verdicts[result->check[i].verdict]) &&
                   cJSON_AddStringToObject(check, "message", result->check[i].message);
    }
    HL_FREE char *text = complete ? cJSON_Print(root) : NULL;
    if (!text)
        return hl_no_memory(err);
    puts(text);
    return 0;
}

int hl_cloud_run_print(struct hl_store *store, const char *name, const struct hl_image *image,
                       const struct hl_models *models, bool json, size_t *failures, struct hl_error *err)
{
    struct hl_descriptor root;
    struct hl_cloud_run result;
    HL_FREE char *index = NULL;
    size_t bytes = 0;
    if (store->class->resolve(store, name, &root, err) ||
        (root.kind == HL_KIND_INDEX && store->class->document(store, &root, &index, &bytes, err)) ||
        hl_cloud_run_check(image, index, bytes, models, &result, err))
        return hl_error_prefix(err, "%s", store->name);
    *failures = result.failures;
    if (json)
        return print_json(image, &result, err);
    print_text(image, &result);
    return 0;
}
