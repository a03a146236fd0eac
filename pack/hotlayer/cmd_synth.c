/* hotlayer synth: writes a model of random numbers in a real model's shape into a folder.
 *
 * A large model takes minutes, so users interrupt it. The command blocks the signals that would end it, checks for them
 * between chunks, and lets them through after it has removed the unfinished files. */
#include "base/cleanup.h"
#include "base/options.h"
#include "base/sizes.h"
#include "base/text.h"
#include "pack/hotlayer/verbs.h"
#include "pack/synth/synth.h"
#include <errno.h>
#include <signal.h>

static const char about[] =
    "usage: hotlayer synth FAMILY-SIZE -o FOLDER [OPTIONS]\n"
    "       hotlayer synth --list [--json]\n"
    "\n"
    "Writes a Hugging Face model folder in the exact shape of a published model (config.json,\n"
    "model.safetensors, tokenizer), for benchmarks: the weights are random numbers and the vocabulary is\n"
    "made of syllables, so it is as fast as the real model and its text means nothing.\n"
    "Text models only: gemma3-4b and larger come without their vision tower.\n";

static const char examples[] = "examples:\n"
                               "  hotlayer synth llama3.2-1b -o llama\n"
                               "  hotlayer pack llama --quant q8 -o llama.hot\n"
                               "  hotlayer synth gemma2-9b --blocks 2 -o small\n";

struct options {
    const char *name, *output;
    uint64_t seed;
    uint32_t blocks, threads;
    bool list, json;
};

static int parse_seed(const char *text, void *where, struct hl_error *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return hl_fail_as(err, HL_ERROR_USAGE, "--seed must be a whole number below 2^64, not '%s'", text);
    *(uint64_t *)where = number;
    return 0;
}

static int check(const struct options *o, int names, struct hl_error *err)
{
    if (o->list)
        return names || o->output ? hl_fail_as(err, HL_ERROR_USAGE, "--list takes no model and no -o") : 0;
    if (names != 1)
        return hl_fail_as(err, HL_ERROR_USAGE, "expected one model; 'hotlayer synth --list' shows them");
    if (!o->output)
        return hl_fail_as(err, HL_ERROR_USAGE, "-o FOLDER is missing");
    return 0;
}

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    const struct hl_option table[] = {
        hl_option_text("-o, --output FOLDER", &o->output, "the folder to write; must be empty or not exist"),
        hl_option_custom("--seed S", parse_seed, &o->seed,
                         "another seed gives another model of the same shape, the same seed the same bytes; default 0"),
        hl_option_count("--blocks N", 1, 1024, &o->blocks, "write only the first N blocks of the transformer"),
        hl_option_count("--threads N", 1, 1024, &o->threads, "threads that draw and write; default: one per core"),
        hl_option_flag("--list", &o->list, "list the models: names, parameters, bytes in BF16"),
        hl_option_flag("--json", &o->json, "print the list or the result as JSON"),
    };
    const struct hl_options options = {
        about, table, HL_COUNT(table), examples, "one model; 'hotlayer synth --list' shows them", 0, 1};
    int first = hl_options_parse(&options, argc, argv, err);
    if (first < 0 || check(o, argc - first, err) < 0)
        return -1;
    o->name = argv[first];
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

/* Returns the signals that end a program, except those that the parent process has told it to ignore. */
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
    pthread_sigmask(SIG_SETMASK, &before, NULL); /* a pending signal ends the program here */
    return result;
}

static int run(const struct options *o, struct hl_error *err)
{
    const struct hl_synth_model *found = hl_synth_find(o->name);
    if (!found)
        return hl_fail_as(err, HL_ERROR_USAGE, "unknown model '%s'; 'hotlayer synth --list' shows the models", o->name);
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
    return (o.list ? list(o.json, &err) : run(&o, &err)) < 0 ? hl_cli_report("synth", &err) : 0;
}
