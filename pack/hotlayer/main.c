/* hotlayer: the packer's command line. */
#include "hotlayer/version.h"
#include "pack/hotlayer/verbs.h"

static const struct hl_command commands[] = {
    {"pack", hl_cmd_pack, "convert a model into a .hot file, ready for the device"},
    {"image", hl_cmd_image, "bake a .hot file into an OCI image"},
    {"push", hl_cmd_push, "carry an image into a registry"},
    {"pull", hl_cmd_pull, "fetch the model that is in an image"},
    {"inspect", hl_cmd_inspect, "show what is in a .hot file or an image"},
    {"verify", hl_cmd_verify, "check every checksum of a .hot file or an image"},
    {"synth", hl_cmd_synth, "make a model of random numbers in a real one's shape, to measure with"},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    static const struct hl_cli cli = {
        "hotlayer", "Bakes a language model into a container image that answers as soon as its bytes arrive.",
        HL_VERSION, commands};
    return hl_cli_main(&cli, argc, argv);
}
