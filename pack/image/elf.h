/* Finds the files that a program needs: its loader and its shared libraries, searched as ld.so searches them.
 *
 * An image without a base contains exactly these. The reader accepts ELF64 for x86-64 and trusts no offset in the file.
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

/* The folder in which the program finds its own loader and libraries, whatever else the image contains; and the loader
 * in it. hotlayerd is linked with this folder as its RPATH. */
#define HL_ELF_PRIVATE "/usr/lib/hotlayer"
#define HL_ELF_PRIVATE_LOADER HL_ELF_PRIVATE "/ld.so"

/* Lists the files that `program` needs: none if it is static; else its loader (at its PT_INTERP path) and,
 * transitively, its libraries. All libraries go into the one directory in which this machine's loader finds its libc.
 * With glibc, the list also contains the parts of glibc that NVIDIA's libcuda.so.1 asks for, if this machine has them.
 * Fails if a file is not a well-formed x86-64 program, or if a library is not found. The caller frees `out` with
 * hl_elf_files_free(), also after a failure. */
int hl_elf_libraries(const char *program, struct hl_elf_files *out, struct hl_error *err);

/* Lists the same files, all in HL_ELF_PRIVATE, for an image with libraries of another kind or age in their usual
 * places. Returns in *bytes the program to put there; only the loader's path in it differs. Fails if the program does
 * not search HL_ELF_PRIVATE first. The caller frees *bytes and `out`, also after a failure. */
int hl_elf_private(const char *program, struct hl_elf_files *out, char **bytes, size_t *n, struct hl_error *err);
void hl_elf_files_free(struct hl_elf_files *files);

#endif
