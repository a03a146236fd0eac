/* base/options.c: every kind of option with its bounds, all forms of a command line, and all errors. */
#include "base/cleanup.h"
#include "base/options.h"
#include "base/sizes.h"
#include "tests/unit/check.h"
#include <stdlib.h>

enum { WORDS_MOST = 48 };

/* The variables of the table below. */
struct values {
    bool json, verbose;
    const char *output, *listen;
    struct hl_option_texts models;
    uint32_t jobs, tokens, seed;
    float temperature;
    uint64_t size;
    unsigned quant;
    char custom[16];
};

static int take_custom(const char *value, void *where, struct hl_error *err)
{
    if (strcmp(value, "bad") == 0)
        return hl_fail_as(err, HL_ERROR_USAGE, "--custom must not be bad");
    snprintf(where, 16, "<%s>", value);
    return 0;
}

static const char *const quants[] = {"keep", "q8", "q4", NULL};

/* Splits `line` at spaces and parses it; "''" is an empty word. Returns what hl_options_parse() does; `rest` becomes the
 * operands, joined by spaces. */
static int parse(const char *line, int most, struct values *v, char rest[256], struct hl_error *err)
{
    static char text[1024];
    char *argv[WORDS_MOST], *state = NULL;
    int argc = 0;
    *v = (struct values){.seed = 7};
    snprintf(text, sizeof text, "verb %s", line);
    for (char *word = strtok_r(text, " ", &state); word && argc < WORDS_MOST - 1; word = strtok_r(NULL, " ", &state))
        argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    argv[argc] = NULL;
    const struct hl_option table[] = {
        hl_option_flag("-j, --json", &v->json, "JSON"),
        hl_option_flag("-v", &v->verbose, "say more"),
        hl_option_text("-o, --output FILE", &v->output, "a file"),
        hl_option_text("--listen WHERE", &v->listen, "an address"),
        hl_option_texts("--model PATH", &v->models, "models"),
        hl_option_count("--jobs N", 1, 64, &v->jobs, "jobs"),
        hl_option_count("-n N", 0, UINT32_MAX, &v->tokens, "tokens"),
        hl_option_count("--seed S", 0, UINT32_MAX, &v->seed, "seed"),
        hl_option_real("--temp T", 0, 2, &v->temperature, "temperature"),
        hl_option_size("--shard-size SIZE", &v->size, "size"),
        hl_option_word("--quant TYPE", quants, &v->quant, "type"),
        hl_option_custom("--custom X", take_custom, v->custom, "custom"),
    };
    const struct hl_options options = {"usage: verb\n", table, HL_COUNT(table), "examples:\n", "SOURCE", 0, most};
    int first = hl_options_parse(&options, argc, argv, err);
    rest[0] = 0;
    for (int i = first; first > 0 && i < argc; i++) {
        size_t used = strlen(rest);
        snprintf(rest + used, 256 - used, "%s%s", used ? " " : "", argv[i]);
    }
    return first;
}

static struct values v;
static struct hl_error err;
static char rest[256];

static bool takes(const char *line)
{
    return CHECK_SAY(parse(line, 4, &v, rest, &err) > 0, "%s: %s", line, err.message);
}

static void refuses(const char *line, const char *message)
{
    err = (struct hl_error){.kind = HL_ERROR_FAILED};
    CHECK_SAY(parse(line, 1, &v, rest, &err) == -1, "%s: taken", line);
    CHECK_SAY(err.kind == HL_ERROR_USAGE, "%s: kind %d", line, (int)err.kind);
    CHECK_SAY(strcmp(err.message, message) == 0, "%s: '%s' instead of '%s'", line, err.message, message);
}

