/* The whole way: a model as it was published -> MODEL.hot and its shards. */
#ifndef HL_PACK_PACK_H
#define HL_PACK_PACK_H

#include "hotlayer/layout.h"
#include "pack/compile/plan.h"
#include "pack/convert/quant_report.h"
#include "pack/convert/writer.h"

struct hl_pack {
    const char *source;   /* a folder, or a .gguf */
    const char *output;   /* MODEL.hot */
    const char *name;     /* NULL: the source's */
    const char *template; /* a file with the chat template; NULL: the model's own */
    enum hl_quant quant;
    bool report; /* of what each matrix loses */
    uint64_t shard_bytes;
    uint32_t threads; /* 0: one per core */
    struct hl_progress *progress;
};

struct hl_packed {
    struct hl_written written;
    char name[HL_MODEL_NAME_MAX + 1];
    char quantization[33]; /* as the meta section says it */
    bool textless;         /* no tokenizer was found */
    struct hl_quant_report report;
};

/* The caller releases `out`, whatever the result. */
int hl_pack(const struct hl_pack *pack, struct hl_packed *out, struct hl_error *err);
void hl_packed_release(struct hl_packed *packed);

#endif
