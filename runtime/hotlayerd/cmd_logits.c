/* hotlayerd logits: prints the logits after given tokens, for comparison with other implementations. */
#include "base/cleanup.h"
#include "runtime/hotlayerd/commands.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>

static const char about[] =
    "usage: hotlayerd logits --model PATH --tokens 1,2,3 [--all] [OPTIONS]\n"
    "\n"
    "Prints one line of JSON: {\"logits\":[...]} after the last token, or with --all a list per token.\n";

static const char examples[] = "example:\n"
                               "  hotlayerd logits --model llama.hot --tokens 128000,9906,1917\n";

struct options {
    struct hl_common common;
    const char *tokens;
    bool all;
};

static int parse(int argc, char **argv, struct options *o, struct hl_error *err)
{
    const struct hl_option table[] = {
        hl_option_text("--tokens IDS", &o->tokens, "token ids, separated by commas"),
        hl_option_flag("--all", &o->all, "print the logits after every token"),
        hl_option_count("--batch N", 1, 65536, &o->common.engine.batch,
                        "tokens per step; default 256; 1 decodes one by one"),
        HL_COMMON_OPTIONS(&o->common),
    };
    const struct hl_options options = {about, table, HL_COUNT(table), examples, NULL, 0, 0};
    if (hl_options_parse(&options, argc, argv, err) < 0)
        return -1;
    return o->tokens ? 0 : hl_fail_as(err, HL_ERROR_USAGE, "--tokens IDS is missing");
}

/* Parses "1,2,3". The caller frees the ids. */
static int parse_tokens(const char *text, int32_t **out, uint32_t *n, struct hl_error *err)
{
    size_t room = 1;
    assert(text);
    for (const char *p = text; *p; p++)
        room += *p == ',';
    HL_FREE int32_t *ids = malloc(room * sizeof *ids);
    if (!ids)
        return hl_no_memory(err);
    for (*n = 0; *text || *n == 0; text += *text == ',') {
        char *end;
        errno = 0;
        long id = strtol(text, &end, 10);
        if (!isdigit((unsigned char)*text) || (*end && *end != ',') || (*end == ',' && !end[1]) || errno ||
            id > INT32_MAX)
            return hl_fail_as(err, HL_ERROR_USAGE, "--tokens must be numbers separated by commas");
        ids[(*n)++] = (int32_t)id;
        text = end;
    }
    *out = ids;
    ids = NULL;
    return 0;
}

/* Prints numbers with %.9g, which reproduces a float32 exactly. JSON has no infinity: such values become null. */
static void print_row(const float *row, uint32_t n)
{
    putchar('[');
    for (uint32_t i = 0; i < n; i++)
        if (isfinite(row[i]))
            printf("%s%.9g", i ? "," : "", (double)row[i]);
        else
            printf("%snull", i ? "," : "");
    putchar(']');
}

static int run_tokens(const struct options *o, struct hl_engine *engine, const int32_t *ids, uint32_t n,
                      struct hl_batch *batch, struct hl_sequence *sequence, struct hl_error *err)
{
    const struct hl_logits *logits;
    printf("{\"logits\":%s", o->all ? "[" : "");
    for (uint32_t i = 0, first = 1; i < n;) {
        while (i < n && batch->n_tokens < engine->batch) {
            hl_batch_add(batch, sequence, ids[i]);
            i++;
            if (o->all || i == n)
                hl_batch_want(batch);
        }
        uint32_t outputs = batch->n_outputs;
        if (hl_batch_run(engine, batch, &logits, err) < 0)
            return -1;
        for (uint32_t r = 0; r < outputs; r++, first = 0) {
            if (!first)
                putchar(',');
            print_row(logits[r].row, engine->vocabulary);
        }
    }
    printf("%s}\n", o->all ? "]" : "");
    return 0;
}

static int run(const struct options *o, struct hl_engine *engine, const int32_t *ids, uint32_t n, struct hl_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if ((uint32_t)ids[i] >= engine->vocabulary)
            return hl_fail(err, "token %d is outside the vocabulary of %u", ids[i], engine->vocabulary);
    if (n > engine->context)
        return hl_fail(err, "%u tokens do not fit in the context of %u; raise --ctx", n, engine->context);
    struct hl_batch batch;
    struct hl_sequence sequence;
    if (hl_batch_open(engine, &batch, err) < 0)
        return -1;
    int result = hl_sequence_open(engine, &sequence, err);
    if (result == 0) {
        result = hl_sequence_reserve(engine, &sequence, n, err);
        if (result == 0)
            result = run_tokens(o, engine, ids, n, &batch, &sequence, err);
        hl_sequence_close(engine, &sequence);
    }
    hl_batch_close(&batch);
    return result;
}

int hl_cmd_logits(int argc, char **argv)
{
    struct options o = {.tokens = NULL};
    struct hl_error err;
    struct hl_model *model;
    struct hl_engine *engine;
    HL_FREE int32_t *ids = NULL;
    uint32_t n = 0;
    if (parse(argc, argv, &o, &err) < 0)
        return hl_cli_report("logits", &err);
    if (parse_tokens(o.tokens, &ids, &n, &err) < 0)
        return hl_cli_report("logits", &err);
    if (!o.common.engine.batch)
        o.common.engine.batch = HL_BATCH_DEFAULT;
    o.common.engine.outputs = o.all ? o.common.engine.batch : 1;
    if (hl_common_open(&o.common, &model, &engine, &err) < 0)
        return hl_cli_report("logits", &err);
    int result = run(&o, engine, ids, n, &err);
    hl_common_close(model, engine);
    return result < 0 ? hl_cli_report("logits", &err) : 0;
}
