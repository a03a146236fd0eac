/* Every piece of the device's memory is a mapping of its own, and ends at a page that nobody can touch. Freed ones stay
 * mapped, untouchable, so that their addresses are not given out again. */
#include "tests/cuda/fake_memory.h"
#include "base/sizes.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 256u      /* what cuMemAlloc promises */
#define LOWEST (1ull << 45) /* of a program's addresses; sanitizers keep things below */
#define LARGEST_SIZE (1u << 24)
#define GARBAGE_BYTES (64u << 20) /* new memory holds NaN so far; more would take too long */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

size_t memory_total(void)
{
    return (size_t)setting("FAKE_CUDA_MEMORY", 2ull << 30);
}

int memory_alloc(struct thing **out, size_t bytes)
{
    struct device *device = device_here();
    size_t page = page_bytes(), total = memory_total();
    if (bytes == 0)
        return INVALID_VALUE;
    if (bytes > total || hl_round_up(bytes, ALIGNMENT) > total - device->used)
        return OUT_OF_MEMORY;
    size_t rounded = hl_round_up(bytes, ALIGNMENT), mapped = hl_round_up(rounded, page) + 2 * page;
    uint8_t *at = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return OUT_OF_MEMORY;
    struct thing *memory = *out = add_thing(DEVICE_MEMORY);
    memory->mapped = at;
    memory->mapped_bytes = mapped;
    memory->memory = at + mapped - page - rounded;
    memory->bytes = bytes;
    device->used += rounded;
    memory_open();
    memset(memory->memory, 0xff, rounded < GARBAGE_BYTES ? rounded : GARBAGE_BYTES);
    memory_close();
    return SUCCESS;
}

void memory_free(struct thing *memory)
{
    memory->device->used -= hl_round_up(memory->bytes, ALIGNMENT);
    memory->gone = true;
    if (mmap(memory->mapped, memory->mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
             -1, 0) == MAP_FAILED)
        abort();
}

int memory_pin(struct thing **out, void *memory, size_t bytes)
{
    bool part;
    if (bytes == 0)
        return INVALID_VALUE;
    if (memory && (find_memory(HOST_MEMORY, memory, bytes, &part) || part))
        return HOST_MEMORY_REGISTERED;
    uint8_t *allocated = memory ? NULL : aligned_alloc(page_bytes(), hl_round_up(bytes, page_bytes()));
    if (!memory && !allocated)
        return OUT_OF_MEMORY;
    if (allocated)
        memset(allocated, 0xff, bytes);
    *out = add_thing(HOST_MEMORY);
    (*out)->memory = memory ? memory : allocated;
    (*out)->bytes = bytes;
    (*out)->mapped = allocated;
    return SUCCESS;
}

void memory_unpin(struct thing *memory)
{
    memory->gone = true;
    free(memory->mapped);
}

static void protect(struct thing *memory, int how)
{
    size_t page = page_bytes();
    if (mprotect(memory->mapped + page, memory->mapped_bytes - 2 * page, how))
        abort();
}

static void open_one(struct thing *memory)
{
    protect(memory, PROT_READ | PROT_WRITE);
}

static void close_one(struct thing *memory)
{
    protect(memory, PROT_NONE);
}

void memory_open(void)
{
    each_thing(DEVICE_MEMORY, open_one);
}

void memory_close(void)
{
    each_thing(DEVICE_MEMORY, close_one);
}

bool memory_is_device(uint64_t address, size_t bytes)
{
    bool part;
    if (find_memory(DEVICE_MEMORY, (const void *)(uintptr_t)address, bytes, &part))
        return true;
    misuse("%zu bytes at %#llx are %s of the device", bytes, (unsigned long long)address,
           part ? "not all in one piece of the memory" : "not in the memory");
    return false;
}

bool memory_is_pinned(const void *address, size_t bytes, bool *wrong)
{
    bool part, device;
    bool pinned = find_memory(HOST_MEMORY, address, bytes, &part) != NULL;
    *wrong = !pinned && part;
    if (*wrong)
        misuse("%zu bytes at %p are registered in part", bytes, address);
    if (find_memory(DEVICE_MEMORY, address, bytes, &device)) {
        misuse("%p is the device's, not the host's", address);
        *wrong = true;
    }
    return pinned;
}

/* Every eight bytes that are the address of memory which is there, but neither the device's nor registered. Two numbers
 * side by side, or a number and padding, can look like one: sizes are small, and padding is at the end. */
bool memory_checks_arguments(const void *arguments, size_t bytes)
{
    unsigned char resident;
    for (size_t at = 0; at + 8 < bytes; at += 8) {
        uintptr_t address;
        bool part;
        memcpy(&address, (const uint8_t *)arguments + at, sizeof address);
        if (address < LOWEST || (address & UINT32_MAX) < LARGEST_SIZE ||
            find_memory(DEVICE_MEMORY, (const void *)address, 1, &part) ||
            find_memory(HOST_MEMORY, (const void *)address, 1, &part))
            continue;
        if (mincore((void *)(address / page_bytes() * page_bytes()), 1, &resident) == 0) {
            misuse("byte %zu of the arguments has an address of the host, or of freed memory: %#llx", at,
                   (unsigned long long)address);
            return false;
        }
    }
    return true;
}
