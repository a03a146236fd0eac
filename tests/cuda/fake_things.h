/* What the fake driver has handed out, its rules for mistakes, and the failures that tests ask for. Everything here is
 * called under the lock. */
#ifndef HL_TESTS_CUDA_FAKE_THINGS_H
#define HL_TESTS_CUDA_FAKE_THINGS_H

#include "kernels/cuda/machine/fiber.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CUresult */
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    CONTEXT_ACTIVE = 708,
    CONTEXT_DESTROYED = 709,
    HOST_MEMORY_REGISTERED = 712,
    HOST_MEMORY_NOT_REGISTERED = 713,
    LAUNCH_FAILED = 719
};

enum kind { STREAM, EVENT, MODULE, FUNCTION, DEVICE_MEMORY, HOST_MEMORY, KINDS };

struct work;

/* A thing behind a handle. It stays in the list after its end, so that a late use is told from a wild pointer. */
struct thing {
    struct thing *next;
    enum kind kind;
    bool gone;
    struct device *device;
    /* memory of the device or, registered, of the host */
    uint8_t *memory;
    size_t bytes;
    uint8_t *mapped; /* of the device: with guards around it; of the host: NULL if it is only registered */
    size_t mapped_bytes;
    /* a stream: work waits in it; numbers count what was put in and what is done */
    struct work *first, **last;
    uint64_t put, done;
    /* an event: the stream and number of what it was recorded after, NULL before; when that was done */
    struct thing *stream;
    uint64_t number;
    bool timed;
    double when; /* in milliseconds */
    uint32_t queries;
    /* a module's image; a function's module and kernel */
    const uint8_t *image;
    struct thing *module;
    const struct hl_fiber_kernel *kernel;
};

struct device {
    uint32_t retained; /* its primary context */
    size_t used;       /* bytes */
};

/* Says what the caller did wrong. With FAKE_CUDA_STRICT=1 the process aborts when it ends. */
void misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Begins a call: takes the lock. Returns an error that the call must return: a failure that a test asked for, one that
 * stays, or a missing context. */
enum needs { NOTHING = 0, STARTED = 1, CONTEXT = 2 | STARTED, FREES = 4 };
int enter(const char *name, int needs);
/* Ends it: keeps errors that stay, and returns the code. */
int leave(int code);

void started(void);
/* The device of this thread's context. */
struct device *device_here(void);
int set_context(struct device *device);
struct device *device_at(int index);

/* A number of the environment. */
unsigned long long setting(const char *name, unsigned long long otherwise);

struct thing *add_thing(enum kind kind);
/* Finds what a handle stands for, or says that it is wrong and returns NULL. */
struct thing *find_thing(enum kind kind, const void *handle);
/* Finds memory that holds the range, or NULL; *part is set if some of it holds a part. */
struct thing *find_memory(enum kind kind, const void *address, size_t bytes, bool *part);
/* Calls act for each thing that is there. */
void each_thing(enum kind kind, void (*act)(struct thing *thing));
/* Reports what a context that ends still has, and ends it. */
void end_things(struct device *device, void (*end)(struct thing *thing));
/* The same for all, at the end of the process. */
void finish_things(void (*end)(struct thing *thing));

#endif
