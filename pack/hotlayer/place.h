/* What the commands that talk to registries have in common: where an image is (a file, a layout, a registry), and the
 * options --ca, --plain-http and --jobs. */
#ifndef HL_PACK_HOTLAYER_PLACE_H
#define HL_PACK_HOTLAYER_PLACE_H

#include "registry/remote/client.h"
#include <getopt.h>

#define HL_JOBS_MOST 64

/* Values for getopt_long(), above those of a command's own options. */
enum hl_registry_option { HL_OPTION_CA = 1024, HL_OPTION_PLAIN_HTTP, HL_OPTION_JOBS };

/* Rows of a command's table of long options. */
/* clang-format off */
#define HL_REGISTRY_OPTIONS                                                                                            \
    {"ca", required_argument, NULL, HL_OPTION_CA},                                                                     \
    {"plain-http", no_argument, NULL, HL_OPTION_PLAIN_HTTP},                                                           \
    {"jobs", required_argument, NULL, HL_OPTION_JOBS}
/* clang-format on */

/* Lines of a command's --help; the options' names are as wide as "      --plain-http   ". */
#define HL_REGISTRY_OPTIONS_HELP                                                                                       \
    "      --jobs N       layers under way at once; 4 by default\n"                                                    \
    "      --ca FILE      certificates (PEM) to trust instead of the system's, for a registry's private authority\n"   \
    "      --plain-http   speak HTTP without TLS, also to other hosts than this one\n"

/* Takes one of these options. 1: taken, 0: another option, -1: a bad value (HL_ERROR_USAGE). */
int hl_registry_option(int option, const char *value, struct hl_registry_options *out, struct hl_error *err);

/* Where something is that a command's argument names. */
struct hl_place {
    enum { HL_PLACE_FILE, HL_PLACE_LAYOUT, HL_PLACE_REGISTRY } kind;
    const char *text;               /* the argument */
    struct hl_oci_reference layout; /* of a layout, or of an archive of one */
    struct hl_reference reference;  /* of a registry */
};

/* "oci:DIR[:TAG]" and "oci-archive:FILE[:TAG]" are layouts; "oci://" begins a reference. The name of an existing file
 * is a file, whatever it looks like, then what looks like a reference is one, and all else a file again. A failure is
 * HL_ERROR_USAGE. */
int hl_place_parse(const char *text, struct hl_place *out, struct hl_error *err);

/* Opens a layout or a registry to read from; *name is what to ask it for (store.h). */
int hl_place_open_store(const struct hl_place *place, const struct hl_registry_options *options, struct hl_store **out,
                        const char **name, struct hl_error *err);

/* Prints to stderr what the registry behind a store or a target wanted its users to know; harmless for others and NULL.
 */
void hl_store_warn(struct hl_store *store);
void hl_target_warn(struct hl_target *target);

#endif
