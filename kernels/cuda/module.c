/* Chooses the machine code of the kernels. */
#include "kernels/cuda/module.h"
#include "base/sizes.h"
#include "kernels/cuda/cubins.h"
#include <dlfcn.h>
#include <elf.h>

/* Toolkits before 13 write their version into the header's e_version: 122 is 12.2. Their code runs on the drivers of
 * any 12.x, the first of which is 525. From 13 on the code has another form, and e_version is 1. */
static uint32_t toolkit_of(const void *image)
{
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    return memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 ? header.e_version : 0;
}

static const struct hl_cubin *cubin_of(const void *image)
{
    for (uint32_t i = 0; i < hl_cubins_count(); i++)
        if (hl_cubins_at(i)->start == (const uint8_t *)image)
            return hl_cubins_at(i);
    return NULL;
}

/* Lists what is embedded: "sm_80, sm_89". */
static void list_cubins(char *text, size_t bytes)
{
    size_t n = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < hl_cubins_count() && n < bytes; i++)
        n += (size_t)snprintf(text + n, bytes - n, "%ssm_%u", i ? ", " : "", hl_cubins_at(i)->arch);
}

/* Returns the code that the driver's library brings along, or NULL. */
static const void *image_of_library(const struct hl_driver *driver)
{
    return dlsym(driver->library, "hotlayer_module");
}

bool hl_module_exists(const struct hl_driver *driver)
{
    return hl_cubins_count() > 0 || image_of_library(driver);
}

const void *hl_module_choose(const struct hl_driver *driver, int major, int minor, struct hl_error *err)
{
    const struct hl_cubin *cubin = hl_cubins_choose((uint32_t)major, (uint32_t)minor);
    char list[128];
    if (!hl_module_exists(driver)) {
        hl_fail(err, "this hotlayerd was built without kernels for a GPU; use --device cpu");
        return NULL;
    }
    if (hl_cubins_count() == 0)
        return image_of_library(driver);
    if (cubin)
        return cubin->start;
    list_cubins(list, sizeof list);
    hl_fail(err, "the GPU is sm_%d%d, and this hotlayerd has code for %s only", major, minor, list);
    return NULL;
}

void hl_module_describe(const void *image, char *text, size_t bytes)
{
    const struct hl_cubin *cubin = cubin_of(image);
    uint32_t toolkit = cubin ? toolkit_of(image) : 0;
    if (!cubin)
        snprintf(text, bytes, "the library's own code");
    else if (toolkit >= 100)
        snprintf(text, bytes, "code for sm_%u by CUDA %u.%u", cubin->arch, toolkit / 10, toolkit % 10);
    else
        snprintf(text, bytes, "code for sm_%u by CUDA 12.8 or newer", cubin->arch);
}

void hl_module_explain(const struct hl_driver *driver, int code, const void *image, struct hl_error *err)
{
    enum { INVALID_IMAGE = 200, NO_BINARY = 209 };
    char text[96];
    int version = 0;
    if (code != INVALID_IMAGE && code != NO_BINARY)
        return;
    driver->cuDriverGetVersion(&version);
    hl_module_describe(image, text, sizeof text);
    size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n,
             " (%s; it needs driver %s or newer, and this one is for CUDA %d.%d)", text,
             toolkit_of(image) >= 100 ? "525" : "580", version / 1000, version % 1000 / 10);
}
