/* A libcuda.so.1 without a GPU, for tests of the host side: the driver's functions over the emulation of the kernels.
 * README.md says what it is strict about and which variables of the environment change it. Types are the 12.2 driver's,
 * written plainly: a handle is a pointer, a CUdeviceptr a uint64_t. */
#include "base/sizes.h"
#include "tests/cuda/fake_memory.h"
#include "tests/cuda/fake_streams.h"
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL __attribute__((visibility("default"))) int
#define MAGIC "\177hotlayer kernels of the host\n"

/* The image that stands for all kernels that are linked in, for a host side that has no cubin. */
extern const char hotlayer_module[];
__attribute__((visibility("default"))) const char hotlayer_module[] = MAGIC;

/* ---- devices and contexts ---- */

static int capability(bool minor)
{
    const char *text = getenv("FAKE_CUDA_CAPABILITY");
    int both[2] = {8, 9};
    if (text && sscanf(text, "%d.%d", &both[0], &both[1]) != 2)
        misuse("FAKE_CUDA_CAPABILITY is not like 8.9");
    return both[minor];
}

CALL cuInit(unsigned flags)
{
    int code = enter("cuInit", NOTHING);
    if (!code && flags)
        code = INVALID_VALUE;
    if (!code && !device_at(0))
        code = NO_DEVICE;
    if (!code)
        started();
    return leave(code);
}

CALL cuDriverGetVersion(int *version)
{
    int code = enter("cuDriverGetVersion", NOTHING);
    *version = (int)setting("FAKE_CUDA_DRIVER", 12020);
    return leave(code);
}

CALL cuDeviceGetCount(int *count)
{
    int code = enter("cuDeviceGetCount", STARTED);
    for (*count = 0; device_at(*count); ++*count)
        ;
    return leave(code);
}

CALL cuDeviceGet(int *device, int index)
{
    int code = enter("cuDeviceGet", STARTED);
    if (!code && !device_at(index))
        code = INVALID_DEVICE;
    if (!code)
        *device = index;
    return leave(code);
}

CALL cuDeviceGetName(char *name, int room, int device)
{
    int code = enter("cuDeviceGetName", STARTED);
    if (!code && !device_at(device))
        code = INVALID_DEVICE;
    if (!code && room < 1)
        code = INVALID_VALUE;
    if (!code)
        snprintf(name, (size_t)room, "Emulated GPU");
    return leave(code);
}

CALL cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    int code = enter("cuDeviceTotalMem", STARTED);
    if (!code && !device_at(device))
        code = INVALID_DEVICE;
    if (!code)
        *bytes = memory_total();
    return leave(code);
}

/* CUdevice_attribute, of an L4. */
static int attribute(int *value, int which)
{
    static const struct {
        int which, value;
    } values[] = {{1, 1024},        /* MAX_THREADS_PER_BLOCK */
                  {2, 1024},        /* MAX_BLOCK_DIM_X */
                  {5, 0x7fffffff},  /* MAX_GRID_DIM_X */
                  {6, 65535},       /* MAX_GRID_DIM_Y */
                  {7, 65535},       /* MAX_GRID_DIM_Z */
                  {8, 49152},       /* MAX_SHARED_MEMORY_PER_BLOCK */
                  {10, 32},         /* WARP_SIZE */
                  {12, 65536},      /* MAX_REGISTERS_PER_BLOCK */
                  {13, 2040000},    /* CLOCK_RATE */
                  {16, 58},         /* MULTIPROCESSOR_COUNT */
                  {18, 0},          /* INTEGRATED */
                  {19, 1},          /* CAN_MAP_HOST_MEMORY */
                  {20, 0},          /* COMPUTE_MODE */
                  {33, 0},          /* PCI_BUS_ID */
                  {34, 4},          /* PCI_DEVICE_ID */
                  {36, 6251000},    /* MEMORY_CLOCK_RATE */
                  {37, 192},        /* GLOBAL_MEMORY_BUS_WIDTH */
                  {38, 48 << 20},   /* L2_CACHE_SIZE */
                  {39, 1536},       /* MAX_THREADS_PER_MULTIPROCESSOR */
                  {40, 2},          /* ASYNC_ENGINE_COUNT */
                  {41, 1},          /* UNIFIED_ADDRESSING */
                  {50, 0},          /* PCI_DOMAIN_ID */
                  {81, 102400},     /* MAX_SHARED_MEMORY_PER_MULTIPROCESSOR */
                  {82, 65536},      /* MAX_REGISTERS_PER_MULTIPROCESSOR */
                  {97, 101376},     /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */
                  {99, 1},          /* HOST_REGISTER_SUPPORTED */
                  {113, 0}};        /* READ_ONLY_HOST_REGISTER_SUPPORTED */
    if (which == 75 || which == 76) /* COMPUTE_CAPABILITY_MAJOR, MINOR */
        return *value = capability(which == 76), SUCCESS;
    for (size_t i = 0; i < HL_COUNT(values); i++)
        if (values[i].which == which)
            return *value = values[i].value, SUCCESS;
    misuse("the attribute %d is not in the fake's table", which);
    return INVALID_VALUE;
}