static void test_kinds(void)
{
    CHECK(takes("") && !v.json && !v.output && v.seed == 7 && !*rest);
    CHECK(takes("--json") && v.json);
    CHECK(takes("--output f") && strcmp(v.output, "f") == 0);
    CHECK(takes("--output ''") && strcmp(v.output, "") == 0);
    CHECK(takes("--output a --output b") && strcmp(v.output, "b") == 0);
    CHECK(takes("--output --json") && strcmp(v.output, "--json") == 0 && !v.json);
    CHECK(takes("--model a --json --model=b") && v.models.n == 2 && v.json);
    CHECK(strcmp(v.models.item[0], "a") == 0 && strcmp(v.models.item[1], "b") == 0);
    CHECK(takes("--jobs 1") && v.jobs == 1);
    CHECK(takes("--jobs 64") && v.jobs == 64);
    CHECK(takes("-n 4294967295") && v.tokens == UINT32_MAX);
    CHECK(takes("--temp 0") && v.temperature == 0);
    CHECK(takes("--temp 1.5") && v.temperature == 1.5f);
    CHECK(takes("--temp 2") && v.temperature == 2);
    CHECK(takes("--quant keep") && v.quant == 0);
    CHECK(takes("--quant q4") && v.quant == 2);
    CHECK(takes("--custom x") && strcmp(v.custom, "<x>") == 0);
}

static void test_sizes(void)
{
    static const struct {
        const char *line;
        uint64_t bytes;
    } sizes[] = {{"0", 0},           {"4096", 4096},
                 {"12B", 12},        {"1K", 1024},
                 {"3m", 3u << 20},   {"512M", 512u << 20},
                 {"2MiB", 2u << 20}, {"1GB", 1u << 30},
                 {"1t", 1ull << 40}, {"16777215T", 16777215ull << 40}};
    char line[64];
    for (size_t i = 0; i < HL_COUNT(sizes); i++) {
        snprintf(line, sizeof line, "--shard-size %s", sizes[i].line);
        CHECK_SAY(takes(line) && v.size == sizes[i].bytes, "%s is %llu", line, (unsigned long long)v.size);
    }
    refuses("--shard-size 1X", "--shard-size must be a size such as 512M or 1G, not '1X'");
    refuses("--shard-size ''", "--shard-size must be a size such as 512M or 1G, not ''");
    refuses("--shard-size -1", "--shard-size must be a size such as 512M or 1G, not '-1'");
    refuses("--shard-size 1Mi", "--shard-size must be a size such as 512M or 1G, not '1Mi'");
    refuses("--shard-size 16777216T", "--shard-size must be a size such as 512M or 1G, not '16777216T'");
}

/* What getopt_long() takes: scripts rely on it. */
static void test_forms(void)
{
    CHECK(takes("--output=f") && strcmp(v.output, "f") == 0);
    CHECK(takes("--output=a=b") && strcmp(v.output, "a=b") == 0);
    CHECK(takes("--output=") && strcmp(v.output, "") == 0);
    CHECK(takes("-o f") && strcmp(v.output, "f") == 0);
    CHECK(takes("-of") && strcmp(v.output, "f") == 0);
    CHECK(takes("-jvof") && v.json && v.verbose && strcmp(v.output, "f") == 0);
    CHECK(takes("-n5") && v.tokens == 5);
    CHECK(takes("--out f --li=x --jo 2 --mo m") && v.output && v.listen && v.jobs == 2 && v.models.n == 1);
    CHECK(takes("a --json b -o f c") && v.json && v.output && strcmp(rest, "a b c") == 0);
    CHECK(takes("a -- --json -o") && !v.json && strcmp(rest, "a --json -o") == 0);
    CHECK(takes("-") && strcmp(rest, "-") == 0);
    CHECK(takes("''") && parse("''", 1, &v, rest, &err) == 1);
}

