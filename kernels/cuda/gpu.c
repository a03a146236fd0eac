/* Opens a GPU, and runs kernels on it. */
#include "kernels/cuda/gpu.h"
#include "base/clock.h"
#include "kernels/cuda/module.h"

#define ASK_NS 50000u /* a short step ends before a sleeping thread wakes */

int hl_gpu_describe(struct hl_gpu *gpu, uint32_t index, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    size_t memory = 0;
    if (HL_DRIVER(driver, err, cuDeviceGet, &gpu->device, (int)index) < 0 ||
        HL_DRIVER(driver, err, cuDeviceGetName, gpu->name, sizeof gpu->name, gpu->device) < 0 ||
        HL_DRIVER(driver, err, cuDeviceGetAttribute, &gpu->major, HL_DRIVER_ATTRIBUTE_MAJOR, gpu->device) < 0 ||
        HL_DRIVER(driver, err, cuDeviceGetAttribute, &gpu->minor, HL_DRIVER_ATTRIBUTE_MINOR, gpu->device) < 0 ||
        HL_DRIVER(driver, err, cuDeviceTotalMem_v2, &memory, gpu->device) < 0)
        return -1;
    gpu->name[sizeof gpu->name - 1] = 0;
    gpu->memory = memory;
    return 0;
}

static int find_device(struct hl_gpu *gpu, uint32_t index, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    int n = 0;
    if (HL_DRIVER(driver, err, cuInit, 0) < 0 || HL_DRIVER(driver, err, cuDeviceGetCount, &n) < 0)
        return -1;
    if (n <= 0)
        return hl_driver_check(driver, "cuDeviceGetCount", HL_DRIVER_NO_DEVICE, err);
    if (index >= (uint32_t)n)
        return hl_fail(err, "--device cuda:%u: the driver has %d GPU%s, numbered from 0", index, n, n == 1 ? "" : "s");
    return hl_gpu_describe(gpu, index, err);
}

/* The context's flags come first: a primary context that somebody has made active keeps its own,
 * which does not matter. */
static int enter_context(struct hl_gpu *gpu, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    driver->cuDevicePrimaryCtxSetFlags_v2(gpu->device, HL_DRIVER_BLOCKING);
    if (HL_DRIVER(driver, err, cuDevicePrimaryCtxRetain, &gpu->context, gpu->device) < 0)
        return -1;
    gpu->retained = true;
    return hl_gpu_enter(gpu, err);
}

static int load_module(struct hl_gpu *gpu, struct hl_error *err)
{
    const void *image = hl_module_choose(&gpu->driver, gpu->major, gpu->minor, err);
    if (!image)
        return -1;
    int code = gpu->driver.cuModuleLoadData(&gpu->module, image);
    if (hl_driver_check(&gpu->driver, "cuModuleLoadData", code, err) == 0)
        return 0;
    gpu->module = NULL;
    hl_module_explain(&gpu->driver, code, image, err);
    return -1;
}

int hl_gpu_open(struct hl_gpu *gpu, uint32_t index, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    if (hl_driver_open(driver, err) < 0 || find_device(gpu, index, err) < 0 || enter_context(gpu, err) < 0 ||
        load_module(gpu, err) < 0 ||
        HL_DRIVER(driver, err, cuStreamCreate, &gpu->compute, HL_DRIVER_STREAM_NON_BLOCKING) < 0 ||
        HL_DRIVER(driver, err, cuStreamCreate, &gpu->copy, HL_DRIVER_STREAM_NON_BLOCKING) < 0)
        return -1;
    return HL_DRIVER(driver, err, cuEventCreate, &gpu->done, HL_DRIVER_EVENT);
}

/* Failures do not matter here: a context that is lost takes all with it. */
void hl_gpu_close(struct hl_gpu *gpu)
{
    struct hl_driver *driver = &gpu->driver;
    if (gpu->done)
        driver->cuEventDestroy_v2(gpu->done);
    if (gpu->copy)
        driver->cuStreamDestroy_v2(gpu->copy);
    if (gpu->compute)
        driver->cuStreamDestroy_v2(gpu->compute);
    if (gpu->module)
        driver->cuModuleUnload(gpu->module);
    if (gpu->retained) {
        driver->cuCtxSetCurrent(NULL);
        driver->cuDevicePrimaryCtxRelease_v2(gpu->device);
    }
    *gpu = (struct hl_gpu){.n_kernels = 0};
}

int hl_gpu_enter(struct hl_gpu *gpu, struct hl_error *err)
{
    return HL_DRIVER(&gpu->driver, err, cuCtxSetCurrent, gpu->context);
}

