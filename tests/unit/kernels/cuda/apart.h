/* Runs a part of a test in a process of its own, where it may abort. */
#ifndef HL_TESTS_UNIT_KERNELS_CUDA_APART_H
#define HL_TESTS_UNIT_KERNELS_CUDA_APART_H

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns how the process ended, as waitpid() does, and what it said on stderr. It ends with 0 if `run` returns. */
static inline int run_apart(void (*run)(const void *context), const void *context, char *said, size_t room)
{
    int ends[2], status = -1;
    if (pipe(ends))
        return -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], 2);
        run(context);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < room && (got = read(ends[0], said + n, room - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    return status;
}

#endif
