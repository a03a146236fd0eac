/* tokenizer.model bytes -> section -> tokens. */
#include "tests/fuzz/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_files(&(struct hl_vocabulary_files){.model = {data, size}});
}
