/* A table of options becomes one for getopt_long(), which knows the conventions of command lines. Values of getopt_long()
 * are NAMED + the row's number for a long name, and the letter itself for a letter: so an error can say which of the
 * two was written. */
#include "base/options.h"
#include "base/cli.h"
#include "base/sizes.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#define NAME_BYTES 32
#define HELP_COLUMNS 100
#define HELP_INDENT 27 /* of the help's column; a longer name gets a line of its own */

enum { NAMED = 256 };

struct parser {
    char name[HL_OPTIONS_MOST + 1][NAME_BYTES]; /* "--output", or "-p" of an option without a long name */
    struct option longs[HL_OPTIONS_MOST + 2];
    char letters[2 * HL_OPTIONS_MOST + 4]; /* ":o:h" */
    const struct hl_option *row[HL_OPTIONS_MOST + 1];
    size_t n;
};

/* "-o, --output FILE" -> 'o'; 0: none. */
static char letter_of(const char *name)
{
    return name[1] == '-' ? 0 : name[1];
}

/* "-o, --output FILE" -> "--output"; "-p N" -> "-p". */
static void copy_name(const char *from, char out[NAME_BYTES])
{
    const char *name = strstr(from, "--");
    name = name ? name : from;
    size_t length = strcspn(name, " ");
    assert(length < NAME_BYTES);
    memcpy(out, name, length);
    out[length] = 0;
}

static void add_row(struct parser *p, const struct hl_option *row)
{
    size_t i = p->n++, used = strlen(p->letters), named = 0;
    int argument = row->kind == HL_OPTION_FLAG ? no_argument : required_argument;
    assert(i <= HL_OPTIONS_MOST && *row->name == '-');
    copy_name(row->name, p->name[i]);
    p->row[i] = row;
    while (p->longs[named].name)
        named++;
    if (p->name[i][1] == '-')
        p->longs[named] = (struct option){p->name[i] + 2, argument, NULL, NAMED + (int)i};
    if (letter_of(row->name)) {
        p->letters[used++] = letter_of(row->name);
        p->letters[used] = argument == required_argument ? ':' : 0;
    }
}

static size_t find_row(const struct parser *p, int option)
{
    if (option >= NAMED)
        return (size_t)(option - NAMED);
    size_t i = 0;
    while (i < p->n && letter_of(p->row[i]->name) != option)
        i++;
    assert(i < p->n); /* getopt_long() returns letters of the table alone */
    return i;
}

/* ':' and '?' of getopt_long(). `written` is the argument that it stopped at. */
static int refuse(const struct parser *p, int option, const char *written, struct hl_error *err)
{
    int length = (int)strcspn(written, "=");
    size_t similar = 0;
    if (optopt >= NAMED)
        return hl_fail_as(err, HL_ERROR_USAGE, option == ':' ? "'%s' needs a value" : "'%s' takes no value",
                          p->name[optopt - NAMED]);
    if (optopt)
        return hl_fail_as(err, HL_ERROR_USAGE, option == ':' ? "'-%c' needs a value" : "unknown option '-%c'", optopt);
    for (size_t i = 0; i < p->n; i++)
        similar += length > 2 && strncmp(p->name[i], written, (size_t)length) == 0;
    return hl_fail_as(err, HL_ERROR_USAGE, similar ? "option '%.*s' is ambiguous" : "unknown option '%.*s'",
                      length > 200 ? 200 : length, written);
}

static int parse_size(const char *name, const char *text, uint64_t *out, struct hl_error *err)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    uint64_t factor = unit ? 1ull << (10 * (unit - units + 1)) : 1;
    if (unit)
        end++;
    if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0)
        end += strlen(end);
    if (!isdigit((unsigned char)*text) || errno || *end || !hl_mul(number, factor, out))
        return hl_fail_as(err, HL_ERROR_USAGE, "%s must be a size such as 512M or 1G, not '%.100s'", name, text);
    return 0;
}

