/* Asks a credential helper:
 *
 *   docker-credential-NAME get   <  "HOST"   >  {"ServerURL": ..., "Username": ..., "Secret": ...}
 *
 * If the helper has no credentials, it exits with status 1 and a fixed sentence on stdout, where helpers write their
 * other errors too. stdout may hold a secret and is never shown, whatever the status; the first line of stderr is
 * shown.
 *
 * The program runs in its own process group, so that a timeout kills all of it (many helpers are shell scripts around
 * another program). posix_spawn() starts it, which is safe with other threads. Its input is in the pipe before it
 * starts: a helper that does not read it must not kill this process with SIGPIPE. The end of the program is polled,
 * since SIGCHLD belongs to the host program. That of the pipe proves nothing: a daemon that the helper started keeps it
 * open.
 */
#include "registry/remote/helper.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "registry/oci/document.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#define NOT_FOUND "credentials not found in native keychain"
#define OUTPUT_LIMIT ((size_t)256 << 10) /* a service account's key is a secret of several KB */
#define MESSAGE_LIMIT ((size_t)4 << 10)
#define PIECE ((size_t)4 << 10)
#define PIPE_PIECES 32u /* more than a pipe holds */
#define POLL_MS 10

struct stream {
    int fd; /* -1: at its end */
    size_t limit;
    struct hl_secret_text text;
    bool cut;
};

struct helper {
    char program[128]; /* for messages */
    pid_t pid;         /* 0: not running */
    int status;        /* of waitpid() */
    struct stream out, said;
};

static void stream_close(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

static void helper_close(struct helper *helper)
{
    if (helper->pid > 0) {
        kill(-helper->pid, SIGKILL);
        while (waitpid(helper->pid, &helper->status, 0) < 0 && errno == EINTR)
            ;
    }
    stream_close(&helper->out);
    stream_close(&helper->said);
    hl_secret_text_free(&helper->out.text);
    hl_secret_text_free(&helper->said.text);
}

#define HELPER __attribute__((cleanup(helper_close))) struct helper

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Finds the program in an absolute folder of PATH: "." and "" could run a file of a stranger's repository. */
static int find_program(const char *program, char path[PATH_MAX], struct hl_error *err)
{
    const char *folders = getenv("PATH");
    for (const char *at = folders ? folders : "/usr/local/bin:/usr/bin:/bin"; *at;) {
        size_t n = strcspn(at, ":");
        if (*at == '/' && n + strlen(program) + 2 <= PATH_MAX) {
            snprintf(path, PATH_MAX, "%.*s/%s", (int)n, at, program);
            if (!access(path, X_OK))
                return 0;
        }
        at += n + (at[n] == ':');
    }
    return hl_fail(err, "%s is not in PATH; install it, or remove it from the file and run 'docker login'", program);
}

/* Makes a pipe whose ends are not 0, 1 or 2, even if those are closed: the child's are made from them one by one. */
static int make_pipe(int ends[2], struct hl_error *err)
{
    int made[2];
    ends[0] = ends[1] = -1;
    if (pipe2(made, O_CLOEXEC) < 0)
        return hl_fail(err, "cannot create a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(made[i], F_DUPFD_CLOEXEC, 3);
        close(made[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    hl_fail(err, "cannot create a pipe: %s", strerror(errno));
    hl_cleanup_close(&ends[0]);
    hl_cleanup_close(&ends[1]);
    return -1;
}

static int spawn(struct helper *helper, const char *path, int in, int out, int said)
{
    char program[sizeof helper->program], get[] = "get";
    char *const argv[] = {program, get, NULL};
    memcpy(program, helper->program, sizeof program);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&files))
        return ENOMEM;
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    for (size_t i = 0; i < 6; i++)
        sigaddset(&usual, (const int[]){SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}[i]);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawn_file_actions_adddup2(&files, in, 0);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&files, out, 1);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&files, said, 2);
    failed = failed ? failed : posix_spawn(&helper->pid, path, &files, &attributes, argv, environ);
    if (failed)
        helper->pid = 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return failed;
}

/* Runs the program with `server` as its input. */
static int start(struct helper *helper, const char *server, struct hl_error *err)
{
    char path[PATH_MAX];
    int in[2], out[2], said[2];
    if (find_program(helper->program, path, err) < 0)
        return -1;
    if (make_pipe(in, err) < 0)
        return -1;
    HL_CLOSE int in_read = in[0];
    ssize_t written = write(in[1], server, strlen(server)); /* fits into an empty pipe */
    close(in[1]);
    if (written != (ssize_t)strlen(server))
        return hl_fail(err, "cannot send the host to %s", helper->program);
    if (make_pipe(out, err) < 0)
        return -1;
    HL_CLOSE int out_write = out[1];
    helper->out.fd = out[0];
    if (make_pipe(said, err) < 0)
        return -1;
    HL_CLOSE int said_write = said[1];
    helper->said.fd = said[0];
    int failed = spawn(helper, path, in_read, out_write, said_write);
    return failed ? hl_fail(err, "%s cannot be started: %s", path, strerror(failed)) : 0;
}

