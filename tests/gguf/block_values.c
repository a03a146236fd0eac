/* Reads blocks of a .gguf type from stdin; writes their numbers as float32 to stdout, using pack/source/blocks.c.
 *
 *     block_values Q4_K <blocks >numbers
 */
#include "pack/source/blocks.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    for (enum hl_dtype dtype = HL_DTYPE_F32; argc == 2 && dtype < HL_DTYPES; dtype++) {
        if (strcmp(argv[1], hl_dtype_name(dtype)) != 0)
            continue;
        uint8_t block[256];
        float numbers[256];
        while (fread(block, hl_dtype_block_bytes(dtype), 1, stdin) == 1) {
            hl_block_floats(dtype, block, numbers);
            fwrite(numbers, sizeof *numbers, hl_dtype_block(dtype), stdout);
        }
        return fflush(stdout) || ferror(stdout) || !feof(stdin);
    }
    fprintf(stderr, "usage: block_values F32|F16|...|Q6_K <blocks >numbers\n");
    return 2;
}
