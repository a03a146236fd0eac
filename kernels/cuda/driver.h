/* NVIDIA's driver: its library libcuda.so.1, opened at run time, so that one program serves machines with and without a
 * GPU. Only functions of the CUDA 12.2 API are used: drivers from 535 on have them.
 *
 * Calls go through HL_DRIVER(), which turns a failure into an error with the name of the call, the driver's text, and
 * what to do about it:
 *
 *     if (HL_DRIVER(driver, err, cuInit, 0) < 0)
 *         return -1;
 */
#ifndef HL_KERNELS_CUDA_DRIVER_H
#define HL_KERNELS_CUDA_DRIVER_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory of the GPU. */
typedef uint64_t hl_gpu_pointer;

#define HL_DRIVER_FUNCTIONS(X)                                                                                         \
    X(cuInit, unsigned flags)                                                                                          \
    X(cuDriverGetVersion, int *version)                                                                                \
    X(cuGetErrorName, int code, const char **name)                                                                     \
    X(cuGetErrorString, int code, const char **text)                                                                   \
    X(cuDeviceGetCount, int *n)                                                                                        \
    X(cuDeviceGet, int *device, int index)                                                                             \
    X(cuDeviceGetName, char *name, int bytes, int device)                                                              \
    X(cuDeviceGetAttribute, int *value, int attribute, int device)                                                     \
    X(cuDeviceTotalMem_v2, size_t *bytes, int device)                                                                  \
    X(cuDevicePrimaryCtxSetFlags_v2, int device, unsigned flags)                                                       \
    X(cuDevicePrimaryCtxRetain, void **context, int device)                                                            \
    X(cuDevicePrimaryCtxRelease_v2, int device)                                                                        \
    X(cuCtxSetCurrent, void *context)                                                                                  \
    X(cuModuleLoadData, void **module, const void *image)                                                              \
    X(cuModuleUnload, void *module)                                                                                    \
    X(cuModuleGetFunction, void **function, void *module, const char *name)                                            \
    X(cuFuncGetAttribute, int *value, int attribute, void *function)                                                   \
    X(cuMemGetInfo_v2, size_t *there, size_t *total)                                                                   \
    X(cuMemAlloc_v2, hl_gpu_pointer *pointer, size_t bytes)                                                            \
    X(cuMemFree_v2, hl_gpu_pointer pointer)                                                                            \
    X(cuMemHostRegister_v2, void *memory, size_t bytes, unsigned flags)                                                \
    X(cuMemHostUnregister, void *memory)                                                                               \
    X(cuMemHostAlloc, void **memory, size_t bytes, unsigned flags)                                                     \
    X(cuMemFreeHost, void *memory)                                                                                     \
    X(cuMemcpyHtoDAsync_v2, hl_gpu_pointer to, const void *from, size_t bytes, void *stream)                           \
    X(cuMemcpyDtoHAsync_v2, void *to, hl_gpu_pointer from, size_t bytes, void *stream)                                 \
    X(cuStreamCreate, void **stream, unsigned flags)                                                                   \
    X(cuStreamDestroy_v2, void *stream)                                                                                \
    X(cuStreamSynchronize, void *stream)                                                                               \
    X(cuStreamWaitEvent, void *stream, void *event, unsigned flags)                                                    \
    X(cuEventCreate, void **event, unsigned flags)                                                                     \
    X(cuEventDestroy_v2, void *event)                                                                                  \
    X(cuEventRecord, void *event, void *stream)                                                                        \
    X(cuEventQuery, void *event)                                                                                       \
    X(cuEventSynchronize, void *event)                                                                                 \
    X(cuLaunchKernel, void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,        \
      unsigned threads_z, unsigned shared, void *stream, void **arguments, void **extra)

/* The driver's numbers that are used here. */
enum {
    HL_DRIVER_OUT_OF_MEMORY = 2,
    HL_DRIVER_NO_DEVICE = 100,
    HL_DRIVER_NOT_READY = 600,
    HL_DRIVER_ATTRIBUTE_MAJOR = 75, /* of the compute capability */
    HL_DRIVER_ATTRIBUTE_MINOR = 76,
    HL_DRIVER_FUNCTION_THREADS = 0,   /* the most threads of a block: what KERNEL() says */
    HL_DRIVER_BLOCKING = 4,           /* of a context: who waits sleeps */
    HL_DRIVER_EVENT = 1 | 2,          /* who waits sleeps; no times */
    HL_DRIVER_STREAM_NON_BLOCKING = 1 /* does not wait for the default stream */
};

struct hl_driver {
    void *library;
    int lost; /* the code of a failure after which nothing works any more, or 0; atomic */
#define HL_DRIVER_MEMBER(name, ...) int (*name)(__VA_ARGS__);
    HL_DRIVER_FUNCTIONS(HL_DRIVER_MEMBER)
#undef HL_DRIVER_MEMBER
};

/* Opens $HOTLAYER_LIBCUDA if that is set, else the driver's library where systems have it. The library stays open until
 * the process ends: it may have threads. */
int hl_driver_open(struct hl_driver *out, struct hl_error *err);

/* Returns 0 if `code` is 0; else -1, after a message about the call. */
int hl_driver_check(struct hl_driver *driver, const char *call, int code, struct hl_error *err);

#define HL_DRIVER(driver, err, name, ...) hl_driver_check((driver), #name, (driver)->name(__VA_ARGS__), (err))

/* Returns whether a failure has left the context unusable, or the GPU. */
static inline bool hl_driver_is_lost(const struct hl_driver *driver)
{
    return __atomic_load_n(&driver->lost, __ATOMIC_RELAXED) != 0;
}

/* Returns whether the variable HOTLAYER_LIBCUDA names the library. */
bool hl_driver_is_chosen(void);

#endif
