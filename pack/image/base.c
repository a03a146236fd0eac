/* A base gives two things. Its layers are taken over as they are, compressed or not, and never unpacked: only their
 * digests are known here. Its config is changed by image_config.c. Whether the base's files work together with
 * hotlayerd cannot be checked, so hotlayerd needs none of them; elf.c explains how. */
#include "pack/image/base.h"
#include "pack/image/image_config.h"

int hl_base_open(struct hl_store *store, const char *tag, const char *name, struct hl_base *out, struct hl_error *err)
{
    *out = (struct hl_base){.store = store};
    snprintf(out->name, sizeof out->name, "%s", name);
    if (hl_image_open(store, tag, &out->image, err))
        return hl_error_prefix(err, "the base");
    if (strcmp(out->image.platform, "linux/amd64") != 0)
        return hl_fail(err, "the base: %s is for %s; hotlayerd runs on linux/amd64", store->name, out->image.platform);
    return hl_image_config_check(&out->image, err) ? hl_error_prefix(err, "the base: %s", store->name) : 0;
}

void hl_base_close(struct hl_base *base)
{
    hl_image_free(&base->image);
    hl_store_close(&base->store);
}
