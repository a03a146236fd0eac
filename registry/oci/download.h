/* Downloads blobs from a registry into a folder, over as many runs as that takes. For registry/ and pack/image/pull.c.
 * */
#ifndef HL_REGISTRY_OCI_DOWNLOAD_H
#define HL_REGISTRY_OCI_DOWNLOAD_H

#include "base/progress.h"
#include "registry/oci/store.h"

#define HL_PARTIAL_PREFIX ".partial-" /* followed by the digits of the digest: an incomplete blob */

/* Downloads a blob into `directory` (an open folder) under the digits of its digest. Resumes after the bytes that an
 * earlier run left in a partial file, checks size and digest, then gives the file its name.
 *
 * The partial file stays for the next run, however this one ends. If its bytes turn out to be wrong, it is discarded
 * and the blob downloaded once more from its beginning. Does nothing if the blob is there. Of two that download the
 * same blob into the same folder at once, the second waits for the first. Progress counts all bytes of the blob, old
 * and new. */
int hl_download(struct hl_store *from, const struct hl_descriptor *blob, int directory, struct hl_progress *progress,
                struct hl_error *err);

/* Returns whether the complete blob is in the folder. */
bool hl_download_is_done(int directory, const struct hl_descriptor *blob);

#endif