CALL cuDeviceGetAttribute(int *value, int which, int device)
{
    int code = enter("cuDeviceGetAttribute", STARTED);
    if (!code && !device_at(device))
        code = INVALID_DEVICE;
    return leave(code ? code : attribute(value, which));
}

CALL cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags)
{
    int code = enter("cuDevicePrimaryCtxSetFlags", STARTED);
    if (!code && !device_at(device))
        code = INVALID_DEVICE;
    if (!code && (flags & ~0x1fu))
        code = INVALID_VALUE;
    if (!code && device_at(device)->retained)
        code = CONTEXT_ACTIVE;
    return leave(code);
}

CALL cuDevicePrimaryCtxRetain(struct device **context, int device)
{
    int code = enter("cuDevicePrimaryCtxRetain", STARTED);
    if (!code && !device_at(device))
        code = INVALID_DEVICE;
    if (!code) {
        *context = device_at(device);
        (*context)->retained++;
    }
    return leave(code);
}

static void end_thing(struct thing *thing)
{
    if (thing->kind == DEVICE_MEMORY)
        memory_free(thing);
    if (thing->kind == HOST_MEMORY)
        memory_unpin(thing);
    if (thing->kind == STREAM)
        forget_work(thing);
}

__attribute__((destructor)) static void finish(void)
{
    finish_things(end_thing);
}

CALL cuDevicePrimaryCtxRelease_v2(int device)
{
    int code = enter("cuDevicePrimaryCtxRelease", STARTED | FREES);
    struct device *at = device_at(device);
    if (!code && !at)
        code = INVALID_DEVICE;
    if (!code && at->retained == 0) {
        misuse("it was not retained");
        code = INVALID_CONTEXT;
    }
    if (!code && --at->retained == 0)
        end_things(at, end_thing);
    return leave(code);
}

CALL cuCtxSetCurrent(struct device *context)
{
    int code = enter("cuCtxSetCurrent", STARTED);
    return leave(code ? code : set_context(context));
}

/* ---- modules ---- */

static bool is_everything(const uint8_t *image)
{
    return strncmp((const char *)image, MAGIC, sizeof MAGIC) == 0;
}

/* A cubin runs on devices of its major version and at least its minor one. */
static int check_image(const uint8_t *image)
{
    Elf64_Ehdr header;
    if (is_everything(image))
        return SUCCESS;
    if (memcmp(image, ELFMAG, SELFMAG))
        return INVALID_IMAGE;
    memcpy(&header, image, sizeof header);
    /* Each toolkit from 13.0 on, and all code for sm_100 and later, has ABI 8, which no driver before 12.8 knows. */
    if (header.e_machine != 190 || (header.e_ident[EI_ABIVERSION] > 7 && setting("FAKE_CUDA_DRIVER", 12020) < 12080))
        return INVALID_IMAGE;
    int major = (int)(header.e_flags & 0xff) / 10, minor = (int)(header.e_flags & 0xff) % 10;
    return major == capability(false) && minor <= capability(true) ? SUCCESS : NO_BINARY_FOR_GPU;
}

CALL cuModuleLoadData(struct thing **module, const void *image)
{
    int code = enter("cuModuleLoadData", CONTEXT);
    if (!code)
        code = check_image(image);
    if (!code) {
        *module = add_thing(MODULE);
        (*module)->image = image;
    }
    return leave(code);
}

static struct thing *ending_module;

static void end_function(struct thing *function)
{
    if (function->module == ending_module)
        function->gone = true;
}

CALL cuModuleUnload(struct thing *module)
{
    int code = enter("cuModuleUnload", CONTEXT | FREES);
    if (!code && !find_thing(MODULE, module))
        code = INVALID_HANDLE;
    if (!code) {
        run_all();
        module->gone = true;
        ending_module = module;
        each_thing(FUNCTION, end_function);
    }
    return leave(code);
}

