/* Packs a model: reads it as it was published, writes MODEL.hot and its shards. */
#ifndef HL_PACK_PACK_H
#define HL_PACK_PACK_H

#include "hotlayer/layout.h"
#include "pack/compile/plan.h"
#include "pack/convert/quant_report.h"
#include "pack/convert/writer.h"

struct hl_pack {
    const char *source;   /* a folder, or a .gguf */
    const char *output;   /* MODEL.hot */
    const char *name;     /* satisfies hl_meta_check_name(); NULL: taken from the source's path */
    const char *template; /* a file with the chat template; NULL: the model's own */
    enum hl_quant quant;
    bool report; /* measure the loss of each matrix */
    uint64_t shard_bytes;
    uint32_t threads; /* 0: one per core */
    struct hl_progress *progress;
};

struct hl_packed {
    struct hl_written written;
    char name[HL_MODEL_NAME_MAX + 1];
    char quantization[33]; /* as in the meta section */
    bool textless;         /* no tokenizer was found */
    struct hl_quant_report report;
};

/* Packs a model. The caller releases `out`, also after a failure. */
int hl_pack(const struct hl_pack *pack, struct hl_packed *out, struct hl_error *err);
void hl_packed_release(struct hl_packed *packed);

#endif
