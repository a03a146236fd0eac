/* Input that unreadable memory follows directly, for fuzz targets. The sanitizers do not watch libraries that were
 * built without them (cJSON), but the processor does. */
#ifndef HL_TESTS_FUZZ_GUARD_H
#define HL_TESTS_FUZZ_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns a copy that lasts until the next call; NULL if it is too long. */
static inline const uint8_t *guarded(const uint8_t *data, size_t size)
{
    static uint8_t *end;
    if (!end) {
        uint8_t *map = mmap(NULL, 2 * GUARD_MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED || mprotect(map + GUARD_MOST, GUARD_MOST, PROT_NONE) != 0)
            abort();
        end = map + GUARD_MOST;
    }
    return size <= GUARD_MOST ? memcpy(end - size, data, size) : NULL;
}

#endif
