/* Blobs that come from a registry into a folder, over as many runs as that takes. Internal to registry/ and
 * pack/image/pull.c. */
#ifndef HL_REGISTRY_OCI_DOWNLOAD_H
#define HL_REGISTRY_OCI_DOWNLOAD_H

#include "base/progress.h"
#include "registry/oci/store.h"

#define HL_PARTIAL_PREFIX                                                                                              \
    ".partial-" /* and the digits of the digest: what is there of a blob that is not all there                         \
                 */

/* Brings a blob into `directory` (an open folder) under the digits of its digest: goes on behind what an earlier run
 * left in a partial file, checks size and digest, then gives it its name. Whatever ends it, the partial file stays for
 * the next run; one whose bytes turn out wrong is thrown away, and the blob fetched once more from its beginning.
 * Nothing is done when the blob is there. Two that fetch the same blob into the same folder at once: the second waits
 * for the first. Progress counts bytes of the blob, also of those that were there. */
int hl_download(struct hl_store *from, const struct hl_descriptor *blob, int directory, struct hl_progress *progress,
                struct hl_error *err);

/* Is the blob in the folder, complete? */
bool hl_download_is_done(int directory, const struct hl_descriptor *blob);

#endif