/* Names are constants of the program: mostly the pointers are equal. */
static const struct hl_gpu_kernel *find(const struct hl_gpu *gpu, const char *name)
{
    for (uint32_t i = 0; i < gpu->n_kernels; i++)
        if (gpu->kernels[i].name == name || strcmp(gpu->kernels[i].name, name) == 0)
            return &gpu->kernels[i];
    return NULL;
}

int hl_gpu_find(struct hl_gpu *gpu, const char *name, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    if (find(gpu, name))
        return 0;
    if (gpu->n_kernels == HL_GPU_KERNELS_MOST)
        return hl_fail(err, "more than %u kernels of the GPU are needed", HL_GPU_KERNELS_MOST);
    struct hl_gpu_kernel *kernel = &gpu->kernels[gpu->n_kernels];
    int threads = 0;
    *kernel = (struct hl_gpu_kernel){.name = name};
    if (HL_DRIVER(driver, err, cuModuleGetFunction, &kernel->function, gpu->module, name) < 0 ||
        HL_DRIVER(driver, err, cuFuncGetAttribute, &threads, HL_DRIVER_FUNCTION_THREADS, kernel->function) < 0)
        return hl_error_prefix(err, "kernel %s", name);
    kernel->threads = (uint32_t)threads;
    gpu->n_kernels++;
    return 0;
}

int hl_gpu_launch(struct hl_gpu *gpu, const char *name, struct hl_cuda_grid grid, void *arguments, struct hl_error *err)
{
    const struct hl_gpu_kernel *kernel = find(gpu, name);
    if (!kernel)
        return hl_fail(err, "kernel %s of the GPU was not made ready", name);
    if (HL_DRIVER(&gpu->driver, err, cuLaunchKernel, kernel->function, grid.x, grid.y, grid.z, kernel->threads, 1, 1, 0,
                  gpu->compute, &arguments, NULL) < 0)
        return hl_error_prefix(err, "kernel %s", name);
    return 0;
}

int hl_gpu_wait(struct hl_gpu *gpu, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    if (HL_DRIVER(driver, err, cuEventRecord, gpu->done, gpu->compute) < 0)
        return -1;
    for (uint64_t begin = hl_clock_ns(); hl_clock_ns() - begin < ASK_NS;) {
        int code = driver->cuEventQuery(gpu->done);
        if (code != HL_DRIVER_NOT_READY)
            return hl_driver_check(driver, "cuEventQuery", code, err);
    }
    return HL_DRIVER(driver, err, cuEventSynchronize, gpu->done);
}

int hl_gpu_pin(struct hl_gpu *gpu, struct hl_pinned *pinned, uint64_t bytes, struct hl_error *err)
{
    void *memory = NULL;
    if (bytes <= pinned->bytes)
        return 0;
    hl_gpu_unpin(gpu, pinned);
    if (HL_DRIVER(&gpu->driver, err, cuMemHostAlloc, &memory, bytes, 0) < 0)
        return hl_error_prefix(err, "%llu KiB of pinned memory", (unsigned long long)(bytes >> 10));
    *pinned = (struct hl_pinned){memory, bytes};
    return 0;
}

void hl_gpu_unpin(struct hl_gpu *gpu, struct hl_pinned *pinned)
{
    if (pinned->memory)
        gpu->driver.cuMemFreeHost(pinned->memory);
    *pinned = (struct hl_pinned){NULL, 0};
}

int hl_gpu_allocate(struct hl_gpu *gpu, hl_gpu_pointer *out, uint64_t bytes, const char *what, struct hl_error *err)
{
    struct hl_driver *driver = &gpu->driver;
    size_t there = 0, total = 0;
    int code = driver->cuMemAlloc_v2(out, bytes ? bytes : 1);
    if (code == 0)
        return 0;
    *out = 0;
    hl_driver_check(driver, "cuMemAlloc", code, err);
    if (code != HL_DRIVER_OUT_OF_MEMORY || driver->cuMemGetInfo_v2(&there, &total))
        return hl_error_prefix(err, "%s", what);
    return hl_error_prefix(err, "%s: %llu MiB are wanted, and %zu of the GPU's %zu MiB are free", what,
                           (unsigned long long)((bytes + (1u << 20) - 1) >> 20), there >> 20, total >> 20);
}

void hl_gpu_free(struct hl_gpu *gpu, hl_gpu_pointer *memory)
{
    if (*memory)
        gpu->driver.cuMemFree_v2(*memory);
    *memory = 0;
}
