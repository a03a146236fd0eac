/* Command lines. Results go to stdout, everything else to stderr. A command fails if its results cannot be written. */
#include "base/cli.h"
#include "base/text.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

int hl_cli_report(const char *command, const struct hl_error *err)
{
    const char *program = program_invocation_short_name;
    if (err->kind == HL_ERROR_HELP)
        return 0;
    char message[sizeof err->message];
    hl_text_copy(message, sizeof message, err->message); /* names from a file could control the terminal */
    fprintf(stderr, "%s %s: %s\n", program, command, message);
    if (err->kind == HL_ERROR_USAGE)
        fprintf(stderr, "Try '%s %s --help'.\n", program, command);
    return err->kind == HL_ERROR_USAGE ? 2 : 1;
}

int hl_cli_count(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *out,
                 struct hl_error *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || number < least || number > most)
        return hl_fail_as(err, HL_ERROR_USAGE, "%s must be a whole number from %u to %u, not '%s'", option, least, most,
                          text);
    *out = (uint32_t)number;
    return 0;
}

int hl_cli_real(const char *option, const char *text, double least, double most, float *out, struct hl_error *err)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= least && number <= most))
        return hl_fail_as(err, HL_ERROR_USAGE, "%s must be a number from %g to %g, not '%s'", option, least, most,
                          text);
    *out = (float)number;
    return 0;
}

/* Fills closed standard streams with /dev/null: the next file that is opened would take their numbers and receive their
 * messages. Opens it for reading, so that writing to such a stream still fails. */
static void hold_standard_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

static void usage(const struct hl_cli *cli, FILE *to)
{
    fprintf(to, "usage: %s COMMAND [OPTIONS]\n\n%s\n\n", cli->name, cli->tagline);
    for (const struct hl_command *command = cli->commands; command->name; command++)
        fprintf(to, "  %-9s %s\n", command->name, command->summary);
    fprintf(to, "\n'%s COMMAND --help' explains a command, '%s --version' prints the version.\n", cli->name, cli->name);
}

static int run(const struct hl_cli *cli, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (const struct hl_command *command = cli->commands; command->name; command++)
        if (strcmp(name, command->name) == 0)
            return command->run(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        usage(cli, stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("%s %s\n", cli->name, cli->version);
        return 0;
    }
    if (*name)
        fprintf(stderr, "%s: unknown command '%s'\n", cli->name, name);
    usage(cli, stderr);
    return 2;
}

/* Returns true if stdout is a pipe without a reader: the write that failed may be long past, and its errno lost. */
static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

/* Ends the program as a filter ends whose reader has left: `hotlayer inspect FILE | head`. Does nothing if the parent
 * has blocked the signal. */
static void end_by_sigpipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

int hl_cli_main(const struct hl_cli *cli, int argc, char **argv)
{
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* for sockets and helpers' pipes, where write() reports the error */
    int status = run(cli, argc, argv);
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno == EPIPE || reader_is_gone())
        end_by_sigpipe();
    else
        fprintf(stderr, "%s: cannot write to standard output\n", cli->name);
    return 1;
}