static void test_errors(void)
{
    refuses("--x", "unknown option '--x'");
    refuses("--x=3", "unknown option '--x'");
    refuses("a --nonsense b", "unknown option '--nonsense'");
    refuses("-x", "unknown option '-x'");
    refuses("-jx", "unknown option '-x'");
    refuses("--j", "option '--j' is ambiguous");
    refuses("--jsonx", "unknown option '--jsonx'");
    refuses("--output", "'--output' needs a value");
    refuses("--jobs", "'--jobs' needs a value");
    refuses("--jo", "'--jobs' needs a value");
    refuses("-o", "'-o' needs a value");
    refuses("-jn", "'-n' needs a value");
    refuses("--json=1", "'--json' takes no value");
    refuses("--jobs 0", "--jobs must be a whole number from 1 to 64, not '0'");
    refuses("--jobs 65", "--jobs must be a whole number from 1 to 64, not '65'");
    refuses("--jobs -1", "--jobs must be a whole number from 1 to 64, not '-1'");
    refuses("--jobs=", "--jobs must be a whole number from 1 to 64, not ''");
    refuses("--jobs 2x", "--jobs must be a whole number from 1 to 64, not '2x'");
    refuses("-n 4294967296", "-n must be a whole number from 0 to 4294967295, not '4294967296'");
    refuses("--temp 2.1", "--temp must be a number from 0 to 2, not '2.1'");
    refuses("--temp nan", "--temp must be a number from 0 to 2, not 'nan'");
    refuses("--temp ''", "--temp must be a number from 0 to 2, not ''");
    refuses("--quant q3", "--quant must be keep, q8 or q4, not 'q3'");
    refuses("--quant ''", "--quant must be keep, q8 or q4, not ''");
    refuses("--custom bad", "--custom must not be bad");
    refuses("a b", "unexpected argument 'b'; expected SOURCE");
    CHECK(parse("a", 0, &v, rest, &err) == -1 && strcmp(err.message, "unexpected argument 'a'; expected SOURCE") == 0);
}

static void test_too_many_texts(void)
{
    char line[HL_OPTIONS_MOST * 16 + 32] = "";
    for (int i = 0; i < HL_OPTIONS_MOST; i++)
        strcat(line, "--model=m ");
    CHECK(takes(line) && v.models.n == HL_OPTIONS_MOST);
    strcat(line, "--model=m");
    refuses(line, "--model may be given at most 32 times");
}

/* The help of a table whose names are short and long, and whose help has to be broken. */
static void test_help(void)
{
    static const char expected[] = "usage: verb\n"
                                   "\n"
                                   "  -o, --output FILE        a file\n"
                                   "  -p N                     a number\n"
                                   "      --json               words words words words words words words words words "
                                   "words words words\n"
                                   "                           words\n"
                                   "                           oci: a line of its own\n"
                                   "  -l, --a-name-that-is-long VALUE\n"
                                   "                           below it\n"
                                   "  -h, --help               print this help\n"
                                   "\n"
                                   "examples:\n";
    const char *text;
    uint32_t count;
    bool flag;
    const struct hl_option table[] = {
        hl_option_text("-o, --output FILE", &text, "a file"),
        hl_option_count("-p N", 0, 1, &count, "a number"),
        hl_option_flag("--json", &flag,
                       "words words words words words words words words words words words words words\n"
                       "oci: a line of its own"),
        hl_option_text("-l, --a-name-that-is-long VALUE", &text, "below it"),
    };
    const struct hl_options options = {"usage: verb\n", table, HL_COUNT(table), "examples:\n", NULL, 0, 0};
    HL_FREE char *written = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&written, &bytes);
    hl_options_help(&options, to);
    fclose(to);
    CHECK_SAY(strcmp(written, expected) == 0, "%s", written);
}

/* --help ends the parsing: what follows it is not looked at. */
static void test_asking_for_help(void)
{
    CHECK(parse("--json --help --nonsense", 0, &v, rest, &err) == -1 && err.kind == HL_ERROR_HELP);
    CHECK(parse("-h a b c", 0, &v, rest, &err) == -1 && err.kind == HL_ERROR_HELP);
    CHECK(parse("--nonsense --help", 0, &v, rest, &err) == -1 && err.kind == HL_ERROR_USAGE);
}

int main(void)
{
    test_kinds();
    test_sizes();
    test_forms();
    test_errors();
    test_too_many_texts();
    test_help();
    test_asking_for_help();
    return check_summary();
}
