/* A .gguf file's bytes -> section -> tokens. */
#include "tests/fuzz/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    struct hl_gguf *gguf = NULL;
    struct hl_bytes section = {0};
    HL_FREE uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        return 0;
    memcpy(exact, data, size);
    if (!hl_gguf_open((struct hl_view){exact, size}, "the file", &gguf, &err)) {
        if (!hl_vocabulary_from_gguf(gguf, 4096, &section, &err))
            fuzz_built(&section);
        hl_gguf_close(gguf);
    }
    return 0;
}
