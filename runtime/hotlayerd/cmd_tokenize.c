/* hotlayerd tokenize: prints the token ids of a text, encoded as the server encodes it. */
#include "base/cleanup.h"
#include "runtime/hotlayerd/commands.h"

static const char about[] = "usage: hotlayerd tokenize --model PATH [--special] TEXT\n"
                            "\n"
                            "Prints one line of JSON: the token ids of the text.\n";

static const char examples[] = "example:\n"
                               "  hotlayerd tokenize --model llama.hot 'Hello world'\n";

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
    struct hl_error err;
    const char *path = NULL;
    bool special = false;
    const struct hl_option table[] = {
        HL_MODEL_OPTION(&path),
        hl_option_flag("--special", &special,
                       "add the tokens that begin and end the model's texts, and recognise special tokens in TEXT"),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, "one TEXT", 1, 1};
    int first = hl_options_parse(&options, argc, argv, &err);
    if (first >= 0 && !path)
        first = hl_fail_as(&err, HL_ERROR_USAGE, "--model PATH is missing");
    if (first < 0)
        return hl_cli_report("tokenize", &err);
    unsigned flags = special ? HL_ENCODE_BOS | HL_ENCODE_SPECIAL : 0;
    return run(path, argv[first], flags, &err) < 0 ? hl_cli_report("tokenize", &err) : 0;
}
