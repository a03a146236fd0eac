/* hotlayer: the packer's command line. */
#include "hotlayer/version.h"
#include "pack/commands.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"pack", hl_cmd_pack, "convert a model into a .hot file, ready for the device"},
    {"image", hl_cmd_image, "bake a .hot file into an OCI image"},
    {"inspect", hl_cmd_inspect, "show what is in a .hot file or an image"},
    {"verify", hl_cmd_verify, "check every checksum of a .hot file or an image"},
};

int hl_report(const char *command, const struct hl_error *err)
{
    fprintf(stderr, "hotlayer %s: %s\n", command, err->message);
    if (err->kind == HL_ERROR_USAGE)
        fprintf(stderr, "Try 'hotlayer %s --help'.\n", command);
    return err->kind == HL_ERROR_USAGE ? 2 : 1;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: hotlayer COMMAND [OPTIONS]\n\n"
                "Bakes a language model into a container image that answers as soon as its bytes arrive.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n'hotlayer COMMAND --help' explains one of them, 'hotlayer --version' says which build this is.\n");
}

/* Where a standard stream is closed, the next file opened would take its number, and get its messages. Reading only, so
 * that what is written there still fails. */
static void hold_standard_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(), which says so */
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hotlayer %s\n", HL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            int status = commands[i].run(argc - 1, argv + 1);
            if (fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "hotlayer %s: standard output cannot be written\n", argv[1]);
                return 1;
            }
            return status;
        }
    fprintf(stderr, "hotlayer: '%s' is no command\n", argv[1]);
    usage(stderr);
    return 2;
}
