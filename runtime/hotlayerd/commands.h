/* The verbs of `hotlayerd`, one file each. */
#ifndef HL_RUNTIME_HOTLAYERD_COMMANDS_H
#define HL_RUNTIME_HOTLAYERD_COMMANDS_H

#include "base/cli.h"
#include "runtime/engine/engine.h"
#include "runtime/model/model.h"
#include <stdint.h>

int hl_cmd_serve(int argc, char **argv);
int hl_cmd_generate(int argc, char **argv);
int hl_cmd_logits(int argc, char **argv);
int hl_cmd_tokenize(int argc, char **argv);
int hl_cmd_bench(int argc, char **argv);
int hl_cmd_doctor(int argc, char **argv);

/* Options that all commands with a model and an engine share. */
struct hl_common {
    const char *model;
    struct hl_engine_options engine;
    bool kv_chosen; /* else the model's own choice */
};

enum {
    HL_OPTION_MODEL = 1000,
    HL_OPTION_DEVICE,
    HL_OPTION_LOAD,
    HL_OPTION_THREADS,
    HL_OPTION_KERNELS,
    HL_OPTION_CTX,
    HL_OPTION_KV
};

/* Rows for a getopt_long table. */
#define HL_COMMON_OPTIONS                                                                                              \
    {"model", required_argument, NULL, HL_OPTION_MODEL}, {"device", required_argument, NULL, HL_OPTION_DEVICE},        \
        {"load", required_argument, NULL, HL_OPTION_LOAD}, {"threads", required_argument, NULL, HL_OPTION_THREADS},    \
        {"kernels", required_argument, NULL, HL_OPTION_KERNELS}, {"ctx", required_argument, NULL, HL_OPTION_CTX},      \
    {                                                                                                                  \
        "kv", required_argument, NULL, HL_OPTION_KV                                                                    \
    }

#define HL_COMMON_HELP                                                                                                 \
    "      --model PATH     a .hot file, or a folder that holds one\n"                                                 \
    "      --device NAME    auto (default) or cpu\n"                                                                   \
    "      --load WAY       map: use the weights where they are mapped; stage: copy them into memory while the\n"      \
    "                       first step runs; auto (default): map\n"                                                    \
    "      --threads N      default: one per core, fewer for a small model\n"                                          \
    "      --kernels NAME   avx512, avx2 or scalar (default: the best this CPU has)\n"                                 \
    "      --ctx N          positions per sequence (default: the model's, at most 4096)\n"                             \
    "      --kv TYPE        key/value cache in f16, f32 or q8 (default: what suits the weights)\n"

/* What getopt_long() returned and the command has no use for itself: takes a shared option's value from optarg, and
 * refuses everything else, '?' included, by its name in argv. */
int hl_common_option(struct hl_common *common, int option, char *const *argv, struct hl_error *err);

/* Opens the model, its weights and the engine; the counterpart closes whatever is open. */
int hl_common_open(const struct hl_common *common, struct hl_model **model, struct hl_engine **engine,
                   struct hl_error *err);
void hl_common_close(struct hl_model *model, struct hl_engine *engine);

#endif
