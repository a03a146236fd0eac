/* pack/image/compress.c: its output is zstd that anyone can read, in independent frames. It is the same for any size of
 * reads, after rewind() and on any day. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/compress.h"
#include "tests/unit/check.h"
#include <openssl/evp.h>
#include <zstd.h>

/* Content from bytes in memory. */
struct source {
    unsigned char *bytes;
    size_t n;
    size_t fails_at; /* reads that touch this byte fail; SIZE_MAX: none fails */
};

static int read_source(void *context, uint64_t offset, void *buffer, size_t n, struct hl_error *err)
{
    const struct source *source = context;
    CHECK(offset <= source->n && n <= source->n - offset);
    if (source->fails_at >= offset && source->fails_at - offset < n)
        return hl_fail(err, "the disk is gone");
    memcpy(buffer, source->bytes + offset, n);
    return 0;
}

static struct hl_content content_of(struct source *source)
{
    return (struct hl_content){.bytes = source->n, .read = read_source, .context = source};
}

/* Fills the bytes with slightly less than noise, like weights. */
static bool make_source(struct source *out, size_t n)
{
    struct dice dice = {12345};
    *out = (struct source){malloc(n), n, SIZE_MAX};
    for (size_t i = 0; out->bytes && i < n; i++)
        out->bytes[i] = (unsigned char)(dice_bits(&dice) >> 33 & (i % 4 ? 0xff : 0x0f));
    return out->bytes;
}

/* Reads to the end in pieces of `piece` bytes; returns -1 if that fails. The caller frees *out. */
static int drain(const struct hl_stream *stream, size_t piece, unsigned char **out, size_t *n, struct hl_error *err)
{
    size_t room = 64 << 20, got;
    *out = malloc(room);
    for (*n = 0; *out; *n += got) {
        CHECK(room - *n >= piece);
        if (stream->read(stream->context, *out + *n, piece, &got, err))
            return -1;
        CHECK(got <= piece);
        if (!got)
            return 0;
    }
    return -1;
}

static void digest_of(const void *bytes, size_t n, char out[HL_DIGEST_BYTES])
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    CHECK(EVP_Digest(bytes, n, sha256, NULL, EVP_sha256(), NULL));
    hl_digest_format(sha256, out);
}

/* Every frame states the length of its content and has a checksum; each alone gives its part of the source. */
static unsigned check_frames(const unsigned char *bytes, size_t n, const struct source *source)
{
    size_t at = 0, out = 0;
    unsigned frames = 0;
    HL_FREE unsigned char *frame = malloc(HL_COMPRESS_FRAME);
    while (at < n) {
        size_t size = ZSTD_findFrameCompressedSize(bytes + at, n - at);
        if (!CHECK(!ZSTD_isError(size) && frame))
            return 0;
        unsigned long long content = ZSTD_getFrameContentSize(bytes + at, size);
        size_t left = source->n - out, expected = left < HL_COMPRESS_FRAME ? left : (size_t)HL_COMPRESS_FRAME;
        CHECK(content == expected);
        CHECK(bytes[at + 4] & 4); /* RFC 8878, 3.1.1.1.1: Content_Checksum_flag */
        CHECK(!(bytes[at + 4] & 3));
        CHECK(ZSTD_decompress(frame, HL_COMPRESS_FRAME, bytes + at, size) == expected &&
              !memcmp(frame, source->bytes + out, expected));
        at += size;
        out += expected;
        frames++;
    }
    CHECK(out == source->n);
    return frames;
}

static void test_frames(void)
{
    static const size_t sizes[] = {1, 511, (16 << 20) - 1, 16 << 20, (16 << 20) + 1, 40 << 20};
    static const unsigned frames[] = {1, 1, 1, 1, 2, 3};
    for (size_t i = 0; i < HL_COUNT(sizes); i++) {
        struct source source;
        struct hl_compress *compress;
        struct hl_stream stream;
        struct hl_error err = {.message = ""};
        HL_FCLOSE FILE *null = fopen("/dev/null", "w");
        struct hl_progress progress = {.out = null};
        char digest[HL_DIGEST_BYTES];
        size_t n;
        HL_FREE unsigned char *bytes = NULL;
        CHECK(make_source(&source, sizes[i]));
        struct hl_content content = content_of(&source);
        hl_progress_begin(&progress, "compressing", source.n);
        CHECK_OK(hl_compress_open(&content, 1, &progress, &compress, &err), err);
        hl_compress_stream(compress, &stream);
        CHECK_OK(drain(&stream, 1 << 20, &bytes, &n, &err), err);
        CHECK(check_frames(bytes, n, &source) == frames[i]);
        digest_of(source.bytes, source.n, digest);
        CHECK(!strcmp(hl_compress_diff_id(compress), digest));
        CHECK(progress.done == source.n);
        hl_compress_close(compress);
        free(source.bytes);
    }
}

