/* A text's bytes -> tokens -> text, with the small tokenizers of tests/tokenizer. The first byte chooses the tokenizer
 * and the flags. Pieces are whole characters, and the decoded text equals the text, except for bytes that are not
 * UTF-8. */
#include "base/sizes.h"
#include "runtime/tokenizer/tokenizer_inside.h"
#include "tests/fuzz/fuzz_tokenizer.h"

static const struct {
    const char *folder;
    uint32_t rows;
    bool spaces;       /* U+2581 is a space */
    const char *bytes; /* texts with one of these may change: added tokens begin with them */
} kinds[] = {{"tests/tokenizer/bytes", 700, false, "<"},
             {"tests/tokenizer/fallback", 560, true, "<~"},
             {"tests/tokenizer/spm", 560, true, ""},
             {"tests/tokenizer/metaspace", 564, true, "<~"}};
#define KINDS (HL_COUNT(kinds))

static const struct hl_tokenizer *tokenizer(size_t kind)
{
    static struct hl_tokenizer *opened[KINDS];
    static struct hl_bytes sections[KINDS];
    struct hl_error err;
    if (!opened[kind] && (hl_vocabulary_from_folder(kinds[kind].folder, kinds[kind].rows, &sections[kind], &err) ||
                          hl_tokenizer_open(sections[kind].data, sections[kind].size, &opened[kind], &err)))
        abort(); /* run it in the repository's root */
    return opened[kind];
}

/* In SentencePiece's pieces, U+2581 is a space. */
static size_t unmark(uint8_t *text, size_t n)
{
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        bool mark = n - at >= 3 && !memcmp(text + at, "\xE2\x96\x81", 3);
        text[used++] = mark ? ' ' : text[at];
        at += mark ? 3 : 1;
    }
    return used;
}

/* NFC changes text, and so do added tokens at whose sides spaces are added or removed. So does Metaspace, which adds no
 * space before an added token, while decoding removes one. */
static bool comes_back(size_t kind, const uint8_t *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((!kinds[kind].spaces && text[i] >= 0x80) || (text[i] && strchr(kinds[kind].bytes, text[i])))
            return false;
    return kind != 3 || !n || (text[0] != ' ' && text[0] != 0xE2);
}

static void check_text(const struct hl_tokenizer *t, size_t kind, const uint8_t *text, size_t n, const int32_t *ids,
                       size_t n_ids)
{
    struct hl_error err;
    struct hl_decoder decoder;
    char piece[HL_PIECE_MAX];
    uint8_t *repaired = NULL;
    size_t n_want = n, at = 0;
    if (!comes_back(kind, text, n))
        return;
    if (hl_utf8_repair(text, n, &repaired, &n_want, &err))
        abort();
    HL_FREE uint8_t *want = malloc(n_want + 1);
    memcpy(want, repaired ? repaired : text, n_want);
    free(repaired);
    if (kinds[kind].spaces)
        n_want = unmark(want, n_want);
    hl_decoder_init(&decoder, t, 0);
    for (size_t i = 0; i <= n_ids; i++) {
        size_t bytes = i < n_ids ? hl_decoder_push(&decoder, ids[i], piece) : hl_decoder_flush(&decoder, piece);
        uint32_t character;
        for (size_t k = 0; k < bytes; k += character)
            if (hl_utf8_next((uint8_t *)piece + k, bytes - k, &character) != HL_UTF8_WHOLE)
                abort();
        if (bytes > n_want - at || memcmp(want + at, piece, bytes))
            abort();
        at += bytes;
    }
    if (at != n_want)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    if (!size || size > 1 << 16)
        return 0;
    size_t kind = data[0] % KINDS, n_ids = 0;
    unsigned flags = data[0] / KINDS % 4;
    const struct hl_tokenizer *t = tokenizer(kind);
    HL_FREE int32_t *ids = NULL;
    fuzz_encode(t, (const char *)data + 1, size - 1, flags);
    if (hl_tokenizer_encode(t, (const char *)data + 1, size - 1, 0, &ids, &n_ids, &err))
        abort();
    check_text(t, kind, data + 1, size - 1, ids, n_ids);
    for (size_t i = 0; i + 1 < size && i < n_ids; i++) /* any row of ids decodes */
        ids[i] = data[i + 1] * 3;
    char piece[HL_PIECE_MAX];
    struct hl_decoder decoder;
    hl_decoder_init(&decoder, t, flags);
    for (size_t i = 0; i < n_ids; i++)
        hl_decoder_push(&decoder, ids[i], piece);
    hl_decoder_flush(&decoder, piece);
    return 0;
}
