/* hotlayerd: the runtime's command line. */
#include "hotlayer/version.h"
#include "runtime/commands.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"serve", hl_cmd_serve, "answer requests over HTTP, as Ollama does"},
    {"generate", hl_cmd_generate, "continue a prompt on the command line"},
    {"logits", hl_cmd_logits, "print the logits behind given tokens"},
    {"tokenize", hl_cmd_tokenize, "print a text's token numbers"},
    {"bench", hl_cmd_bench, "measure prefill and decode"},
    {"doctor", hl_cmd_doctor, "say what this machine can do"},
};

int hl_report(const char *command, const struct hl_error *err)
{
    fprintf(stderr, "hotlayerd %s: %s\n", command, err->message);
    if (err->kind == HL_ERROR_USAGE)
        fprintf(stderr, "Try 'hotlayerd %s --help'.\n", command);
    return err->kind == HL_ERROR_USAGE ? 2 : 1;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: hotlayerd COMMAND [OPTIONS]\n\n"
                "Runs a model that `hotlayer pack` has laid out for the device.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n'hotlayerd COMMAND --help' explains one of them, 'hotlayerd --version' says which build this is.\n");
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
    signal(SIGPIPE, SIG_IGN); /* a closed pipe or connection is an error of write(), which is handled */
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hotlayerd %s\n", HL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            int status = commands[i].run(argc - 1, argv + 1);
            if (fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "hotlayerd %s: standard output cannot be written\n", argv[1]);
                return 1;
            }
            return status;
        }
    fprintf(stderr, "hotlayerd: '%s' is no command\n", argv[1]);
    usage(stderr);
    return 2;
}
