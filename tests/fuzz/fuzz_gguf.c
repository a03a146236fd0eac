/* A .gguf -> metadata and tensors under Hugging Face's names -> numbers -> a plan; then converts the first and last
 * rows of each of its tensors. The objects made of the metadata must be readable without an error. */
#include "base/cleanup.h"
#include "pack/convert/tiles.h"
#include "pack/meta.h"
#include "pack/source/blocks.h"
#include "tests/fuzz/guard.h"

static void convert(const struct hl_plan_tensor *tensor)
{
    struct hl_error err;
    const struct hl_tensor *t = &tensor->tensor;
    if (t->type == HL_TYPE_VECTOR) {
        for (uint32_t i = 0; i < tensor->n_parts; i++)
            for (uint64_t row = 0; row < tensor->part[i]->shape[0]; row++) {
                float value;
                hl_source_floats(tensor->part[i], hl_source_row(tensor->part[i], row), 1, &value);
            }
        return;
    }
    HL_FREE float *row = malloc(hl_tiles_padded_cols(t->type, t->cols) * sizeof *row);
    HL_FREE uint8_t *out = malloc(hl_strip_bytes(t->type, t->cols));
    if (row && out) {
        hl_tiles_encode(tensor, 0, row, out, &err);
        hl_tiles_encode(tensor, hl_tile_strips(t->rows) - 1, row, out, &err);
    }
}

static void compile(const struct hl_source *source)
{
    struct hl_error err;
    HL_FREE struct hl_arch *arch = malloc(sizeof *arch);
    if (!arch || hl_arch_read(source->config, arch, &err) < 0)
        return;
    for (enum hl_quant quant = HL_QUANT_KEEP; quant <= HL_QUANT_DEFAULT; quant++) {
        struct hl_plan *plan = NULL;
        HL_FREE char *meta = NULL;
        if (hl_plan_build(source, arch, quant, &plan, &err) < 0)
            return;
        const struct hl_chat chat = {.end = HL_NONE};
        const struct hl_meta facts = {source, arch, plan, &chat, "fuzz", HL_NONE};
        if (hl_meta_build(&facts, &meta, &err) < 0)
            abort(); /* the reader has checked that stops are tokens and texts are texts */
        for (uint32_t i = 0; i < plan->n_tensors; i++)
            convert(&plan->tensors[i]);
        hl_plan_free(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hl_error err;
    struct hl_source *source = calloc(1, sizeof *source);
    const uint8_t *bytes = guarded(data, size);
    if (source && bytes && (source->path = strdup("model.gguf")) &&
        (source->files = calloc(1, sizeof *source->files)) && (source->files->name = strdup("model.gguf"))) {
        source->n_files = 1;
        source->files->map = (struct hl_view){bytes, size};
        if (hl_gguf_read(source, &err) == 0 && hl_source_sort(source, &err) == 0)
            compile(source);
        source->files->map.data = NULL; /* not to be unmapped */
    }
    hl_source_close(source);
    return 0;
}
