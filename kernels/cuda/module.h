/* The machine code of the kernels for a GPU: one of the embedded cubins, or what the driver's library brings along, as
 * the one of the tests does. */
#ifndef HL_KERNELS_CUDA_MODULE_H
#define HL_KERNELS_CUDA_MODULE_H

#include "kernels/cuda/driver.h"

/* Returns whether there is code for a GPU at all. */
bool hl_module_exists(const struct hl_driver *driver);

/* Returns the image for a GPU of this compute capability, or NULL after a message that says what would be needed. */
const void *hl_module_choose(const struct hl_driver *driver, int major, int minor, struct hl_error *err);

/* Adds to a failure of cuModuleLoadData() which driver the embedded code needs, if the code was the reason. */
void hl_module_explain(const struct hl_driver *driver, int code, const void *image, struct hl_error *err);

/* Describes an image in a few words: "code for sm_89 by CUDA 12.2". */
void hl_module_describe(const void *image, char *text, size_t bytes);

#endif
