/* tokenizer.json bytes -> section -> tokens. After a NUL follows the tokenizer_config.json. */
#include "tests/fuzz/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_vocabulary_files files = {.json = {data, size}};
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (end) {
        files.json.size = (size_t)(end - data);
        files.config = (struct hl_view){end + 1, size - files.json.size - 1};
    }
    return fuzz_files(&files);
}
