/* The options of a command: one table parses them and prints --help.
 *
 *     const struct hl_option table[] = {
 *         hl_option_text("-o, --output FILE", &o->output, "the file to write"),
 *         hl_option_count("--threads N", 1, 1024, &o->threads, "default: one per core"),
 *         hl_option_flag("--json", &o->json, "print the result as JSON"),
 *     };
 *     const struct hl_options options = {about, table, HL_COUNT(table), examples, "one SOURCE", 1, 1};
 *     int first = hl_options_parse(&options, argc, argv, err);
 *
 * The first argument of each row is what --help shows: a letter, a name, or both, and the name of the value. Rows are
 * made by functions, so that the compiler compares the type of the variable with the kind of the option. */
#ifndef HL_BASE_OPTIONS_H
#define HL_BASE_OPTIONS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL_OPTIONS_MOST 32 /* rows in a table, and texts in a list */

/* The values of an option that may be repeated, in order. */
struct hl_option_texts {
    const char *item[HL_OPTIONS_MOST];
    size_t n;
};

/* Takes a value that needs more than the kinds below, and fails with HL_ERROR_USAGE. */
typedef int hl_option_parser(const char *value, void *where, struct hl_error *err);

struct hl_option {
    const char *name; /* "-o, --output FILE"; without a value for a flag */
    enum {
        HL_OPTION_FLAG,
        HL_OPTION_TEXT,
        HL_OPTION_TEXTS,
        HL_OPTION_COUNT,
        HL_OPTION_REAL,
        HL_OPTION_SIZE,
        HL_OPTION_WORD,
        HL_OPTION_PARSER
    } kind;
    void *where;
    const char *help; /* hl_options_help() breaks its lines; "\n" begins a new one */
    double least, most;
    const char *const *words; /* up to NULL */
    hl_option_parser *parser;
};

/* Sets *where to true. */
static inline struct hl_option hl_option_flag(const char *name, bool *where, const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_FLAG, .where = where, .help = help};
}

/* The last value wins, as for all kinds but texts. */
static inline struct hl_option hl_option_text(const char *name, const char **where, const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_TEXT, .where = (void *)where, .help = help};
}

static inline struct hl_option hl_option_texts(const char *name, struct hl_option_texts *where, const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_TEXTS, .where = where, .help = help};
}

/* A whole number in [least, most]. */
static inline struct hl_option hl_option_count(const char *name, uint32_t least, uint32_t most, uint32_t *where,
                                               const char *help)
{
    return (struct hl_option){
        .name = name, .kind = HL_OPTION_COUNT, .where = where, .help = help, .least = least, .most = most};
}

/* A decimal number in [least, most]. */
static inline struct hl_option hl_option_real(const char *name, double least, double most, float *where,
                                              const char *help)
{
    return (struct hl_option){
        .name = name, .kind = HL_OPTION_REAL, .where = where, .help = help, .least = least, .most = most};
}

/* Bytes: "4096", "512M", "1G", "2MiB", in powers of 1024. */
static inline struct hl_option hl_option_size(const char *name, uint64_t *where, const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_SIZE, .where = where, .help = help};
}

/* One of `words`; *where becomes its index. */
static inline struct hl_option hl_option_word(const char *name, const char *const *words, unsigned *where,
                                              const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_WORD, .where = where, .help = help, .words = words};
}

static inline struct hl_option hl_option_custom(const char *name, hl_option_parser *parser, void *where,
                                                const char *help)
{
    return (struct hl_option){.name = name, .kind = HL_OPTION_PARSER, .where = where, .help = help, .parser = parser};
}

struct hl_options {
    const char *about; /* usage and description, above the table in --help */
    const struct hl_option *option;
    size_t n;             /* at most HL_OPTIONS_MOST; -h, --help is added */
    const char *foot;     /* notes and examples */
    const char *operands; /* what the command expects besides options, for errors; NULL: no operand */
    int least, most;      /* how many of them */
};

/* Parses a command line as getopt_long() does: options may follow operands, "--" ends them, a value may be joined as
 * in --name=VALUE and -nVALUE, and the beginning of a name suffices if it is unique. Moves the operands to the end of
 * argv and returns the index of the first. -1: bad usage (HL_ERROR_USAGE), or help was printed to stdout
 * (HL_ERROR_HELP). */
int hl_options_parse(const struct hl_options *options, int argc, char **argv, struct hl_error *err);

void hl_options_help(const struct hl_options *options, FILE *to);

#endif