static bool image_names(const uint8_t *image, const char *name)
{
    Elf64_Ehdr header;
    if (is_everything(image))
        return true;
    memcpy(&header, image, sizeof header);
    return memmem(image, header.e_shoff + (size_t)header.e_shnum * header.e_shentsize, name, strlen(name) + 1);
}

CALL cuModuleGetFunction(struct thing **function, struct thing *module, const char *name)
{
    int code = enter("cuModuleGetFunction", CONTEXT);
    if (!code && !find_thing(MODULE, module))
        code = INVALID_HANDLE;
    if (!code && (!hl_fiber_find(name) || !image_names(module->image, name)))
        code = NOT_FOUND;
    if (!code) {
        *function = add_thing(FUNCTION);
        (*function)->module = module;
        (*function)->kernel = hl_fiber_find(name);
    }
    return leave(code);
}

CALL cuFuncSetAttribute(const struct thing *function, int which, int value)
{
    int code = enter("cuFuncSetAttribute", CONTEXT);
    if (!code && !find_thing(FUNCTION, function))
        code = INVALID_HANDLE;
    bool shared = which == 8 && value >= 0 && value <= 101376; /* MAX_DYNAMIC_SHARED_SIZE_BYTES */
    bool carveout = which == 9 && value >= -1 && value <= 100; /* PREFERRED_SHARED_MEMORY_CARVEOUT */
    return leave(code ? code : shared || carveout ? SUCCESS : INVALID_VALUE);
}

CALL cuFuncGetAttribute(int *value, int which, const struct thing *function)
{
    int code = enter("cuFuncGetAttribute", CONTEXT);
    if (!code && !find_thing(FUNCTION, function))
        code = INVALID_HANDLE;
    if (!code && which != 0) /* MAX_THREADS_PER_BLOCK */
        code = INVALID_VALUE;
    if (!code)
        *value = (int)function->kernel->threads;
    return leave(code);
}

/* ---- memory ---- */

CALL cuMemGetInfo_v2(size_t *left, size_t *total)
{
    int code = enter("cuMemGetInfo", CONTEXT);
    if (!code) {
        *total = memory_total();
        *left = *total - device_here()->used;
    }
    return leave(code);
}

CALL cuMemAlloc_v2(uint64_t *pointer, size_t bytes)
{
    struct thing *memory;
    int code = enter("cuMemAlloc", CONTEXT);
    if (!code)
        code = memory_alloc(&memory, bytes);
    if (!code)
        *pointer = (uintptr_t)memory->memory;
    return leave(code);
}

/* Finds memory by where it begins. */
static struct thing *memory_from(enum kind kind, const void *address, bool allocated)
{
    bool part;
    struct thing *memory = find_memory(kind, address, 1, &part);
    if (memory && memory->memory == address && !memory->mapped != allocated && memory->device == device_here())
        return memory;
    misuse("no such memory begins at %p", address);
    return NULL;
}

/* The driver waits for everything before it gives memory back. */
static int give_back(enum kind kind, const void *address, bool allocated, int error)
{
    struct thing *memory = memory_from(kind, address, allocated);
    if (!memory)
        return error;
    run_all();
    if (kind == DEVICE_MEMORY)
        memory_free(memory);
    else
        memory_unpin(memory);
    return SUCCESS;
}

CALL cuMemFree_v2(uint64_t pointer)
{
    int code = enter("cuMemFree", CONTEXT | FREES);
    return leave(code ? code : give_back(DEVICE_MEMORY, (const void *)(uintptr_t)pointer, true, INVALID_VALUE));
}

CALL cuMemHostRegister_v2(void *address, size_t bytes, unsigned flags)
{
    struct thing *memory;
    int code = enter("cuMemHostRegister", CONTEXT);
    if (!code && (!address || (flags & ~3u))) /* PORTABLE, DEVICEMAP */
        code = INVALID_VALUE;
    return leave(code ? code : memory_pin(&memory, address, bytes));
}

CALL cuMemHostUnregister(void *address)
{
    int code = enter("cuMemHostUnregister", CONTEXT | FREES);
    return leave(code ? code : give_back(HOST_MEMORY, address, false, HOST_MEMORY_NOT_REGISTERED));
}

