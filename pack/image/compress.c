/* Concatenated frames are one zstd stream to any reader, so a layer of many frames is a layer like any other.
 *
 *   tar     16 MiB          16 MiB          16 MiB          the rest
 *   layer   frame           frame           frame           frame        each with its content's size and a checksum
 *
 * A frame that was compressed alone can be decompressed alone, in parallel with the others. Its bytes depend only on
 * its content, the parameters below and libzstd's version: one call compresses it in one thread. All parameters that
 * the library would choose itself are set here; only the meaning of a level is the library's.
 *
 * Random weights shrink little, at level 1 as at level 3, and compression is slow (docs/performance.md, "Pushing"). So
 * `hotlayer image` does not compress by default.
 */
#include "pack/image/compress.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include <assert.h>
#include <openssl/evp.h>
#include <zstd.h>

#define READ_BYTES ((size_t)1 << 20) /* small enough to be hashed while it is in the cache */

struct hl_compress {
    const struct hl_content *content;
    struct hl_progress *progress;
    ZSTD_CCtx *zstd;
    EVP_MD_CTX *sha256;
    uint64_t offset;  /* in the content */
    uint64_t counted; /* reported as progress: bytes that are read again after rewind() do not count twice */
    char *frame;      /* of the content */
    char *out;        /* compressed */
    size_t out_size, out_bytes, out_taken;
    char diff_id[HL_DIGEST_BYTES]; /* kept when the content is read again */
};

static int set_parameters(ZSTD_CCtx *zstd, int level, struct hl_error *err)
{
    const struct {
        ZSTD_cParameter name;
        int value;
    } parameters[] = {
        {ZSTD_c_compressionLevel, level}, {ZSTD_c_contentSizeFlag, 1}, {ZSTD_c_checksumFlag, 1},
        {ZSTD_c_dictIDFlag, 0},           {ZSTD_c_nbWorkers, 0}, /* workers would give other bytes */
    };
    for (size_t i = 0; i < HL_COUNT(parameters); i++) {
        size_t status = ZSTD_CCtx_setParameter(zstd, parameters[i].name, parameters[i].value);
        if (ZSTD_isError(status))
            return hl_fail(err, "zstd: %s", ZSTD_getErrorName(status));
    }
    return 0;
}

static int begin(struct hl_compress *compress, struct hl_error *err)
{
    compress->offset = 0;
    compress->out_bytes = compress->out_taken = 0;
    return EVP_DigestInit_ex(compress->sha256, EVP_sha256(), NULL)
               ? 0
               : hl_fail(err, "SHA-256 is not available in this libcrypto");
}

static int begin_again(void *context, struct hl_error *err)
{
    return begin(context, err);
}

/* Reads the next n bytes of the content into `frame`. */
static int read_frame(struct hl_compress *compress, size_t n, struct hl_error *err)
{
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = n - at < READ_BYTES ? n - at : READ_BYTES;
        if (compress->content->read(compress->content->context, compress->offset, compress->frame + at, piece, err))
            return -1;
        if (!EVP_DigestUpdate(compress->sha256, compress->frame + at, piece))
            return hl_fail(err, "SHA-256 failed");
        compress->offset += piece;
        if (compress->offset > compress->counted) {
            hl_progress_add(compress->progress, compress->offset - compress->counted);
            compress->counted = compress->offset;
        }
    }
    return 0;
}

/* Computes the digest at the last byte of the content: a reader that knows the length never asks for the end of the
 * stream. If a pass broke off later, its digest stays, so the next pass fails if the content changed. */
static int finish(struct hl_compress *compress, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char digest[HL_DIGEST_BYTES];
    if (compress->offset < compress->content->bytes)
        return 0;
    if (!EVP_DigestFinal_ex(compress->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, digest);
    if (compress->diff_id[0] && strcmp(digest, compress->diff_id) != 0)
        return hl_fail(err, "the files of this layer changed while they were read; try again when nothing writes them");
    memcpy(compress->diff_id, digest, sizeof digest);
    return 0;
}

static int next_frame(struct hl_compress *compress, struct hl_error *err)
{
    uint64_t left = compress->content->bytes - compress->offset;
    size_t n = left < HL_COMPRESS_FRAME ? (size_t)left : (size_t)HL_COMPRESS_FRAME;
    if (read_frame(compress, n, err) || finish(compress, err))
        return -1;
    size_t bytes = ZSTD_compress2(compress->zstd, compress->out, compress->out_size, compress->frame, n);
    if (ZSTD_isError(bytes))
        return hl_fail(err, "zstd: %s", ZSTD_getErrorName(bytes));
    compress->out_bytes = bytes;
    compress->out_taken = 0;
    return 0;
}

static int read_compressed(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct hl_compress *compress = context;
    *n = 0;
    if (compress->out_taken == compress->out_bytes) {
        if (compress->offset == compress->content->bytes)
            return 0;
        if (next_frame(compress, err))
            return -1;
    }
    size_t left = compress->out_bytes - compress->out_taken;
    *n = left < size ? left : size;
    memcpy(buffer, compress->out + compress->out_taken, *n);
    compress->out_taken += *n;
    return 0;
}

int hl_compress_open(const struct hl_content *content, int level, struct hl_progress *progress,
                     struct hl_compress **out, struct hl_error *err)
{
    assert(level >= 1 && level <= HL_COMPRESS_LEVEL_MOST && content->bytes);
    size_t frame = content->bytes < HL_COMPRESS_FRAME ? (size_t)content->bytes : (size_t)HL_COMPRESS_FRAME;
    struct hl_compress *compress = *out = calloc(1, sizeof *compress);
    if (!compress)
        return hl_no_memory(err);
    *compress = (struct hl_compress){.content = content,
                                     .progress = progress,
                                     .zstd = ZSTD_createCCtx(),
                                     .sha256 = EVP_MD_CTX_new(),
                                     .frame = malloc(frame),
                                     .out_size = ZSTD_compressBound(frame)};
    compress->out = malloc(compress->out_size);
    if (compress->zstd && compress->sha256 && compress->frame && compress->out &&
        !set_parameters(compress->zstd, level, err) && !begin(compress, err))
        return 0;
    bool memory = !compress->zstd || !compress->sha256 || !compress->frame || !compress->out;
    hl_compress_close(compress);
    *out = NULL;
    return memory ? hl_no_memory(err) : -1;
}

void hl_compress_close(struct hl_compress *compress)
{
    if (!compress)
        return;
    ZSTD_freeCCtx(compress->zstd);
    EVP_MD_CTX_free(compress->sha256);
    free(compress->frame);
    free(compress->out);
    free(compress);
}

void hl_compress_stream(struct hl_compress *compress, struct hl_stream *out)
{
    *out = (struct hl_stream){.read = read_compressed, .rewind = begin_again, .context = compress};
}

const char *hl_compress_diff_id(const struct hl_compress *compress)
{
    return compress->diff_id;
}

void hl_compress_describe(int level, char *out, size_t size)
{
    snprintf(out, size, "zstd %s, level %d, frames of %llu MiB", ZSTD_versionString(), level, HL_COMPRESS_FRAME >> 20);
}
