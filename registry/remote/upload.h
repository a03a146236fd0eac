/* Uploads blobs to a repository of a registry. Thread-safe: several blobs at once.
 *
 * OCI distribution-spec 1.1, "Pushing blobs".
 */
#ifndef HL_REGISTRY_REMOTE_UPLOAD_H
#define HL_REGISTRY_REMOTE_UPLOAD_H

#include "registry/remote/client.h"

#define HL_UPLOAD_PIECE ((uint64_t)64 << 20) /* larger blobs are sent in pieces, if the registry supports them */

struct hl_uploads;

/* How a blob got there. */
enum hl_upload_way { HL_UPLOAD_SENT, HL_UPLOAD_PRESENT, HL_UPLOAD_MOUNTED };

/* Opens the uploads. `journal` as in struct hl_registry_options. The registry must stay open longer. */
int hl_uploads_open(struct hl_registry *registry, const char *journal, struct hl_uploads **out, struct hl_error *err);
void hl_uploads_close(struct hl_uploads *uploads);

/* Makes sure that the repository has this blob. If its digest is "", the content is read twice. `from` is another
 * repository of the same registry that has it, or NULL. Progress gets each byte of the content once: when it is first
 * sent, or at once if nothing has to be sent. */
int hl_upload_content(struct hl_uploads *uploads, const struct hl_content *content, const char *from,
                      struct hl_progress *progress, char digest[HL_DIGEST_BYTES], enum hl_upload_way *way,
                      struct hl_error *err);

/* Does the same for bytes that are hashed while they are sent; `out` gets their digest and number. */
int hl_upload_stream(struct hl_uploads *uploads, const struct hl_stream *stream, struct hl_descriptor *out,
                     struct hl_error *err);

/* Returns the bytes of bodies sent so far, including repetitions. */
uint64_t hl_uploads_bytes(const struct hl_uploads *uploads);

/* How a target of hl_target_open_registry() stored its layers; zeros for other targets. */
struct hl_upload_counts {
    size_t sent, present, mounted; /* layers */
    uint64_t bytes;                /* sent, as hl_uploads_bytes() */
};

void hl_target_uploads(struct hl_target *target, struct hl_upload_counts *out);

#endif
