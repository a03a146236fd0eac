/* The verbs of `hotlayer`, one file each. */
#ifndef HL_PACK_HOTLAYER_VERBS_H
#define HL_PACK_HOTLAYER_VERBS_H

#include "base/cli.h"

int hl_cmd_pack(int argc, char **argv);
int hl_cmd_image(int argc, char **argv);
int hl_cmd_push(int argc, char **argv);
int hl_cmd_pull(int argc, char **argv);
int hl_cmd_inspect(int argc, char **argv);
int hl_cmd_verify(int argc, char **argv);
int hl_cmd_synth(int argc, char **argv);

#endif