/* Reads the available bytes; drops those beyond the limit. */
static void stream_read(struct stream *stream)
{
    char piece[PIECE];
    ssize_t n = read(stream->fd, piece, sizeof piece);
    if (n > 0) {
        size_t room = stream->limit - stream->text.size, fit = (size_t)n < room ? (size_t)n : room;
        hl_secret_add_bytes(&stream->text, piece, fit);
        stream->cut |= fit < (size_t)n;
        explicit_bzero(piece, sizeof piece);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        stream_close(stream);
    }
}

/* Waits up to `wait_ms` for output of either stream and reads it; returns whether there was any. */
static bool read_some(struct helper *helper, int wait_ms)
{
    struct pollfd fds[] = {{helper->out.fd, POLLIN, 0}, {helper->said.fd, POLLIN, 0}};
    if (poll(fds, 2, wait_ms) <= 0)
        return false;
    if (fds[0].revents)
        stream_read(&helper->out);
    if (fds[1].revents)
        stream_read(&helper->said);
    return true;
}

/* Returns whether the program has ended. Then reads what it left in the pipes, and no more: a process that it started
 * may keep them open, and write forever. */
static bool ended(struct helper *helper)
{
    pid_t pid = waitpid(helper->pid, &helper->status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return false;
    if (pid < 0)
        helper->status = 0; /* SIGCHLD is ignored, so the status is lost: the output will tell */
    helper->pid = 0;
    for (unsigned i = 0; i < PIPE_PIECES && (helper->out.fd >= 0 || helper->said.fd >= 0) && read_some(helper, 0); i++)
        ;
    return true;
}

static int wait_for(struct helper *helper, unsigned seconds, struct hl_error *err)
{
    int64_t end = now_ms() + (int64_t)seconds * 1000;
    while (!ended(helper)) {
        if (helper->out.cut)
            return hl_fail(err, "%s answers with more than %zu KiB", helper->program, OUTPUT_LIMIT >> 10);
        if (now_ms() >= end)
            return hl_fail(err, "%s did not answer within %u s; is it waiting for a keychain to be unlocked?",
                           helper->program, seconds);
        read_some(helper, POLL_MS);
    }
    if (helper->out.text.failed || helper->said.text.failed)
        return hl_no_memory(err);
    return 0;
}

/* Copies the first line of stderr, fit for a terminal; "" if there is none. */
static void first_line(const struct stream *said, char *line, size_t size)
{
    HL_FREE char *text = said->text.text ? strdup(said->text.text + strspn(said->text.text, " \t\r\n")) : NULL;
    if (text)
        text[strcspn(text, "\r\n")] = 0;
    hl_text_copy(line, size, text);
}

/* Makes the error about a failed helper, without secrets. */
static int refused(const struct helper *helper, const char *server, struct hl_error *err)
{
    char line[256], how[48];
    first_line(&helper->said, line, sizeof line);
    if (WIFSIGNALED(helper->status))
        snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(helper->status));
    else
        snprintf(how, sizeof how, "failed (exit %d)", WEXITSTATUS(helper->status));
    if (*line)
        return hl_fail(err, "%s %s: %s", helper->program, how, line);
    return hl_fail(err, "%s %s; 'echo %s | %s get' shows why", helper->program, how, server, helper->program);
}

static int read_answer(const struct helper *helper, struct hl_credentials *out, struct hl_error *err)
{
    HL_SECRET_JSON cJSON *json = NULL;
    struct hl_view view = {(const uint8_t *)helper->out.text.text, helper->out.text.size};
    if (!view.data || hl_json_parse(view, "its answer", &json, err) < 0)
        return hl_fail(err, "%s: its answer is not the JSON of a credential helper", helper->program);
    const char *user = hl_json_text(json, "Username"), *secret = hl_json_text(json, "Secret");
    if (!user || !secret)
        return hl_fail(err, "%s: its answer lacks \"Username\" or \"Secret\"", helper->program);
    if (!*user && !*secret)
        return 0;
    if (!strcmp(user, "<token>"))
        return (out->identity_token = hl_secret_copy(secret, err)) ? 0 : -1;
    out->user = hl_secret_copy(user, err);
    out->secret = hl_secret_copy(secret, err);
    return out->user && out->secret ? 0 : -1;
}

static bool says_not_found(const struct stream *stream)
{
    return stream->text.text && strstr(stream->text.text, NOT_FOUND);
}

int hl_helper_get(const char *name, const char *server, unsigned seconds, struct hl_credentials *out,
                  struct hl_error *err)
{
    HELPER helper = {.out = {.fd = -1, .limit = OUTPUT_LIMIT}, .said = {.fd = -1, .limit = MESSAGE_LIMIT}};
    *out = (struct hl_credentials){0};
    snprintf(helper.program, sizeof helper.program, "docker-credential-%s", name);
    if (strchr(name, '/'))
        return hl_fail(err, "a credential helper is given by name, not by path");
    if (start(&helper, server, err) < 0 || wait_for(&helper, seconds, err) < 0)
        return -1;
    if (!WIFEXITED(helper.status) || WEXITSTATUS(helper.status))
        return says_not_found(&helper.out) || says_not_found(&helper.said) ? 0 : refused(&helper, server, err);
    return read_answer(&helper, out, err);
}
