/* Looks for GPUs. */
#include "kernels/cuda/report.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/module.h"
#include <unistd.h>

/* A container may have the library without a GPU. One that was given the machine's third GPU has /dev/nvidia2 alone, as
 * its first one, so the common file counts too. /dev/dxg is the GPU of WSL. */
static bool has_file(uint32_t index)
{
    char path[32];
    snprintf(path, sizeof path, "/dev/nvidia%u", index);
    return hl_driver_is_chosen() || access(path, F_OK) == 0 || access("/dev/nvidiactl", F_OK) == 0 ||
           access("/dev/dxg", F_OK) == 0;
}

int hl_report_probe(uint32_t index, struct hl_error *err)
{
    struct hl_driver driver;
    if (!has_file(index))
        return hl_fail(err, "no NVIDIA GPU: /dev/nvidia%u does not exist", index);
    if (hl_driver_open(&driver, err) < 0)
        return -1;
    if (!hl_module_exists(&driver))
        return hl_fail(err, "there is an NVIDIA GPU, but this hotlayerd was built without kernels for it");
    return 0;
}

/* Lines of a report. */
struct report {
    char *text;
    size_t bytes, used;
};

__attribute__((format(printf, 2, 3))) static void add_line(struct report *report, const char *format, ...)
{
    if (report->used >= report->bytes)
        return;
    char *to = report->text + report->used;
    size_t left = report->bytes - report->used;
    int n = report->used ? snprintf(to, left, "\n") : 0;
    report->used += (size_t)n;
    if (report->used >= report->bytes)
        return;
    va_list args;
    va_start(args, format);
    report->used += (size_t)vsnprintf(report->text + report->used, report->bytes - report->used, format, args);
    va_end(args);
}

/* Describes one GPU, and what would stop it. */
static bool report_gpu(struct hl_gpu *gpu, uint32_t index, struct report *report)
{
    struct hl_error err;
    char code[96];
    if (hl_gpu_describe(gpu, index, &err) < 0) {
        add_line(report, "GPU %u: %s", index, err.message);
        return false;
    }
    const void *image = hl_module_choose(&gpu->driver, gpu->major, gpu->minor, &err);
    if (image)
        hl_module_describe(image, code, sizeof code);
    add_line(report, "cuda:%u %s, sm_%d%d, %llu MiB, %s", index, gpu->name, gpu->major, gpu->minor,
             (unsigned long long)(gpu->memory >> 20), image ? code : err.message);
    return image != NULL;
}

bool hl_report_write(char *text, size_t bytes)
{
    struct hl_gpu gpu = {.n_kernels = 0};
    struct hl_driver *driver = &gpu.driver;
    struct hl_error err;
    struct report report = {.bytes = bytes};
    int n = 0, version = 0;
    report.text = text;
    if (hl_driver_open(driver, &err) < 0 || HL_DRIVER(driver, &err, cuInit, 0) < 0 ||
        HL_DRIVER(driver, &err, cuDeviceGetCount, &n) < 0 ||
        HL_DRIVER(driver, &err, cuDriverGetVersion, &version) < 0) {
        add_line(&report, "%s", err.message);
        return false;
    }
    bool works = n > 0;
    add_line(&report, "driver for CUDA %d.%d, %d GPU%s", version / 1000, version % 1000 / 10, n, n == 1 ? "" : "s");
    for (int i = 0; i < n; i++)
        works = report_gpu(&gpu, (uint32_t)i, &report) && works;
    return works;
}