CALL cuMemHostAlloc(void **address, size_t bytes, unsigned flags)
{
    struct thing *memory;
    int code = enter("cuMemHostAlloc", CONTEXT);
    if (!code && (flags & ~7u)) /* PORTABLE, DEVICEMAP, WRITECOMBINED */
        code = INVALID_VALUE;
    if (!code)
        code = memory_pin(&memory, NULL, bytes);
    if (!code)
        *address = memory->memory;
    return leave(code);
}

CALL cuMemFreeHost(void *address)
{
    int code = enter("cuMemFreeHost", CONTEXT | FREES);
    return leave(code ? code : give_back(HOST_MEMORY, address, true, INVALID_VALUE));
}

/* ---- streams and events ---- */

CALL cuStreamCreate(struct thing **stream, unsigned flags)
{
    int code = enter("cuStreamCreate", CONTEXT);
    if (!code && flags > 1) /* NON_BLOCKING */
        code = INVALID_VALUE;
    if (!code)
        *stream = add_thing(STREAM);
    return leave(code);
}

/* Begins a call on a stream. */
static int enter_stream(const char *name, int needs, const struct thing *stream)
{
    int code = enter(name, CONTEXT | needs);
    return code ? code : find_thing(STREAM, stream) ? SUCCESS : INVALID_HANDLE;
}

CALL cuStreamDestroy_v2(struct thing *stream)
{
    int code = enter_stream("cuStreamDestroy", FREES, stream);
    if (!code) {
        run_to(stream, stream->put);
        stream->gone = true;
    }
    return leave(code);
}

CALL cuStreamSynchronize(struct thing *stream)
{
    int code = enter_stream("cuStreamSynchronize", 0, stream);
    if (!code)
        run_to(stream, stream->put);
    return leave(code);
}

CALL cuStreamQuery(struct thing *stream)
{
    int code = enter_stream("cuStreamQuery", 0, stream);
    if (!code && !query(stream, stream, stream->put))
        code = NOT_READY;
    return leave(code);
}

CALL cuStreamWaitEvent(struct thing *stream, const struct thing *event, unsigned flags)
{
    int code = enter_stream("cuStreamWaitEvent", 0, stream);
    if (!code && !find_thing(EVENT, event))
        code = INVALID_HANDLE;
    if (!code && flags > 1)
        code = INVALID_VALUE;
    if (!code && event->stream) /* one that was never recorded counts as done */
        put_wait(stream, event);
    return leave(code);
}

CALL cuEventCreate(struct thing **event, unsigned flags)
{
    int code = enter("cuEventCreate", CONTEXT);
    if (!code && flags > 3) /* BLOCKING_SYNC, DISABLE_TIMING */
        code = INVALID_VALUE;
    if (!code) {
        *event = add_thing(EVENT);
        (*event)->timed = !(flags & 2);
    }
    return leave(code);
}

static int enter_event(const char *name, int needs, const struct thing *event)
{
    int code = enter(name, CONTEXT | needs);
    return code ? code : find_thing(EVENT, event) ? SUCCESS : INVALID_HANDLE;
}

CALL cuEventDestroy_v2(struct thing *event)
{
    int code = enter_event("cuEventDestroy", FREES, event);
    if (!code)
        event->gone = true;
    return leave(code);
}

CALL cuEventRecord(struct thing *event, struct thing *stream)
{
    int code = enter_event("cuEventRecord", 0, event);
    if (!code && !find_thing(STREAM, stream))
        code = INVALID_HANDLE;
    if (!code)
        put_record(stream, event);
    return leave(code);
}

CALL cuEventQuery(struct thing *event)
{
    int code = enter_event("cuEventQuery", 0, event);
    if (!code && event->stream && !query(event, event->stream, event->number))
        code = NOT_READY;
    return leave(code);
}

CALL cuEventSynchronize(struct thing *event)
{
    int code = enter_event("cuEventSynchronize", 0, event);
    if (!code && event->stream)
        run_to(event->stream, event->number);
    return leave(code);
}

CALL cuEventElapsedTime(float *milliseconds, struct thing *from, struct thing *to)
{
    int code = enter_event("cuEventElapsedTime", 0, from);
    if (!code && (!find_thing(EVENT, to) || !from->timed || !to->timed || !from->stream || !to->stream))
        code = INVALID_HANDLE;
    if (!code && (from->stream->done < from->number || to->stream->done < to->number))
        code = NOT_READY;
    if (!code)
        *milliseconds = (float)(to->when - from->when);
    return leave(code);
}

/* ---- work ---- */

