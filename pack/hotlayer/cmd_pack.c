/* hotlayer pack: converts a model's folder or .gguf file into MODEL.hot. */
#include "base/cleanup.h"
#include "base/options.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/verbs.h"
#include "pack/meta.h"
#include "pack/pack.h"

static const char about[] =
    "usage: hotlayer pack SOURCE -o MODEL.hot [OPTIONS]\n"
    "\n"
    "Converts a Hugging Face model folder (config.json, model.safetensors, tokenizer) or a .gguf file\n"
    "(F32, F16, BF16, Q8_0, Q6_K, Q5_*, Q4_*; of a split file, the first part) into MODEL.hot and its\n"
    "shards MODEL.hot.001, MODEL.hot.002, ...\n";

static const char examples[] = "examples:\n"
                               "  hotlayer pack ./Llama-2-7b-hf -o llama.hot\n"
                               "  hotlayer pack ./Llama-2-7b-hf -o llama.hot --quant q8 --name llama2 --quant-report\n"
                               "  hotlayer pack gemma-3-4b-it-Q8_0.gguf -o gemma.hot\n";

struct options {
    struct hl_pack pack;
    bool json;
};

static int take_name(const char *value, void *where, struct hl_error *err)
{
    *(const char **)where = value;
    if (hl_meta_check_name(value, err) == 0)
        return 0;
    err->kind = HL_ERROR_USAGE;
    return -1;
}

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    static const char *const quants[] = {[HL_QUANT_KEEP] = "keep",
                                         [HL_QUANT_BF16] = "bf16",
                                         [HL_QUANT_Q8] = "q8",
                                         [HL_QUANT_Q4] = "q4",
                                         [HL_QUANT_DEFAULT] = NULL};
    const struct hl_option table[] = {
        hl_option_text("-o, --output FILE", &o->pack.output, "the head file; the shards are written next to it"),
        hl_option_word("--quant TYPE", quants, &o->pack.quant,
                       "q4, q8: 4 or 8 bits in blocks of 32; bf16; keep: without loss. Default: q4 for floating-point "
                       "matrices, keep for the quantized ones of a .gguf"),
        hl_option_flag("--quant-report", &o->pack.report, "print the loss of each matrix: ||W - Q|| / ||W||"),
        hl_option_custom("--name NAME", take_name, &o->pack.name,
                         "the model's name for its users; default: the name of the folder or file"),
        hl_option_size("--shard-size SIZE", &o->pack.shard_bytes,
                       "the largest size of a shard; at most 2G, default 1G"),
        hl_option_text("--template FILE", &o->pack.template,
                       "a chat template that replaces the model's own: Go's language as in Ollama if the name ends in "
                       ".gotmpl, else Jinja"),
        hl_option_count("--threads N", 1, 1024, &o->pack.threads, "threads of the conversion; default: one per core"),
        hl_option_flag("--json", &o->json, "print the result as JSON"),
    };
    const struct hl_options options = {
        about, table, HL_COUNT(table), examples, "one SOURCE, a model's folder or .gguf file", 1, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0)
        return -1;
    if (!o->pack.output)
        return hl_fail_as(err, HL_ERROR_USAGE, "-o MODEL.hot is missing");
    o->pack.source = argv[first];
    return 0;
}

static void print_json(const struct options *o, const struct hl_packed *packed)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "path", o->pack.output);
    cJSON_AddStringToObject(json, "name", packed->name);
    cJSON_AddStringToObject(json, "quantization", packed->quantization);
    cJSON_AddNumberToObject(json, "head_bytes", (double)packed->written.head_bytes);
    cJSON_AddNumberToObject(json, "weight_bytes", (double)packed->written.weight_bytes);
    cJSON_AddNumberToObject(json, "shards", packed->written.n_shards);
    if (o->pack.report)
        cJSON_AddItemToObject(json, "quant_report", hl_quant_report_json(&packed->report));
    HL_FREE char *text = cJSON_PrintUnformatted(json);
    printf("%s\n", text ? text : "{}");
    cJSON_Delete(json);
}

static void print_result(const struct options *o, const struct hl_packed *packed)
{
    const struct hl_written *written = &packed->written;
    if (packed->textless)
        fprintf(stderr,
                "hotlayer pack: no tokenizer found: %s computes logits from token numbers, but reads and writes no "
                "text\n",
                packed->name);
    char head[24], weights[24];
    if (o->json) {
        print_json(o, packed);
        return;
    }
    if (o->pack.report)
        hl_quant_report_print(&packed->report, stderr);
    fprintf(stderr, "%s: %s, head %s, weights %s in %u shard%s\n", packed->name, packed->quantization,
            hl_text_bytes(written->head_bytes, head), hl_text_bytes(written->weight_bytes, weights), written->n_shards,
            written->n_shards == 1 ? "" : "s");
    printf("%s\n", o->pack.output);
}

int hl_cmd_pack(int argc, char **argv)
{
    struct hl_progress progress = {.out = stderr};
    struct options o = {.pack = {.quant = HL_QUANT_DEFAULT, .shard_bytes = 1ull << 30, .progress = &progress}};
    struct hl_packed packed;
    struct hl_error err;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("pack", &err);
    int result = hl_pack(&o.pack, &packed, &err);
    if (result < 0)
        result = hl_cli_report("pack", &err);
    else
        print_result(&o, &packed);
    hl_packed_release(&packed);
    return result;
}
