/* What the commands that talk to registries share: where an image is (a file, a layout, a registry), and the options
 * --jobs, --ca and --plain-http. */
#ifndef HL_PACK_HOTLAYER_PLACE_H
#define HL_PACK_HOTLAYER_PLACE_H

#include "base/options.h"
#include "registry/remote/client.h"

#define HL_JOBS_MOST 64

/* Rows of a command's table of options. */
/* clang-format off */
#define HL_REGISTRY_OPTIONS(registry)                                                                                  \
    hl_option_count("--jobs N", 1, HL_JOBS_MOST, &(registry)->jobs, "layers to make or transfer at once; default 4"),  \
    hl_option_text("--ca FILE", &(registry)->ca,                                                                       \
                   "certificates (PEM) to trust instead of the system's, for a registry with a private authority"),    \
    hl_option_flag("--plain-http", &(registry)->plain_http, "use HTTP without TLS, for remote hosts too")
/* clang-format on */

/* What `inspect` and `verify` expect, for their errors. */
#define HL_PLACE_EXPECTED "one MODEL.hot, oci:DIR[:TAG] or HOST/REPOSITORY[:TAG]"

/* The file or the image that a command's argument names. */
struct hl_place {
    enum { HL_PLACE_FILE, HL_PLACE_LAYOUT, HL_PLACE_REGISTRY } kind;
    const char *text;               /* the argument */
    struct hl_oci_reference layout; /* of a layout, or of an archive of one */
    struct hl_reference reference;  /* of a registry */
};

/* Parses an argument. "oci:DIR[:TAG]" and "oci-archive:FILE[:TAG]" are layouts; "oci://" begins a reference. The name of
 * an existing file is a file, even if it looks like a reference. Otherwise a text that looks like a reference is one, and
 * any other text is a file. Fails with HL_ERROR_USAGE. */
int hl_place_parse(const char *text, struct hl_place *out, struct hl_error *err);

/* Opens a layout or a registry for reading. *name becomes the name to ask it for (registry/oci/store.h). */
int hl_place_open_store(const struct hl_place *place, const struct hl_registry_options *options, struct hl_store **out,
                        const char **name, struct hl_error *err);

/* Print to stderr the warnings that the registry of a store or target sent. They do nothing for a layout, an archive or
 * NULL. */
void hl_store_warn(struct hl_store *store);
void hl_target_warn(struct hl_target *target);

#endif
