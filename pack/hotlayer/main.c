/* hotlayer: the command line of the packer. */
#include "hotlayer/version.h"
#include "pack/hotlayer/verbs.h"

static const struct hl_command commands[] = {
    {"pack", hl_cmd_pack, "convert a model into a .hot file, ready for the device"},
    {"image", hl_cmd_image, "bake a .hot file into an OCI image"},
    {"push", hl_cmd_push, "copy an image into a registry"},
    {"pull", hl_cmd_pull, "fetch the model of an image"},
    {"inspect", hl_cmd_inspect, "show the content of a .hot file or an image"},
    {"verify", hl_cmd_verify, "check every checksum of a .hot file or an image"},
    {"synth", hl_cmd_synth, "write a model of random numbers in a real model's shape, for benchmarks"},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    static const struct hl_cli cli = {
        "hotlayer", "Bakes a language model into a container image that answers as soon as its bytes arrive.",
        HL_VERSION, commands};
    return hl_cli_main(&cli, argc, argv);
}
