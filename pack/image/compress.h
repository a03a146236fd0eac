/* Compresses a layer's tar while it is read: zstd (RFC 8878) in frames that do not depend on each other.
 *
 * The same tar gives the same bytes on any machine with the same version of libzstd; another version may give others.
 */
#ifndef HL_PACK_IMAGE_COMPRESS_H
#define HL_PACK_IMAGE_COMPRESS_H

#include "registry/oci/target.h"

#define HL_COMPRESS_LEVEL 3
#define HL_COMPRESS_LEVEL_MOST 19       /* above it, zstd uses windows that not every reader accepts */
#define HL_COMPRESS_FRAME (16ull << 20) /* bytes of the tar in one frame */

struct hl_compress;

/* Opens a compressor of `content`, which must outlive it; `level` is 1 to HL_COMPRESS_LEVEL_MOST. It uses memory for
 * about two frames: 40 MiB at level 3, 130 MiB at 19. Progress counts bytes of the content. */
int hl_compress_open(const struct hl_content *content, int level, struct hl_progress *progress,
                     struct hl_compress **out, struct hl_error *err);
/* Closes it; accepts NULL. */
void hl_compress_close(struct hl_compress *compress);

/* Returns the compressed bytes in `out`; valid as long as `compress`. */
void hl_compress_stream(struct hl_compress *compress, struct hl_stream *out);

/* Returns the digest of the tar, once the stream's last byte was read for the first time; "" before that. */
const char *hl_compress_diff_id(const struct hl_compress *compress);

/* Describes the compression: "zstd 1.5.4, level 3, frames of 16 MiB" */
void hl_compress_describe(int level, char *out, size_t size);

#endif
