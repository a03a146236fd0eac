/* hotlayerd tokenize: text to token numbers, as the server does it. */
#include "base/cleanup.h"
#include "runtime/hotlayerd/commands.h"
#include <getopt.h>

static const char help[] =
    "usage: hotlayerd tokenize --model PATH [--special] TEXT\n"
    "\n"
    "Prints one line of JSON: the text's token numbers.\n"
    "\n"
    "      --model PATH   a .hot file, or a folder that holds one\n"
    "      --special      begin and end as the model does, and recognise special tokens in the text\n"
    "  -h, --help\n"
    "\n"
    "example:\n"
    "  hotlayerd tokenize --model llama.hot 'Hello world'\n";

enum { SPECIAL = 1 };

static int run(const char *path, const char *text, unsigned flags, struct hl_error *err)
{
    struct hl_model *model;
    HL_FREE int32_t *ids = NULL;
    size_t n;
    if (hl_model_open(path, &model, err) < 0)
        return -1;
    int result = hl_tokenizer_encode(model->tokenizer, text, strlen(text), flags, &ids, &n, err);
    hl_model_close(model);
    if (result < 0)
        return -1;
    putchar('[');
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", ids[i]);
    puts("]");
    return 0;
}

int hl_cmd_tokenize(int argc, char **argv)
{
    static const struct option longs[] = {{"model", required_argument, NULL, HL_OPTION_MODEL},
                                          {"special", no_argument, NULL, SPECIAL},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct hl_error err;
    const char *path = NULL;
    unsigned flags = 0;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
        switch (option) {
        case HL_OPTION_MODEL:
            path = optarg;
            break;
        case SPECIAL:
            flags = HL_ENCODE_BOS | HL_ENCODE_SPECIAL;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            hl_fail_as(&err, HL_ERROR_USAGE, "'%s' is not understood, or lacks its value", argv[optind - 1]);
            return hl_cli_report("tokenize", &err);
        }
    if (!path || optind + 1 != argc) {
        hl_fail_as(&err, HL_ERROR_USAGE, path ? "name one TEXT" : "--model PATH is missing");
        return hl_cli_report("tokenize", &err);
    }
    return run(path, argv[optind], flags, &err) < 0 ? hl_cli_report("tokenize", &err) : 0;
}
