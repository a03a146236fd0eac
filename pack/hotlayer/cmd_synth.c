/* hotlayer synth: a model of random numbers in a real model's shape -> a folder.
 *
 * A large model takes minutes, so people will interrupt it: the signals that end a program are held back and looked for
 * between chunks, and delivered when the unfinished files are gone. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/verbs.h"
#include "pack/synth/synth.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>

static const char help[] = "usage: hotlayer synth FAMILY-SIZE -o FOLDER [OPTIONS]\n"
                           "       hotlayer synth --list [--json]\n"
                           "\n"
                           "Writes a Hugging Face model folder in the exact shape of a published model (config.json,\n"
                           "model.safetensors, tokenizer) whose weights are random numbers and whose vocabulary is\n"
                           "made of syllables: for benchmarks, where it is as fast as the real one, and says nothing.\n"
                           "Text models only: gemma3-4b and larger come without their vision tower.\n"
                           "\n"
                           "  -o, --output FOLDER  where it goes; empty, or does not exist yet\n"
                           "      --seed S         another model of the same shape (default 0); the same seed gives\n"
                           "                       the same bytes\n"
                           "      --blocks N       only the first N blocks of the transformer\n"
                           "      --threads N      that draw and write (default: one per core)\n"
                           "      --list           show the models: names, parameters, bytes in BF16\n"
                           "      --json           print the result as JSON\n"
                           "  -h, --help\n"
                           "\n"
                           "examples:\n"
                           "  hotlayer synth llama3.2-1b -o llama\n"
                           "  hotlayer pack llama --quant q8 -o llama.hot\n"
                           "  hotlayer synth gemma2-9b --blocks 2 -o small\n";

struct options {
    const char *name, *output;
    uint64_t seed;
    uint32_t blocks, threads;
    bool list, json, help;
};

static int parse_seed(const char *text, uint64_t *out, struct hl_error *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return hl_fail_as(err, HL_ERROR_USAGE, "--seed must be a whole number below 2^64, not '%s'", text);
    *out = number;
    return 0;
}

static int check(const struct options *o, int names, struct hl_error *err)
{
    if (o->list)
        return names || o->output ? hl_fail_as(err, HL_ERROR_USAGE, "--list takes no model and no -o") : 0;
    if (names != 1)
        return hl_fail_as(err, HL_ERROR_USAGE, "name one model; 'hotlayer synth --list' shows them");
    if (!o->output)
        return hl_fail_as(err, HL_ERROR_USAGE, "-o FOLDER is missing");
    return 0;
}

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'}, {"seed", required_argument, NULL, 's'},
        {"blocks", required_argument, NULL, 'b'}, {"threads", required_argument, NULL, 't'},
        {"list", no_argument, NULL, 'l'},         {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int option, result = 0;
    opterr = 0;
    while (result == 0 && (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1)
        switch (option) {
        case 'o':
            o->output = optarg;
            break;
        case 's':
            result = parse_seed(optarg, &o->seed, err);
            break;
        case 'b':
            result = hl_cli_count("--blocks", optarg, 1, 1024, &o->blocks, err);
            break;
        case 't':
            result = hl_cli_count("--threads", optarg, 1, 1024, &o->threads, err);
            break;
        case 'l':
            o->list = true;
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
    if (result < 0 || check(o, argc - optind, err) < 0)
        return -1;
    o->name = argv[optind];
    return 0;
}

static cJSON *describe(const struct hl_synth_model *model, uint64_t parameters)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", model->name);
    cJSON_AddNumberToObject(json, "parameters", (double)parameters);
    cJSON_AddNumberToObject(json, "bytes", 2.0 * (double)parameters);
    cJSON_AddNumberToObject(json, "blocks", model->blocks);
    return json;
}

static void print_json(cJSON *json)
{
    HL_FREE char *text = cJSON_PrintUnformatted(json);
    printf("%s\n", text ? text : "{}");
    cJSON_Delete(json);
}

static int list(bool as_json, struct hl_error *err)
{
    size_t n;
    const struct hl_synth_model *models = hl_synth_models(&n);
    cJSON *array = cJSON_CreateArray();
    char size[24];
    for (size_t i = 0; i < n; i++) {
        uint64_t parameters;
        if (hl_synth_parameters(&models[i], &parameters, err) < 0) {
            cJSON_Delete(array);
            return -1;
        }
        cJSON_AddItemToArray(array, describe(&models[i], parameters));
        if (!as_json)
            printf("%-14s %14llu parameters  %8s\n", models[i].name, (unsigned long long)parameters,
                   hl_text_bytes(2 * parameters, size));
    }
    if (as_json)
        print_json(array);
    else
        cJSON_Delete(array);
    return 0;
}

/* The signals that end a program, but for those that whoever started this one has told it to ignore. */
static void ending_signals(sigset_t *set)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(set);
    for (size_t i = 0; i < HL_COUNT(signals); i++) {
        struct sigaction action;
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(set, signals[i]);
    }
}

static bool stopped(void)
{
    sigset_t wanted, pending;
    ending_signals(&wanted);
    return sigpending(&pending) == 0 && sigandset(&pending, &pending, &wanted) == 0 && !sigisemptyset(&pending);
}

static int write_model(const struct options *o, const struct hl_synth_model *model, struct hl_error *err)
{
    sigset_t ending, before;
    struct hl_progress progress = {.out = stderr};
    struct hl_synth synth = {.model = model,
                             .folder = o->output,
                             .seed = o->seed,
                             .threads = o->threads,
                             .progress = &progress,
                             .stopped = stopped};
    ending_signals(&ending);
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    int result = hl_synth_write(&synth, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL); /* here an interrupted run ends */
    return result;
}

static int run(const struct options *o, struct hl_error *err)
{
    const struct hl_synth_model *found = hl_synth_find(o->name);
    if (!found)
        return hl_fail_as(err, HL_ERROR_USAGE, "'%s' is no model that is known; 'hotlayer synth --list' shows them",
                          o->name);
    struct hl_synth_model model = *found;
    uint64_t parameters;
    char size[24];
    if (o->blocks > model.blocks)
        return hl_fail_as(err, HL_ERROR_USAGE, "--blocks %u: %s has %u", o->blocks, model.name, model.blocks);
    model.blocks = o->blocks ? o->blocks : model.blocks;
    if (hl_synth_parameters(&model, &parameters, err) < 0 || write_model(o, &model, err) < 0)
        return -1;
    if (o->json) {
        cJSON *json = describe(&model, parameters);
        cJSON_AddStringToObject(json, "path", o->output);
        print_json(json);
        return 0;
    }
    fprintf(stderr, "%s: %llu parameters in %u blocks, %s\n", model.name, (unsigned long long)parameters, model.blocks,
            hl_text_bytes(2 * parameters, size));
    printf("%s\n", o->output);
    return 0;
}

int hl_cmd_synth(int argc, char **argv)
{
    struct options o = {0};
    struct hl_error err;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("synth", &err);
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    return (o.list ? list(o.json, &err) : run(&o, &err)) < 0 ? hl_cli_report("synth", &err) : 0;
}
