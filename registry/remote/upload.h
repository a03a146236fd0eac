/* The way of a blob into a repository of a registry. Thread-safe: several blobs at once.
 *
 * OCI distribution-spec 1.1, "Pushing blobs".
 */
#ifndef HL_REGISTRY_REMOTE_UPLOAD_H
#define HL_REGISTRY_REMOTE_UPLOAD_H

#include "registry/remote/client.h"

#define HL_UPLOAD_PIECE ((uint64_t)64 << 20) /* what is larger goes in pieces, where the registry knows them */

struct hl_uploads;

/* What became of a blob. */
enum hl_upload_way { HL_UPLOAD_SENT, HL_UPLOAD_PRESENT, HL_UPLOAD_MOUNTED };

/* `journal` as in struct hl_registry_options. The registry must stay open for as long. */
int hl_uploads_open(struct hl_registry *registry, const char *journal, struct hl_uploads **out, struct hl_error *err);
void hl_uploads_close(struct hl_uploads *uploads);

/* Makes sure that the repository has this blob; its digest may be "": it is then read twice. `from` is another
 * repository of the same registry that has it, or NULL. Progress gets each byte of the content once: when it is sent
 * for the first time, or at once where nothing has to be. */
int hl_upload_content(struct hl_uploads *uploads, const struct hl_content *content, const char *from,
                      struct hl_progress *progress, char digest[HL_DIGEST_BYTES], enum hl_upload_way *way,
                      struct hl_error *err);

/* The same for bytes that are hashed while they are sent; `out` gets their digest and number. */
int hl_upload_stream(struct hl_uploads *uploads, const struct hl_stream *stream, struct hl_descriptor *out,
                     struct hl_error *err);

/* Bytes of bodies that went out so far, those that had to be sent again included. */
uint64_t hl_uploads_bytes(const struct hl_uploads *uploads);

/* What a target of hl_target_open_registry() did with the layers that it was given; zeros for other targets. */
struct hl_upload_counts {
    size_t sent, present, mounted; /* layers */
    uint64_t bytes;                /* that went out, as hl_uploads_bytes() */
};

void hl_target_uploads(struct hl_target *target, struct hl_upload_counts *out);

#endif
