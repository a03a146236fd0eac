/* The verbs of `hotlayer`, one file each. Each gets argv from its own name on and returns the exit status:
 * 0 done, 1 failed, 2 bad usage. Results go to stdout, everything else to stderr. */
#ifndef HL_PACK_COMMANDS_H
#define HL_PACK_COMMANDS_H

#include "hotlayer/error.h"

int hl_cmd_pack(int argc, char **argv);
int hl_cmd_image(int argc, char **argv);
int hl_cmd_inspect(int argc, char **argv);
int hl_cmd_verify(int argc, char **argv);

/* Prints "hotlayer: message" and, after bad usage, where to read on; returns the exit status. */
int hl_report(const char *command, const struct hl_error *err);

#endif
