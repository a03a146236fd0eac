/* Opens a section and uses it in every way, for the tokenizer's fuzz targets. A section that the packer wrote must
 * open, and encode valid text without special tokens into a decodable row of ids. */
#ifndef HL_TESTS_FUZZ_FUZZ_TOKENIZER_H
#define HL_TESTS_FUZZ_FUZZ_TOKENIZER_H

#include "base/cleanup.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_encode(const struct hl_tokenizer *t, const char *text, size_t n, unsigned flags)
{
    struct hl_error err;
    HL_FREE int32_t *ids = NULL;
    size_t n_ids = 0;
    char piece[HL_PIECE_MAX];
    struct hl_decoder decoder;
    if (hl_tokenizer_encode(t, text, n, flags, &ids, &n_ids, &err))
        return;
    hl_decoder_init(&decoder, t, flags);
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= hl_tokenizer_size(t))
            abort();
        hl_decoder_push(&decoder, ids[i], piece);
    }
    hl_decoder_flush(&decoder, piece);
}

/* The section's own bytes serve as text too: they contain the tokens' texts. */
static inline bool fuzz_section(const void *section, size_t bytes)
{
    static const char text[] = "I'm the <sep> world\n\xff 123 \xe4\xbd\xa0 e\xcc\x81\xcc\xa3  <|call|>x<turn>~~\0</s>";
    struct hl_error err;
    struct hl_tokenizer *t = NULL;
    if (hl_tokenizer_open(section, bytes, &t, &err))
        return false;
    for (unsigned flags = 0; flags < 4; flags++) {
        fuzz_encode(t, text, sizeof text, flags);
        fuzz_encode(t, section, bytes < 512 ? bytes : 512, flags);
    }
    for (uint32_t id = 0; id < hl_tokenizer_size(t) && id < 256; id++) {
        size_t n = 0;
        const char *name = hl_tokenizer_text(t, id, &n);
        if (name)
            hl_tokenizer_find(t, name, n);
    }
    hl_tokenizer_close(t);
    return true;
}

/* Releases it. */
static inline void fuzz_built(struct hl_bytes *section)
{
    struct hl_error err;
    struct hl_tokenizer *t = NULL;
    if (!fuzz_section(section->data, section->size) && hl_tokenizer_open(section->data, section->size, &t, &err) &&
        !strstr(err.message, "split pattern"))
        abort();
    hl_tokenizer_close(t);
    free(section->data);
}

static inline int fuzz_files(const struct hl_vocabulary_files *files)
{
    struct hl_error err;
    struct hl_bytes section = {0};
    if (!hl_vocabulary_from_files(files, 4096, &section, &err))
        fuzz_built(&section);
    return 0;
}

#endif
