/* model.safetensors -> tensors; reads each from its first number to its last. */
#include "base/cleanup.h"
#include "pack/convert/tiles.h"
#include "pack/source/blocks.h"
#include "tests/fuzz/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    char name[] = "model.safetensors";
    struct hl_source_file file = {.name = name, .map = {guarded(data, size), size}};
    struct hl_source *source = calloc(1, sizeof *source);
    if (source && file.map.data && (source->path = strdup("folder")) && hl_safetensors_read(source, &file, &err) == 0)
        for (size_t i = 0; i < source->n_tensors; i++) {
            const struct hl_source_tensor *tensor = &source->tensors[i];
            uint64_t n = hl_source_count(tensor);
            HL_FREE float *numbers = malloc((n + 1) * sizeof *numbers);
            if (numbers)
                hl_source_floats(tensor, 0, n, numbers);
        }
    hl_source_close(source);
    return 0;
}
