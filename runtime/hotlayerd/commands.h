/* The verbs of `hotlayerd`, one file each. */
#ifndef HL_RUNTIME_HOTLAYERD_COMMANDS_H
#define HL_RUNTIME_HOTLAYERD_COMMANDS_H

#include "base/cli.h"
#include "base/options.h"
#include "base/sizes.h"
#include "runtime/engine/engine.h"
#include "runtime/model/model.h"
#include <stdint.h>

int hl_cmd_serve(int argc, char **argv);
int hl_cmd_generate(int argc, char **argv);
int hl_cmd_logits(int argc, char **argv);
int hl_cmd_tokenize(int argc, char **argv);
int hl_cmd_bench(int argc, char **argv);
int hl_cmd_doctor(int argc, char **argv);

/* The options that all commands with a model and an engine share. */
struct hl_common {
    const char *model;
    struct hl_engine_options engine;
    bool kv_chosen; /* else the model chooses the type */
};

/* Rows of a command's table of options. */
/* clang-format off */
#define HL_MODEL_OPTION(path) hl_option_text("--model PATH", path, "a .hot file, or a folder that holds one")
#define HL_ENGINE_OPTIONS(common)                                                                                      \
    hl_option_text("--device NAME", &(common)->engine.device,                                                          \
                   "cpu, cuda, cuda:N, or auto (default): a GPU if there is one, else the CPU"),                       \
    hl_option_word("--load WAY", hl_common_loads, &(common)->engine.load.way,                                          \
                   "map: use the weights in the mapped file; stage: copy them into memory while the first step runs; " \
                   "auto (default): map, for a GPU stage"),                                                            \
    hl_option_count("--threads N", 1, 1024, &(common)->engine.threads,                                                 \
                    "default: one per core, fewer for a small model"),                                                 \
    hl_option_text("--kernels NAME", &(common)->engine.kernels,                                                        \
                   "avx512, avx2 or scalar; default: the best that this CPU supports"),                                \
    hl_option_count("--ctx N", 2, 1u << 24, &(common)->engine.context,                                                 \
                    "positions per sequence; default: the model's, at most 4096"),                                     \
    hl_option_custom("--kv TYPE", hl_common_kv, common,                                                                \
                     "type of the key/value cache: f16, f32 or q8; default: what suits the weights")
/* clang-format on */
#define HL_COMMON_OPTIONS(common) HL_MODEL_OPTION(&(common)->model), HL_ENGINE_OPTIONS(common)

extern const char *const hl_common_loads[]; /* by enum hl_load_way */
hl_option_parser hl_common_kv;              /* of a struct hl_common */

/* Opens the model, its weights and the engine. hl_common_close() takes NULL for what is not open. */
int hl_common_open(const struct hl_common *common, struct hl_model **model, struct hl_engine **engine,
                   struct hl_error *err);
void hl_common_close(struct hl_model *model, struct hl_engine *engine);

#endif
