/* Variables that release what they hold at the end of their scope. To keep it, set the variable to NULL or -1. */
#ifndef HL_BASE_CLEANUP_H
#define HL_BASE_CLEANUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void hl_cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void hl_cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void hl_cleanup_fclose(FILE **file)
{
    if (*file)
        fclose(*file);
}

#define HL_FREE __attribute__((cleanup(hl_cleanup_free)))
#define HL_CLOSE __attribute__((cleanup(hl_cleanup_close)))
#define HL_FCLOSE __attribute__((cleanup(hl_cleanup_fclose)))

#endif
