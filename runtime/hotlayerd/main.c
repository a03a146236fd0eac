/* hotlayerd: the command line of the runtime. */
#include "hotlayer/version.h"
#include "runtime/hotlayerd/commands.h"

static const struct hl_command commands[] = {
    {"serve", hl_cmd_serve, "answer requests over HTTP, as Ollama does"},
    {"generate", hl_cmd_generate, "continue a prompt on the command line"},
    {"logits", hl_cmd_logits, "print the logits after given tokens"},
    {"tokenize", hl_cmd_tokenize, "print the token ids of a text"},
    {"bench", hl_cmd_bench, "measure prefill and decode"},
    {"doctor", hl_cmd_doctor, "report what this machine can do"},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    static const struct hl_cli cli = {"hotlayerd", "Runs a model that `hotlayer pack` has packed.", HL_VERSION,
                                      commands};
    return hl_cli_main(&cli, argc, argv);
}
