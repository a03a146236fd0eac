/* One GPU, ready to run kernels: the driver's context, the kernels' code, and two streams of work: one computes, and one
 * copies weights beside it. */
#ifndef HL_KERNELS_CUDA_GPU_H
#define HL_KERNELS_CUDA_GPU_H

#include "kernels/cuda/driver.h"
#include "kernels/cuda/machine/types.h"

#define HL_GPU_KERNELS_MOST 96u

struct hl_gpu_kernel {
    const char *name;
    void *function;
    uint32_t threads; /* of a block */
};

struct hl_gpu {
    struct hl_driver driver;
    int device;
    bool retained; /* the context */
    void *context, *module, *compute, *copy, *done;
    struct hl_gpu_kernel kernels[HL_GPU_KERNELS_MOST];
    uint32_t n_kernels;
    uint64_t memory;  /* bytes in all */
    char name[96];    /* "NVIDIA L4" */
    int major, minor; /* compute capability */
};

/* Memory of the host that the GPU reads and writes by itself. */
struct hl_pinned {
    uint8_t *memory;
    uint64_t bytes;
};

/* Starts the driver and makes the context the calling thread's; takes 0.2 to 0.5 s. hl_gpu_close() is needed also after
 * a failure. `out` is zeroed before. */
int hl_gpu_open(struct hl_gpu *out, uint32_t index, struct hl_error *err);
void hl_gpu_close(struct hl_gpu *gpu);

/* Fills in what is known of GPU number `index` without a context. The driver is open and has been initialized. */
int hl_gpu_describe(struct hl_gpu *gpu, uint32_t index, struct hl_error *err);

/* Makes the context the calling thread's. */
int hl_gpu_enter(struct hl_gpu *gpu, struct hl_error *err);

/* Gets a kernel ready, unless it is. */
int hl_gpu_find(struct hl_gpu *gpu, const char *name, struct hl_error *err);

/* Puts a kernel that is ready into the stream that computes. `arguments` is its struct. */
int hl_gpu_launch(struct hl_gpu *gpu, const char *name, struct hl_cuda_grid grid, void *arguments,
                  struct hl_error *err);

/* Waits for all that was put into the stream that computes; sleeps if it takes long. */
int hl_gpu_wait(struct hl_gpu *gpu, struct hl_error *err);

/* Makes room for `bytes`; what was in the memory is lost if that was less. */
int hl_gpu_pin(struct hl_gpu *gpu, struct hl_pinned *pinned, uint64_t bytes, struct hl_error *err);
void hl_gpu_unpin(struct hl_gpu *gpu, struct hl_pinned *pinned);

/* Allocates at least one byte. */
int hl_gpu_allocate(struct hl_gpu *gpu, hl_gpu_pointer *out, uint64_t bytes, const char *what, struct hl_error *err);
void hl_gpu_free(struct hl_gpu *gpu, hl_gpu_pointer *memory);

#endif
