/* Finds the driver's library and its functions, and explains its failures. */
#include "kernels/cuda/driver.h"
#include "base/sizes.h"
#include <dlfcn.h>
#include <stdlib.h>

/* Containers get the driver of their host: some mount it where no loader looks. The copies of "cuda-compat" are left
 * out: they are for older drivers than the host's, and fail with newer ones. */
static const char *const places[] = {
    "libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
};

static const char *chosen(void)
{
    const char *path = getenv("HOTLAYER_LIBCUDA");
    return path && *path ? path : NULL;
}

bool hl_driver_is_chosen(void)
{
    return chosen() != NULL;
}

/* Returns whether a library is there, but cannot be loaded. */
static bool is_there(const char *why)
{
    return !strstr(why, "No such file");
}

static void *open_library(struct hl_error *err)
{
    const char *path = chosen();
    if (path) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            hl_fail(err, "HOTLAYER_LIBCUDA: %s", dlerror());
        return library;
    }
    char broken[512] = "";
    for (size_t i = 0; i < HL_COUNT(places); i++) {
        void *library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
        if (library)
            return library;
        const char *why = dlerror();
        if (is_there(why) && !broken[0])
            snprintf(broken, sizeof broken, "%s", why);
    }
    if (broken[0])
        hl_fail(err, "the NVIDIA driver cannot be used: %s", broken);
    else
        hl_fail(err, "no NVIDIA driver (libcuda.so.1) was found; in a container it is the host's, which must be "
                     "mounted (docker run --gpus all)");
    return NULL;
}

int hl_driver_open(struct hl_driver *out, struct hl_error *err)
{
    *out = (struct hl_driver){.library = open_library(err)};
    if (!out->library)
        return -1;
    const char *missing = NULL;
#define RESOLVE(name, ...)                                                                                             \
    if (!(out->name = (int (*)(__VA_ARGS__))dlsym(out->library, #name)) && !missing)                                   \
        missing = #name;
    HL_DRIVER_FUNCTIONS(RESOLVE)
#undef RESOLVE
    if (missing)
        return hl_fail(err, "the NVIDIA driver has no %s: it is too old; version 535 (CUDA 12.2) or newer is needed",
                       missing);
    return 0;
}

/* What to do about a failure. */
static const struct advice {
    int code;
    bool lost;
    const char *text;
} advice[] = {
    {2, false, "the GPU has too little free memory; other programs may use it (nvidia-smi)"},
    {3, false, "the driver does not start; look at nvidia-smi"},
    {4, true, "the process is ending"},
    {34, false, "this libcuda.so.1 is a toolkit's stub; the driver's own is needed"},
    {46, true, "another program has the GPU, or it must be reset"},
    {100, false, "the driver finds no GPU; a container needs one assigned (docker run --gpus all)"},
    {101, false, "the driver has fewer GPUs; choose another --device cuda:N"},
    {200, false, "the driver cannot read the embedded code: it is too old for it, or the file is damaged"},
    {201, true, NULL},
    {209, false, "the embedded code is for other GPUs, or needs a newer driver"},
    {214, true, "the GPU's memory has failed; look at nvidia-smi -q -d ECC"},
    {220, true, NULL},
    {700, true, NULL},
    {702, true, NULL},
    {709, true, NULL},
    {710, true, NULL},
    {714, true, NULL},
    {715, true, NULL},
    {716, true, NULL},
    {717, true, NULL},
    {718, true, NULL},
    {719, true, NULL},
    {802, false, "the system's GPUs are not ready yet; look at the fabric manager"},
    {803, false,
     "the driver's library and its kernel module have different versions; restart the machine after an "
     "update of the driver, and in a container use the host's libcuda.so.1"},
    {804, false, "a cuda-compat library was found instead of the driver's; remove it from the library path"},
    {999, true, "the driver's log (dmesg) may say more"},
};

static const struct advice *advice_for(int code)
{
    for (size_t i = 0; i < HL_COUNT(advice); i++)
        if (advice[i].code == code)
            return &advice[i];
    return NULL;
}

int hl_driver_check(struct hl_driver *driver, const char *call, int code, struct hl_error *err)
{
    if (code == 0)
        return 0;
    const char *name = NULL, *text = NULL;
    const struct advice *to_do = advice_for(code);
    if (driver->cuGetErrorName(code, &name) || !name)
        name = "an unknown error";
    if (driver->cuGetErrorString(code, &text) || !text)
        text = "no description";
    size_t length = strlen(call);
    if (length > 3 && strcmp(call + length - 3, "_v2") == 0)
        length -= 3;
    if (to_do && to_do->lost)
        __atomic_store_n(&driver->lost, code, __ATOMIC_RELAXED);
    return hl_fail(err, "%.*s: %s (%d): %s%s%s", (int)length, call, name, code, text, to_do && to_do->text ? "; " : "",
                   to_do && to_do->text ? to_do->text : "");
}
