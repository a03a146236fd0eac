/* source -> arch -> plan -> tokenizer, template, meta -> writer. Every fault of a model is found before the first
 * weight is converted. */
#include "pack/pack.h"
#include "base/cleanup.h"
#include "pack/chat.h"
#include "pack/meta.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"

/* The parts of a model, in the order in which they are made. */
struct work {
    struct hl_source *source;
    struct hl_arch arch;
    struct hl_plan *plan;
    struct hl_bytes tokenizer; /* the section */
    struct hl_chat chat;
    char *name, *meta;
};

static void release(struct work *w)
{
    free(w->meta);
    free(w->name);
    hl_chat_release(&w->chat);
    free(w->tokenizer.data);
    hl_plan_free(w->plan);
    hl_source_close(w->source);
}

/* Reads what depends on the tokenizer: the chat template's end of a turn, the stop tokens. */
static int read_words(const struct hl_pack *pack, struct work *w, struct hl_error *err)
{
    struct hl_tokenizer *tokenizer;
    if (hl_tokenizer_open(w->tokenizer.data, w->tokenizer.size, &tokenizer, err) < 0)
        return -1;
    int result = hl_chat_read(w->source, pack->template, tokenizer, &w->chat, err);
    const struct hl_meta meta = {.source = w->source,
                                 .arch = &w->arch,
                                 .plan = w->plan,
                                 .chat = &w->chat,
                                 .name = w->name,
                                 .eos = hl_tokenizer_eos(tokenizer)};
    hl_tokenizer_close(tokenizer);
    return result < 0 ? -1 : hl_meta_build(&meta, &w->meta, err);
}

static int read_model(const struct hl_pack *pack, struct work *w, struct hl_error *err)
{
    if (hl_source_open(pack->source, &w->source, err) < 0)
        return -1;
    if (!pack->name && hl_meta_name_from_path(pack->source, &w->name, err) < 0)
        return -1;
    if (pack->name && !(w->name = strdup(pack->name)))
        return hl_no_memory(err);
    if (hl_arch_read(w->source->config, &w->arch, err) < 0)
        return !w->source->folder ? hl_error_prefix(err, "%s: metadata as", pack->source) : -1;
    if (hl_plan_build(w->source, &w->arch, pack->quant, &w->plan, err) < 0 ||
        hl_vocabulary_build(w->source, w->arch.vocabulary, &w->tokenizer, err) < 0)
        return -1;
    return read_words(pack, w, err);
}

int hl_pack(const struct hl_pack *pack, struct hl_packed *out, struct hl_error *err)
{
    __attribute__((cleanup(release))) struct work w = {.chat = {.end = HL_NONE}};
    *out = (struct hl_packed){.textless = false};
    if (read_model(pack, &w, err) < 0)
        return -1;
    HL_FREE struct hl_loss *losses = pack->report ? calloc(w.plan->n_tensors, sizeof *losses) : NULL;
    if (pack->report && !losses)
        return hl_no_memory(err);
    const struct hl_write write = {
        .path = pack->output,
        .plan = w.plan,
        .meta = {(const uint8_t *)w.meta, strlen(w.meta)},
        .tokenizer = {w.tokenizer.data, w.tokenizer.size},
        .template = {w.chat.section.data, w.chat.section.size},
        .shard_bytes = pack->shard_bytes,
        .threads = pack->threads,
        .losses = losses,
        .progress = pack->progress,
    };
    snprintf(out->name, sizeof out->name, "%s", w.name);
    snprintf(out->quantization, sizeof out->quantization, "%s", w.plan->quantization);
    out->textless = hl_vocabulary_is_empty(&w.tokenizer);
    if (hl_writer_write(&write, &out->written, err) < 0)
        return -1;
    return losses ? hl_quant_report_make(w.plan, losses, &out->report, err) : 0;
}

void hl_packed_release(struct hl_packed *packed)
{
    hl_quant_report_release(&packed->report);
}
