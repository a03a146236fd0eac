/* What can be told of the machine's GPUs without opening a model. Members of struct hl_device_interface. */
#ifndef HL_KERNELS_CUDA_REPORT_H
#define HL_KERNELS_CUDA_REPORT_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int hl_report_probe(uint32_t index, struct hl_error *err);
bool hl_report_write(char *text, size_t bytes);

#endif
