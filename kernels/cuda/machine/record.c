#include "kernels/cuda/machine/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64u

struct region {
    uint8_t *memory, *before;
    size_t bytes;
};

static struct region regions[MOST];
static uint32_t n_regions;

static const char *file_name(void)
{
    return getenv("HL_FIBER_RECORD");
}

static _Noreturn void stop(const char *what)
{
    perror(what);
    abort();
}

void hl_record_region(void *memory, size_t bytes)
{
    if (!file_name())
        return;
    if (n_regions == MOST)
        stop("HL_FIBER_RECORD: too many regions");
    regions[n_regions++] = (struct region){.memory = memory, .bytes = bytes};
}

void hl_record_forget(void)
{
    n_regions = 0;
}

void hl_record_begin(void)
{
    if (!file_name())
        return;
    for (uint32_t i = 0; i < n_regions; i++) {
        struct region *region = &regions[i];
        region->before = malloc(region->bytes + 1);
        if (!region->before)
            stop("HL_FIBER_RECORD: a region");
        memcpy(region->before, region->memory, region->bytes);
    }
}

static void put(FILE *file, const void *bytes, size_t n)
{
    if (n && fwrite(bytes, n, 1, file) != 1)
        stop(file_name());
}

static void put_u32(FILE *file, size_t value)
{
    uint32_t word = (uint32_t)value;
    put(file, &word, sizeof word);
}

static void put_region(FILE *file, struct region *region)
{
    const uint64_t head[2] = {(uintptr_t)region->memory, region->bytes};
    put(file, head, sizeof head);
    put(file, region->before, region->bytes);
    put(file, region->memory, region->bytes);
    free(region->before);
    region->before = NULL;
}

void hl_record_end(const char *kernel, const void *arguments, size_t bytes, struct hl_cuda_grid grid, uint32_t threads)
{
    if (!file_name())
        return;
    FILE *file = fopen(file_name(), "abe");
    if (!file)
        stop(file_name());
    put(file, "HLRC", 4);
    put_u32(file, strlen(kernel));
    put(file, kernel, strlen(kernel));
    const uint32_t shape[4] = {grid.x, grid.y, grid.z, threads};
    put(file, shape, sizeof shape);
    put_u32(file, bytes);
    put(file, arguments, bytes);
    put_u32(file, n_regions);
    for (uint32_t i = 0; i < n_regions; i++)
        put_region(file, &regions[i]);
    if (fclose(file))
        stop(file_name());
}
