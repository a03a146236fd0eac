/* How all commands name an image. */
#include "pack/hotlayer/place.h"
#include "base/text.h"
#include <sys/stat.h>

int hl_place_parse(const char *text, struct hl_place *out, struct hl_error *err)
{
    bool reference = hl_text_begins(text, "oci://") || hl_text_begins(text, "docker://");
    bool layout = !reference && (hl_text_begins(text, "oci:") || hl_text_begins(text, "oci-archive:"));
    struct stat status;
    *out = (struct hl_place){.kind = HL_PLACE_FILE, .text = text};
    if (layout) {
        out->kind = HL_PLACE_LAYOUT;
        return hl_oci_reference_parse(text, &out->layout, err);
    }
    if (!reference && (!stat(text, &status) || !hl_reference_likely(text)))
        return 0;
    out->kind = HL_PLACE_REGISTRY;
    return hl_reference_parse(text, &out->reference, err);
}

static int open_store(const struct hl_place *place, const struct hl_registry_options *options, struct hl_store **out,
                      struct hl_error *err)
{
    if (place->kind == HL_PLACE_REGISTRY)
        return hl_store_open_registry(&place->reference, options, out, err);
    if (place->kind != HL_PLACE_LAYOUT)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s' is not an image; write oci:DIR[:TAG] or HOST/REPOSITORY[:TAG]",
                          place->text);
    if (place->layout.archive)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%.200s': archives can be written but not read; unpack it with tar",
                          place->text);
    return hl_store_open_layout(place->layout.path, out, err);
}

int hl_place_open_store(const struct hl_place *place, const struct hl_registry_options *options, struct hl_store **out,
                        const char **name, struct hl_error *err)
{
    *out = NULL;
    *name = place->kind == HL_PLACE_LAYOUT ? place->layout.tag : "";
    int status = open_store(place, options, out, err);
    if (*out)
        (*out)->jobs = options->jobs;
    return status;
}

static void warn(struct hl_registry *registry)
{
    const char *warning;
    for (size_t i = 0; registry && (warning = hl_registry_warning(registry, i)); i++)
        fprintf(stderr, "%s says: %s\n", hl_registry_reference(registry)->host, warning);
}

void hl_store_warn(struct hl_store *store)
{
    if (store)
        warn(hl_store_registry(store));
}

void hl_target_warn(struct hl_target *target)
{
    if (target)
        warn(hl_target_registry(target));
}