/* Any size of reads gives the same bytes, also after a rewind in the middle of a frame and at the end. */
static void test_rewind(void)
{
    struct source source;
    struct hl_compress *compress;
    struct hl_stream stream;
    struct hl_error err = {.message = ""};
    HL_FCLOSE FILE *null = fopen("/dev/null", "w");
    struct hl_progress progress = {.out = null};
    size_t n, m, got;
    unsigned char *first = NULL, *again = NULL, some[1000];
    CHECK(make_source(&source, 20 << 20));
    struct hl_content content = content_of(&source);
    hl_progress_begin(&progress, "compressing", source.n);
    CHECK_OK(hl_compress_open(&content, HL_COMPRESS_LEVEL, &progress, &compress, &err), err);
    hl_compress_stream(compress, &stream);
    CHECK(!stream.read(stream.context, some, sizeof some, &got, &err) && !*hl_compress_diff_id(compress));
    CHECK_OK(stream.rewind(stream.context, &err), err);
    CHECK_OK(drain(&stream, 1 << 20, &first, &n, &err), err);
    for (unsigned round = 0; round < 2; round++) {
        CHECK_OK(stream.rewind(stream.context, &err), err);
        CHECK(hl_digest_valid(hl_compress_diff_id(compress)));
        for (unsigned i = 0; i < 10 && !round; i++)
            CHECK(!stream.read(stream.context, some, sizeof some, &got, &err) && got == sizeof some);
    }
    CHECK_OK(drain(&stream, 4099, &again, &m, &err), err);
    CHECK(n == m && !memcmp(first, again, n) && progress.done == source.n);
    CHECK(!stream.read(stream.context, some, sizeof some, &got, &err) && !got);
    CHECK(hl_digest_valid(hl_compress_diff_id(compress)));
    /* A change of the source between two passes is noticed. */
    CHECK_OK(stream.rewind(stream.context, &err), err);
    source.bytes[source.n - 1] ^= 1;
    free(again);
    again = NULL;
    CHECK_FAILS(drain(&stream, 1 << 20, &again, &m, &err), err, "changed while they were read");
    hl_compress_close(compress);
    free(first);
    free(again);
    free(source.bytes);
}

static void test_failures(void)
{
    struct source source;
    struct hl_compress *compress;
    struct hl_stream stream;
    struct hl_error err = {.message = ""};
    size_t n;
    unsigned char *bytes = NULL;
    CHECK(make_source(&source, 17 << 20));
    source.fails_at = (16 << 20) + 5;
    struct hl_content content = content_of(&source);
    CHECK_OK(hl_compress_open(&content, 1, NULL, &compress, &err), err);
    hl_compress_stream(compress, &stream);
    CHECK_FAILS(drain(&stream, 1 << 20, &bytes, &n, &err), err, "the disk is gone");
    hl_compress_close(compress);
    hl_compress_close(NULL);
    free(bytes);
    free(source.bytes);
}

/* A change here with the same version of libzstd would change the digest of every compressed layer. */
static void test_golden(void)
{
    static const struct {
        unsigned zstd;
        int level;
        const char *digest;
    } golden[] = {
        {10504, 1, "sha256:4961c3a85db5ed1e6d6b4d1325fec3064b3c45730b790c7d124e98ea6ca6db85"},
        {10504, 3, "sha256:05b04f8b752cb66524570db7b405e3c24c1488c3da9fb30b8c25bae90af3975b"},
        {10504, 19, "sha256:59c2f7af67ed87f10d9027ca57e9f680a8bdda361cd5de8d02ac5b45caea8248"},
    };
    struct source source;
    char text[80];
    CHECK(make_source(&source, 3 << 20));
    struct hl_content content = content_of(&source);
    for (size_t i = 0; i < HL_COUNT(golden); i++) {
        struct hl_compress *compress;
        struct hl_stream stream;
        struct hl_error err = {.message = ""};
        char digest[HL_DIGEST_BYTES];
        size_t n;
        HL_FREE unsigned char *bytes = NULL;
        CHECK_OK(hl_compress_open(&content, golden[i].level, NULL, &compress, &err), err);
        hl_compress_stream(compress, &stream);
        CHECK_OK(drain(&stream, 1 << 20, &bytes, &n, &err), err);
        digest_of(bytes, n, digest);
        if (ZSTD_versionNumber() == golden[i].zstd)
            CHECK_SAY(!strcmp(digest, golden[i].digest), "level %d gives %s", golden[i].level, digest);
        hl_compress_close(compress);
    }
    hl_compress_describe(3, text, sizeof text);
    CHECK(strstr(text, ZSTD_versionString()) && strstr(text, ", level 3, frames of 16 MiB"));
    free(source.bytes);
}

int main(void)
{
    test_frames();
    test_rewind();
    test_failures();
    test_golden();
    return check_summary();
}
