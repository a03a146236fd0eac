/* A program with several commands: the command line that both programs share. options.h parses what follows the command. */
#ifndef HL_BASE_CLI_H
#define HL_BASE_CLI_H

#include "base/error.h"
#include <stdint.h>

/* One verb. run() receives argv from the verb's name on and returns the exit status: 0 done, 1 failed, 2 bad usage. */
struct hl_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

struct hl_cli {
    const char *name, *tagline, *version;
    const struct hl_command *commands; /* the last one has no name */
};

/* Runs the command that argv names; answers --help and --version. Returns the exit status. If the reader of stdout has
 * left, ends the program by SIGPIPE and without a message; any other error of writing to stdout is a failure. */
int hl_cli_main(const struct hl_cli *cli, int argc, char **argv);

/* Prints "PROGRAM COMMAND: message" and, after bad usage, a pointer to --help. Returns the exit status, and prints
 * nothing for HL_ERROR_HELP. */
int hl_cli_report(const char *command, const struct hl_error *err);

/* Parse whole and decimal numbers in [least, most]. The error names `option`. */
int hl_cli_count(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *out,
                 struct hl_error *err);
int hl_cli_real(const char *option, const char *text, double least, double most, float *out, struct hl_error *err);

#endif
