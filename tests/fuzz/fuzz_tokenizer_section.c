/* Section bytes -> tokens. */
#include "tests/fuzz/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *aligned = malloc(size + 1);
    if (aligned) {
        memcpy(aligned, data, size);
        aligned = size ? realloc(aligned, size) : aligned; /* of exactly its size */
        fuzz_section(aligned, size);
    }
    free(aligned);
    return 0;
}
