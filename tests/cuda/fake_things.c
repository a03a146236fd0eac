#include "tests/cuda/fake_things.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DEVICES 8u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thing *things;
static struct device devices[MOST_DEVICES];
static bool is_started;
static unsigned misuses;
static unsigned long long calls; /* that can fail */
static int staying;              /* the error that every call returns from now on */
static const char *call_name;
static _Thread_local struct device *current HL_FIBER_TLS;

static const char *const kind_names[KINDS] = {
    "stream", "event", "module", "function", "memory of the device", "memory of the host"};

void misuse(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "fakecuda: %s: ", call_name ? call_name : "at the end");
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    misuses++;
}

unsigned long long setting(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* The failure that a test asked for. Calls that free something do not count: CUDA's own never fail alone. */
static int asked_failure(int needs)
{
    if (needs & FREES)
        return SUCCESS;
    calls++;
    return calls == setting("FAKE_CUDA_FAIL", 0) ? (int)setting("FAKE_CUDA_FAIL_CODE", OUT_OF_MEMORY) : SUCCESS;
}

static int missing(int needs)
{
    if ((needs & STARTED) && !is_started) {
        misuse("before cuInit");
        return NOT_INITIALIZED;
    }
    if ((needs & CONTEXT) != CONTEXT)
        return SUCCESS;
    if (!current) {
        misuse("this thread has no context");
        return INVALID_CONTEXT;
    }
    if (!current->retained) {
        misuse("the context has been released");
        return CONTEXT_DESTROYED;
    }
    return SUCCESS;
}

int enter(const char *name, int needs)
{
    pthread_mutex_lock(&lock);
    call_name = name;
    int code = missing(needs);
    if (!code && staying && (needs & CONTEXT) == CONTEXT)
        code = staying;
    return code ? code : asked_failure(needs);
}

int leave(int code)
{
    if (code == ILLEGAL_ADDRESS || code == LAUNCH_FAILED)
        staying = code;
    call_name = NULL;
    pthread_mutex_unlock(&lock);
    return code;
}

void started(void)
{
    is_started = true;
}

struct device *device_here(void)
{
    return current;
}

int set_context(struct device *device)
{
    if (device && (device < devices || device >= devices + MOST_DEVICES || !device->retained)) {
        misuse("no context is at %p", (void *)device);
        return INVALID_CONTEXT;
    }
    current = device;
    return SUCCESS;
}

struct device *device_at(int index)
{
    unsigned long long n = setting("FAKE_CUDA_DEVICES", 1);
    return index >= 0 && (unsigned)index < (n < MOST_DEVICES ? n : MOST_DEVICES) ? &devices[index] : NULL;
}

struct thing *add_thing(enum kind kind)
{
    struct thing *thing = calloc(1, sizeof *thing);
    if (!thing)
        abort();
    thing->kind = kind;
    thing->device = current;
    thing->last = &thing->first;
    thing->next = things;
    return things = thing;
}

struct thing *find_thing(enum kind kind, const void *handle)
{
    struct thing *thing = things;
    while (thing && thing != handle)
        thing = thing->next;
    if (!thing || thing->kind != kind)
        misuse("%p is not of the kind '%s'", handle, kind_names[kind]);
    else if (thing->gone)
        misuse("the %s was given back before", kind_names[kind]);
    else if (thing->device != current)
        misuse("the %s belongs to another context", kind_names[kind]);
    else
        return thing;
    return NULL;
}

struct thing *find_memory(enum kind kind, const void *address, size_t bytes, bool *part)
{
    const uint8_t *from = address;
    *part = false;
    for (struct thing *thing = things; thing; thing = thing->next) {
        if (thing->kind != kind || thing->gone)
            continue;
        if (from >= thing->memory && bytes <= thing->bytes && from - thing->memory <= (ptrdiff_t)(thing->bytes - bytes))
            return thing;
        if (from < thing->memory + thing->bytes && from + bytes > thing->memory)
            *part = true;
    }
    return NULL;
}

void each_thing(enum kind kind, void (*act)(struct thing *thing))
{
    for (struct thing *thing = things; thing; thing = thing->next)
        if (thing->kind == kind && !thing->gone)
            act(thing);
}

/* After an error that stays nothing can be given back, so nothing is missed. */
void end_things(struct device *device, void (*end)(struct thing *thing))
{
    for (struct thing *thing = things; thing; thing = thing->next) {
        if (thing->gone || thing->device != device)
            continue;
        if (!staying && thing->kind != FUNCTION)
            misuse("%s was never given back", kind_names[thing->kind]);
        end(thing);
        thing->gone = true;
    }
}

static void write_count(void)
{
    const char *name = getenv("FAKE_CUDA_COUNT");
    FILE *file = name ? fopen(name, "we") : NULL;
    if (!file)
        return;
    fprintf(file, "%llu\n", calls);
    fclose(file);
}

void finish_things(void (*end)(struct thing *thing))
{
    write_count();
    for (uint32_t i = 0; i < MOST_DEVICES; i++)
        if (devices[i].retained && !staying)
            misuse("the context of device %u was never released", i);
    while (things) {
        struct thing *thing = things;
        if (!thing->gone)
            end(thing);
        things = thing->next;
        free(thing);
    }
    if (misuses && setting("FAKE_CUDA_STRICT", 0))
        abort();
}