static int copy_in(struct thing *stream, uint64_t to, const void *from, size_t bytes)
{
    bool wrong;
    bool pinned = memory_is_pinned(from, bytes, &wrong);
    if (wrong || !memory_is_device(to, bytes))
        return INVALID_VALUE;
    put_copy(stream, (void *)(uintptr_t)to, from, bytes, !pinned);
    return SUCCESS;
}

CALL cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, struct thing *stream)
{
    int code = enter_stream("cuMemcpyHtoDAsync", 0, stream);
    return leave(code ? code : copy_in(stream, to, from, bytes));
}

/* The driver waits for a copy to memory that is not registered. */
static int copy_out(struct thing *stream, void *to, uint64_t from, size_t bytes)
{
    bool wrong;
    bool pinned = memory_is_pinned(to, bytes, &wrong);
    if (wrong || !memory_is_device(from, bytes))
        return INVALID_VALUE;
    put_copy(stream, to, (const void *)(uintptr_t)from, bytes, false);
    if (!pinned)
        run_to(stream, stream->put);
    return SUCCESS;
}

CALL cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, struct thing *stream)
{
    int code = enter_stream("cuMemcpyDtoHAsync", 0, stream);
    return leave(code ? code : copy_out(stream, to, from, bytes));
}

CALL cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, struct thing *stream)
{
    int code = enter_stream("cuMemcpyDtoDAsync", 0, stream);
    if (!code && (!memory_is_device(to, bytes) || !memory_is_device(from, bytes)))
        code = INVALID_VALUE;
    if (!code)
        put_copy(stream, (void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes, false);
    return leave(code);
}

CALL cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, struct thing *stream)
{
    int code = enter_stream("cuMemsetD8Async", 0, stream);
    if (!code && !memory_is_device(to, bytes))
        code = INVALID_VALUE;
    if (!code)
        put_fill(stream, (void *)(uintptr_t)to, value, bytes);
    return leave(code);
}

#define ARGUMENT_BYTES 4096 /* of a kernel at most */

static int launch(struct thing *stream, const struct thing *function, struct hl_cuda_grid grid, unsigned threads,
                  const void *arguments)
{
    const struct hl_fiber_kernel *kernel = function->kernel;
    bool fits = grid.x && grid.y && grid.z && grid.x < 1u << 31 && grid.y < 1u << 16 && grid.z < 1u << 16;
    if (!fits)
        misuse("%s: a grid of %u x %u x %u", kernel->name, grid.x, grid.y, grid.z);
    if (threads != kernel->threads)
        misuse("%s: %u threads, it is written for %u", kernel->name, threads, kernel->threads);
    uint64_t copy[ARGUMENT_BYTES / sizeof(uint64_t)]; /* without what the host side has between the members */
    memcpy(copy, arguments, kernel->bytes);
    kernel->clear(copy);
    if (!fits || threads != kernel->threads || !memory_checks_arguments(copy, kernel->bytes))
        return INVALID_VALUE;
    put_launch(stream, kernel, copy, grid);
    return SUCCESS;
}

CALL cuLaunchKernel(const struct thing *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty,
                    unsigned tz, unsigned shared, struct thing *stream, void **arguments, void **extra)
{
    int code = enter_stream("cuLaunchKernel", 0, stream);
    if (!code && !find_thing(FUNCTION, function))
        code = INVALID_HANDLE;
    if (!code && (ty != 1 || tz != 1 || shared || extra || !arguments || !arguments[0])) {
        misuse("more than the kernels take");
        code = INVALID_VALUE;
    }
    return leave(code ? code : launch(stream, function, (struct hl_cuda_grid){x, y, z}, threads, arguments[0]));
}

/* ---- errors ---- */

static const struct error {
    int code;
    const char *name, *text;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CONTEXT_ACTIVE, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "primary context is already active"},
    {CONTEXT_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {HOST_MEMORY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver "
     "combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"}};

static const struct error *find_error(int code)
{
    for (size_t i = 0; i < HL_COUNT(errors); i++)
        if (errors[i].code == code)
            return &errors[i];
    return NULL;
}

CALL cuGetErrorName(int code, const char **name)
{
    const struct error *error = find_error(code);
    *name = error ? error->name : NULL;
    return error ? SUCCESS : INVALID_VALUE;
}

CALL cuGetErrorString(int code, const char **text)
{
    const struct error *error = find_error(code);
    *text = error ? error->text : NULL;
    return error ? SUCCESS : INVALID_VALUE;
}
