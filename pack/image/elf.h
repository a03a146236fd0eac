/* Which files a program needs beside itself: its loader and its shared libraries, found the way ld.so finds them.
 *
 * An image FROM nothing holds exactly these. The reader takes ELF64 for x86-64 and trusts no offset in the file.
 * Formats: System V ABI, "Program Header" and "Dynamic Section"; search order: ld.so(8).
 */
#ifndef HL_PACK_IMAGE_ELF_H
#define HL_PACK_IMAGE_ELF_H

#include "base/error.h"
#include <stddef.h>

struct hl_elf_file {
    char *source; /* the file to read on this machine, symbolic links resolved */
    char *target; /* its absolute path in the image */
};

struct hl_elf_files {
    struct hl_elf_file *file; /* sorted by target, no target twice */
    size_t n;
};

/* The folder in which a program keeps a loader and libraries of its own, whatever else lies in the image, and the
 * loader there. hotlayerd is linked with it as its RPATH. */
#define HL_ELF_PRIVATE "/usr/lib/hotlayer"
#define HL_ELF_PRIVATE_LOADER HL_ELF_PRIVATE "/ld.so"

/* Lists what `program` needs: nothing if it is static, else its loader (at its PT_INTERP path) and, transitively, its
 * libraries, all in the one directory in which this machine's loader finds its libc. Beside glibc also come the pieces
 * of it that NVIDIA's libcuda.so.1 asks for, where this machine has them. Fails on a file that is not a well-formed
 * x86-64 program and on a library that is not found. The caller frees `out` with hl_elf_files_free(), also after a
 * failure. */
int hl_elf_libraries(const char *program, struct hl_elf_files *out, struct hl_error *err);

/* The same with everything in HL_ELF_PRIVATE, for an image that has libraries of another kind or age in their usual
 * places. *bytes is the program as it must be put there: only the loader's path in it is another. Fails on a program
 * that does not look into HL_ELF_PRIVATE first. The caller frees *bytes and `out`, also after a failure. */
int hl_elf_private(const char *program, struct hl_elf_files *out, char **bytes, size_t *n, struct hl_error *err);
void hl_elf_files_free(struct hl_elf_files *files);

#endif