static int parse_word(const char *name, const char *text, const struct hl_option *row, struct hl_error *err)
{
    char list[256] = "";
    for (unsigned i = 0; row->words[i]; i++) {
        size_t used = strlen(list);
        if (strcmp(text, row->words[i]) == 0) {
            *(unsigned *)row->where = i;
            return 0;
        }
        snprintf(list + used, sizeof list - used, "%s%s", !i ? "" : row->words[i + 1] ? ", " : " or ", row->words[i]);
    }
    return hl_fail_as(err, HL_ERROR_USAGE, "%s must be %s, not '%.100s'", name, list, text);
}

static int add_text(const char *name, const char *text, struct hl_option_texts *list, struct hl_error *err)
{
    if (list->n == HL_COUNT(list->item))
        return hl_fail_as(err, HL_ERROR_USAGE, "%s may be given at most %zu times", name, HL_COUNT(list->item));
    list->item[list->n++] = text;
    return 0;
}

static int take(const struct hl_option *row, const char *name, const char *value, struct hl_error *err)
{
    switch (row->kind) {
    case HL_OPTION_FLAG:
        *(bool *)row->where = true;
        return 0;
    case HL_OPTION_TEXT:
        *(const char **)row->where = value;
        return 0;
    case HL_OPTION_TEXTS:
        return add_text(name, value, row->where, err);
    case HL_OPTION_COUNT:
        return hl_cli_count(name, value, (uint32_t)row->least, (uint32_t)row->most, row->where, err);
    case HL_OPTION_REAL:
        return hl_cli_real(name, value, row->least, row->most, row->where, err);
    case HL_OPTION_SIZE:
        return parse_size(name, value, row->where, err);
    case HL_OPTION_WORD:
        return parse_word(name, value, row, err);
    case HL_OPTION_PARSER:
        return row->parser(value, row->where, err);
    }
    return -1;
}

static int check_operands(const struct hl_options *options, int argc, char **argv, struct hl_error *err)
{
    if (argc - optind > options->most)
        return hl_fail_as(err, HL_ERROR_USAGE, "unexpected argument '%.200s'%s%s", argv[optind + options->most],
                          options->operands ? "; expected " : "", options->operands ? options->operands : "");
    if (argc - optind < options->least)
        return hl_fail_as(err, HL_ERROR_USAGE, "expected %s", options->operands);
    return optind;
}

int hl_options_parse(const struct hl_options *options, int argc, char **argv, struct hl_error *err)
{
    bool help = false;
    const struct hl_option help_row = hl_option_flag("-h, --help", &help, "");
    struct parser p = {.letters = ":"};
    for (size_t i = 0; i < options->n; i++)
        add_row(&p, &options->option[i]);
    add_row(&p, &help_row);
    optind = 0; /* glibc: start from the beginning */
    for (int option; (option = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1;) {
        if (option == ':' || option == '?')
            return refuse(&p, option, argv[optind - 1], err);
        size_t row = find_row(&p, option);
        if (take(p.row[row], p.name[row], optarg, err) < 0)
            return -1;
        if (help) {
            hl_options_help(options, stdout);
            return hl_fail_as(err, HL_ERROR_HELP, "%s", "");
        }
    }
    return check_operands(options, argc, argv, err);
}

/* Prints `text` from column HELP_INDENT on, its lines broken between words. The cursor is at that column. */
static void print_help(const char *text, FILE *to)
{
    for (size_t column = HELP_INDENT; *text;) {
        size_t length = strcspn(text, " \n");
        if (column > HELP_INDENT && (text[-1] == '\n' || column + 1 + length > HELP_COLUMNS)) {
            fprintf(to, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        } else if (column > HELP_INDENT) {
            putc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", (int)length, text);
        column += length;
        text += length + (text[length] != 0);
    }
    putc('\n', to);
}

void hl_options_help(const struct hl_options *options, FILE *to)
{
    fputs(options->about, to);
    putc('\n', to);
    for (size_t i = 0; i < options->n; i++) {
        const struct hl_option *row = &options->option[i];
        int used = fprintf(to, "  %s%s", letter_of(row->name) ? "" : "    ", row->name);
        if (used + 2 > HELP_INDENT)
            fprintf(to, "\n%*s", HELP_INDENT, "");
        else
            fprintf(to, "%*s", HELP_INDENT - used, "");
        print_help(row->help, to);
    }
    fprintf(to, "  %-*s%s\n\n%s", HELP_INDENT - 2, "-h, --help", "print this help", options->foot);
}
