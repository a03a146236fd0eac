/* The command line of a program with several commands: hotlayer and hotlayerd. */
#ifndef HL_BASE_CLI_H
#define HL_BASE_CLI_H

#include "base/error.h"
#include <stdint.h>

/* A command. run() gets argv from the command's name on. It returns the exit status: 0 done, 1 failed, 2 bad usage. */
struct hl_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

struct hl_cli {
    const char *name, *tagline, *version;
    const struct hl_command *commands; /* the last one has no name */
};

/* Does the work of main(): finds the command and runs it; answers --help and --version. */
int hl_cli_main(const struct hl_cli *cli, int argc, char **argv);

/* Prints "PROGRAM COMMAND: message" and, after bad usage, how to get help. Returns the exit status. */
int hl_cli_report(const char *command, const struct hl_error *err);

/* Parse a whole and a decimal number in [least, most]. The error names `option`. */
int hl_cli_count(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *out,
                 struct hl_error *err);
int hl_cli_real(const char *option, const char *text, double least, double most, float *out, struct hl_error *err);

#endif
