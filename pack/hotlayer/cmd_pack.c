/* hotlayer pack: a model's folder or .gguf -> MODEL.hot. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/verbs.h"
#include "pack/meta.h"
#include "pack/pack.h"
#include <ctype.h>
#include <errno.h>
#include <getopt.h>

static const char help[] =
    "usage: hotlayer pack SOURCE -o MODEL.hot [OPTIONS]\n"
    "\n"
    "Converts a Hugging Face model folder (config.json, model.safetensors, tokenizer) or a\n"
    ".gguf file (F32, F16, BF16, Q8_0, Q6_K, Q5_*, Q4_*; of one in parts, the first) into\n"
    "MODEL.hot and its shards MODEL.hot.001, MODEL.hot.002, ...\n"
    "\n"
    "  -o, --output FILE      where the head file goes; the shards are put beside it\n"
    "      --quant TYPE       q4 or q8: 4 or 8 bits in blocks of 32; bf16; keep: no loss.\n"
    "                         By default numbers become q4, and what a .gguf has quantized is kept\n"
    "      --quant-report     say what each matrix loses: ||W - Q|| / ||W||\n"
    "      --name NAME        the model's name to its users (default: the folder's or file's)\n"
    "      --shard-size SIZE  at most this much per shard, up to 2G (default 1G)\n"
    "      --template FILE    a chat template instead of the model's own: Jinja, or, if its\n"
    "                         name ends in .gotmpl, Go's as Ollama has it\n"
    "      --threads N        for the conversion (default: one per core)\n"
    "      --json             print the result as JSON\n"
    "  -h, --help\n"
    "\n"
    "examples:\n"
    "  hotlayer pack ./Llama-2-7b-hf -o llama.hot\n"
    "  hotlayer pack ./Llama-2-7b-hf -o llama.hot --quant q8 --name llama2 --quant-report\n"
    "  hotlayer pack gemma-3-4b-it-Q8_0.gguf -o gemma.hot\n";

struct options {
    struct hl_pack pack;
    bool json, help;
};

/* "1G", "512M", "2MiB", "4096". */
static int parse_size(const char *text, uint64_t *out, struct hl_error *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    static const char units[] = "KMGT";
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    uint64_t factor = unit ? 1ull << (10 * (unit - units + 1)) : 1;
    if (unit)
        end++;
    if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0)
        end += strlen(end);
    if (!isdigit((unsigned char)*text) || errno || *end || !hl_mul(number, factor, out))
        return hl_fail_as(err, HL_ERROR_USAGE, "'%s' is no size; write it as 512M or 1G", text);
    return 0;
}

static int parse_quant(const char *text, enum hl_quant *out, struct hl_error *err)
{
    for (enum hl_quant quant = HL_QUANT_KEEP; quant <= HL_QUANT_Q4; quant++)
        if (strcmp(text, hl_quant_name(quant)) == 0) {
            *out = quant;
            return 0;
        }
    return hl_fail_as(err, HL_ERROR_USAGE, "--quant must be keep, bf16, q8 or q4, not '%s'", text);
}

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
                                          {"quant", required_argument, NULL, 'q'},
                                          {"quant-report", no_argument, NULL, 'r'},
                                          {"name", required_argument, NULL, 'n'},
                                          {"shard-size", required_argument, NULL, 's'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"template", required_argument, NULL, 'T'},
                                          {NULL, 0, NULL, 0}};
    int option, result = 0;
    opterr = 0;
    while (result == 0 && (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1)
        switch (option) {
        case 'o':
            o->pack.output = optarg;
            break;
        case 'q':
            result = parse_quant(optarg, &o->pack.quant, err);
            break;
        case 'r':
            o->pack.report = true;
            break;
        case 'n':
            o->pack.name = optarg;
            if ((result = hl_meta_check_name(optarg, err)) < 0)
                err->kind = HL_ERROR_USAGE;
            break;
        case 'T':
            o->pack.template = optarg;
            break;
        case 's':
            result = parse_size(optarg, &o->pack.shard_bytes, err);
            break;
        case 't':
            result = hl_cli_count("--threads", optarg, 1, 1024, &o->pack.threads, err);
            break;
        case 'j':
            o->json = true;
            break;
        case 'h':
            o->help = true;
            return 0;
        default:
            return hl_fail_as(err, HL_ERROR_USAGE, "'%s' is not understood, or lacks its value", argv[optind - 1]);
        }
    if (result < 0)
        return -1;
    if (optind + 1 != argc)
        return hl_fail_as(err, HL_ERROR_USAGE, "name one SOURCE, a model's folder or .gguf file");
    if (!o->pack.output)
        return hl_fail_as(err, HL_ERROR_USAGE, "-o MODEL.hot is missing");
    o->pack.source = argv[optind];
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
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    int result = hl_pack(&o.pack, &packed, &err);
    if (result < 0)
        result = hl_cli_report("pack", &err);
    else
        print_result(&o, &packed);
    hl_packed_release(&packed);
    return result;
}
